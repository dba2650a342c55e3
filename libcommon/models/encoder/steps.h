/* What Conformer and subsampler are made of: operations on rows, with parameters at their places in the flat array.
 * What a norm or an activation gives is made again in the backward pass, in memory that the caller gives back. */
#ifndef MERT_ENCODER_STEPS_H
#define MERT_ENCODER_STEPS_H

#include "libcommon/models/encoder/state.h"

/* y = x w^T (+ b) (+ residual) */
void mert_step_linear(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                      const mert_element *residual, mert_element *y);
/* dx: (add: +=) */
void mert_step_linear_backward(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out,
                               const mert_element *x, const mert_element *dy, mert_element *dx, int add);

/* LN(x), with its statistics; taken off the stack. y NULL: no memory. */
typedef struct mert_normed {
    mert_element *y;
    float *mean, *rstd;
} mert_normed;

mert_normed mert_step_norm(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                           const mert_element *x);
/* dx (add: +=) may be dy. */
void mert_step_norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, int64_t rows, int64_t columns,
                             const mert_element *x, mert_element *dy, mert_element *dx, int add);

/* x [B, n / B]: training alone, nothing where p is 0. */
void mert_step_dropout(mert_encoder *m, mert_element *x, int64_t n, double p, uint32_t site);

#endif
