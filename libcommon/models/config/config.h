/* The architecture of a model in numbers, from config.json, a fairseq configuration or a recipe. There are two kinds:
 *
 *     hubert      MERT-v1, HuBERT: convolutions over the waveform, transformer layers (man/model.md 1, 2)
 *     conformer   MERT-v2: log-mel spectrum, ConvNeXt-v2 subsampler, Conformer blocks (man/model.md 16)
 *
 * Letters for shapes: B batch, L samples, T frames, C channels of the extractor or subsampler, D width, H heads, F
 * feed-forward width, K codebooks, V classes, N layers. */
#ifndef MERT_CONFIG_H
#define MERT_CONFIG_H

#include "formats/checkpoint/checkpoint.h"
#include "formats/error.h"
#include "formats/json.h"

#include <stdint.h>

enum { MERT_CONV_MAX = 16, MERT_LAYERS_MAX = 128, MERT_CODEBOOKS_MAX = 64 };

typedef enum mert_model_kind { MERT_HUBERT, MERT_CONFORMER } mert_model_kind;

enum { MERT_STAGES_MAX = 8 };

/* The numbers that only a Conformer has. */
typedef struct mert_conformer_config {
    int n_fft, win_length, hop, mels;   /* of the log-mel spectrum: 2048, 2048, 240 samples, 128 */
    int stages;                         /* of the subsampler */
    struct { int channels, depth, stride; } stage[MERT_STAGES_MAX]; /* channels of the last stage: D; strides 1, 2, 2 */
    int subsampler_kernel;              /* of its depthwise convolutions: 7 */
    double subsampler_eps;              /* of its LayerNorms: 1e-6 */
    int kernel;                         /* of the depthwise convolution of a block: 31 */
    int rotary_base;                    /* 10000 */
    char variant[16];                   /* "30s", "fs"; this and the next two are only kept for export */
    double context;                     /* length in seconds of the clips that it was trained on; longer clips can be
                                           encoded, too */
    double initializer_range;
} mert_conformer_config;

/* |Y|, ln(|Y| + 1e-5), log10(1 + 10000 |Y|^2) of man/model.md 8.1. */
typedef enum mert_cqt_target { MERT_TARGET_MAGNITUDE, MERT_TARGET_LOG, MERT_TARGET_LOG_POWER } mert_cqt_target;

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
    int deepnorm;                       /* residuals are multiplied by (2N)^0.25 (post-LN only) */
    double eps;                         /* of all norms except those of extractor and subsampler: 1e-5; both kinds */
    int cqt_input, cqt_input_bins;      /* 1: CQT frames are an input, too; hop sample_rate / 50 */
    int normalize;                      /* at inference, per clip: (x - mean) / sqrt(var + normalize_eps) */
    double normalize_eps;               /* 1e-7 as in transformers; for fairseq's models 1e-5 */
    double attention_relax;             /* kept for export; it has no effect in exact arithmetic */
    mert_conformer_config conformer;

    /* Heads for pre-training, of both kinds. codebooks 0: no heads, as in HF directories. */
    int codebooks;                      /* K */
    int64_t classes[MERT_CODEBOOKS_MAX];/* V of each codebook, without the special rows */
    int special_rows;                   /* rows of the label embedding before label 0: fairseq's dictionary has 4 */
    int final_dim;                      /* width of the vectors whose cosine is computed */
    int untied;                         /* one projection for each codebook (final_proj has K * final_dim outputs) */
    int learnable_temperature;          /* logit_temp_list [K] */
    int target_glu;
    int cqt_target_bins;                /* outputs of the linear layer that predicts the CQT; 0: none */
    /* What it predicts: (a form of the CQT - mean) / std; std 0: not standardised. */
    mert_cqt_target cqt_target_form;
    double cqt_target_mean, cqt_target_std;
    int mel_target_bins;                /* the same for the log-mel spectrum */

    /* A head for a labelled task (train/head.h), in their place. task_outputs 0: none. */
    int task_outputs;                   /* classes, labels or numbers */
    int task_hidden;                    /* units of its hidden layer; 0: it is linear */
    int task_layers;                    /* hidden states that it is given; of several it learns a weighted sum */
} mert_config;

