/* In-batch noise mixture (MERT): with probability `prob`, some segments of the other items of the batch are added to an
 * item. The targets stay those of the clean item.
 *
 * The pool is the concatenation of the other items. A segment has a length in length[0..1], begins anywhere in the pool
 * and is added anywhere in the item; number[0] to number[1] segments; all ranges are inclusive. Lengths are limited to
 * that of the clip and of the pool.
 *
 * The official code mixes if u > prob, so its actual probability is 1 - prob, which is the same at the published 0.5.
 * Here prob is the probability. */
#ifndef MERT_MIXTURE_H
#define MERT_MIXTURE_H

#include <stdint.h>

typedef struct mert_mixture_config {
    double prob;       /* 0: never */
    int64_t length[2]; /* samples */
    int64_t number[2];
    double volume;
} mert_mixture_config;

/* clean [B, L] -> audio [B, L], which must not overlap. Keyed by (seed, update, micro_batch, items[b]): contract A4.
 * Returns the number of mixed items. */
int64_t mert_mixture_make(const mert_mixture_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                          const int64_t *items, int64_t B, int64_t L, const float *clean, float *audio);

#endif
