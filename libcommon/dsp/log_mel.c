#include "libcommon/dsp/log_mel.h"

#include "formats/array.h"
#include "libcommon/dsp/frames.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void log_mel_row(const mert_mel *m, const float *samples, float *scratch, float *out)
{
    double *x = (double *)(void *)scratch, *spectrum = x + frames_part(m->n_fft), *power = x;
    for (int i = 0; i < m->n_fft; i++)
        x[i] = (double)samples[i] * m->shape[i];
    mert_rfft64_forward(m->dft64, x, spectrum);
    for (int j = 0; j <= m->n_fft / 2; j++)
        power[j] = spectrum[2 * j] * spectrum[2 * j] + spectrum[2 * j + 1] * spectrum[2 * j + 1];
    for (int f = 0; f < m->bank.filters; f++) {
        const float *w = m->bank.weight + m->bank.start[f];
        const double *p = power + m->bank.first[f];
        int count = m->bank.start[f + 1] - m->bank.start[f];
        double sum = 0;
        for (int j = 0; j < count; j++)
            sum += w[j] * p[j];
        out[f] = (float)((10 * log10(fmax(sum, 1e-10)) - m->mean[f]) * m->scale[f]);
    }
}

/* The range of a filter's weights that are not zero. */
static int take_filters(mel_bank *b, const float *fb, int bins, int mels, mert_error *e)
{
    int64_t used = 0;
    b->filters = mels;
    b->first = mert_array_zeroed(mels, sizeof *b->first);
    b->start = mert_array_zeroed(mels + 1, sizeof *b->start);
    b->weight = mert_array(mert_array_count(bins, mels), sizeof *b->weight);
    if (!b->first || !b->start || !b->weight)
        return mert_fail(e, "out of memory");
    for (int f = 0; f < mels; f++) {
        int from = 0, end = bins;
        while (from < end && fb[(int64_t)from * mels + f] == 0)
            from++;
        while (end > from && fb[(int64_t)(end - 1) * mels + f] == 0)
            end--;
        b->first[f] = from;
        b->start[f] = (int)used;
        for (int j = from; j < end; j++)
            b->weight[used++] = fb[(int64_t)j * mels + f];
    }
    b->start[mels] = (int)used;
    return 0;
}

mert_mel *mert_log_mel_new(const mert_log_mel_config *c, const float *window, const float *fb, const float *mean,
                           const float *deviation, int pooled, mert_error *e)
{
    mert_mel *m = mert_mel_alloc();
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->window = m->n_fft = c->n_fft;
    m->hop = c->hop;
    m->before = c->n_fft / 2;
    m->reflect = 1;
    m->base = c->mels;
    m->row = log_mel_row;
    m->scratch_size = 4 * frames_part(c->n_fft);
    m->shape = mert_dsp_alloc((size_t)c->n_fft, sizeof *m->shape, e);
    m->mean = mert_dsp_alloc((size_t)c->mels, sizeof *m->mean, e);
    m->scale = mert_dsp_alloc((size_t)c->mels, sizeof *m->scale, e);
    m->dft64 = mert_rfft64_new(c->n_fft, e);
    if (!m->shape || !m->mean || !m->scale || !m->dft64 ||
        take_filters(&m->bank, fb, c->n_fft / 2 + 1, c->mels, e) || mert_mel_prepare(m, pooled, e)) {
        mert_mel_free(m);
        return NULL;
    }
    memcpy(m->shape + (c->n_fft - c->window) / 2, window, (size_t)c->window * sizeof *window);
    for (int f = 0; f < c->mels; f++) {
        m->mean[f] = mean[f];
        m->scale[f] = 1 / fmaxf(deviation[f], 1e-5f);
    }
    return m;
}

void mert_log_mel_window(float *to, int window)
{
    for (int i = 0; i < window; i++)
        to[i] = (float)(0.5 - 0.5 * cos(2 * MERT_PI * i / window));
}

int mert_log_mel_filters(float *to, int sample_rate, int n_fft, int mels, mert_error *e)
{
    mel_bank b = {0};
    int bins = n_fft / 2 + 1, bad = mel_bank_htk(&b, mels, 0, sample_rate / 2, n_fft, sample_rate / 2, e);
    memset(to, 0, (size_t)bins * (size_t)mels * sizeof *to);
    for (int f = 0; !bad && f < mels; f++)
        for (int j = b.start[f]; j < b.start[f + 1]; j++)
            to[(int64_t)(b.first[f] + j - b.start[f]) * mels + f] = b.weight[j];
    mel_bank_free(&b);
    return bad;
}
