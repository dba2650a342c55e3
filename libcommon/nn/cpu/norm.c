/* Norms: LayerNorm over rows, GroupNorm over time with one channel per group, weight norm of the positional
 * convolution. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <string.h>

enum { ROWS = 32, COLUMNS = 64, TIME_BLOCK = 256 };

static void layer_norm_rows(void *arg, int64_t i, int worker)
{
    const mert_layer_norm_args *a = arg;
    float *room = a->y ? NULL : mert_cpu_scratch(worker, (size_t)a->columns);
    for (int64_t r = i * ROWS; (a->y || room) && r < (i + 1) * ROWS && r < a->rows; r++) {
        float *y = a->y ? a->y + r * a->columns : room;
        MERT_VECTOR->layer_norm(y, a->x + r * a->columns, a->w, a->b, a->columns, a->eps, a->mean ? a->mean + r : NULL,
                                a->rstd ? a->rstd + r : NULL);
        if (a->gelu)
            MERT_VECTOR->gelu(y, y, NULL, a->columns);
    }
}

void mert_cpu_layer_norm(const void *args)
{
    const mert_layer_norm_args *a = args;
    mert_pool_run((a->rows + ROWS - 1) / ROWS, layer_norm_rows, (void *)args);
}

static void layer_norm_parameters(void *arg, int64_t i, int worker)
{
    const mert_layer_norm_backward_args *a = arg;
    int64_t c = i * COLUMNS, n = a->columns - c < COLUMNS ? a->columns - c : COLUMNS;
    (void)worker;
    for (int64_t r0 = 0; r0 < a->rows; r0 += TIME_BLOCK) {
        float dw[COLUMNS] = {0}, db[COLUMNS] = {0};
        for (int64_t r = r0; r < r0 + TIME_BLOCK && r < a->rows; r++)
            MERT_VECTOR->norm_parameters(dw, db, a->dy + r * a->columns + c, a->x + r * a->columns + c, a->mean[r],
                                         a->rstd[r], n);
        MERT_VECTOR->axpy(a->dw + c, dw, 1.0f, n);
        MERT_VECTOR->axpy(a->db + c, db, 1.0f, n);
    }
}

/* dy becomes the gradient by the argument of the GELU. */
static void layer_norm_gelu_rows(void *arg, int64_t i, int worker)
{
    const mert_layer_norm_backward_args *a = arg;
    float *pre = mert_cpu_scratch(worker, (size_t)a->columns);
    for (int64_t r = i * ROWS; pre && r < (i + 1) * ROWS && r < a->rows; r++) {
        float *dy = a->dy + r * a->columns;
        MERT_VECTOR->apply_norm(pre, a->x + r * a->columns, a->w, a->b, a->mean[r], a->rstd[r], a->columns);
        MERT_VECTOR->gelu_backward(dy, dy, pre, a->columns);
    }
}

static void layer_norm_backward_rows(void *arg, int64_t i, int worker)
{
    const mert_layer_norm_backward_args *a = arg;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++)
        MERT_VECTOR->layer_norm_backward(a->dx + r * a->columns, a->dy + r * a->columns, a->x + r * a->columns, a->w,
                                         a->mean[r], a->rstd[r], a->columns, a->add);
}

void mert_cpu_layer_norm_backward(const void *args)
{
    const mert_layer_norm_backward_args *a = args;
    if (a->gelu)
        mert_pool_run((a->rows + ROWS - 1) / ROWS, layer_norm_gelu_rows, (void *)args);
    /* parameters first, because dx may be the same array as dy */
    mert_pool_run((a->columns + COLUMNS - 1) / COLUMNS, layer_norm_parameters, (void *)args);
    if (a->dx)
        mert_pool_run((a->rows + ROWS - 1) / ROWS, layer_norm_backward_rows, (void *)args);
}

/* ---- GroupNorm over time: a task is a block of channels of one item; it processes the time in blocks ---- */

