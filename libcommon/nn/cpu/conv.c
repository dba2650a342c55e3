/* The positional convolution: few channels per group, many taps. For each group and tile of time, the windows are
 * copied to rows (a window is a contiguous piece of the group's channels), and then one product computes the tile. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/vector.h"

#include <cblas.h>
#include <string.h>

enum { TILE = 64, HALF_ROWS = 512 };

/* Copies the channels of a group of an item, with `pad` frames of zeros before them and kernel - pad after them: slab
 * [T + kernel][Cg]. */
static void take_group(float *slab, const float *x, int64_t T, int64_t D, int64_t Cg, int64_t kernel, int64_t pad)
{
    memset(slab, 0, (size_t)((T + kernel) * Cg) * sizeof(float));
    for (int64_t t = 0; t < T; t++)
        memcpy(slab + (t + pad) * Cg, x + t * D, (size_t)Cg * sizeof(float));
}

static int64_t windows(float *rows, const float *slab, int64_t t0, int64_t T, int64_t Cg, int64_t kernel)
{
    int64_t n = T - t0 < TILE ? T - t0 : TILE;
    for (int64_t t = 0; t < n; t++)
        memcpy(rows + t * kernel * Cg, slab + (t0 + t) * Cg, (size_t)(kernel * Cg) * sizeof(float));
    return n;
}

/* One task: one group of one item. */
static void forward_group(void *arg, int64_t i, int worker)
{
    const mert_grouped_conv_args *a = arg;
    int64_t b = i / a->groups, g = i % a->groups, Cg = a->D / a->groups, inner = a->kernel * Cg;
    float *slab = mert_cpu_scratch(worker, (size_t)((a->T + a->kernel) * Cg + TILE * inner + 64));
    float *rows = slab ? slab + ((a->T + a->kernel) * Cg + 15) / 16 * 16 : NULL;
    if (!slab)
        return;
    take_group(slab, a->x + b * a->T * a->D + g * Cg, a->T, a->D, Cg, a->kernel, a->pad);
    for (int64_t t = 0; t < a->T; t += TILE) {
        int64_t n = windows(rows, slab, t, a->T, Cg, a->kernel);
        float *y = a->y + (b * a->T + t) * a->D + g * Cg;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)Cg, (int)inner, 1, rows, (int)inner,
                    a->w + g * Cg * inner, (int)inner, 0, y, (int)a->D);
        for (int64_t r = 0; r < n; r++)
            MERT_VECTOR->epilogue(y + r * a->D, a->bias ? a->bias + g * Cg : NULL, NULL, a->gelu,
                                  a->residual ? a->residual + (y - a->y) + r * a->D : NULL, Cg);
    }
}

/* Number of taps of one product: so many that their panel stays in the cache while all frames are read. */
static int64_t taps_at_once(int64_t Cg)
{
    return Cg >= 1024 ? 1 : 1024 / Cg;
}

/* The same with packed weights: the overlapping windows are read from the slab without a copy, some taps at a time. */
static void forward_group_packed(void *arg, int64_t i, int worker)
{
    const mert_grouped_conv_args *a = arg;
    int64_t b = i / a->groups, g = i % a->groups, Cg = a->D / a->groups, inner = a->kernel * Cg,
            W = mert_panel_width(Cg);
    int64_t at = b * a->T * a->D + g * Cg, taps = taps_at_once(Cg);
    float *slab = mert_cpu_scratch(worker, (size_t)((a->T + a->kernel) * Cg));
    if (!slab)
        return;
    take_group(slab, a->x + at, a->T, a->D, Cg, a->kernel, a->pad);
    for (int64_t k = 0; k < a->kernel; k += taps) {
        int last = k + taps >= a->kernel;
        mert_panel_product p = {.panels = a->w + g * mert_packed_floats(Cg, inner) + k * Cg * W,
                                .panel_step = inner * W,
                                .n = Cg,
                                .k = (last ? a->kernel - k : taps) * Cg,
                                .x = slab + k * Cg,
                                .ldx = Cg,
                                .m = a->T,
                                .y = a->y + at,
                                .ldy = a->D,
                                .flags = (k ? MERT_ROWS_ADD : 0) | (last && a->gelu ? MERT_ROWS_GELU : 0),
                                .bias = last && a->bias ? a->bias + g * Cg : NULL,
                                .residual = last && a->residual ? a->residual + at : NULL};
        mert_panels_run(&p);
    }
}

