#include "libcommon/teachers/rvq/fsq.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/nn/cpu/vector.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE_ROWS = 4096, TELL_EVERY = 100 };
static const double rate = 2e-3; /* the first learning rate of Adam; it falls to 0 in a straight line */

/* ---- one pass: loss and gradient ---- */

struct mert_fsq_pass {
    int64_t S, H, D, most;
    const int *levels;
    float *a1, *pre1, *a3, *pre3, *dh; /* [most, H]: hidden values before and after GELU, their gradients */
    float *z, *c, *dz;                 /* [most, D] */
    float *y;                          /* [most, S]: decoded, then its gradient */
    float *turned;                     /* a transposed matrix */
    /* By layer: y = x w^T; dx = dy w; dw = dy^T x, whose sums go over `most` rows. */
    mert_rows *forward[MERT_FSQ_LAYERS], *back[MERT_FSQ_LAYERS], *outer[MERT_FSQ_LAYERS];
    float *turned_dy;
};

static void free_products(mert_fsq_pass *p)
{
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        mert_rows_free(p->forward[i]);
        mert_rows_free(p->back[i]);
        mert_rows_free(p->outer[i]);
    }
}

void mert_fsq_pass_free(mert_fsq_pass *p)
{
    if (!p)
        return;
    free_products(p);
    free(p->a1), free(p->pre1), free(p->a3), free(p->pre3), free(p->dh);
    free(p->z), free(p->c), free(p->dz), free(p->y);
    free(p->turned), free(p->turned_dy);
    free(p);
}

static int make_products(mert_fsq_pass *p, const mert_codebook *b)
{
    mert_fsq_layers l = mert_fsq_layers_of(b, 0);
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        int64_t out = l.layer[i].out, in = l.layer[i].in;
        /* turned is large enough for each of them, and holds zeros */
        p->forward[i] = mert_rows_new(p->turned, in, out, in, NULL);
        p->back[i] = mert_rows_new(p->turned, out, in, out, NULL);
        p->outer[i] = mert_rows_new(p->turned, p->most, in, p->most, NULL);
        if (!p->forward[i] || !p->back[i] || !p->outer[i])
            return -1;
    }
    return 0;
}

mert_fsq_pass *mert_fsq_pass_new(const mert_codebook *b, int64_t most_rows)
{
    mert_fsq_pass *p = calloc(1, sizeof *p);
    int64_t S = b->stack * b->features.width, H = b->hidden, D = b->width;
    int64_t wide = mert_larger(S, mert_larger(H, D)), room = mert_larger(wide, most_rows);
    if (!p)
        return NULL;
    p->S = S, p->H = H, p->D = D, p->most = most_rows, p->levels = b->levels;
    p->a1 = mert_array(mert_array_count(most_rows, H), sizeof(float));
    p->pre1 = mert_array(mert_array_count(most_rows, H), sizeof(float));
    p->a3 = mert_array(mert_array_count(most_rows, H), sizeof(float));
    p->pre3 = mert_array(mert_array_count(most_rows, H), sizeof(float));
    p->dh = mert_array(mert_array_count(most_rows, H), sizeof(float));
    p->z = mert_array(mert_array_count(most_rows, D), sizeof(float));
    p->c = mert_array(mert_array_count(most_rows, D), sizeof(float));
    p->dz = mert_array(mert_array_count(most_rows, D), sizeof(float));
    p->y = mert_array(mert_array_count(most_rows, S), sizeof(float));
    p->turned = mert_array_zeroed(mert_array_count(wide, room), sizeof(float));
    p->turned_dy = mert_array_zeroed(mert_array_count(wide, most_rows), sizeof(float));
    if (p->a1 && p->pre1 && p->a3 && p->pre3 && p->dh && p->z && p->c && p->dz && p->y && p->turned && p->turned_dy &&
        !make_products(p, b))
        return p;
    mert_fsq_pass_free(p);
    return NULL;
}

/* to [columns, stride] = from [rows, columns] transposed, with zeros beyond its rows. */
static void transpose(const float *from, int64_t rows, int64_t columns, int64_t stride, float *to)
{
    for (int64_t j = 0; j < columns; j++) {
        for (int64_t i = 0; i < rows; i++)
            to[j * stride + i] = from[i * columns + j];
        memset(to + j * stride + rows, 0, (size_t)(stride - rows) * sizeof *to);
    }
}

