/* k-means of HuBERT's teachers: k-means++ starts, mini-batches (Sculley, WWW 2010, with the settings of HuBERT's
 * scripts for scikit-learn's MiniBatchKMeans: man/model.md 10.2), and optionally full iterations (Lloyd) after them.
 * Letters: n points x [n, d], k centroids [k, d].
 *
 * Intended differences from scikit-learn:
 * - A centroid that never received a point is moved to a point of a batch, drawn by squared distance, unless this makes
 *   the final result worse than the start. (scikit-learn with reassignment_ratio 0 does not move it, so its class is
 *   never used.)
 * - The result is never worse than its k-means++ start, on the points given.
 * - The n_init starts of k-means++ use the same init_samples points and are computed together, so that their distances
 *   are one product; the start with the least inertia on these points is used.
 *
 * All random numbers are keyed by the seed, and sums are exact, so the result does not depend on the number of
 * threads. */
#ifndef MERT_KMEANS_H
#define MERT_KMEANS_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_kmeans_options {
    int64_t k;
    uint64_t seed;
    int64_t batch;             /* points of a mini-batch (10000) */
    int64_t max_iter;          /* the most mini-batches, in passes over the data (100) */
    int64_t max_no_improvement;/* stops after so many mini-batches without a better smoothed inertia (100); 0: never */
    int64_t init_samples;      /* points that k-means++ uses; 0: 3 batches, at least 3 k, at most n */
    int64_t n_init;            /* k-means++ starts (20) */
    int64_t lloyd;             /* the most full iterations (pass.h); ends earlier if no centroid moves */
    /* Called after each step; NULL: none. what: "seeding", "mini-batch", "full iteration"; inertia: mean squared
     * distance, < 0: not known. */
    void (*progress)(void *self, const char *what, int64_t step, int64_t steps, double inertia);
    void *progress_self;
} mert_kmeans_options;

extern const mert_kmeans_options mert_kmeans_defaults; /* k = 0 */

typedef struct mert_kmeans_result {
    double inertia;      /* sum of squared distances of all n points to their centroids */
    int64_t steps;       /* mini-batches */
    int64_t iterations;  /* full iterations */
    int64_t placed_anew; /* number of centroids without points that were moved */
    int64_t empty;       /* number of centroids without points at the end */
} mert_kmeans_result;

/* x [n, d] must be finite and below 1e18. Fills centroids [k, d]. Errors: k > n, out of memory. */
int mert_kmeans_train(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids,
                      mert_kmeans_result *result, mert_error *e) MERT_MUST_USE;

/* seed.c: k-means++ alone (Arthur & Vassilvitskii 2007, with 2 + ln k local trials): centroids [k, d] are rows of x.
 * Returns their inertia on x, or -1: out of memory. */
double mert_kmeans_seed(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids);

#endif
