/* What encoder.c and encoder_layer.c share. */
#ifndef MERT_ENCODER_INTERNAL_H
#define MERT_ENCODER_INTERNAL_H

#include "encoder.h"

#include "../nn/arena.h"
#include "../nn/conv.h"

/* Offsets of a linear layer's or a norm's weight and bias in the flat array. */
typedef struct weight_bias { int64_t w, b; } weight_bias;

typedef struct layer_parameters { weight_bias q, k, v, out, norm1, fc1, fc2, norm2; } layer_parameters;

/* What a layer's backward pass needs of its forward pass. With post-LN, x1 = LN(s1) feeds the feed-forward part and s1, s2 are the
 * residual sums; with pre-LN a1, a2 are the normalised inputs of the two parts and x1 is the sum between them. */
typedef struct layer_record {
    int skipped;                  /* LayerDrop */
    const float *x;               /* the layer's input */
    float *a1, *mean1, *rstd1, *q, *k, *v, *lse, *attended, *s1;
    float *x1, *a2, *mean2, *rstd2, *pre, *h, *s2;
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

    float *packed[MERT_CONV_MAX]; /* conv weights tap before channel */
    float *pos_w, *pos_norm;      /* the positional convolution's weights, and the norms they were made with */
    int fresh;                    /* packed and pos_w hold the present weights */
    double *squares;
    float *largest;               /* score of any attention of the last forward pass (training) */

    mert_arena kept, scratch;     /* until the next forward pass; until the end of a step */
    mert_regime regime;

    /* the last forward pass */
    int64_t B, L, T, conv_T[MERT_CONV_MAX + 1];
    mert_corruption corruption;
    const float *conv_in[MERT_CONV_MAX];
    float *conv_out[MERT_CONV_MAX], *conv_pre[MERT_CONV_MAX], *conv_mean[MERT_CONV_MAX], *conv_rstd[MERT_CONV_MAX];
    float *features, *joined, *joined_norm, *feature_mean, *feature_rstd;
    float *projected, *pos_pre, *pos_sum, *encoder_mean, *encoder_rstd, *final_in;
    layer_record *records;
};

/* Which dropout: part of the key of its random numbers. */
enum { SITE_FEATURES, SITE_INPUT, SITE_LAYERDROP, SITE_LAYER = 16, SITES_PER_LAYER = 8 };
enum { IN_ATTENTION, AFTER_ATTENTION, IN_FFN, AFTER_FFN };

static inline mert_dropout_key mert_encoder_key(const mert_encoder *m, uint32_t site)
{
    return (mert_dropout_key){m->regime.seed, m->regime.update << 20 | m->regime.micro_batch, site};
}

/* x, d: [B*T, D], in place. -1: no memory. */
int mert_corruption_forward(mert_encoder *m, float *x);
int mert_corruption_backward(mert_encoder *m, float *d);

/* x [B*T, D] -> the layer's output, from `kept` when training and from `scratch` otherwise. */
float *mert_layer_forward(mert_encoder *m, int i, const float *x, layer_record *r, float *out);
/* dy [B*T, D]: gradient by the layer's output in, by its input out. */
void mert_layer_backward(mert_encoder *m, int i, const layer_record *r, float *dy);

static inline const float *mert_weight(const mert_encoder *m, int64_t offset) { return mert_parts_weight(m->parts, offset); }
static inline float *mert_gradient(const mert_encoder *m, int64_t offset) { return mert_parts_gradient(m->parts, offset); }

#endif
