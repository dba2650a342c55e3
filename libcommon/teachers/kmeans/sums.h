/* Exact sums over the points of each cluster (contract A3): whole numbers, so adding is associative, and tiles, threads
 * and shards may be added in any order and split without changing a bit.
 *
 * A float is a whole multiple of 2^-149; below 1e18 (what features may hold) it lies below 2^60. A sum is kept as
 * digits of 32 bits in planes: plane p counts units of 2^(32 p - 160), p in [0, 8). Planes are int64, so carries wait
 * until 2^29 additions have been made; planes that no value reaches are not there (features of ordinary size touch two
 * or three). Squared distances are added likewise, to a unit of 2^-192. (The idea: Kulisch's long accumulator.)
 *
 * Letters: n points x [n, d], k clusters. */
#ifndef MERT_KMEANS_SUMS_H
#define MERT_KMEANS_SUMS_H

#include "formats/error.h"

#include <stdint.h>

enum { MERT_SUM_PLANES = 8, MERT_SUM_UNIT = -160, MERT_INERTIA_DIGITS = 12, MERT_INERTIA_UNIT = -192 };

typedef struct mert_kmeans_sums {
    int64_t k, d;
    int64_t *plane[MERT_SUM_PLANES]; /* [k, d]; NULL: all zero */
    int lo, hi;                      /* planes in use: [lo, hi), the last for carries alone */
    int64_t *count;                  /* [k] points */
    int64_t inertia[MERT_INERTIA_DIGITS];
    int64_t pending;                 /* additions since the last carry */
} mert_kmeans_sums;

int mert_kmeans_sums_new(mert_kmeans_sums *s, int64_t k, int64_t d, mert_error *e) MERT_MUST_USE;
void mert_kmeans_sums_free(mert_kmeans_sums *s);
void mert_kmeans_sums_clear(mert_kmeans_sums *s);
/* Planes [lo, hi) shall be there. -1: out of memory. */
int mert_kmeans_sums_reach(mert_kmeans_sums *s, int lo, int hi, mert_error *e) MERT_MUST_USE;
/* Adds points x [n, d], all below 1e18, with their labels and squared distances (NULL: not counted). By the pool. */
int mert_kmeans_sums_add(mert_kmeans_sums *s, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e) MERT_MUST_USE;
/* s += t of the same k and d. */
int mert_kmeans_sums_merge(mert_kmeans_sums *s, const mert_kmeans_sums *t, mert_error *e) MERT_MUST_USE;
/* Carries: equal sums in equal planes are then equal numbers, digits in [0, 2^32) but for the last plane's. */
void mert_kmeans_sums_carry(mert_kmeans_sums *s);

double mert_kmeans_sums_value(const mert_kmeans_sums *s, int64_t cluster, int64_t i);
double mert_kmeans_sums_inertia(const mert_kmeans_sums *s);
int64_t mert_kmeans_sums_points(const mert_kmeans_sums *s);

#endif
