#include "libcommon/dsp/cqt_taps.h"

#include "formats/array.h"
#include "libcommon/dsp/cqt_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int level_of(const mert_cqt_config *c, int k)
{
    int level = cqt_level_of(c, k);
    while (level && (level >= MERT_CQT_TAPS_LEVELS || c->hop % (1 << 2 * level)))
        level--;
    return level;
}

/* The smallest i with i * step >= x. */
static int64_t divided_up(int64_t x, int64_t step)
{
    return x > 0 ? (x + step - 1) / step : -(-x / step);
}

/* The next group from bin k on: its level, bins and taps. */
static mert_cqt_taps_group group_at(const mert_cqt_config *c, int k, int lanes, int multiple)
{
    mert_cqt_taps_group g = {.level = level_of(c, k), .bin = k};
    int64_t step = (int64_t)1 << 2 * g.level, end = 0;
    for (; k < c->bins && g.bins < lanes && level_of(c, k) == g.level; k++, g.bins++) {
        int64_t l = mert_cqt_length(c, k), before = (l + 1) / 2;
        int64_t first = divided_up(-before, step), beyond = divided_up(l - before, step);
        g.first = first < g.first ? first : g.first;
        end = beyond > end ? beyond : end;
    }
    g.taps = (end - g.first + multiple - 1) / multiple * multiple;
    return g;
}

static void fill(const mert_cqt_config *c, const mert_cqt_taps_group *g, int lanes, float *taps)
{
    int64_t step = (int64_t)1 << 2 * g->level;
    for (int j = 0; j < g->bins; j++) {
        int64_t l = mert_cqt_length(c, g->bin + j), before = (l + 1) / 2;
        double f = mert_cqt_frequency(c, g->bin + j), scale = (double)step / sqrt((double)l);
        for (int64_t i = 0; i < g->taps; i++) {
            int64_t n = (g->first + i) * step;
            double angle = 2 * MERT_PI * f * (double)n / c->sample_rate, window;
            if (n < -before || n >= l - before)
                continue;
            window = scale * (1 - cos(2 * MERT_PI * (double)(n + before) / (double)l));
            taps[2 * (i * lanes + j)] = (float)(window * cos(angle));
            taps[2 * (i * lanes + j) + 1] = (float)(-window * sin(angle));
        }
    }
}

static int more_taps(const void *a, const void *b)
{
    const mert_cqt_taps_group *x = a, *y = b;
    return x->taps != y->taps ? (x->taps < y->taps) - (x->taps > y->taps) : x->bin - y->bin;
}

int mert_cqt_taps_make(mert_cqt_taps *t, const mert_cqt_config *c, int lanes, int multiple, mert_error *e)
{
    double lowpass[CQT_FIR_HALF + 1];
    memset(t, 0, sizeof *t);
    if (mert_cqt_check(c, e))
        return -1;
    if (!(t->group = mert_array_zeroed(c->bins, sizeof *t->group)))
        return mert_fail(e, "out of memory");
    for (int k = 0; k < c->bins; k += t->group[t->groups++].bins) {
        mert_cqt_taps_group *g = &t->group[t->groups];
        *g = group_at(c, k, lanes, multiple);
        g->at = t->n;
        t->n += 2 * g->taps * lanes;
        t->levels = g->level >= t->levels ? g->level + 1 : t->levels;
    }
    if (!(t->floats = mert_array_zeroed(t->n, sizeof *t->floats))) {
        mert_cqt_taps_free(t);
        return mert_fail(e, "out of memory");
    }
    for (int i = 0; i < t->groups; i++)
        fill(c, &t->group[i], lanes, t->floats + t->group[i].at);
    qsort(t->group, (size_t)t->groups, sizeof *t->group, more_taps);
    cqt_lowpass(lowpass);
    for (int i = 0; i <= MERT_CQT_TAPS_HALF; i++)
        t->lowpass[i] = (float)lowpass[i];
    return 0;
}

void mert_cqt_taps_free(mert_cqt_taps *t)
{
    free(t->group);
    free(t->floats);
    memset(t, 0, sizeof *t);
}

double mert_cqt_taps_work(const mert_cqt_config *c, int lanes, int multiple)
{
    double work = 0;
    int levels = 1;
    for (int k = 0; k < c->bins;) {
        mert_cqt_taps_group g = group_at(c, k, lanes, multiple);
        work += 4.0 * (double)g.taps * lanes; /* real and imaginary parts, a multiplication and an addition each */
        levels = g.level >= levels ? g.level + 1 : levels;
        k += g.bins;
    }
    for (int v = 1; v < levels; v++)
        work += 2.0 * (2 * MERT_CQT_TAPS_HALF + 1) * c->hop / (double)(1 << 2 * v);
    return work;
}
