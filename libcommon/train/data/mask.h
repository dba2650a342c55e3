/* Chooses the masked frames: fairseq's compute_mask_indices with static lengths and overlapping spans; all rows of a
 * batch have the same number of masked frames. Per row of T frames:
 *
 *     n = max(min_spans, floor(prob * T / length + u)),  u uniform in [0, 1)
 *     n starts, without replacement, from 0 .. T - length - 1; each masks `length` frames
 *
 * Then random masked frames of every row are unmasked, down to the smallest count of the batch. (T = 374, prob 0.8,
 * length 5, batches of 8: 205.0 frames per row on average; the last frame is never masked.) If there are no more than n
 * possible starts, fairseq draws from 0 .. n, and spans end at T.
 *
 * Grid masks (MusicFM, MuQ): the spans begin at multiples of `length`. Each is masked with probability `prob`, one at
 * least in each row; rows may have different counts.
 *
 * Channel masks are made in the same way over the D channels of each crop, but with one u for all rows of the batch
 * (fairseq has no padding there), and there may be no span. */
#ifndef MERT_MASK_H
#define MERT_MASK_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_mask_config {
    double prob;       /* 0.8 */
    int64_t length;    /* frames per span: 5 */
    int64_t min_spans; /* 2 */
    int grid;
} mert_mask_config;

/* mask [B, T] of 0/1. The random numbers of a row are keyed by (seed, update, micro_batch, items[b]): contract A4.
 * Fails only if out of memory. */
int mert_mask_make(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                   const int64_t *items, int64_t B, int64_t T, uint8_t *mask, mert_error *e) MERT_MUST_USE;
/* channels [B, D] of 0/1 */
int mert_mask_channels(const mert_mask_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                       const int64_t *items, int64_t B, int64_t D, uint8_t *channels, mert_error *e) MERT_MUST_USE;

/* Replaces masked frames by noise: of clip b, samples [stride t, stride (t + 1)) of audio [B, L] become independent
 * normal numbers of mean 0 and this standard deviation where mask[b, t] is set (MusicFM and MuQ: 0.1). Keyed as above. */
void mert_mask_noise(double deviation, uint64_t seed, uint64_t update, uint32_t micro_batch, const int64_t *items,
                     int64_t B, int64_t T, const uint8_t *mask, int64_t stride, int64_t L, float *audio);

/* What replaces a masked frame (MERT's compute_replace_mask): with probability `replace` another frame, else with
 * probability `origin` the frame itself, else mask_emb. The n frames to replace in a crop (in_batch: in the batch) get
 * n different frames, masked or not, drawn from the whole crop (batch); both are sorted by time, so the first gets the
 * first. The content of a drawn frame is that after masking: one that became mask_emb gives mask_emb. (The official
 * code uses `origin` only if `replace` is above 0; here they are independent.) */
typedef struct mert_replace_config {
    double replace, origin;
    int in_batch;
} mert_replace_config;

/* mask [B, T] -> source [B, T]: MERT_MASK_EMBEDDING (-1) or a row b * T + t of the batch; for an unmasked frame its own
 * row. Keyed as above; in_batch by (seed, update, micro_batch) only. */
int mert_mask_replace(const mert_replace_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                      const int64_t *items, int64_t B, int64_t T, const uint8_t *mask, int32_t *source, mert_error *e)
                      MERT_MUST_USE;

#endif
