/* The kind hubert: transformers' HubertConfig, fairseq's lists of convolutions, defaults of recipes. */
#include "libcommon/models/config/kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mert_config mert_config_95m(void)
{
    mert_config c = {.sample_rate = 24000,
                     .convs = 7,
                     .width = 768,
                     .layers = 12,
                     .heads = 12,
                     .ffn = 3072,
                     .pos_kernel = 128,
                     .pos_groups = 16,
                     .eps = 1e-5,
                     .normalize_eps = MERT_NORMALIZE_EPS_HF,
                     .cqt_input_bins = 336,
                     .attention_relax = -1,
                     .special_rows = 4,
                     .untied = 1};
    for (int i = 0; i < 7; i++) {
        c.conv[i].dim = 512;
        c.conv[i].kernel = i == 0 ? 10 : i < 5 ? 3 : 2;
        c.conv[i].stride = i == 0 ? 5 : 2;
    }
    return c;
}

int mert_hubert_stride(const mert_config *c)
{
    int64_t s = 1;
    for (int i = 0; i < c->convs && s < 1 << 20; i++)
        s *= c->conv[i].stride;
    return (int)s;
}

int mert_hubert_receptive_field(const mert_config *c)
{
    int64_t n = 1;
    for (int i = c->convs - 1; i >= 0 && n < 1 << 20; i--)
        n = (n - 1) * c->conv[i].stride + c->conv[i].kernel;
    return (int)n;
}

int64_t mert_hubert_frames(const mert_config *c, int64_t samples)
{
    for (int i = 0; i < c->convs; i++) {
        if (samples < c->conv[i].kernel)
            return 0;
        samples = (samples - c->conv[i].kernel) / c->conv[i].stride + 1;
    }
    return samples;
}

int mert_config_features(const mert_config *c)
{
    return c->conv[c->convs - 1].dim + (c->cqt_input ? c->cqt_input_bins : 0);
}

int mert_extractor_check(const mert_config *c, mert_error *e)
{
    if (mert_config_within(c->convs, 1, MERT_CONV_MAX, "the number of conv layers", e))
        return -1;
    for (int i = 0; i < c->convs; i++)
        if (mert_config_within(c->conv[i].dim, 1, 65536, "conv_dim", e) ||
            mert_config_within(c->conv[i].kernel, 1, 1024, "conv_kernel", e) ||
            mert_config_within(c->conv[i].stride, 1, 1024, "conv_stride", e))
            return -1;
    if (mert_hubert_stride(c) > 1 << 16 || mert_hubert_receptive_field(c) > 1 << 18)
        return mert_fail(e, "the conv layers span more than %d samples", 1 << 18);
    return 0;
}

int mert_hubert_check(const mert_config *c, mert_error *e)
{
    if (mert_extractor_check(c, e) ||
        mert_config_within(c->pos_kernel, 1, 4096, "num_conv_pos_embeddings", e) ||
        mert_config_within(c->pos_groups, 1, 65536, "num_conv_pos_embedding_groups", e))
        return -1;
    if (c->width % c->pos_groups)
        return mert_fail(e, "hidden_size %d is not a multiple of num_conv_pos_embedding_groups %d", c->width,
                         c->pos_groups);
    if (!(c->normalize_eps > 0 && c->normalize_eps < 1))
        return mert_fail(e, "normalize_eps %g is outside 0 to 1", c->normalize_eps);
    return c->cqt_input ? mert_config_within(c->cqt_input_bins, 1, 65536, "feature_extractor_cqt_bins", e) : 0;
}

/* ---- from config.json ---- */

static int take_convs(mert_config *c, const mert_json *j, mert_error *e)
{
    const mert_json *dim = mert_json_get(j, "conv_dim"), *kernel = mert_json_get(j, "conv_kernel"),
                    *stride = mert_json_get(j, "conv_stride");
    int64_t d, k, s;
    if (!dim && !kernel && !stride)
        return 0;
    if (!mert_json_size(dim) || mert_json_size(dim) != mert_json_size(kernel) ||
        mert_json_size(dim) != mert_json_size(stride) || mert_json_size(dim) > MERT_CONV_MAX)
        return mert_fail(e, "conv_dim, conv_kernel and conv_stride are not lists of one length (1 to %d)",
                         MERT_CONV_MAX);
    c->convs = (int)mert_json_size(dim);
    for (int i = 0; i < c->convs; i++) {
        if (mert_json_as_int(mert_json_at(dim, (size_t)i), &d) ||
            mert_json_as_int(mert_json_at(kernel, (size_t)i), &k) ||
            mert_json_as_int(mert_json_at(stride, (size_t)i), &s) || d < 0 || k < 0 || s < 0 || d > 1 << 30 ||
            k > 1 << 30 || s > 1 << 30)
            return mert_fail(e, "conv_dim, conv_kernel or conv_stride holds something else than sane whole numbers");
        c->conv[i].dim = (int)d;
        c->conv[i].kernel = (int)k;
        c->conv[i].stride = (int)s;
    }
    return 0;
}

/* What a file says about the audio that the model expects; values that it does not have are the defaults of its
 * class. */
