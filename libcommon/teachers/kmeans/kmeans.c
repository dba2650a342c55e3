#include "libcommon/teachers/kmeans/kmeans.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/kmeans/pass.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const mert_kmeans_options mert_kmeans_defaults = {
    .batch = 10000, .max_iter = 100, .max_no_improvement = 100, .n_init = 20};

typedef struct training {
    const mert_kmeans_options *o;
    const float *x;
    int64_t n, d, k, batch;
    double *centre;       /* [k, d] */
    double *weight;       /* [k] number of points of each centroid so far */
    float *centroids;     /* [k, d] the same as float, for the comparison with points */
    mert_nearest *nearest;
    mert_kmeans_pass pass;
    float *points;        /* [batch, d] */
    int32_t *label;       /* [batch] */
    double *distance2;
    float *start;         /* [k, d] k-means++'s centroids, with their inertia on all points: */
    double start_inertia;
    int keeps_empty;      /* clusters without points are not moved */
    mert_kmeans_result *result;
} training;

static void tell(const training *t, const char *what, int64_t step, int64_t steps, double inertia)
{
    if (t->o->progress)
        t->o->progress(t->o->progress_self, what, step, steps, inertia);
}

static void use_centres(training *t)
{
    for (int64_t i = 0; i < t->k * t->d; i++)
        t->centroids[i] = (float)t->centre[i];
    mert_nearest_set(t->nearest, t->centroids);
}

static int assign(training *t, const float *x, int64_t n, mert_error *e)
{
    int64_t bad = mert_nearest_find(t->nearest, x, t->d, n, t->label, t->distance2);
    if (bad == -2)
        return mert_fail(e, "out of memory");
    if (bad >= 0)
        return mert_fail(e, "the features hold a NaN, an infinity or a value too large to square");
    return 0;
}

/* ---- mini-batches ---- */

typedef struct gathering {
    training *t;
    mert_random key;
} gathering;

/* AHEAD, LINE, LINES: a point is looked for in memory so many points before it is copied; floats of a cache line; the
 * lines of a point after which the processor reads on by itself. */
enum { GATHER = 256, AHEAD = 8, LINE = 16, LINES = 4 };

static void gather(void *arg, int64_t at, int worker)
{
    const gathering *g = arg;
    training *t = g->t;
    const float *point[GATHER];
    int64_t first = at * GATHER, n = mert_smaller(t->batch - first, GATHER), some = mert_smaller(t->d, LINES * LINE);
    (void)worker;
    for (int64_t i = 0; i < n; i++)
        point[i] = t->x + (int64_t)mert_random_below(&g->key, (uint32_t)(first + i), (uint32_t)t->n) * t->d;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; i + AHEAD < n && j < some; j += LINE)
            __builtin_prefetch(point[i + AHEAD] + j);
        memcpy(t->points + (first + i) * t->d, point[i], (size_t)t->d * sizeof(float));
    }
}

/* centre = (weight * centre + sum of its points) / (weight + their number) */
static void update(training *t)
{
    for (int64_t c = 0; c < t->k; c++) {
        double m = (double)t->pass.sums.count[c], w = t->weight[c], *centre = t->centre + c * t->d;
        if (m == 0)
            continue;
        for (int64_t i = 0; i < t->d; i++)
            centre[i] = (w * centre[i] + mert_kmeans_sums_value(&t->pass.sums, c, i)) / (w + m);
        t->weight[c] = w + m;
    }
}

/* Draws one of the n last assigned points, with probability proportional to its squared distance, which is then set to
 * 0; -1: all distances are 0. */
static int64_t draw_far_point(training *t, int64_t n, double u)
{
    double sum = 0, left;
    int64_t last = -1;
    for (int64_t i = 0; i < n; i++)
        sum += t->distance2[i];
    left = u * sum;
    for (int64_t i = 0; i < n; i++) {
        if (!(t->distance2[i] > 0))
            continue;
        last = i;
        if (left < t->distance2[i])
            break;
        left -= t->distance2[i];
    }
    if (last >= 0)
        t->distance2[last] = 0;
    return last;
}

