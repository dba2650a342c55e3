/* What the nearest labels that are not masked tell about a masked one: the baseline that a model has to beat before it
 * can be said to have heard anything. A predictor of counts: for a masked frame, with the nearest unmasked label before
 * it (a), the nearest one after it (b) and which of them is nearer,
 *
 *     P(x | a, b, nearer) -> P(x | a, b) -> (P(x | a) + P(x | b)) / 2 -> P(x)
 *
 * each smoothed by the next by Witten and Bell's rule (1991, method C): (count + kinds * next) / (total + kinds). It
 * never sees audio. What a model knows beyond it, it has from sound.
 *
 *     mert_neighbours_learn(n, k, labels, mask, T, &e);       of training items, masked as in training
 *     mert_neighbours_cost(n, k, labels, mask, T, &frames);   of the others */
#ifndef MERT_NEIGHBOURS_H
#define MERT_NEIGHBOURS_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_neighbours mert_neighbours;

/* classes [codebooks]. NULL: out of memory. */
mert_neighbours *mert_neighbours_new(int codebooks, const int64_t *classes);
void mert_neighbours_free(mert_neighbours *n); /* NULL is fine */

/* One crop of codebook k: labels [T] within its classes, mask [T] of 0/1. */
int mert_neighbours_learn(mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                          mert_error *e) MERT_MUST_USE;
/* Cross entropy summed over masked frames, in nats; *frames += their number. Every label has a probability, seen or
 * not. */
double mert_neighbours_cost(const mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                            int64_t *frames);

#endif
