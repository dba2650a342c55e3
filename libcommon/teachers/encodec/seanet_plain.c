#include "libcommon/teachers/encodec/seanet.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One conv over a whole signal, padded as by EnCodec's pad1d: a signal that is too short for reflection gets zeros at
 * its end, then both ends are reflected, then as many rows as there were zeros are removed. Returns [steps * up,
 * out]. */
static float *conv_plain(const mert_seanet_conv *c, const float *x, int64_t rows, int64_t *out_rows)
{
    int64_t W = c->in, right = (c->stride - rows % c->stride) % c->stride, most = c->left > right ? c->left : right;
    int64_t zeros = rows <= most ? most - rows + 1 : 0, extended = rows + zeros, steps = (rows + right) / c->stride;
    float *long_x = mert_array_zeroed(mert_array_count(extended, W), sizeof(float));
    float *padded = mert_array_zeroed(mert_array_count(c->left + extended + right, W), sizeof(float));
    float *y = mert_array(mert_array_count(steps, c->product->n), sizeof(float));
    memcpy(long_x, x, (size_t)(rows * W) * sizeof(float));
    for (int64_t p = -c->left; p < extended + right; p++) {
        int64_t from = p < 0 ? -p : p >= extended ? 2 * (extended - 1) - p : p;
        if (p >= 0 || !c->zero_past)
            memcpy(padded + (c->left + p) * W, long_x + from * W, (size_t)W * sizeof(float));
    }
    mert_rows_plain(c->product, padded, c->stride * W, steps, y, c->product->n, 0);
    *out_rows = steps * c->up;
    free(long_x);
    free(padded);
    return y;
}

static float *elu_plain(const float *x, int64_t n)
{
    float *y = mert_array(n, sizeof *y);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : (float)expm1(x[i]);
    return y;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One layer of an LSTM: y [rows, W]. */
static float *lstm_plain(const mert_rows *input, const mert_rows *recurrent, const float *x, int64_t rows, int64_t W)
{
    float *y = mert_array(mert_array_count(rows, W), sizeof *y), *gates = mert_array(W, 4 * sizeof *gates);
    float *h = mert_array_zeroed(W, sizeof *h);
    double *c = mert_array_zeroed(W, sizeof *c);
    for (int64_t t = 0; t < rows; t++) {
        mert_rows_plain(input, x + t * W, W, 1, gates, 4 * W, 0);
        mert_rows_plain(recurrent, h, W, 1, gates, 4 * W, MERT_ROWS_ADD);
        for (int64_t j = 0; j < W; j++) {
            c[j] = sigmoid(gates[W + j]) * c[j] + sigmoid(gates[j]) * tanh(gates[2 * W + j]);
            h[j] = (float)(sigmoid(gates[3 * W + j]) * tanh(c[j]));
        }
        memcpy(y + t * W, h, (size_t)W * sizeof *h);
    }
    free(gates);
    free(h);
    free(c);
    return y;
}

static float *stage_plain(const mert_seanet_stage *g, const float *x, int64_t *rows)
{
    float *y, *a, *b;
    int64_t n = *rows;
    if (g->kind == MERT_SEANET_CONV) {
        a = elu_plain(x, n * g->conv.in);
        y = conv_plain(&g->conv, g->elu ? a : x, n, rows);
        free(a);
        return y;
    }
    if (g->kind == MERT_SEANET_RESIDUAL) {
        a = elu_plain(x, n * g->conv.in);
        b = conv_plain(&g->conv, a, n, rows);
        free(a);
        a = elu_plain(b, n * g->conv.out);
        free(b);
        y = conv_plain(&g->second, a, n, rows);
        free(a);
        b = g->shortcut.product ? conv_plain(&g->shortcut, x, n, rows) : NULL;
        for (int64_t i = 0; i < n * g->second.out; i++)
            y[i] += b ? b[i] : x[i];
        free(b);
        return y;
    }
    y = mert_array(mert_array_count(n, g->width), sizeof *y);
    memcpy(y, x, (size_t)(n * g->width) * sizeof *y);
    for (int l = 0; l < g->layers; l++) {
        a = lstm_plain(g->input[l], g->recurrent[l], y, n, g->width);
        free(y);
        y = a;
    }
    for (int64_t i = 0; i < n * g->width; i++)
        y[i] += x[i];
    return y;
}

float *mert_seanet_plain(const mert_seanet *s, const float *x, int64_t rows, int64_t *out_rows)
{
    float *now = mert_array(mert_array_count(rows, mert_seanet_in(s)), sizeof *now), *next;
    memcpy(now, x, (size_t)(rows * mert_seanet_in(s)) * sizeof *now);
    for (int i = 0; i < s->n; i++) {
        next = stage_plain(&s->stages[i], now, &rows);
        free(now);
        now = next;
    }
    *out_rows = rows;
    return now;
}
