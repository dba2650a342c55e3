/* The operations of the CQT target. Training on the CPU does not use them, because the transform of dsp/ is faster
 * there (train/cqt_device.h). They are the reference for devices, and what runs below the guard. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"

#include <math.h>

enum { BLOCK = 1 << 12, ROWS = 16, WIDTH = 2 * MERT_CQT_LANES };

/* ---- decimation ---- */

static float decimated(const mert_decimate_args *a, const float *x, int64_t i)
{
    int64_t middle = 4 * i - a->shift;
    int64_t first = mert_larger(middle - a->half, 0), end = mert_smaller(middle + a->half + 1, a->n);
    double sum = 0;
    for (int64_t j = first; j < end; j++)
        sum += (double)a->h[j < middle ? middle - j : j - middle] * x[j];
    return (float)sum;
}

static void decimate_block(void *arg, int64_t task, int worker)
{
    const mert_decimate_args *a = arg;
    int64_t end = mert_smaller((task + 1) * BLOCK, a->B * a->N);
    (void)worker;
    for (int64_t i = task * BLOCK; i < end; i++)
        a->y[i] = decimated(a, a->x + i / a->N * a->n, i % a->N);
}

void mert_cpu_decimate(const void *args)
{
    const mert_decimate_args *a = args;
    mert_pool_run((a->B * a->N + BLOCK - 1) / BLOCK, decimate_block, (void *)a);
}

/* ---- products of windows with kernels ---- */

static float formed(const mert_cqt_args *a, double re, double im)
{
    double power = re * re + im * im, y;
    switch (a->form) {
    case MERT_CQT_LN: y = log(sqrt(power) + a->floor); break;
    case MERT_CQT_LOG10: y = log10(1 + 1e4 * power); break;
    default: y = sqrt(power);
    }
    return (float)((y - a->mean) * a->scale);
}

/* The sums of a group at one frame: the window's first sample is number `at` of x [n]. */
static void products(const mert_cqt_group *g, const float *taps, const float *x, int64_t n, int64_t at,
                     double sum[WIDTH])
{
    for (int l = 0; l < WIDTH; l++)
        sum[l] = 0;
    for (int64_t first = 0; first < g->taps; first += MERT_CQT_TAPS) {
        int64_t end = mert_smaller(mert_smaller(first + MERT_CQT_TAPS, g->taps), n - at);
        float part[WIDTH] = {0};
        for (int64_t i = mert_larger(first, -at); i < end; i++)
            for (int l = 0; l < WIDTH; l++)
                part[l] += x[at + i] * taps[i * WIDTH + l];
        for (int l = 0; l < WIDTH; l++)
            sum[l] += part[l];
    }
}

static void products_in_double(const mert_cqt_group *g, const float *taps, const float *x, int64_t n, int64_t at,
                               double sum[WIDTH])
{
    int64_t end = mert_smaller(g->taps, n - at);
    for (int l = 0; l < WIDTH; l++)
        sum[l] = 0;
    for (int64_t i = mert_larger(0, -at); i < end; i++)
        for (int l = 0; l < WIDTH; l++)
            sum[l] += (double)x[at + i] * taps[i * WIDTH + l];
}

/* Some rows of one group: so its taps stay in the cache. */
static void some_rows(void *arg, int64_t task, int worker)
{
    const mert_cqt_args *a = arg;
    const mert_cqt_group *g = &a->groups[task % a->n];
    const mert_cqt_signal *s = &a->signal[g->level];
    int64_t first = task / a->n * ROWS, end = mert_smaller(first + ROWS, a->S);
    double sum[WIDTH];
    (void)worker;
    for (int64_t r = first; r < end; r++) {
        int64_t at = a->rows[r] % a->T * (a->hop >> 2 * g->level) + g->first - s->first;
        const float *x = s->x + a->rows[r] / a->T * s->n;
        (a->form == MERT_CQT_LN ? products_in_double : products)(g, a->taps + g->at, x, s->n, at, sum);
        for (int l = 0; l < g->bins; l++)
            a->y[r * a->bins + g->bin + l] = formed(a, sum[2 * l], sum[2 * l + 1]);
    }
}

void mert_cpu_cqt(const void *args)
{
    const mert_cqt_args *a = args;
    mert_pool_run((a->S + ROWS - 1) / ROWS * a->n, some_rows, (void *)a);
}
