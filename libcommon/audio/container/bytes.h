/* Random access to the bytes of a file, for parsing containers, or to the first bytes of a pipe. Internal to audio. */
#ifndef MERT_AUDIO_BYTES_H
#define MERT_AUDIO_BYTES_H

#include "libcommon/audio/container/whole.h"

#include <libavformat/avio.h>
#include <stddef.h>

typedef struct mert_bytes {
    int fd;
    AVIOContext *pipe;  /* instead of fd */
    int64_t origin;     /* of the file's first byte in fd, which may be a tar file */
    int64_t base;       /* bytes of ID3v2 tags before the container; positions count from their end */
    int64_t size;       /* without the tags; for a pipe, larger than any position */
    int64_t from;       /* position of the bytes in `window` */
    size_t n;
    unsigned char window[1 << 16];
} mert_bytes;

/* NULL: neither a regular file nor a member of a tar file, or cannot be opened. */
mert_bytes *mert_bytes_open(const char *path);
/* For a pipe of mert_pipe_open that has not been read. NULL: out of memory. */
mert_bytes *mert_bytes_of_pipe(AVIOContext *pipe);
void mert_bytes_close(mert_bytes *b);
/* Copies n bytes at `at`; n is at most the window's size. 0: the file has fewer bytes. */
int mert_bytes_read(mert_bytes *b, int64_t at, void *to, size_t n);
/* The same without a copy: a pointer, valid until the next call; NULL: the file has fewer bytes. */
const unsigned char *mert_bytes_at(mert_bytes *b, int64_t at, size_t n);

/* Numbers of n <= 8 bytes. */
uint64_t mert_little(const unsigned char *p, int n);
uint64_t mert_big(const unsigned char *p, int n);

/* Checks a part of the file that begins at `at` and has `size` bytes: if it goes beyond the end of the file, fills
 * w->cut with "WHAT promises N bytes, M are there". Impossibly large sizes mean "not known". */
void mert_whole_hold(mert_whole *w, const mert_bytes *b, const char *what, int64_t at, uint64_t size);

/* One function for each container. */
typedef void mert_check_container(mert_bytes *b, mert_whole *w);
mert_check_container mert_check_wav, mert_check_w64, mert_check_avi, mert_check_aiff, mert_check_au, mert_check_caf,
    mert_check_mp4, mert_check_asf, mert_check_flv, mert_check_matroska, mert_check_real, mert_check_musepack,
    mert_check_adts, mert_check_ac3;

#endif
