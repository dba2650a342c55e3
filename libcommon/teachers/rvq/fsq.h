/* Finite scalar quantisation (FSQ: Mentzer et al., arXiv 2309.15505): each of a few values is
 * bounded and rounded to one of L levels, and the code is the number of the combination. There is no codebook to learn.
 * Letters: x [S] the input, `stack` frames of features side by side, normalised; D values with L_0 .. L_{D-1} levels,
 * V = L_0 L_1 ... classes; H the hidden width; K codebooks. All but the first and last line is in double precision.
 *
 *     z = encoder_k(r_k)                                        D values;  r_0 = x
 *     y_i = tanh(z_i + shift_i) half_i - offset_i               half = (L - 1) (1 - 0.001) / 2
 *     l_i = round(y_i) + floor(L_i / 2)                         offset 0.5 if L is even, else 0; shift = tan(offset / half)
 *     code = sum over i of l_i L_0 ... L_{i-1}                  round: to nearest, ties to even
 *     c_i = (l_i - floor(L_i / 2)) / floor(L_i / 2)
 *     r_{k+1} = r_k - decoder_k(c)                              if the model has decoders; otherwise r_{k+1} = x
 *
 * "fsq": encoder(r) = project gelu(hidden r + hidden_bias) + project_bias, decoder(c) = out gelu(expand c + expand_bias)
 * + out_bias. Both are trained to reconstruct r (fsq_train.c), one codebook after the other.
 *
 * "random-fsq": as OMAR-RQ (Alonso-Jiménez et al., arXiv 2507.03482) has it: encoder(x) = project x + project_bias is
 * random (weights normal with Xavier's deviation, bias uniform in +-1/sqrt(S)) and not trained, there are no decoders,
 * and the levels are symmetric (Parker et al., arXiv 2411.19842):
 *
 *     l_i = floor((L_i - 1) (tanh(z_i) + 1) / 2 + 1/2)
 *
 * All products use rows.h: the codes of a row depend only on the row (contract A1). */
#ifndef MERT_FSQ_H
#define MERT_FSQ_H

#include "libcommon/teachers/codebook_file.h"
#include "libcommon/teachers/rvq/rvq.h"

/* The rule for one value: y, dy/dz, and the level 0 .. L - 1. */
double mert_fsq_bound(double z, int levels);
double mert_fsq_slope(double z, int levels);
int mert_fsq_level(double z, int levels, int symmetric);
/* c of a level: what a decoder gets. */
double mert_fsq_value(int level, int levels);

typedef struct mert_fsq mert_fsq;

/* b: a codebook with levels; must outlive the result. */
mert_fsq *mert_fsq_new(const mert_codebook *b, mert_error *e);
void mert_fsq_free(mert_fsq *q); /* NULL is fine */

/* x [n, S] -> codes [n, use]; *bad: the first row that gives no finite z. */
int mert_fsq_encode(mert_fsq *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad, mert_error *e)
    MERT_MUST_USE;
/* codes [n, use] -> x [n, S]. Only if the model has decoders. */
int mert_fsq_decode(mert_fsq *q, const int32_t *codes, int64_t n, int64_t use, float *x, mert_error *e) MERT_MUST_USE;

/* ---- training (fsq_train.c) ---- */

/* Both allocate and fill the arrays of b; the sizes are count, width, levels, stack, features.width and, for _train,
 * hidden. _train: x [n, S], normalised, is overwritten with the residuals. Of the options, seed, batch, updates and
 * progress are used. */
int mert_fsq_train(mert_codebook *b, const mert_rvq_options *o, float *x, int64_t n, mert_rvq_result *result,
                   mert_error *e) MERT_MUST_USE;
int mert_fsq_random(mert_codebook *b, uint64_t seed, mert_error *e) MERT_MUST_USE;

/* Encoder and decoder of one codebook as four linear layers. */
enum { MERT_FSQ_HIDDEN, MERT_FSQ_PROJECT, MERT_FSQ_EXPAND, MERT_FSQ_OUT, MERT_FSQ_LAYERS };
typedef struct mert_fsq_layers {
    struct {
        int64_t out, in;
        float *weight, *bias; /* [out, in], [out] */
    } layer[MERT_FSQ_LAYERS];
} mert_fsq_layers;
/* Those of codebook k, in the arrays of b. */
mert_fsq_layers mert_fsq_layers_of(const mert_codebook *b, int64_t k);

/* *loss: the mean over all values of x [n, S] of (x - decoder(c))^2. gradient: layers of the same sizes, which receive
 * its straight-through gradient: that of the loss with round(y) replaced by y + constant. */
typedef struct mert_fsq_pass mert_fsq_pass;
mert_fsq_pass *mert_fsq_pass_new(const mert_codebook *b, int64_t most_rows); /* NULL: out of memory */
void mert_fsq_pass_free(mert_fsq_pass *p);                                   /* NULL is fine */
void mert_fsq_pass_run(mert_fsq_pass *p, const mert_fsq_layers *w, const float *x, int64_t n,
                       const mert_fsq_layers *gradient, double *loss);

#endif
