/* Converts a recipe to the settings of the model, the objective, the optimiser, masks and mixture. */
#include "libcommon/train/recipe/settings.h"

#include "libcommon/base/random.h"
#include "libcommon/train/recipe/sinusoids.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Samples per frame, whatever the numbers are. */
static double frame_stride(const mert_recipe *r)
{
    double stride = mert_recipe_mel_input(r) ? (double)r->hop_length : 1;
    for (int64_t i = 0; !mert_recipe_mel_input(r) && i < r->conv_feature_layers.n; i++)
        stride *= r->conv_feature_layers.layer[i].stride;
    for (int64_t i = 0; r->model && i < r->subsampling_strides.n; i++)
        stride *= r->subsampling_strides.value[i];
    return stride;
}

int64_t mert_recipe_stride(const mert_recipe *r)
{
    double stride = frame_stride(r);
    return stride < 1 << 30 ? (int64_t)stride : 1 << 30;
}

static int check_range(const int64_t v[2], const char *name, mert_error *e)
{
    return v[0] <= v[1] ? 0 : mert_fail(e, "%s: %" PRId64 " is more than %" PRId64, name, v[0], v[1]);
}

static int check_rising(const mert_list *l, const char *name, mert_error *e)
{
    for (int64_t i = 1; i < l->n; i++)
        if (l->value[i] <= l->value[i - 1])
            return mert_fail(e, "%s: %.10g does not come after %.10g", name, l->value[i], l->value[i - 1]);
    return 0;
}

/* n steps need n + 1 values; without steps there are no values. */
static int check_stages(const mert_list *steps, const mert_list *values, const char *name, mert_error *e)
{
    if (values->n != (steps->n ? steps->n + 1 : 0))
        return mert_fail(e, "%s: %" PRId64 " values for %" PRId64 " steps, there must be one more than steps", name,
                         values->n, steps->n);
    return check_rising(steps, name, e);
}

static int check_changes(const mert_recipe *r, mert_error *e)
{
    if (check_stages(&r->mask_dynamic_prob_step, &r->mask_dynamic_prob, "mask_dynamic_prob", e) ||
        check_stages(&r->mask_dynamic_len_step, &r->mask_dynamic_len, "mask_dynamic_len", e))
        return -1;
    if (r->dynamic_crops.n != r->dynamic_crops_epoches.n)
        return mert_fail(e, "dynamic_crops: %" PRId64 " lengths for the %" PRId64 " epochs of dynamic_crops_epoches",
                         r->dynamic_crops.n, r->dynamic_crops_epoches.n);
    if (r->dynamic_crops.n && r->dynamic_crops_epoches.value[0] != 1)
        return mert_fail(e, "dynamic_crops_epoches: the first epoch must be 1");
    return check_rising(&r->dynamic_crops_epoches, "dynamic_crops_epoches", e);
}

/* The shortest and the longest crop of any epoch, and which settings they come from. */
static void crop_range(const mert_recipe *r, int64_t *shortest, int64_t *longest, const char **short_name,
                       const char **long_name)
{
    *shortest = r->min_sample_size, *short_name = "min_sample_size";
    *longest = r->max_sample_size, *long_name = "max_sample_size";
    if (r->valid_sample_size && r->valid_sample_size < *shortest)
        *shortest = r->valid_sample_size, *short_name = "valid_sample_size";
    if (r->valid_sample_size > *longest)
        *longest = r->valid_sample_size, *long_name = "valid_sample_size";
    for (int64_t i = 0; i < r->dynamic_crops.n; i++) {
        int64_t n = mert_recipe_crop(r, (int64_t)r->dynamic_crops_epoches.value[i] - 1);
        if (n < *shortest)
            *shortest = n, *short_name = "dynamic_crops,";
        if (n > *longest)
            *longest = n, *long_name = "dynamic_crops,";
    }
}

static int64_t longest_mask(const mert_recipe *r)
{
    int64_t length = r->mask_dynamic_len.n ? 0 : r->mask_length;
    for (int64_t i = 0; i < r->mask_dynamic_len.n; i++)
        length = r->mask_dynamic_len.value[i] > (double)length ? (int64_t)r->mask_dynamic_len.value[i] : length;
    return length;
}

