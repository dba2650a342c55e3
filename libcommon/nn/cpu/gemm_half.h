/* Operations on bfloat16 elements that are computed with the products of rows_half.h, instead of on float32 copies
 * (rounded.c). The arguments are those of operations.h; elements are bfloat16 behind their pointers. Sums are float32,
 * and elements are rounded once, when they are stored. So a result differs from that on copies by float32's rounding
 * of a sum, and then perhaps by a last place of bfloat16.
 *
 * A function returns 1 if it has done the operation, or failed for lack of memory (mert_cpu_failed); 0 if this
 * processor has no instructions for it (mert_half_fast), or the arguments are not of a kind that training uses. */
#ifndef MERT_GEMM_HALF_H
#define MERT_GEMM_HALF_H

#include "libcommon/nn/cpu/cpu.h"

/* packed MERT_PACKED_F32: b has the panels of rows_half.h (which mert_pack makes for bfloat16 elements). Rows of a may
 * overlap (lda < K), and without tb those of b. */
int mert_cpu_gemm_half(const mert_gemm_args *a);
int mert_cpu_conv_half(const mert_conv_args *a);
/* Without db, which is a column sum. */
int mert_cpu_conv_backward_half(const mert_conv_backward_args *a);
/* The positional convolution: kernel * D / groups is a multiple of 32, pad < kernel. packed as above. */
int mert_cpu_grouped_conv_half(const mert_grouped_conv_args *a);
int mert_cpu_grouped_conv_backward_half(const mert_grouped_conv_backward_args *a);

/* ---- for both files of these operations ---- */

/* Packs op(b) [K, N] into the panels of rows_half.h, mert_half_floats(N, K) floats, in the calling thread. */
void mert_half_pack_elements(float *panels, const uint16_t *b, int64_t ldb, int tb, int64_t K, int64_t N);
/* Stores sums y (row stride ldy) as elements of g->c from `at` on, after bias, a copy to g->pre, GELU and g->residual
 * as in mert_gemm. room: two rows of ldy floats. y is overwritten. */
void mert_half_store(const mert_gemm_args *g, float *y, int64_t ldy, int64_t at, int64_t rows, int64_t columns,
                     const float *bias, float *room);

#endif
