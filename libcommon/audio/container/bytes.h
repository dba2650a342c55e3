/* A file read here and there, as those who walk through a container do, or the first bytes of a pipe. Internal to
 * audio. */
#ifndef MERT_AUDIO_BYTES_H
#define MERT_AUDIO_BYTES_H

#include "libcommon/audio/container/whole.h"

#include <libavformat/avio.h>
#include <stddef.h>

typedef struct mert_bytes {
    int fd;
    AVIOContext *pipe;  /* instead of fd */
    int64_t base;       /* bytes of ID3v2 tags before the container: places count from behind them */
    int64_t size;       /* without these; of a pipe, greater than any place */
    int64_t from;       /* of what is in `window` */
    size_t n;
    unsigned char window[1 << 16];
} mert_bytes;

/* NULL: it is no regular file, or cannot be opened. */
mert_bytes *mert_bytes_open(const char *path);
/* Of what mert_pipe_open opened, before it is read. NULL: no memory. */
mert_bytes *mert_bytes_of_pipe(AVIOContext *pipe);
void mert_bytes_close(mert_bytes *b);
/* n bytes at `at`; 0 if not all of them are there. n: at most the window's size. */
int mert_bytes_read(mert_bytes *b, int64_t at, void *to, size_t n);
/* The same bytes without a copy, valid until the next call; NULL if not all of them are there. */
const unsigned char *mert_bytes_at(mert_bytes *b, int64_t at, size_t n);

/* Numbers of n <= 8 bytes. */
uint64_t mert_little(const unsigned char *p, int n);
uint64_t mert_big(const unsigned char *p, int n);

/* What goes beyond the end of the file: fills w->cut with "WHAT promises N bytes, M are there" if it does. `at`: where
 * it begins; sizes that no file has are taken for "not known". */
void mert_whole_hold(mert_whole *w, const mert_bytes *b, const char *what, int64_t at, uint64_t size);

/* The containers, one function each. */
typedef void mert_walk(mert_bytes *b, mert_whole *w);
mert_walk mert_walk_wav, mert_walk_w64, mert_walk_avi, mert_walk_aiff, mert_walk_au, mert_walk_caf, mert_walk_mp4,
    mert_walk_asf, mert_walk_flv, mert_walk_matroska, mert_walk_real, mert_walk_musepack, mert_walk_adts,
    mert_walk_ac3;

#endif
