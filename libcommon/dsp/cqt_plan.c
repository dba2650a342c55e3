#include "libcommon/dsp/cqt_plan.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a kernel's response is cut, in units of rate / l (cqt_plan.h): above and below f_k for the shortest kernel
 * (CUT_ABOVE, CUT_BELOW), the minimum for any kernel, and below 0 Hz. PASS and STOP: ends of the decimation filter's
 * bands, relative to the next level's rate. */
static const double CUT_ABOVE = 150, CUT_BELOW = 128, CUT_LEAST = 48, CUT_ZERO = 40, PASS = 0.35, STOP = 0.65;

/* With a logarithm the error that a loud bin causes in empty ones is visible: ln(|Y| + 1e-5) to 0.1 needs an error of
 * 1e-6 beside |Y| of 30. */
static double reach(const mert_cqt_config *c, int k, double top)
{
    double shortest = (double)mert_cqt_length(c, c->bins - 1), l = (double)mert_cqt_length(c, k);
    return (c->form == MERT_CQT_LOG ? 16 : c->precise ? 4 : 1) * fmax(CUT_LEAST, top * pow(shortest / l, 0.25));
}

static double reach_above(const mert_cqt_config *c, int k) { return reach(c, k, CUT_ABOVE); }

/* 0 Hz has the same distance from all bins (in these units). The response is kept down to it, unless that distance is
 * long. */
