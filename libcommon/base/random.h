/* Counter-based random numbers (contract A4): Philox4x32-10 (Salmon et al., SC 2011). A number is a pure function of
 * its key and index; the order of the calls and the thread do not matter. */
#ifndef MERT_RANDOM_H
#define MERT_RANDOM_H

#include <stdint.h>

/* The purpose of a number is part of its key, so that no two uses share numbers. Add new ones at the end. */
typedef enum mert_purpose {
    MERT_FOR_INIT, MERT_FOR_CROP, MERT_FOR_ORDER, MERT_FOR_MASK, MERT_FOR_MIXTURE, MERT_FOR_DROPOUT, MERT_FOR_LAYERDROP,
    MERT_FOR_KMEANS_SEED, MERT_FOR_KMEANS_BATCH, MERT_FOR_VALID_SPLIT, MERT_FOR_RVQ, MERT_FOR_TEST,
    MERT_FOR_SAMPLE, MERT_FOR_CODEBOOKS, MERT_FOR_CHANNELS, MERT_FOR_REPLACE, MERT_FOR_SHARD,
    MERT_FOR_PROBE, MERT_FOR_NOISE
} mert_purpose;

typedef struct mert_random {
    uint32_t key[2];
    uint32_t counter[3]; /* the last counter word is the index */
} mert_random;

/* a, b, c identify the position: update, item, layer ... */
mert_random mert_random_key(uint64_t seed, mert_purpose purpose, uint64_t a, uint32_t b, uint32_t c);

uint32_t mert_random_u32(const mert_random *r, uint32_t i);
double mert_random_uniform(const mert_random *r, uint32_t i);             /* [0, 1), 53 bits */
double mert_random_normal(const mert_random *r, uint32_t i);              /* mean 0, variance 1 (Box-Muller) */
uint32_t mert_random_below(const mert_random *r, uint32_t i, uint32_t n); /* [0, n), unbiased to 2^-32 */
/* The raw block: four words for index i (u32 of index j is word j % 4 of block j / 4). */
void mert_random_block(const mert_random *r, uint32_t i, uint32_t out[4]);

#endif
