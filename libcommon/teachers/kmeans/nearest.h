/* The nearest codeword by Euclidean distance, exactly: argmin over j of |x - c_j|^2 = |c_j|^2 - 2 x.c_j + |x|^2.
 *
 * Products give all distances of a row to within a bound that is known (below); every codeword within the bound of the
 * least one is then measured again in double precision, |x - c|^2 by its definition. So the answer is that of exact
 * arithmetic down to 1e-12 of the distance, whatever the instruction set, and equal distances go to the lowest index. x
 * and c are taken relative to the mean m of the codewords, which keeps the bound small where features lie far from
 * zero.
 *
 * The bound: with u = 2^-24, z = x - m, C = max |c - m|, one accumulation over D products is off by at most D u |z|
 * C, rounding z and c by 2 u |z| C, |c|^2 and the last subtraction by 2 u C^2 + 2 u |z| C: two scores compare
 * rightly unless they differ by less than 2 ((2 D + 8) u |z| C + 2 u C^2). (Higham, Accuracy and Stability of
 * Numerical Algorithms, section 3.1.) */
#ifndef MERT_NEAREST_H
#define MERT_NEAREST_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_nearest mert_nearest;

enum { MERT_NEAREST_TILE_MAX = 96 };

/* codewords [k, d], copied. NULL: out of memory. */
mert_nearest *mert_nearest_new(const float *codewords, int64_t k, int64_t d);
void mert_nearest_free(mert_nearest *n); /* NULL is fine */
/* Other codewords of the same size. */
void mert_nearest_set(mert_nearest *n, const float *codewords);

/* For x [rows, d] (row stride ldx): label[rows], and where distance2 is not NULL the squared distances. By the pool:
 * not to be called twice at a time for the same object. Returns -1, or the first row that holds a NaN, an infinity or a
 * value beyond MERT_FEATURE_MOST (features.h; its label and those of other such rows are 0), or -2 when out of memory.
 */
int64_t mert_nearest_find(mert_nearest *n, const float *x, int64_t ldx, int64_t rows, int32_t *label,
                          double *distance2);

/* The same for at most mert_nearest_tile rows, in the calling thread, with room of its own for mert_nearest_scratch
 * floats: what tasks of the pool call. Returns -1, or the first row as above. */
int64_t mert_nearest_tile(const mert_nearest *n);
int64_t mert_nearest_scratch(const mert_nearest *n);
int64_t mert_nearest_rows(const mert_nearest *n, float *scratch, const float *x, int64_t ldx, int64_t rows,
                          int32_t *label, double *distance2);

/* The readable version, in double. */
void mert_nearest_plain(const float *codewords, int64_t k, int64_t d, const float *x, int64_t rows, int32_t *label,
                        double *distance2);

#endif