static int check_batches(const mert_recipe *r, mert_error *e)
{
    int64_t shortest, longest;
    const char *short_name, *long_name;
    crop_range(r, &shortest, &longest, &short_name, &long_name);
    if (frame_stride(r) > 1 << 20)
        return mert_fail(e, "%s: %.0f samples per frame", r->model ? "subsampling_strides" : "conv_feature_layers",
                         frame_stride(r));
    if (r->min_sample_size > r->max_sample_size)
        return mert_fail(e, "min_sample_size %" PRId64 " is more than max_sample_size %" PRId64, r->min_sample_size,
                         r->max_sample_size);
    if (r->max_tokens < longest)
        return mert_fail(e, "max_tokens %" PRId64 ": not even one crop of %s %" PRId64 " fits a batch", r->max_tokens,
                         long_name, longest);
    return check_range(r->mixture_length, "inbatch_noise_augment_len_range", e) ||
                   check_range(r->mixture_number, "inbatch_noise_augment_number_range", e)
               ? -1
               : 0;
}

static int check_masks(const mert_recipe *r, mert_error *e)
{
    if (r->mask_with && (r->mask_replace > 0 || r->mask_origin > 0))
        return mert_fail(e, "%s: noise stands in the place of all masked frames (mask_with)",
                         r->mask_replace > 0 ? "mask_replace" : "mask_origin");
    if (r->mask_with && r->mask_noise <= 0)
        return mert_fail(e, "mask_noise: noise of deviation 0 is silence");
    return 0;
}

/* A setting that the model does not use must have its default or 0. */
static int check_meaning(const mert_recipe *r, mert_error *e)
{
    const mert_setting *s = mert_recipe_meaningless(r);
    return s ? mert_fail(e, "%s: has no effect with model = %s%s", s->name, r->model ? "conformer" : "transformer",
                         !r->model           ? ""
                         : r->front_end == 0 ? " with front_end = mel"
                                             : " with front_end = waveform")
             : 0;
}

/* A target that is not predicted has its defaults. */
static int check_targets(const mert_recipe *r, mert_error *e)
{
    const char *name = NULL;
    if (r->audio_cqt_loss_m)
        return 0;
    if (r->audio_cqt_form)
        name = "audio_cqt_form";
    else if (r->audio_cqt_mean != 0 || r->audio_cqt_std != 1)
        name = r->audio_cqt_mean != 0 ? "audio_cqt_mean" : "audio_cqt_std";
    return name ? mert_fail(e, "%s: means nothing with audio_cqt_loss_m = no", name) : 0;
}

int mert_recipe_check(const mert_recipe *r, mert_error *e)
{
    mert_config c;
    mert_recipe heads = *r;
    int64_t shortest, longest;
    const char *short_name, *long_name;
    if (check_meaning(r, e) || check_targets(r, e) || check_masks(r, e) || check_changes(r, e) || check_batches(r, e))
        return -1;
    if (r->warmup_updates >= r->total_updates)
        return mert_fail(e, "warmup_updates %" PRId64 " leaves nothing of total_updates %" PRId64, r->warmup_updates,
                         r->total_updates);
    if (r->patience && !r->best_metric)
        return mert_fail(e, "patience %" PRId64 " needs a best_metric", r->patience);
    /* The labels are not known here: any number of codebooks is valid. */
    heads.codebooks = r->codebooks ? r->codebooks : 1;
    heads.classes = r->classes ? r->classes : 2;
    if (mert_recipe_model(&heads, NULL, 0, &c, e))
        return -1;
    crop_range(r, &shortest, &longest, &short_name, &long_name);
    if (mert_config_frames(&c, shortest) < longest_mask(r) + 1)
        return mert_fail(e, "%s %" PRId64 ": %" PRId64 " frames have no room for mask_length %" PRId64,
                         short_name, shortest, mert_config_frames(&c, shortest), longest_mask(r));
    if (r->mask_channel_prob > 0 && r->mask_channel_length >= r->encoder_embed_dim)
        return mert_fail(e, "mask_channel_length %" PRId64 ": the width is %" PRId64, r->mask_channel_length,
                         r->encoder_embed_dim);
    return 0;
}

