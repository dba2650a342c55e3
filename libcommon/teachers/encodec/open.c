#include "libcommon/teachers/encodec/internal.h"

#include "formats/array.h"
#include "formats/stream/mts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KERNEL_MAX = 1024, HOP_MAX = 1 << 14 };

static int conv(mert_encodec_loader *l, const char *net, int layer, const char *part, int64_t in, int down,
                int64_t dilation, mert_seanet_conv *c)
{
    int64_t shape[3] = {-1, in, -1}, K;
    const float *bias, *w = mert_encodec_conv(l, net, layer, part, 0, shape, &bias);
    float *ordered;
    if (!w)
        return -1;
    K = shape[2];
    if (K > KERNEL_MAX)
        return mert_fail(l->e, "layer %s %d: a kernel of %" PRId64 " is beyond %d", net, layer, K, KERNEL_MAX);
    if (down && (K % 2 || K < 4))
        return mert_fail(l->e, "layer %s %d: kernel %" PRId64 " is not twice a stride", net, layer, K);
    *c = (mert_seanet_conv){.in = in, .out = shape[0], .stride = down ? K / 2 : 1, .up = 1};
    c->left = (K - 1) * dilation + 1 - c->stride;
    ordered = mert_encodec_room(l, 1, shape[0] * in * K);
    if (!ordered)
        return -1;
    for (int64_t o = 0; o < shape[0]; o++) /* [out, in, k] -> [out, k, in] */
        for (int64_t k = 0; k < K; k++)
            for (int64_t i = 0; i < in; i++)
                ordered[(o * K + k) * in + i] = w[(o * in + i) * K + k];
    c->product = mert_rows_new(ordered, K * in, shape[0], K * in, bias);
    if (!c->product)
        return mert_fail(l->e, "out of memory");
    if (dilation > 1) {
        c->product->taps = K;
        c->product->tap_stride = dilation * in;
    }
    return 0;
}

/* [in, out, 2 r] -> [r, out] outputs from [x[t - 1], x[t]] */
static int upsampler(mert_encodec_loader *l, const char *net, int layer, int64_t in, mert_seanet_conv *c)
{
    int64_t shape[3] = {in, -1, -1}, r, out;
    const float *bias, *w = mert_encodec_conv(l, net, layer, "", 1, shape, &bias);
    float *ordered, *biases;
    if (!w)
        return -1;
    out = shape[1];
    r = shape[2] / 2;
    if (shape[2] % 2 || r < 2)
        return mert_fail(l->e, "layer %s %d: kernel %" PRId64 " is not twice a stride", net, layer, shape[2]);
    *c = (mert_seanet_conv){.in = in, .out = out, .stride = 1, .up = r, .left = 1, .zero_past = 1};
    ordered = mert_encodec_room(l, 1, r * out * 2 * in);
    biases = mert_array(mert_array_count(r, out), sizeof *biases);
    for (int64_t j = 0; ordered && biases && j < r; j++)
        for (int64_t o = 0; o < out; o++) {
            float *row = ordered + (j * out + o) * 2 * in;
            biases[j * out + o] = bias[o];
            for (int64_t i = 0; i < in; i++) {
                row[i] = w[(i * out + o) * 2 * r + j + r];
                row[in + i] = w[(i * out + o) * 2 * r + j];
            }
        }
    if (ordered && biases)
        c->product = mert_rows_new(ordered, 2 * in, r * out, 2 * in, biases);
    free(biases);
    return c->product ? 0 : mert_fail(l->e, "out of memory");
}

static mert_seanet_stage *add(mert_encodec_loader *l, mert_seanet *s, mert_seanet_kind kind)
{
    if (s->n == MERT_SEANET_STAGES) {
        mert_fail(l->e, "more than %d layers", MERT_SEANET_STAGES);
        return NULL;
    }
    s->stages[s->n] = (mert_seanet_stage){.kind = kind};
    return &s->stages[s->n++];
}

static int add_conv(mert_encodec_loader *l, mert_seanet *s, const char *net, int layer, int64_t in, int elu, int down)
{
    mert_seanet_stage *g = add(l, s, MERT_SEANET_CONV);
    if (!g)
        return -1;
    g->elu = elu;
    return conv(l, net, layer, "", in, down, 1, &g->conv);
}

