/* Which frames are masked: fairseq's compute_mask_indices, static lengths, overlapping spans, all rows of a batch with
 * the same number of masked frames. Per row of T frames:
 *
 *     n = max(min_spans, floor(prob * T / length + u)),  u uniform in [0, 1)
 *     n starts, without replacement, from 0 .. T - length - 1; each masks `length` frames
 *
 * and then every row is reduced, at random, to the smallest masked count of the batch. (T = 374, 0.8 and 5: 205.0 of a
 * row in batches of 8; the last frame never.) When no more than n starts would be left, fairseq draws from 0 .. n,
 * spans ending at T.
 *
 * Channel masks are the same over the D channels of each crop, but that one u counts for all rows of the batch (fairseq
 * has no padding there) and that there may be no span. */
#ifndef MERT_MASK_H
#define MERT_MASK_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_mask_config {
    double prob;       /* 0.8 */
    int64_t length;    /* frames of a span: 5 */
    int64_t min_spans; /* 2 */
} mert_mask_config;

/* mask [B, T] of 0/1. A row's numbers are keyed by (seed, update, micro_batch, items[b]): contract A4. Only memory can
 * fail. */
int mert_mask_make(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                   const int64_t *items, int64_t B, int64_t T, uint8_t *mask, mert_error *e) MERT_MUST_USE;
/* channels [B, D] of 0/1 */
int mert_mask_channels(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                       const int64_t *items, int64_t B, int64_t D, uint8_t *channels, mert_error *e) MERT_MUST_USE;

/* What stands in the place of a masked frame (MERT's compute_replace_mask): with probability `replace` another frame,
 * else with probability `origin` itself, else mask_emb. The n frames to be replaced of a crop (in_batch: of the batch)
 * get n distinct frames, masked or not, drawn from all of it; both in their order in time, so the first gets the first.
 * What a drawn frame holds after masking is what counts: one that became mask_emb gives mask_emb. (The official code
 * looks at `origin` only if `replace` is above 0; here each stands alone.) */
typedef struct mert_replace_config {
    double replace, origin;
    int in_batch;
} mert_replace_config;

/* mask [B, T] -> source [B, T]: MERT_MASK_EMBEDDING (-1) or a row b * T + t of the batch; that of an unmasked frame is
 * its own. Keyed as above, in_batch by (seed, update, micro_batch) alone. */
int mert_mask_replace(const mert_replace_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                      const int64_t *items, int64_t B, int64_t T, const uint8_t *mask, int32_t *source, mert_error *e)
                      MERT_MUST_USE;

#endif
