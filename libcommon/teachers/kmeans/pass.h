/* One full iteration (Lloyd) that can be divided among processes: each adds its points to its own pass; passes can be
 * divided and merged in any way with the same bytes (contract A3); then the next centroids are computed from the merged
 * pass.
 *
 * A centroid becomes the mean of its points. Empty centroids are moved to the points that are farthest from their
 * centroids: in order of index to points in order of distance, as in scikit-learn's KMeans. Points at equal distance
 * are ordered by their bytes, and equal points count once, so the order does not depend on item or frame numbers. A
 * pass keeps at most 256 such points (64 MiB), and no more than clusters; further empty centroids are not moved. */
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
    mert_kmeans_far *far;         /* [far_n] the farthest first */
    float *far_points;            /* [far_max, d] */
} mert_kmeans_pass;

typedef struct mert_kmeans_step {
    int64_t points;
    double inertia;               /* sum of squared distances to the centroids before */
    int64_t empty, placed;        /* clusters without points; those of them that were moved */
    double moved;                 /* the largest move of a centroid; 0: no change */
} mert_kmeans_step;

int mert_kmeans_pass_new(mert_kmeans_pass *p, int64_t k, int64_t d, mert_error *e) MERT_MUST_USE;
void mert_kmeans_pass_free(mert_kmeans_pass *p);
void mert_kmeans_pass_clear(mert_kmeans_pass *p);
int mert_kmeans_pass_add(mert_kmeans_pass *p, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e) MERT_MUST_USE;
int mert_kmeans_pass_merge(mert_kmeans_pass *p, const mert_kmeans_pass *q, mert_error *e) MERT_MUST_USE;
/* Adds a point only to the list of far points (pass_add does this for its own points). */
void mert_kmeans_pass_far(mert_kmeans_pass *p, const float *x, double distance2);
/* centroids [k, d] -> the next ones. */
void mert_kmeans_pass_step(const mert_kmeans_pass *p, float *centroids, mert_kmeans_step *step);

#endif