static double reach_below(const mert_cqt_config *c, int k)
{
    double zero = 1 / (pow(2.0, 1.0 / c->bins_per_octave) - 1);
    return fmax(reach(c, k, CUT_BELOW), fmin(zero + CUT_ZERO, CUT_BELOW));
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/* The smallest number of frames that is a whole number of samples at a level whose sample is `step` samples of level
 * 0. */
static int64_t unit_frames(const mert_cqt_config *c, int64_t step) { return step / gcd(c->hop, step); }

int cqt_level_of(const mert_cqt_config *c, int k)
{
    double upper = mert_cqt_frequency(c, k) + reach_above(c, k) * c->sample_rate / (double)mert_cqt_length(c, k);
    int v = 0;
    int64_t step = 4;
    while (v + 1 < CQT_LEVELS && upper <= PASS * c->sample_rate / (double)step &&
           unit_frames(c, step) * c->hop <= 65536) {
        v++;
        step *= 4;
    }
    return v;
}

/* ---- the size of a level's blocks ---- */

typedef struct geometry {
    int64_t unit, left, right, fir; /* frames; right, fir: needed after the last frame by the kernels and by the
                                       filter */
    int bins, last;
    double rows;                    /* sum over all bins, per sample of the block */
} geometry;

static int64_t advance_of(const geometry *g, int64_t frames)
{
    int64_t a = frames - g->left + 1 - g->right;
    if (!g->last && frames - g->left - g->fir < a)
        a = frames - g->left - g->fir;
    return a > 0 ? a / g->unit * g->unit : 0;
}

/* An estimate in nanoseconds per frame: transforms at 6 to 20 flops per nanosecond, products at 25. It only affects
 * speed, and only ratios matter. */
static double cost_of(const geometry *g, int64_t frames, double n, int64_t advance)
{
    double forward = (g->last ? 2.5 : 3.0) * n * log2(n) / 6, fold = 4 * g->rows * n / 25;
    double inverse = 5.0 * g->bins * (double)frames * log2((double)frames) / 20;
    return (1000 + forward + fold + inverse) / (double)advance;
}

/* Frames are a power of two: FFTW plans n = hop * 2^i quickly, and levels have equal sizes. */
static int choose_size(const geometry *g, const mert_cqt_config *c, cqt_level *v, mert_error *e)
{
    double best = INFINITY;
    int64_t frames = 0;
    for (int pass = 0; pass < 2; pass++) /* finds the lowest cost, then the smallest size with nearly that cost */
        for (int64_t m = 4 * g->unit; m < (int64_t)1 << 40; m *= 2) {
            int64_t advance = advance_of(g, m), n = m * c->hop / v->step;
            double cost = cost_of(g, m, (double)n, advance > 0 ? advance : 1);
            if (advance <= 0 || (n > 1 << 15 && frames) || n > 1 << 25)
                continue;
            if (pass == 0 && cost < best) {
                best = cost;
                frames = m;
            } else if (pass == 1 && cost <= 1.1 * best && m < frames) {
                frames = m;
            }
        }
    if (!frames)
        return mert_fail(e, "no block size fits hop %d with kernels of %" PRId64 " samples", c->hop,
                         mert_cqt_length(c, 0));
    v->frames = (int)frames;
    v->n = (int)(frames * c->hop / v->step);
    v->advance = (int)advance_of(g, frames);
    v->left = (int)g->left;
    return 0;
}

/* ---- tables ---- */

/* Rows of bin k's response below and above f_k; together at most n. */
static double width_below(const cqt_level *v, const mert_cqt_config *c, int k)
{
    return fmin(reach_below(c, k) * v->n * v->step / (double)mert_cqt_length(c, k), v->n / 2.0);
}

static double width_above(const cqt_level *v, const mert_cqt_config *c, int k)
{
    return fmin(reach_above(c, k) * v->n * v->step / (double)mert_cqt_length(c, k), v->n / 2.0);
}

/* The spectrum of Hann's window of l samples about its middle, at 2u radians per sample, times 2 / sqrt(l) / n: with
 * b = pi / l,
 *     sum_m (1 + cos(2 pi m / l)) / 2 exp(-2 i u m) = sin(l u) cos(u) sin(b)^2 / (2 sin(u) (sin(b)^2 - sin(u)^2)).
 * This is the value of one row, by definition; mert_cqt_vector computes all rows of a group. */
static double window_at(const cqt_windows *s, int lane, double row)
{
    double l = s->l[lane], u = s->step * (row - s->centre[lane]), su = sin(u), s2 = su * su, b2 = s->sin_b2[lane];
    if (fabs(su) < 1e-12)
        return l / 2 * s->scale[lane];
    if (fabs(b2 - s2) < 1e-9 * b2)
        return l / 4 * s->scale[lane];
    return 0.5 * sin(l * u) * cos(u) * b2 / (su * (b2 - s2)) * s->scale[lane];
}

static float *response_of(const cqt_level *v, const cqt_group *g, int lane, int row)
{
    return g->response + (size_t)cqt_response_place(row, g->rows, v->frames) * CQT_LANES + lane;
}

/* The responses of a group, from row g->first on; each lane is 0 where its response is cut, and where it has no bin. */
static void fill_response(const cqt_vector *vector, const cqt_level *v, const mert_cqt_config *c, cqt_group *g)
{
    double points = (double)v->n * v->step;
    cqt_windows s = {.step = MERT_PI / points};
    for (int i = 0; i < CQT_LANES; i++) {
        int k = g->bin[i < g->lanes ? i : 0];
        double l = (double)mert_cqt_length(c, k), b = sin(MERT_PI / l);
        s.l[i] = l;
        s.centre[i] = mert_cqt_frequency(c, k) / c->sample_rate * points - g->first;
        s.sin_b2[i] = b * b;
        s.scale[i] = 2 / sqrt(l) / v->n;
    }
    vector->windows(&s, g->rows, v->frames, g->response);
    for (int i = 0; i < CQT_LANES; i++) {
        int from = g->rows, to = g->rows;
        if (i < g->lanes) {
            from = (int)ceil(s.centre[i] - width_below(v, c, g->bin[i]));
            to = (int)ceil(s.centre[i] + width_above(v, c, g->bin[i]));
        }
        for (int zero = -1; zero <= 1; zero++) { /* of the denominator: there it is 0/0, or almost */
            double at = floor(s.centre[i] + zero * points / s.l[i] + 0.5);
            if (at >= from && at < to)
                *response_of(v, g, i, (int)at) = (float)window_at(&s, i, at);
        }
        for (int r = 0; r < from; r++)
            *response_of(v, g, i, r) = 0;
        for (int r = to; r < g->rows; r++)
            *response_of(v, g, i, r) = 0;
    }
}

static int make_group(const cqt_vector *vector, const cqt_level *v, const mert_cqt_config *c, cqt_group *g,
                      mert_error *e)
{
    double points = (double)v->n * v->step, lowest = INFINITY, highest = -INFINITY;
    for (int i = 0; i < g->lanes; i++) {
        double centre = mert_cqt_frequency(c, g->bin[i]) / c->sample_rate * points;
        lowest = fmin(lowest, ceil(centre - width_below(v, c, g->bin[i])));
        highest = fmax(highest, ceil(centre + width_above(v, c, g->bin[i])));
    }
    g->first = (int)lowest & ~1; /* even, so that pairs of rows are pairs of the spectrum */
    g->rows = (int)round_up((int64_t)highest - g->first, 4);
    g->response = mert_dsp_alloc((size_t)g->rows * CQT_LANES, sizeof *g->response, e);
    g->phase = mert_dsp_alloc(2 * CQT_LANES, sizeof *g->phase, e);
    if (!g->response || !g->phase)
        return -1;
    for (int i = 0; i < g->lanes; i++) {
        double half = MERT_PI * mert_cqt_frequency(c, g->bin[i]) / c->sample_rate;
        g->phase[i] = g->odd ? (float)cos(half) : 1;
        g->phase[CQT_LANES + i] = g->odd ? (float)sin(half) : 0;
    }
    fill_response(vector, v, c, g);
    return 0;
}

/* Makes groups of eight neighbouring bins of equal parity. place[k]: the level of bin k. */
static int make_groups(const cqt_vector *vector, cqt_level *v, const mert_cqt_config *c, const int *place, int level,
                       mert_error *e)
{
    int last = 0;
    v->group = mert_array_zeroed(c->bins, sizeof *v->group);
    if (!v->group)
        return mert_fail(e, "out of memory");
    for (int odd = 0; odd < 2; odd++) {
        cqt_group *g = NULL;
        for (int k = 0; k < c->bins; k++) {
            if (place[k] != level || mert_cqt_length(c, k) % 2 != odd)
                continue;
            if (!g || g->lanes == CQT_LANES) {
                g = &v->group[v->groups++];
                g->odd = odd;
            }
            g->bin[g->lanes++] = k;
            v->parities |= 1 << odd;
        }
    }
    for (int i = 0; i < v->groups; i++) {
        cqt_group *g = &v->group[i];
        if (make_group(vector, v, c, g, e))
            return -1;
        v->first = i == 0 || g->first < v->first ? g->first : v->first;
        last = i == 0 || g->first + g->rows > last ? g->first + g->rows : last;
    }
    v->first = (int)(v->first >= 0 ? v->first / v->frames * v->frames : -round_up(-v->first, v->frames));
    v->count = (int)round_up(last - v->first, v->frames);
    v->half = mert_dsp_alloc((size_t)v->count, 2 * sizeof *v->half, e);
    if (!v->half)
        return -1;
    for (int j = 0; j < v->count; j++) {
        double angle = MERT_PI * (v->first + j) / ((double)v->n * v->step);
        float *to = v->half + 2 * (size_t)cqt_spectrum_place(j, v->count, v->frames);
        to[0] = (float)cos(angle);
        to[1] = (float)-sin(angle);
    }
    return 0;
}

static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int i = 1; term > 1e-18 * sum; i++) {
        term *= x / (2 * i) * (x / (2 * i));
        sum += term;
    }
    return sum;
}

