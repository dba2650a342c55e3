/* Recipes: the settings of a training run, as a text file of `name = value` lines (mert-recipe(5)). One table is used
 * for parsing, for --set, for the effective recipe that is written beside the checkpoints, and for the list in the man
 * page. Names are those of fairseq and MERT, if they have one; the defaults are those of the 95M model (man/model.md
 * 7).
 *
 *     mert_recipe r;
 *     mert_recipe_defaults(&r);
 *     mert_recipe_read(&r, "tiny", &e);  mert_recipe_set(&r, "lr=1e-3", &e);  mert_recipe_check(&r, &e);
 *     mert_recipe_model(&r, metas, K, &config, &e); */
#ifndef MERT_RECIPE_H
#define MERT_RECIPE_H

#include "formats/error.h"
#include "formats/labels/labels.h"
#include "libcommon/models/config/config.h"
#include "libcommon/models/encoder/encoder.h"
#include "libcommon/train/data/mask.h"
#include "libcommon/train/data/mixture.h"
#include "libcommon/train/recipe/update.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_convs {
    int64_t n;
    struct {
        int dim, kernel, stride;
    } layer[MERT_CONV_MAX];
} mert_convs;

enum { MERT_LIST_MAX = 16, MERT_RECIPE_PATH_MAX = 1024 };

typedef struct mert_list {
    int64_t n;
    double value[MERT_LIST_MAX]; /* the rest is 0 */
} mert_list;

/* The values. Their descriptions are in the table (settings.c). Lengths are in samples, unless the name contains
 * `frames`. */
typedef struct mert_recipe {
    /* model */
    int model; /* 0 transformer, 1 conformer */
    int64_t sample_rate;
    int front_end; /* of a Conformer: 0 mel, 1 waveform */
    int64_t num_mel_bins, n_fft, win_length, hop_length;
    double mel_mean, mel_std;
    mert_list subsampling_channels, subsampling_depths, subsampling_strides;
    int64_t subsampling_kernel_size, conv_depthwise_kernel_size;
    int64_t rotary_embedding_base;
    mert_convs conv_feature_layers;
    int extractor_mode; /* 0 default, 1 layer_norm */
    int conv_bias, normalize;
    int extractor_init; /* 0 random, 1 sinusoids */
    char pretrained_weights[MERT_RECIPE_PATH_MAX]; /* "": none */
    int feature_extractor_cqt;
    int64_t feature_extractor_cqt_bins;
    int64_t encoder_layers, encoder_embed_dim, encoder_ffn_embed_dim, encoder_attention_heads, conv_pos,
        conv_pos_groups;
    int layer_norm_first, deepnorm;
    double attention_relax;
    int64_t final_dim;
    int untie_final_proj;
    int learnable_temp, target_glu;
    /* targets */
    int64_t codebooks, random_codebook, classes, special_rows;
    double label_rate, label_tolerance;
    double logit_temp, pred_nomask_weight, features_pen_weight;
    int audio_cqt_loss_m;
    int64_t audio_cqt_bins;
    int audio_cqt_form; /* a mert_cqt_target */
    double audio_cqt_mean, audio_cqt_std;
    double cqt_loss_weight;
    int audio_mel_loss_m;
    int64_t audio_mel_bins;
    double mel_loss_weight;
    /* masks and dropout */
    double dropout, attention_dropout, activation_dropout, dropout_input, dropout_features, encoder_layerdrop,
        feature_grad_mult;
    double mask_prob;
    int64_t mask_length;
    int mask_spans, mask_with; /* 0 random, 1 grid; 0 vector, 1 noise */
    double mask_noise;
    mert_list mask_dynamic_prob_step, mask_dynamic_prob, mask_dynamic_len_step, mask_dynamic_len;
    double mask_replace;
    int mask_replace_type; /* 0 in_sample, 1 in_batch */
    double mask_origin, mask_channel_prob;
    int64_t mask_channel_length;
    double mixture_prob;
    int64_t mixture_length[2], mixture_number[2];
    double mixture_volume;
    /* batches */
    int64_t max_sample_size, min_sample_size, valid_sample_size, crops_per_item, max_tokens, batch_multiple;
    int crop_jitter;
    mert_list dynamic_crops, dynamic_crops_epoches;
    int64_t sharding_data;
    int load_random_data_shard;
    double replay_share;
    /* updates */
    int64_t update_freq, update_batches;
    double lr, lr_seconds;
    int lr_schedule; /* a mert_schedule */
    int64_t warmup_updates, total_updates, max_update;
    double adam_betas[2], adam_eps, weight_decay, clip_norm;
    double ema_decay;
    int64_t seed, valid_seed;
    int precision;              /* a mert_element_type */
    int recompute, activations; /* 0 f32, 1 bf16 */
    /* a labelled task */
    int task_kind; /* a mert_probe_task */
    int head_init; /* 0 probe, 1 zero */
    int64_t task_layer, head_hidden, freeze_updates, task_folds, task_fold;
    double head_dropout, head_lr, layer_decay;
    /* logs and checkpoints */
    int64_t log_interval, validate_interval, save_interval, keep, keep_interval;
    double save_minutes, keep_hours;
    int best_metric; /* 0 none, 1 loss, 2 ce, 3 accuracy, 4 score (of a task) */
    int64_t patience;
} mert_recipe;

void mert_recipe_defaults(mert_recipe *r);

/* Sets the values in the file; other values of *r do not change. name: a file, or one of the recipes of the program,
 * which are in DATADIR or in the source tree (base/install_paths.h). Errors name file and line: an unknown name, a name
 * that is there twice, a value that is invalid or out of range. */
