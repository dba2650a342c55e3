/* The kind conformer: the configuration of MERT-v2. */
#include "libcommon/models/config/kinds.h"

#include <string.h>

mert_config mert_config_mert2(void)
{
    static const int channels[] = {128, 512, 1024}, depths[] = {3, 4, 5};
    mert_config c = {.kind = MERT_CONFORMER, .sample_rate = 24000, .width = 1024, .layers = 24, .heads = 16,
                     .ffn = 4096, .eps = 1e-5, .normalize_eps = MERT_NORMALIZE_EPS_HF, .special_rows = 4, .untied = 1,
                     .attention_relax = -1};
    c.conformer = (mert_conformer_config){.n_fft = 2048, .win_length = 2048, .hop = 240, .mels = 128, .stages = 3,
                                          .subsampler_kernel = 7, .subsampler_eps = 1e-6, .kernel = 31,
                                          .rotary_base = 10000,
                                          .variant = "30s", .context = 30, .initializer_range = 0.02};
    for (int i = 0; i < 3; i++) {
        c.conformer.stage[i].channels = channels[i];
        c.conformer.stage[i].depth = depths[i];
        c.conformer.stage[i].stride = i ? 2 : 1;
    }
    return c;
}

/* ---- time ---- */

int mert_stage_in(const mert_config *c, int stage)
{
    return stage    ? c->conformer.stage[stage - 1].channels
           : c->convs ? c->conv[c->convs - 1].dim
                      : c->conformer.mels;
}

int mert_stage_resamples(const mert_config *c, int stage)
{
    return c->conformer.stage[stage].stride > 1 || c->conformer.stage[stage].channels != mert_stage_in(c, stage);
}

int mert_conformer_stride(const mert_config *c)
{
    int64_t s = c->convs ? mert_hubert_stride(c) : c->conformer.hop;
    for (int i = 0; i < c->conformer.stages && s < 1 << 20; i++)
        s *= c->conformer.stage[i].stride;
    return (int)s;
}

/* Reflection at an end needs n_fft/2 samples besides the last one. The frame after the last whole hop is dropped. */
int64_t mert_config_mel_frames(const mert_config *c, int64_t samples)
{
    return samples < c->conformer.n_fft / 2 + 1 ? 0 : samples / c->conformer.hop;
}

int64_t mert_config_front_frames(const mert_config *c, int64_t samples)
{
    return c->convs ? mert_hubert_frames(c, samples) : mert_config_mel_frames(c, samples);
}

int64_t mert_conformer_frames(const mert_config *c, int64_t samples)
{
    int64_t n = mert_config_front_frames(c, samples);
    for (int i = 0; i < c->conformer.stages; i++)
        if (mert_stage_resamples(c, i)) /* kernel 2, no padding */
            n = n < 2 ? 0 : (n - 2) / c->conformer.stage[i].stride + 1;
    return n;
}

int mert_conformer_field(const mert_config *c)
{
    int64_t n = 1;
    for (int i = c->conformer.stages - 1; i >= 0; i--)
        if (mert_stage_resamples(c, i))
            n = (n - 1) * c->conformer.stage[i].stride + 2;
    n = c->convs ? (n - 1) * mert_hubert_stride(c) + mert_hubert_receptive_field(c) : n * c->conformer.hop;
    return (int)(n < 1 << 30 ? n : 1 << 30);
}

int64_t mert_conformer_shortest(const mert_config *c)
{
    int field = mert_conformer_field(c), window = c->convs ? 1 : c->conformer.n_fft / 2 + 1;
    return field > window ? field : window;
}

/* ---- checks ---- */

static int check_spectrum(const mert_conformer_config *f, mert_error *e)
{
    if (mert_config_within(f->n_fft, 4, 65536, "n_fft", e) ||
        mert_config_within(f->win_length, 1, f->n_fft, "win_length", e) ||
        mert_config_within(f->hop, 1, 65536, "hop_length", e) ||
        mert_config_within(f->mels, 1, 4096, "num_mel_bins", e))
        return -1;
    return f->n_fft % 2 ? mert_fail(e, "n_fft is %d, and must be even", f->n_fft) : 0;
}