/* Kaiser's window method; 140 dB of stopband make beta 14.5. */
void cqt_lowpass(double h[CQT_FIR_HALF + 1])
{
    const double beta = 14.5, cutoff = (PASS + STOP) / 2 / 4;
    double sum = 0;
    for (int i = 0; i <= CQT_FIR_HALF; i++) {
        double at = (double)i / (CQT_FIR_HALF + 1), x = 2 * MERT_PI * cutoff * i;
        h[i] = bessel_i0(beta * sqrt(1 - at * at)) * (i ? sin(x) / x : 1);
        sum += (i ? 2 : 1) * h[i];
    }
    for (int i = 0; i <= CQT_FIR_HALF; i++)
        h[i] /= sum;
}

static int make_lowpass(cqt_level *v, mert_error *e)
{
    float *time = mert_dsp_alloc((size_t)v->n, sizeof *time, e);
    float *spectrum = mert_dsp_alloc((size_t)v->n + 2, sizeof *spectrum, e);
    double h[CQT_FIR_HALF + 1];
    int bad = -1;
    v->lowpass = mert_dsp_alloc((size_t)v->n / 4 + 1, sizeof *v->lowpass, e);
    if (!time || !spectrum || !v->lowpass)
        goto done;
    cqt_lowpass(h);
    for (int i = 0; i <= CQT_FIR_HALF; i++)
        time[i] = time[i ? v->n - i : 0] = (float)h[i];
    mert_rfft_forward(v->dft, time, spectrum);
    for (int j = 0; j <= v->n / 4; j++)
        v->lowpass[j] = spectrum[2 * j] / (float)v->n;
    bad = 0;
done:
    free(time);
    free(spectrum);
    return bad;
}