typedef struct audio_settings {
    const char *file;
    int rate, normalize, has_rate, has_normalize;
    double normalize_eps;
} audio_settings;

static int take_audio_settings(audio_settings *h, const mert_json *j, const char *file, mert_error *e)
{
    const char *type;
    *h = (audio_settings){.file = file, .rate = 16000, .normalize = 1, .normalize_eps = MERT_NORMALIZE_EPS_HF,
                   .has_rate = mert_json_get(j, "sampling_rate") != NULL,
                   .has_normalize = mert_json_get(j, "do_normalize") != NULL};
    if (!mert_json_is_object(j))
        return mert_fail(e, "%s: no object", file);
    if (mert_config_read_string(j, "feature_extractor_type", &type, e) ||
        mert_config_read_int(j, "sampling_rate", &h->rate, e) ||
        mert_config_read_bool(j, "do_normalize", &h->normalize, e) ||
        mert_config_read_double(j, "normalize_eps", &h->normalize_eps, e))
        return mert_fail_in(e, "%s", file);
    return !type || !strcmp(type, "Wav2Vec2FeatureExtractor") ? 0
               : mert_fail(e, "%s: feature_extractor_type is '%.60s', and only 'Wav2Vec2FeatureExtractor' is computed "
                              "here", file, type);
}

static const char *by_default(int says)
{
    return says ? "" : " (its default)";
}

/* Reads the sample rate and the normalisation from the files that have them. They must agree. */
static int take_audio(mert_config *c, const mert_json *j, const mert_json *preprocessor, const mert_json *processor,
                      mert_error *e)
{
    const mert_json *inside = mert_json_get(processor, "feature_extractor");
    audio_settings h[2];
    int n = 0;
    if (preprocessor && take_audio_settings(&h[n++], preprocessor, "preprocessor_config.json", e))
        return -1;
    if (inside && take_audio_settings(&h[n++], inside, "processor_config.json: feature_extractor", e))
        return -1;
    if (n == 2 && h[0].normalize != h[1].normalize)
        return mert_fail(e, "do_normalize is %s%s in %s and %s%s in %s", h[0].normalize ? "true" : "false",
                         by_default(h[0].has_normalize), h[0].file, h[1].normalize ? "true" : "false",
                         by_default(h[1].has_normalize), h[1].file);
    if (n == 2 && h[0].rate != h[1].rate)
        return mert_fail(e, "sampling_rate is %d Hz%s in %s and %d Hz%s in %s", h[0].rate, by_default(h[0].has_rate),
                         h[0].file, h[1].rate, by_default(h[1].has_rate), h[1].file);
    c->sample_rate = n ? h[0].rate : 16000; /* of HuBERT and wav2vec2, whose configurations do not have it */
    c->normalize = n ? h[0].normalize : 0;
    c->normalize_eps = n ? h[0].normalize_eps : MERT_NORMALIZE_EPS_HF;
    if (mert_config_read_int(j, "sample_rate", &c->sample_rate, e))
        return -1;
    return n && h[0].rate != c->sample_rate
               ? mert_fail(e, "sample_rate is %d Hz in config.json, but sampling_rate is %d Hz%s in %s", c->sample_rate,
                           h[0].rate, by_default(h[0].has_rate), h[0].file)
               : 0;
}

int mert_config_read_extractor(mert_config *c, const mert_json *j, mert_error *e)
{
    const char *norm;
    int count;
    if (take_convs(c, j, e) || mert_config_read_bool(j, "conv_bias", &c->conv_bias, e) ||
        mert_config_read_string(j, "feat_extract_norm", &norm, e))
        return -1;
    if (norm && strcmp(norm, "group") && strcmp(norm, "layer"))
        return mert_fail(e, "feat_extract_norm is '%s': neither group nor layer", norm);
    c->extractor_layer_norm = norm && !strcmp(norm, "layer");
    count = c->convs;
    if (mert_config_read_int(j, "num_feat_extract_layers", &count, e))
        return -1;
    if (count != c->convs)
        return mert_fail(e, "num_feat_extract_layers is %d, but conv_dim has %d entries", count, c->convs);
    return 0;
}

int mert_hubert_from_hf(mert_config *c, const mert_json *j, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e)
{
    *c = mert_config_95m();
    if (take_audio(c, j, preprocessor, processor, e) || mert_config_read_extractor(c, j, e) ||
        mert_config_read_int(j, "hidden_size", &c->width, e) ||
        mert_config_read_int(j, "num_hidden_layers", &c->layers, e) ||
        mert_config_read_int(j, "num_attention_heads", &c->heads, e) ||
        mert_config_read_int(j, "intermediate_size", &c->ffn, e) ||
        mert_config_read_int(j, "num_conv_pos_embeddings", &c->pos_kernel, e) ||
        mert_config_read_int(j, "num_conv_pos_embedding_groups", &c->pos_groups, e) ||
        mert_config_read_bool(j, "do_stable_layer_norm", &c->pre_ln, e) ||
        mert_config_read_bool(j, "deepnorm", &c->deepnorm, e) ||
        mert_config_read_bool(j, "feature_extractor_cqt", &c->cqt_input, e) ||
        mert_config_read_int(j, "feature_extractor_cqt_bins", &c->cqt_input_bins, e))
        return -1;
    if (mert_config_read_double(j, "layer_norm_eps", &c->eps, e) ||
        mert_config_read_double(j, "attention_relax", &c->attention_relax, e))
        return -1;
    if (mert_config_must_be(j, "hidden_act", "gelu", e) ||
        mert_config_must_be(j, "feat_extract_activation", "gelu", e) ||
        mert_config_must_not(j, "feat_proj_layer_norm", 0, e) || mert_config_must_not(j, "conv_pos_batch_norm", 1, e))
        return -1;
    return 0;
}

