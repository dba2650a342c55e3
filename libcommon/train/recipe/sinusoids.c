#include "libcommon/train/recipe/sinusoids.h"

#include <math.h>

enum { KERNEL_MIN = 32 };

static const double pi = 3.14159265358979323846;

static void sinusoid(float *h, int k, double sr, double f, int third)
{
    double length = fmin(k, 16 * sr / f), squares = 0;
    for (int t = 0; t < k; t++) {
        double at = t - k / 2.0, window = fabs(at) < length / 2 ? 0.5 + 0.5 * cos(2 * pi * at / length) : 0;
        double x = window * cos(2 * pi * (f * at / sr + third / 3.0));
        h[t] = (float)x;
        squares += x * x;
    }
    for (int t = 0; t < k; t++)
        h[t] *= (float)sqrt(2 / squares);
}

int mert_filters_sinusoids(mert_weights *w, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    const mert_parameter *p = mert_layout_find(&w->layout, "feature_extractor.conv_layers.0.0.weight");
    int k = c->conv[0].kernel, n = c->conv[0].dim / 3;
    double sr = c->sample_rate, low = fmax(40, 1.5 * sr / k), high = 0.4 * sr;
    if (k < KERNEL_MIN || !p || p->n != (int64_t)c->conv[0].dim * k)
        return mert_fail(e, "extractor_init: the first layer's kernel has %d samples, sinusoids need %d", k,
                         KERNEL_MIN);
    for (int i = 0; i < n; i++)
        for (int third = 0; third < 3; third++)
            sinusoid(w->values + p->offset + (int64_t)(3 * i + third) * k, k, sr,
                     low * pow(high / low, n > 1 ? (double)i / (n - 1) : 0), third);
    return 0;
}
