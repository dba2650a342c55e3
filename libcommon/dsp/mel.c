#include "libcommon/dsp/frames.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const mert_mel_config mert_mel_default = {
    .sample_rate = 24000, .n_fft = 2048, .hop = 320, .mels = 229, .f_min = 32.7, .f_max = 0, .log_floor = 1e-5,
};

static double htk_mel(double hz) { return 2595 * log10(1 + hz / 700); }
static double htk_hz(double mel) { return 700 * (pow(10, mel / 2595) - 1); }

int mel_bank_htk(mel_bank *b, int filters, double low, double high, int n_fft, double top, mert_error *e)
{
    return mel_bank_make(b, filters, low, high, n_fft, top, htk_mel, htk_hz, 0, e);
}

static void mel_row(const mert_mel *m, const float *samples, float *scratch, float *out)
{
    float *spectrum = scratch + frames_part(m->n_fft), *power = scratch;
    for (int i = 0; i < m->n_fft; i++)
        scratch[i] = samples[i] * m->shape[i];
    mert_rfft_forward(m->dft, scratch, spectrum);
    for (int j = 0; j <= m->n_fft / 2; j++)
        power[j] = spectrum[2 * j] * spectrum[2 * j] + spectrum[2 * j + 1] * spectrum[2 * j + 1];
    for (int f = 0; f < m->bank.filters; f++) {
        const float *w = m->bank.weight + m->bank.start[f], *p = power + m->bank.first[f];
        int count = m->bank.start[f + 1] - m->bank.start[f];
        float sum = 0;
        for (int j = 0; j < count; j++)
            sum += w[j] * p[j];
        out[f] = m->log ? logf(sum + m->floor) : sum;
    }
}

static int check(const mert_mel_config *c, double f_max, mert_error *e)
{
    if (c->sample_rate < 2 || c->sample_rate > 10000000)
        return mert_fail(e, "sample rate %d Hz: must be 2..10000000", c->sample_rate);
    if (c->n_fft < 4 || c->n_fft > 65536 || c->n_fft % 2)
        return mert_fail(e, "n_fft %d: must be an even number, 4..65536", c->n_fft);
    if (c->hop < 1 || c->hop > 65536)
        return mert_fail(e, "hop %d: must be 1..65536 samples", c->hop);
    if (c->mels < 1 || c->mels > 4096)
        return mert_fail(e, "%d mels: must be 1..4096", c->mels);
    if (!(c->f_min >= 0) || !(f_max > c->f_min) || f_max > c->sample_rate / 2.0)
        return mert_fail(e, "mels from %g to %g Hz: must rise and stay within 0 and half of the sample rate, %g Hz",
                         c->f_min, f_max, c->sample_rate / 2.0);
    if (c->log && !(c->log_floor > 0 && isfinite(c->log_floor)))
        return mert_fail(e, "log floor %g: must be above 0", c->log_floor);
    return 0;
}

mert_mel *mert_mel_new(const mert_mel_config *c, int pooled, mert_error *e)
{
    double f_max = c->f_max > 0 ? c->f_max : c->sample_rate / 2; /* torchaudio's sr // 2 */
    double energy = 0, scale;
    mert_mel *m;
    if (check(c, f_max, e))
        return NULL;
    m = mert_mel_alloc();
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->window = m->n_fft = c->n_fft;
    m->hop = c->hop;
    m->before = c->n_fft / 2;
    m->base = c->mels;
    m->row = mel_row;
    m->scratch_size = 2 * frames_part(c->n_fft);
    m->log = c->log;
    m->floor = (float)c->log_floor;
    m->shape = mert_dsp_alloc((size_t)c->n_fft, sizeof *m->shape, e);
    m->dft = mert_rfft_new(c->n_fft, MERT_RFFT_FORWARD, e);
    if (!m->shape || !m->dft ||
        mel_bank_htk(&m->bank, c->mels, c->f_min, f_max, c->n_fft, c->sample_rate / 2, e) ||
        mert_mel_prepare(m, pooled, e)) {
        mert_mel_free(m);
        return NULL;
    }
    for (int i = 0; i < c->n_fft; i++) {
        double w = 0.5 - 0.5 * cos(2 * MERT_PI * i / c->n_fft);
        energy += w * w;
    }
    scale = c->normalized ? 1 / sqrt(energy) : 1;
    for (int i = 0; i < c->n_fft; i++)
        m->shape[i] = (float)(scale * (0.5 - 0.5 * cos(2 * MERT_PI * i / c->n_fft)));
    return m;
}
