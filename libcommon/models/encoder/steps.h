/* The steps of layers, blocks and subsampler: operations on rows, with parameters from the flat array. */
#ifndef MERT_ENCODER_STEPS_H
#define MERT_ENCODER_STEPS_H

#include "libcommon/models/encoder/state.h"

/* From now on, products take the weights of the flat array from offset `from` to `end` out of one copy as elements,
 * which is made here on the stack. If elements are float32, they are the flat array itself. */
void mert_step_weights(mert_encoder *m, int64_t from, int64_t end);

/* `count` linear layers of the same input x, whose parameters are `step` floats apart: y [rows, count, out]. Biases are
 * added if there are any. */
void mert_step_linears(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t in,
                       int64_t out, const mert_element *x, mert_element *y);
/* dy [rows, count, out] -> dx [rows, in] (add: +=), and the gradients of the weights, not of the biases. */
void mert_step_linears_backward(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t in,
                                int64_t out, const mert_element *x, const mert_element *dy, mert_element *dx, int add);
/* The gradients of the biases of `count` layers. */
void mert_step_biases_backward(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t out,
                               const mert_element *dy);

/* y = x w^T (+ b) (+ residual) */
void mert_step_linear(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                      const mert_element *residual, mert_element *y);
/* dx (add: +=), and the gradients of weight and bias */
void mert_step_linear_backward(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out,
                               const mert_element *x, const mert_element *dy, mert_element *dx, int add);

/* LN(x) with its statistics. */
typedef struct mert_normed {
    mert_element *y;
    float *mean, *rstd;
} mert_normed;

/* n has memory for all of it. */
void mert_step_norm_into(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                         const mert_element *x, mert_normed n);
/* In memory on the stack. y NULL: out of memory. */
mert_normed mert_step_norm(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                           const mert_element *x);
/* dx (add: +=) may be dy. */
void mert_step_norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, int64_t rows, int64_t columns,
                             const mert_element *x, mert_element *dy, mert_element *dx, int add);

/* p in training, otherwise 0. */
double mert_step_rate(const mert_encoder *m, double p);
/* Dropout of x, n elements for B clips. Only in training; does nothing if p is 0. */
void mert_step_dropout(mert_encoder *m, mert_element *x, int64_t n, double p, uint32_t site);

#endif
