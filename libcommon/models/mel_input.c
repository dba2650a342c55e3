#include "libcommon/models/mel_input.h"

#include "formats/array.h"

#include <stdlib.h>

static mert_log_mel_config settings(const mert_config *c)
{
    const mert_conformer_config *f = &c->conformer;
    return (mert_log_mel_config){f->n_fft, f->win_length, f->hop, f->mels};
}

static const float *table(const mert_weights *w, const char *name)
{
    return mert_weights_values(w, mert_layout_find(&w->layout, name));
}

mert_mel *mert_mel_input_new(const mert_weights *w, int pooled, mert_error *e)
{
    mert_log_mel_config c = settings(&w->layout.config);
    if (!w->layout.constants) {
        mert_fail(e, "the input of this model is the waveform, not a spectrum");
        return NULL;
    }
    return mert_log_mel_new(&c, table(w, "feature_extractor.spectrogram.window"),
                            table(w, "feature_extractor.mel_scale.fb"), table(w, "feature_extractor.mel_mean"),
                            table(w, "feature_extractor.mel_std"), pooled, e);
}

mert_mel *mert_mel_input_plain(const mert_config *c, int pooled, mert_error *e)
{
    mert_log_mel_config s = settings(c);
    float *window = mert_array(s.window, sizeof *window), *mean = mert_array_zeroed(s.mels, sizeof *mean),
          *deviation = mert_array(s.mels, sizeof *deviation),
          *fb = mert_array(mert_array_count(s.n_fft / 2 + 1, s.mels), sizeof *fb);
    mert_mel *m = NULL;
    if (!window || !mean || !deviation || !fb)
        mert_fail(e, "out of memory");
    else if (!mert_log_mel_filters(fb, c->sample_rate, s.n_fft, s.mels, e)) {
        mert_log_mel_window(window, s.window);
        for (int i = 0; i < s.mels; i++)
            deviation[i] = 1;
        m = mert_log_mel_new(&s, window, fb, mean, deviation, pooled, e);
    }
    free(window);
    free(mean);
    free(deviation);
    free(fb);
    return m;
}