/* y [n, out] = x w^T + bias; with pre: y = gelu(pre). */
static void run_layer(mert_fsq_pass *p, const mert_fsq_layers *w, int i, const float *x, int64_t n, float *pre,
                      float *y)
{
    int64_t in = w->layer[i].in, out = w->layer[i].out;
    mert_panel_product product;
    mert_rows_set(p->forward[i], w->layer[i].weight, in);
    product = mert_rows_product(p->forward[i], x, in, n, y, out, pre ? MERT_ROWS_GELU : 0);
    product.bias = w->layer[i].bias;
    product.pre = pre;
    mert_panels_pool(&product, 1);
}

/* dw, db of layer i, whose input was x [n, in]; and dx [n, in], unless NULL. */
static void run_back(mert_fsq_pass *p, const mert_fsq_layers *w, int i, const float *x, const float *dy, int64_t n,
                     const mert_fsq_layers *gradient, float *dx)
{
    int64_t in = w->layer[i].in, out = w->layer[i].out;
    float *db = gradient->layer[i].bias;
    transpose(x, n, in, p->most, p->turned);
    mert_rows_set(p->outer[i], p->turned, p->most);
    transpose(dy, n, out, p->most, p->turned_dy);
    mert_rows_pool(p->outer[i], p->turned_dy, p->most, out, gradient->layer[i].weight, in, 0);
    for (int64_t j = 0; j < out; j++)
        db[j] = (float)MERT_VECTOR->sum(p->turned_dy + j * p->most, n);
    if (!dx)
        return;
    transpose(w->layer[i].weight, out, in, out, p->turned);
    mert_rows_set(p->back[i], p->turned, out);
    mert_rows_pool(p->back[i], dy, out, n, dx, in, 0);
}

void mert_fsq_pass_run(mert_fsq_pass *p, const mert_fsq_layers *w, const float *x, int64_t n,
                       const mert_fsq_layers *gradient, double *loss)
{
    double all = (double)(n * p->S);
    run_layer(p, w, MERT_FSQ_HIDDEN, x, n, p->pre1, p->a1);
    run_layer(p, w, MERT_FSQ_PROJECT, p->a1, n, NULL, p->z);
    for (int64_t i = 0; i < n * p->D; i++) {
        int L = p->levels[i % p->D];
        p->c[i] = (float)mert_fsq_value(mert_fsq_level(p->z[i], L, 0), L);
    }
    run_layer(p, w, MERT_FSQ_EXPAND, p->c, n, p->pre3, p->a3);
    run_layer(p, w, MERT_FSQ_OUT, p->a3, n, NULL, p->y);
    *loss = 0;
    for (int64_t i = 0; i < n * p->S; i++) {
        double difference = (double)p->y[i] - x[i];
        *loss += difference * difference / all;
        p->y[i] = (float)(2 * difference / all);
    }
    run_back(p, w, MERT_FSQ_OUT, p->a3, p->y, n, gradient, p->dh);
    MERT_VECTOR->gelu_backward(p->dh, p->dh, p->pre3, n * p->H);
    run_back(p, w, MERT_FSQ_EXPAND, p->c, p->dh, n, gradient, p->dz);
    for (int64_t i = 0; i < n * p->D; i++) /* straight through the rounding */
        p->dz[i] *= (float)(mert_fsq_slope(p->z[i], p->levels[i % p->D]) / (p->levels[i % p->D] / 2));
    run_back(p, w, MERT_FSQ_PROJECT, p->a1, p->dz, n, gradient, p->dh);
    MERT_VECTOR->gelu_backward(p->dh, p->dh, p->pre1, n * p->H);
    run_back(p, w, MERT_FSQ_HIDDEN, x, p->dh, n, gradient, NULL);
}

/* ---- training ---- */

typedef struct training {
    mert_codebook *b;
    const mert_rvq_options *o;
    float *x;                       /* [n, S] residuals so far */
    int64_t n, S, at;               /* at: the current codebook */
    mert_fsq_layers w, g, m, v;     /* weights, gradient, moments */
} training;

static int64_t layer_size(const mert_fsq_layers *l, int i)
{
    return l->layer[i].out * l->layer[i].in;
}

static void free_layers(mert_fsq_layers *l)
{
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        free(l->layer[i].weight);
        free(l->layer[i].bias);
    }
}

/* Layers of the same sizes, with zeros. */
static int new_layers(mert_fsq_layers *l, const mert_fsq_layers *like)
{
    int bad = 0;
    *l = *like;
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        l->layer[i].weight = mert_array_zeroed(layer_size(like, i), sizeof(float));
        l->layer[i].bias = mert_array_zeroed(like->layer[i].out, sizeof(float));
        bad |= !l->layer[i].weight || !l->layer[i].bias;
    }
    return bad ? -1 : 0;
}

