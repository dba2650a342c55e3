/* Inside of the constant-Q transform: how it is made fast. Only cqt_*.c include this.
 *
 * Levels. Level v works on the signal at sample_rate / 4^v; each bin lives on the deepest level whose rate still
 * holds its kernel's spectrum, so low bins with long kernels cost little. Everything below counts in samples of its
 * level; a frame is hop / 4^v of them.
 *
 * Blocks. A level cuts its signal into overlapping blocks of n samples = `frames` hops at fixed absolute positions:
 * block b yields the frames b * advance - lead .. + advance - 1 and begins `left` frames before the first of them, so
 * that every kernel centred on one of these frames lies inside of the block.
 *
 *     X = DFT of the block
 *     bin k:  Z[j] = X[j] * response_k[j]  for the j near f_k
 *             folded: z[m] = sum_p Z[m + p * frames], m = 0 .. frames - 1
 *             Y[block's frame i] = sum_m z[m] exp(2 pi i m i / frames): the correlation at every hop-th sample
 *     next level: X * lowpass, folded to n/4 points, transformed back: every fourth sample of the filtered signal
 *
 * A Hann kernel is symmetric about n = 0 when its length l is even, so its response is real; about n = -1/2 when l is
 * odd: then it is real for a spectrum advanced by half a sample. Bins are grouped by that parity, eight to a group,
 * one vector lane each.
 *
 * Hann's response falls as 1 / x^3 with the distance x from f_k in units of rate / l. It is kept for x up to CUT_BELOW
 * and CUT_ABOVE for the shortest kernel: what is lost there is felt by an impulse under the kernel's edge, 0.055 / x^2
 * of the kernel's peak. Longer kernels have lower peaks (l^-1/2) and may be cut sooner, but not before 0 Hz: all bins
 * have it at the same x = Q, and an offset or a rumble is often the loudest there is. */
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
    int first;               /* DFT index of row 0; may be negative: the spectrum goes on periodically */
    int rows;                /* a multiple of 4 */
    float *response;         /* [rows][CQT_LANES], row r at cqt_response_place */
    float *turn;             /* [2][CQT_LANES]; odd: exp(i pi f_k / sample_rate), what the half sample leaves */
} cqt_group;

typedef struct cqt_level {
    int step;                /* 4^v */
    int n, frames, lead, left, advance;
    int64_t extent;          /* samples of level 0 before the start and after the end beyond which there are zeros */
    int groups;
    cqt_group *group;
    int first, count;        /* the DFT indices that groups look at */
    int parities;            /* bit 0: there are even groups, bit 1: odd ones */
    float *half;             /* [count][2]: exp(-i w_j / 2) */
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

/* |Y| of bin k, sum by sum in double precision, from a level's signal x[n] (zero beyond it), whose samples are `step`
 * of level 0 apart, with the kernel's middle at sample `centre`: for the few values that rounding hides (cqt_stream.c).
 * (cqt_quiet.c) */
double cqt_magnitude_at(const mert_cqt_config *c, int k, int step, const float *x, int64_t n, double centre);

/* Half-length of the decimation filter (Kaiser, 140 dB, pass up to 0.35 and stop from 0.65 of the next level's rate),
 * in samples. */
enum { CQT_FIR_HALF = 62 };

#endif
