/* The state of one training pass, which encoder.c and its steps (extractor.c, corruption.c, layer.c) use.
 *
 * Memory is one stack (nn/arena.h). The forward pass leaves on it what the backward pass needs. The backward pass frees
 * it from the top, with its own gradients above. What is cheap to compute is not kept but computed again: the output of
 * the first convolution, GELUs, outputs of LayerNorms. With options.recompute nothing of the extractor is kept, and of
 * a layer only its input; both run again before their backward passes. In all cases each result comes from the same
 * operations on the same numbers, so gradients are the same bit for bit. */
#ifndef MERT_ENCODER_STATE_H
#define MERT_ENCODER_STATE_H

#include "libcommon/models/encoder/pass.h"
#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/arena.h"
#include "libcommon/nn/conv.h"

/* Offsets of weight and bias of a linear layer or norm in the flat array; b -1: no bias. */
typedef struct weight_bias { int64_t w, b; } weight_bias;

/* qkv: the projection of the keys. Those of the values and the queries follow in the flat array, each qkv_step floats
 * further, weights and biases alike. So all three are one batch of products. The result [B*T, 3, D] has the same
 * order. */
typedef struct layer_parameters { weight_bias qkv, out, norm1, fc1, fc2, norm2; } layer_parameters;
enum { MERT_KEY, MERT_VALUE, MERT_QUERY };

/* An activation that is kept for the backward pass. Without `narrow`, `now` is the activation. With it
 * (options.narrow), the activation is stored there as bfloat16, and `now` exists only while it is computed or used. */
typedef struct mert_kept {
    mert_element *now;
    uint16_t *narrow;
    int64_t n;
} mert_kept;

/* A layer. in1 is the input of the attention: x, or LN(x) with pre-LN. s1 is the sum after attention. in2 = LN(s1) is
 * the input of the feed-forward part. s2 (post-LN only) is the sum after the feed-forward part. */
typedef struct layer_record {
    int skipped;                  /* 1: LayerDrop skipped this layer */
    mert_arena_mark before;       /* state of the stack before the layer */
    mert_kept x;
    float *mean_s2, *rstd_s2;     /* only with post-LN */
    /* kept, unless options.recompute */
    mert_kept qkv, attended, s1, pre, s2;
    float *lse;
    /* computed from these */
    mert_element *in1, *in2, *h;
    float *mean_x, *rstd_x, *mean_s1, *rstd_s1;
} layer_record;

typedef struct mert_conformer mert_conformer; /* conformer.h */

struct mert_encoder {
    const mert_layout *layout;
    const mert_config *c;
    mert_ops *ops;
    mert_groups flat;             /* of the arrays that mert_encoder_new was given */
    const mert_groups *groups;    /* &flat, or those of mert_encoder_use_groups */

    weight_bias conv[MERT_CONV_MAX], conv_norm[MERT_CONV_MAX], feature_norm, projection, encoder_norm;
    int64_t mask_emb; /* -1: none (a Conformer without heads) */
    int64_t pos_g, pos_v, pos_bias;
    layer_parameters *layers;
    int64_t qkv_step;
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */

    float *ordered[MERT_CONV_MAX]; /* convolution weights, tap before channel; NULL for the first layer, as the next
                                      two */
    float *pos_w, *pos_norm;      /* weights of the positional convolution, and the norms of its taps */
    mert_element *panels[MERT_CONV_MAX];  /* packed convolution weights; NULL: the backend does not pack them */
    mert_element *kernels[MERT_CONV_MAX], *pos_kernel; /* the weights as elements; NULL: elements are float32 */
    int fresh;                    /* 1: all of these were made from the present weights */
    double *squares;
    float *largest;               /* largest attention logit of the last forward pass (training) */

    const mert_element *step_weights; /* steps.h: weights as elements, from offset step_from of the flat array to
                                         step_end */
    int64_t step_from, step_end;

    mert_arena memory;
    mert_forward_options options;

    /* the last forward pass */
    int64_t B, L, T, conv_T[MERT_CONV_MAX + 1], features_T; /* the number of frames of the extractor that are used */
    mert_corruption corruption;
    const mert_element *audio;
    mert_kept conv_out[MERT_CONV_MAX]; /* products of the extractor's layers, except the first */
    mert_element *features, *joined, *joined_norm;
    float *feature_mean, *feature_rstd;
    mert_kept projected, pos_pre, pos_sum;
    float *encoder_mean, *encoder_rstd;
    mert_element *turn[2];
    const mert_element *final_in;
    layer_record *records;

