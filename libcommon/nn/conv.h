/* Compositions of operations that several models use: linear layers, forward and backward. */
#ifndef MERT_CONV_H
#define MERT_CONV_H

#include "libcommon/nn/ops.h"

/* y[rows, out] = x[rows, in] w[out, in]^T + bias; pre, gelu and residual (NULL, 0: none) as in mert_gemm. */
void mert_linear(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                 const mert_element *w, const float *bias, mert_element *pre, int gelu, const mert_element *residual,
                 mert_element *y);
/* dw += dy^T x, db += column sums of dy (NULL: no bias); dx (NULL: not wanted) = (add: +=) dy w. */
void mert_linear_backward(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                          const mert_element *w, const mert_element *dy, float *dw, float *db, mert_element *dx,
                          int add);

#endif