typedef struct stripe {
    int64_t b, c, n;  /* item, first channel, number of channels */
} stripe;

static stripe stripe_of(int64_t i, int64_t C)
{
    int64_t per = (C + COLUMNS - 1) / COLUMNS;
    stripe s = {i / per, i % per * COLUMNS, 0};
    s.n = C - s.c < COLUMNS ? C - s.c : COLUMNS;
    return s;
}

/* sums[c] = sum over t of x (mean NULL), or of (x - mean)^2. A block at a fixed position is summed in float, the blocks
 * in double. */
static void sum_over_time(double *sums, const float *x, const float *mean, int64_t T, int64_t C, int64_t n)
{
    float part[COLUMNS];
    for (int64_t c = 0; c < n; c++)
        sums[c] = 0;
    for (int64_t t0 = 0; t0 < T; t0 += TIME_BLOCK) {
        memset(part, 0, sizeof part);
        for (int64_t t = t0; t < t0 + TIME_BLOCK && t < T; t++)
            MERT_VECTOR->add_squares(part, x + t * C, mean, n);
        for (int64_t c = 0; c < n; c++)
            sums[c] += part[c];
    }
}

static void time_norm_stripe(void *arg, int64_t i, int worker)
{
    const mert_time_norm_args *a = arg;
    stripe s = stripe_of(i, a->C);
    const float *x = a->x + s.b * a->T * a->C + s.c;
    float *y = a->y ? a->y + s.b * a->T * a->C + s.c : NULL, *pre = a->pre ? a->pre + s.b * a->T * a->C + s.c : NULL;
    float mean[COLUMNS], rstd[COLUMNS], gain[COLUMNS];
    double sums[COLUMNS];
    (void)worker;
    sum_over_time(sums, x, NULL, a->T, a->C, s.n);
    for (int64_t c = 0; c < s.n; c++)
        mean[c] = (float)(sums[c] / (double)a->T);
    sum_over_time(sums, x, mean, a->T, a->C, s.n);
    for (int64_t c = 0; c < s.n; c++) {
        rstd[c] = (float)(1.0 / sqrt(sums[c] / (double)a->T + (double)a->eps));
        gain[c] = rstd[c] * a->w[s.c + c];
        if (a->mean)
            a->mean[s.b * a->C + s.c + c] = mean[c];
        if (a->rstd)
            a->rstd[s.b * a->C + s.c + c] = rstd[c];
    }
    for (int64_t t = 0; y && t < a->T; t++) {
        MERT_VECTOR->affine(y + t * a->C, x + t * a->C, mean, gain, a->b + s.c, s.n);
        if (pre)
            memcpy(pre + t * a->C, y + t * a->C, (size_t)s.n * sizeof(float));
        if (a->gelu)
            MERT_VECTOR->gelu(y + t * a->C, y + t * a->C, NULL, s.n);
    }
}

void mert_cpu_time_norm(const void *args)
{
    const mert_time_norm_args *a = args;
    mert_pool_run(a->B * ((a->C + COLUMNS - 1) / COLUMNS), time_norm_stripe, (void *)args);
}

