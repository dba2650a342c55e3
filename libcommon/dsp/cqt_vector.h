/* The inner loops of the constant-Q transform, eight bins side by side; one table per instruction set (cpu.h). */
#ifndef MERT_CQT_VECTOR_H
#define MERT_CQT_VECTOR_H

#include "../base/cpu.h"

enum { CQT_LANES = 8, CQT_STAGES = 24 };

/* Inverse Fourier transform of `n` points, a power of two, in CQT_LANES independent lanes: radix (4 or 2) of each
 * stage, and its twiddle factors exp(2 pi i p k / n_s), p = 0 .. n_s/radix - 1, k = 1 .. radix - 1 (n_s: points that
 * are left at stage s). */
typedef struct cqt_lane_fft {
    int n, stages;
    int radix[CQT_STAGES];
    float *twiddle[CQT_STAGES]; /* [n_s / radix][radix - 1][2] */
} cqt_lane_fft;

typedef struct cqt_vector {
    /* z[(first + q) mod frames][re, im][lane] = sum_p response[q + p * frames][lane] * spectrum[q + p * frames],
     * q = 0 .. frames - 1. rows and frames are multiples of 4. */
    void (*fold)(const float *response, const float *spectrum, int rows, int frames, int first, float *z);
    /* In place over x with y as scratch, both [n][2][CQT_LANES]; returns the one that holds the result. */
    float *(*inverse)(const cqt_lane_fft *f, float *x, float *y);
    /* sqrt(re^2 + im^2) of n points: z[n][2][CQT_LANES] -> out[n][CQT_LANES]. */
    void (*magnitude)(const float *z, int n, float *out);
    /* z[n][2][CQT_LANES] *= w[2][CQT_LANES], complex, lane by lane. */
    void (*turn)(float *z, int n, const float *w);
} cqt_vector;

MERT_KERNEL_DECLARE(cqt_vector, mert_cqt_vector)

#endif
