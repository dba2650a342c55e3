/* What kernels need beside CUDA C++, so that one source serves nvcc and, with the emulator's headers in the place of
 * NVIDIA's (tests/cuda/emulator), the CPU. The emulator's cuda_runtime.h has these macros, too. */
#ifndef MERT_CUDA_PORTABLE_H
#define MERT_CUDA_PORTABLE_H

#include <cuda_runtime.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define DYNAMIC_SHARED(type, name) \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type *name = (type *)dynamic_shared
#endif

constexpr int WARP = 32;
#define ALL_LANES 0xffffffffu

/* ---- elements ---- */

typedef __nv_bfloat16 bf16;
typedef __half f16;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(f16 x) { return __half2float(x); }

/* Rounds to nearest, ties to even. */
__device__ __forceinline__ void store(float *to, float x) { *to = x; }
__device__ __forceinline__ void store(bf16 *to, float x) { *to = __float2bfloat16(x); }
__device__ __forceinline__ void store(f16 *to, float x) { *to = __float2half(x); }

/* ---- sums over threads, in an order that does not change; every thread gets the result ---- */

template <class S> __device__ __forceinline__ S warp_sum(S x)
{
    for (int i = WARP / 2; i; i >>= 1)
        x += __shfl_xor_sync(ALL_LANES, x, i);
    return x;
}

__device__ __forceinline__ float warp_max(float x)
{
    for (int i = WARP / 2; i; i >>= 1)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, i));
    return x;
}

/* part: shared, one S for each warp of the block; it may be used again after the next barrier. */
template <class S> __device__ __forceinline__ S block_sum(S x, S *part)
{
    S sum = 0;
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / WARP; i++)
        sum += part[i];
    return sum;
}

__device__ __forceinline__ float block_max(float x, float *part)
{
    float most;
    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    most = part[0];
    for (unsigned i = 1; i < blockDim.x / WARP; i++)
        most = fmaxf(most, part[i]);
    return most;
}

#endif
