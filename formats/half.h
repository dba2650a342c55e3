/* Conversion of float32 to the two 16-bit formats, rounded to nearest, ties to even; and back, which is exact. */
#ifndef MERT_HALF_H
#define MERT_HALF_H

#include <stdint.h>
#include <string.h>

/* IEEE 754 binary16; values beyond its range become infinity. */
static inline uint16_t mert_to_f16(float x)
{
    uint32_t b, sign, mantissa, shift, half;
    int32_t exponent;
    memcpy(&b, &x, sizeof b);
    sign = b >> 16 & 0x8000;
    exponent = (int32_t)(b >> 23 & 0xff) - 127;
    mantissa = b & 0x7fffff;
    if (exponent == 128)
        return (uint16_t)(sign | 0x7c00 | (mantissa ? 0x200 : 0));
    if (exponent > 15)
        return (uint16_t)(sign | 0x7c00);
    if (exponent >= -14) { /* a carry of the rounding into the exponent gives the right result */
        half = (uint32_t)(exponent + 15) << 10 | mantissa >> 13;
        return (uint16_t)(sign | (half + ((mantissa & 0x1fff) + (half & 1) > 0x1000)));
    }
    if (exponent < -25)
        return (uint16_t)sign;
    mantissa |= 0x800000;
    shift = (uint32_t)(-1 - exponent); /* 14..24: the last place of a subnormal is 2^-24 */
    half = mantissa >> shift;
    mantissa &= (1u << shift) - 1;
    return (uint16_t)(sign | (half + (mantissa + (half & 1) > 1u << (shift - 1))));
}

static inline uint16_t mert_to_bf16(float x)
{
    uint32_t b, rounded, quiet; /* both are computed, so that loops over this have no branches */
    memcpy(&b, &x, sizeof b);
    rounded = (b + 0x7fff + (b >> 16 & 1)) >> 16;
    quiet = b >> 16 | 0x40;
    return (uint16_t)((b & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static inline float mert_from_bf16(uint16_t x)
{
    uint32_t b = (uint32_t)x << 16;
    float y;
    memcpy(&y, &b, sizeof y);
    return y;
}

static inline float mert_from_f16(uint16_t x)
{
    uint32_t magnitude = x & 0x7fff, b;
    float y;
    if (magnitude < 0x400) { /* subnormal: a multiple of 2^-24 */
        y = (float)magnitude * 0x1p-24f;
        return x & 0x8000 ? -y : y;
    }
    b = (uint32_t)(x & 0x8000) << 16 | (magnitude >= 0x7c00 ? 0x7f800000 | (magnitude & 0x3ff) << 13
                                                            : (magnitude << 13) + (112u << 23));
    memcpy(&y, &b, sizeof y);
    return y;
}

#endif
