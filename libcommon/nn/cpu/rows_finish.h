/* The steps after a product of rows.h, while its sums are in the cache. Only for *.kernels.c files. */
#ifndef MERT_ROWS_FINISH_H
#define MERT_ROWS_FINISH_H

#include "libcommon/nn/cpu/inline_math.h"
#include "libcommon/nn/cpu/rows.h"

/* The steps after the product (alpha, ADD, bias, pre, activation, residual), for sums [rows][width] of the rows from
 * `row` on and the first n columns from `at` on. Each step is done for the whole tile before the next, so that it is
 * one long loop. */
static inline __attribute__((always_inline)) void finish_tile(const mert_panel_product *p, float *sum, int64_t row,
                                                              int64_t rows, int64_t at, int64_t n, int64_t width)
{
    const float alpha = p->alpha == 0 ? 1.0f : p->alpha;
    for (int64_t r = 0; r < rows; r++) {
        float *v = sum + r * width;
        const float *y = p->y + (row + r) * p->ldy + at;
        for (int64_t i = 0; i < n; i++)
            v[i] = alpha * v[i];
        if (p->flags & MERT_ROWS_ADD)
            for (int64_t i = 0; i < n; i++)
                v[i] += y[i];
        if (p->bias)
            for (int64_t i = 0; i < n; i++)
                v[i] += p->bias[at + i];
        if (p->pre)
            memcpy(p->pre + (row + r) * p->ldy + at, v, (size_t)n * sizeof *v);
    }
    if (p->flags & MERT_ROWS_ELU)
        for (int64_t i = 0; i < rows * width; i++)
            sum[i] = elu_1(sum[i]);
    if (p->flags & MERT_ROWS_GELU)
        for (int64_t i = 0; i < rows * width; i++)
            sum[i] = gelu_1(sum[i]);
    for (int64_t r = 0; r < rows; r++) {
        float *v = sum + r * width;
        if (p->residual)
            for (int64_t i = 0; i < n; i++)
                v[i] += p->residual[(row + r) * p->ldy + at + i];
        memcpy(p->y + (row + r) * p->ldy + at, v, (size_t)n * sizeof *v);
    }
}

/* The same as a function, which limits n to the number of columns that exist. */
#define FINISH(name, width)                                                                                          \
    static __attribute__((noinline)) void name(const mert_panel_product *p, float *sum, int64_t row, int64_t rows,   \
                                               int64_t at)                                                           \
    {                                                                                                                \
        if (p->n - at >= (width))                                                                                    \
            finish_tile(p, sum, row, rows, at, (width), (width));                                                    \
        else                                                                                                         \
            finish_tile(p, sum, row, rows, at, p->n - at, (width));                                                  \
    }

#endif