/* dx = rstd w (dy - mean(dy) - xhat mean(dy xhat)), means over time */
static void time_norm_backward_stripe(void *arg, int64_t i, int worker)
{
    const mert_time_norm_backward_args *a = arg;
    int64_t c0 = i * COLUMNS, n = a->C - c0 < COLUMNS ? a->C - c0 : COLUMNS;
    (void)worker;
    for (int64_t b = 0; b < a->B; b++) { /* items in order: dw and db are summed in a fixed order */
        const float *x = a->x + b * a->T * a->C + c0, *dy = a->dy + b * a->T * a->C + c0;
        const float *mean = a->mean + b * a->C + c0, *rstd = a->rstd + b * a->C + c0;
        float *dx = a->dx + b * a->T * a->C + c0;
        double g[COLUMNS] = {0}, gx[COLUMNS] = {0};
        float k[COLUMNS], m[COLUMNS], q[COLUMNS];
        for (int64_t t0 = 0; t0 < a->T; t0 += TIME_BLOCK) {
            float gp[COLUMNS] = {0}, gxp[COLUMNS] = {0};
            for (int64_t t = t0; t < t0 + TIME_BLOCK && t < a->T; t++)
                for (int64_t c = 0; c < n; c++) {
                    gp[c] += dy[t * a->C + c];
                    gxp[c] += dy[t * a->C + c] * ((x[t * a->C + c] - mean[c]) * rstd[c]);
                }
            for (int64_t c = 0; c < n; c++) {
                g[c] += gp[c];
                gx[c] += gxp[c];
            }
        }
        for (int64_t c = 0; c < n; c++) {
            a->dw[c0 + c] += (float)gx[c];
            a->db[c0 + c] += (float)g[c];
            k[c] = rstd[c] * a->w[c0 + c];
            m[c] = (float)(g[c] / (double)a->T);
            q[c] = (float)(gx[c] / (double)a->T) * rstd[c];
        }
        for (int64_t t = 0; t < a->T; t++)
            for (int64_t c = 0; c < n; c++)
                dx[t * a->C + c] = k[c] * (dy[t * a->C + c] - m[c] - (x[t * a->C + c] - mean[c]) * q[c]);
    }
}

void mert_cpu_time_norm_backward(const void *args)
{
    const mert_time_norm_backward_args *a = args;
    mert_pool_run((a->C + COLUMNS - 1) / COLUMNS, time_norm_backward_stripe, (void *)args);
}

/* ---- weight norm over dim 2: a task is a block of taps ---- */

enum { TAPS = 32 };

static void weight_norm_taps(void *arg, int64_t block, int worker)
{
    const mert_weight_norm_args *a = arg;
    int64_t k0 = block * TAPS, n = a->kernel - k0 < TAPS ? a->kernel - k0 : TAPS;
    double squares[TAPS] = {0};
    float factor[TAPS];
    (void)worker;
    for (int64_t oi = 0; oi < a->out * a->in; oi++)
        for (int64_t k = 0; k < n; k++)
            squares[k] += (double)a->v[oi * a->kernel + k0 + k] * a->v[oi * a->kernel + k0 + k];
    for (int64_t k = 0; k < n; k++) {
        a->norm[k0 + k] = (float)sqrt(squares[k]);
        factor[k] = a->g[k0 + k] / a->norm[k0 + k];
    }
    for (int64_t o = 0; o < a->out; o++)
        for (int64_t i = 0; i < a->in; i++)
            for (int64_t k = 0; k < n; k++)
                a->w[(o * a->kernel + k0 + k) * a->in + i] = a->v[(o * a->in + i) * a->kernel + k0 + k] * factor[k];
}

void mert_cpu_weight_norm(const void *args)
{
    mert_pool_run((((const mert_weight_norm_args *)args)->kernel + TAPS - 1) / TAPS, weight_norm_taps, (void *)args);
}

/* With u = v / |v|: dg = <dw, u>, dv = g / |v| (dw - u <dw, u>) */
static void weight_norm_backward_taps(void *arg, int64_t block, int worker)
{
    const mert_weight_norm_backward_args *a = arg;
    int64_t k0 = block * TAPS, n = a->kernel - k0 < TAPS ? a->kernel - k0 : TAPS;
    double inner[TAPS] = {0};
    float along[TAPS], across[TAPS];
    (void)worker;
    for (int64_t o = 0; o < a->out; o++)
        for (int64_t i = 0; i < a->in; i++)
            for (int64_t k = 0; k < n; k++)
                inner[k] +=
                    (double)a->dw[(o * a->kernel + k0 + k) * a->in + i] * a->v[(o * a->in + i) * a->kernel + k0 + k];
    for (int64_t k = 0; k < n; k++) {
        double norm = a->norm[k0 + k];
        a->dg[k0 + k] += (float)(inner[k] / norm);
        across[k] = (float)(a->g[k0 + k] / norm);
        along[k] = (float)(a->g[k0 + k] / norm * inner[k] / (norm * norm));
    }
    for (int64_t o = 0; o < a->out; o++)
        for (int64_t i = 0; i < a->in; i++)
            for (int64_t k = 0; k < n; k++) {
                int64_t j = (o * a->in + i) * a->kernel + k0 + k;
                a->dv[j] += across[k] * a->dw[(o * a->kernel + k0 + k) * a->in + i] - along[k] * a->v[j];
            }
}

