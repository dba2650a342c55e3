/* The transform by its definition in cqt.h, kernel by kernel and sample by sample. Tests compare the fast one with
 * it. */
#include "libcommon/dsp/cqt.h"

#include "formats/array.h"
#include "libcommon/dsp/fft.h"

#include <math.h>
#include <stdlib.h>

/* h_k * sqrt(l_k) for n = -ceil(l/2) .., as [l][2]. */
static void kernel(const mert_cqt_config *c, int k, double *h)
{
    int64_t l = mert_cqt_length(c, k), first = -((l + 1) / 2);
    double f = mert_cqt_frequency(c, k), scale = sqrt((double)l) / (l / 2.0);
    for (int64_t i = 0; i < l; i++) {
        double hann = 0.5 - 0.5 * cos(2 * MERT_PI * (double)i / (double)l);
        double phase = 2 * MERT_PI * f * (double)(first + i) / c->sample_rate;
        h[2 * i] = scale * hann * cos(phase);
        h[2 * i + 1] = scale * hann * sin(phase);
    }
}

static void put(const mert_cqt_config *c, double re, double im, float *row, int k)
{
    double magnitude = sqrt(re * re + im * im);
    switch (c->form) {
    case MERT_CQT_MAGNITUDE: row[k] = (float)magnitude; break;
    case MERT_CQT_LOG: row[k] = (float)log(magnitude + c->log_floor); break;
    case MERT_CQT_LOG_POWER: row[k] = (float)log10(1 + 1e4 * magnitude * magnitude); break;
    case MERT_CQT_COMPLEX:
        row[2 * k] = (float)re;
        row[2 * k + 1] = (float)im;
        break;
    }
}

int mert_cqt_direct(const mert_cqt_config *c, const float *pcm, int64_t n, int64_t first, int64_t count, float *out,
                    mert_error *e)
{
    int width = mert_cqt_width(c);
    double *h;
    if (mert_cqt_check(c, e))
        return -1;
    h = mert_array_zeroed(mert_cqt_length(c, 0), 2 * sizeof *h);
    if (!h)
        return mert_fail(e, "out of memory");
    for (int k = 0; k < c->bins; k++) {
        int64_t l = mert_cqt_length(c, k);
        kernel(c, k, h);
        for (int64_t t = 0; t < count; t++) {
            int64_t start = (first + t) * c->hop - (l + 1) / 2;
            int64_t from = start < 0 ? -start : 0, to = start + l > n ? n - start : l;
            double re = 0, im = 0;
            for (int64_t i = from; i < to; i++) {
                re += pcm[start + i] * h[2 * i];
                im -= pcm[start + i] * h[2 * i + 1];
            }
            put(c, re, im, out + t * width, k);
        }
    }
    free(h);
    return 0;
}
