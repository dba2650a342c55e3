#include "libcommon/nn/conv.h"

void mert_linear(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                 const mert_element *w, const float *bias, mert_element *pre, int gelu, const mert_element *residual,
                 mert_element *y)
{
    mert_gemm(ops, .M = rows, .N = out, .K = in, .a = x, .lda = in, .b = w, .ldb = in, .tb = 1, .c = y, .ldc = out,
              .bias = bias, .pre = pre, .gelu = gelu, .residual = residual);
}

void mert_linear_backward(mert_ops *ops, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                          const mert_element *w, const mert_element *dy, float *dw, float *db, mert_element *dx,
                          int add)
{
    mert_gemm(ops, .M = out, .N = in, .K = rows, .a = dy, .lda = out, .ta = 1, .b = x, .ldb = in, .gradient = dw,
              .ldc = in, .add = 1);
    if (db)
        mert_column_sum(ops, .sums = db, .x = dy, .rows = rows, .columns = out, .ldx = out);
    if (dx)
        mert_gemm(ops, .M = rows, .N = in, .K = out, .a = dy, .lda = out, .b = w, .ldb = in, .c = dx, .ldc = in,
                  .add = add);
}
