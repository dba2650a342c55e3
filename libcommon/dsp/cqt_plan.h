/* The fast algorithm of the constant-Q transform. Internal: only cqt_*.c include this.
 *
 * Levels. Level v works on the signal at sample_rate / 4^v. Each bin is computed at the deepest level whose rate is
 * sufficient for its kernel's spectrum, so low bins with long kernels cost little. Below, lengths are in samples of the
 * level; a frame is hop / 4^v samples.
 *
 * Blocks. A level divides its signal into overlapping blocks of n samples = `frames` hops, at fixed absolute positions.
 * Block b gives the frames b * advance - lead .. + advance - 1 and begins `left` frames before the first of them, so
 * that every kernel centred on one of these frames is inside the block.
 *
 *     X = DFT of the block
 *     bin k:  Z[j] = X[j] * response_k[j]  for the j near f_k
 *             folded: z[m] = sum_p Z[m + p * frames], m = 0 .. frames - 1
 *             Y[block's frame i] = sum_m z[m] exp(2 pi i m i / frames): the correlation at every hop-th sample
 *     next level: X * lowpass, folded to n/4 points, transformed back: every fourth sample of the filtered signal
 *
 * A Hann kernel of even length l is symmetric about n = 0, so its response is real. With odd l it is symmetric about n
 * = -1/2, and the response is real for a spectrum that is advanced by half a sample. Bins are grouped by this parity,
 * eight per group, one vector lane each.
 *
 * Hann's response falls as 1 / x^3 with the distance x from f_k in units of rate / l. For the shortest kernel it is
 * kept for x up to CUT_BELOW and CUT_ABOVE; the error is largest for an impulse at the kernel's edge, 0.055 / x^2 of
 * the kernel's peak. Longer kernels have lower peaks (l^-1/2) and can be cut earlier, but not before 0 Hz: it is at x =
 * Q for all bins, and an offset or low-frequency noise is often the strongest component. */
#ifndef MERT_CQT_PLAN_H
#define MERT_CQT_PLAN_H

#include "libcommon/dsp/cqt.h"
#include "libcommon/dsp/cqt_vector.h"
#include "libcommon/dsp/fft.h"

enum { CQT_LEVELS = 9 };

typedef struct cqt_group {
    int lanes;               /* 1..8 bins */
    int bin[CQT_LANES];
    int odd;                 /* parity of their kernels' lengths */
    int first;               /* DFT index of row 0; even; may be negative: the spectrum is periodic */
    int rows;                /* a multiple of 4 */
    float *response;         /* [rows][CQT_LANES], row r at cqt_response_place */
    float *phase;            /* [2][CQT_LANES]; odd: exp(i pi f_k / sample_rate), the phase of the half sample */
} cqt_group;

typedef struct cqt_level {
    int step;                /* 4^v */
    int n, frames, lead, left, advance;
    int64_t extent;          /* samples of level 0 before the start and after the end; beyond these there are zeros */
    int groups;
    cqt_group *group;
    int first, count;        /* the range of DFT indices that the groups use, in multiples of `frames` */
    int parities;            /* bit 0: has even groups, bit 1: odd ones */
    float *half;             /* [count][2]: exp(-i w_j / 2), at cqt_spectrum_place */
    cqt_lane_fft lane_fft;
    mert_rfft *dft;          /* n points */
    mert_rfft *quarter;      /* n/4 points; NULL on the last level */
    float *lowpass;          /* [n/2 + 1], divided by n */
} cqt_level;

struct mert_cqt_plan {
    mert_cqt_config config;
    const cqt_vector *vector;
    int levels;
    cqt_level level[CQT_LEVELS];
};

/* cqt_quiet.c: |Y| of bin k by its definition, in double precision, from a level's signal x[n] (zero outside), whose
 * sample is `step` samples of level 0, with the kernel's middle at sample `centre`. For the few values that are below
 * the rounding errors (cqt_stream.c). */
double cqt_magnitude_at(const mert_cqt_config *c, int k, int step, const float *x, int64_t n, double centre);

/* Half-length of the decimation filter (Kaiser, 140 dB, pass up to 0.35 and stop from 0.65 of the next level's rate),
 * in samples. */
enum { CQT_FIR_HALF = 62 };
/* Its middle, and one half: a filter of gain 1. */
void cqt_lowpass(double h[CQT_FIR_HALF + 1]);

/* The deepest level whose rate is sufficient for bin k. */
int cqt_level_of(const mert_cqt_config *c, int k);

#endif
