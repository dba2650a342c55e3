/* The file with one shard's part of a full k-means iteration, for `mert-kmeans accumulate` and `merge`.
 *
 * It is a .safetensors with the centroids at the start of the iteration, as in a codebook file (config's type:
 * "kmeans-sums"), and
 *     sums.count     [K] I64        points of each cluster
 *     sums.P         [K, D] I64     plane P of the exact sums (sums.h), carried; only planes that are in use
 *     sums.inertia   [12] I64       digits of the sum of squared distances
 *     far.distance2  [M] F64, far.points [M, D] F32   the points farthest from their centroids (pass.h)
 *     rows           [R, 4] I64     manifest (hash), its rows, and the rows [first, end) that the shard has seen, items
 *                                   that failed included; in order
 * Tensors without elements are left out. Equal shards are equal files. */
#ifndef MERT_KMEANS_SHARD_H
#define MERT_KMEANS_SHARD_H

#include "libcommon/teachers/codebook_file.h"
#include "libcommon/teachers/kmeans/pass.h"

typedef struct mert_kmeans_rows {
    int64_t manifest, total, first, end; /* total -1: not known */
} mert_kmeans_rows;

typedef struct mert_kmeans_shard {
    mert_codebook book;
    mert_kmeans_pass pass;
    mert_kmeans_rows *rows; /* [n_rows] */
    int64_t n_rows, room;
} mert_kmeans_shard;

/* Takes ownership of the book, even on error. */
int mert_kmeans_shard_new(mert_kmeans_shard *s, mert_codebook *book, mert_error *e) MERT_MUST_USE;
void mert_kmeans_shard_free(mert_kmeans_shard *s);

/* Notes a row of a manifest, also of a failed item. Items without a row are ignored. */
int mert_kmeans_shard_row(mert_kmeans_shard *s, const mts_begin *b, int64_t row, mert_error *e) MERT_MUST_USE;
/* s += t. Refuses different centroids or features, and rows that are in both. */
int mert_kmeans_shard_merge(mert_kmeans_shard *s, const mert_kmeans_shard *t, mert_error *e) MERT_MUST_USE;
/* Refuses a manifest with missing rows. */
int mert_kmeans_shard_complete(mert_kmeans_shard *s, mert_error *e) MERT_MUST_USE;

/* Refuses a row that came twice. */
int mert_kmeans_shard_write(mert_kmeans_shard *s, const char *path, mert_error *e) MERT_MUST_USE;
int mert_kmeans_shard_read(mert_kmeans_shard *s, const char *path, mert_error *e) MERT_MUST_USE;

#endif