/* Moves clusters without points to points of the batch. */
static void place_anew(training *t, uint64_t step)
{
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_KMEANS_BATCH, step, 1, 0);
    for (int64_t c = 0; c < t->k; c++) {
        int64_t p;
        if (t->weight[c] > 0)
            continue;
        p = draw_far_point(t, t->batch, mert_random_uniform(&key, (uint32_t)c));
        if (p < 0)
            return;
        for (int64_t i = 0; i < t->d; i++)
            t->centre[c * t->d + i] = t->points[p * t->d + i];
        t->result->placed_anew++;
    }
}

/* scikit-learn's stopping rule. The inertia is smoothed exponentially, with the weight 2 * batch / (n + 1). */
typedef struct smoothing {
    double mean, least;
    int64_t since; /* mini-batches since the minimum */
} smoothing;

static int no_improvement(const training *t, smoothing *s, int64_t step, double inertia)
{
    double alpha = 2.0 * (double)t->batch / ((double)t->n + 1);
    if (alpha > 1)
        alpha = 1;
    if (step == 0)
        return 0; /* the first value is the inertia of the start */
    s->mean = step == 1 ? inertia : s->mean * (1 - alpha) + inertia * alpha;
    if (step == 1 || s->mean < s->least) {
        s->least = s->mean;
        s->since = 0;
    } else
        s->since++;
    return t->o->max_no_improvement > 0 && s->since >= t->o->max_no_improvement;
}

static int mini_batches(training *t, mert_error *e)
{
    int64_t steps = (int64_t)((double)t->o->max_iter * (double)t->n / (double)t->batch), since = 0;
    smoothing s = {0};
    for (int64_t step = 0; step < steps; step++) {
        gathering g = {t, mert_random_key(t->o->seed, MERT_FOR_KMEANS_BATCH, (uint64_t)step, 0, 0)};
        double inertia;
        mert_pool_run((t->batch + GATHER - 1) / GATHER, gather, &g);
        if (assign(t, t->points, t->batch, e))
            return -1;
        mert_kmeans_sums_clear(&t->pass.sums);
        if (mert_kmeans_sums_add(&t->pass.sums, t->points, t->batch, t->label, t->distance2, e))
            return -1;
        inertia = mert_kmeans_sums_inertia(&t->pass.sums) / (double)t->batch;
        update(t);
        since += t->batch;
        if (since >= 10 * t->k && !t->keeps_empty) { /* every cluster could have received points: ten each, on
                                                        average */
            place_anew(t, (uint64_t)step);
            since = 0;
        }
        use_centres(t);
        t->result->steps = step + 1;
        tell(t, "mini-batch", step + 1, steps, inertia);
        if (no_improvement(t, &s, step, inertia))
            break;
    }
    return 0;
}

/* ---- full iterations ---- */

/* One pass over all points, a batch at a time. */
static int pass(training *t, mert_error *e)
{
    mert_kmeans_pass_clear(&t->pass);
    for (int64_t at = 0; at < t->n; at += t->batch) {
        int64_t m = mert_smaller(t->n - at, t->batch);
        if (assign(t, t->x + at * t->d, m, e) ||
            mert_kmeans_pass_add(&t->pass, t->x + at * t->d, m, t->label, t->distance2, e))
            return -1;
    }
    return 0;
}

static int full_iterations(training *t, mert_error *e)
{
    for (int64_t i = 0; i < t->o->lloyd; i++) {
        mert_kmeans_step step;
        if (pass(t, e))
            return -1;
        mert_kmeans_pass_step(&t->pass, t->centroids, &step);
        mert_nearest_set(t->nearest, t->centroids);
        tell(t, "full iteration", i + 1, t->o->lloyd, step.inertia / (double)t->n);
        t->result->iterations = i + 1;
        t->result->placed_anew += step.placed;
        if (step.moved == 0)
            break;
    }
    return 0;
}

/* ---- the training ---- */

/* Resets everything to the result of k-means++. */
static void begin_at_start(training *t)
{
    memset(t->result, 0, sizeof *t->result);
    memcpy(t->centroids, t->start, (size_t)(t->k * t->d) * sizeof *t->start);
    for (int64_t i = 0; i < t->k * t->d; i++)
        t->centre[i] = t->centroids[i];
    memset(t->weight, 0, (size_t)t->k * sizeof *t->weight);
    mert_nearest_set(t->nearest, t->centroids);
}

/* With heavy tails, k-means++ has good centroids at points that no mini-batch draws; moving these clusters then makes
 * the result worse. So the result is compared with the start. If it is worse, a second run does not move these
 * clusters; if that is worse, too, the start is the result. */