int mert_recipe_read(mert_recipe *r, const char *name, mert_error *e) MERT_MUST_USE;
/* "name=value", as in --set. */
int mert_recipe_set(mert_recipe *r, const char *assignment, mert_error *e) MERT_MUST_USE;
/* Checks combinations of values; to be called after the last of the above. */
int mert_recipe_check(const mert_recipe *r, mert_error *e) MERT_MUST_USE;

/* The recipe as text, to be freed by the caller; mert_recipe_read reads the same values from it. NULL: out of memory.
 * comments: with explanation, range and default of each value. */
char *mert_recipe_text(const mert_recipe *r, int comments);

/* The value of a setting as text, to be freed by the caller; NULL: out of memory, or there is no such setting. */
char *mert_recipe_value(const mert_recipe *r, const char *name);
/* Whether a run may change this setting: 0 no; 1 yes; 2 yes, and the batches of an epoch change. */
int mert_recipe_may_change(const char *name);

/* The name of the first setting in which the two differ and that a resumed run may not change; NULL: none. It may
 * change how often it logs, validates and saves, and when it stops. */
const char *mert_recipe_difference(const mert_recipe *a, const mert_recipe *b);

/* The model that the recipe describes. labels: the .meta of the K codebooks (classes 0: not known, then the recipe's
 * `classes` is used); K = 0: the recipe's own `codebooks` and `classes`, both 0 for a model without heads. */
int mert_recipe_model(const mert_recipe *r, const mert_labels_meta *labels, int K, mert_config *c, mert_error *e)
    MERT_MUST_USE;

/* Gives that model, without heads, the head of a task with so many outputs. */
int mert_recipe_task_model(const mert_recipe *r, int64_t outputs, mert_config *c, mert_error *e) MERT_MUST_USE;
/* The other way round: sets the recipe's model to that of c, without heads. A model that no recipe describes is an
 * error. */
int mert_recipe_take_model(mert_recipe *r, const mert_config *c, mert_error *e) MERT_MUST_USE;
/* What a recipe had set and mert_recipe_take_model has changed: the number of settings, and their list in text, as
 * "encoder_layers 12 (not 3), ...". A setting that had its default does not count. -1: out of memory. */
int mert_recipe_unused(const mert_recipe *before, const mert_recipe *after, char *text, size_t size);
/* Whether "name=value", which was set before, is what the model has. The error names both values. */
int mert_recipe_kept(const mert_recipe *before, const mert_recipe *after, const char *assignment, mert_error *e)
    MERT_MUST_USE;
/* As mert_recipe_check, for a run with a task. */
int mert_recipe_check_task(const mert_recipe *r, mert_error *e) MERT_MUST_USE;

/* Sets the initial weights of that model, without pretrained_weights. */
int mert_recipe_weights(const mert_recipe *r, const mert_config *c, mert_weights *w, mert_error *e) MERT_MUST_USE;
/* Copies the extractor (convolutions and norms only) of the model `pretrained_weights`, if the recipe has one. For the
 * beginning of a run, not for a resumed one. A tensor that is missing or of another shape is an error. */
int mert_recipe_pretrained(const mert_recipe *r, mert_weights *w, mert_error *e) MERT_MUST_USE;
/* Only checks that this is possible for a model of that configuration. */
int mert_recipe_pretrained_check(const mert_recipe *r, const mert_config *c, mert_error *e) MERT_MUST_USE;

/* Whether the model's input is a mel spectrum; otherwise it is the waveform. */
static inline int mert_recipe_mel_input(const mert_recipe *r) { return r->model == 1 && r->front_end == 0; }
int64_t mert_recipe_stride(const mert_recipe *r); /* samples per frame */
/* The largest crop of an epoch in samples (epochs are counted from 0; MERT_VALIDATION: valid_sample_size, or
 * max_sample_size), and the shortest item that it takes. */
int64_t mert_recipe_crop(const mert_recipe *r, int64_t epoch);
int64_t mert_recipe_shortest(const mert_recipe *r, int64_t epoch);
/* Whether crops and masks of an epoch depend on the item alone: validation with valid_sample_size. */
static inline int mert_recipe_fixed(const mert_recipe *r, int64_t epoch)
{
    return epoch < 0 && r->valid_sample_size > 0;
}
int64_t mert_recipe_batches(const mert_recipe *r, int ranks); /* number of batches of an update of all processes
                                                               * together */
/* The seed of an epoch's crops and masks. */
static inline uint64_t mert_recipe_seed(const mert_recipe *r, int64_t epoch)
{
    return (uint64_t)(epoch < 0 ? r->valid_seed : r->seed); /* MERT_VALIDATION */
}
/* The shard (of sharding_data) that an epoch uses. */
int64_t mert_recipe_shard(const mert_recipe *r, int64_t epoch);

mert_objective_config mert_recipe_objective(const mert_recipe *r);
mert_adam_config mert_recipe_adam(const mert_recipe *r);
/* Seed and dropouts; the caller sets update and micro_batch. */
mert_forward_options mert_recipe_forward_options(const mert_recipe *r);
/* Values during an update (counted from 1). MERT_LAST_UPDATE: those of validation, which never change. */
enum { MERT_LAST_UPDATE = -1 };
mert_mask_config mert_recipe_mask(const mert_recipe *r, int64_t update);
mert_mask_config mert_recipe_channel_mask(const mert_recipe *r);
mert_replace_config mert_recipe_replace(const mert_recipe *r);
mert_mixture_config mert_recipe_mixture(const mert_recipe *r);

#endif
