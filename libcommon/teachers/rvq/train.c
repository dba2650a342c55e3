#include "libcommon/teachers/rvq/rvq.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/random.h"
#include "libcommon/teachers/kmeans/kmeans.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/kmeans/sums.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const mert_rvq_options mert_rvq_defaults = {.batch = 10000, .passes = 5, .decay = 0.99};

typedef struct training {
    const mert_rvq_options *o;
    float *x;             /* [n, d] residuals so far */
    int64_t n, d, V, batch, at; /* at: the current codebook */
    float *codewords;     /* [V, d] of the current codebook */
    double *share;        /* [V] running number of vectors per batch */
    double *sum;          /* [V, d] running sum of them */
    mert_nearest *nearest;
    mert_kmeans_sums sums;
    float *points;        /* [batch, d] */
    int32_t *label;       /* [batch] */
    double *distance2;
    int64_t replaced;
} training;

static void tell(void *self, const char *what, int64_t step, int64_t steps, double error)
{
    const training *t = self;
    if (t->o->progress)
        t->o->progress(t->o->progress_self, t->at, what, step, steps, error);
}

static int assign(training *t, const float *x, int64_t n, mert_error *e)
{
    int64_t bad = mert_nearest_find(t->nearest, x, t->d, n, t->label, t->distance2);
    return bad == -1 ? 0 : mert_fail(e, bad == -2 ? "out of memory" : "the features hold a NaN or an infinity");
}

/* Sums over all vectors; then, if `subtract`, subtracts from each vector its codeword. */
static int pass(training *t, int subtract, mert_error *e)
{
    mert_kmeans_sums_clear(&t->sums);
    for (int64_t at = 0; at < t->n; at += t->batch) {
        int64_t m = mert_smaller(t->n - at, t->batch);
        float *x = t->x + at * t->d;
        if (assign(t, x, m, e))
            return -1;
        if (mert_kmeans_sums_add(&t->sums, x, m, t->label, t->distance2, e))
            return -1;
        for (int64_t i = 0; subtract && i < m; i++)
            for (int64_t j = 0; j < t->d; j++)
                x[i * t->d + j] -= t->codewords[t->label[i] * t->d + j];
    }
    return 0;
}

static int begin_with_kmeans(training *t, mert_error *e)
{
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, (uint64_t)t->at, 0, 0);
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result r;
    double scale = (double)t->batch / (double)t->n;
    o.k = t->V;
    o.seed = (uint64_t)mert_random_u32(&key, 0) << 32 | mert_random_u32(&key, 1);
    o.batch = t->batch;
    o.max_iter = 3;
    o.n_init = 2;
    o.progress = tell;
    o.progress_self = t;
    if (mert_kmeans_train(&o, t->x, t->n, t->d, t->codewords, &r, e))
        return -1;
    mert_nearest_set(t->nearest, t->codewords);
    if (pass(t, 0, e))
        return -1;
    for (int64_t v = 0; v < t->V; v++) {
        t->share[v] = scale * (double)t->sums.count[v];
        for (int64_t i = 0; i < t->d; i++)
            t->sum[v * t->d + i] = scale * mert_kmeans_sums_value(&t->sums, v, i);
    }
    return 0;
}

/* codeword = running sum / running number */
static void set_codewords(training *t)
{
    for (int64_t v = 0; v < t->V; v++)
        for (int64_t i = 0; t->share[v] > 0 && i < t->d; i++)
            t->codewords[v * t->d + i] = (float)(t->sum[v * t->d + i] / t->share[v]);
    mert_nearest_set(t->nearest, t->codewords);
}

static void replace_dead(training *t, uint64_t step)
{
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, step, (uint32_t)t->at, 1);
    double fifth = 0.2 * (double)t->batch / (double)t->V, least = fifth < 2 ? fifth : 2;
    for (int64_t v = 0; v < t->V; v++) {
        const float *x;
        if (t->share[v] >= least)
            continue;
        x = t->points + (int64_t)mert_random_below(&key, (uint32_t)v, (uint32_t)t->batch) * t->d;
        t->share[v] = least;
        for (int64_t i = 0; i < t->d; i++)
            t->sum[v * t->d + i] = least * x[i];
        t->replaced++;
    }
}