static int heads(const mert_recipe *r, const mert_labels_meta *labels, int K, mert_config *c, mert_error *e)
{
    if (!K && !r->codebooks && r->classes)
        return mert_fail(e, "classes is set but codebooks is not");
    c->codebooks = K ? K : (int)r->codebooks;
    for (int k = 0; k < c->codebooks; k++) {
        c->classes[k] = K && labels[k].classes ? labels[k].classes : r->classes;
        if (!c->classes[k])
            return mert_fail(
                e,
                "the number of classes of codebook %d is not known: its labels have no .meta file, and the recipe's "
                "classes is 0",
                k);
        if (r->classes && c->classes[k] != r->classes)
            return mert_fail(e, "codebook %d has %" PRId64 " classes, the recipe says %" PRId64, k, c->classes[k],
                             r->classes);
    }
    if (c->codebooks && r->random_codebook > c->codebooks)
        return mert_fail(e, "random_codebook %" PRId64 ": there are %d codebooks", r->random_codebook, c->codebooks);
    if (!c->codebooks)
        return 0;
    c->special_rows = (int)r->special_rows;
    c->final_dim = (int)r->final_dim;
    c->untied = r->untie_final_proj;
    c->learnable_temperature = r->learnable_temp;
    c->target_glu = r->target_glu;
    c->cqt_target_bins = r->audio_cqt_loss_m ? (int)r->audio_cqt_bins : 0;
    c->cqt_target_form = (mert_cqt_target)r->audio_cqt_form;
    if (r->audio_cqt_mean != 0 || r->audio_cqt_std != 1) {
        c->cqt_target_mean = r->audio_cqt_mean;
        c->cqt_target_std = r->audio_cqt_std;
    }
    c->mel_target_bins = r->audio_mel_loss_m ? (int)r->audio_mel_bins : 0;
    return 0;
}

/* The stages of a Conformer's subsampler, and what comes before them. */
static int subsampler(const mert_recipe *r, mert_config *c, mert_error *e)
{
    const mert_list *dims = &r->subsampling_channels, *depths = &r->subsampling_depths;
    const mert_list *strides = &r->subsampling_strides;
    mert_conformer_config *f = &c->conformer;
    if (!dims->n || depths->n != dims->n || strides->n != dims->n)
        return mert_fail(e, "subsampling_channels, subsampling_depths and subsampling_strides: %lld, %lld and %lld "
                         "stages", (long long)dims->n, (long long)depths->n, (long long)strides->n);
    if (dims->n > MERT_STAGES_MAX)
        return mert_fail(e, "subsampling_channels: more than %d stages", MERT_STAGES_MAX);
    f->stages = (int)dims->n;
    for (int i = 0; i < f->stages; i++) {
        f->stage[i].channels = (int)dims->value[i];
        f->stage[i].depth = (int)depths->value[i];
        f->stage[i].stride = (int)strides->value[i];
    }
    f->subsampler_kernel = (int)r->subsampling_kernel_size;
    f->kernel = (int)r->conv_depthwise_kernel_size;
    f->rotary_base = (int)r->rotary_embedding_base;
    f->context = (double)r->max_sample_size / (double)r->sample_rate;
    f->mels = (int)r->num_mel_bins;
    f->n_fft = (int)r->n_fft;
    f->win_length = (int)r->win_length;
    f->hop = (int)r->hop_length;
    return 0;
}

int mert_recipe_model(const mert_recipe *r, const mert_labels_meta *labels, int K, mert_config *c, mert_error *e)
{
    *c = r->model ? mert_config_mert2() : mert_config_95m();
    if (K < 0 || K > MERT_CODEBOOKS_MAX)
        return mert_fail(e, "%d codebooks: at most %d", K, MERT_CODEBOOKS_MAX);
    c->sample_rate = (int)r->sample_rate;
    c->convs = mert_recipe_mel_input(r) ? 0 : (int)r->conv_feature_layers.n;
    for (int i = 0; i < c->convs; i++) {
        c->conv[i].dim = r->conv_feature_layers.layer[i].dim;
        c->conv[i].kernel = r->conv_feature_layers.layer[i].kernel;
        c->conv[i].stride = r->conv_feature_layers.layer[i].stride;
    }
    c->conv_bias = r->conv_bias;
    c->normalize = r->normalize;
    c->normalize_eps = r->normalize ? MERT_NORMALIZE_EPS_FAIRSEQ : c->normalize_eps;
    c->cqt_input = r->feature_extractor_cqt;
    c->cqt_input_bins = (int)r->feature_extractor_cqt_bins;
    c->extractor_layer_norm = r->extractor_mode;
    c->width = (int)r->encoder_embed_dim;
    c->layers = (int)r->encoder_layers;
    c->heads = (int)r->encoder_attention_heads;
    c->ffn = (int)r->encoder_ffn_embed_dim;
    c->pos_kernel = (int)r->conv_pos;
    c->pos_groups = (int)r->conv_pos_groups;
    c->pre_ln = r->layer_norm_first;
    c->deepnorm = r->deepnorm;
    c->attention_relax = r->attention_relax;
    if (r->model && subsampler(r, c, e))
        return -1;
    if (heads(r, labels, K, c, e))
        return -1;
    return mert_config_check(c, e);
}

