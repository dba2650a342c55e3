/* k-means as HuBERT's teachers use it: k-means++ starts, mini-batches (Sculley, WWW 2010, with the settings of
 * scikit-learn's MiniBatchKMeans that HuBERT's scripts give: man/model.md 10.2), and, if wanted, full iterations
 * (Lloyd) behind them. Letters: n points x [n, d], k centroids [k, d].
 *
 * Differences from scikit-learn, on purpose:
 * - a centroid that never received a point is placed anew, on points of a batch drawn by squared distance (scikit-learn
 *   with reassignment_ratio 0 keeps it, and the class is dead for ever), unless the end is then worse than the start;
 * - the result is never worse than its k-means++ start, on the points given;
 * - the n_init starts of k-means++ see the same init_samples points and run side by side, so that their distances are
 *   one product; the one with the least inertia on these points is taken.
 * Everything is keyed by the seed, and sums are exact: the result does not depend on the number of threads. */
#ifndef MERT_KMEANS_H
#define MERT_KMEANS_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_kmeans_options {
    int64_t k;
    uint64_t seed;
    int64_t batch;             /* points of a mini-batch (10000) */
    int64_t max_iter;          /* passes' worth of mini-batches at most (100) */
    int64_t max_no_improvement;/* mini-batches without a better smoothed inertia before it stops (100); 0: never */
    int64_t init_samples;      /* points that k-means++ sees; 0: 3 batches, at least 3 k, at most n */
    int64_t n_init;            /* k-means++ starts (20) */
    int64_t lloyd;             /* full iterations (pass.h) at most, until no centroid moves */
    /* Told after each step, where not NULL. what: "seeding", "mini-batch", "full iteration"; inertia: mean squared
     * distance, < 0: not known. */
    void (*progress)(void *self, const char *what, int64_t step, int64_t steps, double inertia);
    void *progress_self;
} mert_kmeans_options;

extern const mert_kmeans_options mert_kmeans_defaults; /* k = 0 */

typedef struct mert_kmeans_result {
    double inertia;      /* sum of squared distances of all n points to their centroids */
    int64_t steps;       /* mini-batches */
    int64_t iterations;  /* full iterations */
    int64_t placed_anew; /* centroids that never received a point and were moved */
    int64_t empty;       /* centroids that no point of x is nearest to, at the end */
} mert_kmeans_result;

/* x [n, d] must be finite and below 1e18. Fills centroids [k, d]. Errors: k > n, out of memory. */
int mert_kmeans_train(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids,
                      mert_kmeans_result *result, mert_error *e) MERT_MUST_USE;

/* k-means++ alone (Arthur & Vassilvitskii 2007, with 2 + ln k local trials): centroids [k, d] are rows of x. Returns
 * their inertia on x, or -1 when out of memory. (seed.c) */
double mert_kmeans_seed(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids);

#endif
