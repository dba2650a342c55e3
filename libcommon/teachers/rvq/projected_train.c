#include "libcommon/teachers/rvq/projected.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/teachers/kmeans/kmeans.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/kmeans/sums.h"
#include "libcommon/teachers/rvq/projected_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIRECTIONS_ROWS = 32768, ITERATIONS = 8, BLOCK = 256, COLUMNS = 64 };

/* Allocates codewords and projections, zeroed. */
static int allocate(mert_codebook *b, int with_out, mert_error *e)
{
    int64_t S = mert_array_count(b->stack, b->features.width);
    int64_t KD = mert_array_count(b->count, b->width), KS = mert_array_count(b->count, S);
    b->codewords = mert_array_zeroed(mert_array_count(KD, b->classes), sizeof(float));
    b->project = mert_array_zeroed(mert_array_count(KD, S), sizeof(float));
    b->project_bias = mert_array_zeroed(KD, sizeof(float));
    b->out = with_out ? mert_array_zeroed(mert_array_count(KS, b->width), sizeof(float)) : NULL;
    b->out_bias = with_out ? mert_array_zeroed(KS, sizeof(float)) : NULL;
    if (!b->codewords || !b->project || !b->project_bias || (with_out && (!b->out || !b->out_bias)))
        return mert_fail(e, "out of memory");
    return 0;
}

int mert_projected_random(mert_codebook *b, uint64_t seed, mert_error *e)
{
    int64_t S = b->stack * b->features.width;
    double limit = sqrt(6.0 / (double)(S + b->width));
    if (allocate(b, 0, e))
        return -1;
    for (int64_t k = 0; k < b->count; k++) {
        mert_random p = mert_random_key(seed, MERT_FOR_RVQ, (uint64_t)k, 0, 3);
        mert_random c = mert_random_key(seed, MERT_FOR_RVQ, (uint64_t)k, 0, 4);
        float *word = b->codewords + k * b->classes * b->width;
        for (int64_t i = 0; i < b->width * S; i++)
            b->project[k * b->width * S + i] = (float)(limit * (2 * mert_random_uniform(&p, (uint32_t)i) - 1));
        for (int64_t i = 0; i < b->classes * b->width; i++)
            word[i] = (float)mert_random_normal(&c, (uint32_t)i);
        mert_projected_unit(word, b->classes, b->width);
    }
    return 0;
}

/* ---- Mel-RVQ ---- */

typedef struct training {
    mert_codebook *b;
    const mert_rvq_options *o;
    float *x, *u;             /* [n, S], [n, D] */
    int64_t n, S, D, V, at;   /* at: the current codebook */
    float *codewords, *project, *project_bias, *out, *out_bias; /* of the current codebook */
    int32_t *label;
    mert_rows *product;
    mert_kmeans_sums sums;    /* of x, by code */
} training;

static void tell(void *self, const char *what, int64_t step, int64_t steps, double error)
{
    const training *t = self;
    if (t->o->progress)
        t->o->progress(t->o->progress_self, t->at, what, step, steps, error);
}

/* directions += x' u for columns [64 i, ...), summed over rows in blocks, each in single precision. */
typedef struct column_sums {
    const training *t;
    const double *mean;
    int64_t n;
    double *to;               /* [S, D] */
} column_sums;

static void sum_columns(void *arg, int64_t i, int worker)
{
    const column_sums *w = arg;
    const training *t = w->t;
    int64_t first = i * COLUMNS, m = mert_smaller(t->S - first, COLUMNS);
    float sum[COLUMNS * 64];
    (void)worker;
    memset(w->to + first * t->D, 0, (size_t)(m * t->D) * sizeof *w->to);
    for (int64_t at = 0; at < w->n; at += BLOCK) {
        int64_t end = mert_smaller(at + BLOCK, w->n);
        memset(sum, 0, (size_t)(m * t->D) * sizeof *sum);
        for (int64_t r = at; r < end; r++) {
            const float *u = t->u + r * t->D;
            for (int64_t c = 0; c < m; c++) {
                float v = t->x[r * t->S + first + c] - (float)w->mean[first + c];
                for (int64_t j = 0; j < t->D; j++)
                    sum[c * t->D + j] += v * u[j];
            }
        }
        for (int64_t c = 0; c < m * t->D; c++)
            w->to[first * t->D + c] += sum[c];
    }
}

