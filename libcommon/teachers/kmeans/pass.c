#include "libcommon/teachers/kmeans/pass.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int mert_kmeans_pass_new(mert_kmeans_pass *p, int64_t k, int64_t d, mert_error *e)
{
    int64_t most = (INT64_C(64) << 20) / ((int64_t)sizeof(float) * d);
    memset(p, 0, sizeof *p);
    p->k = k;
    p->d = d;
    most = most < 1 ? 1 : most > 256 ? 256 : most;
    p->far_max = most < k ? most : k;
    p->far = mert_array(p->far_max, sizeof *p->far);
    p->far_points = mert_array(mert_array_count(p->far_max, d), sizeof *p->far_points);
    if (p->far && p->far_points && !mert_kmeans_sums_new(&p->sums, k, d, e))
        return 0;
    mert_kmeans_pass_free(p);
    return mert_fail(e, "out of memory");
}

void mert_kmeans_pass_free(mert_kmeans_pass *p)
{
    mert_kmeans_sums_free(&p->sums);
    free(p->far);
    free(p->far_points);
    memset(p, 0, sizeof *p);
}

void mert_kmeans_pass_clear(mert_kmeans_pass *p)
{
    mert_kmeans_sums_clear(&p->sums);
    p->far_n = 0;
}

/* < 0: a comes first. 0: equal point and distance. */
static int order(const mert_kmeans_pass *p, const mert_kmeans_far *a, double distance2, const float *x)
{
    if (a->distance2 != distance2)
        return a->distance2 > distance2 ? -1 : 1;
    return memcmp(p->far_points + a->slot * p->d, x, (size_t)p->d * sizeof *x);
}

void mert_kmeans_pass_far(mert_kmeans_pass *p, const float *x, double distance2)
{
    int64_t low = 0, high = p->far_n, slot = p->far_n;
    if (!(distance2 > 0) || (p->far_n == p->far_max && distance2 < p->far[p->far_n - 1].distance2))
        return;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        int o = order(p, &p->far[middle], distance2, x);
        if (o == 0)
            return;
        if (o < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == p->far_max)
        return;
    if (p->far_n == p->far_max)
        slot = p->far[--p->far_n].slot;
    memmove(p->far + low + 1, p->far + low, (size_t)(p->far_n - low) * sizeof *p->far);
    p->far[low] = (mert_kmeans_far){distance2, slot};
    p->far_n++;
    memcpy(p->far_points + slot * p->d, x, (size_t)p->d * sizeof *x);
}

int mert_kmeans_pass_add(mert_kmeans_pass *p, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e)
{
    for (int64_t i = 0; i < n; i++)
        mert_kmeans_pass_far(p, x + i * p->d, distance2[i]);
    return mert_kmeans_sums_add(&p->sums, x, n, label, distance2, e);
}

int mert_kmeans_pass_merge(mert_kmeans_pass *p, const mert_kmeans_pass *q, mert_error *e)
{
    for (int64_t i = 0; i < q->far_n; i++)
        mert_kmeans_pass_far(p, q->far_points + q->far[i].slot * q->d, q->far[i].distance2);
    return mert_kmeans_sums_merge(&p->sums, &q->sums, e);
}

void mert_kmeans_pass_step(const mert_kmeans_pass *p, float *centroids, mert_kmeans_step *step)
{
    double most = 0;
    memset(step, 0, sizeof *step);
    step->points = mert_kmeans_sums_points(&p->sums);
    step->inertia = mert_kmeans_sums_inertia(&p->sums);
    for (int64_t c = 0; c < p->k; c++) {
        float *to = centroids + c * p->d;
        const float *far = NULL;
        double moved2 = 0, m = (double)p->sums.count[c];
        if (m == 0) {
            step->empty++;
            if (step->placed == p->far_n)
                continue;
            far = p->far_points + p->far[step->placed++].slot * p->d;
        }
        for (int64_t i = 0; i < p->d; i++) {
            float next = far ? far[i] : (float)(mert_kmeans_sums_value(&p->sums, c, i) / m);
            double by = (double)next - (double)to[i];
            moved2 += by * by;
            to[i] = next;
        }
        most = moved2 > most ? moved2 : most;
    }
    step->moved = sqrt(most);
}
