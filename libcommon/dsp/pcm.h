/* The input of transforms: pcm of one channel, float32 or int16 (divided by 32768), finite values only. */
#ifndef MERT_PCM_H
#define MERT_PCM_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct mert_pcm {
    mts_dtype dtype;
    int64_t samples;      /* number of samples of this record so far */
    float block[4096];    /* converted samples */
} mert_pcm;

/* Sample i of int16 pcm as a float. */
static inline float mert_pcm_i16(const void *data, int64_t i)
{
    int16_t v;
    memcpy(&v, (const char *)data + i * (int64_t)sizeof v, sizeof v);
    return (float)v * 0x1p-15f;
}

/* The nearest int16 (halves to even) of 32768 times the sample, limited to the type: the samples of 16-bit files come
 * back as they were. */
static inline int16_t mert_pcm_to_i16(float x)
{
    double v = rint((double)x * 32768);
    return (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}

/* Refuses kinds other than pcm, several channels, other types, and records that are declared empty. */
int mert_pcm_begin(mert_pcm *p, const mts_record *in, mert_error *e) MERT_MUST_USE;

/* Converts a part of the record to float samples. *n: on input the number of samples at `data`, on return the number
 * converted (call again for the rest, with data advanced by *n samples). The result may be `data` itself; it is valid
 * until the next call. NULL: a sample is not finite or absurdly large (above 1e15); the error has its number. */
const float *mert_pcm_read(mert_pcm *p, const void *data, int64_t *n, mert_error *e);

/* -1: the record had no samples. */
int mert_pcm_end(const mert_pcm *p, mert_error *e) MERT_MUST_USE;

#endif
