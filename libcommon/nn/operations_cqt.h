/* The operations of the CQT target (operations.h): decimation, and products of windows with kernels. */
#ifndef MERT_OPERATIONS_CQT_H
#define MERT_OPERATIONS_CQT_H

#include "libcommon/nn/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y[b, i] = sum over |j| <= half of h[|j|] x[b, 4 i + j - shift], i < N: a quarter of the rate. x [B, n] is 0 before
 * its start and after its end; y [B, N]; h [half + 1]. */
typedef struct {
    float *y;
    const float *x, *h;
    int64_t B, n, N, shift, half;
} mert_decimate_args;

/* Neighbouring bins of one level. Their taps are [taps][MERT_CQT_LANES][re, im], from float `at` of the tables on;
 * `taps` is a multiple of MERT_CQT_TAPS. Lanes from `bins` on have taps of 0. */
enum { MERT_CQT_LEVELS = 4, MERT_CQT_LANES = 16 };
typedef struct mert_cqt_group {
    int64_t at;
    int32_t level, first, taps, bin, bins;
} mert_cqt_group;
/* A signal at one level: x [B, n] in steps of 4^level samples. The first one of each clip is number `first`; x is 0
 * before it and after the last one. */
typedef struct mert_cqt_signal { const float *x; int64_t n, first; } mert_cqt_signal;
/* The CQT of chosen frames (dsp/cqt_taps.h has the tables). For row s, with clip b = rows[s] / T and frame t =
 * rows[s] % T, and for each lane of each group:
 *     Y = sum over i < taps of signal[level][b, t hop / 4^level + first + i] * (re + i im of tap i)
 *     y[s, bin + lane] = (|Y|, or with a form its logarithm, - mean) * scale
 * y [S, bins]. hop is a multiple of 4^level for each level that has groups. Sums are computed in float32 in parts of
 * MERT_CQT_TAPS taps, which are then added; for MERT_CQT_LN all in double, because the logarithm shows what rounding
 * adds to quiet bins. */
enum { MERT_CQT_TAPS = 32 };
typedef enum mert_cqt_log {
    MERT_CQT_PLAIN,
    MERT_CQT_LN,    /* ln(|Y| + floor) */
    MERT_CQT_LOG10  /* log10(1 + 10000 |Y|^2) */
} mert_cqt_log;
typedef struct {
    float *y;
    mert_cqt_signal signal[MERT_CQT_LEVELS];
    const mert_cqt_group *groups; /* [n]; fastest if those with many taps are first */
    const float *taps;
    const int32_t *rows;
    int64_t n, S, T, hop, bins;
    mert_cqt_log form;
    float floor, mean, scale;
} mert_cqt_args;

#ifdef __cplusplus
}
#endif

#endif
