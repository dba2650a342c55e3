/* A training pass under way: what encoder.c and its steps (extractor.c, corruption.c, layer.c) work on.
 *
 * Memory is one stack (nn/arena.h): the forward pass leaves on it what the backward pass needs, which takes it down
 * again from the top, with its own gradients above. What is cheap to compute again is not left there: the first
 * convolution's output, GELU of what is there, a LayerNorm's output. With options.recompute nothing of the extractor
 * and only its input of a layer is there: both are run again. Either way each result comes of the same operations on
 * the same numbers, so that the gradients are the same bit for bit. */
#ifndef MERT_ENCODER_STATE_H
#define MERT_ENCODER_STATE_H

#include "libcommon/models/encoder/encoder.h"

#include "libcommon/nn/arena.h"
#include "libcommon/nn/conv.h"

/* Offsets of a linear layer's or a norm's weight and bias in the flat array. */
typedef struct weight_bias { int64_t w, b; } weight_bias;

/* qkv: the projection of the keys. Those of values and queries lie behind it in the flat array, qkv_step floats further
 * each, biases as well, so that all three are a batch of products. Its result [B*T, 3, D] has them in this order. */
typedef struct layer_parameters { weight_bias qkv, out, norm1, fc1, fc2, norm2; } layer_parameters;
enum { MERT_KEY, MERT_VALUE, MERT_QUERY };

/* A tensor of the forward pass that stays for the backward pass: `now` as it is, or (options.narrow) laid aside as
 * bfloat16, and then `now` is there only while it is computed or used. */
typedef struct mert_kept {
    mert_element *now;
    uint16_t *aside;
    int64_t n;
} mert_kept;

/* A layer. s1 is the sum after attention, s2 (post-LN) that after the feed-forward part. The attention hears in1, which
 * is x, with pre-LN LN(x); the feed-forward part hears in2 = LN(s1). */
typedef struct layer_record {
    int skipped;                  /* LayerDrop */
    mert_arena_mark before;       /* of the stack */
    mert_kept x;
    float *mean_s2, *rstd_s2;     /* with post-LN */
    /* what stays unless options.recompute */
    mert_kept qkv, attended, s1, pre, s2;
    float *lse;
    /* what follows from these */
    mert_element *in1, *in2, *h;
    float *mean_x, *rstd_x, *mean_s1, *rstd_s1;
} layer_record;

typedef struct mert_conformer mert_conformer; /* conformer.h */

struct mert_encoder {
    const mert_layout *layout;
    const mert_config *c;
    mert_ops *ops;
    mert_parts flat;              /* of the arrays that mert_encoder_new was given */
    const mert_parts *parts;      /* &flat, or whoever keeps them */

    weight_bias conv[MERT_CONV_MAX], conv_norm[MERT_CONV_MAX], feature_norm, projection, encoder_norm;
    int64_t mask_emb; /* -1: there is none, of a Conformer without heads */
    int64_t pos_g, pos_v, pos_bias;
    layer_parameters *layers;
    int64_t qkv_step;
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */

    float *ordered[MERT_CONV_MAX]; /* conv weights tap before channel; NULL of the first layer, as the next two */
    float *pos_w, *pos_norm;      /* the positional convolution's weights, and the norms they were made with */
    mert_element *panels[MERT_CONV_MAX];  /* conv weights packed; NULL: the backend does not */
    mert_element *kernels[MERT_CONV_MAX], *pos_kernel; /* as elements; NULL: they are float32 as they are */
    int fresh;                    /* all of these hold the present weights */
    double *squares;
    float *largest;               /* score of any attention of the last forward pass (training) */

    const mert_element *layer_weights; /* those of the present layer, from place layer_from of the flat array on */
    int64_t layer_from;

    mert_arena memory;
    mert_forward_options options;