/* Adds all residual blocks from `layer` on; returns the number of the layer after them, or -1. */
static int add_residuals(mert_encodec_loader *l, mert_seanet *s, const char *net, int layer, int64_t width)
{
    int64_t dilation = 1;
    for (; mert_encodec_has_layer(l, net, layer, ".block"); layer++) {
        mert_seanet_stage *g = add(l, s, MERT_SEANET_RESIDUAL);
        if (!g || conv(l, net, layer, ".block.1", width, 0, dilation, &g->conv) ||
            conv(l, net, layer, ".block.3", g->conv.out, 0, 1, &g->second))
            return -1;
        if (mert_encodec_has_layer(l, net, layer, ".shortcut") &&
            conv(l, net, layer, ".shortcut", width, 0, 1, &g->shortcut))
            return -1;
        if (g->second.out != width || g->second.left || g->shortcut.left ||
            (g->shortcut.product && g->shortcut.out != width))
            return mert_fail(l->e, "residual block %s %d: its two branches do not fit", net, layer);
        dilation *= l->growth;
        if (dilation > 4096)
            return mert_fail(l->e, "residual block %s %d: dilation beyond 4096", net, layer);
    }
    return layer;
}

static int add_lstm(mert_encodec_loader *l, mert_seanet *s, const char *net, int layer, int64_t width)
{
    mert_seanet_stage *g = add(l, s, MERT_SEANET_LSTM);
    static const char *const leaves[] = {"weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l"};
    char name[MERT_ENCODEC_NAME + 32], base[MERT_ENCODEC_NAME], own[MERT_ENCODEC_NAME + 32];
    if (!g)
        return -1;
    g->width = width;
    mert_encodec_layer_name(l, base, net, layer, ".lstm");
    for (;; g->layers++) {
        const float *v[4];
        float *bias;
        int any = 0;
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "%s.%s%d", base, leaves[i], g->layers);
            any |= mert_checkpoint_find(l->c, name) != NULL;
        }
        if (!any)
            break;
        if (g->layers == MERT_SEANET_LSTM_LAYERS)
            return mert_fail(l->e, "%s has more than %d layers", base, MERT_SEANET_LSTM_LAYERS);
        for (int i = 0; i < 4; i++) {
            int64_t shape[2] = {4 * width, width};
            snprintf(name, sizeof name, "%s.%s%d", base, leaves[i], g->layers);
            snprintf(own, sizeof own, "%s.layers.%d.lstm.%s%d", net, layer, leaves[i], g->layers);
            v[i] = mert_encodec_values(l, name, own, i < 2 ? 2 : 1, shape);
            if (!v[i])
                return -1;
        }
        bias = mert_array(width, 4 * sizeof *bias);
        for (int64_t i = 0; bias && i < 4 * width; i++)
            bias[i] = v[2][i] + v[3][i];
        g->input[g->layers] = bias ? mert_rows_new(v[0], width, 4 * width, width, bias) : NULL;
        g->recurrent[g->layers] = bias ? mert_rows_new(v[1], width, 4 * width, width, NULL) : NULL;
        free(bias);
        if (!g->input[g->layers] || !g->recurrent[g->layers]) {
            g->layers++; /* so that everything is freed with the stage */
            return mert_fail(l->e, "out of memory");
        }
    }
    return g->layers ? 0 : mert_fail(l->e, "tensor %s.weight_ih_l0 is missing", base);
}

/* The name of the first encoder tensor that contains `part`; NULL: none. */
static const char *any_with(const mert_encodec_loader *l, const char *part)
{
    for (size_t i = 0; i < mert_checkpoint_count(l->c); i++) {
        const char *name = mert_checkpoint_tensor(l->c, i)->name;
        if (!strncmp(name, "encoder.", 8) && strstr(name, part))
            return name;
    }
    return NULL;
}

