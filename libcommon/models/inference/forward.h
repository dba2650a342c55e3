/* The encoder as published models are used: one clip, forward only, over the operations of nn/ops.h
 * (man/model.md 2). The same mathematics as encoder.h, which keeps what training needs and is the readable version that
 * the tests hold this one against.
 *
 * - Weights are packed once for products; the host's copy is not needed afterwards.
 * - The waveform goes through the extractor and the projection in blocks of time, so that its large layers never exist
 * as a whole. GroupNorm over the whole clip is exact all the same: mean and variance of the first convolution's outputs
 * follow from the second moments of the waveform's windows, and the norm becomes part of the weights (nn/ops.h:
 * mert_fold_norm).
 * - A layer's feed-forward part runs in blocks of rows. Memory: about 5 T D floats beside the weights, and the hidden
 * states are handed out one after the other.
 * - Every output element depends on the clip alone (contract A1): products with packed weights are independent of the
 *   rows around. */
#ifndef MERT_FORWARD_H
#define MERT_FORWARD_H

#include "libcommon/models/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_forward mert_forward;

/* The weights are taken one after the other and forgotten (mert_weights_forget). Of a packed model they stay where they
 * are: then w must not be dropped before the object is freed. MERT_PACKED_BF16: the products of linears and
 * convolutions, but for the first, take weights and activations rounded to bfloat16; all else is float32. */
mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_packing packing, mert_error *e);
void mert_forward_free(mert_forward *f); /* NULL is fine */
/* The packed weights, device [returned]: what a packed model holds. */
int64_t mert_forward_weights(const mert_forward *f, const float **block);

/* One of the hidden states as HF numbers them: 0 the input of the first layer, N the last, for pre-LN after the final
 * norm; N + 1, of a pre-LN model, is the output of layer N before that norm, and comes before N. hidden: device [T, D];
 * operations on it may be queued, and it stays as it is until they have run. */
typedef void (*mert_hidden_fn)(void *self, int index, const mert_element *hidden);

/* x: device [L] pcm, at least the receptive field long. cqt: device [T, cqt_input_bins] for models with cqt_input, else
 * NULL. Hands out hidden states 0 to `last` in order, and computes nothing behind it; with N that before the
 * final norm, too. */
int mert_forward_run(mert_forward *f, const mert_element *x, int64_t L, const mert_element *cqt, int last,
                     mert_hidden_fn each, void *self, mert_error *e) MERT_MUST_USE;

#endif
