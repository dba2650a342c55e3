#include "kmeans.h"

#include "../base/pool.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int mert_kmeans_range(const float *x, int64_t n)
{
    float most = 0;
    int range;
    for (int64_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    frexpf(most, &range); /* most < 2^range */
    return range;
}

int mert_kmeans_sums_new(mert_kmeans_sums *s, int64_t k, int64_t d, int range, mert_error *e)
{
    int bits = 0;
    memset(s, 0, sizeof *s);
    s->k = k;
    s->d = d;
    s->range = range;
    while (bits < 62 && (int64_t)1 << bits < d)
        bits++;
    /* a squared distance is below d (2 * 2^range)^2, and shall stay below 2^90 units */
    s->inertia_shift = 2 * range + 2 + bits - 90;
    s->high = calloc((size_t)(k * d), sizeof *s->high);
    s->low = calloc((size_t)(k * d), sizeof *s->low);
    s->count = calloc((size_t)k, sizeof *s->count);
    if (!s->high || !s->low || !s->count) {
        mert_kmeans_sums_free(s);
        return mert_fail(e, "out of memory");
    }
    return 0;
}

void mert_kmeans_sums_free(mert_kmeans_sums *s)
{
    free(s->high);
    free(s->low);
    free(s->count);
    memset(s, 0, sizeof *s);
}

void mert_kmeans_sums_clear(mert_kmeans_sums *s)
{
    memset(s->high, 0, (size_t)(s->k * s->d) * sizeof *s->high);
    memset(s->low, 0, (size_t)(s->k * s->d) * sizeof *s->low);
    memset(s->count, 0, (size_t)s->k * sizeof *s->count);
    s->inertia = 0;
}

typedef struct job {
    mert_kmeans_sums *s;
    const float *x;
    const int32_t *label;
    int64_t n, clusters; /* of one piece */
} job;

/* A piece owns some clusters and passes over all labels: nobody else writes there. */
static void piece(void *arg, int64_t at, int worker)
{
    const job *j = arg;
    mert_kmeans_sums *s = j->s;
    int64_t first = at * j->clusters, end = first + j->clusters;
    double scale = ldexp(1, 60 - s->range);
    (void)worker;
    for (int64_t r = 0; r < j->n; r++) {
        int64_t c = j->label[r];
        if (c < first || c >= end)
            continue;
        int64_t *high = s->high + c * s->d, *low = s->low + c * s->d;
        const float *x = j->x + r * s->d;
        s->count[c]++;
        for (int64_t i = 0; i < s->d; i++) {
            int64_t q = (int64_t)((double)x[i] * scale);
            high[i] += q >> 32;
            low[i] += (int64_t)(uint32_t)q;
        }
    }
}

void mert_kmeans_sums_add(mert_kmeans_sums *s, const float *x, int64_t n, const int32_t *label, const double *distance2)
{
    job j = {s, x, label, n, (s->k + 15) / 16};
    mert_pool_run((s->k + j.clusters - 1) / j.clusters, piece, &j);
    for (int64_t r = 0; distance2 && r < n; r++)
        s->inertia += (__int128)ldexp(distance2[r], -s->inertia_shift);
}

void mert_kmeans_sums_merge(mert_kmeans_sums *s, const mert_kmeans_sums *t)
{
    for (int64_t i = 0; i < s->k * s->d; i++) {
        s->high[i] += t->high[i];
        s->low[i] += t->low[i];
    }
    for (int64_t c = 0; c < s->k; c++)
        s->count[c] += t->count[c];
    s->inertia += t->inertia;
}

double mert_kmeans_sums_value(const mert_kmeans_sums *s, int64_t cluster, int64_t i)
{
    int64_t at = cluster * s->d + i;
    return ldexp((double)((__int128)s->high[at] * ((int64_t)1 << 32) + s->low[at]), s->range - 60);
}

double mert_kmeans_sums_inertia(const mert_kmeans_sums *s)
{
    return ldexp((double)s->inertia, s->inertia_shift);
}
