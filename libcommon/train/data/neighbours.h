/* Predicts a masked label from the nearest unmasked labels. This is the baseline for a model: only a smaller loss shows
 * that it uses the audio. For a masked frame, a is the nearest unmasked label before it, b the nearest one after it,
 * and `nearer` says which of them is nearer:
 *
 *     P(x | a, b, nearer) -> P(x | a, b) -> (P(x | a) + P(x | b)) / 2 -> P(x)
 *
 * each is smoothed by the next one by Witten and Bell's rule (1991, method C): (count + kinds * next) / (total +
 * kinds), where kinds is the number of different labels in the context.
 *
 *     mert_neighbours_learn(n, k, labels, mask, T, &e);       training items, masked as in training
 *     mert_neighbours_cost(n, k, labels, mask, T, &frames);   other items */
#ifndef MERT_NEIGHBOURS_H
#define MERT_NEIGHBOURS_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_neighbours mert_neighbours;

/* The most masked frames of a codebook that a session counts: more than a million hardly change the result. */
enum { MERT_NEIGHBOURS_COUNTED = 1 << 20 };

/* classes [codebooks]. NULL: out of memory. */
mert_neighbours *mert_neighbours_new(int codebooks, const int64_t *classes);
/* The most bytes needed to count so many frames, if all classes are equally likely. */
double mert_neighbours_memory(double classes, double frames);
void mert_neighbours_free(mert_neighbours *n); /* NULL is fine */

/* Counts one crop of codebook k: labels [T] within its classes, mask [T] of 0/1. */
int mert_neighbours_learn(mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                          mert_error *e) MERT_MUST_USE;
/* Cross entropy, summed over masked frames, in nats; *frames += their number. Labels that were never counted have a
 * probability, too. */
double mert_neighbours_cost(const mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                            int64_t *frames);

#endif
