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

typedef struct layer_parameters { weight_bias q, k, v, out, norm1, fc1, fc2, norm2; } layer_parameters;

/* A tensor of the forward pass that stays for the backward pass: `now` as it is, or (options.narrow) as bfloat16, and
 * then `now` is there only while it is computed or used. */
typedef struct mert_kept {
    float *now;
    uint16_t *narrow;
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
    mert_kept q, k, v, attended, s1, pre, s2;
    float *lse;
    /* what follows from these */
    float *in1, *in2, *h, *mean_x, *rstd_x, *mean_s1, *rstd_s1;
} layer_record;

struct mert_encoder {
    const mert_layout *layout;
    const mert_config *c;
    mert_ops *ops;
    mert_parts flat;              /* of the arrays that mert_encoder_new was given */
    const mert_parts *parts;      /* &flat, or whoever keeps them */

    weight_bias conv[MERT_CONV_MAX], conv_norm[MERT_CONV_MAX], feature_norm, projection, encoder_norm;
    int64_t mask_emb, pos_g, pos_v, pos_bias;
    layer_parameters *layers;
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */

    float *ordered[MERT_CONV_MAX]; /* conv weights tap before channel (not the first layer's) */
    float *panels[MERT_CONV_MAX];  /* the same, packed; NULL: the backend does not */
    float *pos_w, *pos_norm;      /* the positional convolution's weights, and the norms they were made with */
    int fresh;                    /* panels, ordered and pos_w hold the present weights */
    double *squares;
    float *largest;               /* score of any attention of the last forward pass (training) */

    mert_arena memory;
    mert_forward_options options;

    /* the last forward pass */
    int64_t B, L, T, conv_T[MERT_CONV_MAX + 1];
    mert_corruption corruption;
    const float *audio;
    mert_kept conv_out[MERT_CONV_MAX]; /* products of the extractor's layers but for the first */
    float *features, *joined, *joined_norm, *feature_mean, *feature_rstd;
    mert_kept projected, pos_pre, pos_sum;
    float *encoder_mean, *encoder_rstd, *turn[2];
    const float *final_in;
    layer_record *records;
};

/* Which dropout: part of the key of its random numbers. */
enum { SITE_FEATURES, SITE_INPUT, SITE_LAYERDROP, SITE_LAYER = 16, SITES_PER_LAYER = 8 };
enum { IN_ATTENTION, AFTER_ATTENTION, IN_FFN, AFTER_FFN };

static inline mert_dropout_key mert_encoder_key(const mert_encoder *m, uint32_t site)
{
    return (mert_dropout_key){m->options.seed, m->options.update << 20 | m->options.micro_batch, site};
}

/* x, d: [B*T, D], in place. -1: no memory. */
int mert_corruption_forward(mert_encoder *m, float *x);
int mert_corruption_backward(mert_encoder *m, float *d);

/* The extractor: audio [B, L] -> features [B, T, C]. Memory that runs out shows in m->memory.failed, here and below. */
void mert_extractor_forward(mert_encoder *m, float *features);
/* d [B, conv_T, C]: gradient by the extractor's output, overwritten. */
void mert_extractor_backward(mert_encoder *m, float *d);

/* x [B*T, D] -> the layer's output: out, or x itself where LayerDrop leaves the layer out (mert_layer_dropped). */
int mert_layer_dropped(const mert_encoder *m, int i);
void mert_layer_forward(mert_encoder *m, int i, float *x, layer_record *r, float *out);
/* dy [B*T, D]: gradient by the layer's output in, by its input out. Takes the layer's memory off the stack. */
void mert_layer_backward(mert_encoder *m, int i, layer_record *r, float *dy);

static inline float *mert_take(mert_encoder *m, int64_t n) { return mert_arena_floats(&m->memory, n); }

/* Takes the memory of what stays. */
static inline void mert_keep(mert_encoder *m, mert_kept *k, int64_t n, int narrow)
{
    *k = (mert_kept){.n = n};
    if (narrow)
        k->narrow = (uint16_t *)(void *)mert_take(m, (n + 1) / 2);
    else
        k->now = mert_take(m, n);
}

/* From then on `now` can be written ... */
static inline void mert_kept_open(mert_encoder *m, mert_kept *k)
{
    if (k->narrow)
        k->now = mert_take(m, k->n);
}

/* ... and, if it does not stay, until then. */
static inline void mert_kept_close(mert_encoder *m, mert_kept *k)
{
    if (k->narrow)
        mert_narrow(m->ops, .to = k->narrow, .from = k->now, .n = k->n);
}

/* For the backward pass. */
static inline void mert_kept_again(mert_encoder *m, mert_kept *k)
{
    mert_kept_open(m, k);
    if (k->narrow && k->now)
        mert_widen(m->ops, .to = k->now, .from = k->narrow, .n = k->n);
}

static inline const float *mert_weight(const mert_encoder *m, int64_t offset)
{
    return mert_parts_weight(m->parts, offset);
}
static inline float *mert_gradient(const mert_encoder *m, int64_t offset)
{
    return mert_parts_gradient(m->parts, offset);
}

#endif
