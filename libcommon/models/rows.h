/* Products whose rows do not know of each other: y[r] = W x[r] + b, where every output is one accumulation over k = 0,
 * 1, 2 ... of its own row. However rows are gathered into calls, tiles, threads or batches of several items, the bits
 * are the same (contract A1), which no general matrix product promises. What stands between pcm or features and codes
 * is computed with these.
 *
 * Rows may overlap (ldx < k), so a convolution over time is a product without a copy: with x[T, C] in time order,
 * kernel k and stride s, row t is the k * C numbers from x + t * s * C, ldx = s * C. A dilated kernel is `taps` pieces
 * of C numbers each, `tap_stride` apart.
 *
 * Speed: weights are packed once into panels of 32 outputs; a register tile (AVX-512: 12 rows by 32 outputs) walks
 * down k reading the panel once. No packing of x, so short k and few rows cost little more than their arithmetic. */
#ifndef MERT_ROWS_H
#define MERT_ROWS_H

#include "../base/cpu.h"

#include <stdint.h>

enum { MERT_ROWS_PANEL = 32 };

typedef struct mert_rows {
    int64_t n, k;          /* outputs; inputs of all taps together */
    int64_t taps;          /* pieces of a row: k = taps * (k / taps) */
    int64_t tap_stride;    /* floats from piece to piece */
    float *panels;         /* [ceil(n / 32)][k][32], zeros beyond n */
    float *bias;           /* [n], or NULL */
} mert_rows;

typedef enum mert_rows_flags {
    MERT_ROWS_ADD = 1,     /* y += instead of y = */
    MERT_ROWS_ELU = 2      /* y = elu of it, as the last thing */
} mert_rows_flags;

/* weights [n, k] row major with row stride ldw, bias [n] or NULL: copied. NULL: out of memory. */
mert_rows *mert_rows_new(const float *weights, int64_t ldw, int64_t n, int64_t k, const float *bias);
void mert_rows_free(mert_rows *w); /* NULL is fine */
/* Other weights of the same size. */
void mert_rows_set(mert_rows *w, const float *weights, int64_t ldw);

/* y[m, n] (row stride ldy) from x (row stride ldx), in the calling thread. */
void mert_rows_apply(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);
/* The same by the pool. */
void mert_rows_pool(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The readable version: one sum in double per output. */
void mert_rows_plain(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags);

/* The inner loops, one table per instruction set. */
typedef struct mert_rows_kernels {
    /* panels [first, end) of w */
    void (*apply)(const mert_rows *w, int64_t first, int64_t end, const float *x, int64_t ldx, int64_t m, float *y,
                  int64_t ldy, int flags);
    void (*elu)(float *y, const float *x, int64_t n);              /* x > 0 ? x : exp(x) - 1 */
    /* One step of an LSTM for one item: gates [4][h] (input, forget, cell, output, before their nonlinearity); c and
     * out [h]: c = sigmoid(f) c + sigmoid(i) tanh(g); out = sigmoid(o) tanh(c). */
    void (*lstm_gates)(const float *gates, float *c, float *out, int64_t h);
    /* z[n] = x - centre; returns the sum of squares */
    float (*centred)(float *z, const float *x, const float *centre, int64_t n);
    /* score[j] = c2[j] - 2 score[j]; returns the least */
    float (*distances)(float *score, const float *c2, int64_t n);
    /* how many scores are at most `limit`; the indices of the first `max` of them */
    int64_t (*within)(const float *score, int64_t n, float limit, int32_t *index, int64_t max);
    /* sum over i of (x[i] - y[i])^2, in double */
    double (*distance2)(const float *x, const float *y, int64_t n);
    /* pot[i] += min(closest[i], the squared distance x2 + c2[i] - 2 dot[i]) */
    void (*add_nearer)(float *pot, const float *dot, float x2, const float *c2, const float *closest, int64_t n);
    /* plane[p][at + i] += the digit of x[i] that counts units of 2^(unit + 32 p), for p in [lo, top): digits have the
     * sign of x and are below 2^32; x must have no bits outside these planes. */
    void (*add_digits)(int64_t *const plane[], int lo, int top, int unit, int64_t at, const float *x, int64_t n);
} mert_rows_kernels;

MERT_KERNEL_DECLARE(mert_rows_kernels, mert_rows_kernels)
#define MERT_ROWS_KERNELS MERT_KERNEL_TABLE(mert_rows_kernels)

#endif
