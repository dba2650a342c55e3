#include "libcommon/train/data/mask.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/random.h"

#include <stdlib.h>
#include <string.h>

/* Moves n randomly chosen elements to the front, without replacement (Fisher-Yates, stopped after n). */
static void choose(const mert_random *r, uint32_t *i, int32_t *v, int64_t size, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t j = k + mert_random_below(r, (*i)++, (uint32_t)(size - k));
        int32_t held = v[k];
        v[k] = v[j];
        v[j] = held;
    }
}

/* Masks one row, before the reduction; returns the number of masked frames. u: random rounding of the number of spans.
 * next: index of the next random number, in and out. */
static int64_t mask_row(const mert_mask_config *c, const mert_random *r, double u, int64_t T, int32_t *scratch,
                        uint8_t *row, uint32_t *next)
{
    int64_t spans = (int64_t)(c->prob * (double)T / (double)c->length + u), places, masked = 0;
    if (spans < c->min_spans)
        spans = c->min_spans;
    places = T - c->length > spans ? T - c->length : spans + 1;
    for (int64_t i = 0; i < places; i++)
        scratch[i] = (int32_t)i;
    choose(r, next, scratch, places, spans);
    memset(row, 0, (size_t)T);
    for (int64_t s = 0; s < spans; s++)
        for (int64_t t = scratch[s]; t < scratch[s] + c->length && t < T; t++) {
            masked += !row[t];
            row[t] = 1;
        }
    return masked;
}

/* Keeps `kept` of the row's masked frames. */
static void reduce_row(const mert_random *r, uint32_t next, int64_t T, int64_t masked, int64_t kept, int32_t *scratch,
                       uint8_t *row)
{
    int64_t n = 0;
    for (int64_t t = 0; t < T; t++)
        if (row[t])
            scratch[n++] = (int32_t)t;
    choose(r, &next, scratch, masked, kept);
    memset(row, 0, (size_t)T);
    for (int64_t i = 0; i < kept; i++)
        row[scratch[i]] = 1;
}

typedef struct place {
    uint64_t seed, update;
    uint32_t micro_batch;
    const int64_t *items;
    mert_purpose purpose;
} place;

static mert_random row_key(const place *p, int64_t b)
{
    return mert_random_key(p->seed, p->purpose, p->update, p->micro_batch, (uint32_t)p->items[b]);
}

/* The key of the batch: items have numbers below INT32_MAX. */
static mert_random batch_key(const place *p)
{
    return mert_random_key(p->seed, p->purpose, p->update, p->micro_batch, UINT32_MAX);
}

/* shared: NULL, or the u of all rows. */
static int make(const mert_mask_config *c, const place *p, const double *shared, int64_t B, int64_t T, uint8_t *mask,
                mert_error *e)
{
    struct {
        int64_t masked;
        uint32_t next;
    } * row;
    int32_t *scratch;
    int64_t fewest = T, most_spans = (int64_t)(c->prob * (double)T / (double)c->length) + 1 + c->min_spans;
    if (!T || !B)
        return 0;
    scratch = mert_array(T + most_spans + 1, sizeof *scratch);
    row = mert_array(B, sizeof *row);
    if (!scratch || !row) {
        free(scratch);
        free(row);
        return mert_fail(e, "out of memory");
    }
    for (int64_t b = 0; b < B; b++) {
        mert_random r = row_key(p, b);
        row[b].next = 1;
        row[b].masked = mask_row(c, &r, shared ? *shared : mert_random_uniform(&r, 0), T, scratch, mask + b * T,
                                 &row[b].next);
        if (row[b].masked < fewest)
            fewest = row[b].masked;
    }
    for (int64_t b = 0; b < B; b++)
        if (row[b].masked > fewest) {
            mert_random r = row_key(p, b);
            reduce_row(&r, row[b].next, T, row[b].masked, fewest, scratch, mask + b * T);
        }
    free(scratch);
    free(row);
    return 0;
}

