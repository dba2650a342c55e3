/* Convolutions over time without padding, and the first layer of the extractor. The windows of x are rows that overlap:
 * `stride` taps at a time are one product with row stride stride * C, and no window is copied. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

#define GEMM(...) mert_cpu_gemm(&(mert_gemm_args){__VA_ARGS__})

/* Number of taps in the product that begins at tap `first`. */
static int64_t taps_at(const mert_conv_shape *s, int64_t first)
{
    return s->kernel - first < s->stride ? s->kernel - first : s->stride;
}

void mert_cpu_conv(const void *args)
{
    const mert_conv_args *a = args;
    const mert_conv_shape *s = &a->shape;
    if (a->packed) {
        GEMM(.M = s->T_out, .N = s->O, .K = s->kernel * s->C, .a = a->x, .lda = s->stride * s->C,
             .a_step = s->T_in * s->C, .b = a->w, .packed = a->packed, .c = a->y, .ldc = s->O,
             .c_step = s->T_out * s->O, .batch = s->B, .bias = a->bias, .gelu = a->gelu);
        return;
    }
    for (int64_t k = 0; k < s->kernel; k += s->stride) {
        int last = k + s->stride >= s->kernel;
        GEMM(.M = s->T_out, .N = s->O, .K = taps_at(s, k) * s->C, .a = a->x + k * s->C, .lda = s->stride * s->C,
             .b = a->w + k * s->C, .ldb = s->kernel * s->C, .tb = 1, .c = a->y, .ldc = s->O, .add = k > 0,
             .batch = s->B, .a_step = s->T_in * s->C, .c_step = s->T_out * s->O, .bias = last ? a->bias : NULL,
             .gelu = last && a->gelu);
    }
}

static void clear_clip(void *arg, int64_t b, int worker)
{
    const mert_conv_backward_args *a = arg;
    size_t n = (size_t)(a->shape.T_in * a->shape.C);
    (void)worker;
    memset(a->dx + (size_t)b * n, 0, n * sizeof *a->dx);
}

void mert_cpu_conv_backward(const void *args)
{
    const mert_conv_backward_args *a = args;
    const mert_conv_shape *s = &a->shape;
    if (a->db)
        mert_cpu_column_sum(&(mert_column_sum_args){.sums = a->db, .x = a->dy, .rows = s->B * s->T_out,
                                                    .columns = s->O, .ldx = s->O});
    if (a->dx)
        mert_pool_run(s->B, clear_clip, (void *)args);
    for (int64_t k = 0; k < s->kernel; k += s->stride) {
        int64_t inner = taps_at(s, k) * s->C;
        GEMM(.M = s->O, .N = inner, .K = s->T_out, .a = a->dy, .lda = s->O, .ta = 1, .a_step = s->T_out * s->O,
             .b = a->x + k * s->C, .ldb = s->stride * s->C, .b_step = s->T_in * s->C, .gradient = a->dw + k * s->C,
             .ldc = s->kernel * s->C, .add = 1, .batch = s->B, .sum = 1);
        if (a->dx)
            GEMM(.M = s->T_out, .N = inner, .K = s->O, .a = a->dy, .lda = s->O, .a_step = s->T_out * s->O,
                 .b = a->w + k * s->C, .ldb = s->kernel * s->C, .c = a->dx + k * s->C, .ldc = s->stride * s->C,
                 .c_step = s->T_in * s->C, .add = 1, .batch = s->B);
    }
}

/* ---- the first layer ---- */

enum { ROWS = 32 };

/* Computes the convolution of the first layer into y. The weights [O, kernel] are packed into shared scratch memory. 0:
 * out of memory. */
static int first_products(const mert_conv_shape *s, const float *x, const float *w, const float *bias, float *y)
{
    float *panels = mert_cpu_shared_scratch((size_t)mert_packed_floats(s->O, s->kernel));
    if (!panels)
        return 0;
    mert_pack_panels(panels, w, s->kernel, s->O, s->kernel, 0, mert_panel_count(s->O));
    mert_cpu_conv(&(mert_conv_args){.y = y, .x = x, .w = panels, .bias = bias, .shape = *s,
                                    .packed = MERT_PACKED_F32});
    return 1;
}