int mert_cqt_target_same(const mert_config *a, const mert_config *b); /* 1: form, mean and std are equal */

/* The norms of the extractor have torch's default eps, whatever layer_norm_eps is. */
#define MERT_EXTRACTOR_EPS 1e-5f
/* eps of a Conformer's response norms. */
#define MERT_RESPONSE_EPS 1e-6
#define MERT_NORMALIZE_EPS_HF 1e-7
#define MERT_NORMALIZE_EPS_FAIRSEQ 1e-5

/* The published models: the 95M model without heads, and MERT-v2-30s. */
mert_config mert_config_95m(void);
mert_config mert_config_mert2(void);

/* Reads HF's config.json and, if not NULL, preprocessor_config.json and processor_config.json (newer transformers write
 * its object feature_extractor instead of the former).
 *
 * model_type mert2 is a Conformer, and so is mert_conformer, our own type for Conformers that the published code does
 * not support. All others are read as transformers' HubertConfig. The object mert_pretraining (ours) describes the
 * heads.
 *
 * Values that preprocessor_config.json or the object does not have are the defaults of Wav2Vec2FeatureExtractor:
 * do_normalize true, sampling_rate 16000. With neither of them, samples are not normalised. normalize_eps in
 * preprocessor_config.json is ours.
 *
 * Errors: files that contradict each other (the message has both values); a value that is not supported, such as
 * another activation or feat_proj_layer_norm false (the message names it). For a Conformer also do_normalize true,
 * because its samples are not normalised, and unknown keys in config.json. */
int mert_config_from_hf(mert_config *c, const mert_json *config, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e) MERT_MUST_USE;
/* Writes these files as JSON text, which the caller frees. NULL: out of memory. model_type is "hubert" if HuBERT's own
 * code supports the model. */
char *mert_config_to_hf(const mert_config *c);
char *mert_config_to_preprocessor(const mert_config *c);
/* Reads the convolutions as fairseq's configurations write them: "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2". */
int mert_config_parse_convs(mert_config *c, const char *text, mert_error *e) MERT_MUST_USE;
/* Checks all numbers, and the relations between them. */
int mert_config_check(const mert_config *c, mert_error *e) MERT_MUST_USE;

int mert_config_stride(const mert_config *c);          /* samples per frame: 320; 960 */
/* The number n for which T frames need at least (T - 1) * stride + n samples. hubert: 400, the samples that a frame
 * depends on. conformer: 960, although each of its frames depends on the whole clip. */
int mert_config_receptive_field(const mert_config *c);
/* The number of frames T of L samples, layer by layer floor((n - k) / s) + 1; 0 if there are too few samples. */
int64_t mert_config_frames(const mert_config *c, int64_t samples);
/* The smallest number of samples that gives a frame. hubert: the receptive field. conformer with a spectrum: at least
 * 1025, because n_fft/2 samples are reflected at both ends of the clip. */
int64_t mert_config_shortest(const mert_config *c);
/* -1: a clip with this number of samples gives no frame; the error says how many are needed, and why. */
int mert_config_check_length(const mert_config *c, int64_t samples, mert_error *e) MERT_MUST_USE;
/* Number of frames of the log-mel spectrum of L samples; 0 if there are too few. */
int64_t mert_config_mel_frames(const mert_config *c, int64_t samples);
/* Number of frames that enter a Conformer's subsampler, from the spectrum or from its extractor. */
int64_t mert_config_front_frames(const mert_config *c, int64_t samples);
/* Stage i of the subsampler: its number of input channels; 1 if it has a resampling convolution. */
int mert_stage_in(const mert_config *c, int stage);
int mert_stage_resamples(const mert_config *c, int stage);
/* Removes all heads from c; only the encoder remains. */
void mert_config_drop_heads(mert_config *c);
/* Number of channels before post_extract_proj: those of the last convolution, plus cqt_input_bins. */
int mert_config_features(const mert_config *c);

#endif
