/* Constant-Q transform, equal to nnAudio's CQT1992v2 (L1-normalised Hann kernels, centred, zero padding, "librosa"
 * normalisation): with sr the sample rate, n time in samples, t the frame, k the bin,
 *
 *     Q = 1 / (2^(1/bins_per_octave) - 1),  f_k = fmin * 2^(k/bins_per_octave),  l_k = ceil(Q * sr / f_k)
 *     h_k[n] = hann(l_k)[n + ceil(l_k/2)] * exp(2 pi i f_k n / sr) / (l_k / 2),   n = -ceil(l_k/2) .. floor(l_k/2) - 1
 *     Y[t, k] = sqrt(l_k) * sum_n x[t * hop + n] * conj(h_k[n]),  x = 0 outside of the signal,  t = 0 .. floor(L / hop)
 *
 * L samples give T = floor(L / hop) + 1 frames; L may be shorter than any kernel. Rows are [bins] floats, or [bins, 2]
 * (real, imaginary) for the complex form.
 *
 * Method: cqt_plan.h. Magnitudes differ from the definition by less than 2e-5 of the largest one plus 4e-6 of the
 * largest sample (tests/unit/cqt.c: music, noise, sines and impulses, an offset, tones outside of all bins). The second
 * term is the rounding of single precision; it matters if almost no energy is in a bin, for example of a tone far above
 * all bins. A logarithm magnifies the errors near loud bins. For MERT_CQT_LOG, responses are therefore kept much longer
 * (three times the cost), and values that are smaller than the rounding errors are computed by the definition. So the
 * error of ln(|Y| + 1e-5) stays within 0.1 beside tones of amplitude 0.9 in the range of the bins, or of 0.5 above that
 * range (0.13 for amplitude 0.9 at 11.5 kHz). The output is the same bytes for every division of the input and every
 * number of threads (contract A1).
 *
 *     mert_cqt_plan *plan = mert_cqt_plan_new(&mert_cqt_default, &e);   // tables; immutable, shared by all threads
 *     mert_cqt *cqt = mert_cqt_new(plan, 1, &e);                        // one signal at a time
 *     mert_cqt_push(cqt, pcm, n, emit, to, &e); ...                     // any division; emit receives finished rows
 *     mert_cqt_finish(cqt, emit, to, &e);                               // the remaining rows; then the next signal */
#ifndef MERT_CQT_H
#define MERT_CQT_H

#include "formats/error.h"

#include <stdint.h>

typedef enum mert_cqt_form {
    MERT_CQT_MAGNITUDE, /* |Y| */
    MERT_CQT_LOG,       /* ln(|Y| + log_floor) */
    MERT_CQT_COMPLEX,   /* Y: real, imaginary */
    MERT_CQT_LOG_POWER  /* log10(1 + 10000 |Y|^2), as OMAR-RQ compresses its CQT; its error is at most 43.5 times that
                           of |Y| */
} mert_cqt_form;

typedef struct mert_cqt_config {
    int sample_rate;      /* Hz */
    int hop;              /* samples, 1..65536 */
    int bins;             /* 1..4096 */
    int bins_per_octave;  /* 1..1024 */
    double fmin;          /* Hz; the longest kernel is at most 2^22 samples */
    mert_cqt_form form;
    double log_floor;     /* for MERT_CQT_LOG */
    int precise;          /* 1: error below 2e-6 of the largest magnitude, at about twice the cost: for models with the
                             CQT as an input */
} mert_cqt_config;

/* MERT's own: 24000 Hz, hop 320, 336 bins, 48 per octave, from 32.7 Hz, magnitude (man/model.md 8.2). */
extern const mert_cqt_config mert_cqt_default;

double mert_cqt_frequency(const mert_cqt_config *c, int k); /* f_k */
int64_t mert_cqt_length(const mert_cqt_config *c, int k);   /* l_k */
int64_t mert_cqt_frames(const mert_cqt_config *c, int64_t samples);
int mert_cqt_width(const mert_cqt_config *c);               /* floats of one row */
/* The checks of plan_new: ranges; the top bin must be below Nyquist. */
int mert_cqt_check(const mert_cqt_config *c, mert_error *e) MERT_MUST_USE;

typedef struct mert_cqt_plan mert_cqt_plan;
mert_cqt_plan *mert_cqt_plan_new(const mert_cqt_config *c, mert_error *e);
void mert_cqt_plan_free(mert_cqt_plan *p); /* NULL is fine */
const mert_cqt_config *mert_cqt_plan_config(const mert_cqt_plan *p);

/* Receives n rows; -1 stops the transform, which then returns -1 with that error. */
typedef int (*mert_cqt_emit)(void *to, const float *rows, int64_t n, mert_error *e);

/* The state of one signal. pooled: work is distributed by mert_pool_run (base/pool.h); 0 for objects that are used
 * inside a task of the pool, one per worker. Memory depends on the configuration only (MERT's: about 10 MB), not on the
 * signal's length. The plan must outlive the object. */
typedef struct mert_cqt mert_cqt;
mert_cqt *mert_cqt_new(const mert_cqt_plan *plan, int pooled, mert_error *e);
void mert_cqt_free(mert_cqt *q); /* NULL is fine */
int mert_cqt_push(mert_cqt *q, const float *pcm, int64_t n, mert_cqt_emit emit, void *to, mert_error *e) MERT_MUST_USE;
/* Emits the remaining rows. Without any samples this is one row of zeros (T = 1). */
int mert_cqt_finish(mert_cqt *q, mert_cqt_emit emit, void *to, mert_error *e) MERT_MUST_USE;
void mert_cqt_reset(mert_cqt *q); /* discards the samples that were pushed */

/* A whole signal of n samples: out is [mert_cqt_frames(n), width]. Resets q before and after. */
int mert_cqt_whole(mert_cqt *q, const float *pcm, int64_t n, float *out, mert_error *e) MERT_MUST_USE;

/* The definition above, computed directly in double precision, for tests. Frames first .. first + count - 1 of a signal
 * of n samples: out [count, width]. Slow. */
int mert_cqt_direct(const mert_cqt_config *c, const float *pcm, int64_t n, int64_t first, int64_t count, float *out,
                    mert_error *e) MERT_MUST_USE;

/* Chroma (our definition): out[c] = the sum of the magnitudes of the bins c, c + classes, c + 2 classes ..., divided by
 * the largest of these sums in the frame; a frame of silence is all zeros. magnitudes [T, bins] -> out [T, classes];
 * out may be the same memory as magnitudes. */
void mert_cqt_chroma(const float *magnitudes, int64_t frames, int bins, int classes, float *out);

#endif
