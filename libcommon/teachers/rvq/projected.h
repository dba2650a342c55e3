/* Quantisers that search codewords in a projected space of few dimensions: Mel-RVQ and random projections. Letters: x
 * [S] the input, `stack` frames of features side by side, normalised; D (16) the width of codewords; K codebooks of V
 * unit vectors c.
 *
 *     r_0 = x
 *     u_k = P_k r_k + p_k                             D values
 *     code_k = argmin_v | u_k / |u_k| - c_kv |        the smallest angle
 *     r_{k+1} = r_k - (O_k c_k,code + o_k)            if the model has O; otherwise r_{k+1} = x
 *
 * Mel-RVQ (MuQ, Zhu et al., arXiv 2501.01108; the factorised, normalised codes are those of DAC, Kumar et al., arXiv
 * 2306.06546, and Yu et al., arXiv 2110.04627): K = 8, V = 1024, D = 16 on stacked log-mel frames, with O. In MuQ, P, O
 * and c are learned by gradients. Here, for one codebook after the other, P_k is the D principal directions of r_k
 * about their mean, c_k the centroids of k-means on u / |u|, scaled to length 1, and O_k, o_k the least-squares
 * solution (projected_train.c).
 *
 * Random projections (BEST-RQ, Chiu et al., arXiv 2202.01855): P from Xavier's uniform distribution, c normal, scaled
 * to length 1; p = 0, no O; nothing is learned. Several codebooks are independent.
 *
 * All products use rows.h, all searches nearest.h: codes of a row depend only on the row (contract A1). */
#ifndef MERT_PROJECTED_H
#define MERT_PROJECTED_H

#include "libcommon/teachers/codebook_file.h"
#include "libcommon/teachers/rvq/rvq.h"

typedef struct mert_projected mert_projected;

/* b: a codebook with projections; must outlive the result. */
mert_projected *mert_projected_new(const mert_codebook *b, mert_error *e);
void mert_projected_free(mert_projected *q); /* NULL is fine */

/* x [n, S] -> codes [n, use]; *bad: the first row that is not finite. */
int mert_projected_encode(mert_projected *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad,
                          mert_error *e) MERT_MUST_USE;
/* codes [n, use] -> x [n, S]. Only if the model has O. */
void mert_projected_decode(const mert_projected *q, const int32_t *codes, int64_t n, int64_t use, float *x);

/* Both allocate and fill the codebook's codewords and projections; the sizes are count, classes, width, stack and
 * features.width. _train: x [n, S], normalised, is overwritten with the residuals. */
int mert_projected_train(mert_codebook *b, const mert_rvq_options *o, float *x, int64_t n, mert_rvq_result *result,
                         mert_error *e) MERT_MUST_USE;
int mert_projected_random(mert_codebook *b, uint64_t seed, mert_error *e) MERT_MUST_USE;

#endif