/* Recognises other kinds of models by their tensors, so that the message is better than a wrong shape. */
static int check_kind(const mert_encodec_loader *l)
{
    static const char *const first[] = {".conv.weight_v", ".conv.parametrizations.weight.original1", ".conv.weight",
                                        ".conv.conv.weight_v", ".conv.conv.weight",
                                        ".conv.conv.parametrizations.weight.original1"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        char name[MERT_ENCODEC_NAME];
        const mert_tensor *t;
        mert_encodec_layer_name(l, name, "encoder", 0, first[i]);
        t = mert_checkpoint_find(l->c, name);
        if (t && t->ndim == 3 && t->shape[1] != 1)
            return mert_fail(l->e, "the model has %" PRId64 " channels (%s): only mono models are known", t->shape[1],
                             name);
    }
    if (any_with(l, ".norm."))
        return mert_fail(l->e, "tensor %s: its convolutions have a GroupNorm (time_group_norm), as the 48 kHz model's: "
                               "only causal models with weight norm are known", any_with(l, ".norm."));
    if (!any_with(l, ".lstm."))
        return mert_fail(l->e, "there is no LSTM in its encoder: only models with one are known");
    return 0;
}

/* conv; for each ratio: residuals, ELU, conv down; LSTM; ELU, conv. Indices count the layers without tensors (ELU),
 * too. */
static int encoder(mert_encodec_loader *l)
{
    mert_seanet *s = &l->m->encoder;
    int i = 1;
    if (check_kind(l) || add_conv(l, s, "encoder", 0, 1, 0, 0))
        return -1;
    while (!mert_encodec_has_layer(l, "encoder", i, ".lstm")) {
        i = add_residuals(l, s, "encoder", i, mert_seanet_out(s));
        if (i < 0)
            return -1;
        i++;
        if (!mert_encodec_has_layer(l, "encoder", i, ""))
            return mert_fail(l->e, "encoder layer %d is missing", i);
        if (add_conv(l, s, "encoder", i, mert_seanet_out(s), 1, 1))
            return -1;
        i++;
    }
    if (add_lstm(l, s, "encoder", i, mert_seanet_out(s)))
        return -1;
    return add_conv(l, s, "encoder", i + 2, mert_seanet_out(s), 1, 0);
}

static int decoder(mert_encodec_loader *l)
{
    mert_seanet *s = &l->m->decoder;
    int i = 2;
    if (add_conv(l, s, "decoder", 0, mert_seanet_out(&l->m->encoder), 0, 0) ||
        add_lstm(l, s, "decoder", 1, mert_seanet_out(s)))
        return -1;
    for (int up = l->m->encoder.n - 1; up >= 0; up--) {
        mert_seanet_stage *g;
        int64_t width = mert_seanet_out(s);
        if (l->m->encoder.stages[up].conv.stride <= 1)
            continue;
        g = add(l, s, MERT_SEANET_CONV);
        if (!g)
            return -1;
        g->elu = 1;
        if (upsampler(l, "decoder", i + 1, width, &g->conv))
            return -1;
        if (g->conv.up != l->m->encoder.stages[up].conv.stride)
            return mert_fail(l->e, "decoder layer %d has stride %" PRId64 ", the encoder %" PRId64, i + 1, g->conv.up,
                             l->m->encoder.stages[up].conv.stride);
        i = add_residuals(l, s, "decoder", i + 2, mert_seanet_out(s));
        if (i < 0)
            return -1;
    }
    if (add_conv(l, s, "decoder", i + 1, mert_seanet_out(s), 1, 0))
        return -1;
    if (mert_seanet_out(s) != 1)
        return mert_fail(l->e, "the decoder makes %" PRId64 " channels: only mono models are known",
                         mert_seanet_out(s));
    return 0;
}

static int quantiser(mert_encodec_loader *l)
{
    int64_t count = 0, shape[2] = {-1, mert_seanet_out(&l->m->encoder)};
    const float *v[MTS_CODEBOOKS_MAX];
    for (; count < MTS_CODEBOOKS_MAX; count++) {
        char name[MERT_ENCODEC_NAME], own[MERT_ENCODEC_NAME];
        snprintf(own, sizeof own, "quantizer.layers.%d.codebook.embed", (int)count);
        snprintf(name, sizeof name, l->official
                 ? "quantizer.vq.layers.%d._codebook.embed" : "quantizer.layers.%d.codebook.embed",
                 (int)count);
        if (count && !mert_checkpoint_find(l->c, name))
            break;
        v[count] = mert_encodec_values(l, name, own, 2, shape);
        if (!v[count])
            return -1;
    }
    l->m->quantiser = mert_rvq_of(v, count, shape[0], shape[1]);
    return l->m->quantiser ? 0 : mert_fail(l->e, "out of memory");
}

