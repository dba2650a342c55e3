/* Copies from global to shared memory that run while their thread continues (the PTX instruction cp.async, sm_80 and
 * later). Each copies 16 bytes, aligned to 16. A thread commits its copies in groups. wait<N> returns when all but the
 * last N groups are complete; other threads see the data after a barrier. */
#ifndef MERT_CUDA_ASYNC_H
#define MERT_CUDA_ASYNC_H

#include "portable.h"

#ifdef __CUDACC__

struct async_copies {
    /* there 0: writes zeros, and does not read `from`. */
    __device__ __forceinline__ void copy(void *to, const void *from, int there)
    {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                     "l"(from), "r"(there ? 16 : 0)
                     : "memory");
    }
    __device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
    template <int N> __device__ __forceinline__ void wait()
    {
        asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
    }
};

#else
#include <emulated_async.h>
#endif

#endif
