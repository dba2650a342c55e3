/* The positional convolution on bfloat16 elements (gemm_half.h). A task has a group of channels: its frames, with zeros
 * around them, are copied to a slab, whose rows overlap.
 *
 * Backward: dx is the same convolution of dy with the taps in reverse order. For dw, the slab is transposed to
 * [channel][time]. Then the inputs of one channel for all taps are rows, too, each one frame after the last, and their
 * product with dy is dw of this channel. */
#include "libcommon/nn/cpu/gemm_half.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

enum { ROWS = 96, SLACK = 64 }; /* frames at once; frames that may be read beyond the end */

static int64_t slab_numbers(int64_t T, int64_t kernel, int64_t Cg)
{
    return ((T + kernel + SLACK) * Cg + 31) / 32 * 32;
}

/* slab [T + kernel + SLACK][Cg]: the frames of an item from `pad` on, zeros elsewhere. x: the group's first channel. */
static void take_group(uint16_t *slab, const uint16_t *x, int64_t T, int64_t D, int64_t Cg, int64_t kernel, int64_t pad)
{
    memset(slab, 0, (size_t)slab_numbers(T, kernel, Cg) * sizeof *slab);
    for (int64_t t = 0; t < T; t++)
        memcpy(slab + (t + pad) * Cg, x + t * D, (size_t)Cg * sizeof *slab);
}

/* The convolution of a slab, for one item; how: c, ldc, add, residual, GELU as in mert_gemm. y: ROWS + 2 rows of
 * ldy. */
static void convolve(const mert_gemm_args *how, const float *panels, const uint16_t *slab, int64_t T, int64_t Cg,
                     int64_t inner, int64_t at, const float *bias, float *y, int64_t ldy)
{
    const uint16_t *before = (const uint16_t *)(const void *)how->c;
    for (int64_t t = 0; t < T; t += ROWS) {
        int64_t rows = mert_smaller(T - t, ROWS), row = at + t * how->ldc;
        mert_panel_product p = {.panels = panels, .n = Cg, .k = inner, .y = y, .ldy = ldy, .m = rows,
                                .flags = how->add ? MERT_ROWS_ADD : 0};
        for (int64_t r = 0; how->add && r < rows; r++)
            MERT_VECTOR->widen(y + r * ldy, before + row + r * how->ldc, Cg);
        mert_half_chosen()->part(&p, slab + t * Cg, Cg, 0, rows, 0, mert_half_panels(Cg));
        mert_half_store(how, y, ldy, row, rows, Cg, bias, y + ROWS * ldy);
    }
}

/* ---- forward ---- */

typedef struct forward {
    const mert_grouped_conv_args *a;
    const float *panels;
} forward;

static int64_t width_of(int64_t Cg) { return (Cg + 15) / 16 * 16; }

static void pack_group(void *arg, int64_t g, int worker)
{
    const forward *f = arg;
    int64_t Cg = f->a->D / f->a->groups, inner = f->a->kernel * Cg;
    (void)worker;
    mert_half_pack_elements((float *)(uintptr_t)f->panels + g * mert_half_floats(Cg, inner),
                            (const uint16_t *)(const void *)f->a->w + g * Cg * inner, inner, 1, inner, Cg);
}

static void forward_group(void *arg, int64_t i, int worker)
{
    const forward *f = arg;
    const mert_grouped_conv_args *a = f->a;
    int64_t b = i / a->groups, g = i % a->groups, Cg = a->D / a->groups, inner = a->kernel * Cg, ldy = width_of(Cg);
    int64_t at = b * a->T * a->D + g * Cg;
    mert_gemm_args how = {.c = a->y, .ldc = a->D, .gelu = a->gelu, .residual = a->residual};
    float *y = mert_cpu_scratch(worker, (size_t)((ROWS + 2) * ldy + slab_numbers(a->T, a->kernel, Cg) / 2));
    uint16_t *slab;
    if (!y)
        return;
    slab = (uint16_t *)(void *)(y + (ROWS + 2) * ldy);
    take_group(slab, (const uint16_t *)(const void *)a->x + at, a->T, a->D, Cg, a->kernel, a->pad);
    convolve(&how, f->panels + g * mert_half_floats(Cg, inner), slab, a->T, Cg, inner, at,
             a->bias ? a->bias + g * Cg : NULL, y, ldy);
}

int mert_cpu_grouped_conv_half(const mert_grouped_conv_args *a)
{
    int64_t Cg = a->D / a->groups, inner = a->kernel * Cg;
    forward f = {.a = a, .panels = (const float *)a->w};
    if (!mert_half_fast() || inner % MERT_HALF_STEP || a->packed > MERT_PACKED_F32)
        return 0;
    if (!a->packed) {
        if (!(f.panels = mert_cpu_shared_scratch((size_t)(a->groups * mert_half_floats(Cg, inner)))))
            return 1;
        mert_pool_run(a->groups, pack_group, &f);
    }
    mert_pool_run(a->B * a->groups, forward_group, &f);
    return 1;
}