/* Makes the columns of to [S, D] orthonormal (Gram-Schmidt, twice); a dependent column becomes zero. */
static void orthonormal(double *to, int64_t S, int64_t D)
{
    for (int64_t j = 0; j < D; j++) {
        double before = 0, s = 0;
        for (int64_t i = 0; i < S; i++)
            before += to[i * D + j] * to[i * D + j];
        for (int64_t l = 0; l < 2 * j; l++) {
            double dot = 0;
            for (int64_t i = 0; i < S; i++)
                dot += to[i * D + j] * to[i * D + l % j];
            for (int64_t i = 0; i < S; i++)
                to[i * D + j] -= dot * to[i * D + l % j];
        }
        for (int64_t i = 0; i < S; i++)
            s += to[i * D + j] * to[i * D + j];
        s = s > 1e-24 * before && s > 0 ? 1 / sqrt(s) : 0;
        for (int64_t i = 0; i < S; i++)
            to[i * D + j] *= s;
    }
}

/* Sets P, p from directions [S, D]: u = directions' (x - mean). */
static void set_projection(training *t, const double *directions, const double *mean)
{
    for (int64_t j = 0; j < t->D; j++) {
        double s = 0;
        for (int64_t i = 0; i < t->S; i++) {
            t->project[j * t->S + i] = (float)directions[i * t->D + j];
            s -= directions[i * t->D + j] * mean[i];
        }
        t->project_bias[j] = (float)s;
    }
    mert_rows_free(t->product);
    t->product = mert_rows_new(t->project, t->S, t->D, t->S, t->project_bias);
}

/* Finds the principal directions by subspace iteration on at most 32768 rows (the sample is in random order). */
static int find_directions(training *t, mert_error *e)
{
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, (uint64_t)t->at, 0, 5);
    double *to = mert_array(mert_array_count(t->S, t->D), sizeof *to), *mean = mert_array_zeroed(t->S, sizeof *mean);
    column_sums w = {t, mean, mert_smaller(t->n, DIRECTIONS_ROWS), to};
    int bad = !to || !mean;
    for (int64_t r = 0; !bad && r < t->n; r++)
        for (int64_t i = 0; i < t->S; i++)
            mean[i] += t->x[r * t->S + i];
    for (int64_t i = 0; !bad && i < t->S; i++)
        mean[i] /= (double)t->n;
    for (int64_t i = 0; !bad && i < t->S * t->D; i++)
        to[i] = mert_random_normal(&key, (uint32_t)i);
    for (int i = 0; !bad && i <= ITERATIONS; i++) {
        orthonormal(to, t->S, t->D);
        set_projection(t, to, mean);
        bad = !t->product;
        if (bad || i == ITERATIONS)
            break;
        mert_rows_pool(t->product, t->x, t->S, w.n, t->u, t->D, 0);
        mert_pool_run((t->S + COLUMNS - 1) / COLUMNS, sum_columns, &w);
        tell(t, "directions", i + 1, ITERATIONS, -1);
    }
    free(to);
    free(mean);
    return bad ? mert_fail(e, "out of memory") : 0;
}

/* Finds unit codewords for unit vectors, labels of all rows, and the sums of x by label. */
static int find_codewords(training *t, mert_error *e)
{
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, (uint64_t)t->at, 0, 0);
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result r;
    mert_nearest *nearest;
    int64_t batch = t->o->batch;
    int bad;
    mert_rows_pool(t->product, t->x, t->S, t->n, t->u, t->D, 0);
    mert_projected_unit(t->u, t->n, t->D);
    o.k = t->V;
    o.seed = (uint64_t)mert_random_u32(&key, 0) << 32 | mert_random_u32(&key, 1);
    o.batch = batch;
    o.max_iter = t->o->passes;
    o.n_init = 2;
    o.progress = tell;
    o.progress_self = t;
    if (mert_kmeans_train(&o, t->u, t->n, t->D, t->codewords, &r, e))
        return -1;
    mert_projected_unit(t->codewords, t->V, t->D);
    nearest = mert_nearest_new(t->codewords, t->V, t->D);
    bad = !nearest || mert_nearest_find(nearest, t->u, t->D, t->n, t->label, NULL) != -1;
    mert_nearest_free(nearest);
    if (bad)
        return mert_fail(e, "out of memory");
    mert_kmeans_sums_clear(&t->sums);
    for (int64_t at = 0; at < t->n; at += batch)
        if (mert_kmeans_sums_add(&t->sums, t->x + at * t->S, mert_smaller(t->n - at, batch), t->label + at, NULL,
                                 e))
            return -1;
    return 0;
}

/* In place: the lower triangle of a symmetric, positive a [m, m] becomes its Cholesky factor. */
static void cholesky(double *a, int64_t m)
{
    for (int64_t j = 0; j < m; j++) {
        for (int64_t l = 0; l < j; l++)
            for (int64_t i = j; i < m; i++)
                a[i * m + j] -= a[i * m + l] * a[j * m + l];
        a[j * m + j] = sqrt(a[j * m + j]);
        for (int64_t i = j + 1; i < m; i++)
            a[i * m + j] /= a[j * m + j];
    }
}