void mert_cpu_first_layer(const void *args)
{
    const mert_first_layer_args *a = args;
    const mert_conv_shape *s = &a->shape;
    if (!first_products(s, a->x, a->w, a->bias, a->y))
        return;
    if (a->over_channels)
        mert_cpu_layer_norm(&(mert_layer_norm_args){.y = a->y, .x = a->y, .w = a->norm_w, .b = a->norm_b,
                                                    .rows = s->B * s->T_out, .columns = s->O, .eps = a->eps,
                                                    .gelu = 1});
    else
        mert_cpu_time_norm(&(mert_time_norm_args){.y = a->y, .x = a->y, .w = a->norm_w, .b = a->norm_b, .B = s->B,
                                                  .T = s->T_out, .C = s->O, .eps = a->eps, .gelu = 1});
}

typedef struct first_backward {
    const mert_first_layer_backward_args *a;
    float *mean, *rstd; /* [B, O], or [B, T_out] over channels */
} first_backward;

/* dy becomes the gradient by the argument of the GELU, for rows of one item; the statistics are those of its
 * channels. */
static void first_gelu_rows(void *arg, int64_t i, int worker)
{
    const first_backward *f = arg;
    const mert_first_layer_backward_args *a = f->a;
    int64_t O = a->shape.O, T = a->shape.T_out, per = (T + ROWS - 1) / ROWS, b = i / per, t = i % per * ROWS;
    float *pre = mert_cpu_scratch(worker, (size_t)(2 * O)), *gain = pre ? pre + O : NULL;
    if (!pre)
        return;
    for (int64_t c = 0; c < O; c++)
        gain[c] = f->rstd[b * O + c] * a->norm_w[c];
    for (int64_t end = t + ROWS < T ? t + ROWS : T; t < end; t++) {
        float *dy = a->dy + (b * T + t) * O;
        MERT_VECTOR->affine(pre, a->room + (b * T + t) * O, f->mean + b * O, gain, a->norm_b, O);
        MERT_VECTOR->gelu_backward(dy, dy, pre, O);
    }
}

static void over_time_backward(first_backward *f)
{
    const mert_first_layer_backward_args *a = f->a;
    const mert_conv_shape *s = &a->shape;
    mert_cpu_time_norm(&(mert_time_norm_args){.x = a->room, .w = a->norm_w, .b = a->norm_b, .mean = f->mean,
                                              .rstd = f->rstd, .B = s->B, .T = s->T_out, .C = s->O, .eps = a->eps});
    mert_pool_run(s->B * ((s->T_out + ROWS - 1) / ROWS), first_gelu_rows, f);
    mert_cpu_time_norm_backward(&(mert_time_norm_backward_args){
        .dx = a->dy, .dw = a->dnorm_w, .db = a->dnorm_b, .dy = a->dy, .x = a->room, .w = a->norm_w, .mean = f->mean,
        .rstd = f->rstd, .B = s->B, .T = s->T_out, .C = s->O});
}

static void over_channels_backward(first_backward *f)
{
    const mert_first_layer_backward_args *a = f->a;
    int64_t rows = a->shape.B * a->shape.T_out;
    mert_cpu_layer_norm(&(mert_layer_norm_args){.x = a->room, .w = a->norm_w, .b = a->norm_b, .mean = f->mean,
                                                .rstd = f->rstd, .rows = rows, .columns = a->shape.O, .eps = a->eps});
    mert_cpu_layer_norm_backward(&(mert_layer_norm_backward_args){
        .dx = a->dy, .dw = a->dnorm_w, .db = a->dnorm_b, .dy = a->dy, .x = a->room, .w = a->norm_w, .b = a->norm_b,
        .mean = f->mean, .rstd = f->rstd, .rows = rows, .columns = a->shape.O, .gelu = 1});
}

void mert_cpu_first_layer_backward(const void *args)
{
    const mert_first_layer_backward_args *a = args;
    const mert_conv_shape *s = &a->shape;
    int64_t n = s->B * (a->over_channels ? s->T_out : s->O);
    first_backward f = {.a = a};
    if (!first_products(s, a->x, a->w, a->bias, a->room) || !(f.mean = mert_cpu_shared_scratch((size_t)(2 * n))))
        return;
    f.rstd = f.mean + n;
    if (a->over_channels)
        over_channels_backward(&f);
    else
        over_time_backward(&f);
    mert_cpu_conv_backward(&(mert_conv_backward_args){.dw = a->dw, .db = a->db, .dy = a->dy, .x = a->x, .shape = *s});
}