int mert_conformer_check(const mert_config *c, mert_error *e)
{
    const mert_conformer_config *f = &c->conformer;
    if ((c->convs ? mert_extractor_check(c, e) : check_spectrum(f, e)) ||
        mert_config_within(f->stages, 1, MERT_STAGES_MAX, "the number of subsampling_channels", e) ||
        mert_config_within(f->kernel, 1, 4095, "conv_depthwise_kernel_size", e) ||
        mert_config_within(f->subsampler_kernel, 1, 4095, "subsampling_kernel_size", e) ||
        mert_config_within(f->rotary_base, 1, 1 << 30, "rotary_embedding_base", e))
        return -1;
    for (int i = 0; i < f->stages; i++)
        if (mert_config_within(f->stage[i].channels, 1, 65536, "subsampling_channels", e) ||
            mert_config_within(f->stage[i].depth, 0, MERT_LAYERS_MAX, "subsampling_depths", e) ||
            mert_config_within(f->stage[i].stride, 1, 16, "subsampling_strides", e))
            return -1;
    if (!(f->kernel % 2))
        return mert_fail(e, "conv_depthwise_kernel_size is %d, and must be odd", f->kernel);
    if (!(f->subsampler_kernel % 2))
        return mert_fail(e, "subsampling_kernel_size is %d, and must be odd", f->subsampler_kernel);
    if (c->width / c->heads % 2)
        return mert_fail(e, "%d numbers for each attention head: rotary positions need an even number",
                         c->width / c->heads);
    if (f->stage[f->stages - 1].channels != c->width)
        return mert_fail(e, "the last of subsampling_channels is %d, and hidden_size is %d",
                         f->stage[f->stages - 1].channels, c->width);
    if (!(f->subsampler_eps > 0 && f->subsampler_eps < 1))
        return mert_fail(e, "subsampling_layer_norm_eps %g is outside 0 to 1", f->subsampler_eps);
    return 0;
}

/* ---- from config.json ---- */

/* Keys of the published configuration, and keys that transformers adds to every configuration and that have no effect
 * on inference. Any other key could change the model in a way that is not supported. */
