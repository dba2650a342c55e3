/* Global response norm. Sums over time are in double, for blocks of channels; the rest is done by rows. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <string.h>

enum { COLUMNS = 64, ROWS = 32, TIME_BLOCK = 256 };

static int64_t stripes(int64_t C)
{
    return (C + COLUMNS - 1) / COLUMNS;
}

/* sums[c] += sum over t of x[t, c] y[t, c], frame by frame */
static void products_over_time(double *sums, const float *x, const float *y, int64_t T, int64_t C, int64_t n)
{
    for (int64_t t = 0; t < T; t++)
        MERT_VECTOR->add_products(sums, x + t * C, y + t * C, n);
}

static void squares_stripe(void *arg, int64_t i, int worker)
{
    const mert_time_squares_args *a = arg;
    int64_t b = i / stripes(a->C), c = i % stripes(a->C) * COLUMNS;
    const float *x = a->x + b * a->T * a->C + c;
    (void)worker;
    products_over_time(a->squares + b * a->C + c, x, x, a->T, a->C, mert_smaller(a->C - c, COLUMNS));
}

void mert_cpu_time_squares(const void *args)
{
    const mert_time_squares_args *a = args;
    mert_pool_run(a->B * stripes(a->C), squares_stripe, (void *)args);
}

/* mean over c of m, plus eps */
static double mean_norm(const double *squares, int64_t C, double eps)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++)
        sum += sqrt(squares[c]);
    return sum / (double)C + eps;
}

/* gain = 1 + w n, the factor of x */
static void gains(float *gain, const double *squares, const float *w, int64_t C, double eps)
{
    double s = mean_norm(squares, C, eps);
    for (int64_t c = 0; c < C; c++)
        gain[c] = (float)(1 + w[c] * (sqrt(squares[c]) / s));
}

typedef struct rows {
    const void *args;
    float *gain;   /* [B, C] */
    float *along;  /* [B, C]: backward, the factor of x in dx */
    double *dot;   /* [B, C]: backward, sum over t of dy x */
} rows;

static void norm_rows(void *arg, int64_t i, int worker)
{
    const rows *k = arg;
    const mert_response_norm_args *a = k->args;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->B * a->T; r++)
        MERT_VECTOR->scale_shift(a->y + r * a->C, a->x + r * a->C, k->gain + r / a->T * a->C, a->b, a->C);
}

void mert_cpu_response_norm(const void *args)
{
    const mert_response_norm_args *a = args;
    rows k = {.args = args, .gain = mert_cpu_shared_scratch((size_t)(a->B * a->C))};
    if (!k.gain)
        return;
    for (int64_t b = 0; b < a->B; b++)
        gains(k.gain + b * a->C, a->squares + b * a->C, a->w, a->C, a->eps);
    mert_pool_run((a->B * a->T + ROWS - 1) / ROWS, norm_rows, &k);
}

/* One task: some channels, all items in order. */
static void parameters_stripe(void *arg, int64_t i, int worker)
{
    const rows *k = arg;
    const mert_response_norm_backward_args *a = k->args;
    int64_t c0 = i * COLUMNS, n = mert_smaller(a->C - c0, COLUMNS);
    (void)worker;
    for (int64_t b = 0; b < a->B; b++) {
        int64_t at = b * a->T * a->C + c0;
        double *dot = k->dot + b * a->C + c0;
        memset(dot, 0, (size_t)n * sizeof *dot);
        products_over_time(dot, a->dy + at, a->x + at, a->T, a->C, n);
        for (int64_t t0 = 0; t0 < a->T; t0 += TIME_BLOCK) {
            float db[COLUMNS] = {0};
            for (int64_t t = t0; t < t0 + TIME_BLOCK && t < a->T; t++)
                MERT_VECTOR->axpy(db, a->dy + at + t * a->C, 1.0f, n);
            MERT_VECTOR->axpy(a->db + c0, db, 1.0f, n);
        }
    }
}

/* With s = mean_norm(), g = sum over t of dy x, and dn = w g: dw += n g. The gradient through m is
 *     (dn / s - mean over c of (dn m) / s^2) x / m */
static void through_norm(const rows *k, int64_t b)
{
    const mert_response_norm_backward_args *a = k->args;
    const double *squares = a->squares + b * a->C, *g = k->dot + b * a->C;
    double s = mean_norm(squares, a->C, a->eps), shared = 0;
    for (int64_t c = 0; c < a->C; c++)
        shared += a->w[c] * g[c] * sqrt(squares[c]);
    shared /= (double)a->C * s * s;
    for (int64_t c = 0; c < a->C; c++) {
        double m = sqrt(squares[c]);
        a->dw[c] += (float)(m / s * g[c]);
        k->along[b * a->C + c] = m > 0 ? (float)((a->w[c] * g[c] / s - shared) / m) : 0;
    }
    gains(k->gain + b * a->C, squares, a->w, a->C, a->eps);
}

static void backward_rows(void *arg, int64_t i, int worker)
{
    const rows *k = arg;
    const mert_response_norm_backward_args *a = k->args;
    float *sum = a->add ? mert_cpu_scratch(worker, (size_t)a->C) : NULL;
    if (a->add && !sum)
        return;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->B * a->T; r++) {
        int64_t of = r / a->T * a->C, at = r * a->C;
        MERT_VECTOR->combine(sum ? sum : a->dx + at, a->dy + at, k->gain + of, a->x + at, k->along + of, a->C);
        if (sum)
            MERT_VECTOR->axpy(a->dx + at, sum, 1.0f, a->C);
    }
}

void mert_cpu_response_norm_backward(const void *args)
{
    const mert_response_norm_backward_args *a = args;
    int64_t n = a->B * a->C;
    rows k = {.args = args, .dot = (double *)(void *)mert_cpu_shared_scratch((size_t)(4 * n))};
    if (!k.dot)
        return;
    k.gain = (float *)(void *)(k.dot + n);
    k.along = k.gain + n;
    mert_pool_run(stripes(a->C), parameters_stripe, &k);
    for (int64_t b = 0; b < a->B; b++)
        through_norm(&k, b);
    mert_pool_run((a->B * a->T + ROWS - 1) / ROWS, backward_rows, &k);
}