static void fill_with(mert_weights *w, const char *name, float value)
{
    const mert_parameter *p = mert_layout_find(&w->layout, name);
    for (int64_t i = 0; i < p->n; i++)
        w->values[p->offset + i] = value;
}

int mert_recipe_weights(const mert_recipe *r, const mert_config *c, mert_weights *w, mert_error *e)
{
    const mert_parameter *temperature;
    if (mert_weights_init(w, c, (uint64_t)r->seed, e))
        return -1;
    if ((temperature = mert_layout_find(&w->layout, "logit_temp_list")))
        for (int64_t k = 0; k < temperature->n; k++)
            w->values[temperature->offset + k] = (float)log(1 / r->logit_temp);
    if (mert_recipe_mel_input(r)) {
        fill_with(w, "feature_extractor.mel_mean", (float)r->mel_mean);
        fill_with(w, "feature_extractor.mel_std", (float)r->mel_std);
    }
    if (!r->extractor_init || !mert_filters_sinusoids(w, e))
        return 0;
    mert_weights_free(w);
    return -1;
}

/* Reads the extractor of the recipe's pretrained model and compares it with the layout `to`; values: where it is
 * copied, or NULL. */
static int pretrained(const mert_recipe *r, const mert_layout *to, float *values, mert_error *e)
{
    static const char extractor[] = "feature_extractor.";
    mert_weights from;
    int bad = 0;
    if (!*r->pretrained_weights)
        return 0;
    if (mert_weights_load(&from, r->pretrained_weights, 0, e))
        return mert_fail_in(e, "pretrained_weights");
    for (int i = 0; !bad && i < to->count; i++) {
        const mert_parameter *p = &to->parameters[i], *have = mert_layout_find(&from.layout, p->name);
        if (strncmp(p->name, extractor, sizeof extractor - 1))
            continue;
        if (!have || have->ndim != p->ndim || memcmp(have->shape, p->shape, (size_t)p->ndim * sizeof *p->shape))
            bad = mert_fail(e, "pretrained_weights: %s: tensor %s is %s", r->pretrained_weights, p->name,
                            have ? "of another shape than the recipe makes it" : "missing");
        else if (values)
            memcpy(values + p->offset, from.values + have->offset, (size_t)p->n * sizeof *values);
    }
    mert_weights_free(&from);
    return bad;
}

int mert_recipe_pretrained(const mert_recipe *r, mert_weights *w, mert_error *e)
{
    return pretrained(r, &w->layout, w->values, e);
}

int mert_recipe_pretrained_check(const mert_recipe *r, const mert_config *c, mert_error *e)
{
    mert_layout l;
    int bad;
    if (mert_layout_make(&l, c, e))
        return -1;
    bad = pretrained(r, &l, NULL, e);
    mert_layout_free(&l);
    return bad;
}

/* ---- settings that change during the run ---- */

int64_t mert_recipe_crop(const mert_recipe *r, int64_t epoch)
{
    double seconds = 0;
    for (int64_t i = 0; epoch >= 0 && i < r->dynamic_crops.n; i++)
        if ((double)(epoch + 1) >= r->dynamic_crops_epoches.value[i])
            seconds = r->dynamic_crops.value[i];
    if (mert_recipe_fixed(r, epoch))
        return r->valid_sample_size;
    return seconds > 0 ? llround(seconds * (double)r->sample_rate) : r->max_sample_size;
}

