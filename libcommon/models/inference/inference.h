/* Hidden states of clips: what stands around the encoder when a published model is used. Per clip: mean and variance
 * normalisation where the model asks for it, the CQT input of the models that have one, the encoder, and of its hidden
 * states what is wanted:
 *
 *     chosen layers            [T, layers, D]
 *     their weighted sum       [T, 1, D]
 *     either, pooled in time   [spans, layers or 1, D]
 *
 * A clip that stays around a level is heard without it where GroupNorm follows, which takes it away in any case.
 * Each layer is taken as it is finished, and the encoder stops behind the last one that is wanted. What memory holds
 * beside the encoder's own is the answer, and of a pooled weighted sum all its frames. A clip is queued and waited for
 * once, when its answer is asked for. */
#ifndef MERT_INFERENCE_H
#define MERT_INFERENCE_H

#include "libcommon/models/inference/forward.h"
#include "libcommon/models/inference/pooling.h"

typedef struct mert_inference mert_inference;

/* Takes the weights to the device: w's numbers are not needed afterwards (mert_weights_drop), its layout is. layers:
 * indices 0..N (pre-LN: N + 1, forward.h) in the order in which they come out. packing: precision of products, as
 * forward.h has it. */
mert_inference *mert_inference_new(const mert_weights *w, mert_ops *ops, mert_packing packing, const int *layers,
                                   int n_layers, mert_error *e);
void mert_inference_free(mert_inference *m); /* NULL is fine */

/* Before the first clip: instead of the layers their sum, each times its factor. factors [n_layers], taken as they are
 * (no softmax). */
void mert_inference_weigh(mert_inference *m, const float *factors);
/* Before the first clip: pooled over time, per layer. */
void mert_inference_pool(mert_inference *m, const mert_pooling_plan *plan);
/* Floats of a row of the answer: D times the layers that come out. */
int64_t mert_inference_width(const mert_inference *m);

/* One clip of n samples at the model's rate. *rows: the answer's length in time. Memory grows linearly with n. The
 * answer is a function of the clip alone (contract A1). Fewer samples than the receptive field are an error.
 * The clip may not have been computed yet: pcm stays as it is until the answer is there, or this is called again. */
int mert_inference_forward(mert_inference *m, const float *pcm, int64_t n, int64_t *rows, mert_error *e) MERT_MUST_USE;
/* The last clip's answer [rows, width], once. It is the object's, and stays as it is until the next call of this
 * function: while the next clip is computed, this one can be read. -1: out of memory, or what an operation failed
 * of. */
int mert_inference_answer(mert_inference *m, const float **rows, mert_error *e) MERT_MUST_USE;
/* Both. */
int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **answer, int64_t *rows,
                       mert_error *e) MERT_MUST_USE;

#endif
