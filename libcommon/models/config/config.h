/* What a model is: the architecture in numbers, as config.json, a fairseq configuration or a recipe gives it. There are
 * two kinds:
 *
 *     hubert      MERT-v1, HuBERT: convolutions over the waveform, transformer layers (man/model.md 1, 2)
 *     conformer   MERT-v2: log-mel spectrum, ConvNeXt-v2 subsampler, Conformer blocks (man/model.md 16)
 *
 * Shape letters used throughout: B batch, L samples, T frames, C channels of the extractor or subsampler, D width, H
 * heads, F feed-forward width, K codebooks, V classes, N layers. */
#ifndef MERT_CONFIG_H
#define MERT_CONFIG_H

#include "formats/checkpoint/checkpoint.h"
#include "formats/error.h"
#include "formats/json.h"

#include <stdint.h>

enum { MERT_CONV_MAX = 16, MERT_LAYERS_MAX = 128, MERT_CODEBOOKS_MAX = 64 };

typedef enum mert_model_kind { MERT_HUBERT, MERT_CONFORMER } mert_model_kind;

enum { MERT_STAGES_MAX = 8 };

/* What a Conformer has beside the numbers that both kinds have. */
typedef struct mert_conformer_config {
    int n_fft, win_length, hop, mels;   /* of the log-mel spectrum: 2048, 2048, 240 samples, 128 */
    int stages;                         /* of the subsampler */
    struct { int channels, depth, stride; } stage[MERT_STAGES_MAX]; /* the last one's channels are D; strides 1, 2, 2 */
    int subsampler_kernel;              /* of its depthwise convolutions: 7 */
    double subsampler_eps;              /* of its LayerNorms: 1e-6 */
    int kernel;                         /* of the depthwise convolution of a block: 31 */
    int rotary_base;                    /* 10000 */
    char variant[16];                   /* "30s", "fs"; carried for export, as the next two */
    double context;                     /* seconds that it was trained on: no limit of what it can encode */
    double initializer_range;
} mert_conformer_config;

typedef struct mert_config {
    mert_model_kind kind;
    int sample_rate;                    /* Hz; frames per second: sample_rate / mert_config_stride */
    int convs;                          /* layers of the conv feature extractor */
    struct { int dim, kernel, stride; } conv[MERT_CONV_MAX];
    int conv_bias;
    int extractor_layer_norm; /* 0: GroupNorm over time after conv 0 ("group"); 1: LayerNorm after each ("layer") */
    int width, layers, heads, ffn;      /* D, N, H, F; both kinds */
    int pos_kernel, pos_groups;         /* positional conv: 128, 16 */
    int pre_ln;                         /* do_stable_layer_norm / layer_norm_first */
    int deepnorm;                       /* residual times (2N)^0.25 (post-LN only) */
    double eps;                         /* of every norm but those of extractor and subsampler: 1e-5; both kinds */
    int cqt_input, cqt_input_bins;      /* CQT frames beside the extractor's channels: hop sample_rate / 50 */
    int normalize;                      /* at inference, per clip: (x - mean) / sqrt(var + normalize_eps) */
    double normalize_eps;               /* 1e-7, as transformers has it; fairseq's models: 1e-5 */
    double attention_relax;             /* carried for export; a no-op in exact arithmetic */
    mert_conformer_config conformer;

    /* Heads for pre-training, of both kinds; codebooks 0: none (what HF directories hold). */
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
/* Of a Conformer's response norms. */
#define MERT_RESPONSE_EPS 1e-6
#define MERT_NORMALIZE_EPS_HF 1e-7
#define MERT_NORMALIZE_EPS_FAIRSEQ 1e-5

/* The published 95M model without heads; MERT-v2-30s. */
mert_config mert_config_95m(void);
mert_config mert_config_mert2(void);

/* Reads HF's config.json (model_type mert2, or mert_conformer, ours for what the published code does not compute: a
 * Conformer; otherwise transformers' HubertConfig), and where not NULL preprocessor_config.json and
 * processor_config.json, whose object feature_extractor is what newer transformers write instead. What these leave out
 * has the default of Wav2Vec2FeatureExtractor: do_normalize true, sampling_rate 16000; without either, nothing is
 * normalised. Files that contradict each other are an error that says both. normalize_eps in preprocessor_config.json
 * is ours. A value outside what this program computes (another activation, feat_proj_layer_norm false ...) is an error
 * that names it. `mert_pretraining` in it (ours) holds the heads. A Conformer's samples are taken as they are:
 * do_normalize true is an error, and so is a key of config.json that is not known. */
int mert_config_from_hf(mert_config *c, const mert_json *config, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e) MERT_MUST_USE;
/* The same as JSON text, to be freed by the caller. model_type is "hubert" where HuBERT's own code computes the
 * same. */
char *mert_config_to_hf(const mert_config *c);
char *mert_config_to_preprocessor(const mert_config *c);
/* The conv layers as fairseq's configurations write them: "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2". */
int mert_config_parse_convs(mert_config *c, const char *text, mert_error *e) MERT_MUST_USE;
/* Sanity of every number and their relations. */
int mert_config_check(const mert_config *c, mert_error *e) MERT_MUST_USE;

int mert_config_stride(const mert_config *c);          /* samples per frame: 320; 960 */
/* T frames come from (T - 1) * stride + so many samples or more. hubert: 400, which a frame looks at. conformer: 960,
 * its own share of the samples; each of its frames looks at the whole clip. */
int mert_config_receptive_field(const mert_config *c);
/* T of L samples, layer by layer floor((n - k) / s) + 1; 0 if too short. */
int64_t mert_config_frames(const mert_config *c, int64_t samples);
/* The fewest samples that give a frame. hubert: the receptive field. conformer: 1025 or more, since the spectrum's
 * window reaches n_fft/2 samples beyond both ends of the clip, which are mirrored there. */
int64_t mert_config_shortest(const mert_config *c);
/* -1: a clip of so many samples gives no frame; the error says how many are needed, and for what. */
int mert_config_check_length(const mert_config *c, int64_t samples, mert_error *e) MERT_MUST_USE;
/* Frames of the log-mel spectrum that a Conformer takes of L samples; 0 if too short. */
int64_t mert_config_mel_frames(const mert_config *c, int64_t samples);
/* Frames that enter a Conformer's subsampler: those, or of its extractor. */
int64_t mert_config_front_frames(const mert_config *c, int64_t samples);
/* Stage i of the subsampler: the channels that come in, whether it has a resampling convolution. */
int mert_stage_in(const mert_config *c, int stage);
int mert_stage_resamples(const mert_config *c, int stage);
/* Channels before post_extract_proj: the last conv's, plus cqt_input_bins. */
int mert_config_features(const mert_config *c);

#endif
