/* bfloat16, in place of NVIDIA's header: what the plugin uses of it. */
#ifndef EMU_CUDA_BF16_H
#define EMU_CUDA_BF16_H

#include "cuda_runtime.h"
#include "formats/half.h"

struct alignas(2) __nv_bfloat16 {
    uint16_t bits;
};

static inline float __bfloat162float(__nv_bfloat16 x) { return mert_from_bf16(x.bits); }
static inline __nv_bfloat16 __float2bfloat16(float x) { return {mert_to_bf16(x)}; }

#endif
