/* Products in 8-bit integers: y[m, n] = x[m, k] w[n, k]^T as in rows.h. Bias, GELU, residual, pre, ADD and alpha are
 * those of rows.h, in float32.
 *
 *     w[n, k] = scale[n] q[n, k]             q: -63 to 63, scale[n] = max |w[n, :]| / 63
 *     x[m, k] = step[m] (b[m, k] - zero[m])  b: 0 to 255, step[m] = (high - low) / 254, zero[m] = round(-low / step[m])
 *     y[m, n] = step[m] scale[n] (sum over k of b[m, k] q[n, k] - zero[m] sum over k of q[n, k])
 *
 * low and high are the smallest and the largest number of the row, and 0. So each output has a scale, and each row of x
 * has one that is measured when it is used: nothing is calibrated. A row whose range is below 1e-30 counts as zeros. If
 * a number of a row is not finite, the row's outputs are NaN.
 *
 * Why q has 7 bits: AVX2 and AVX-512 add the products of two pairs of bytes in 16 bits, with saturation (VPMADDUBSW);
 * 2 * 255 * 63 fits, 2 * 255 * 127 does not. The sums are exact integers, so all machines give the same bytes, and a
 * row's result depends on nothing else (contract A1). k is at most MERT_INT8_DEPTH, so that they fit in 32 bits.
 *
 * Speed: with AVX2 twice the rate of rows.h, and the same weights are a quarter of the size. VPDPBUSD, where the CPU
 * has it with AVX-512, does three instructions of the four: 3.2 to 3.4 times the rate of rows.h (Zen 4).
 *
 * x may overlap (ldx < k): every row is rounded by itself. There are no dilated kernels: width, panel_step, taps and
 * tap_stride of mert_panel_product are ignored. */
#ifndef MERT_ROWS_INT8_H
#define MERT_ROWS_INT8_H

#include "libcommon/nn/cpu/rows.h"

#include <stddef.h>

enum { MERT_INT8_PANEL = 16, MERT_INT8_STEP = 64, MERT_INT8_DEPTH = 1 << 17 };

static inline int64_t mert_int8_panels(int64_t n) { return (n + MERT_INT8_PANEL - 1) / MERT_INT8_PANEL; }
static inline int64_t mert_int8_depth(int64_t k) { return (k + MERT_INT8_STEP - 1) / MERT_INT8_STEP * MERT_INT8_STEP; }
/* Size of a panel in bytes: q as int8 [depth / 4][16][4], with zeros beyond n and k; float scale[16]; and
 * int32 sum[16], the sums of q over k. */
static inline int64_t mert_int8_panel_bytes(int64_t k) { return MERT_INT8_PANEL * (mert_int8_depth(k) + 8); }
/* Size in floats of the panels of weights [n, k]. */
static inline int64_t mert_int8_floats(int64_t n, int64_t k)
{
    return mert_int8_panels(n) * mert_int8_panel_bytes(k) / (int64_t)sizeof(float);
}

/* Packs panels [first, end) of the weights w [n, k] with row stride ldw. */
void mert_int8_pack(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end);

/* Computes `count` products with the pool. All use the rows (x, ldx, m and k) of the first product. */
void mert_int8_pool(const mert_panel_product *p, int64_t count);

/* A rounded row: depth bytes b, any numbers beyond k; then this. Rows are depth + MERT_INT8_STEP bytes apart. */
typedef struct mert_int8_row {
    float step;
    int32_t zero;
} mert_int8_row;

static inline int64_t mert_int8_stride(int64_t k) { return mert_int8_depth(k) + MERT_INT8_STEP; }

/* The inner loops: one table for each instruction set, and one for AVX-512 VNNI. */
typedef struct mert_int8_kernels {
    const char *name;
    /* Rounds a row of k numbers. */
    void (*round)(uint8_t *to, const float *x, int64_t k);
    /* Computes rows [row, row + rows) of y for panels [first, end). x: the rounded rows, from `row` on. */
    void (*part)(const mert_panel_product *p, const uint8_t *x, int64_t row, int64_t rows, int64_t first, int64_t end);
} mert_int8_kernels;

MERT_KERNEL_DECLARE(mert_int8_kernels, mert_int8_kernels)
#ifdef MERT_HAVE_VNNI
extern const mert_int8_kernels mert_int8_kernels_vnni;
#endif

#endif
