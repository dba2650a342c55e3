/* Reads the structure of an MP3 file: where its frames begin and end between tags and other bytes, their number, and
 * the contents of the info frame in front of them (Xing, Info, VBRI, with LAME's tag). Internal to audio. */
#ifndef MERT_AUDIO_MP3_H
#define MERT_AUDIO_MP3_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_mp3 {
    int64_t size;            /* bytes of the file */
    int64_t head;            /* the end of the ID3v2 tags in front */
    int64_t begin, end;      /* from the first frame (which may be the info frame) to the end of the last */
    int rate, samples;       /* rate in Hz; samples of a frame, per channel */
    int64_t frames;          /* frames in the file, without the info frame */
    int64_t told;            /* number of frames in the info frame; -1: not known */
    int64_t told_bytes;      /* number of bytes from `begin` in the info frame; -1: not known */
    int delay, padding;      /* of the encoder, in samples; -1: not known */
} mert_mp3;

/* The delay of the decoder in samples, which is not included in `delay` (LAME's tag). */
enum { MERT_MP3_DECODER_DELAY = 529 };

/* 1: read; 0: no sequence of frames found; -1: cannot read the file. */
int mert_mp3_read(const char *path, mert_mp3 *to, mert_error *e) MERT_MUST_USE;

/* Whether the first frames are free format (no bit rate, only a constant frame size: ISO 11172-3, 2.4.2.3), which
 * FFmpeg cannot read. */
int mert_mp3_is_free_format(const char *path);

#endif