/* Parses a sum of lists of triples; each list can have a factor. */
int mert_config_parse_convs(mert_config *c, const char *text, mert_error *e)
{
    const char *p = text;
    c->convs = 0;
    for (;;) {
        int first = c->convs, n, dim, kernel, stride, times = 1, used = 0;
        if (sscanf(p, " [%n", &used), !used)
            goto wrong;
        p += used;
        do {
            used = 0;
            if (sscanf(p, " ( %d , %d , %d )%n", &dim, &kernel, &stride, &used) != 3 || !used ||
                c->convs == MERT_CONV_MAX)
                goto wrong;
            p += used;
            c->conv[c->convs].dim = dim;
            c->conv[c->convs].kernel = kernel;
            c->conv[c->convs++].stride = stride;
            used = 0;
            sscanf(p, " ,%n", &used);
            p += used;
        } while (used);
        if (sscanf(p, " ]%n", &used), !used)
            goto wrong;
        p += used;
        used = 0;
        if (sscanf(p, " * %d%n", &times, &used) == 1 && used)
            p += used;
        n = c->convs - first;
        if (times < 1 || times > MERT_CONV_MAX || first + n * times > MERT_CONV_MAX)
            goto wrong;
        for (int i = n; i < n * times; i++)
            c->conv[c->convs++] = c->conv[first + i % n];
        used = 0;
        sscanf(p, " +%n", &used);
        if (!used)
            break;
        p += used;
    }
    if (p[strspn(p, " ")])
        goto wrong;
    return 0;
wrong:
    return mert_fail(e, "conv_feature_layers '%s': neither a list of (width, kernel, stride) nor a sum of such lists",
                     text);
}

/* ---- to config.json ---- */

static void put_convs(FILE *f, const mert_config *c, const char *name, int field)
{
    fprintf(f, "  \"%s\": [", name);
    for (int i = 0; i < c->convs; i++)
        fprintf(f, "%s%d", i ? ", " : "",
                field == 0   ? c->conv[i].dim
                : field == 1 ? c->conv[i].kernel
                             : c->conv[i].stride);
    fprintf(f, "],\n");
}

void mert_extractor_put(FILE *f, const mert_config *c)
{
    put_convs(f, c, "conv_dim", 0);
    put_convs(f, c, "conv_kernel", 1);
    put_convs(f, c, "conv_stride", 2);
    fprintf(f, "  \"conv_bias\": %s,\n  \"num_feat_extract_layers\": %d,\n  \"feat_extract_norm\": \"%s\",\n",
            mert_config_yes_no(c->conv_bias), c->convs, c->extractor_layer_norm ? "layer" : "group");
}

void mert_hubert_put(FILE *f, const mert_config *c)
{
    int hubert = !c->cqt_input && !c->deepnorm;
    fprintf(f, "{\n  \"model_type\": \"%s\",\n  \"architectures\": [\"%s\"],\n", hubert ? "hubert" : "mert_model",
            hubert ? "HubertModel" : "MERTModel");
    fprintf(f, "  \"sample_rate\": %d,\n", c->sample_rate);
    mert_extractor_put(f, c);
    fprintf(f, "  \"feat_extract_activation\": \"gelu\",\n  \"feat_proj_layer_norm\": true,\n");
    fprintf(
        f,
        "  \"hidden_act\": \"gelu\",\n  \"hidden_size\": %d,\n  \"num_hidden_layers\": %d,\n  \"num_attention_heads\": %d,\n",
        c->width, c->layers, c->heads);
    fprintf(
        f,
        "  \"intermediate_size\": %d,\n  \"num_conv_pos_embeddings\": %d,\n  \"num_conv_pos_embedding_groups\": %d,\n",
        c->ffn, c->pos_kernel, c->pos_groups);
    fprintf(
        f,
        "  \"do_stable_layer_norm\": %s,\n  \"layer_norm_eps\": %.9g,\n  \"deepnorm\": %s,\n  \"attention_relax\": %.9g,\n",
        mert_config_yes_no(c->pre_ln), c->eps, mert_config_yes_no(c->deepnorm), c->attention_relax);
    fprintf(f, "  \"feature_extractor_cqt\": %s,\n  \"feature_extractor_cqt_bins\": %d,\n",
            mert_config_yes_no(c->cqt_input),
            c->cqt_input ? c->cqt_input_bins : 336);
}
