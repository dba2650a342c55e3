#include "mask.h"

#include "../base/random.h"

#include <stdlib.h>
#include <string.h>

/* Moves n elements, chosen at random without replacement, to the front (Fisher and Yates, stopped after n). */
static void choose(const mert_random *r, uint32_t *i, int32_t *v, int64_t size, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t j = k + mert_random_below(r, (*i)++, (uint32_t)(size - k));
        int32_t held = v[k];
        v[k] = v[j];
        v[j] = held;
    }
}

/* One row before the reduction; returns how many frames it masks. next: the index of the first random number not used.
 */
static int64_t mask_row(const mert_mask_config *c, const mert_random *r, int64_t T, int32_t *scratch, uint8_t *row,
                        uint32_t *next)
{
    int64_t spans, places, masked = 0;
    *next = 0;
    spans = (int64_t)(c->prob * (double)T / (double)c->length + mert_random_uniform(r, (*next)++));
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

int mert_mask_make(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                   const int64_t *items, int64_t B, int64_t T, uint8_t *mask, mert_error *e)
{
    struct {
        int64_t masked;
        uint32_t next;
    } * row;
    int32_t *scratch;
    int64_t fewest = T, most_spans = (int64_t)(c->prob * (double)T / (double)c->length) + 1 + c->min_spans;
    if (!T || !B)
        return 0;
    scratch = malloc((size_t)(T + most_spans + 1) * sizeof *scratch);
    row = malloc((size_t)B * sizeof *row);
    if (!scratch || !row) {
        free(scratch);
        free(row);
        return mert_fail(e, "out of memory");
    }
    for (int64_t b = 0; b < B; b++) {
        mert_random r = mert_random_key(seed, MERT_FOR_MASK, update, micro_batch, (uint32_t)items[b]);
        row[b].masked = mask_row(c, &r, T, scratch, mask + b * T, &row[b].next);
        if (row[b].masked < fewest)
            fewest = row[b].masked;
    }
    for (int64_t b = 0; b < B; b++)
        if (row[b].masked > fewest) {
            mert_random r = mert_random_key(seed, MERT_FOR_MASK, update, micro_batch, (uint32_t)items[b]);
            reduce_row(&r, row[b].next, T, row[b].masked, fewest, scratch, mask + b * T);
        }
    free(scratch);
    free(row);
    return 0;
}