/* ---- backward ---- */

/* turned[i][k][o] = w[o][kernel - 1 - k][i] */
static void turn_weights(uint16_t *turned, const uint16_t *w, int64_t Cg, int64_t kernel)
{
    for (int64_t o = 0; o < Cg; o++)
        for (int64_t k = 0; k < kernel; k++)
            for (int64_t i = 0; i < Cg; i++)
                turned[(i * kernel + k) * Cg + o] = w[(o * kernel + kernel - 1 - k) * Cg + i];
}

/* sums[i][k][o] (add: +=) the products of one item. slab of x; turned: memory for [Cg][T + kernel + SLACK]. */
static void add_weights(float *sums, float *panels, uint16_t *turned, const uint16_t *slab, const uint16_t *dy,
                        int64_t ldy, int64_t T, int64_t Cg, int64_t kernel, int add)
{
    int64_t length = T + kernel + SLACK;
    for (int64_t t = 0; t < length; t++)
        for (int64_t i = 0; i < Cg; i++)
            turned[i * length + t] = slab[t * Cg + i];
    mert_half_pack_elements(panels, dy, ldy, 0, T, Cg);
    for (int64_t i = 0; i < Cg; i++) {
        mert_panel_product p = {.panels = panels, .n = Cg, .k = T, .y = sums + i * kernel * Cg, .ldy = Cg, .m = kernel,
                                .flags = add ? MERT_ROWS_ADD : 0};
        mert_half_chosen()->part(&p, turned + i * length, 1, 0, kernel, 0, mert_half_panels(Cg));
    }
}

/* One task: one group and all items in order, so that dw is summed in a fixed order. */
static void backward_group(void *arg, int64_t g, int worker)
{
    const mert_grouped_conv_backward_args *a = arg;
    const int64_t Cg = a->D / a->groups, inner = a->kernel * Cg, ldy = width_of(Cg), all = inner * Cg;
    const int64_t slab_floats = slab_numbers(a->T, a->kernel, Cg) / 2;
    const int64_t packed = mert_half_floats(Cg, inner), packed_dy = mert_half_floats(Cg, a->T);
    mert_gemm_args how = {.c = a->dx, .ldc = a->D, .add = 1};
    float *y = mert_cpu_scratch(worker, (size_t)((ROWS + 2) * ldy + packed + packed_dy + 2 * slab_floats + 2 * all));
    float *panels, *dy_panels, *sums, *dw = a->dw + g * all;
    uint16_t *slab, *turned;
    if (!y)
        return;
    panels = y + (ROWS + 2) * ldy;
    dy_panels = panels + packed;
    slab = (uint16_t *)(void *)(dy_panels + packed_dy);
    turned = slab + 2 * slab_floats;
    sums = (float *)(void *)(turned + 2 * slab_floats);
    turn_weights((uint16_t *)(void *)(sums + all), (const uint16_t *)(const void *)a->w + g * all, Cg, a->kernel);
    mert_half_pack_elements(panels, (const uint16_t *)(const void *)(sums + all), inner, 1, inner, Cg);
    for (int64_t b = 0; b < a->B; b++) {
        int64_t at = b * a->T * a->D + g * Cg;
        const uint16_t *dy = (const uint16_t *)(const void *)a->dy + at;
        take_group(slab, (const uint16_t *)(const void *)a->x + at, a->T, a->D, Cg, a->kernel, a->pad);
        add_weights(sums, dy_panels, turned, slab, dy, a->D, a->T, Cg, a->kernel, b > 0);
        take_group(slab, dy, a->T, a->D, Cg, a->kernel, a->kernel - 1 - a->pad);
        convolve(&how, panels, slab, a->T, Cg, inner, at, NULL, y, ldy);
    }
    for (int64_t o = 0; o < Cg && a->B > 0; o++)
        for (int64_t k = 0; k < a->kernel; k++)
            for (int64_t i = 0; i < Cg; i++)
                dw[(o * a->kernel + k) * Cg + i] += sums[(i * a->kernel + k) * Cg + o];
}

int mert_cpu_grouped_conv_backward_half(const mert_grouped_conv_backward_args *a)
{
    if (!mert_half_fast() || a->kernel * (a->D / a->groups) % MERT_HALF_STEP || a->pad >= a->kernel)
        return 0;
    mert_pool_run(a->groups, backward_group, (void *)(uintptr_t)a);
    return 1;
}