    /* the last forward pass */
    int64_t B, L, T, conv_T[MERT_CONV_MAX + 1], features_T; /* of the extractor's frames so many count */
    mert_corruption corruption;
    const mert_element *audio;
    mert_kept conv_out[MERT_CONV_MAX]; /* products of the extractor's layers but for the first */
    mert_element *features, *joined, *joined_norm;
    float *feature_mean, *feature_rstd;
    mert_kept projected, pos_pre, pos_sum;
    float *encoder_mean, *encoder_rstd;
    mert_element *turn[2];
    const mert_element *final_in;
    layer_record *records;

    mert_conformer *conformer;    /* NULL: a transformer, which is all that stands above but for extractor and masks */
};

/* Which dropout: part of the key of its random numbers. */
enum { SITE_FEATURES, SITE_INPUT, SITE_LAYERDROP, SITE_LAYER = 16, SITES_PER_LAYER = 8 };
enum { IN_ATTENTION, AFTER_ATTENTION, IN_FFN, AFTER_FFN };

static inline mert_dropout_key mert_encoder_key(const mert_encoder *m, uint32_t site)
{
    return (mert_dropout_key){m->options.seed, m->options.update << 20 | m->options.micro_batch, site};
}

/* Whether anything is done to the projected frames [B*T, D]; x -> y; gradient dy -> dx. */
int mert_corruption_any(const mert_encoder *m);
void mert_corruption_forward(mert_encoder *m, const mert_element *x, mert_element *y);
void mert_corruption_backward(mert_encoder *m, const mert_element *dy, mert_element *dx);

/* The convolutions' weights in the order that products want. */
void mert_extractor_pack(mert_encoder *m);
/* The extractor: audio [B, L] -> features [B, features_T, C]. Memory that runs out shows in m->memory.failed, here and
 * below. */
void mert_extractor_forward(mert_encoder *m, mert_element *features);
/* d [B, conv_T, C]: gradient by the extractor's output, overwritten. */
void mert_extractor_backward(mert_encoder *m, mert_element *d);

/* Weights as elements: the rounded ones, or w itself where elements are float32. */
static inline const mert_element *mert_as_elements(const mert_element *rounded, const float *w)
{
    return rounded ? rounded : (const mert_element *)(const void *)w;
}

/* x [B*T, D] -> the layer's output: out, or x itself where LayerDrop leaves the layer out (mert_layer_dropped). */
int mert_layer_dropped(const mert_encoder *m, int i);
void mert_layer_forward(mert_encoder *m, int i, mert_element *x, layer_record *r, mert_element *out);
/* dy [B*T, D]: gradient by the layer's output in, by its input out. Takes the layer's memory off the stack. */
void mert_layer_backward(mert_encoder *m, int i, layer_record *r, mert_element *dy);

static inline mert_element *mert_take(mert_encoder *m, int64_t n) { return mert_arena_elements(&m->memory, n); }
static inline float *mert_take_floats(mert_encoder *m, int64_t n) { return mert_arena_floats(&m->memory, n); }

/* Whether what stays is laid aside: there is nothing to save of what has 16 bits. */
int mert_laid_aside(const mert_encoder *m);
/* Takes the memory of what stays. */
void mert_keep(mert_encoder *m, mert_kept *k, int64_t n, int aside);
/* From then on `now` can be written ... */
void mert_kept_open(mert_encoder *m, mert_kept *k);
/* ... and, if it does not stay, until then. */
void mert_kept_close(mert_encoder *m, mert_kept *k);
/* For the backward pass. */
void mert_kept_again(mert_encoder *m, mert_kept *k);

static inline const float *mert_weight(const mert_encoder *m, int64_t offset)
{
    return mert_parts_weight(m->parts, offset);
}
/* n weights as a product reads them; where they are made for it, they are on the stack. */
static inline const mert_element *mert_product_weight(mert_encoder *m, int64_t offset, int64_t n)
{
    return mert_arena_rounded(&m->memory, mert_weight(m, offset), n);
}
static inline float *mert_gradient(const mert_encoder *m, int64_t offset)
{
    return mert_parts_gradient(m->parts, offset);
}

#endif