static void tell(const training *t, const char *what, int64_t step, int64_t steps, double error)
{
    if (t->o->progress)
        t->o->progress(t->o->progress_self, t->at, what, step, steps, error);
}

static double power(const float *x, int64_t n, int64_t d)
{
    double s = 0;
    for (int64_t i = 0; i < n * d; i++)
        s += (double)x[i] * x[i];
    return s / (double)n;
}

/* Normal weights, so that each layer keeps the variance of its input (GELU halves it), and z has variance 1. The
 * residuals of a later codebook are smaller: the first and the last layer scale them. */
static void first_weights(training *t)
{
    double rms = sqrt(power(t->x, t->n, t->S) / (double)t->S);
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        int64_t in = t->w.layer[i].in;
        double deviation = sqrt((i == MERT_FSQ_PROJECT || i == MERT_FSQ_OUT ? 2.0 : 1.0) / (double)in);
        mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, (uint64_t)t->at, (uint32_t)i, 6);
        if (rms > 0 && i == MERT_FSQ_HIDDEN)
            deviation /= rms;
        if (rms > 0 && i == MERT_FSQ_OUT)
            deviation *= rms;
        for (int64_t j = 0; j < layer_size(&t->w, i); j++)
            t->w.layer[i].weight[j] = (float)(deviation * mert_random_normal(&key, (uint32_t)j));
        memset(t->w.layer[i].bias, 0, (size_t)t->w.layer[i].out * sizeof(float));
    }
}

/* Update `step`, counted from 1. */
static void adam(training *t, int64_t step, int64_t steps)
{
    static const float beta[4] = {0.9f, 0.1f, 0.999f, 0.001f};
    double lr = rate * (double)(steps - step + 1) / (double)steps;
    float size = (float)(lr * sqrt(1 - pow(0.999, (double)step)) / (1 - pow(0.9, (double)step)));
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        MERT_VECTOR->adam(t->w.layer[i].weight, t->m.layer[i].weight, t->v.layer[i].weight, t->g.layer[i].weight,
                          layer_size(&t->w, i), 1, 0, size, beta, 1e-8f);
        MERT_VECTOR->adam(t->w.layer[i].bias, t->m.layer[i].bias, t->v.layer[i].bias, t->g.layer[i].bias,
                          t->w.layer[i].out, 1, 0, size, beta, 1e-8f);
    }
}

/* The sample is in random order, so batches are rows one after the other. */
static int learn(training *t, mert_error *e)
{
    int64_t batch = mert_smaller(t->o->batch, t->n), each = t->n / batch, steps = t->o->updates;
    mert_fsq_pass *p = mert_fsq_pass_new(t->b, batch);
    if (!p)
        return mert_fail(e, "out of memory");
    for (int64_t step = 1; step <= steps; step++) {
        double loss;
        mert_fsq_pass_run(p, &t->w, t->x + (step - 1) % each * batch * t->S, batch, &t->g, &loss);
        adam(t, step, steps);
        if (step % TELL_EVERY == 0)
            tell(t, "update", step, steps, loss * (double)t->S);
    }
    mert_fsq_pass_free(p);
    return 0;
}

/* Subtracts what the codes of the current codebook decode to; counts the codes that occur. */
static int subtract(training *t, int64_t *used, mert_error *e)
{
    mert_codebook one = *t->b; /* the current codebook alone */
    mert_fsq *q;
    int32_t *codes = mert_array(ENCODE_ROWS, sizeof *codes);
    uint8_t *seen = mert_array_zeroed(t->b->classes, sizeof *seen);
    float *back = mert_array(mert_array_count(ENCODE_ROWS, t->S), sizeof *back);
    int bad = 0;
    one.count = 1;
    one.hidden_in = t->w.layer[MERT_FSQ_HIDDEN].weight, one.hidden_in_bias = t->w.layer[MERT_FSQ_HIDDEN].bias;
    one.project = t->w.layer[MERT_FSQ_PROJECT].weight, one.project_bias = t->w.layer[MERT_FSQ_PROJECT].bias;
    one.expand = t->w.layer[MERT_FSQ_EXPAND].weight, one.expand_bias = t->w.layer[MERT_FSQ_EXPAND].bias;
    one.out = t->w.layer[MERT_FSQ_OUT].weight, one.out_bias = t->w.layer[MERT_FSQ_OUT].bias;
    q = mert_fsq_new(&one, e);
    if (q && (!codes || !back || !seen))
        bad = mert_fail(e, "out of memory");
    *used = 0;
    for (int64_t first = 0; q && !bad && first < t->n; first += ENCODE_ROWS) {
        int64_t n = mert_smaller(ENCODE_ROWS, t->n - first), wrong;
        float *x = t->x + first * t->S;
        bad = mert_fsq_encode(q, x, n, 1, codes, &wrong, e) || mert_fsq_decode(q, codes, n, 1, back, e);
        for (int64_t i = 0; !bad && i < n; i++)
            *used += !seen[codes[i]]++ ? 1 : 0;
        for (int64_t i = 0; !bad && i < n * t->S; i++)
            x[i] -= back[i];
    }
    bad = bad || !q;
    mert_fsq_free(q);
    free(codes), free(seen), free(back);
    return bad ? -1 : 0;
}

