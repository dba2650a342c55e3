/* Decodes a part of a file, a few seconds long. The samples are those of the whole decoded file, bit for bit. */
#ifndef MERT_AUDIO_CROP_H
#define MERT_AUDIO_CROP_H

#include "libcommon/audio/decode.h"

typedef struct mert_audio_crop {
    int rate;         /* of the output, Hz */
    int64_t whole;    /* samples of the whole file at that rate, which is checked if the file says it; -1: not known */
    int64_t first, n; /* samples [first, first + n) of the output */
} mert_audio_crop;

/* Decodes them to to[n]. In FLAC files and in WAV files of integers, decoding begins just before the crop, after a
 * seek; in files of all other formats, everything before the crop is decoded as well. Damage before a crop that is
 * reached by a seek, and damage after any crop, is not noticed. Errors do not name the file. */
int mert_audio_crop_read(const char *path, const mert_audio_crop *crop, float *to, mert_error *e) MERT_MUST_USE;

#endif
