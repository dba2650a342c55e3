/* Products with packed weights: y[m, n] = x[m, k] w[n, k]^T, then bias, activation and residual. Every output is one
 * sum in the order of k. So a row's result does not depend on the number of rows, on its position among them, or on the
 * tile that computes it: the bits are the same for a whole signal or chunks, for one item or many, and for any number
 * of threads (contract A1). General matrix products do not guarantee this. Inference, the codecs and k-means use these
 * products.
 *
 * Rows may overlap (ldx < k), so a convolution over time is a product without a copy. For x[T, C] in time order, with
 * kernel k and stride s, row t is the k * C numbers from x + t * s * C on, and ldx = s * C. For a dilated kernel, a row
 * is `taps` pieces of C numbers each, `tap_stride` apart.
 *
 * Speed: weights are packed once into panels of 32 outputs (48 if that divides their number better). A register tile
 * (AVX-512: 12 rows by 32 outputs) reads the panel once along k; bias, GELU and residual are applied while the tile is
 * in the cache. x is not packed, so small k and few rows have little overhead. The speed is that of a large sgemm from
 * about 50 rows and k = 64 on. */
#ifndef MERT_ROWS_H
#define MERT_ROWS_H

#include "libcommon/base/cpu.h"

#include <stdint.h>

enum { MERT_PANEL = 32, MERT_WIDE_PANEL = 48 };

/* Number of outputs in one panel; it depends on n only. */
static inline int64_t mert_panel_width(int64_t n)
{
    return n % MERT_WIDE_PANEL == 0 && n % MERT_PANEL ? MERT_WIDE_PANEL : MERT_PANEL;
}
static inline int64_t mert_panel_count(int64_t n) { return (n + mert_panel_width(n) - 1) / mert_panel_width(n); }
/* Size in floats of the panels of weights [n, k]: [panel][k][width], with zeros beyond n. */
static inline int64_t mert_packed_floats(int64_t n, int64_t k) { return mert_panel_count(n) * mert_panel_width(n) * k; }

/* Packs panels [first, end) of the weights w [n, k] with row stride ldw. */
void mert_pack_panels(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end);

typedef enum mert_rows_flags {
    MERT_ROWS_ADD = 1,     /* y += instead of y = */
    MERT_ROWS_ELU = 2,
    MERT_ROWS_GELU = 4
} mert_rows_flags;

/* y = (ADD: y +) alpha x w^T, then + bias, a copy to pre, ELU or GELU, + residual. NULL and 0 mean "not wanted", or the
 * default (alpha, taps: 1; width: mert_panel_width(n); panel_step: k * width). pre and residual have y's row stride. */
typedef struct mert_panel_product {
    const float *panels;
    int64_t n, k, width, panel_step;
    int64_t taps, tap_stride;       /* a row of x is `taps` pieces of k / taps floats */
    const float *x;
    float *y;
    int64_t ldx, ldy, m;
    float alpha;
    const float *bias, *residual;
    float *pre;
    int flags;
} mert_panel_product;

/* Computes rows [row, row + rows) of panels [first, end), in the calling thread. */
void mert_panels_part(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end);
/* Compute all rows and panels: run in the calling thread, pool with the pool. pool computes `count` products at once,
 * whose tasks share the pool. */
void mert_panels_run(const mert_panel_product *p);
void mert_panels_pool(const mert_panel_product *p, int64_t count);

/* ---- weights with their own panels ---- */

typedef struct mert_rows {
    int64_t n, k;          /* outputs; inputs of all taps together */
    int64_t taps;          /* pieces of a row, each of k / taps numbers */
    int64_t tap_stride;    /* floats from one piece to the next */
    float *panels;
    float *bias;           /* [n], or NULL */
} mert_rows;

/* Copies weights [n, k] (row major, row stride ldw) and bias [n] or NULL. NULL: out of memory. */
mert_rows *mert_rows_new(const float *weights, int64_t ldw, int64_t n, int64_t k, const float *bias);
void mert_rows_free(mert_rows *w); /* NULL is fine */
/* Replaces the weights by others of the same size. */
void mert_rows_set(mert_rows *w, const float *weights, int64_t ldw);

/* Copies the weights back, [n, k]. */
void mert_rows_unpack(const mert_rows *w, float *weights);

/* The product y[m, n] (row stride ldy) of x (row stride ldx) with the bias, for the functions above. */
mert_panel_product mert_rows_product(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy,
                                     int flags);
/* Computes this product in the calling thread. */
void mert_rows_apply(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);
/* Computes this product with the pool. */
void mert_rows_pool(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The readable version: one sum in double precision for each output. */
void mert_rows_plain(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The inner loops, one table per instruction set. */
typedef struct mert_rows_kernels {
    void (*part)(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end);
    int row_tile; /* rows of a full register tile; blocks of rows should be multiples of it */
    /* Packs one panel: to [k][width] from `rows` rows of k weights, with zeros beyond them. */
    void (*pack)(float *to, const float *w, int64_t ldw, int64_t rows, int64_t k, int64_t width);
} mert_rows_kernels;

MERT_KERNEL_DECLARE(mert_rows_kernels, mert_rows_kernels)
#define MERT_ROWS_KERNELS MERT_KERNEL_TABLE(mert_rows_kernels)

#endif
