/* Hidden states of clips: everything that is needed to apply a model. For each clip these are normalisation of mean and
 * variance (if the model has it), the CQT input (if the model has one), the encoder, and a choice of its hidden states:
 *
 *     chosen layers                  [T, layers, D]
 *     their weighted sum             [T, 1, D]
 *     either of them, pooled in time [spans, layers or 1, D]
 *
 * A constant offset of a clip is subtracted if a GroupNorm follows, which removes it in any case. Each layer is stored
 * or summed as soon as it is computed, and the encoder stops after the last layer that is needed. Besides the encoder's
 * memory, there is memory for the result, and for a pooled weighted sum all its frames. A clip's operations are queued;
 * there is one wait, in mert_inference_answer. */
#ifndef MERT_INFERENCE_H
#define MERT_INFERENCE_H

#include "libcommon/models/inference/forward.h"
#include "libcommon/models/inference/pooling.h"

typedef struct mert_inference mert_inference;

/* Uploads the weights: the numbers of w are not needed afterwards (mert_weights_drop), its layout is. layers: indices
 * 0..N (pre-LN: N + 1, forward.h) in the order of the result. packing: precision of products, as in forward.h. */
mert_inference *mert_inference_new(const mert_weights *w, mert_ops *ops, mert_packing packing, const int *layers,
                                   int n_layers, mert_error *e);
void mert_inference_free(mert_inference *m); /* NULL is fine */

/* To be called before the first clip: the result is the weighted sum of the layers. factors [n_layers] are used as they
 * are, without a softmax. */
void mert_inference_weigh(mert_inference *m, const float *factors);
/* To be called before the first clip: the result is pooled over time, for each layer. */
void mert_inference_pool(mert_inference *m, const mert_pooling_plan *plan);
/* Number of floats in a row of the result: D times the number of layers in it. */
int64_t mert_inference_width(const mert_inference *m);

/* Queues the computation of one clip of n samples at the model's rate. *rows: number of rows of the result. Memory
 * grows linearly with n. The result depends on the clip alone (contract A1). Fewer samples than the receptive field are
 * an error. pcm must not change until the result is there or this function is called again. */
int mert_inference_forward(mert_inference *m, const float *pcm, int64_t n, int64_t *rows, mert_error *e) MERT_MUST_USE;
/* Waits for the result of the last clip, [rows, width]; to be called once for each clip. The object owns the result. It
 * is valid until the next call of this function, so it can be read while the next clip is computed. -1: out of memory,
 * or an operation failed. */
int mert_inference_answer(mert_inference *m, const float **rows, mert_error *e) MERT_MUST_USE;
/* Both of these. */
int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **answer, int64_t *rows,
                       mert_error *e) MERT_MUST_USE;

#endif
