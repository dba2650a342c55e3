/* Recipes of fine-tuning, whose model is another run's. */
#include "libcommon/train/recipe/recipe.h"
#include "libcommon/train/recipe/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mert_recipe_task_model(const mert_recipe *r, int64_t outputs, mert_config *c, mert_error *e)
{
    if (r->task_layer > c->layers)
        return mert_fail(e, "task_layer %lld: the model has hidden states 0 to %d", (long long)r->task_layer,
                         c->layers);
    c->task_outputs = (int)outputs;
    c->task_hidden = (int)r->head_hidden;
    c->task_layers = r->task_layer < 0 ? c->layers + 1 : 1;
    return mert_config_check(c, e);
}

/* ---- the model ---- */

static void take_convs(mert_recipe *r, const mert_config *c)
{
    memset(&r->conv_feature_layers, 0, sizeof r->conv_feature_layers);
    r->conv_feature_layers.n = c->convs;
    for (int i = 0; i < c->convs; i++) {
        r->conv_feature_layers.layer[i].dim = c->conv[i].dim;
        r->conv_feature_layers.layer[i].kernel = c->conv[i].kernel;
        r->conv_feature_layers.layer[i].stride = c->conv[i].stride;
    }
    r->conv_bias = c->conv_bias;
    r->extractor_mode = c->extractor_layer_norm;
}

static void take_transformer(mert_recipe *r, const mert_config *c)
{
    r->normalize = c->normalize;
    r->feature_extractor_cqt = c->cqt_input;
    r->feature_extractor_cqt_bins = c->cqt_input ? c->cqt_input_bins : r->feature_extractor_cqt_bins;
    r->conv_pos = c->pos_kernel;
    r->conv_pos_groups = c->pos_groups;
    r->layer_norm_first = c->pre_ln;
    r->deepnorm = c->deepnorm;
    r->attention_relax = c->attention_relax;
}

static void take_list(mert_list *to, int n, const double *values)
{
    *to = (mert_list){.n = n};
    memcpy(to->value, values, (size_t)n * sizeof *values);
}

static void take_conformer(mert_recipe *r, const mert_config *c)
{
    const mert_conformer_config *f = &c->conformer;
    double channels[MERT_STAGES_MAX], depths[MERT_STAGES_MAX], strides[MERT_STAGES_MAX];
    for (int i = 0; i < f->stages; i++) {
        channels[i] = f->stage[i].channels;
        depths[i] = f->stage[i].depth;
        strides[i] = f->stage[i].stride;
    }
    take_list(&r->subsampling_channels, f->stages, channels);
    take_list(&r->subsampling_depths, f->stages, depths);
    take_list(&r->subsampling_strides, f->stages, strides);
    r->front_end = c->convs > 0;
    r->subsampling_kernel_size = f->subsampler_kernel;
    r->conv_depthwise_kernel_size = f->kernel;
    r->rotary_embedding_base = f->rotary_base;
    if (c->convs)
        return;
    r->num_mel_bins = f->mels;
    r->n_fft = f->n_fft;
    r->win_length = f->win_length;
    r->hop_length = f->hop;
}

/* Whether the recipe makes the same model, as far as it is computed. */
static int same_model(const mert_recipe *r, const mert_config *c, mert_error *e)
{
    mert_config made;
    if (mert_recipe_model(r, NULL, 0, &made, e))
        return -1;
    /* what no recipe has a setting for, and what does not change what is computed */
    made.normalize_eps = c->normalize_eps;
    made.cqt_input_bins = c->cqt_input ? made.cqt_input_bins : c->cqt_input_bins;
    made.attention_relax = c->attention_relax;
    memcpy(made.conformer.variant, c->conformer.variant, sizeof made.conformer.variant);
    made.conformer.context = c->conformer.context;
    made.conformer.initializer_range = c->conformer.initializer_range;
    if (made.eps != c->eps ||
        (c->kind == MERT_CONFORMER && made.conformer.subsampler_eps != c->conformer.subsampler_eps))
        return mert_fail(e, "layer_norm_eps is %g in this model: only models with %g are trained", c->eps, made.eps);
    return made.kind == c->kind && made.width == c->width && made.layers == c->layers && made.heads == c->heads &&
                   made.ffn == c->ffn && made.pre_ln == c->pre_ln && made.deepnorm == c->deepnorm &&
                   made.convs == c->convs && made.sample_rate == c->sample_rate
               ? 0
               : mert_fail(e, "no recipe describes this model");
}

