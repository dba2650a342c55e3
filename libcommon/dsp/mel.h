/* Mel spectrograms, equal to torchaudio's MelSpectrogram (HTK scale, no area norm, Hann window of n_fft samples
 * (periodic), centred, zero padding, power 2): frame t is the window over samples t * hop - n_fft/2 .., T = floor(L /
 * hop) + 1. Rows are [mels].
 *
 *     mel(f) = 2595 log10(1 + f / 700); mels + 2 points evenly spaced on it from f_min to f_max; filter m rises from
 *     point m to point m + 1 and falls to point m + 2, linear in Hz; row[m] = sum_j filter[j] * |spectrum[j]|^2
 *     the frequency of bin j is (sample_rate // 2) j / (n_fft / 2), as in torchaudio
 *
 * normalized: the spectrum is divided by sqrt(sum of window^2) first (torchaudio's normalized=True; MERT's mel
 * target). */
#ifndef MERT_MEL_H
#define MERT_MEL_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_mel_config {
    int sample_rate, n_fft, hop, mels;
    double f_min, f_max;  /* Hz; f_max 0: half of the sample rate (rounded down to whole Hz, as torchaudio does) */
    int normalized;
    int log;              /* 1: ln(power + log_floor) */
    double log_floor;
} mert_mel_config;

/* 24000 Hz, n_fft 2048, hop 320, 229 mels from 32.7 Hz, power; log_floor 1e-5. */
extern const mert_mel_config mert_mel_default;

/* 39-dimensional MFCC of HuBERT's first iteration (Kaldi's compute-mfcc-feats without dither and energy, then two
 * orders of deltas): 25 ms windows every 10 ms, only whole ones (T = 1 + floor((L - window) / hop)), DC removed,
 * pre-emphasis 0.97, Povey window, power spectrum of the next power of two, 23 mel bins from 20 Hz to Nyquist, ln,
 * orthonormal DCT-II, 13 coefficients, lifter 22; deltas sum_{i=-2..2} i x[t+i] / 10 with the edge rows repeated. Rows
 * are [13 | delta 13 | delta-delta 13]. */
typedef struct mert_mfcc_config {
    int sample_rate;
    double window_seconds, hop_seconds; /* 0.025, 0.010 */
    int mels, ceps;                     /* 23, 13 */
    double f_min;                       /* 20 Hz */
    int orders;                         /* 0: only the coefficients; 1, 2: orders of deltas appended */
} mert_mfcc_config;

extern const mert_mfcc_config mert_mfcc_default; /* 16000 Hz, 13 + 13 + 13 */

/* Receives n rows; -1 stops the transform, which then returns -1 with that error. */
typedef int (*mert_mel_emit)(void *to, const float *rows, int64_t n, mert_error *e);

/* One object: tables and the state of one signal. pooled as in cqt.h: 1 distributes work over the pool, 0 for use
 * inside a task of the pool (one object per worker). Memory does not depend on the signal's length, and the output does
 * not depend on the division of the input. */
typedef struct mert_mel mert_mel;
mert_mel *mert_mel_new(const mert_mel_config *c, int pooled, mert_error *e);
mert_mel *mert_mfcc_new(const mert_mfcc_config *c, int pooled, mert_error *e);
void mert_mel_free(mert_mel *m); /* NULL is fine */
int mert_mel_width(const mert_mel *m);
int mert_mel_hop(const mert_mel *m);                  /* samples */
int64_t mert_mel_frames(const mert_mel *m, int64_t samples); /* T; 0: shorter than one window (MFCC) */
int mert_mel_push(mert_mel *m, const float *pcm, int64_t n, mert_mel_emit emit, void *to, mert_error *e) MERT_MUST_USE;
/* Emits the remaining rows; then the next signal can begin. */
int mert_mel_finish(mert_mel *m, mert_mel_emit emit, void *to, mert_error *e) MERT_MUST_USE;
void mert_mel_reset(mert_mel *m);
/* A whole signal of n samples: out is [mert_mel_frames(n), width]. Resets m before and after. */
int mert_mel_whole(mert_mel *m, const float *pcm, int64_t n, float *out, mert_error *e) MERT_MUST_USE;

#endif
