/* The kernels of the constant-Q transform (cqt.h) as tables in time, for devices: each frame is a product of a window
 * of the signal with the kernels, which needs no other frame.
 *
 * Levels are those of cqt_plan.h: level v has the signal at sample_rate / 4^v, and a bin is at the deepest level whose
 * rate is sufficient for its kernel's spectrum and where hop is a whole number of samples; there are at most 4. The
 * sum of a bin over its kernel's l samples has l / 4^v terms. So with MERT's settings a frame takes 0.29 million
 * multiplications by complex numbers instead of 3.5 million.
 *
 * Magnitudes differ from the definition by less than 2e-6 of the largest one plus 4e-6 of the largest sample, if sums
 * are in float32 (tests/unit/cqt_device.c): less than those of the transform in blocks, because no response is cut. For
 * MERT_CQT_LOG sums must be in double, and levels are less deep, as there. */
#ifndef MERT_CQT_TAPS_H
#define MERT_CQT_TAPS_H

#include "libcommon/dsp/cqt.h"

enum { MERT_CQT_TAPS_LEVELS = 4, MERT_CQT_TAPS_HALF = 62 };

/* Bins bin .. bin + bins - 1, all of one level. The kernels' middle is at sample t hop / 4^level of frame t; the first
 * tap is `first` samples (negative) from there. Tap i of lane j is at floats[at + (i lanes + j) 2]: real, imaginary
 * part of the conjugate kernel times sqrt(l) 4^level. */
typedef struct mert_cqt_taps_group {
    int level, bin, bins;
    int64_t first, taps, at;
} mert_cqt_taps_group;

typedef struct mert_cqt_taps {
    int levels, groups;
    mert_cqt_taps_group *group; /* those with many taps first */
    float *floats;
    int64_t n;
    /* The filter before every fourth sample is taken: its middle, and one half. */
    float lowpass[MERT_CQT_TAPS_HALF + 1];
} mert_cqt_taps;

/* lanes: bins of a group; taps of a group are a multiple of `multiple`; what is over is 0. -1: the checks of
 * cqt_plan_new, or out of memory. */
int mert_cqt_taps_make(mert_cqt_taps *t, const mert_cqt_config *c, int lanes, int multiple,
                       mert_error *e) MERT_MUST_USE;
void mert_cqt_taps_free(mert_cqt_taps *t); /* zeroed or made */

/* Floating-point operations of one frame, with those of its part of the decimation. */
double mert_cqt_taps_work(const mert_cqt_config *c, int lanes, int multiple);

#endif
