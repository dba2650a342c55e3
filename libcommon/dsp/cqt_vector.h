/* The inner loops of the constant-Q transform, eight bins side by side; one table per instruction set (cpu.h). */
#ifndef MERT_CQT_VECTOR_H
#define MERT_CQT_VECTOR_H

#include "libcommon/base/cpu.h"

#include <stddef.h>

enum { CQT_LANES = 8, CQT_STAGES = 24 };

/* Inverse Fourier transform of `n` points, a power of two, in CQT_LANES independent lanes: radix (4 or 2) of each
 * stage, and its twiddle factors exp(2 pi i p k / n_s), p = 0 .. n_s/radix - 1, k = 1 .. radix - 1 (n_s: number of
 * points at stage s). */
typedef struct cqt_lane_fft {
    int n, stages;
    int radix[CQT_STAGES];
    float *twiddle[CQT_STAGES]; /* [n_s / radix][radix - 1][2] */
} cqt_lane_fft;

/* The index of row r of a group's response in memory: rows that fold to one point, and those of the next point, are
 * stored in the order in which fold reads them. rows and frames are multiples of 4. */
static inline int cqt_response_place(int r, int rows, int frames)
{
    int q = r % frames & ~1, whole = rows / frames, rest = rows % frames;
    return q * whole + (q < rest ? q : rest) + 2 * (r / frames) + r % 2;
}

/* The index of point i of a level's spectrum in memory: pairs of points that fold to the same two are side by side, so
 * that fold reads on without gaps. count, the number of points, is a multiple of frames. */
static inline int cqt_spectrum_place(int i, int count, int frames)
{
    return (i % frames & ~1) * (count / frames) + 2 * (i / frames) + i % 2;
}

/* The spectra of CQT_LANES Hann windows, at the rows r of a response: u = step * (r - centre) radians per half sample,
 *     w(u) = sin(l u) cos(u) sin_b2 / (2 sin(u) (sin_b2 - sin(u)^2)),   sin_b2 = sin(pi / l)^2,
 * times scale. */
typedef struct cqt_windows {
    double step;
    double l[CQT_LANES], centre[CQT_LANES], sin_b2[CQT_LANES], scale[CQT_LANES];
} cqt_windows;

typedef struct cqt_vector {
    /* All rows of the response [rows][CQT_LANES], at their places. Where sin(u) or sin_b2 - sin(u)^2 is almost 0,
     * values are wrong. */
    void (*windows)(const cqt_windows *s, int rows, int frames, float *response);
    /* Folds `blocks` spectra [count][2], which are `stride` floats apart, from point `first` on, which is even:
     * z[block][(first + q) mod frames][re, im][lane] = sum_p response[q + p * frames][lane] * spectrum[first + q + p *
     * frames], q = 0 .. frames - 1. Points of the spectrum are at cqt_spectrum_place, rows of the response at
     * cqt_response_place. */
    void (*fold)(const float *response, const float *spectrum, size_t stride, int blocks, int rows, int frames,
                 int count, int first, float *z);
    /* spectrum[count][2] times the complex w[count][2]. */
    void (*advance)(const float *spectrum, const float *w, int count, float *out);
    /* In place over x with y as scratch, both [n][2][CQT_LANES]; returns the one that holds the result. */
    float *(*inverse)(const cqt_lane_fft *f, float *x, float *y);
    /* sqrt(re^2 + im^2) of n points: z[n][2][CQT_LANES] -> out[n][CQT_LANES]. */
    void (*magnitude)(const float *z, int n, float *out);
    /* z[n][2][CQT_LANES] *= w[2][CQT_LANES], complex, lane by lane. */
    void (*rotate)(float *z, int n, const float *w);
} cqt_vector;

MERT_KERNEL_DECLARE(cqt_vector, mert_cqt_vector)

#endif
