/* The encoder, forward and backward, over the tensor operations of nn/ops.h: man/model.md 2 and 16, step by step.
 * One object runs batches of clips of one length; weights and gradients are flat device arrays in the layout of
 * weights.h. What passes through is elements (nn/ops.h); the weights that products read are made of the flat array by
 * each pass. */
#ifndef MERT_ENCODER_H
#define MERT_ENCODER_H

#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_encoder mert_encoder;

/* How a batch is run when training; all zero for inference. */
typedef struct mert_forward_options {
    int training;                 /* keep what the backward pass needs */
    double dropout, attention_dropout, activation_dropout, input_dropout, feature_dropout, layerdrop;
    double feature_grad_mult;     /* the extractor's gradient is multiplied by this */
    int recompute;                /* keep less: layers and extractor run again before their backward passes */
    int narrow;                   /* what is kept is rounded to bfloat16 until it is used; float32 elements only */
    uint64_t seed, update, micro_batch; /* keys of random numbers (contract A4), with row, layer and place in it */
} mert_forward_options;

/* weights, gradients: device arrays [layout->size]; gradients NULL for inference. The layout must
 * outlive the encoder. */
mert_encoder *mert_encoder_new(const mert_layout *layout, mert_ops *ops, const float *weights, float *gradients,
                               mert_error *e);
void mert_encoder_free(mert_encoder *m);
/* Weights and gradients are from now on where `parts` says, and it is asked for them; it must outlive the encoder. */
void mert_encoder_use_parts(mert_encoder *m, const mert_parts *parts);

/* What is done to the projected frames before the transformer sees them, in this order; all of it on the device
 * (man/model.md 3). Zero: nothing. */
typedef struct mert_corruption {
    const float *mask;            /* [B, T] of 0/1: frames that become mask_emb; NULL: none. A Conformer's are those
                                     before the subsampler, [B, mert_config_front_frames], and there is nothing else */
    int64_t replaced;             /* so many frames, to[i], then become what from[i] was until now ... */
    const int32_t *to, *from;     /* ... rows of [B * T], each at most once in its list */
    const float *replaced_rows;   /* [B, T] of 0/1: those in `to` */
    const float *channels;        /* [B, D] of 0/1: channels that are 0 in all frames of their clip; NULL: none */
} mert_corruption;

/* Who wants hidden states as they come. give: hidden state `layer`, 0..N as HF numbers them, is y, device [B, T, D],
 * for operations that give itself queues. Not 0: no later one is wanted, and the forward pass ends. */
typedef struct mert_layer_tap {
    int (*give)(void *self, int layer, const mert_element *y);
    void *self;
} mert_layer_tap;

/* x: device [B, L] pcm; of a Conformer that hears mel spectra, these, [B, L, mels]. T: frames that take part, at most
 * all there are (mert_config_frames of the samples); 0: all. corruption: NULL for
 * none; what it points to must stay until the backward pass. cqt: device [B, T, cqt_input_bins] for models with
 * cqt_input, else NULL. Returns the last hidden state, device [B, T, D] (owned by the encoder, valid until the next
 * call), NULL on error. tap: NULL, or who wants the hidden states. */
const mert_element *mert_encoder_forward(mert_encoder *m, const mert_forward_options *r, int64_t B, int64_t L,
                                         int64_t T, const mert_element *x, const mert_corruption *corruption,
                                         const mert_element *cqt, const mert_layer_tap *tap, mert_error *e);
/* device [1]: sum of squares of the extractor's output of the last forward, and of how many numbers; features_pen is
 * their mean. (Without an extractor: 0 and 0.) */
const double *mert_encoder_features_squares(const mert_encoder *m);
int64_t mert_encoder_features_count(const mert_encoder *m);
/* device [1]: the largest attention logit, scale * q k, of any layer of the last forward (training; minus infinity
 * where LayerDrop left no layer). */
const float *mert_encoder_largest_logit(const mert_encoder *m);
/* The backward pass of the last forward (training). dy: device [B, T, D], gradient of the loss by the last hidden state
 * (overwritten); pen: gradient of the loss by features_pen. Adds to the gradients. With parts of one's own, the last
 * one has been needed already. */
int mert_encoder_backward(mert_encoder *m, mert_element *dy, double pen, mert_error *e) MERT_MUST_USE;

/* Bytes of device memory that passes have used at most. */
size_t mert_encoder_memory(const mert_encoder *m);

/* Must be called when the weights have changed outside of training (forward passes for training always take them
 * afresh). */
void mert_encoder_refresh(mert_encoder *m);

#endif
