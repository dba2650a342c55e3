/* The encoder for inference: one clip, forward only, as operations of nn/ops.h (man/model.md 2, 16). It computes the
 * same as encoder.h, which keeps what training needs and is the readable version that tests compare this one with. Each
 * kind of model has its own file: forward_hubert.c, forward_conformer.c.
 *
 * - Weights are packed once for products. The copy in host memory is not needed afterwards.
 * - Large layers are computed in blocks of time or rows, so that they are never in memory as a whole. Hidden states are
 *   passed to the caller one by one.
 * - Every output element depends on the clip alone (contract A1): in products with packed weights a row's result does
 *   not depend on the other rows. */
#ifndef MERT_FORWARD_H
#define MERT_FORWARD_H

#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_forward mert_forward;

/* The input of a clip, depending on the kind of model. All pointers are device memory. */
typedef struct mert_forward_input {
    int64_t samples;         /* L, of the clip */
    const mert_element *pcm; /* hubert, and a conformer with an extractor (which has no mel): [L] */
    const mert_element *cqt; /* hubert with cqt_input: [T, cqt_input_bins] */
    const mert_element *mel; /* conformer: [mert_config_mel_frames, mels], normalised (dsp/log_mel.h) */
} mert_forward_input;

/* Reads the weights one by one, and calls mert_weights_forget for each. A packed model is used in place: then w must
 * not be dropped before the object is freed. MERT_PACKED_BF16: products of linear layers and convolutions, except the
 * first convolution, round weights and activations to bfloat16; everything else is float32. MERT_PACKED_INT8: the same
 * products, except the positional convolution, in 8-bit integers (nn/cpu/rows_int8.h). */
mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_packing packing, mert_error *e);
void mert_forward_free(mert_forward *f); /* NULL is fine */
/* The packed weights: *block becomes a device array; returns its size in floats. These are the contents of a packed
 * model. */
int64_t mert_forward_weights(const mert_forward *f, const float **block);

/* Receives a hidden state: 0 is the input of the first layer, N the output of the last layer, for pre-LN after the
 * final norm. (This is HF's numbering for HuBERT. The published class of MERT-v2 has index 0 for the output of layer
 * 1.) For pre-LN models, N + 1 is the output of layer N before the final norm; it comes before N. hidden: device [T,
 * D]. The function may queue operations on it; it does not change until they have run. */
typedef void (*mert_hidden_fn)(void *self, int index, const mert_element *hidden);

/* Queues the computation of hidden states 0 to `last` and passes each to `each`, in order; with N also N + 1. Later
 * layers are not computed. The caller waits. A clip that is too short for one frame is an error. */
int mert_forward_run(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self,
                     mert_error *e) MERT_MUST_USE;

#endif
