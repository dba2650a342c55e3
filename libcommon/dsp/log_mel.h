/* The log-mel spectrum that is the input of a MERT-v2 model (man/model.md 16.1), with the tables of the model:
 *
 *     frame t is the window over samples t * hop - n_fft/2 .., the signal is mirrored at both ends
 *     row[m] = (10 log10(max(sum over j of fb[j][m] |spectrum[j]|^2, 1e-10)) - mean[m]) / max(deviation[m], 1e-5)
 *     T = floor(L / hop) rows; L must be at least n_fft/2 + 1
 *
 * The result is an object of mel.h; streams, threads and contract A1 are as there. Sums and transform are in double
 * precision, because rounding errors of loud bins would be visible in the logarithm of quiet ones. */
#ifndef MERT_LOG_MEL_H
#define MERT_LOG_MEL_H

#include "libcommon/dsp/mel.h"

typedef struct mert_log_mel_config {
    int n_fft, window, hop, mels; /* window: samples, at most n_fft, centred within them */
} mert_log_mel_config;

/* window [c->window], fb [n_fft/2 + 1, mels], mean and deviation [mels]: copied. */
mert_mel *mert_log_mel_new(const mert_log_mel_config *c, const float *window, const float *fb, const float *mean,
                           const float *deviation, int pooled, mert_error *e);
/* The standard tables: a periodic Hann window; filters on HTK's scale from 0 to half of the rate, no area norm, as
 * torchaudio's melscale_fbanks. to: [window]; [n_fft/2 + 1, mels]. -1: out of memory. */
void mert_log_mel_window(float *to, int window);
int mert_log_mel_filters(float *to, int sample_rate, int n_fft, int mels, mert_error *e) MERT_MUST_USE;

#endif
