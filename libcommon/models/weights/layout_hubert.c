/* The parameters of the kind hubert, with fairseq's names. */
#include "libcommon/models/weights/layout_maker.h"

#include <stdio.h>

static void transformer_layer(mert_layout_maker *m, const mert_config *c, int i)
{
    static const char *const projections[] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    char name[80];
    for (int j = 0; j < 4; j++) {
        snprintf(name, sizeof name, "encoder.layers.%d.self_attn.%s", i, projections[j]);
        mert_layout_linear(m, c->width, c->width, name);
    }
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn_layer_norm", i);
    mert_layout_norm(m, c->width, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc1", i);
    mert_layout_linear(m, c->width, c->ffn, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc2", i);
    mert_layout_linear(m, c->ffn, c->width, name);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    mert_layout_norm(m, c->width, name);
}

void mert_layout_extractor(mert_layout_maker *m, const mert_config *c)
{
    int64_t in = 1;
    char name[80];
    for (int i = 0; i < c->convs; i++) {
        mert_layout_cube(m, c->conv[i].dim, in, c->conv[i].kernel, "feature_extractor.conv_layers.%d.0.weight", i);
        if (c->conv_bias)
            mert_layout_vector(m, c->conv[i].dim, "feature_extractor.conv_layers.%d.0.bias", i);
        if (c->extractor_layer_norm || i == 0) {
            snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
            mert_layout_norm(m, c->conv[i].dim, name);
        }
        in = c->conv[i].dim;
    }
}

void mert_layout_hubert(mert_layout_maker *m, const mert_config *c)
{
    m->training_only = 1;
    mert_layout_vector(m, c->width, "mask_emb");
    m->training_only = 0;
    mert_layout_extractor(m, c);
    mert_layout_norm(m, mert_config_features(c), "layer_norm");
    mert_layout_linear(m, mert_config_features(c), c->width, "post_extract_proj");
    mert_layout_vector(m, c->width, "encoder.pos_conv.0.bias");
    mert_layout_cube(m, 1, 1, c->pos_kernel, "encoder.pos_conv.0.weight_g");
    mert_layout_cube(m, c->width, c->width / c->pos_groups, c->pos_kernel, "encoder.pos_conv.0.weight_v");
    for (int i = 0; i < c->layers; i++)
        transformer_layer(m, c, i);
    mert_layout_norm(m, c->width, "encoder.layer_norm");
}
