/* The nearest codeword by Euclidean distance, exactly: argmin over j of |x - c_j|^2 = |c_j|^2 - 2 x.c_j + |x|^2.
 *
 * A matrix product gives all distances of a row, with a known error bound (below). For every codeword within the bound
 * of the smallest one, |x - c|^2 is then computed by its definition in double precision. So the result is that of exact
 * arithmetic down to 1e-12 of the distance, with every instruction set; of equal distances the lowest index wins. x and
 * c are taken relative to the mean m of the codewords, which keeps the bound small if features are far from zero.
 *
 * The bound: with u = 2^-24, z = x - m, C = max |c - m|, the error of a sum of D products is at most D u |z| C, that of
 * rounding z and c 2 u |z| C, that of |c|^2 and the last subtraction 2 u C^2 + 2 u |z| C. So the order of two scores is
 * correct unless they differ by less than 2 ((2 D + 8) u |z| C + 2 u C^2). (Higham, Accuracy and Stability of Numerical
 * Algorithms, section 3.1.) */
#ifndef MERT_NEAREST_H
#define MERT_NEAREST_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_nearest mert_nearest;

enum { MERT_NEAREST_TILE_MAX = 96 };

/* codewords [k, d], copied. NULL: out of memory. */
mert_nearest *mert_nearest_new(const float *codewords, int64_t k, int64_t d);
void mert_nearest_free(mert_nearest *n); /* NULL is fine */
/* Replaces the codewords by others of the same size. */
void mert_nearest_set(mert_nearest *n, const float *codewords);

/* For x [rows, d] (row stride ldx): label[rows] and, if distance2 is not NULL, the squared distances. Runs on the pool;
 * one call at a time per object. Returns -1, or the first row with a NaN, an infinity or a value beyond
 * MERT_FEATURE_MOST (features.h; labels of such rows are 0), or -2: out of memory.
 */
int64_t mert_nearest_find(mert_nearest *n, const float *x, int64_t ldx, int64_t rows, int32_t *label,
                          double *distance2);

/* The same for at most mert_nearest_tile rows, in the calling thread, with scratch memory of mert_nearest_scratch
 * floats; for use inside tasks of the pool. Returns -1, or the first bad row as above. */
int64_t mert_nearest_tile(const mert_nearest *n);
int64_t mert_nearest_scratch(const mert_nearest *n);
int64_t mert_nearest_rows(const mert_nearest *n, float *scratch, const float *x, int64_t ldx, int64_t rows,
                          int32_t *label, double *distance2);

/* The readable version, in double. */
void mert_nearest_plain(const float *codewords, int64_t k, int64_t d, const float *x, int64_t rows, int32_t *label,
                        double *distance2);

#endif