/* All tensors must be used, except those that only training needs. */
static int all_used(const mert_encodec_loader *l)
{
    static const char *const training[] = {".inited", ".cluster_size", ".embed_avg"};
    for (size_t i = 0; i < mert_checkpoint_count(l->c); i++) {
        const char *name = mert_checkpoint_tensor(l->c, i)->name;
        int known = l->used[i] || (!l->with_decoder && !strncmp(name, "decoder.", 8));
        for (size_t t = 0; t < sizeof training / sizeof *training; t++) {
            size_t n = strlen(name), m = strlen(training[t]);
            known |= !strncmp(name, "quantizer.", 10) && n > m && !strcmp(name + n - m, training[t]);
        }
        if (!known)
            return mert_fail(l->e, "tensor %s has no place in a causal EnCodec, or one before it is missing",
                             name);
    }
    return 0;
}

/* ---- config.json, if there is one, must agree with the tensors ---- */

static int expect_int(const mert_encodec_loader *l, const mert_json *j, const char *key, int64_t is)
{
    int64_t says;
    if (mert_json_int(j, key, &says) || says == is)
        return 0;
    return mert_fail(l->e, "config.json says %s %" PRId64 ", the tensors %" PRId64, key, says, is);
}

static int expect_word(const mert_encodec_loader *l, const mert_json *j, const char *key, const char *word)
{
    const char *says = mert_json_string(j, key);
    if (!says || !strcmp(says, word))
        return 0;
    return mert_fail(l->e, "config.json: %s '%.40s' is not known, only '%s'", key, says, word);
}

static int expect_bool(const mert_encodec_loader *l, const mert_json *j, const char *key, int want)
{
    int says;
    return mert_json_bool(j, key, &says) || says == want ? 0
        : mert_fail(l->e, "config.json: %s %s is not known", key, says ? "true" : "false");
}

/* Dividing a file into chunks, or padding it to whole chunks, changes its codes; `means` names the one that the setting
 * asks for. `overlap` has no effect without a chunk length. */
static int expect_whole(const mert_encodec_loader *l, const mert_json *j, const char *file, const char *means)
{
    const mert_json *length = mert_json_get(j, "chunk_length_s");
    double seconds;
    if (!length || mert_json_is_null(length))
        return 0;
    if (mert_json_as_double(length, &seconds))
        return mert_fail(l->e, "%s: chunk_length_s is no number", file);
    return mert_fail(l->e, "%s: chunk_length_s is %g: this model %s, which is not done here; null makes codes of whole "
                           "files, which are other codes", file, seconds, means);
}

/* Refuses settings by which transformers' feature extractor would change the audio first. */
static int expect_heard(const mert_encodec_loader *l, const mert_json *j, const char *file)
{
    int64_t channels = 1, rate = l->m->sample_rate;
    mert_json_int(j, "feature_size", &channels);
    mert_json_int(j, "sampling_rate", &rate);
    if (channels != 1)
        return mert_fail(l->e, "%s: feature_size is %" PRId64 ": only mono models are known", file, channels);
    if (rate != l->m->sample_rate)
        return mert_fail(l->e, "%s: sampling_rate is %" PRId64 " Hz, but %" PRId64 " Hz in config.json", file, rate,
                         l->m->sample_rate);
    return expect_whole(l, j, file, "has audio padded to whole chunks");
}

static int settings_before(mert_encodec_loader *l)
{
    const mert_json *j = mert_checkpoint_config(l->c), *inside;
    int64_t growth = 2, rate = 24000;
    double trim = 1;
    l->growth = 2;
    l->m->sample_rate = rate;
    if (!j)
        return 0;
    mert_json_int(j, "dilation_growth_rate", &growth);
    mert_json_int(j, "sampling_rate", &rate);
    mert_json_double(j, "trim_right_ratio", &trim);
    if (growth < 1 || growth > 64 || rate < 1 || rate > 1 << 20)
        return mert_fail(l->e,
                         "config.json: dilation_growth_rate %" PRId64 " or sampling_rate %" PRId64 " out of range",
                             growth, rate);
    if (trim != 1)
        return mert_fail(l->e, "config.json: trim_right_ratio %g is not known, only 1", trim);
    l->growth = (int)growth;
    l->m->sample_rate = rate;
    inside = mert_json_get(mert_checkpoint_processor(l->c), "feature_extractor");
    if (expect_whole(l, j, "config.json", "codes a file in chunks, each by itself") ||
        expect_heard(l, mert_checkpoint_preprocessor(l->c), "preprocessor_config.json") ||
        expect_heard(l, inside, "processor_config.json: feature_extractor"))
        return -1;
    return expect_int(l, j, "audio_channels", 1) || expect_bool(l, j, "use_causal_conv", 1) ||
           expect_bool(l, j, "normalize", 0) || expect_word(l, j, "norm_type", "weight_norm") ||
           expect_word(l, j, "pad_mode", "reflect") ? -1 : 0;
}

