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

/* Taps first .. first + n of the kernel that one product takes. */
static int64_t taps_at(const mert_conv_shape *s, int64_t first)
{
    return s->kernel - first < s->stride ? s->kernel - first : s->stride;
}

void mert_conv(mert_ops *ops, const mert_conv_shape *s, const mert_element *x, const mert_element *w,
               const float *bias, mert_element *pre, int gelu, mert_element *y)
{
    for (int64_t k = 0; k < s->kernel; k += s->stride) {
        int last = k + s->stride >= s->kernel;
        mert_gemm(ops, .M = s->T_out, .N = s->O, .K = taps_at(s, k) * s->C, .a = mert_const_at(ops, x, k * s->C),
                  .lda = s->stride * s->C, .b = mert_const_at(ops, w, k * s->C), .ldb = s->kernel * s->C, .tb = 1,
                  .c = y, .ldc = s->O, .add = k > 0, .batch = s->B, .a_step = s->T_in * s->C,
                  .c_step = s->T_out * s->O, .bias = last ? bias : NULL,
                  .pre = last ? pre : NULL, .gelu = last && gelu);
    }
}

void mert_conv_backward(mert_ops *ops, const mert_conv_shape *s, const mert_element *x, const mert_element *w,
                        const mert_element *dy, float *dw, float *db, mert_element *dx)
{
    if (db)
        mert_column_sum(ops, .sums = db, .x = dy, .rows = s->B * s->T_out, .columns = s->O, .ldx = s->O);
    if (dx)
        mert_clear(ops, .to = dx, .bytes = mert_element_bytes(ops, s->B * s->T_in * s->C));
    for (int64_t k = 0; k < s->kernel; k += s->stride) {
        int64_t inner = taps_at(s, k) * s->C;
        mert_gemm(ops, .M = s->O, .N = inner, .K = s->T_out, .a = dy, .lda = s->O, .ta = 1, .a_step = s->T_out * s->O,
                  .b = mert_const_at(ops, x, k * s->C), .ldb = s->stride * s->C, .b_step = s->T_in * s->C,
                  .gradient = dw + k * s->C,
                  .ldc = s->kernel * s->C, .add = 1, .batch = s->B, .sum = 1);
        if (dx)
            mert_gemm(ops, .M = s->T_out, .N = inner, .K = s->O, .a = dy, .lda = s->O, .a_step = s->T_out * s->O,
                      .b = mert_const_at(ops, w, k * s->C), .ldb = s->kernel * s->C,
                      .c = mert_at(ops, dx, k * s->C), .ldc = s->stride * s->C,
                      .c_step = s->T_in * s->C, .add = 1, .batch = s->B);
    }
}
