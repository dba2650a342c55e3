/* Products in reduced precision: y[m, n] = x[m, k] w[n, k]^T as in rows.h, with x and w rounded to bfloat16 (nearest,
 * ties to even) and sums in float32. Everything around the product (bias, GELU, residual, pre, ADD, alpha) is that of
 * rows.h, in float32.
 *
 * The order of each sum is that of AMX's tiles (TDPBF16PS), and the portable kernel keeps it: per 32 steps of k the
 * even ones by themselves and the odd ones by themselves, one after the other; then even + odd, and that is added to
 * the sum. Products of two bfloat16 numbers are exact in float32, so whether multiplication and addition are fused does
 * not matter: the same bytes on every machine, as long as nothing is below 1.2e-38, which tiles take for zero. A row's
 * result depends on nothing else (contract A1).
 *
 * Speed: where there is AMX, 2 x 2 tiles of 16 rows by 16 outputs. Elsewhere the rounded numbers are multiplied as
 * float32, at 0.87 of the rate of rows.h (AVX2): the order above needs two sums for each output, which have to be added
 * every 32 steps.
 *
 * x may overlap (ldx < k), but has no dilated pieces: width, panel_step, taps and tap_stride of mert_panel_product
 * do not count. */
#ifndef MERT_ROWS_HALF_H
#define MERT_ROWS_HALF_H

#include "libcommon/nn/cpu/rows.h"

#include <stddef.h>

enum { MERT_HALF_PANEL = 16, MERT_HALF_STEP = 32 };

static inline int64_t mert_half_panels(int64_t n) { return (n + MERT_HALF_PANEL - 1) / MERT_HALF_PANEL; }
static inline int64_t mert_half_depth(int64_t k) { return (k + MERT_HALF_STEP - 1) / MERT_HALF_STEP * MERT_HALF_STEP; }
/* The room that the panels of weights [n, k] take, in floats: bfloat16 [panel][depth / 2][16][2], zeros beyond n and
 * k. */
static inline int64_t mert_half_floats(int64_t n, int64_t k)
{
    return mert_half_panels(n) * MERT_HALF_PANEL * mert_half_depth(k) / 2;
}

/* w: [n, k] with row stride ldw -> panels [first, end). */
void mert_half_pack(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end);

/* In the calling thread; room: for x when it is rounded, mert_half_room(p) bytes, on a multiple of 64. */
size_t mert_half_room(const mert_panel_product *p);
void mert_half_run(const mert_panel_product *p, void *room);
/* By the pool: `count` products of the same rows (x, ldx, m and k of the first count for all). */
void mert_half_pool(const mert_panel_product *p, int64_t count);

/* The inner loops, one table per instruction set, and one of AMX. */
typedef struct mert_half_kernels {
    const char *name; /* "portable", "amx" */
    size_t size;      /* bytes of a rounded number: bfloat16, or float32 of the same value */
    void (*round)(void *to, const float *x, int64_t n);
    /* Rows [row, row + rows) of y, panels [first, end). x: rounded, `row` its first, zeros from k to the depth or
     * (rows that overlap) k is the depth; memory up to a multiple of 16 rows can be read. */
    void (*part)(const mert_panel_product *p, const void *x, int64_t ldx, int64_t row, int64_t rows, int64_t first,
                 int64_t end);
} mert_half_kernels;

MERT_KERNEL_DECLARE(mert_half_kernels, mert_half_kernels)
#ifdef MERT_HAVE_AMX
extern const mert_half_kernels mert_half_kernels_amx;
#endif

#endif
