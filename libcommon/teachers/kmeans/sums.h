/* Exact sums over the points of each cluster (contract A3). They are integers, so addition is associative: tiles,
 * threads and shards can be divided and added in any order without changing a bit.
 *
 * A float is an integer multiple of 2^-149; features are below 1e18, which is below 2^60. A sum is stored as digits of
 * 32 bits in planes: plane p counts units of 2^(32 p - 160), p in [0, 8). Planes are int64, so carrying is needed only
 * after 2^29 additions. Unused planes are not allocated (usual features need two or three). Squared distances are added
 * in the same way, in units of 2^-192. (The idea: Kulisch's long accumulator.)
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
    int lo, hi;                      /* planes in use: [lo, hi), the last one for carries only */
    int64_t *count;                  /* [k] points */
    int64_t inertia[MERT_INERTIA_DIGITS];
    int64_t pending;                 /* additions since the last carry */
} mert_kmeans_sums;

int mert_kmeans_sums_new(mert_kmeans_sums *s, int64_t k, int64_t d, mert_error *e) MERT_MUST_USE;
void mert_kmeans_sums_free(mert_kmeans_sums *s);
void mert_kmeans_sums_clear(mert_kmeans_sums *s);
/* Allocates planes [lo, hi). -1: out of memory. */
int mert_kmeans_sums_reach(mert_kmeans_sums *s, int lo, int hi, mert_error *e) MERT_MUST_USE;
/* Adds points x [n, d], all below 1e18, with their labels and squared distances (NULL: not counted). Runs on the
 * pool. */
int mert_kmeans_sums_add(mert_kmeans_sums *s, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e) MERT_MUST_USE;
/* s += t of the same k and d. */
int mert_kmeans_sums_merge(mert_kmeans_sums *s, const mert_kmeans_sums *t, mert_error *e) MERT_MUST_USE;
/* Carries: afterwards equal sums in equal planes have equal digits, which are in [0, 2^32), except in the last
 * plane. */
void mert_kmeans_sums_carry(mert_kmeans_sums *s);

double mert_kmeans_sums_value(const mert_kmeans_sums *s, int64_t cluster, int64_t i);
double mert_kmeans_sums_inertia(const mert_kmeans_sums *s);
int64_t mert_kmeans_sums_points(const mert_kmeans_sums *s);

#endif