/* Number i decides on span i; if none is masked, number `spans` on which one is. */
static void grid_row(const mert_mask_config *c, const mert_random *r, int64_t T, uint8_t *row)
{
    int64_t spans = (T + c->length - 1) / c->length, chosen = -1;
    memset(row, 0, (size_t)T);
    for (int64_t i = 0; i <= spans; i++) {
        int64_t at = i < spans ? i * c->length : mert_random_below(r, (uint32_t)i, (uint32_t)spans) * c->length;
        if (i < spans ? mert_random_uniform(r, (uint32_t)i) >= c->prob : chosen >= 0)
            continue;
        memset(row + at, 1, (size_t)mert_smaller(c->length, T - at));
        chosen = i;
    }
}

int mert_mask_make(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                   const int64_t *items, int64_t B, int64_t T, uint8_t *mask, mert_error *e)
{
    place p = {seed, update, micro_batch, items, MERT_FOR_MASK};
    if (!c->grid)
        return make(c, &p, NULL, B, T, mask, e);
    for (int64_t b = 0; b < B; b++) {
        mert_random r = row_key(&p, b);
        grid_row(c, &r, T, mask + b * T);
    }
    return 0;
}

int mert_mask_channels(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                       const int64_t *items, int64_t B, int64_t D, uint8_t *channels, mert_error *e)
{
    place p = {seed, update, micro_batch, items, MERT_FOR_CHANNELS};
    mert_random r = batch_key(&p);
    double u = mert_random_uniform(&r, 0);
    return make(c, &p, &u, B, D, channels, e);
}

/* ---- replacement of masked frames ---- */

void mert_mask_noise(double deviation, uint64_t seed, uint64_t update, uint32_t micro_batch, const int64_t *items,
                     int64_t B, int64_t T, const uint8_t *mask, int64_t stride, int64_t L, float *audio)
{
    place p = {seed, update, micro_batch, items, MERT_FOR_NOISE};
    for (int64_t b = 0; b < B; b++) {
        mert_random r = row_key(&p, b);
        for (int64_t i = 0; i < mert_smaller(T * stride, L); i++)
            if (mask[b * T + i / stride])
                audio[b * L + i] = (float)(deviation * mert_random_normal(&r, (uint32_t)i));
    }
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

enum { TO_BE_REPLACED = -2 };

/* Assigns to each marked frame in rows [first, first + n) a different row of these. scratch [n] */
static void replace_among(const mert_random *r, uint32_t next, int64_t first, int64_t n, int32_t *scratch,
                          int32_t *source)
{
    int64_t wanted = 0, i = 0;
    for (int64_t t = 0; t < n; t++) {
        scratch[t] = (int32_t)(first + t);
        wanted += source[first + t] == TO_BE_REPLACED;
    }
    choose(r, &next, scratch, n, wanted);
    qsort(scratch, (size_t)wanted, sizeof *scratch, ascending);
    for (int64_t t = first; t < first + n; t++)
        if (source[t] == TO_BE_REPLACED)
            source[t] = scratch[i++];
}

int mert_mask_replace(const mert_replace_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                      const int64_t *items, int64_t B, int64_t T, const uint8_t *mask, int32_t *source, mert_error *e)
{
    place p = {seed, update, micro_batch, items, MERT_FOR_REPLACE};
    int32_t *scratch = mert_array(mert_array_count(B, T), sizeof *scratch);
    mert_random batch = batch_key(&p);
    if (!scratch)
        return mert_fail(e, "out of memory");
    for (int64_t b = 0; b < B; b++) {
        mert_random r = row_key(&p, b);
        for (int64_t t = 0; t < T; t++) {
            int64_t i = b * T + t;
            if (!mask[i])
                source[i] = (int32_t)i;
            else if (mert_random_uniform(&r, (uint32_t)(2 * t)) < c->replace)
                source[i] = TO_BE_REPLACED;
            else
                source[i] = mert_random_uniform(&r, (uint32_t)(2 * t + 1)) < c->origin ? (int32_t)i : -1;
        }
        if (!c->in_batch)
            replace_among(&r, 0, b * T, T, scratch, source);
    }
    if (c->in_batch)
        replace_among(&batch, 0, 0, B * T, scratch, source);
    free(scratch);
    return 0;
}
