#include "libcommon/probe/net.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/product.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOR_WEIGHTS = 2, FOR_BATCHES, FOR_DROPOUT }; /* the last component of a random key; 0 and 1 are in folds.c */
enum { BLOCK = 256 };                               /* instances that are scored at a time */
/* A higher learning rate for the mixture, whose few values must change much in few steps. */
static const double mixture_speed = 10;

/* All parameters are in one array: W1 [hidden, d], W2 [outputs, inner], then those without decay: b1, b2, a. inner:
 * hidden, or d. */
struct mert_net {
    int64_t hidden, d, outputs, layers, inner, weights, size;
    float *w, *m, *v, *g, *best; /* [size] */
    /* a batch */
    int64_t rows;
    float *z;                    /* [rows, layers, d] */
    float *x, *dx;               /* [rows, d]; with one layer x is z */
    float *h, *dh;               /* [rows, hidden] */
    float *keep;                 /* [rows, hidden] dropout: 0 or 1 / (1 - p) */
    float *s, *y;                /* [rows, outputs] */
    int32_t *label;              /* [rows] */
    double *share, *dshare;      /* [layers] */
    int64_t step;
};

/* Positions of the parts in an array of parameters; W1 is at 0. */
static float *w2(const mert_net *n, float *of) { return of + n->hidden * n->d; }
static float *b1(const mert_net *n, float *of) { return of + n->weights; }
static float *b2(const mert_net *n, float *of) { return b1(n, of) + n->hidden; }
static float *mix(const mert_net *n, float *of) { return b2(n, of) + n->outputs; }

void mert_net_free(mert_net *n)
{
    if (!n)
        return;
    free(n->w);
    free(n->z);
    free(n->label);
    free(n->share);
    free(n);
}

static mert_net *net_new(const mert_net_data *data, int64_t hidden, int64_t rows)
{
    mert_net *n = calloc(1, sizeof *n);
    int64_t mixed = data->layers > 1 ? data->d : 0, all;
    if (!n)
        return NULL;
    n->hidden = hidden;
    n->d = data->d;
    n->outputs = data->outputs;
    n->layers = data->layers;
    n->inner = hidden ? hidden : data->d;
    n->weights = hidden * data->d + data->outputs * n->inner;
    n->size = n->weights + hidden + data->outputs + data->layers;
    n->rows = rows;
    all = rows * (data->layers * data->d + 2 * mixed + 3 * hidden + 2 * data->outputs);
    n->w = mert_array_zeroed(n->size, 5 * sizeof *n->w);
    n->z = mert_array(all, sizeof *n->z);
    n->label = mert_array(rows, sizeof *n->label);
    n->share = mert_array(data->layers, 2 * sizeof *n->share);
    if (!n->w || !n->z || !n->label || !n->share) {
        mert_net_free(n);
        return NULL;
    }
    n->m = n->w + n->size;
    n->v = n->m + n->size;
    n->g = n->v + n->size;
    n->best = n->g + n->size;
    n->dshare = n->share + data->layers;
    n->x = mixed ? n->z + rows * data->layers * data->d : n->z;
    n->dx = mixed ? n->x + rows * mixed : NULL;
    n->h = n->z + rows * (data->layers * data->d + 2 * mixed);
    n->dh = n->h + rows * hidden;
    n->keep = n->dh + rows * hidden;
    n->s = n->keep + rows * hidden;
    n->y = n->s + rows * data->outputs;
    return n;
}

/* Initial weights as in torch.nn.Linear: uniform within 1 / sqrt(inputs). The mixture begins with equal weights. */
static void draw(mert_net *n, const mert_net_options *o)
{
    mert_random r = mert_random_key(o->seed, MERT_FOR_PROBE, o->place, 0, FOR_WEIGHTS);
    for (int64_t i = 0; i < n->size - n->layers; i++) {
        int first = i < n->hidden * n->d || (i >= n->weights && i < n->weights + n->hidden);
        double bound = 1 / sqrt((double)(first ? n->d : n->inner));
        n->w[i] = (float)(bound * (2 * mert_random_uniform(&r, (uint32_t)i) - 1));
    }
}

static void find_shares(const mert_net *n, float *of, double *share)
{
    const float *a = mix(n, of);
    double top = a[0], sum = 0;
    for (int64_t l = 1; l < n->layers; l++)
        top = a[l] > top ? a[l] : top;
    for (int64_t l = 0; l < n->layers; l++)
        sum += share[l] = exp(a[l] - top);
    for (int64_t l = 0; l < n->layers; l++)
        share[l] /= sum;
}

void mert_net_mixture(const mert_net *n, double *share)
{
    find_shares(n, n->best, share);
}

