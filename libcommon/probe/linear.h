/* The linear probe: scores = W x + b, with the W and b that minimise
 *
 *     mean over instances of loss(scores, target)  +  decay / 2 |W|^2
 *
 * loss: cross entropy of the softmax (classify), the sum over labels of the binary cross entropy (multilabel), half the
 * sum of squares (regress). The problem is convex; L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5)
 * finds its minimum, in the calling thread. */
#ifndef MERT_PROBE_LINEAR_H
#define MERT_PROBE_LINEAR_H

#include "libcommon/probe/targets.h"

/* Training data: x [n, d], with columns of similar scale, and targets as in mert_targets. */
typedef struct mert_linear_data {
    mert_probe_task task;
    int64_t n, d, outputs;
    const float *x;
    const int32_t *label;  /* [n] classify */
    const float *y;        /* [n, outputs] otherwise */
} mert_linear_data;

enum { MERT_LINEAR_STEPS = 300 };

/* w [outputs * d + outputs]: W, then b; on input the start, on return the minimum, or the point after MERT_LINEAR_STEPS
 * steps. Returns the number of steps, -1: out of memory. */
int mert_linear_fit(const mert_linear_data *data, double decay, float *w, mert_error *e) MERT_MUST_USE;

/* scores [n, outputs] of x [n, d] */
void mert_linear_scores(const float *x, int64_t n, int64_t d, int64_t outputs, const float *w, float *scores);

/* The mean loss of scores [n, outputs]. grad (may be NULL, may be `scores`): its gradient with respect to the scores. n
 * 0: 0. */
double mert_linear_loss(const mert_linear_data *data, const float *scores, float *grad);

#endif