static int make_lane_fft(cqt_lane_fft *f, int n, mert_error *e)
{
    f->n = n;
    for (; n > 1; n /= f->radix[f->stages++]) {
        int radix = n % 4 ? 2 : 4;
        float *w = f->twiddle[f->stages] = mert_dsp_alloc((size_t)(n / radix) * (size_t)(radix - 1), 2 * sizeof *w, e);
        f->radix[f->stages] = radix;
        if (!w)
            return -1;
        for (int p = 0; p < n / radix; p++)
            for (int k = 1; k < radix; k++, w += 2) {
                double angle = 2 * MERT_PI * ((double)p * k) / n;
                w[0] = (float)cos(angle);
                w[1] = (float)sin(angle);
            }
    }
    return 0;
}

/* ---- plans ---- */

static int make_level(mert_cqt_plan *p, int level, const int *place, int64_t step, mert_error *e)
{
    const mert_cqt_config *c = &p->config;
    cqt_level *v = &p->level[level];
    geometry g = {.last = level == p->levels - 1};
    int64_t longest = 0, fir = CQT_FIR_HALF * step, beyond;
    v->step = (int)step;
    v->extent = level ? p->level[level - 1].extent + fir / 4 : 0;
    for (int k = 0; k < c->bins; k++)
        if (place[k] == level) {
            int64_t l = mert_cqt_length(c, k);
            longest = l > longest ? l : longest;
            g.bins++;
            g.rows += fmin(1.25 * (reach_above(c, k) + reach_below(c, k)) * (double)step / (double)l, 1);
        }
    beyond = (longest + 1) / 2;
    g.unit = unit_frames(c, g.last ? step : 4 * step);
    g.right = round_up(beyond, c->hop) / c->hop;
    g.fir = round_up(fir, c->hop) / c->hop;
    g.left = round_up(!g.last && g.fir > g.right ? g.fir : g.right, g.unit);
    if (!g.last)
        v->lead = (int)round_up(round_up(v->extent + fir, c->hop) / c->hop, g.unit);
    if (choose_size(&g, c, v, e))
        return -1;
    v->dft = mert_rfft_new(v->n, MERT_RFFT_FORWARD, e);
    if (!v->dft || (g.bins && make_groups(p->vector, v, c, place, level, e)) ||
        make_lane_fft(&v->lane_fft, v->frames, e))
        return -1;
    if (g.last)
        return 0;
    v->quarter = mert_rfft_new(v->n / 4, MERT_RFFT_BACKWARD, e);
    return !v->quarter || make_lowpass(v, e) ? -1 : 0;
}

mert_cqt_plan *mert_cqt_plan_new(const mert_cqt_config *c, mert_error *e)
{
    mert_cqt_plan *p = NULL;
    int *place = NULL;
    int64_t step = 1;
    if (mert_cqt_check(c, e))
        return NULL;
    p = calloc(1, sizeof *p);
    place = mert_array_zeroed(c->bins, sizeof *place);
    if (!p || !place) {
        mert_fail(e, "out of memory");
        goto failed;
    }
    p->config = *c;
    p->vector = MERT_KERNEL_TABLE(mert_cqt_vector);
    for (int k = 0; k < c->bins; k++) {
        place[k] = cqt_level_of(c, k);
        p->levels = place[k] + 1 > p->levels ? place[k] + 1 : p->levels;
    }
    for (int v = 0; v < p->levels; v++, step *= 4)
        if (make_level(p, v, place, step, e))
            goto failed;
    free(place);
    return p;
failed:
    free(place);
    mert_cqt_plan_free(p);
    return NULL;
}

void mert_cqt_plan_free(mert_cqt_plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->levels; i++) {
        cqt_level *v = &p->level[i];
        for (int g = 0; v->group && g < v->groups; g++) {
            free(v->group[g].response);
            free(v->group[g].phase);
        }
        for (int s = 0; s < v->lane_fft.stages; s++)
            free(v->lane_fft.twiddle[s]);
        free(v->group);
        free(v->half);
        free(v->lowpass);
        mert_rfft_free(v->dft);
        mert_rfft_free(v->quarter);
    }
    free(p);
}

const mert_cqt_config *mert_cqt_plan_config(const mert_cqt_plan *p) { return &p->config; }
