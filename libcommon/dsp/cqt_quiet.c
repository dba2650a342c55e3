#include "libcommon/dsp/cqt_plan.h"

#include <math.h>

enum { ANEW = 32 }; /* rotations are restarted after so many samples, so that rounding errors do not accumulate */

double cqt_magnitude_at(const mert_cqt_config *c, int k, int step, const float *x, int64_t n, double centre)
{
    int64_t l = mert_cqt_length(c, k), before = (l + 1) / 2;
    double angle = 2 * MERT_PI * mert_cqt_frequency(c, k) / c->sample_rate * step,
           lift = 2 * MERT_PI / (double)l * step;
    double ct = cos(angle), st = sin(angle), cl = cos(lift), sl = sin(lift), re = 0, im = 0;
    double ca = 1, sa = 0, cb = 1, sb = 0, t;
    int64_t from = (int64_t)ceil(centre - (double)before / step), to = (int64_t)ceil(centre + (double)(l - before) / step);
    from = from < 0 ? 0 : from;
    to = to > n ? n : to;
    for (int64_t i = from; i < to; i++) {
        if ((i - from) % ANEW == 0) {
            double at = (double)i - centre;
            ca = cos(angle * at), sa = sin(angle * at);
            cb = cos(lift * at + 2 * MERT_PI * (double)before / (double)l);
            sb = sin(lift * at + 2 * MERT_PI * (double)before / (double)l);
        }
        re += x[i] * (1 - cb) * ca;
        im -= x[i] * (1 - cb) * sa;
        t = ca * ct - sa * st, sa = sa * ct + ca * st, ca = t;
        t = cb * cl - sb * sl, sb = sb * cl + cb * sl, cb = t;
    }
    return sqrt(re * re + im * im) * step / sqrt((double)l); /* 1/2 of Hann's window, 2/l of its sum, sqrt(l) */
}