void mert_net_parameters(const mert_net *n, float *to_w1, float *to_w2, float *to_b1, float *to_b2)
{
    if (n->hidden) {
        memcpy(to_w1, n->best, (size_t)(n->hidden * n->d) * sizeof *to_w1);
        memcpy(to_b1, b1(n, n->best), (size_t)n->hidden * sizeof *to_b1);
    }
    memcpy(to_w2, w2(n, n->best), (size_t)(n->outputs * n->inner) * sizeof *to_w2);
    memcpy(to_b2, b2(n, n->best), (size_t)n->outputs * sizeof *to_b2);
}

/* Copies features and targets of `rows` instances. */
static void load(mert_net *n, const mert_net_data *data, const int64_t *which, int64_t rows)
{
    int64_t values = n->layers * n->d, C = n->outputs;
    for (int64_t r = 0; r < rows; r++) {
        const float *x = data->x + which[r] * data->stride;
        float *z = n->z + r * values;
        for (int64_t i = 0; i < values; i++)
            z[i] = (x[i] - data->mean[i]) * data->scale[i];
        if (data->task == MERT_PROBE_CLASSIFY)
            n->label[r] = data->label[which[r]];
        else
            memcpy(n->y + r * C, data->y + which[r] * C, (size_t)C * sizeof *n->y);
    }
}

static void hidden_forward(mert_net *n, const float *of, int64_t rows, const mert_random *dropout, double p)
{
    const float *bias = of + n->weights;
    int64_t H = n->hidden;
    mert_product(.M = rows, .N = H, .K = n->d, .a = n->x, .lda = n->d, .b = of, .ldb = n->d, .tb = 1, .c = n->h,
                 .ldc = H);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * H; i < (r + 1) * H; i++) {
            n->h[i] += bias[i - r * H];
            n->keep[i] = n->h[i] > 0;
        }
    if (dropout)
        MERT_VECTOR->dropout(n->keep, dropout->key, dropout->counter, 0, (uint32_t)(p * 4294967296.0),
                             (float)(1 / (1 - p)), rows * H);
    for (int64_t i = 0; i < rows * H; i++)
        n->h[i] *= n->keep[i];
}

/* s = scores of the loaded instances with the parameters `of`. dropout NULL: none. */
static void forward(mert_net *n, float *of, int64_t rows, const mert_random *dropout, double p)
{
    int64_t d = n->d, H = n->hidden, C = n->outputs;
    const float *inner = H ? n->h : n->x;
    if (n->layers > 1) {
        find_shares(n, of, n->share);
        memset(n->x, 0, (size_t)(rows * d) * sizeof *n->x);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t l = 0; l < n->layers; l++)
                MERT_VECTOR->axpy(n->x + r * d, n->z + (r * n->layers + l) * d, (float)n->share[l], d);
    }
    if (H)
        hidden_forward(n, of, rows, dropout, p);
    mert_product(.M = rows, .N = C, .K = n->inner, .a = inner, .lda = n->inner, .b = w2(n, of), .ldb = n->inner,
                 .tb = 1, .c = n->s, .ldc = C);
    for (int64_t i = 0; i < rows * C; i++)
        n->s[i] += b2(n, of)[i % C];
}

static mert_linear_data loss_of(const mert_net *n, const mert_net_data *data, int64_t rows)
{
    return (mert_linear_data){.task = data->task, .n = rows, .outputs = n->outputs, .label = n->label, .y = n->y};
}

static void column_sums(float *to, const float *x, int64_t rows, int64_t columns)
{
    memset(to, 0, (size_t)columns * sizeof *to);
    for (int64_t r = 0; r < rows; r++)
        MERT_VECTOR->axpy(to, x + r * columns, 1, columns);
}

/* Computes the gradient of a from dx [rows, d]. */
static void mixture_backward(mert_net *n, int64_t rows)
{
    double mean = 0;
    for (int64_t l = 0; l < n->layers; l++) {
        n->dshare[l] = 0;
        for (int64_t r = 0; r < rows; r++)
            n->dshare[l] += MERT_VECTOR->dot(n->dx + r * n->d, n->z + (r * n->layers + l) * n->d, n->d);
        mean += n->share[l] * n->dshare[l];
    }
    for (int64_t l = 0; l < n->layers; l++)
        mix(n, n->g)[l] = (float)(n->share[l] * (n->dshare[l] - mean));
}

/* g = gradient of the batch's mean loss with respect to w; s has the gradient with respect to the scores. */
static void backward(mert_net *n, int64_t rows)
{
    int64_t d = n->d, H = n->hidden, C = n->outputs;
    float *inner = H ? n->h : n->x, *dinner = H ? n->dh : n->dx;
    mert_product(.M = C, .N = n->inner, .K = rows, .a = n->s, .lda = C, .ta = 1, .b = inner, .ldb = n->inner,
                 .c = w2(n, n->g), .ldc = n->inner);
    column_sums(b2(n, n->g), n->s, rows, C);
    if (!H && n->layers == 1)
        return;
    mert_product(.M = rows, .N = n->inner, .K = C, .a = n->s, .lda = C, .b = w2(n, n->w), .ldb = n->inner, .c = dinner,
                 .ldc = n->inner);
    if (H) {
        for (int64_t i = 0; i < rows * H; i++)
            n->dh[i] *= n->keep[i];
        mert_product(.M = H, .N = d, .K = rows, .a = n->dh, .lda = H, .ta = 1, .b = n->x, .ldb = d, .c = n->g,
                     .ldc = d);
        column_sums(b1(n, n->g), n->dh, rows, H);
        if (n->layers > 1)
            mert_product(.M = rows, .N = d, .K = H, .a = n->dh, .lda = H, .b = n->w, .ldb = d, .c = n->dx, .ldc = d);
    }
    if (n->layers > 1)
        mixture_backward(n, rows);
}

