/* Elementary functions without branches, tables or calls, so that compilers can vectorise loops that use them. Only for
 * *.kernels.c files. */
#ifndef MERT_INLINE_MATH_H
#define MERT_INLINE_MATH_H

#if defined(__AVX2__) && !defined(__AVX512F__)
#include <immintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

/* to = x within low and high, for 8 numbers; NaN stays NaN. AVX has two instructions for this. From `x < low ? low : x`
 * in a vectorised loop, GCC generates comparisons and selections instead. */
#if defined(__AVX2__) && !defined(__AVX512F__)
#define MERT_LIMIT_8
static inline void limit_8(float *to, __m256 x, float low, float high)
{
    x = _mm256_max_ps(_mm256_set1_ps(low), x);
    _mm256_storeu_ps(to, _mm256_min_ps(_mm256_set1_ps(high), x));
}
#endif

/* exp(x) = 2^k e^r, |r| <= ln 2 / 2, with a polynomial for e^r whose error is below 3e-9. x is limited to [-87, 88];
 * e^-87 is 0 in float's precision. Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits, so
 * there is no conversion to an integer, which would be undefined for NaN. */
static inline float exp_limited_1(float x)
{
    const float rounder = 12582912.0f;
    float k, r, p;
    uint32_t bits;
    k = x * 1.44269504088896f + rounder;
    memcpy(&bits, &k, sizeof bits);
    k -= rounder;
    r = x - k * 0.693359375f + k * 2.12194440054690583e-4f;
    p = 1.3950540299e-03f;
    p = p * r + 8.3689182641e-03f;
    p = p * r + 4.1666205066e-02f;
    p = p * r + 1.6666518599e-01f;
    p = p * r + 5.0000000954e-01f;
    p = p * r * r + r + 1.0f;
    bits = (bits + 127) << 23; /* the exponent becomes k + 127; the bits of `rounder` are shifted out */
    memcpy(&k, &bits, sizeof k);
    return p * k;
}

static inline float exp_1(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    return exp_limited_1(x);
}

/* erf(x) = x P(x^2) / Q(x^2) on |x| < 4, fitted to 1.5e-9; 1 - erf(4) is 1.5e-8. */
static inline float erf_limited_1(float x)
{
    float t, p, q;
    t = x * x;
    p = -1.3666796389e-08f;
    p = p * t + 4.7805426417e-06f;
    p = p * t + 3.8269229588e-04f;
    p = p * t + 3.8395272340e-03f;
    p = p * t + 5.4332592149e-02f;
    p = p * t + 1.8471029986e-01f;
    p = p * t + 1.1283791821e+00f;
    q = 6.4009298380e-05f;
    q = q * t + 1.3095787178e-03f;
    q = q * t + 1.5453512556e-02f;
    q = q * t + 1.1382629004e-01f;
    q = q * t + 4.9702878667e-01f;
    q = q * t + 1.0f;
    return x * p / q;
}

static inline float erf_1(float x)
{
    x = x > 4.0f ? 4.0f : x;
    x = x < -4.0f ? -4.0f : x;
    return erf_limited_1(x);
}

static inline float gelu_1(float x)
{
    return 0.5f * x * (1.0f + erf_1(x * 0.70710678118654752f));
}

static inline float bits_to_float(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* exp(x) - 1 with x = k ln 2 + r, |r| <= ln 2 / 2: 2^k (e^r - 1) + (2^k - 1), which loses no precision for small x.
 * Taylor series of e^r - 1 up to r^7; its relative error is below 1.5e-8. */
static inline float expm1_1(float x)
{
    float k, r, p, two_k;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    k = rintf(x * 1.44269504088896f);
    r = x - k * 0.693359375f + k * 2.12194440054690583e-4f;
    p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r;
    two_k = bits_to_float(((int32_t)k + 127) << 23);
    return two_k * p + (two_k - 1.0f);
}

static inline float elu_1(float x)
{
    float e = expm1_1(x);
    return x > 0 ? x : e;
}

static inline float sigmoid_1(float x)
{
    return 1.0f / (2.0f + expm1_1(-x));
}

/* tanh(x) = e / (e + 2) with e = exp(2x) - 1; constant beyond 10 */
static inline float tanh_1(float x)
{
    float e;
    x = x > 10.0f ? 10.0f : x;
    x = x < -10.0f ? -10.0f : x;
    e = expm1_1(2 * x);
    return e / (e + 2.0f);
}

#endif
