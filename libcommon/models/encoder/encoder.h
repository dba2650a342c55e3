/* The encoder, forward and backward, as operations of nn/ops.h: man/model.md 2 and 16, step by step. One object runs
 * batches of clips of equal length. Weights and gradients are flat device arrays in the layout of weights.h.
 * Activations are elements (nn/ops.h); each pass converts the weights of products from the flat array. */
#ifndef MERT_ENCODER_H
#define MERT_ENCODER_H

#include "libcommon/models/encoder/pass.h"
#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

/* weights, gradients: device arrays [layout->size]; gradients NULL for inference. The layout must outlive the
 * encoder. */
mert_encoder *mert_encoder_new(const mert_layout *layout, mert_ops *ops, const float *weights, float *gradients,
                               mert_error *e);
void mert_encoder_free(mert_encoder *m);
/* From now on the addresses of weights and gradients come from `groups`, and mert_groups_need and mert_groups_done are
 * called on it. It must outlive the encoder. */
void mert_encoder_use_groups(mert_encoder *m, const mert_groups *groups);

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
 * mert_encoder_use_groups, the caller must have called mert_groups_need for the last group. */
int mert_encoder_backward(mert_encoder *m, mert_element *dy, double pen, mert_error *e) MERT_MUST_USE;

/* The same for a loss of several hidden states, of which `top` is the last; a tap may have ended the forward pass
 * there. dy: the gradient by hidden state `top`, before the tap adds to it. Layers above it get no gradients. */
int mert_encoder_backward_from(mert_encoder *m, int top, mert_element *dy, const mert_gradient_tap *tap, double pen,
                               mert_error *e) MERT_MUST_USE;

/* The largest number of bytes of device memory that passes have used. */
size_t mert_encoder_memory(const mert_encoder *m);

/* Must be called when the weights were changed outside of training. (Forward passes for training always read the
 * weights again.) */
void mert_encoder_refresh(mert_encoder *m);

#endif
