/* Products in reduced precision: y[m, n] = x[m, k] w[n, k]^T as in rows.h, but x and w are rounded to bfloat16 (to
 * nearest, ties to even). Sums are float32. Bias, GELU, residual, pre, ADD and alpha are those of rows.h, in float32.
 *
 * Each output is one sum in a fixed order, which depends on nothing but k, so a row's result depends on nothing else
 * (contract A1). There are two orders, because there are two instructions:
 *
 *   pairs   k is taken in pairs: to the sum, first the product of the odd step of a pair is added, then that of its
 *           even step. This is the order of AVX-512 BF16 (VDPBF16PS), and the portable kernels repeat it.
 *   tiles   that of AMX (TDPBF16PS). In each group of 32 steps, the even steps are summed in order, and so are the odd
 *           steps; then even + odd is added to the sum.
 *
 * The product of two bfloat16 numbers is exact in float32, so it makes no difference whether multiplication and
 * addition are fused. So all processors without AMX, and all processors with $MERT_ISA set, give the same bytes, as long as
 * no number is below 1.2e-38, which both instructions take for zero. With AMX, an output differs by the rounding of its
 * sum: less than 1e-6 of the sum of the magnitudes of its products.
 *
 * Speed, against rows.h: AMX, 2 x 2 tiles of 16 rows by 16 outputs, several times; AVX-512 BF16, which multiplies twice
 * as many numbers with one instruction as float32, 1.9 to 2.1 times (Zen 4). Elsewhere the rounded numbers are
 * multiplied as float32, at 0.93 to 0.99 of the rate (AVX2 and AVX-512, Zen 4).
 *
 * x may overlap (ldx < k), but there are no dilated kernels: width, panel_step, taps and tap_stride of
 * mert_panel_product are ignored. */
#ifndef MERT_ROWS_HALF_H
#define MERT_ROWS_HALF_H

#include "libcommon/nn/cpu/rows.h"

#include <stddef.h>

enum { MERT_HALF_PANEL = 16, MERT_HALF_STEP = 32 };

static inline int64_t mert_half_panels(int64_t n) { return (n + MERT_HALF_PANEL - 1) / MERT_HALF_PANEL; }
static inline int64_t mert_half_depth(int64_t k) { return (k + MERT_HALF_STEP - 1) / MERT_HALF_STEP * MERT_HALF_STEP; }
/* Size in floats of the panels of weights [n, k]: bfloat16 [panel][depth / 2][16][2], with zeros beyond n and k. */
static inline int64_t mert_half_floats(int64_t n, int64_t k)
{
    return mert_half_panels(n) * MERT_HALF_PANEL * mert_half_depth(k) / 2;
}

/* Packs panels [first, end) of the weights w [n, k] with row stride ldw. */
void mert_half_pack(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end);

/* Computes a product in the calling thread. room: scratch memory for the rounded x, mert_half_room(p) bytes, 64-byte
 * aligned. */
size_t mert_half_room(const mert_panel_product *p);
void mert_half_run(const mert_panel_product *p, void *room);
/* Computes `count` products with the pool. All use the rows (x, ldx, m and k) of the first product. */
void mert_half_pool(const mert_panel_product *p, int64_t count);

/* The inner loops: one table for each instruction set, one for AVX-512 BF16, and one for AMX. */
typedef struct mert_half_kernels {
    const char *name; /* "portable", "avx512bf16", "amx" */
    size_t size;      /* size in bytes of a rounded number, which is stored as bfloat16, or as a float32 of the same
                         value */
    void (*round)(void *to, const float *x, int64_t n);
    /* Computes rows [row, row + rows) of y for panels [first, end). x: the rounded rows, from `row` on. Numbers between
     * k and the depth are zero (for rows that overlap, k is the depth). Memory up to a multiple of 16 rows must be
     * readable. */
    void (*part)(const mert_panel_product *p, const void *x, int64_t ldx, int64_t row, int64_t rows, int64_t first,
                 int64_t end);
} mert_half_kernels;

/* The table for this processor; and 1 if its products are faster than those of rows.h. */
const mert_half_kernels *mert_half_chosen(void);
int mert_half_fast(void);

MERT_KERNEL_DECLARE(mert_half_kernels, mert_half_kernels)
#ifdef MERT_HAVE_BF16
extern const mert_half_kernels mert_half_kernels_dot;
#endif
#ifdef MERT_HAVE_AMX
extern const mert_half_kernels mert_half_kernels_amx;
#endif

#endif
