#include "libcommon/models/weights/fairseq.h"

#include "formats/checkpoint/write.h"
#include "formats/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static int take_int(const mert_json *j, const char *key, int *to, mert_error *e)
{
    int64_t v;
    const mert_json *value = mert_json_get(j, key);
    if (!value || mert_json_is_null(value))
        return 0;
    if (mert_json_as_int(value, &v) || v < -(1 << 30) || v > 1 << 30)
        return mert_fail(e, "%s is not a whole number of a sane size", key);
    *to = (int)v;
    return 0;
}

/* Some configurations write these numbers as 24000.0. */
static int take_rate(const mert_json *j, const char *key, int *to, mert_error *e)
{
    double v;
    const mert_json *value = mert_json_get(j, key);
    if (!value || mert_json_is_null(value))
        return 0;
    if (mert_json_as_double(value, &v) || !(v >= 1 && v <= 1 << 30) || v != (int)v)
        return mert_fail(e, "%s is no sample rate", key);
    *to = (int)v;
    return 0;
}

static int must_be(const mert_json *j, const char *key, const char *value, mert_error *e)
{
    const char *s = mert_json_string(j, key);
    return s && strcmp(s, value) ? mert_fail(e, "%s is '%s', and only '%s' is computed here", key, s, value) : 0;
}

static int must_not(const mert_json *j, const char *key, mert_error *e)
{
    int v = 0;
    return !mert_json_bool(j, key, &v) && v ? mert_fail(e, "%s is set, which is not computed here", key) : 0;
}

/* The text of an enumeration, which may be pickled as an object: {"__class__": ..., "__args__": ["layer_norm"]}. */
static const char *text_of(const mert_json *j, const char *key)
{
    const char *s = mert_json_string(j, key);
    return s ? s : mert_json_as_string(mert_json_at(mert_json_get(mert_json_get(j, key), "__args__"), 0));
}

static int take_architecture(mert_config *c, const mert_json *m, mert_error *e)
{
    const char *convs = mert_json_string(m, "conv_feature_layers"), *mode = text_of(m, "extractor_mode");
    if (convs && mert_config_parse_convs(c, convs, e))
        return -1;
    if (mode && strcmp(mode, "default") && strcmp(mode, "layer_norm"))
        return mert_fail(e, "extractor_mode is '%s': neither default nor layer_norm", mode);
    c->extractor_layer_norm = mode && !strcmp(mode, "layer_norm");
    if (take_int(m, "encoder_layers", &c->layers, e) || take_int(m, "encoder_embed_dim", &c->width, e) ||
        take_int(m, "encoder_ffn_embed_dim", &c->ffn, e) || take_int(m, "encoder_attention_heads", &c->heads, e) ||
        take_int(m, "conv_pos", &c->pos_kernel, e) || take_int(m, "conv_pos_groups", &c->pos_groups, e) ||
        take_int(m, "feature_extractor_cqt_bins", &c->cqt_input_bins, e))
        return -1;
    mert_json_bool(m, "conv_bias", &c->conv_bias);
    mert_json_bool(m, "layer_norm_first", &c->pre_ln);
    mert_json_bool(m, "deepnorm", &c->deepnorm);
    mert_json_bool(m, "feature_extractor_cqt", &c->cqt_input);
    mert_json_double(m, "attention_relax", &c->attention_relax);
    return must_be(m, "activation_fn", "gelu", e) || must_be(m, "layer_type", "transformer", e) ||
                   must_not(m, "subln", e) || must_not(m, "conv_pos_batch_norm", e)
               ? -1
               : 0;
}

int mert_config_from_fairseq(mert_config *c, const mert_json *extras, mert_error *e)
{
    const mert_json *cfg = mert_json_get(extras, "cfg"), *args = mert_json_get(extras, "args");
    const mert_json *model = mert_json_get(cfg, "model"), *task = mert_json_get(cfg, "task"), *inner;
    if (!mert_json_size(model))
        model = task = args;
    /* A fine-tuned model has the configuration of the model below it in w2v_args: hydra's parts, or all options
     * together. */
    if (mert_json_size(inner = mert_json_get(model, "w2v_args"))) {
        model = mert_json_size(mert_json_get(inner, "model")) ? mert_json_get(inner, "model") : inner;
        task = mert_json_size(mert_json_get(inner, "task")) ? mert_json_get(inner, "task") : inner;
    }
    if (!mert_json_size(model))
        return mert_fail(e, "no configuration in it (cfg.model or args)");
    *c = mert_config_95m();
    c->codebooks = 0;
    c->sample_rate = 16000; /* fairseq's default */
    c->normalize_eps = MERT_NORMALIZE_EPS_FAIRSEQ; /* fairseq applies F.layer_norm to the clip */
    if (take_architecture(c, model, e) || take_rate(task, "sample_rate", &c->sample_rate, e))
        return -1;
    mert_json_bool(task, "normalize", &c->normalize);
    return mert_config_check(c, e);
}

/* ---- writing ---- */

static const char *yes_no(int v)
{
    return v ? "true" : "false";
}