static void update(mert_net *n, const mert_net_options *o)
{
    static const float beta[4] = {0.9f, 0.1f, 0.999f, 0.001f};
    int64_t biases = n->hidden + n->outputs, at = n->weights, last = n->weights + biases;
    double t = (double)++n->step, step = o->lr * sqrt(1 - pow(0.999, t)) / (1 - pow(0.9, t));
    const float eps = 1e-8f;
    MERT_VECTOR->adam(n->w, n->m, n->v, n->g, n->weights, 1, (float)(o->lr * o->decay), (float)step, beta, eps);
    MERT_VECTOR->adam(n->w + at, n->m + at, n->v + at, n->g + at, biases, 1, 0, (float)step, beta, eps);
    if (n->layers > 1)
        MERT_VECTOR->adam(n->w + last, n->m + last, n->v + last, n->g + last, n->layers, 1, 0,
                          (float)(mixture_speed * step), beta, eps);
}

/* Trains on the batches of one epoch, in the epoch's own random order. */
static void epoch(mert_net *n, const mert_net_data *data, const mert_net_options *o, int number, int64_t *order,
                  int64_t n_train)
{
    mert_random r = mert_random_key(o->seed, MERT_FOR_PROBE, o->place, (uint32_t)number, FOR_BATCHES);
    for (int64_t i = n_train; i-- > 1;) {
        int64_t j = mert_random_below(&r, (uint32_t)i, (uint32_t)i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int64_t at = 0, rows; at < n_train; at += rows) {
        mert_random drop = mert_random_key(o->seed, MERT_FOR_PROBE, o->place, (uint32_t)n->step, FOR_DROPOUT);
        mert_linear_data batch;
        rows = mert_smaller(n_train - at, o->batch);
        load(n, data, order + at, rows);
        forward(n, n->w, rows, o->dropout > 0 ? &drop : NULL, o->dropout);
        batch = loss_of(n, data, rows);
        mert_linear_loss(&batch, n->s, n->s);
        backward(n, rows);
        update(n, o);
    }
}

static double loss_on(mert_net *n, const mert_net_data *data, const int64_t *which, int64_t count)
{
    double sum = 0;
    for (int64_t at = 0, rows; at < count; at += rows) {
        mert_linear_data part;
        rows = mert_smaller(count - at, n->rows);
        load(n, data, which + at, rows);
        forward(n, n->w, rows, NULL, 0);
        part = loss_of(n, data, rows);
        sum += mert_linear_loss(&part, n->s, NULL) * (double)rows;
    }
    return sum / (double)count;
}

mert_net *mert_net_train(const mert_net_data *data, const mert_net_options *o, const int64_t *train, int64_t n_train,
                         const int64_t *valid, int64_t n_valid, double *loss, mert_error *e)
{
    mert_net *n = net_new(data, o->hidden, mert_larger(o->batch, BLOCK));
    int64_t *order = mert_array(n_train, sizeof *order);
    if (!n || !order) {
        mert_net_free(n);
        free(order);
        mert_fail(e, "out of memory");
        return NULL;
    }
    memcpy(order, train, (size_t)n_train * sizeof *order);
    draw(n, o);
    memcpy(n->best, n->w, (size_t)n->size * sizeof *n->w);
    *loss = loss_on(n, data, valid, n_valid);
    for (int i = 0, waited = 0; i < o->epochs && waited < o->patience; i++, waited++) {
        double now;
        epoch(n, data, o, i, order, n_train);
        now = loss_on(n, data, valid, n_valid);
        if (now < *loss) {
            *loss = now;
            waited = -1;
            memcpy(n->best, n->w, (size_t)n->size * sizeof *n->w);
        }
    }
    free(order);
    return n;
}

int mert_net_scores(const mert_net *trained, const mert_net_data *data, const int64_t *which, int64_t count,
                    float *scores, mert_error *e)
{
    mert_net *n = net_new(data, trained->hidden, BLOCK);
    if (!n)
        return mert_fail(e, "out of memory");
    for (int64_t at = 0, rows; at < count; at += rows) {
        rows = mert_smaller(count - at, BLOCK);
        load(n, data, which + at, rows);
        forward(n, trained->best, rows, NULL, 0);
        memcpy(scores + at * n->outputs, n->s, (size_t)(rows * n->outputs) * sizeof *scores);
    }
    mert_net_free(n);
    return 0;
}