static int known_key(const char *key)
{
    static const char *const keys[] = {
        "model_type", "architectures", "auto_map", "variant", "context_seconds", "initializer_range", "torch_dtype",
        "dtype", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_mel_bins",
        "sampling_rate", "sample_rate", "n_fft", "win_length", "hop_length", "subsampling_channels",
        "subsampling_depths", "conv_depthwise_kernel_size", "rotary_embedding_base", "layer_norm_eps",
        "subsampling_layer_norm_eps", "hidden_act", "mert_pretraining", "mert_task", "mert_packed",
        "transformers_version", "_name_or_path", "_commit_hash", "_attn_implementation",
        "_attn_implementation_autoset", "attn_implementation", "return_dict", "use_return_dict", "output_hidden_states",
        "output_attentions", "use_cache", "torchscript", "id2label", "label2id", "num_labels", "problem_type",
        "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id",
        "tie_word_embeddings", "is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size",
        "chunk_size_feed_forward", "gradient_checkpointing", "license", "tokenizer_class", "task_specific_params",
        "finetuning_task", "prefix", "use_bfloat16", "tf_legacy_loss", "pruned_heads",
        "hidden_dropout", "attention_dropout", "activation_dropout", "hidden_dropout_prob", "dropout", "layerdrop",
        "conv_dropout"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return 1;
    return 0;
}

/* Keys of Conformers that we trained and the published code does not support. They have another model_type. */
static int own_key(const char *key)
{
    static const char *const keys[] = {"subsampling_strides", "subsampling_kernel_size", "conv_dim", "conv_kernel",
                                       "conv_stride", "conv_bias", "num_feat_extract_layers", "feat_extract_norm"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return 1;
    return 0;
}

static int check_keys(const mert_json *j, int own, mert_error *e)
{
    mert_json_iterator w = {j, NULL};
    const mert_json *value;
    for (const char *key; (key = mert_json_next(&w, &value));)
        if (!known_key(key) && !(own && own_key(key)))
            return mert_fail(e, "%.80s: a MERT-v2 model of this version has no such setting, and what it means is not "
                                "computed here", key);
    return 0;
}

static int take_stages(mert_conformer_config *f, const mert_json *j, mert_error *e)
{
    int channels[MERT_STAGES_MAX], depths[MERT_STAGES_MAX], strides[MERT_STAGES_MAX], n = 0, m = 0, given = 0;
    if (mert_config_read_list(j, "subsampling_strides", strides, MERT_STAGES_MAX, &given, e) ||
        mert_config_read_list(j, "subsampling_channels", channels, MERT_STAGES_MAX, &n, e) ||
        mert_config_read_list(j, "subsampling_depths", depths, MERT_STAGES_MAX, &m, e))
        return -1;
    if (n != m)
        return mert_fail(e, "subsampling_channels and subsampling_depths are not lists of one length");
    f->stages = n ? n : f->stages;
    for (int i = 0; i < n; i++) {
        f->stage[i].channels = channels[i];
        f->stage[i].depth = depths[i];
        f->stage[i].stride = i ? 2 : 1;
    }
    if (given && given != f->stages)
        return mert_fail(e, "subsampling_channels and subsampling_strides are not lists of one length");
    for (int i = 0; i < given; i++)
        f->stage[i].stride = strides[i];
    return 0;
}

/* Checks that a preprocessor's file, if there is one (j not NULL), agrees with config.json. */
static int agrees(const mert_config *c, const mert_json *j, const char *file, mert_error *e)
{
    static const char *const keys[] = {"sampling_rate", "n_fft", "win_length", "hop_length", "num_mel_bins"};
    const int own[] = {c->sample_rate, c->conformer.n_fft, c->conformer.win_length, c->conformer.hop,
                       c->conformer.mels};
    int normalize = 0;
    if (!j)
        return 0;
    if (mert_config_read_bool(j, "do_normalize", &normalize, e))
        return mert_fail_in(e, "%s", file);
    if (normalize)
        return mert_fail(e, "%s: do_normalize is true: a MERT-v2 model takes samples as they are", file);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int v = own[i];
        if (mert_config_read_int(j, keys[i], &v, e))
            return mert_fail_in(e, "%s", file);
        if (v != own[i])
            return mert_fail(e, "%s is %d in config.json and %d in %s", keys[i], own[i], v, file);
    }
    return 0;
}

int mert_conformer_from_hf(mert_config *c, const mert_json *j, const mert_json *preprocessor,
                           const mert_json *processor, mert_error *e)
{
    mert_conformer_config *f = &c->conformer;
    const char *variant, *type;
    int sample_rate;
    *c = mert_config_mert2();
    if (mert_config_read_string(j, "model_type", &type, e) || check_keys(j, !strcmp(type, MERT_CONFORMER_OWN), e) ||
        mert_config_read_int(j, "sampling_rate", &c->sample_rate, e) ||
        mert_config_read_int(j, "hidden_size", &c->width, e) ||
        mert_config_read_int(j, "num_hidden_layers", &c->layers, e) ||
        mert_config_read_int(j, "num_attention_heads", &c->heads, e) ||
        mert_config_read_int(j, "intermediate_size", &c->ffn, e) || mert_config_read_int(j, "n_fft", &f->n_fft, e))
        return -1;
    f->win_length = f->n_fft;
    sample_rate = c->sample_rate;
    if (mert_config_read_int(j, "win_length", &f->win_length, e) ||
        mert_config_read_int(j, "hop_length", &f->hop, e) || mert_config_read_int(j, "num_mel_bins", &f->mels, e) ||
        mert_config_read_extractor(c, j, e) || take_stages(f, j, e) ||
        mert_config_read_int(j, "subsampling_kernel_size", &f->subsampler_kernel, e) ||
        mert_config_read_int(j, "conv_depthwise_kernel_size", &f->kernel, e) ||
        mert_config_read_int(j, "rotary_embedding_base", &f->rotary_base, e) ||
        mert_config_read_double(j, "layer_norm_eps", &c->eps, e) ||
        mert_config_read_double(j, "subsampling_layer_norm_eps", &f->subsampler_eps, e) ||
        mert_config_read_double(j, "context_seconds", &f->context, e) ||
        mert_config_read_double(j, "initializer_range", &f->initializer_range, e) ||
        mert_config_must_be(j, "hidden_act", "gelu", e) || mert_config_read_string(j, "variant", &variant, e) ||
        mert_config_read_int(j, "sample_rate", &sample_rate, e))
        return -1;
    if (sample_rate != c->sample_rate)
        return mert_fail(e, "sampling_rate is %d, and sample_rate is %d", c->sample_rate, sample_rate);
    if (variant && (strlen(variant) >= sizeof f->variant || variant[strcspn(variant, "\"\\")]))
        return mert_fail(e, "variant is no short name");
    if (variant)
        strcpy(f->variant, variant);
    return agrees(c, preprocessor, "preprocessor_config.json", e) ||
                   agrees(c, mert_json_get(processor, "feature_extractor"), "processor_config.json: feature_extractor",
                          e)
               ? -1
               : 0;
}

/* ---- to config.json ---- */

enum { CHANNELS, DEPTHS, STRIDES };

static void put_list(FILE *f, const mert_conformer_config *c, const char *name, int which)
{
    fprintf(f, "  \"%s\": [", name);
    for (int i = 0; i < c->stages; i++)
        fprintf(f, "%s%d", i ? ", " : "", which == CHANNELS ? c->stage[i].channels
                                          : which == DEPTHS ? c->stage[i].depth
                                                            : c->stage[i].stride);
    fprintf(f, "],\n");
}

/* 1: the published code supports this model. */
static int published(const mert_config *c)
{
    for (int i = 0; i < c->conformer.stages; i++)
        if (c->conformer.stage[i].stride != (i ? 2 : 1))
            return 0;
    return c->conformer.subsampler_kernel == 7 && !c->convs;
}

void mert_conformer_put(FILE *f, const mert_config *c)
{
    const mert_conformer_config *x = &c->conformer;
    if (published(c))
        fprintf(f, "{\n  \"model_type\": \"mert2\",\n  \"architectures\": [\"MERT2Model\"],\n  \"auto_map\": {\n"
                   "    \"AutoConfig\": \"configuration_mert2.MERT2Config\",\n"
                   "    \"AutoModel\": \"modeling_mert2.MERT2Model\"\n  },\n");
    else
        fprintf(f, "{\n  \"model_type\": \"%s\",\n", MERT_CONFORMER_OWN);
    fprintf(f, "  \"variant\": \"%s\",\n  \"context_seconds\": %.9g,\n  \"initializer_range\": %.9g,\n", x->variant,
            x->context, x->initializer_range);
    fprintf(f, "  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n  \"num_hidden_layers\": %d,\n"
               "  \"num_attention_heads\": %d,\n", c->width, c->ffn, c->layers, c->heads);
    fprintf(f, "  \"num_mel_bins\": %d,\n  \"sampling_rate\": %d,\n  \"n_fft\": %d,\n  \"win_length\": %d,\n"
               "  \"hop_length\": %d,\n", x->mels, c->sample_rate, x->n_fft, x->win_length, x->hop);
    put_list(f, x, "subsampling_channels", CHANNELS);
    put_list(f, x, "subsampling_depths", DEPTHS);
    if (!published(c)) {
        put_list(f, x, "subsampling_strides", STRIDES);
        fprintf(f, "  \"subsampling_kernel_size\": %d,\n", x->subsampler_kernel);
        if (c->convs)
            mert_extractor_put(f, c);
    }
    fprintf(f, "  \"conv_depthwise_kernel_size\": %d,\n  \"rotary_embedding_base\": %d,\n  \"layer_norm_eps\": %.9g,\n"
               "  \"subsampling_layer_norm_eps\": %.9g,\n", x->kernel, x->rotary_base, c->eps, x->subsampler_eps);
}