int64_t mert_recipe_shortest(const mert_recipe *r, int64_t epoch)
{
    return mert_recipe_fixed(r, epoch) ? r->valid_sample_size : r->min_sample_size;
}

int64_t mert_recipe_batches(const mert_recipe *r, int ranks)
{
    return r->update_batches ? r->update_batches : r->update_freq * ranks;
}

int64_t mert_recipe_shard(const mert_recipe *r, int64_t epoch)
{
    mert_random key = mert_random_key((uint64_t)r->seed, MERT_FOR_SHARD, 0, 0, 0);
    if (r->sharding_data < 2)
        return 0;
    return r->load_random_data_shard ? mert_random_below(&key, (uint32_t)epoch, (uint32_t)r->sharding_data)
                                     : epoch % r->sharding_data;
}

/* The value of a setting after `done` updates. */
static double stage(const mert_list *steps, const mert_list *values, int64_t done, double otherwise)
{
    int64_t i = 0;
    if (!values->n)
        return otherwise;
    while (i < steps->n && (done < 0 || (double)done >= steps->value[i]))
        i++;
    return values->value[i];
}

mert_mask_config mert_recipe_mask(const mert_recipe *r, int64_t update)
{
    int64_t done = update == MERT_LAST_UPDATE ? -1 : update - 1;
    return (mert_mask_config){
        .prob = stage(&r->mask_dynamic_prob_step, &r->mask_dynamic_prob, done, r->mask_prob),
        .length = (int64_t)stage(&r->mask_dynamic_len_step, &r->mask_dynamic_len, done, (double)r->mask_length),
        .min_spans = 2,
        .grid = r->mask_spans};
}

mert_mask_config mert_recipe_channel_mask(const mert_recipe *r)
{
    return (mert_mask_config){.prob = r->mask_channel_prob, .length = r->mask_channel_length};
}

mert_replace_config mert_recipe_replace(const mert_recipe *r)
{
    return (mert_replace_config){
        .replace = r->mask_replace, .origin = r->mask_origin, .in_batch = r->mask_replace_type};
}

/* ---- settings of the modules ---- */

mert_objective_config mert_recipe_objective(const mert_recipe *r)
{
    return (mert_objective_config){.nomask_weight = r->pred_nomask_weight,
                                   .features_pen_weight = mert_recipe_mel_input(r) ? 0 : r->features_pen_weight,
                                   .cqt_weight = r->cqt_loss_weight,
                                   .mel_weight = r->mel_loss_weight,
                                   .logit_temperature = r->logit_temp,
                                   .random_codebook = (int)r->random_codebook,
                                   .task = {.kind = r->task_kind,
                                            .layer = (int)r->task_layer,
                                            .dropout = r->head_dropout,
                                            .layer_decay = r->layer_decay,
                                            .head_lr = r->head_lr,
                                            .extractor = r->feature_grad_mult > 0}};
}

mert_adam_config mert_recipe_adam(const mert_recipe *r)
{
    return (mert_adam_config){.beta1 = r->adam_betas[0],
                              .beta2 = r->adam_betas[1],
                              .eps = r->adam_eps,
                              .weight_decay = r->weight_decay,
                              .clip_norm = r->clip_norm};
}

mert_forward_options mert_recipe_forward_options(const mert_recipe *r)
{
    return (mert_forward_options){.training = 1,
                         .dropout = r->dropout,
                         .attention_dropout = r->attention_dropout,
                         .activation_dropout = r->activation_dropout,
                         .input_dropout = r->dropout_input,
                         .feature_dropout = r->dropout_features,
                         .layerdrop = r->encoder_layerdrop,
                         .feature_grad_mult = r->feature_grad_mult,
                         .recompute = r->recompute,
                         .narrow = r->activations == 1,
                         .seed = (uint64_t)r->seed};
}

mert_mixture_config mert_recipe_mixture(const mert_recipe *r)
{
    return (mert_mixture_config){.prob = r->mixture_prob,
                                 .length = {r->mixture_length[0], r->mixture_length[1]},
                                 .number = {r->mixture_number[0], r->mixture_number[1]},
                                 .volume = r->mixture_volume};
}