int mert_recipe_take_model(mert_recipe *r, const mert_config *c, mert_error *e)
{
    mert_config bare = *c;
    mert_config_drop_heads(&bare);
    r->model = c->kind == MERT_CONFORMER;
    r->sample_rate = c->sample_rate;
    r->encoder_layers = c->layers;
    r->encoder_embed_dim = c->width;
    r->encoder_ffn_embed_dim = c->ffn;
    r->encoder_attention_heads = c->heads;
    r->codebooks = r->classes = r->random_codebook = 0;
    r->extractor_init = 0;
    *r->pretrained_weights = 0;
    if (c->convs)
        take_convs(r, c);
    if (r->model)
        take_conformer(r, c);
    else
        take_transformer(r, c);
    return same_model(r, &bare, e);
}

/* ---- what was set in vain ---- */

/* The values of a setting in three recipes. */
typedef struct values {
    char *of[3];
} values;

static int values_of(values *v, const char *name, const mert_recipe *a, const mert_recipe *b, const mert_recipe *c)
{
    *v = (values){{mert_recipe_value(a, name), mert_recipe_value(b, name), mert_recipe_value(c, name)}};
    return v->of[0] && v->of[1] && v->of[2] ? 0 : -1;
}

static void values_free(values *v)
{
    for (int i = 0; i < 3; i++)
        free(v->of[i]);
}

int mert_recipe_unused(const mert_recipe *before, const mert_recipe *after, char *text, size_t size)
{
    mert_recipe defaults;
    size_t used = 0;
    int n = 0, bad = 0;
    *text = 0;
    mert_recipe_defaults(&defaults);
    for (int i = 0; !bad && i < mert_settings_n; i++) {
        const mert_setting *s = &mert_settings[i];
        values v;
        if (s->kind == HEADING)
            continue;
        bad = values_of(&v, s->name, before, after, &defaults);
        if (!bad && strcmp(v.of[0], v.of[1]) && strcmp(v.of[0], v.of[2])) {
            if (used < size)
                used += (size_t)snprintf(text + used, size - used, "%s%s %s (not %s)", n ? ", " : "", s->name, v.of[1],
                                         v.of[0]);
            n++;
        }
        values_free(&v);
    }
    return bad ? -1 : n;
}

int mert_recipe_kept(const mert_recipe *before, const mert_recipe *after, const char *assignment, mert_error *e)
{
    const char *first = assignment + strspn(assignment, " \t");
    char *name = strndup(first, strcspn(first, "= \t"));
    mert_recipe asked = *after;
    values v = {{0}};
    int bad = mert_recipe_set(&asked, assignment, e);
    if (!bad && (!name || values_of(&v, name, before, after, &asked)))
        bad = mert_fail(e, "out of memory");
    /* a later assignment of the same setting counts */
    if (!bad && !strcmp(v.of[0], v.of[2]) && strcmp(v.of[1], v.of[2]))
        bad = mert_fail(e, "%s: the model has %s %s, and a task trains it as it is: leave the setting out", assignment,
                        name, v.of[1]);
    values_free(&v);
    free(name);
    return bad;
}

int mert_recipe_check_task(const mert_recipe *r, mert_error *e)
{
    mert_recipe bare = *r;
    if (r->best_metric == 2 || r->best_metric == 3)
        return mert_fail(e, "best_metric = %s: of a task it is loss or score", r->best_metric == 2 ? "ce" : "accuracy");
    if (r->task_fold >= r->task_folds)
        return mert_fail(e, "task_fold %lld: there are task_folds %lld, from 0", (long long)r->task_fold,
                         (long long)r->task_folds);
    if (r->replay_share > 0 || r->sharding_data > 1)
        return mert_fail(e, "%s: a task has neither shards nor an old corpus",
                         r->replay_share > 0 ? "replay_share" : "sharding_data");
    bare.best_metric = bare.patience = 0;
    return mert_recipe_check(&bare, e);
}
