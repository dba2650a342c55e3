/* The state of one pass of a Conformer (man/model.md 16), besides struct mert_encoder. conformer.c and its steps,
 * subsampler.c and block.c, use it. Activations of b clips with t frames are rows in the order [b, t]. */
#ifndef MERT_CONFORMER_H
#define MERT_CONFORMER_H

#include "libcommon/models/encoder/steps.h"
#include "libcommon/models/rotary.h"

/* ---- the subsampler: stages of an optional resampler and ConvNeXt layers ---- */

typedef struct convnext_parameters { weight_bias depth, norm, up, response, down; } convnext_parameters;

/* x is kept, and, unless options.recompute, the outputs of the depthwise convolution (deep) and of the first product
 * (pre). */
typedef struct convnext_record {
    mert_kept x, deep, pre;
    double *squares; /* [B, 4 C]: sums over time of the squared activations */
} convnext_record;

typedef struct subsampler_stage {
    int64_t in, channels, stride;
    int resampled, depth;
    weight_bias norm, conv; /* of the resampler */
    float *ordered;         /* its weights [channels, 2, in], tap before channel */
    mert_element *kernel;   /* the same as elements; NULL: elements are float32 */
    int64_t T_in, T;        /* of the last forward pass */
    mert_kept x;            /* input of the resampler */
    convnext_parameters *layer;
    convnext_record *record;
} subsampler_stage;

/* ---- blocks ---- */

typedef struct ffn_parameters { weight_bias norm, in, out; } ffn_parameters;

/* qkv: the projection of the queries. Those of the keys and the values follow in the flat array, each qkv_step floats
 * further, weights and biases alike. The result [B*T, 3, D] has the same order. */
typedef struct block_parameters {
    ffn_parameters ffn[2];
    weight_bias attention_norm, qkv, out;
    weight_bias conv_norm, expand, depth, depth_norm, contract;
    weight_bias norm;
} block_parameters;

/* A block: s[0] is the sum after the first feed-forward half, s[1] after attention, s[2] after the convolution, s[3]
 * after the second half. The output is LN(s[3]). */
typedef struct block_record {
    int skipped;            /* 1: LayerDrop skipped this block */
    mert_arena_mark before; /* state of the stack before the block */
    mert_kept x;
    /* kept, unless options.recompute */
    mert_kept pre[2], s[4], qkv, attended, wide, deep;
    float *lse;
} block_record;

struct mert_conformer {
    int stages;
    subsampler_stage *stage;
    block_parameters *blocks;
    block_record *records;
    int64_t qkv_step;
    mert_rotary_tables rotary;
    const mert_element *frames; /* output of the front end, [B, T0, channels], before masking */
    int64_t T0, T_whole;        /* number of frames of the front end; of the subsampler, of which the first T are
                                   used */
    mert_element *turn[2];      /* memory for outputs that are not kept, used in turn */
};

/* Mel frames, or the extractor's output, [B, T0, stage 0's in] -> [B, T_whole, D]. NULL: out of memory. */
mert_element *mert_subsampler_forward(mert_encoder *m, mert_element *x);
/* d: gradient by the output. Returns the gradient by the input, which is in d's memory if there is no resampler. NULL:
 * out of memory. */
mert_element *mert_subsampler_backward(mert_encoder *m, mert_element *d);

/* As mert_layer_forward and mert_layer_backward. */
void mert_block_forward(mert_encoder *m, int i, mert_element *x, block_record *r, mert_element *out);
void mert_block_backward(mert_encoder *m, int i, block_record *r, mert_element *dy);

/* Called by encoder.c. open: -1: out of memory. */
int mert_conformer_open(mert_encoder *m) MERT_MUST_USE;
void mert_conformer_close(mert_encoder *m);
const mert_element *mert_conformer_forward(mert_encoder *m, int64_t T, const mert_element *x,
                                           const mert_layer_tap *tap, mert_error *e);
int mert_conformer_backward(mert_encoder *m, int top, mert_element *dy, const mert_gradient_tap *tap, double pen,
                            mert_error *e) MERT_MUST_USE;

#endif
