/* Where the bytes of an audio file are: a regular file, or a member of a tar file, named TAR:MEMBER (formats/tar.h).
 * The members of the last few tar files are kept in memory, for all threads. Internal to audio. */
#ifndef MERT_AUDIO_PLACE_H
#define MERT_AUDIO_PLACE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_place {
    int fd;              /* the caller closes it */
    int64_t begin, size; /* the bytes [begin, begin + size) of it */
} mert_place;

/* -1, with errno set: neither a regular file nor such a member. Opens nothing else, so a FIFO stays as it is. */
int mert_place_open(mert_place *p, const char *path, mert_error *e) MERT_MUST_USE;
/* The first bytes: copies at most n, and returns how many; 0 also if it cannot be opened. */
size_t mert_place_head(const char *path, void *to, size_t n);
/* Whether the path names a member of a tar file. */
int mert_place_in_tar(const char *path);

#endif