void mert_cpu_weight_norm_backward(const void *args)
{
    mert_pool_run((((const mert_weight_norm_backward_args *)args)->kernel + TAPS - 1) / TAPS, weight_norm_backward_taps,
                  (void *)args);
}

/* ---- GroupNorm after the first convolution, without the convolution's outputs ---- */

enum { WINDOWS = 4096 };

typedef struct moment_job {
    const mert_window_moments_args *a;
    double *part; /* [blocks][kernel + kernel * kernel] */
} moment_job;

static void moments_block(void *arg, int64_t i, int worker)
{
    const moment_job *j = arg;
    const mert_window_moments_args *a = j->a;
    int64_t K = a->kernel, end = (i + 1) * WINDOWS < a->T ? (i + 1) * WINDOWS : a->T;
    double *sums = j->part + i * (K + K * K), *products = sums + K;
    (void)worker;
    memset(sums, 0, (size_t)(K + K * K) * sizeof *sums);
    for (int64_t t = i * WINDOWS; t < end; t++) {
        const float *x = a->x + t * a->stride;
        for (int64_t k = 0; k < K; k++) {
            double v = x[k];
            sums[k] += v;
            for (int64_t l = 0; l <= k; l++)
                products[k * K + l] += v * (double)x[l];
        }
    }
}

void mert_cpu_window_moments(const void *args)
{
    const mert_window_moments_args *a = args;
    int64_t K = a->kernel, blocks = (a->T + WINDOWS - 1) / WINDOWS, size = K + K * K;
    moment_job j = {a, (double *)(void *)mert_cpu_shared_scratch((size_t)(2 * blocks * size))};
    if (!j.part)
        return;
    mert_pool_run(blocks, moments_block, &j);
    memset(a->sums, 0, (size_t)K * sizeof *a->sums);
    memset(a->products, 0, (size_t)(K * K) * sizeof *a->products);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < K; k++) {
            a->sums[k] += j.part[b * size + k];
            for (int64_t l = 0; l <= k; l++)
                a->products[k * K + l] += j.part[b * size + K + k * K + l];
        }
    for (int64_t k = 0; k < K; k++)
        for (int64_t l = k + 1; l < K; l++)
            a->products[k * K + l] = a->products[l * K + k];
}

void mert_cpu_fold_norm(const void *args)
{
    const mert_fold_norm_args *a = args;
    int64_t K = a->kernel;
    double T = (double)a->T;
    for (int64_t c = 0; c < a->out; c++) {
        const float *v = a->v + c * K;
        double variance = 0, gain, shift;
        for (int64_t k = 0; k < K; k++)
            for (int64_t l = 0; l < K; l++)
                variance += (double)v[k] * v[l] * (a->products[k * K + l] / T - a->sums[k] / T * (a->sums[l] / T));
        gain = a->norm_w[c] / sqrt((variance > 0 ? variance : 0) + (double)a->eps);
        /* The mean is computed with the rounded weights w, because conv(x; w) uses them: for a nearly constant signal
         * the mean is almost all of the output, and a mean of the unrounded weights would leave a large error. */
        shift = 0;
        for (int64_t k = 0; k < K; k++) {
            float w = (float)(gain * v[k]);
            a->w[c * K + k] = w;
            shift += w * (a->sums[k] / T);
        }
        a->b[c] = (float)(a->norm_b[c] - shift);
    }
}
