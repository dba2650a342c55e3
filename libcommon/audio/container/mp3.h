/* What an MP3 file says of itself: where its frames begin and end between tags and other bytes, how many there are, and
 * what the frame in front of them (Xing, Info, VBRI; LAME's tag in it) says of them. Internal to audio. */
#ifndef MERT_AUDIO_MP3_H
#define MERT_AUDIO_MP3_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_mp3 {
    int64_t size;            /* bytes of the file */
    int64_t head;            /* behind the ID3v2 tags in front */
    int64_t begin, end;      /* from the first frame, be it the one that tells, to behind the last */
    int rate, samples;       /* Hz; of a frame, per channel */
    int64_t frames;          /* that are there, without the one that tells */
    int64_t told;            /* frames that there are to be; -1: nothing says so */
    int64_t told_bytes;      /* from `begin` on; -1: nothing says so */
    int delay, padding;      /* of the encoder, in samples; -1: not told */
} mert_mp3;

/* The samples that LAME's decoder delay adds in front, which `delay` does not count. */
enum { MERT_MP3_DECODER_DELAY = 529 };

/* 1: read; 0: not one frame that others follow; -1: cannot read. */
int mert_mp3_read(const char *path, mert_mp3 *to, mert_error *e) MERT_MUST_USE;

/* Whether the frames in front have no bit rate, only a common distance (ISO 11172-3, 2.4.2.3), which FFmpeg does not
 * read. */
int mert_mp3_is_free_format(const char *path);

#endif
