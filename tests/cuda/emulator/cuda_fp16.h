/* float16, in place of NVIDIA's header: what the plugin uses of it. */
#ifndef EMU_CUDA_FP16_H
#define EMU_CUDA_FP16_H

#include "cuda_runtime.h"
#include "formats/half.h"

struct alignas(2) __half {
    uint16_t bits;
};

static inline float __half2float(__half x) { return mert_from_f16(x.bits); }
static inline __half __float2half(float x) { return {mert_to_f16(x)}; }

#endif
