/* A trained probe, and its file: a .safetensors with the tensors `mean`, `scale` [layers, D]; `output.weight` [C, I],
 * `output.bias` [C]; with a hidden layer `hidden.weight` [I, D], `hidden.bias` [I] (otherwise I = D); with several
 * layers `mixture` [layers]; for numbers `number.mean`, `number.size` [C]; and `config`, JSON text as U8:
 *
 *     {"type": "probe", "task": "classify", "layers": ["6"], "frames": false, "classes": ["rock", "jazz"],
 *      "outputs": 2, "width": 768, "hidden": 0, "kind": "hidden", "sample_rate": 24000,
 *      "features": "mert-encode model=... layers=all ...", "features_model": "0123456789abcdef"}
 *
 *     z_l = (features of layer l - mean_l) * scale_l;   x = sum over l of mixture_l z_l   (one layer: x = z)
 *     h = relu(hidden.weight x + hidden.bias)   (no hidden layer: h = x);   s = output.weight h + output.bias
 *                                               ("activation": "gelu" in config: gelu, as mert-train writes it)
 *     answers (score.h): log-odds of the softmax of s (classify), s (multilabel), s * number.size + number.mean
 */
#ifndef MERT_PROBE_TRAINED_H
#define MERT_PROBE_TRAINED_H

#include "libcommon/probe/layers.h"
#include "libcommon/probe/predictions.h"

typedef struct mert_trained {
    mert_outputs outputs;
    char **names;             /* = outputs.names, owned */
    mert_features features;   /* that it was trained on; width: of one layer */
    int64_t layers;           /* that it needs; several: their mixture */
    mert_layer_name *layer;   /* [layers] their names */
    int64_t width, hidden;    /* D; units of the hidden layer, 0: none */
    int gelu;                 /* 1: of the head of a model that was trained with it: gelu, exact, in place of relu */
    int frames;               /* 1: it was trained on single frames */
    float *mean, *scale;      /* [layers * D] */
    float *mixture;           /* [layers] */
    float *hidden_weight, *hidden_bias, *weight, *bias;
    float *number_mean, *number_size; /* [C]; NULL: no numbers */
    float *block;             /* the memory of all of these */
    int64_t block_size;
} mert_trained;

/* Allocates the arrays of a probe whose outputs, layers, width and hidden are set. */
int mert_trained_make(mert_trained *t, mert_error *e) MERT_MUST_USE;
void mert_trained_free(mert_trained *t);

int mert_trained_write(const mert_trained *t, const char *path, mert_error *e) MERT_MUST_USE;
/* Refuses other files, a wrong checksum, shapes that do not fit and values that are not finite. */
int mert_trained_read(mert_trained *t, const char *path, mert_error *e) MERT_MUST_USE;

/* Finds the probe's layers in a record: at[layers], their numbers. Refuses features of another kind, model, width or
 * sample rate, features without these layers and, unless any_settings, other features settings (except layers, pooling
 * and the type of the elements); the error names both. */
int mert_trained_check(const mert_trained *t, const mert_features *f, const mts_record *r, int any_settings,
                       int64_t *at, mert_error *e) MERT_MUST_USE;

/* answers [C] for x [layers, D]. work: memory for D + hidden + C floats. The result does not depend on other rows. */
void mert_trained_answer(const mert_trained *t, const float *x, float *work, float *answers);

#endif
