/* The steps of Conformer and subsampler: operations on rows, with parameters from the flat array. The outputs of norms
 * and activations are not kept: the backward pass computes them again, in memory on the stack that the caller frees. */
#ifndef MERT_ENCODER_STEPS_H
#define MERT_ENCODER_STEPS_H

#include "libcommon/models/encoder/state.h"

/* y = x w^T (+ b) (+ residual) */
void mert_step_linear(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                      const mert_element *residual, mert_element *y);
/* dx (add: +=), and the gradients of weight and bias */
void mert_step_linear_backward(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out,
                               const mert_element *x, const mert_element *dy, mert_element *dx, int add);

/* LN(x) with its statistics, in memory on the stack. y NULL: out of memory. */
typedef struct mert_normed {
    mert_element *y;
    float *mean, *rstd;
} mert_normed;

mert_normed mert_step_norm(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                           const mert_element *x);
/* dx (add: +=) may be dy. */
void mert_step_norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, int64_t rows, int64_t columns,
                             const mert_element *x, mert_element *dy, mert_element *dx, int add);

/* Dropout of x, n elements for B clips. Only in training; does nothing if p is 0. */
void mert_step_dropout(mert_encoder *m, mert_element *x, int64_t n, double p, uint32_t site);

#endif
