/* The parameters of the kind conformer, with the names of the published checkpoints. */
#include "libcommon/models/weights/layout_maker.h"

#include <stdio.h>

/* The tables of the front end, which are in the file of every model. */
static void front_end(mert_layout_maker *m, const mert_config *c)
{
    const mert_conformer_config *f = &c->conformer;
    mert_layout_vector(m, f->win_length, "feature_extractor.spectrogram.window");
    mert_layout_matrix(m, f->n_fft / 2 + 1, f->mels, "feature_extractor.mel_scale.fb");
    mert_layout_vector(m, f->mels, "feature_extractor.mel_mean");
    mert_layout_vector(m, f->mels, "feature_extractor.mel_std");
}

static void convnext_layer(mert_layout_maker *m, int64_t C, int64_t kernel, int stage, int i)
{
    char name[96], block[64];
    snprintf(block, sizeof block, "subsampling_module.%d.convnext_layers.%d", stage, i);
    mert_layout_cube(m, C, 1, kernel, "%s.depthwise_block.1.weight", block);
    mert_layout_vector(m, C, "%s.depthwise_block.1.bias", block);
    snprintf(name, sizeof name, "%s.pointwise_block.0", block);
    mert_layout_norm(m, C, name);
    snprintf(name, sizeof name, "%s.pointwise_block.1", block);
    mert_layout_linear(m, C, 4 * C, name);
    mert_layout_cube(m, 1, 1, 4 * C, "%s.pointwise_block.3.weight", block);
    mert_layout_cube(m, 1, 1, 4 * C, "%s.pointwise_block.3.bias", block);
    snprintf(name, sizeof name, "%s.pointwise_block.4", block);
    mert_layout_linear(m, 4 * C, C, name);
}

static void subsampler(mert_layout_maker *m, const mert_config *c)
{
    char name[80];
    for (int s = 0; s < c->conformer.stages; s++) {
        int64_t in = mert_stage_in(c, s), C = c->conformer.stage[s].channels;
        if (mert_stage_resamples(c, s)) {
            snprintf(name, sizeof name, "subsampling_module.%d.resampling_layer.0", s);
            mert_layout_norm(m, in, name);
            mert_layout_cube(m, C, in, 2, "subsampling_module.%d.resampling_layer.2.weight", s);
            mert_layout_vector(m, C, "subsampling_module.%d.resampling_layer.2.bias", s);
        }
        for (int i = 0; i < c->conformer.stage[s].depth; i++)
            convnext_layer(m, C, c->conformer.subsampler_kernel, s, i);
    }
}

static void norm(mert_layout_maker *m, int64_t D, int i, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "layers.%d.%s", i, what);
    mert_layout_norm(m, D, name);
}

static void linear(mert_layout_maker *m, int64_t in, int64_t out, int i, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "layers.%d.%s", i, what);
    mert_layout_linear(m, in, out, name);
}

static void block(mert_layout_maker *m, const mert_config *c, int i)
{
    int64_t D = c->width, F = c->ffn;
    norm(m, D, i, "ffn1_layer_norm");
    linear(m, D, F, i, "ffn1.w_1");
    linear(m, F, D, i, "ffn1.w_2");
    norm(m, D, i, "attn_layer_norm");
    linear(m, D, D, i, "attn.query_proj");
    linear(m, D, D, i, "attn.key_proj");
    linear(m, D, D, i, "attn.value_proj");
    linear(m, D, D, i, "attn.out_proj");
    norm(m, D, i, "conv_module.layer_norm");
    mert_layout_cube(m, 2 * D, D, 1, "layers.%d.conv_module.conv_block.1.weight", i);
    mert_layout_cube(m, D, 1, c->conformer.kernel, "layers.%d.conv_module.conv_block.3.weight", i);
    norm(m, D, i, "conv_module.conv_block.4.1");
    mert_layout_cube(m, D, D, 1, "layers.%d.conv_module.conv_block.6.weight", i);
    norm(m, D, i, "ffn2_layer_norm");
    linear(m, D, F, i, "ffn2.w_1");
    linear(m, F, D, i, "ffn2.w_2");
    norm(m, D, i, "final_layer_norm");
}

void mert_layout_conformer(mert_layout_maker *m, const mert_config *c)
{
    if (!c->convs)
        front_end(m, c);
    m->l->constants = m->l->size;
    m->l->elements = 0; /* papers count trained parameters only */
    if (c->codebooks) { /* for training: replaces masked frames before the subsampler */
        m->training_only = 1;
        mert_layout_vector(m, mert_stage_in(c, 0), "mask_emb");
        m->training_only = 0;
    }
    mert_layout_extractor(m, c);
    subsampler(m, c);
    for (int i = 0; i < c->layers; i++)
        block(m, c, i);
}
