/* What the two kinds of attention share (kernels_attention.cu: any head size; kernels_flash.cu: tensor cores). */
#ifndef MERT_CUDA_ATTENTION_H
#define MERT_CUDA_ATTENTION_H

#include "device.h"
#include "random.h"

/* The number of the dropout of query t and key u. */
__device__ __forceinline__ uint32_t pair_index(int64_t t, int64_t u, int64_t frames)
{
    return (uint32_t)(t * ((frames + 3) / 4 * 4) + u);
}

/* Attention by tensor cores: for heads of 64 channels, elements of 16 bits, and rows on boundaries of 16 bytes.
 * Returns 0 if it was queued; 1 if the arguments are others, and nothing was queued. tops [B, H, T]: the largest score
 * of each query (NULL: not wanted). */
template <class T> int flash_attention(device *d, const mert_attention_args &a, float *tops);
/* inner: room for [B, H, T] */
template <class T> int flash_attention_backward(device *d, const mert_attention_backward_args &a, float *inner);

template <> inline int flash_attention<float>(device *, const mert_attention_args &, float *) { return 1; }
template <> inline int flash_attention_backward<float>(device *, const mert_attention_backward_args &, float *)
{
    return 1;
}

#endif
