/* Products of small matrices by a warp: 16 x 16 by 16 x 8, elements of 16 bits, sums in float (the PTX instruction
 * mma.sync.aligned.m16n8k16.row.col, of sm_80 and later). All 32 lanes call together.
 *
 * A lane holds its share of each matrix in registers. With g = lane / 4 and j = 2 (lane % 4):
 *
 *     a[0..3]  A[16][16]  rows g, g + 8, g, g + 8; columns j, j + 1 (a[0], a[1]) or j + 8, j + 9 (a[2], a[3])
 *     b[0..1]  B[16][8]   rows j, j + 1 (b[0]) or j + 8, j + 9 (b[1]); column g
 *     d[0..3]  D[16][8]   row g (d[0], d[1]) or g + 8 (d[2], d[3]); columns j, j + 1
 *
 * The element with the lower index is in the lower 16 bits. So where two D stand beside each other, their elements,
 * rounded, are an A: a[0], a[1] from the first, a[2], a[3] from the second. */
#ifndef MERT_CUDA_MMA_H
#define MERT_CUDA_MMA_H

#include "portable.h"

#ifdef __CUDACC__

/* d += a b */
template <class T> __device__ __forceinline__ void mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1);

#define MERT_MMA(type, name)                                                                                  \
    template <>                                                                                               \
    __device__ __forceinline__ void mma<type>(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)      \
    {                                                                                                         \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 "                           \
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                        \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                         \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                         \
    }
MERT_MMA(bf16, "bf16")
MERT_MMA(f16, "f16")
#undef MERT_MMA

/* Four matrices of 8 x 8 elements from shared memory. `row`: this lane's, 8 elements on a boundary of 16 bytes; lane l
 * brings row l % 8 of matrix l / 8. to[m]: of matrix m, row lane / 4, columns j, j + 1. */
__device__ __forceinline__ void load_matrices(uint32_t to[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* The same, each matrix transposed: to[m] is rows j, j + 1 of column lane / 4. */
__device__ __forceinline__ void load_transposed(uint32_t to[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

template <class T> __device__ __forceinline__ uint32_t pair_of(float low, float high);
template <> __device__ __forceinline__ uint32_t pair_of<bf16>(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&both;
}
template <> __device__ __forceinline__ uint32_t pair_of<f16>(float low, float high)
{
    __half2 both = __floats2half2_rn(low, high);
    return *(const uint32_t *)&both;
}

#else
#include <emulated_mma.h>
#endif

#endif
