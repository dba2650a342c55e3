/* What transforms accept as sound: pcm of one channel, float32 or int16 (divided by 32768), finite numbers only. */
#ifndef MERT_PCM_H
#define MERT_PCM_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <string.h>

typedef struct mert_pcm {
    mts_dtype dtype;
    int64_t samples;      /* of this record so far */
    float block[4096];    /* of those that had to be converted */
} mert_pcm;

/* Sample i of int16 pcm as a float. */
static inline float mert_pcm_i16(const void *data, int64_t i)
{
    int16_t v;
    memcpy(&v, (const char *)data + i * (int64_t)sizeof v, sizeof v);
    return (float)v * 0x1p-15f;
}

/* Refuses another kind than pcm, several channels, other types, and records that say beforehand that they are empty. */
int mert_pcm_begin(mert_pcm *p, const mts_record *in, mert_error *e) MERT_MUST_USE;

/* Some of the record's data -> float samples: *n on input how many there are at `data`, on return how many are
 * converted (the rest with the next call, data advanced by *n samples). The result, which may be `data` itself, is
 * valid until then; NULL for a sample that is not finite or absurdly large (above 1e15), named by its number. */
const float *mert_pcm_read(mert_pcm *p, const void *data, int64_t *n, mert_error *e);

/* -1 for a record that had no samples. */
int mert_pcm_end(const mert_pcm *p, mert_error *e) MERT_MUST_USE;

#endif
