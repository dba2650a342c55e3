/* Inner loops for computing codes: distances to codewords, exact sums. The result of a row depends only on that row
 * where it can change a code (contract A1). */
#ifndef MERT_CODES_H
#define MERT_CODES_H

#include "libcommon/base/cpu.h"

#include <stdint.h>

typedef struct mert_codes_kernels {
    /* z[n] = x - centre; returns the sum of squares */
    float (*centred)(float *z, const float *x, const float *centre, int64_t n);
    /* The number of scores within `slack` of the largest, and the indices of the first `max` of them. */
    int64_t (*best)(const float *score, int64_t n, double slack, int32_t *index, int64_t max);
    /* index of the first x that is NaN or outside of [-limit, limit]; n: none */
    int64_t (*beyond)(const float *x, int64_t n, float limit);
    /* sum over i of (x[i] - y[i])^2, in double */
    double (*distance2)(const float *x, const float *y, int64_t n);
    /* pot[i] += min(closest[i], the squared distance x2 + c2[i] - 2 dot[i]) */
    void (*add_nearer)(float *pot, const float *dot, float x2, const float *c2, const float *closest, int64_t n);
    /* plane[p][at + i] += digit p of x[i], in units of 2^(unit + 32 p), for p in [lo, top). Digits may be
     * negative and are at most 2^32; x must have no bits outside these planes. */
    void (*add_digits)(int64_t *const plane[], int lo, int top, int unit, int64_t at, const float *x, int64_t n);
} mert_codes_kernels;

MERT_KERNEL_DECLARE(mert_codes_kernels, mert_codes_kernels)
#define MERT_CODES_KERNELS MERT_KERNEL_TABLE(mert_codes_kernels)

#endif
