/* What a MERT-shaped model is: the architecture in numbers, as config.json (transformers' HubertConfig names), a
 * fairseq configuration or a recipe gives it. Shape letters used throughout: B batch, L samples, T frames, C channels
 * of the extractor, D width, H heads, F feed-forward width, K codebooks, V classes, N layers. */
#ifndef MERT_CONFIG_H
#define MERT_CONFIG_H

#include "formats/checkpoint/checkpoint.h"
#include "formats/error.h"
#include "formats/json.h"

#include <stdint.h>

enum { MERT_CONV_MAX = 16, MERT_LAYERS_MAX = 128, MERT_CODEBOOKS_MAX = 64 };

typedef struct mert_config {
    int sample_rate;                    /* Hz; frames per second: sample_rate / product of strides */
    int convs;                          /* layers of the conv feature extractor */
    struct { int dim, kernel, stride; } conv[MERT_CONV_MAX];
    int conv_bias;
    int extractor_layer_norm; /* 0: GroupNorm over time after conv 0 ("group"); 1: LayerNorm after each ("layer") */
    int width, layers, heads, ffn;      /* D, N, H, F */
    int pos_kernel, pos_groups;         /* positional conv: 128, 16 */
    int pre_ln;                         /* do_stable_layer_norm / layer_norm_first */
    int deepnorm;                       /* residual times (2N)^0.25 (post-LN only) */
    double eps;                         /* of every norm but the extractor's: 1e-5 */
    int cqt_input, cqt_input_bins;      /* CQT frames beside the extractor's channels: hop sample_rate / 50 */
    int normalize;                      /* at inference, per clip: (x - mean) / sqrt(var + normalize_eps) */
    double normalize_eps;               /* 1e-7, as transformers has it; fairseq's models: 1e-5 */
    double attention_relax;             /* carried for export; a no-op in exact arithmetic */

    /* Heads for pre-training; codebooks 0: none (what HF directories hold). */
    int codebooks;                      /* K */
    int64_t classes[MERT_CODEBOOKS_MAX];/* V of each, without the special rows */
    int special_rows;                   /* rows of the label embedding before label 0: fairseq's dictionary has 4 */
    int final_dim;                      /* width in which the cosine is taken */
    int untied;                         /* one projection per codebook (final_proj has K * final_dim outputs) */
    int learnable_temperature;          /* logit_temp_list [K] */
    int target_glu;
    int cqt_target_bins;                /* Linear(D -> bins) against the CQT; 0: none */
    int mel_target_bins;                /* likewise, log mel */
} mert_config;

/* The norms of the conv extractor have torch's own eps, whatever layer_norm_eps says. */
#define MERT_EXTRACTOR_EPS 1e-5f
#define MERT_NORMALIZE_EPS_HF 1e-7
#define MERT_NORMALIZE_EPS_FAIRSEQ 1e-5

/* The published 95M model without heads. */
mert_config mert_config_95m(void);

/* Reads HF's config.json, and where not NULL preprocessor_config.json and processor_config.json, whose object
 * feature_extractor is what newer transformers write instead. What these leave out has the default of
 * Wav2Vec2FeatureExtractor: do_normalize true, sampling_rate 16000; without either, nothing is normalised. Files that
 * contradict each other are an error that says both. normalize_eps in preprocessor_config.json is ours. A value outside
 * what this program computes (another activation, feat_proj_layer_norm false ...) is an error that names it.
 * `mert_pretraining` in it (ours) holds the heads. */
int mert_config_from_hf(mert_config *c, const mert_json *config, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e) MERT_MUST_USE;
/* The same as JSON text, to be freed by the caller. model_type is "hubert" where HuBERT's own code computes the same.
 */
char *mert_config_to_hf(const mert_config *c);
char *mert_config_to_preprocessor(const mert_config *c);
/* The conv layers as fairseq's configurations write them: "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2". */
int mert_config_parse_convs(mert_config *c, const char *text, mert_error *e) MERT_MUST_USE;
/* Sanity of every number and their relations. */
int mert_config_check(const mert_config *c, mert_error *e) MERT_MUST_USE;

int mert_config_stride(const mert_config *c);          /* samples per frame: 320 */
int mert_config_receptive_field(const mert_config *c); /* 400 */
/* T of L samples, layer by layer floor((n - k) / s) + 1; 0 if too short. */
int64_t mert_config_frames(const mert_config *c, int64_t samples);
/* Channels before post_extract_proj: the last conv's, plus cqt_input_bins. */
int mert_config_features(const mert_config *c);

#endif