static int train_one(training *t, mert_rvq_result *result, mert_error *e)
{
    int64_t used = 0;
    int bad;
    t->w = mert_fsq_layers_of(t->b, t->at);
    bad = new_layers(&t->g, &t->w) | new_layers(&t->m, &t->w) | new_layers(&t->v, &t->w);
    if (bad)
        bad = mert_fail(e, "out of memory");
    if (!bad) {
        first_weights(t);
        bad = learn(t, e) || subtract(t, &used, e);
    }
    free_layers(&t->g), free_layers(&t->m), free_layers(&t->v);
    result->used += used;
    if (!bad)
        tell(t, "done", 1, 1, power(t->x, t->n, t->S));
    return bad ? -1 : 0;
}

/* Allocates encoders and decoders, zeroed. */
static int allocate(mert_codebook *b, mert_error *e)
{
    int64_t S = mert_array_count(b->stack, b->features.width), K = b->count, H = b->hidden;
    int64_t KD = mert_array_count(K, b->width), KH = mert_array_count(K, H);
    b->project = mert_array_zeroed(mert_array_count(KD, H ? H : S), sizeof(float));
    b->project_bias = mert_array_zeroed(KD, sizeof(float));
    if (!b->project || !b->project_bias)
        return mert_fail(e, "out of memory");
    if (!H)
        return 0;
    b->hidden_in = mert_array_zeroed(mert_array_count(KH, S), sizeof(float));
    b->hidden_in_bias = mert_array_zeroed(KH, sizeof(float));
    b->expand = mert_array_zeroed(mert_array_count(KH, b->width), sizeof(float));
    b->expand_bias = mert_array_zeroed(KH, sizeof(float));
    b->out = mert_array_zeroed(mert_array_count(KH, S), sizeof(float));
    b->out_bias = mert_array_zeroed(mert_array_count(K, S), sizeof(float));
    return b->hidden_in && b->hidden_in_bias && b->expand && b->expand_bias && b->out && b->out_bias
               ? 0
               : mert_fail(e, "out of memory");
}

int mert_fsq_train(mert_codebook *b, const mert_rvq_options *o, float *x, int64_t n, mert_rvq_result *result,
                   mert_error *e)
{
    training t = {.b = b, .o = o, .x = x, .n = n, .S = b->stack * b->features.width};
    memset(result, 0, sizeof *result);
    if (allocate(b, e))
        return -1;
    result->power = power(x, n, t.S);
    for (t.at = 0; t.at < b->count; t.at++)
        if (train_one(&t, result, e))
            return -1;
    result->error = power(x, n, t.S);
    return 0;
}

int mert_fsq_random(mert_codebook *b, uint64_t seed, mert_error *e)
{
    int64_t S = b->stack * b->features.width, D = b->width;
    double deviation = sqrt(2.0 / (double)(S + D)), limit = 1 / sqrt((double)S);
    if (allocate(b, e))
        return -1;
    for (int64_t k = 0; k < b->count; k++) {
        mert_random weight = mert_random_key(seed, MERT_FOR_RVQ, (uint64_t)k, 0, 7);
        mert_random bias = mert_random_key(seed, MERT_FOR_RVQ, (uint64_t)k, 0, 8);
        for (int64_t i = 0; i < D * S; i++)
            b->project[k * D * S + i] = (float)(deviation * mert_random_normal(&weight, (uint32_t)i));
        for (int64_t i = 0; i < D; i++)
            b->project_bias[k * D + i] = (float)(limit * (2 * mert_random_uniform(&bias, (uint32_t)i) - 1));
    }
    return 0;
}
