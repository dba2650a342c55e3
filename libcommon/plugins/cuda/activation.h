/* Activations of one number. */
#ifndef MERT_CUDA_ACTIVATION_H
#define MERT_CUDA_ACTIVATION_H

#include "portable.h"

/* Phi(x), of the normal distribution, exact: not the tanh form */
__device__ __forceinline__ float normal_below(float x) { return 0.5f * (1.0f + erff(x * 0.70710678118654752f)); }

__device__ __forceinline__ float gelu_of(float x) { return x * normal_below(x); }

__device__ __forceinline__ float gelu_slope(float x)
{
    return normal_below(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
}

__device__ __forceinline__ float elu_of(float x) { return x > 0.0f ? x : expm1f(x); }

__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }

#endif
