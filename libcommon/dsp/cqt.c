#include "libcommon/dsp/cqt.h"

#include <math.h>
#include <string.h>

const mert_cqt_config mert_cqt_default = {
    .sample_rate = 24000, .hop = 320, .bins = 336, .bins_per_octave = 48, .fmin = 32.7,
    .form = MERT_CQT_MAGNITUDE, .log_floor = 1e-5,
};

/* These two compute in nnAudio's order of operations, so that the ceil gives the same length. */
double mert_cqt_frequency(const mert_cqt_config *c, int k)
{
    return c->fmin * pow(2.0, (double)k / c->bins_per_octave);
}

int64_t mert_cqt_length(const mert_cqt_config *c, int k)
{
    double q = 1.0 / (pow(2.0, 1.0 / c->bins_per_octave) - 1.0);
    return (int64_t)ceil(q * c->sample_rate / mert_cqt_frequency(c, k));
}

int64_t mert_cqt_frames(const mert_cqt_config *c, int64_t samples)
{
    return samples / c->hop + 1;
}

int mert_cqt_width(const mert_cqt_config *c)
{
    return c->form == MERT_CQT_COMPLEX ? 2 * c->bins : c->bins;
}

int mert_cqt_check(const mert_cqt_config *c, mert_error *e)
{
    double top, longest;
    if (c->sample_rate < 1 || c->sample_rate > 10000000)
        return mert_fail(e, "sample rate %d Hz: must be 1..10000000", c->sample_rate);
    if (c->hop < 1 || c->hop > 65536)
        return mert_fail(e, "hop %d: must be 1..65536 samples", c->hop);
    if (c->bins < 1 || c->bins > 4096)
        return mert_fail(e, "%d bins: must be 1..4096", c->bins);
    if (c->bins_per_octave < 1 || c->bins_per_octave > 1024)
        return mert_fail(e, "%d bins per octave: must be 1..1024", c->bins_per_octave);
    if (!(c->fmin > 0) || !isfinite(c->fmin))
        return mert_fail(e, "lowest frequency %g Hz: must be above 0", c->fmin);
    if (c->form == MERT_CQT_LOG && !(c->log_floor > 0 && isfinite(c->log_floor)))
        return mert_fail(e, "log floor %g: must be above 0", c->log_floor);
    top = mert_cqt_frequency(c, c->bins - 1);
    if (!(top < c->sample_rate / 2.0))
        return mert_fail(e, "the top bin (%d bins, %d per octave, from %g Hz) is at %.1f Hz, "
                         "sample rate %d Hz reaches only below %.1f Hz",
                         c->bins, c->bins_per_octave, c->fmin, top, c->sample_rate, c->sample_rate / 2.0);
    longest = c->sample_rate / (c->fmin * (pow(2.0, 1.0 / c->bins_per_octave) - 1.0));
    if (longest > 1 << 22)
        return mert_fail(e, "the lowest kernel (%g Hz, %d bins per octave) would be %.0f samples long: at most %d",
                         c->fmin, c->bins_per_octave, longest, 1 << 22);
    return 0;
}

void mert_cqt_chroma(const float *magnitudes, int64_t frames, int bins, int classes, float *out)
{
    for (int64_t t = 0; t < frames; t++) {
        const float *in = magnitudes + t * bins;
        float *row = out + t * classes, largest = 0;
        /* One class after the other: with out == magnitudes, only values that were read already are overwritten. */
        for (int c = 0; c < classes; c++) {
            float sum = 0;
            for (int k = c; k < bins; k += classes)
                sum += in[k];
            row[c] = sum;
            largest = fmaxf(largest, sum);
        }
        for (int c = 0; c < classes; c++)
            row[c] = largest > 0 ? row[c] / largest : 0;
    }
}