static void put_model(FILE *f, const mert_config *c)
{
    fputs("\"_name\": \"mert\", \"conv_feature_layers\": \"[", f);
    for (int i = 0; i < c->convs; i++)
        fprintf(f, "%s(%d, %d, %d)", i ? ", " : "", c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride);
    fprintf(f, "]\", \"extractor_mode\": \"%s\", \"conv_bias\": %s, ",
            c->extractor_layer_norm ? "layer_norm" : "default", yes_no(c->conv_bias));
    fprintf(f,
            "\"encoder_layers\": %d, \"encoder_embed_dim\": %d, \"encoder_ffn_embed_dim\": %d, "
            "\"encoder_attention_heads\": %d, ",
            c->layers, c->width, c->ffn, c->heads);
    fprintf(f, "\"activation_fn\": \"gelu\", \"conv_pos\": %d, \"conv_pos_groups\": %d, \"layer_norm_first\": %s, ",
            c->pos_kernel, c->pos_groups, yes_no(c->pre_ln));
    fprintf(f,
            "\"deepnorm\": %s, \"attention_relax\": %.9g, \"feature_extractor_cqt\": %s, "
            "\"feature_extractor_cqt_bins\": %d, ",
            yes_no(c->deepnorm), c->attention_relax, yes_no(c->cqt_input), c->cqt_input_bins);
    fprintf(f, "\"final_dim\": %d, \"untie_final_proj\": %s, \"learnable_temp\": %s, \"target_glu\": %s, ",
            c->final_dim, yes_no(c->untied), yes_no(c->learnable_temperature), yes_no(c->target_glu));
    fprintf(f,
            "\"audio_cqt_loss_m\": %s, \"audio_cqt_bins\": %d, \"audio_mel_loss_m\": %s, \"audio_mel_bins\": %d, "
            "\"label_rate\": %.9g",
            yes_no(c->cqt_target_bins), c->cqt_target_bins ? c->cqt_target_bins : 336, yes_no(c->mel_target_bins),
            c->mel_target_bins ? c->mel_target_bins : 128, (double)c->sample_rate / mert_config_stride(c));
}

char *mert_config_to_fairseq(const mert_config *c)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    if (!f)
        return NULL;
    fputs("{\"args\": null, \"cfg\": {\"_name\": null, \"model\": {", f);
    put_model(f, c);
    fprintf(f,
            "}, \"task\": {\"_name\": \"mert_pretraining\", \"sample_rate\": %d, \"normalize\": %s, \"label_rate\": "
            "%.9g}",
            c->sample_rate, yes_no(c->normalize), (double)c->sample_rate / mert_config_stride(c));
    fputs("}, \"criterion\": null, \"optimizer_history\": [{\"criterion_name\": \"HubertCriterion\", "
          "\"optimizer_name\": \"FairseqAdam\", "
          "\"lr_scheduler_state\": {\"best\": null}, \"num_updates\": 0}], \"task_state\": {}, \"extra_state\": {}, "
          "\"last_optimizer_state\": null}",
          f);
    return mert_memory_close(f, &m);
}

/* post_extract_proj is the identity. Models without this layer are loaded in this way. */
static int projection_is_identity(const mert_weights *w)
{
    const mert_parameter *p = mert_layout_find(&w->layout, "post_extract_proj.weight");
    const float *x = mert_weights_values(w, p), *b = mert_weights_values(w, p + 1);
    for (int64_t i = 0; i < p->n; i++)
        if (x[i] != (i / p->shape[1] == i % p->shape[1]))
            return 0;
    for (int64_t i = 0; i < p[1].n; i++)
        if (b[i] != 0)
            return 0;
    return 1;
}

/* Checks what fairseq has no option for: it would fail to load the file, or compute something else. */
static int check_fairseq_options(const mert_weights *w, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    if (c->eps != 1e-5)
        return mert_fail(e, "layer_norm_eps is %g, and fairseq computes with 1e-05 alone", c->eps);
    if (mert_config_features(c) == c->width && !projection_is_identity(w))
        return mert_fail(e,
                         "hidden_size is the width of the extractor, %d: fairseq has no post_extract_proj then, and "
                         "this model has one",
                         c->width);
    return 0;
}

int mert_weights_save_fairseq(const mert_weights *w, const char *path, mert_error *e)
{
    const mert_layout *l = &w->layout;
    mert_tensor_out *out = calloc((size_t)l->count + 1, sizeof *out);
    char *text;
    mert_json *extras;
    size_t n = 0;
    int bad = -1;
    if (check_fairseq_options(w, e)) {
        free(out);
        return mert_fail_in(e, "%s", path);
    }
    text = mert_config_to_fairseq(&l->config);
    extras = text ? mert_json_parse(text, strlen(text), path, e) : NULL;
    if (!out || !text)
        mert_fail(e, "%s: out of memory", path);
    for (int i = 0; out && i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        if (mert_config_features(&l->config) == l->config.width && !strncmp(p->name, "post_extract_proj.", 18))
            continue;
        out[n] = (mert_tensor_out){.name = p->name, .type = MERT_E_F32, .ndim = p->ndim, .data = w->values + p->offset};
        memcpy(out[n++].shape, p->shape, sizeof p->shape);
    }
    if (out && extras)
        bad = mert_torch_write(path, "model", out, n, extras, e);
    free(out);
    free(text);
    mert_json_free(extras);
    return bad;
}
