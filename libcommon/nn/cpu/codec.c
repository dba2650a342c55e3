/* The operations of an audio codec. mert-rvq without a device does not use them (teachers/encodec/seanet.h); they are
 * the reference for devices, and what runs below the guard. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1 << 15, ROWS = 64 };

/* ---- ELU ---- */

static void elu_block(void *arg, int64_t i, int worker)
{
    const mert_elu_args *a = arg;
    int64_t first = i * BLOCK;
    (void)worker;
    MERT_VECTOR->elu(a->y + first, a->x + first, mert_smaller(a->n - first, BLOCK));
}

void mert_cpu_elu(const void *args)
{
    mert_pool_run((((const mert_elu_args *)args)->n + BLOCK - 1) / BLOCK, elu_block, (void *)args);
}

/* ---- padding ---- */

/* The number of the span whose padded rows have y's row t, or would have if they were long enough: the last one that
 * begins there or before; -1: none. */
static int64_t span_at(const mert_pad_args *a, int64_t t)
{
    int64_t low = -1, high = a->n;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (a->spans[middle].at / a->scale <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The row of x that y's row t is a copy of; -1: zeros. */
static int64_t source_of(const mert_pad_args *a, int64_t t)
{
    int64_t i = span_at(a, t), first, rows, right, extended, p;
    if (i < 0)
        return -1;
    first = a->spans[i].at / a->scale;
    rows = (a->spans[i].rows + a->scale - 1) / a->scale;
    right = (a->stride - rows % a->stride) % a->stride;
    extended = mert_larger(rows, mert_larger(a->left, right) + 1);
    p = t - first - a->left;
    if (rows < 1 || p >= rows + right || (p < 0 && !a->spans[i].begins))
        return -1;
    p = p < 0 ? -p : p >= extended ? 2 * extended - 2 - p : p;
    return p < rows ? first + p : -1;
}

static void pad_rows(void *arg, int64_t block, int worker)
{
    const mert_pad_args *a = arg;
    int64_t each = BLOCK / a->C + 1, end = mert_smaller((block + 1) * each, a->T + a->left);
    (void)worker;
    for (int64_t t = block * each; t < end; t++) {
        int64_t from = source_of(a, t);
        float *y = a->y + t * a->C;
        if (from < 0)
            memset(y, 0, (size_t)a->C * sizeof *y);
        else if (a->elu)
            MERT_VECTOR->elu(y, a->x + from * a->C, a->C);
        else
            memcpy(y, a->x + from * a->C, (size_t)a->C * sizeof *y);
    }
}

void mert_cpu_pad(const void *args)
{
    const mert_pad_args *a = args;
    int64_t each = BLOCK / a->C + 1;
    mert_pool_run((a->T + a->left + each - 1) / each, pad_rows, (void *)args);
}

/* ---- LSTM: a span is a task ---- */

static void lstm_span(void *arg, int64_t i, int worker)
{
    const mert_lstm_args *a = arg;
    const mert_span *s = &a->spans[i];
    int64_t W = a->W;
    float *state = a->state + s->state * 2 * W, *gates = mert_cpu_scratch(worker, (size_t)(4 * W));
    const float *h = state;
    for (int64_t t = s->at; gates && t < s->at + s->rows; t++) {
        memset(gates, 0, (size_t)(4 * W) * sizeof *gates);
        for (int64_t k = 0; k < W; k++)
            MERT_VECTOR->axpy(gates, a->w + k * 4 * W, h[k], 4 * W);
        MERT_VECTOR->axpy(gates, a->gates + t * 4 * W, 1, 4 * W);
        MERT_VECTOR->lstm_gates(gates, W, state + W, a->y + t * W, W);
        h = a->y + t * W;
    }
    if (h != state)
        memcpy(state, h, (size_t)W * sizeof *state);
}

void mert_cpu_lstm(const void *args)
{
    mert_pool_run(((const mert_lstm_args *)args)->n, lstm_span, (void *)args);
}

/* ---- nearest codewords ---- */

static double distance2(const float *x, const float *w, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)x[i] - (double)w[i]) * ((double)x[i] - (double)w[i]);
    return sum;
}

/* |x|; infinite if a number of x is not finite, or 1e18 or more. */
static double length_of(const float *x, int64_t n)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) < 1e18f))
            return INFINITY;
        squares += (double)x[i] * (double)x[i];
    }
    return sqrt(squares);
}

static int32_t nearest_of(const mert_nearest_args *a, const float *x, const float *scores)
{
    double far = length_of(x, a->D), least = INFINITY, limit;
    int32_t best = 0;
    if (far == INFINITY)
        return -1;
    limit = (double)MERT_VECTOR->max(scores, a->V) - MERT_NEAREST_SLACK(a->D, far, a->reach);
    for (int64_t v = 0; v < a->V; v++)
        if ((double)scores[v] >= limit) {
            double d = distance2(x, a->words + v * a->D, a->D);
            best = d < least ? (int32_t)v : best;
            least = d < least ? d : least;
        }
    return best;
}

static void nearest_rows(void *arg, int64_t block, int worker)
{
    const mert_nearest_args *a = arg;
    int64_t end = mert_smaller((block + 1) * ROWS, a->rows);
    (void)worker;
    for (int64_t r = block * ROWS; r < end; r++) {
        float *x = a->x + r * a->D;
        int32_t v = nearest_of(a, x, a->scores + r * a->V);
        a->label[r * a->ldlabel] = v;
        for (int64_t i = 0; v >= 0 && i < a->D; i++)
            x[i] -= a->words[v * a->D + i];
    }
}

void mert_cpu_nearest(const void *args)
{
    mert_pool_run((((const mert_nearest_args *)args)->rows + ROWS - 1) / ROWS, nearest_rows, (void *)args);
}
