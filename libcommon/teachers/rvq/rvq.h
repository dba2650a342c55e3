/* Residual vector quantisation: codebook k encodes the residual of codebooks 0..k-1 by its nearest codeword (Euclidean,
 * exact: nearest.h). Letters: T vectors, D their width, K codebooks, V classes. */
#ifndef MERT_RVQ_H
#define MERT_RVQ_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_rvq {
    int64_t count, classes, width;
    float *codewords;      /* [K, V, D] */
    struct mert_nearest **nearest; /* [K]; NULL: not created yet */
    float *scratch;        /* [workers] */
    int workers;
} mert_rvq;

/* codewords [count, classes, width], or an array for each codebook; copied. NULL: out of memory. */
mert_rvq *mert_rvq_new(const float *codewords, int64_t count, int64_t classes, int64_t width);
mert_rvq *mert_rvq_of(const float *const *codebooks, int64_t count, int64_t classes, int64_t width);
void mert_rvq_free(mert_rvq *q); /* NULL is fine */

/* Why a vector has no codes. */
#define MERT_RVQ_BAD "a NaN, an infinity or a value too large to square"
/* x [n, D] -> codes [n, use] of the first `use` codebooks. Runs on the pool. *bad: index of the first vector that is
 * not finite. */
int mert_rvq_encode(mert_rvq *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad, mert_error *e)
    MERT_MUST_USE;
/* codes [n, use], each in [0, V) -> x [n, D]: the sum of the codewords, codebook after codebook. */
void mert_rvq_decode(const mert_rvq *q, const int32_t *codes, int64_t n, int64_t use, float *x);

/* ---- training (train.c) ----
 *
 * One codebook after the other is trained on the residuals of the previous ones. k-means++ and mini-batches give the
 * first codewords; then each codeword is a running mean, with decay 0.99, of the vectors that are nearest to it. A
 * codeword with few vectors (a running count per batch below 2, and below a fifth of the mean count) is replaced by a
 * random vector of the batch (man/model.md 11.2). The last pass of each codebook sets every codeword to the mean of all
 * its vectors, which cannot increase the error. */
typedef struct mert_rvq_options {
    int64_t count, classes;
    uint64_t seed;
    int64_t batch;   /* vectors per update */
    int64_t passes;  /* over the sample, for each codebook */
    int64_t updates; /* finite scalar quantisers, instead of passes */
    double decay;
    void (*progress)(void *self, int64_t codebook, const char *what, int64_t step, int64_t steps, double error);
    void *progress_self;
} mert_rvq_options;

extern const mert_rvq_options mert_rvq_defaults; /* count, classes 0 */

typedef struct mert_rvq_result {
    double power;        /* mean of |x|^2 */
    double error;        /* mean of |x - decoded|^2 */
    int64_t replaced;    /* number of replaced codewords */
    int64_t used;        /* finite scalar quantisers: number of codes of all codebooks that occur in x */
} mert_rvq_result;

/* x [n, d], finite, is overwritten with the final residuals. codewords [count, classes, d]. */
int mert_rvq_train(const mert_rvq_options *o, float *x, int64_t n, int64_t d, float *codewords,
                   mert_rvq_result *result, mert_error *e) MERT_MUST_USE;

#endif