static int running_means(training *t, mert_error *e)
{
    int64_t steps = t->o->passes * ((t->n + t->batch - 1) / t->batch);
    double keep = t->o->decay;
    for (int64_t step = 0; step < steps; step++) {
        mert_random key = mert_random_key(t->o->seed, MERT_FOR_RVQ, (uint64_t)step, (uint32_t)t->at, 2);
        for (int64_t i = 0; i < t->batch; i++)
            memcpy(t->points + i * t->d, t->x + (int64_t)mert_random_below(&key, (uint32_t)i, (uint32_t)t->n) * t->d,
                   (size_t)t->d * sizeof(float));
        if (assign(t, t->points, t->batch, e))
            return -1;
        mert_kmeans_sums_clear(&t->sums);
        if (mert_kmeans_sums_add(&t->sums, t->points, t->batch, t->label, t->distance2, e))
            return -1;
        for (int64_t v = 0; v < t->V; v++) {
            t->share[v] = keep * t->share[v] + (1 - keep) * (double)t->sums.count[v];
            for (int64_t i = 0; i < t->d; i++)
                t->sum[v * t->d + i] =
                    keep * t->sum[v * t->d + i] + (1 - keep) * mert_kmeans_sums_value(&t->sums, v, i);
        }
        replace_dead(t, (uint64_t)step);
        set_codewords(t);
        tell(t, "running means", step + 1, steps, mert_kmeans_sums_inertia(&t->sums) / (double)t->batch);
    }
    return 0;
}

/* Sets every codeword to the mean of its vectors; then subtracts from all vectors their codewords. */
static int close_codebook(training *t, mert_error *e)
{
    if (pass(t, 0, e))
        return -1;
    for (int64_t v = 0; v < t->V; v++)
        for (int64_t i = 0; t->sums.count[v] && i < t->d; i++)
            t->codewords[v * t->d + i] = (float)(mert_kmeans_sums_value(&t->sums, v, i) / (double)t->sums.count[v]);
    mert_nearest_set(t->nearest, t->codewords);
    return pass(t, 1, e);
}

static int allocate(training *t, mert_error *e)
{
    int64_t all = mert_array_count(t->V, t->d);
    memset(t->codewords, 0, all * sizeof(float));
    t->share = mert_array_zeroed(t->V, sizeof(double));
    t->sum = mert_array_zeroed(all, sizeof(double));
    t->points = mert_array(mert_array_count(t->batch, t->d), sizeof(float));
    t->label = mert_array(t->batch, sizeof(int32_t));
    t->distance2 = mert_array(t->batch, sizeof(double));
    t->nearest = mert_nearest_new(t->codewords, t->V, t->d);
    if (!t->share || !t->sum || !t->points || !t->label || !t->distance2 || !t->nearest)
        return mert_fail(e, "out of memory");
    return mert_kmeans_sums_new(&t->sums, t->V, t->d, e);
}

static double power(const float *x, int64_t n, int64_t d)
{
    double s = 0;
    for (int64_t i = 0; i < n * d; i++)
        s += (double)x[i] * x[i];
    return s / (double)n;
}

int mert_rvq_train(const mert_rvq_options *o, float *x, int64_t n, int64_t d, float *codewords,
                   mert_rvq_result *result, mert_error *e)
{
    training t = {.o = o, .x = x, .n = n, .d = d, .V = o->classes, .batch = o->batch < n ? o->batch : n};
    int bad = 0;
    memset(result, 0, sizeof *result);
    if (n < o->classes)
        return mert_fail(e, "%" PRId64 " classes need at least as many frames, but there are %" PRId64, o->classes, n);
    result->power = power(x, n, d);
    for (t.at = 0; !bad && t.at < o->count; t.at++) {
        t.codewords = codewords + t.at * o->classes * d;
        bad = allocate(&t, e) || begin_with_kmeans(&t, e) || running_means(&t, e) || close_codebook(&t, e);
        mert_kmeans_sums_free(&t.sums);
        mert_nearest_free(t.nearest);
        free(t.share);
        free(t.sum);
        free(t.points);
        free(t.label);
        free(t.distance2);
    }
    result->error = power(x, n, d);
    result->replaced = t.replaced;
    return bad ? -1 : 0;
}
