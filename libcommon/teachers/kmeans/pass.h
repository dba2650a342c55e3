/* One full iteration (Lloyd) as something that many can share: each adds the points it has seen to a pass of its own;
 * passes are merged, in any order and split, with the same bytes (contract A3); then the next centroids follow from the
 * whole.
 *
 * A centroid becomes the mean of its points. One that no point chose goes to a point that lies far from its
 * centroid: the empty ones, in order of their number, take the farthest points, in order of their distance (as
 * scikit-learn's KMeans does); equally far ones are ordered by their bytes, and of equal points one counts, so no item
 * or frame number is asked for. A pass keeps at most 256 such points (64 MiB), and no more than clusters; an empty
 * centroid for which none is left stays where it is. */
#ifndef MERT_KMEANS_PASS_H
#define MERT_KMEANS_PASS_H

#include "libcommon/teachers/kmeans/sums.h"

typedef struct mert_kmeans_far {
    double distance2;
    int64_t slot;                 /* row of the points */
} mert_kmeans_far;

typedef struct mert_kmeans_pass {
    int64_t k, d;
    mert_kmeans_sums sums;
    int64_t far_max, far_n;
    mert_kmeans_far *far;         /* [far_n] farthest first */
    float *far_points;            /* [far_max, d] */
} mert_kmeans_pass;

typedef struct mert_kmeans_step {
    int64_t points;
    double inertia;               /* sum of squared distances to the centroids before */
    int64_t empty, placed;        /* clusters without a point; those that went to a far one */
    double moved;                 /* largest distance that a centroid moved; 0: nothing changed */
} mert_kmeans_step;

int mert_kmeans_pass_new(mert_kmeans_pass *p, int64_t k, int64_t d, mert_error *e) MERT_MUST_USE;
void mert_kmeans_pass_free(mert_kmeans_pass *p);
void mert_kmeans_pass_clear(mert_kmeans_pass *p);
int mert_kmeans_pass_add(mert_kmeans_pass *p, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e) MERT_MUST_USE;
int mert_kmeans_pass_merge(mert_kmeans_pass *p, const mert_kmeans_pass *q, mert_error *e) MERT_MUST_USE;
/* One point for the list of far ones alone (of which pass_add keeps the farthest of its points). */
void mert_kmeans_pass_far(mert_kmeans_pass *p, const float *x, double distance2);
/* centroids [k, d] -> the next ones. */
void mert_kmeans_pass_step(const mert_kmeans_pass *p, float *centroids, mert_kmeans_step *step);

#endif
