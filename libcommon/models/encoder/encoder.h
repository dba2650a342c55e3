/* The encoder, forward and backward, as operations of nn/ops.h: man/model.md 2 and 16, step by step. One object runs
 * batches of clips of equal length. Weights and gradients are flat device arrays in the layout of weights.h.
 * Activations are elements (nn/ops.h); each pass converts the weights of products from the flat array. */
#ifndef MERT_ENCODER_H
#define MERT_ENCODER_H

#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_encoder mert_encoder;

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

/* weights, gradients: device arrays [layout->size]; gradients NULL for inference. The layout must outlive the
 * encoder. */
mert_encoder *mert_encoder_new(const mert_layout *layout, mert_ops *ops, const float *weights, float *gradients,
                               mert_error *e);
void mert_encoder_free(mert_encoder *m);
/* From now on the addresses of weights and gradients come from `parts`, and mert_parts_need and mert_parts_done are
 * called on it. It must outlive the encoder. */
void mert_encoder_use_parts(mert_encoder *m, const mert_parts *parts);

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

/* x: device [B, L] pcm; for a Conformer whose input is the mel spectrum, the spectrum [B, L, mels]. T: number of frames
 * that are used, at most mert_config_frames of the samples; 0: all. corruption: NULL for none; its arrays must stay
 * valid until the backward pass. cqt: device [B, T, cqt_input_bins] for models with cqt_input, otherwise NULL. tap:
 * receives hidden states; may be NULL. Returns the last hidden state, device [B, T, D] (owned by the encoder, valid
 * until the next call); if tap ended the pass, the hidden state at that point; NULL on error. */
const mert_element *mert_encoder_forward(mert_encoder *m, const mert_forward_options *r, int64_t B, int64_t L,
                                         int64_t T, const mert_element *x, const mert_corruption *corruption,
                                         const mert_element *cqt, const mert_layer_tap *tap, mert_error *e);
/* squares: device [1], the sum of squares of the extractor's output in the last forward pass. count: the number of
 * values. features_pen is the mean, squares / count. Without an extractor both are 0. */
const double *mert_encoder_features_squares(const mert_encoder *m);
int64_t mert_encoder_features_count(const mert_encoder *m);
/* device [1]: the largest attention logit, scale * q k, of all layers in the last forward pass (training; minus
 * infinity if LayerDrop skipped all layers). */
const float *mert_encoder_largest_logit(const mert_encoder *m);
/* The backward pass of the last forward pass (training). dy: device [B, T, D], the gradient of the loss by the last
 * hidden state; it is overwritten. pen: the gradient of the loss by features_pen. Adds to the gradients. After
 * mert_encoder_use_parts, the caller must have called mert_parts_need for the last part. */
int mert_encoder_backward(mert_encoder *m, mert_element *dy, double pen, mert_error *e) MERT_MUST_USE;

/* The largest number of bytes of device memory that passes have used. */
size_t mert_encoder_memory(const mert_encoder *m);

/* Must be called when the weights were changed outside of training. (Forward passes for training always read the
 * weights again.) */
void mert_encoder_refresh(mert_encoder *m);

#endif