    mert_conformer *conformer;    /* NULL: a transformer. A Conformer does not use the fields of projection, position
                                     and layers above */
};

/* Which dropout: a part of the key of its random numbers. */
enum { SITE_FEATURES, SITE_INPUT, SITE_LAYERDROP, SITE_LAYER = 16, SITES_PER_LAYER = 8 };
enum { IN_ATTENTION, AFTER_ATTENTION, IN_FFN, AFTER_FFN };

static inline mert_dropout_key mert_encoder_key(const mert_encoder *m, uint32_t site)
{
    return (mert_dropout_key){m->options.seed, m->options.update << 20 | m->options.micro_batch, site};
}

/* any: 1 if anything changes the projected frames [B*T, D]. forward: x -> y. backward: gradient dy -> dx. */
int mert_corruption_any(const mert_encoder *m);
void mert_corruption_forward(mert_encoder *m, const mert_element *x, mert_element *y);
void mert_corruption_backward(mert_encoder *m, const mert_element *dy, mert_element *dx);

/* Number of inputs of one output of the extractor's layer i > 0. */
static inline int64_t mert_conv_inputs(const mert_config *c, int i)
{
    return (int64_t)c->conv[i].kernel * c->conv[i - 1].dim;
}

/* Makes `ordered`, `panels` and `kernels` from the convolutions' weights. */
void mert_extractor_pack(mert_encoder *m);
/* The extractor: audio [B, L] -> features [B, features_T, C]. Here and below, m->memory.failed is set if memory runs
 * out. */
void mert_extractor_forward(mert_encoder *m, mert_element *features);
/* d [B, conv_T, C]: gradient by the output of the extractor; it is overwritten. */
void mert_extractor_backward(mert_encoder *m, mert_element *d);

/* Weights as elements: the rounded copy, or w itself if elements are float32. */
static inline const mert_element *mert_as_elements(const mert_element *rounded, const float *w)
{
    return rounded ? rounded : (const mert_element *)(const void *)w;
}

/* mert_layer_dropped: 1 if LayerDrop skips the layer, whose output is then x itself. mert_layer_forward: x [B*T, D] ->
 * out. x must stay valid until the backward pass unless it is kept as bfloat16. */
int mert_layer_dropped(const mert_encoder *m, int i);
void mert_layer_forward(mert_encoder *m, int i, mert_element *x, layer_record *r, mert_element *out);
/* dy [B*T, D]: on entry the gradient by the layer's output, on return by its input. Frees the layer's memory on the
 * stack. */
void mert_layer_backward(mert_encoder *m, int i, layer_record *r, mert_element *dy);

static inline mert_element *mert_alloc(mert_encoder *m, int64_t n) { return mert_arena_elements(&m->memory, n); }
static inline float *mert_alloc_floats(mert_encoder *m, int64_t n) { return mert_arena_floats(&m->memory, n); }

/* 1: activations are kept as bfloat16. Not if elements have 16 bits, where this saves nothing. */
int mert_keeps_narrow(const mert_encoder *m);
/* Allocates the memory that is kept: n bfloat16 numbers if `narrow`, otherwise n elements. */
void mert_keep(mert_encoder *m, mert_kept *k, int64_t n, int narrow);
/* Makes `now` available for writing. If `narrow`, allocates it on the stack. */
void mert_kept_open(mert_encoder *m, mert_kept *k);
/* If `narrow`, stores `now` there. The caller then frees `now`. */
void mert_kept_close(mert_encoder *m, mert_kept *k);
/* Makes the activation available in `now` for the backward pass. */
void mert_kept_again(mert_encoder *m, mert_kept *k);

static inline const float *mert_weight(const mert_encoder *m, int64_t offset)
{
    return mert_groups_weight(m->groups, offset);
}
/* n weights as elements for a product; if they have to be converted, the copy is on the stack. */
static inline const mert_element *mert_product_weight(mert_encoder *m, int64_t offset, int64_t n)
{
    return mert_arena_rounded(&m->memory, mert_weight(m, offset), n);
}
static inline float *mert_gradient(const mert_encoder *m, int64_t offset)
{
    return mert_groups_gradient(m->groups, offset);
}

#endif
