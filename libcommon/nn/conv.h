/* Compositions of operations that several models use: linear layers and strided convolutions, forward and backward. */
#ifndef MERT_CONV_H
#define MERT_CONV_H

#include "libcommon/nn/ops.h"

/* y[rows, out] = x[rows, in] w[out, in]^T + bias; see mert_gemm for pre, gelu and residual (NULL, 0: none). */
void mert_linear(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                 const mert_element *w, const float *bias, mert_element *pre, int gelu, const mert_element *residual,
                 mert_element *y);
/* dw += dy^T x, db += column sums of dy (NULL: no bias); dx (NULL: not wanted) = (add: +=) dy w. */
void mert_linear_backward(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                          const mert_element *w, const mert_element *dy, float *dw, float *db, mert_element *dx,
                          int add);

/* A convolution without padding, time first, channels last: x [B, T_in, C], y [B, T_out, O], T_out = (T_in - kernel) /
 * stride + 1, weights [O, kernel, C] (mert_swap_axes of the official [O, C, kernel]). Windows of x are rows that
 * overlap: `stride` taps at a time are one product with row stride stride * C, and no window is ever copied. */
typedef struct mert_conv_shape { int64_t B, T_in, T_out, C, O, kernel, stride; } mert_conv_shape;

void mert_conv(mert_ops *ops, const mert_conv_shape *s, const mert_element *x, const mert_element *w,
               const float *bias, mert_element *pre, int gelu, mert_element *y);
/* dw += ; db += (NULL: no bias); dx (NULL: not wanted) is overwritten. */
void mert_conv_backward(mert_ops *ops, const mert_conv_shape *s, const mert_element *x, const mert_element *w,
                        const mert_element *dy, float *dw, float *db, mert_element *dx);

#endif
