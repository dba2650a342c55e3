/* The head of a labelled task (fine-tuning), forward and backward, on top of one hidden state or of all. An example is
 * a span of a clip's frames with a label. With h_l the mean of hidden state l over the example's frames:
 *
 *     z_l = h_l * scale_l + shift_l            (constants: mean 0, variance 1 before the first update)
 *     x   = dropout(sum over l of mixture_l z_l)                 (one hidden state: x = dropout(z))
 *     s   = output.weight gelu(hidden.weight x + hidden.bias) + output.bias      (no hidden layer: ... x + output.bias)
 *
 * The loss of an example is that of a probe (probe/linear.h): cross entropy of softmax(s) (classify), the sum over
 * labels of binary cross entropies (multilabel), half the sum of squared errors (regress). The parameters are those of
 * the layout whose names begin with "task."; z and everything after it is the same as in a saved probe
 * (probe/trained.h), which a head can be written as. */
#ifndef MERT_HEAD_H
#define MERT_HEAD_H

#include "libcommon/models/encoder/encoder.h"
#include "libcommon/nn/arena.h"
#include "libcommon/train/recipe/update.h"

/* The examples of a batch of B clips of T frames. */
typedef struct mert_head_batch {
    int64_t n, B, T;
    const int64_t *first;  /* host [B + 1]: the examples of clip b are first[b] .. first[b + 1] - 1 */
    const float *share;    /* device [n, T]: the weight of each frame in the mean of the example */
    const int32_t *labels; /* device: classify [n], the class; multilabel [n, C], 0 or 1 */
    const float *numbers;  /* device: regress [n, C], with mean 0 and variance 1 */
    mert_dropout_key key;  /* of the dropout */
    double dropout;        /* 0: none */
} mert_head_batch;

typedef struct mert_head {
    const mert_layout *layout;
    mert_ops *ops;
    const mert_groups *groups;
    mert_task_config config;
    int layers, top;       /* hidden states that it is given; the last of them */
    mert_arena arena;
    double *sums;          /* device: [0] losses (regress: squared errors), [1] correct examples (classify) */
    /* the batch */
    mert_head_batch batch;
    const mert_element *share;
    mert_element *pooled, *dpooled, *scores; /* [layers, n, D] both, [n, C] */
} mert_head;

/* sums: device, of at least two doubles, which the caller owns and clears. */
int mert_head_open(mert_head *h, const mert_layout *layout, mert_ops *ops, const mert_groups *groups,
                   const mert_task_config *config, double *sums, mert_error *e) MERT_MUST_USE;
void mert_head_close(mert_head *h);

/* To be called before the encoder's forward pass, which is given *tap. The tap collects h_l, and ends the pass at the
 * last hidden state that the head needs. What b points to must stay valid until the last call for the batch. */
int mert_head_begin(mert_head *h, const mert_head_batch *b, mert_layer_tap *tap, mert_error *e) MERT_MUST_USE;
/* Then: adds to the sums and, if back is 1, the gradient of weight * (sum of losses) to the parameters' gradients. */
int mert_head_run(mert_head *h, double weight, int back, mert_error *e) MERT_MUST_USE;
/* Then, for mert_encoder_backward_from (top: h->top): adds the gradients by the hidden states. */
mert_gradient_tap mert_head_gradient(mert_head *h);

/* Of the batch, to host memory; they wait: s [n, C] (regress: mean 0 and variance 1), and h_l [layers, n, D]. */
int mert_head_scores(mert_head *h, float *to, mert_error *e) MERT_MUST_USE;
int mert_head_features(mert_head *h, float *to, mert_error *e) MERT_MUST_USE;

/* The first values of a head in w: every answer is as likely as any other; z = h. */
void mert_head_reset(mert_weights *w);

#endif
