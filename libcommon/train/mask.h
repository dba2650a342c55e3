/* Which frames are masked: fairseq's compute_mask_indices, static lengths, overlapping spans, at least two spans a row,
 * all rows of a batch with the same number of masked frames. Per row of T frames:
 *
 *     n = max(min_spans, floor(prob * T / length + u)),  u uniform in [0, 1)
 *     n starts, without replacement, from 0 .. T - length - 1; each masks `length` frames
 *
 * and then every row is reduced, at random, to the smallest masked count of the batch. (T = 374, 0.8 and 5: 205.0 of a
 * row in batches of 8; the last frame never.) When no more than n starts would be left, fairseq draws from 0 .. n,
 * spans ending at T. */
#ifndef MERT_MASK_H
#define MERT_MASK_H

#include "../../formats/error.h"

#include <stdint.h>

typedef struct mert_mask_config {
    double prob;       /* 0.8 */
    int64_t length;    /* frames of a span: 5 */
    int64_t min_spans; /* 2 */
} mert_mask_config;

/* mask [B, T] of 0/1. A row's numbers are keyed by (seed, update, micro_batch, items[b]): contract A4. Only memory can
 * fail. */
int mert_mask_make(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                   const int64_t *items, int64_t B, int64_t T, uint8_t *mask, mert_error *e);

#endif