static int settings_after(mert_encodec_loader *l)
{
    const mert_json *j = mert_checkpoint_config(l->c), *ratios;
    const mert_seanet *s = &l->m->encoder;
    size_t n = 0;
    if (!j)
        return 0;
    ratios = mert_json_get(j, "upsampling_ratios");
    for (int i = s->n - 1; ratios && i >= 0; i--) {
        int64_t says;
        if (s->stages[i].kind != MERT_SEANET_CONV || s->stages[i].conv.stride == 1)
            continue;
        if (mert_json_as_int(mert_json_at(ratios, n), &says) || says != s->stages[i].conv.stride)
            return mert_fail(l->e,
                             "config.json: upsampling_ratios are not those of the tensors (%" PRId64 " at place %zu)",
                             s->stages[i].conv.stride, n);
        n++;
    }
    if (ratios && n != mert_json_size(ratios))
        return mert_fail(l->e, "config.json: %zu upsampling_ratios, the tensors have %zu", mert_json_size(ratios), n);
    return expect_int(l, j, "num_filters", s->stages[0].conv.out) ||
           expect_int(l, j, "kernel_size", s->stages[0].conv.left + 1) ||
           expect_int(l, j, "last_kernel_size", s->stages[s->n - 1].conv.left + 1) ||
           expect_int(l, j, "num_lstm_layers", s->stages[s->n - 2].layers) ||
           expect_int(l, j, "hidden_size", mert_seanet_out(s)) ||
           expect_int(l, j, "codebook_dim", l->m->quantiser->width) ||
           expect_int(l, j, "codebook_size", l->m->quantiser->classes) ? -1 : 0;
}

int mert_encodec_is(const mert_checkpoint *c)
{
    return mert_checkpoint_find(c, "quantizer.layers.0.codebook.embed") ||
           mert_checkpoint_find(c, "quantizer.vq.layers.0._codebook.embed");
}

static int load(mert_encodec_loader *l)
{
    mert_encodec *m = l->m;
    l->official = mert_encodec_has(l, "encoder.model.");
    l->hashed = 1;
    if (settings_before(l) || encoder(l) || quantiser(l) || settings_after(l))
        return -1;
    l->hashed = 0;
    if (l->with_decoder && !mert_encodec_has(l, "decoder."))
        return mert_fail(l->e, "the decoder's tensors are missing");
    if (l->with_decoder && decoder(l))
        return -1;
    if (all_used(l))
        return -1;
    m->hop = mert_seanet_stride(&m->encoder);
    if (m->hop < 1 || m->hop > HOP_MAX)
        return mert_fail(l->e, "%" PRId64 " samples per frame are out of range", m->hop);
    return 0;
}

mert_encodec *mert_encodec_open(const mert_checkpoint *c, int with_decoder, mert_error *e)
{
    mert_encodec_loader l = {.c = c, .e = e, .with_decoder = with_decoder};
    size_t n = mert_checkpoint_count(c), hashed = 0;
    int bad = -1;
    l.m = calloc(1, sizeof *l.m);
    l.used = calloc(n + 1, 1);
    l.named = calloc(n + 1, sizeof *l.named);
    l.read = calloc(n + 1, sizeof *l.read);
    if (!l.m || !l.used || !l.named || !l.read)
        mert_fail(e, "out of memory");
    else if (!load(&l)) {
        while (hashed < l.n_named && l.named[hashed].name)
            hashed++;
        l.m->hash = mert_model_hash(l.named, hashed);
        bad = 0;
    }
    for (size_t i = 0; i < l.n_named; i++) {
        free((char *)l.named[i].name);
        free(l.read[i]);
    }
    free(l.room[0]);
    free(l.room[1]);
    free(l.read);
    free(l.named);
    free(l.used);
    if (bad) {
        mert_encodec_free(l.m);
        return NULL;
    }
    return l.m;
}