/* O, o = argmin of the sum of |x - O c - o|^2: the normal equations for (c, 1), whose right sides are the sums by
 * code. */
static int solve_out(training *t, mert_error *e)
{
    int64_t m = t->D + 1;
    double *a = mert_array_zeroed(mert_array_count(m, m), sizeof *a), *y = mert_array(m, sizeof *y), trace = 0;
    int bad = !a || !y;
    for (int64_t v = 0; !bad && v < t->V; v++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j <= i; j++)
                a[i * m + j] += (double)t->sums.count[v] * (i < t->D ? t->codewords[v * t->D + i] : 1.0) *
                                (j < t->D ? t->codewords[v * t->D + j] : 1.0);
    for (int64_t i = 0; !bad && i < m; i++)
        trace += a[i * m + i];
    for (int64_t i = 0; !bad && i < m; i++)
        a[i * m + i] += 1e-9 * trace; /* regularises directions without codewords */
    if (!bad)
        cholesky(a, m);
    for (int64_t s = 0; !bad && s < t->S; s++) {
        memset(y, 0, (size_t)m * sizeof *y);
        for (int64_t v = 0; v < t->V; v++) {
            double sum = t->sums.count[v] ? mert_kmeans_sums_value(&t->sums, v, s) : 0;
            for (int64_t i = 0; i < m; i++)
                y[i] += sum * (i < t->D ? t->codewords[v * t->D + i] : 1.0);
        }
        for (int64_t i = 0; i < m; i++) {
            for (int64_t j = 0; j < i; j++)
                y[i] -= a[i * m + j] * y[j];
            y[i] /= a[i * m + i];
        }
        for (int64_t i = m - 1; i >= 0; i--) {
            for (int64_t j = i + 1; j < m; j++)
                y[i] -= a[j * m + i] * y[j];
            y[i] /= a[i * m + i];
        }
        for (int64_t j = 0; j < t->D; j++)
            t->out[s * t->D + j] = (float)y[j];
        t->out_bias[s] = (float)y[t->D];
    }
    free(a);
    free(y);
    return bad ? mert_fail(e, "out of memory") : 0;
}

static double power(const float *x, int64_t n, int64_t d)
{
    double s = 0;
    for (int64_t i = 0; i < n * d; i++)
        s += (double)x[i] * x[i];
    return s / (double)n;
}

static int train_one(training *t, mert_error *e)
{
    mert_codebook *b = t->b;
    t->codewords = b->codewords + t->at * t->V * t->D;
    t->project = b->project + t->at * t->D * t->S;
    t->project_bias = b->project_bias + t->at * t->D;
    t->out = b->out + t->at * t->S * t->D;
    t->out_bias = b->out_bias + t->at * t->S;
    if (find_directions(t, e) || find_codewords(t, e) || solve_out(t, e))
        return -1;
    for (int64_t i = 0; i < t->n; i++)
        mert_projected_add(b, t->at, t->label[i], -1, t->x + i * t->S);
    tell(t, "done", 1, 1, power(t->x, t->n, t->S));
    return 0;
}

int mert_projected_train(mert_codebook *b, const mert_rvq_options *o, float *x, int64_t n, mert_rvq_result *result,
                         mert_error *e)
{
    training t = {.b = b, .o = o, .x = x, .n = n, .S = b->stack * b->features.width, .D = b->width, .V = b->classes};
    int bad = 0;
    memset(result, 0, sizeof *result);
    if (n < b->classes)
        return mert_fail(e, "%" PRId64 " classes need at least as many frames, but there are %" PRId64, b->classes, n);
    if (b->width > 64)
        return mert_fail(e, "codewords of %" PRId64 " values: at most 64", b->width);
    if (allocate(b, 1, e))
        return -1;
    result->power = power(x, n, t.S);
    t.u = mert_array(mert_array_count(n, t.D), sizeof *t.u);
    t.label = mert_array(n, sizeof *t.label);
    if (!t.u || !t.label)
        bad = mert_fail(e, "out of memory");
    bad = bad || mert_kmeans_sums_new(&t.sums, t.V, t.S, e);
    for (t.at = 0; !bad && t.at < b->count; t.at++)
        bad = train_one(&t, e);
    result->error = power(x, n, t.S);
    mert_kmeans_sums_free(&t.sums);
    mert_rows_free(t.product);
    free(t.u);
    free(t.label);
    return bad ? -1 : 0;
}