/* The same in bfloat16: all taps at once, some frames at a time. */
static void forward_group_half(void *arg, int64_t i, int worker)
{
    const mert_grouped_conv_args *a = arg;
    int64_t b = i / a->groups, g = i % a->groups, Cg = a->D / a->groups, inner = a->kernel * Cg;
    int64_t at = b * a->T * a->D + g * Cg, held = ((a->T + a->kernel) * Cg + 15) / 16 * 16;
    mert_panel_product p = {.panels = a->w + g * mert_half_floats(Cg, inner), .n = Cg, .k = inner, .ldx = Cg,
                            .m = a->T < HALF_ROWS ? a->T : HALF_ROWS, .ldy = a->D,
                            .flags = a->gelu ? MERT_ROWS_GELU : 0, .bias = a->bias ? a->bias + g * Cg : NULL};
    float *slab = mert_cpu_scratch(worker, (size_t)held + mert_half_room(&p) / sizeof(float) + 1);
    if (!slab)
        return;
    take_group(slab, a->x + at, a->T, a->D, Cg, a->kernel, a->pad);
    for (int64_t t = 0; t < a->T; t += HALF_ROWS, at += HALF_ROWS * a->D) {
        p.x = slab + t * Cg;
        p.y = a->y + at;
        p.residual = a->residual ? a->residual + at : NULL;
        p.m = a->T - t < HALF_ROWS ? a->T - t : HALF_ROWS;
        mert_half_run(&p, slab + held);
    }
}

void mert_cpu_grouped_conv(const void *args)
{
    const mert_grouped_conv_args *a = args;
    mert_pool_run(a->B * a->groups,
                  a->packed == MERT_PACKED_BF16 ? forward_group_half : a->packed ? forward_group_packed : forward_group,
                  (void *)args);
}

/* One task: one group and all items in order, so that dw is summed in a fixed order. */
static void backward_group(void *arg, int64_t g, int worker)
{
    const mert_grouped_conv_backward_args *a = arg;
    int64_t Cg = a->D / a->groups, inner = a->kernel * Cg, held = ((a->T + a->kernel) * Cg + 15) / 16 * 16;
    float *slab = mert_cpu_scratch(worker, (size_t)(2 * held + TILE * inner));
    float *dslab, *rows;
    if (!slab)
        return;
    dslab = slab + held;
    rows = dslab + held;
    for (int64_t b = 0; b < a->B; b++) {
        const float *dy = a->dy + b * a->T * a->D + g * Cg;
        take_group(slab, a->x + b * a->T * a->D + g * Cg, a->T, a->D, Cg, a->kernel, a->pad);
        memset(dslab, 0, (size_t)held * sizeof(float));
        for (int64_t t = 0; t < a->T; t += TILE) {
            int64_t n = windows(rows, slab, t, a->T, Cg, a->kernel);
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)Cg, (int)inner, (int)n, 1, dy + t * a->D,
                        (int)a->D, rows, (int)inner, 1, a->dw + g * Cg * inner, (int)inner);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)inner, (int)Cg, 1, dy + t * a->D,
                        (int)a->D, a->w + g * Cg * inner, (int)inner, 0, rows, (int)inner);
            for (int64_t r = 0; r < n; r++)
                MERT_VECTOR->axpy(dslab + (t + r) * Cg, rows + r * inner, 1.0f, inner);
        }
        for (int64_t t = 0; t < a->T; t++)
            MERT_VECTOR->axpy(a->dx + (b * a->T + t) * a->D + g * Cg, dslab + (t + a->pad) * Cg, 1.0f, Cg);
    }
}

void mert_cpu_grouped_conv_backward(const void *args)
{
    const mert_grouped_conv_backward_args *a = args;
    mert_pool_run(a->groups, backward_group, (void *)args);
}
