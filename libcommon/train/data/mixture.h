/* In-batch noise mixture (MERT): with probability `prob`, an item hears, on top of itself, a few pieces cut from the
 * other items of its batch. The targets stay those of the clean item.
 *
 * The other items, one behind the other, are the pool; a piece has a length within length[0..1], begins anywhere in the
 * pool and is added anywhere in the item; number[0] to number[1] pieces, all ranges inclusive. Lengths beyond the clip
 * or the pool are cut down to it.
 *
 * The official code mixes when u > prob, so that its real probability is 1 - prob: the same at the published 0.5. Here
 * prob is what its name says. */
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
 * Returns how many of the items were mixed. */
int64_t mert_mixture_make(const mert_mixture_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                          const int64_t *items, int64_t B, int64_t L, const float *clean, float *audio);

#endif