static int improve(training *t, mert_error *e)
{
    if (pass(t, e))
        return -1;
    t->start_inertia = mert_kmeans_sums_inertia(&t->pass.sums);
    for (t->keeps_empty = 0; t->keeps_empty < 2; t->keeps_empty++) {
        begin_at_start(t);
        if (mini_batches(t, e) || (t->o->lloyd > 0 && full_iterations(t, e)) || pass(t, e))
            return -1;
        if (mert_kmeans_sums_inertia(&t->pass.sums) <= t->start_inertia)
            return 0;
    }
    begin_at_start(t);
    return pass(t, e);
}

static int seed(training *t, mert_error *e)
{
    int64_t m = t->o->init_samples ? t->o->init_samples : 3 * t->batch;
    mert_random key = mert_random_key(t->o->seed, MERT_FOR_KMEANS_SEED, 0, 2, 0);
    float *some;
    double pot;
    if (m < 3 * t->k)
        m = 3 * t->k;
    if (m >= t->n)
        pot = mert_kmeans_seed(t->o, t->x, t->n, t->d, t->centroids);
    else {
        some = mert_array(mert_array_count(m, t->d), sizeof *some);
        if (!some)
            return mert_fail(e, "out of memory");
        for (int64_t i = 0; i < m; i++)
            memcpy(some + i * t->d, t->x + (int64_t)mert_random_below(&key, (uint32_t)i, (uint32_t)t->n) * t->d,
                   (size_t)t->d * sizeof *some);
        pot = mert_kmeans_seed(t->o, some, m, t->d, t->centroids);
        free(some);
    }
    if (pot < 0)
        return mert_fail(e, "out of memory");
    memcpy(t->start, t->centroids, (size_t)(t->k * t->d) * sizeof *t->start);
    mert_nearest_set(t->nearest, t->centroids);
    return 0;
}

static int allocate(training *t, mert_error *e)
{
    int64_t all = mert_array_count(t->k, t->d);
    memset(t->centroids, 0, all * sizeof(float));
    t->centre = mert_array_zeroed(all, sizeof(double));
    t->weight = mert_array_zeroed(t->k, sizeof(double));
    t->points = mert_array(mert_array_count(t->batch, t->d), sizeof(float));
    t->label = mert_array(t->batch, sizeof(int32_t));
    t->distance2 = mert_array(t->batch, sizeof(double));
    t->nearest = mert_nearest_new(t->centroids, t->k, t->d);
    t->start = mert_array(all, sizeof *t->start);
    if (!t->centre || !t->weight || !t->start || !t->points || !t->label || !t->distance2 || !t->nearest)
        return mert_fail(e, "out of memory");
    return mert_kmeans_pass_new(&t->pass, t->k, t->d, e);
}

int mert_kmeans_train(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids,
                      mert_kmeans_result *result, mert_error *e)
{
    training t = {.o = o, .x = x, .n = n, .d = d, .k = o->k, .batch = mert_smaller(o->batch, n),
                  .centroids = centroids, .result = result};
    int bad;
    memset(result, 0, sizeof *result);
    if (o->k < 1 || o->k > n)
        return mert_fail(e, "%" PRId64 " clusters need at least as many frames, but there are %" PRId64, o->k, n);
    for (int64_t i = 0; i < n * d; i++)
        if (!(x[i] > -MERT_FEATURE_MOST && x[i] < MERT_FEATURE_MOST))
            return mert_fail(e, "frame %" PRId64 " of the sample holds a NaN, an infinity or a value beyond 1e18",
                             i / d);
    if (n > UINT32_MAX)
        return mert_fail(e, "%" PRId64 " frames are too many: at most 2^32 - 1", n);
    bad = allocate(&t, e) || seed(&t, e) || improve(&t, e);
    if (!bad) {
        result->inertia = mert_kmeans_sums_inertia(&t.pass.sums);
        for (int64_t c = 0; c < t.k; c++)
            result->empty += t.pass.sums.count[c] == 0;
    }
    mert_kmeans_pass_free(&t.pass);
    mert_nearest_free(t.nearest);
    free(t.centre);
    free(t.start);
    free(t.weight);
    free(t.points);
    free(t.label);
    free(t.distance2);
    return bad ? -1 : 0;
}
