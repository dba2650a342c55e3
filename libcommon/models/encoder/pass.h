/* What a pass of the encoder is given: how it runs, changes to the frames, and who receives hidden states and adds to
 * gradients on the way. */
#ifndef MERT_PASS_H
#define MERT_PASS_H

#include "libcommon/nn/ops.h"

typedef struct mert_encoder mert_encoder; /* encoder.h */

/* How training runs a batch; all zero for inference. */
typedef struct mert_forward_options {
    int training;                 /* keep what the backward pass needs */
    double dropout, attention_dropout, activation_dropout, input_dropout, feature_dropout, layerdrop;
    double feature_grad_mult;     /* the extractor's gradient is multiplied by this */
    int recompute;                /* 1: keep fewer activations; layers and extractor run again before their backward
                                     passes */
    int narrow;                   /* 1: kept activations are stored as bfloat16; only with float32 elements */
    uint64_t seed, update, micro_batch; /* keys of the random numbers (contract A4), together with row, layer and
                                           position */
} mert_forward_options;

/* Changes to the projected frames before the transformer, in this order (man/model.md 3). All arrays are on the device.
 * Zero: no changes. */
typedef struct mert_corruption {
    const float *mask;            /* [B, T] of 0/1: frames that become mask_emb; NULL: none. For a Conformer these are
                                     the frames before the subsampler, [B, mert_config_front_frames], and the fields
                                     below are not used */
    int64_t replaced;             /* number of frames that are replaced: row to[i] becomes what row from[i] was ... */
    const int32_t *to, *from;     /* ... of the B * T rows; each row is at most once in either list */
    const float *replaced_rows;   /* [B, T] of 0/1: 1 for the rows in `to` */
    const float *channels;        /* [B, D] of 0/1: channels that become 0 in all frames of their clip; NULL: none */
} mert_corruption;

/* Receives hidden states as they are computed. give: y is hidden state `layer` (0..N, numbered as in HF), device [B, T,
 * D], for operations that give itself queues. If it returns non-zero, the forward pass ends here. */
typedef struct mert_layer_tap {
    int (*give)(void *self, int layer, const mert_element *y);
    void *self;
} mert_layer_tap;

/* Adds to the gradient as the pass comes to each hidden state. add: dy is the gradient by hidden state `layer` so far,
 * device [B, T, D]. */
typedef struct mert_gradient_tap {
    void (*add)(void *self, int layer, mert_element *dy);
    void *self;
} mert_gradient_tap;

#endif
