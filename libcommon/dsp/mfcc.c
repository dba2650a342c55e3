#include "libcommon/dsp/frames.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Kaldi's constants (feature-window.h, mel-computations.h, feature-mfcc.h), as in torchaudio.compliance.kaldi.mfcc. */
static const double PREEMPHASIS = 0.97, POVEY = 0.85, LIFTER = 22;

const mert_mfcc_config mert_mfcc_default = {
    .sample_rate = 16000, .window_seconds = 0.025, .hop_seconds = 0.010,
    .mels = 23, .ceps = 13, .f_min = 20, .orders = 2,
};

static double kaldi_mel(double hz) { return 1127 * log(1 + hz / 700); }

static void mfcc_row(const mert_mel *m, const float *samples, float *scratch, float *out)
{
    float *spectrum = scratch + frames_part(m->n_fft), *power = scratch, *mel = spectrum;
    double mean = 0;
    for (int i = 0; i < m->window; i++)
        mean += samples[i];
    mean /= m->window;
    for (int i = 0; i < m->window; i++) {
        double now = samples[i] - mean, before = samples[i ? i - 1 : 0] - mean;
        scratch[i] = (float)((now - PREEMPHASIS * before) * m->shape[i]);
    }
    memset(scratch + m->window, 0, (size_t)(m->n_fft - m->window) * sizeof *scratch);
    mert_rfft_forward(m->dft, scratch, spectrum);
    for (int j = 0; j <= m->n_fft / 2; j++)
        power[j] = spectrum[2 * j] * spectrum[2 * j] + spectrum[2 * j + 1] * spectrum[2 * j + 1];
    for (int f = 0; f < m->bank.filters; f++) {
        const float *w = m->bank.weight + m->bank.start[f], *p = power + m->bank.first[f];
        float sum = 0;
        for (int j = 0; j < m->bank.start[f + 1] - m->bank.start[f]; j++)
            sum += w[j] * p[j];
        mel[f] = logf(fmaxf(sum, FLT_EPSILON));
    }
    for (int c = 0; c < m->base; c++) {
        float sum = 0;
        for (int f = 0; f < m->bank.filters; f++)
            sum += m->dct[c * m->bank.filters + f] * mel[f];
        out[c] = sum;
    }
}

/* Rounded down to whole samples, but not because of a rounding error. */
static int samples_of(int rate, double seconds) { return (int)(rate * seconds + 1e-6); }

static int check(const mert_mfcc_config *c, mert_error *e)
{
    if (c->sample_rate < 100 || c->sample_rate > 1000000)
        return mert_fail(e, "sample rate %d Hz: must be 100..1000000", c->sample_rate);
    if (!(c->window_seconds > 0 && c->window_seconds * c->sample_rate <= 65536) ||
        samples_of(c->sample_rate, c->window_seconds) < 2)
        return mert_fail(e, "window of %g s: must be 2..65536 samples", c->window_seconds);
    if (!(c->hop_seconds > 0 && c->hop_seconds * c->sample_rate <= 65536) ||
        samples_of(c->sample_rate, c->hop_seconds) < 1)
        return mert_fail(e, "hop of %g s: must be 1..65536 samples", c->hop_seconds);
    if (c->mels < 2 || c->mels > 512 || c->ceps < 1 || c->ceps > c->mels)
        return mert_fail(e, "%d coefficients of %d mel bins: 2..512 bins and at most as many coefficients", c->ceps,
                         c->mels);
    if (!(c->f_min >= 0 && c->f_min < c->sample_rate / 2.0))
        return mert_fail(e, "lowest frequency %g Hz: must be below half of the sample rate", c->f_min);
    if (c->orders < 0 || c->orders > 2)
        return mert_fail(e, "%d orders of deltas: must be 0..2", c->orders);
    return 0;
}

static int make_tables(mert_mel *m, const mert_mfcc_config *c, mert_error *e)
{
    m->shape = mert_dsp_alloc((size_t)m->window, sizeof *m->shape, e);
    m->dct = mert_dsp_alloc((size_t)c->ceps * (size_t)c->mels, sizeof *m->dct, e);
    m->dft = mert_rfft_new(m->n_fft, MERT_RFFT_FORWARD, e);
    /* In Kaldi the bin at Nyquist has no weight; here, too, because the last triangle ends there. */
    if (!m->shape || !m->dct || !m->dft ||
        mel_bank_make(&m->bank, c->mels, c->f_min, c->sample_rate / 2.0, m->n_fft, c->sample_rate / 2.0, kaldi_mel, NULL, 1,
                      e))
        return -1;
    for (int i = 0; i < m->window; i++)
        m->shape[i] = (float)pow(0.5 - 0.5 * cos(2 * MERT_PI * i / (m->window - 1)), POVEY);
    for (int k = 0; k < c->ceps; k++)
        for (int f = 0; f < c->mels; f++) {
            double lifter = 1 + 0.5 * LIFTER * sin(MERT_PI * k / LIFTER), norm = sqrt((k ? 2.0 : 1.0) / c->mels);
            m->dct[k * c->mels + f] = (float)(lifter * norm * cos(MERT_PI / c->mels * (f + 0.5) * k));
        }
    return 0;
}

mert_mel *mert_mfcc_new(const mert_mfcc_config *c, int pooled, mert_error *e)
{
    mert_mel *m;
    if (check(c, e))
        return NULL;
    m = mert_mel_alloc();
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->window = samples_of(c->sample_rate, c->window_seconds);
    m->hop = samples_of(c->sample_rate, c->hop_seconds);
    for (m->n_fft = 4; m->n_fft < m->window; m->n_fft *= 2)
        ;
    m->whole_only = 1;
    m->base = c->ceps;
    m->orders = c->orders;
    m->row = mfcc_row;
    m->scratch_size = 2 * frames_part(m->n_fft) + (size_t)c->mels;
    if (make_tables(m, c, e) || mert_mel_prepare(m, pooled, e)) {
        mert_mel_free(m);
        return NULL;
    }
    return m;
}
