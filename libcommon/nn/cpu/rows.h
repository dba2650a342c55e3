/* Products with packed weights: y[m, n] = x[m, k] w[n, k]^T and what follows it, where every output is one sum in
 * the order of k alone. A row's result does not depend on how many rows there are, where among them it stands, or on
 * which tile it fell: chunked or whole, alone or in lock-step with other items, on one thread or several, the bits
 * are the same (contract A1), which no general matrix product promises. Inference, the codecs and k-means compute
 * with these.
 *
 * Rows may overlap (ldx < k), so a convolution over time is a product without a copy: with x[T, C] in time order,
 * kernel k and stride s, row t is the k * C numbers from x + t * s * C, ldx = s * C. A dilated kernel is `taps`
 * pieces of C numbers each, `tap_stride` apart.
 *
 * Speed: weights are packed once into panels of 32 outputs (48 where that divides their number better); a register
 * tile (AVX-512: 12 rows by 32 outputs) walks down k reading the panel once, and bias, GELU and residual are added
 * while the tile is at hand. No packing of x, so short k and few rows cost little more than their arithmetic.
 * Reaches the rate of a large sgemm from about 50 rows and k = 64 on. */
#ifndef MERT_ROWS_H
#define MERT_ROWS_H

#include "libcommon/base/cpu.h"

#include <stdint.h>

enum { MERT_PANEL = 32, MERT_WIDE_PANEL = 48 };

/* Outputs of one panel: a property of n alone. */
static inline int64_t mert_panel_width(int64_t n)
{
    return n % MERT_WIDE_PANEL == 0 && n % MERT_PANEL ? MERT_WIDE_PANEL : MERT_PANEL;
}
static inline int64_t mert_panel_count(int64_t n) { return (n + mert_panel_width(n) - 1) / mert_panel_width(n); }
/* Floats that the panels of weights [n, k] take: [panel][k][width], zeros beyond n. */
static inline int64_t mert_packed_floats(int64_t n, int64_t k) { return mert_panel_count(n) * mert_panel_width(n) * k; }

/* w: [n, k] with row stride ldw -> panels [first, end). */
void mert_pack_panels(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end);

typedef enum mert_rows_flags {
    MERT_ROWS_ADD = 1,     /* y += instead of y = */
    MERT_ROWS_ELU = 2,
    MERT_ROWS_GELU = 4
} mert_rows_flags;

/* y = (ADD: y +) alpha x w^T, then + bias, kept in pre, ELU or GELU, + residual; NULL and 0 mean "not wanted"
 * (alpha, taps: 1; width: mert_panel_width(n); panel_step: k * width). pre and residual have y's row stride. */
typedef struct mert_panel_product {
    const float *panels;
    int64_t n, k, width, panel_step;
    int64_t taps, tap_stride;       /* x's row: taps pieces of k / taps floats */
    const float *x;
    float *y;
    int64_t ldx, ldy, m;
    float alpha;
    const float *bias, *residual;
    float *pre;
    int flags;
} mert_panel_product;

/* Rows [row, row + rows) of panels [first, end), in the calling thread. */
void mert_panels_part(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end);
/* All of it, in the calling thread; by the pool. `count` products at once (their tasks share the pool). */
void mert_panels_run(const mert_panel_product *p);
void mert_panels_pool(const mert_panel_product *p, int64_t count);

/* ---- weights that own their panels ---- */

typedef struct mert_rows {
    int64_t n, k;          /* outputs; inputs of all taps together */
    int64_t taps;          /* pieces of a row: k = taps * (k / taps) */
    int64_t tap_stride;    /* floats from piece to piece */
    float *panels;
    float *bias;           /* [n], or NULL */
} mert_rows;

/* weights [n, k] row major with row stride ldw, bias [n] or NULL: copied. NULL: out of memory. */
mert_rows *mert_rows_new(const float *weights, int64_t ldw, int64_t n, int64_t k, const float *bias);
void mert_rows_free(mert_rows *w); /* NULL is fine */
/* Other weights of the same size. */
void mert_rows_set(mert_rows *w, const float *weights, int64_t ldw);

/* y[m, n] (row stride ldy) from x (row stride ldx) with the bias, to be run as above. */
mert_panel_product mert_rows_product(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy,
                                     int flags);
/* The same at once, in the calling thread. */
void mert_rows_apply(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);
/* The same by the pool. */
void mert_rows_pool(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The readable version: one sum in double per output. */
void mert_rows_plain(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The inner loops, one table per instruction set. */
typedef struct mert_rows_kernels {
    void (*part)(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end);
    int row_tile; /* rows of a full register tile: what rows are best cut into multiples of */
} mert_rows_kernels;

MERT_KERNEL_DECLARE(mert_rows_kernels, mert_rows_kernels)
#define MERT_ROWS_KERNELS MERT_KERNEL_TABLE(mert_rows_kernels)

#endif
