/* The encoder as published models are used: one clip, forward only, over the operations of nn/ops.h (man/model.md 2,
 * 16). The same mathematics as encoder.h, which keeps what training needs and is the readable version that the tests
 * compare this one with. Each kind of model has a file of its own: forward_hubert.c, forward_conformer.c.
 *
 * - Weights are packed once for products; the host's copy is not needed afterwards.
 * - Large layers are computed in blocks of time or rows, so that they never exist as a whole. Hidden states are handed
 *   out one after the other.
 * - Every output element depends on the clip alone (contract A1): products with packed weights are independent of the
 *   rows around. */
#ifndef MERT_FORWARD_H
#define MERT_FORWARD_H

#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_forward mert_forward;

/* A clip, as its kind of model takes it; device. */
typedef struct mert_forward_input {
    int64_t samples;         /* L, of the clip */
    const mert_element *pcm; /* hubert, and a conformer with an extractor, which takes no mel: [L] */
    const mert_element *cqt; /* hubert with cqt_input: [T, cqt_input_bins] */
    const mert_element *mel; /* conformer: [mert_config_mel_frames, mels], normalised (dsp/log_mel.h) */
} mert_forward_input;

/* The weights are taken one after the other and forgotten (mert_weights_forget). Of a packed model they stay where they
 * are: then w must not be dropped before the object is freed. MERT_PACKED_BF16: the products of linears and
 * convolutions, but for the first, take weights and activations rounded to bfloat16; all else is float32. */
mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_packing packing, mert_error *e);
void mert_forward_free(mert_forward *f); /* NULL is fine */
/* The packed weights, device [returned]: what a packed model holds. */
int64_t mert_forward_weights(const mert_forward *f, const float **block);

/* One of the hidden states: 0 the input of the first layer, N the output of the last, for pre-LN after the final norm
 * (as HF numbers them for HuBERT; MERT-v2's published class counts from 0 at the output of layer 1); N + 1, of a pre-LN
 * model, is the output of layer N before that norm, and comes before N. hidden: device [T, D]; operations on it may be
 * queued, and it stays as it is until they have run. */
typedef void (*mert_hidden_fn)(void *self, int index, const mert_element *hidden);

/* A clip that is too short for one frame is an error. Hands out hidden states 0 to `last` in order, and computes
 * nothing behind it; with N that before the final norm, too. All of it is queued; the caller waits. */
int mert_forward_run(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self,
                     mert_error *e) MERT_MUST_USE;

#endif
