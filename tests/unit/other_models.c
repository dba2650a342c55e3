/* Checkpoints of the same architecture with other names: HuBERT's and wav2vec2's, with or without a head, old and new
 * weight norm; similar models that are not supported are refused by name. */
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "libcommon/models/weights/fairseq.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/train/state.h"
#include "tests/test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXTRA_MAX = 8 };

typedef struct change {
    const char *prefix;                  /* before HF's names */
    int new_norm;                        /* weight norm with the names of newer torch versions */
    int folded;                          /* no weight norm: the weight itself */
    int silent;                          /* all weights of the positional convolution's tap 0 are zero */
    int integers;                        /* extra tensors are of I32, not F32 */
    const char *extra[EXTRA_MAX];        /* tensors beside the model, [2] each */
    const char *drop, *rename, *reshape; /* a tensor by HF's name */
    const char *beyond;                  /* a tensor as F64, whose value 3 is too large for float */
    const char *from, *to;               /* in config.json */
} change;

static int put_text(const char *dir, const char *name, const char *text)
{
    char path[1200];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    return f && fputs(text, f) >= 0 && !fclose(f) ? 0 : -1;
}

/* Replaces `from` once by `to`; -1: not found, or the result is too long. */
static int replace(char text[8192], const char *from, const char *to)
{
    char out[8192], *at = strstr(text, from);
    if (!at || snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) >= (int)sizeof out)
        return -1;
    strcpy(text, out);
    return 0;
}

/* The reference's config.json as in the other models: the sample rate is in the preprocessor's file. */
static int put_config(const char *dir, const char *type, const change *c)
{
    char text[8192], path[1200];
    size_t n;
    mert_error e;
    char *file;
    snprintf(path, sizeof path, "%s/config.json", test_golden("mert-post-ln"));
    if (!(file = mert_file_read(path, sizeof text - 1, &n, &e)))
        return -1;
    strcpy(text, file);
    free(file);
    if (replace(text, "mert_model", type) || (c->from && replace(text, c->from, c->to)))
        return -1;
    replace(text, "\"sample_rate\": 24000,", ""); /* the change may have altered it */
    return put_text(dir, "config.json", text);
}

/* A copy of a tensor with zeros at index 0 of the last dimension; for free(). */
static float *silence_first(const mert_tensor *t)
{
    float *x = malloc((size_t)t->elements * sizeof *x);
    if (x)
        memcpy(x, t->data, (size_t)t->elements * sizeof *x);
    for (int64_t i = 0; x && i < t->elements; i += t->shape[t->ndim - 1])
        x[i] = 0;
    return x;
}

static double *beyond_float(const mert_tensor *t)
{
    double *x = calloc((size_t)t->elements, sizeof *x);
    if (x)
        x[3] = -1e300;
    return x;
}

/* The reference's model under other names. */
static const char *make(const char *type, const change *c)
{
    static char dir[1100];
    static char names[128][160];
    static const float two[2] = {1, 2};
    mert_tensor_out out[128];
    mert_error e;
    char path[1200];
    mert_checkpoint *m = mert_checkpoint_open(test_golden("mert-post-ln"), &e);
    float *silenced = NULL;
    double *doubles = NULL;
    size_t n = 0;
    int bad;
    snprintf(dir, sizeof dir, "%s", test_tmp("model"));
    mkdir(dir, 0777);
    for (size_t i = 0; m && i < mert_checkpoint_count(m); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(m, i);
        const char *norm = strstr(t->name, "weight_g"), *at = norm ? norm : strstr(t->name, "weight_v");
        if (c->drop && !strcmp(t->name, c->drop))
            continue;
        if (c->folded && norm)
            continue;
        if (at && c->folded)
            snprintf(names[n], sizeof names[n], "%s%.*sweight", c->prefix, (int)(at - t->name), t->name);
        else if (at && c->new_norm)
            snprintf(names[n], sizeof names[n], "%s%.*sparametrizations.weight.original%d", c->prefix,
                     (int)(at - t->name), t->name, !norm);
        else
            snprintf(names[n], sizeof names[n], "%s%s%s", c->prefix, t->name,
                     c->rename && !strcmp(t->name, c->rename) ? "x" : "");
        out[n] = (mert_tensor_out){.name = names[n], .type = t->type, .ndim = t->ndim, .data = t->data};
        memcpy(out[n].shape, t->shape, sizeof out[n].shape);
        if (c->silent && at && !norm)
            out[n].data = silenced = silence_first(t);
        if (c->beyond && !strcmp(t->name, c->beyond)) {
            out[n].type = MERT_E_F64;
            out[n].data = doubles = beyond_float(t);
        }
        if (c->reshape && !strcmp(t->name, c->reshape)) {
            out[n].ndim = 1;
            out[n].shape[0] = t->elements;
        }
        n++;
    }
    for (int i = 0; i < EXTRA_MAX && c->extra[i]; i++)
        out[n++] = (mert_tensor_out){.name = c->extra[i], .type = c->integers ? MERT_E_I32 : MERT_E_F32, .ndim = 1, .shape = {2}, .data = two};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    bad = !m || mert_safetensors_write(path, out, n, &e) || put_config(dir, type, c) ||
          put_text(dir, "preprocessor_config.json", "{\"do_normalize\": false, \"sampling_rate\": 24000}");
    mert_checkpoint_close(m);
    if (bad)
        printf("# %s\n", e.text);
    free(silenced);
    free(doubles);
    return bad ? NULL : dir;
}

static uint64_t hash_of(const char *dir, mert_error *e)
{
    mert_weights w;
    uint64_t hash;
    if (!dir || mert_weights_load(&w, dir, 0, e))
        return 0;
    hash = mert_weights_hash(&w);
    mert_weights_free(&w);
    return hash;
}

static int opens(const char *type, change c)
{
    mert_error e = {{0}};
    uint64_t want = hash_of(test_golden("mert-post-ln"), &e), got = hash_of(make(type, &c), &e);
    if (!got)
        printf("# %s\n", e.text);
    return want && got == want;
}

static int refused(const char *type, change c, const char *text)
{
    mert_error e = {{0}};
    const char *dir = make(type, &c);
    if (!dir || hash_of(dir, &e) || !strstr(e.text, text)) {
        printf("# '%s', not '%s'\n", e.text, text);
        return 0;
    }
    return 1;
}

TEST(hubert_bare_and_under_a_head)
{
    CHECK(opens("hubert", (change){.prefix = ""}));
    CHECK(opens("hubert", (change){.prefix = "hubert.", .extra = {"lm_head.weight", "lm_head.bias"}}));
    CHECK(opens("hubert", (change){.prefix = "hubert.",
                                   .new_norm = 1,
                                   .extra = {"projector.weight", "classifier.weight", "layer_weights"}}));
}

TEST(wav2vec2_with_what_it_was_trained_with)
{
    CHECK(opens("wav2vec2", (change){.prefix = "", .new_norm = 1}));
    CHECK(opens("wav2vec2", (change){.prefix = "wav2vec2.",
                                     .extra = {"quantizer.codevectors", "quantizer.weight_proj.weight",
                                               "project_q.weight", "project_hid.weight"}}));
}

TEST(behind_any_one_prefix)
{
    static const char *const prefixes[] = {"module.", "state_dict.model.", "w2v_encoder.w2v_model.", "model.hubert.",
                                           "upstream.model.", "unispeech_sat.", "a.name.nobody.thought.of."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        CHECK(opens("hubert", (change){.prefix = prefixes[i], .new_norm = (int)i % 2, .extra = {"proj.weight"}}));
    CHECK(opens("hubert", (change){.prefix = "model.", .extra = {"ema.feature_extractor.conv_layers.0.conv.weight"}}));
    CHECK(refused("hubert", (change){.prefix = "student.",
                                     .extra = {"teacher.feature_extractor.conv_layers.0.conv.weight"}},
                  "several models in it: behind student. and behind teacher."));
}

TEST(what_is_no_weight_is_no_obstacle)
{
    CHECK(opens("hubert", (change){.prefix = "hubert.", .integers = 1, .extra = {"hubert.encoder.num_batches_tracked",
                                                                              "step"}}));
    CHECK(opens("mert_model", (change){.prefix = "",
                                       .extra = {"feature_extractor_cqt.cqt_kernels_real", "feature_extractor_cqt.lenghts",
                                                 "feature_extractor_cqt.cqt_kernels_imag"}}));
}

TEST(integers_are_no_weights)
{
    CHECK(refused("hubert", (change){.prefix = "", .drop = "encoder.layers.1.layer_norm.bias", .integers = 1,
                                     .extra = {"encoder.layers.1.layer_norm.bias"}}, "encoder.layers.1.layer_norm.bias is"));
}

/* The gain is set to the norm of the direction of each tap: the product is unchanged. */
TEST(weight_norm_that_was_folded)
{
    change c = {.prefix = "", .folded = 1};
    mert_error e = {{0}};
    mert_weights w;
    const mert_parameter *v;
    const float *x, *g;
    double s = 0;
    const char *dir = make("hubert", &c);
    CHECK(dir && !mert_weights_open(&w, dir, &e));
    v = mert_layout_find(&w.layout, "encoder.pos_conv.0.weight_v");
    x = mert_weights_values(&w, v);
    g = mert_weights_values(&w, mert_layout_find(&w.layout, "encoder.pos_conv.0.weight_g"));
    for (int64_t i = 3; i < v->n; i += v->shape[2])
        s += (double)x[i] * x[i];
    CHECK(s > 0);
    CHECK_NEAR(g[3], sqrt(s), 1e-6 * sqrt(s));
    mert_weights_free(&w);
}

/* Its norm is zero, which cannot be divided by: refused with the file's tensor name, unless it was folded. */
TEST(a_tap_of_zeros)
{
    change c = {.prefix = "", .folded = 1, .silent = 1};
    const char *dir = make("hubert", &c);
    mert_error e = {{0}};
    mert_weights w;
    const mert_parameter *v, *g;
    for (int views = 0; views < 2; views++) {
        CHECK(dir && !(views ? mert_weights_open(&w, dir, &e) : mert_weights_load(&w, dir, 0, &e)));
        v = mert_layout_find(&w.layout, "encoder.pos_conv.0.weight_v");
        g = mert_layout_find(&w.layout, "encoder.pos_conv.0.weight_g");
        CHECK(mert_weights_values(&w, g)[0] == 0 && mert_weights_values(&w, g)[1] > 0);
        CHECK(mert_weights_values(&w, v)[0] != 0);
        mert_weights_free(&w);
    }
    CHECK(refused("hubert", (change){.prefix = "hubert.", .new_norm = 1, .silent = 1},
                  "tensor hubert.encoder.pos_conv_embed.conv.parametrizations.weight.original1: all weights of tap 0 "
                  "are zero"));
}

/* A NaN is refused when writing, in either layout. */
TEST(no_number_is_not_written)
{
    mert_error e;
    mert_weights w;
    const char *path = test_tmp("odd.pt");
    float *x;
    CHECK(!mert_weights_load(&w, test_golden("mert-post-ln"), 0, &e));
    x = w.values + mert_layout_offset(&w.layout, "encoder.layers.1.fc2.weight");
    x[7] = -INFINITY;
    CHECK(mert_weights_save(&w, test_tmp("odd"), &e) &&
          strstr(e.text, "odd/model.safetensors: tensor encoder.layers.1.fc2.weight: value 7 is -inf, and is not written"));
    CHECK(mert_weights_save_fairseq(&w, path, &e) && strstr(e.text, "odd.pt: tensor encoder.layers.1.fc2.weight: value 7 is -inf"));
    CHECK(access(path, F_OK));
    mert_weights_free(&w);
}

/* Refused at once when read for training; for inference, when the values are converted. */
TEST(a_number_that_no_float_holds)
{
    change c = {.prefix = "module.", .beyond = "encoder.layers.1.attention.k_proj.bias"};
    static const char said[] = "tensor module.encoder.layers.1.attention.k_proj.bias: value 3 is -inf as F32";
    mert_error e = {{0}};
    mert_weights w;
    const char *dir = make("hubert", &c);
    CHECK(refused("hubert", c, said));
    CHECK(dir && !mert_weights_open(&w, dir, &e));
    CHECK(mert_weights_check_finite(&w, w.source, 0, &e) && !strcmp(e.text, said));
    mert_weights_free(&w);
    c.beyond = "masked_spec_embed"; /* which only training needs */
    dir = make("hubert", &c);
    CHECK(dir && !mert_weights_open(&w, dir, &e));
    CHECK(!mert_weights_check_finite(&w, w.source, 0, &e) && mert_weights_check_finite(&w, w.source, 1, &e));
    mert_weights_free(&w);
}

TEST(no_mask_embedding)
{
    CHECK(opens("hubert", (change){.prefix = "", .drop = "masked_spec_embed"}));
}

TEST(a_tensor_more_less_or_other)
{
    static const char name[] = "encoder.layers.1.feed_forward.output_dense.weight";
    CHECK(refused("hubert", (change){.prefix = "", .drop = name}, "1 tensor is missing: encoder.layers.1.feed_forward.output_dense.weight"));
    CHECK(refused("hubert", (change){.prefix = "hubert.", .rename = name}, "missing: hubert.encoder.layers.1.feed_forward.output_dense.weight"));
    CHECK(refused("hubert", (change){.prefix = "", .reshape = name},
                  "output_dense.weight is [4608], and the configuration makes it [48, 96]"));
    CHECK(refused("wav2vec2", (change){.prefix = "wav2vec2.", .extra = {"wav2vec2.adapter.layers.0.conv.weight"}},
                  "no place for: wav2vec2.adapter.layers.0.conv.weight"));
    CHECK(refused("wavlm", (change){.prefix = "", .extra = {"encoder.layers.0.attention.rel_attn_embed.weight"}},
                  "rel_attn_embed"));
}

TEST(configurations_that_contradict_the_tensors)
{
    static const struct { const char *from, *to, *says;
    } bad[] = {{"\"intermediate_size\": 96", "\"intermediate_size\": 97",
                "is [96, 48], and the configuration makes it [97, 48]"},
               {"\"hidden_size\": 48", "\"hidden_size\": 9600",
                "the configuration makes a model of 4061201248 numbers, the file holds 149344"},
               {"\"hidden_size\": 48", "\"hidden_size\": 96", "and the configuration makes it"},
               {"\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "not a multiple of num_attention_heads 5"},
               {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", "no place for: encoder.layers.2"},
               {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "16 tensors are missing: encoder.layers.3"},
               {"\"conv_bias\": false", "\"conv_bias\": true", "missing: feature_extractor.conv_layers.0.conv.bias"},
               {"\"feat_extract_norm\": \"group\"", "\"feat_extract_norm\": \"layer\"",
                "missing: feature_extractor.conv_layers.1.layer_norm.weight"},
               {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", "hidden_act is 'relu'"},
               {"\"hidden_act\": \"gelu\"", "\"hidden_act\": [\"gelu\"]", "hidden_act is not a string"},
               {"\"layer_norm_eps\": 1e-05", "\"layer_norm_eps\": \"1e-05\"", "layer_norm_eps is not a number"},
               {"\"sample_rate\": 24000", "\"sample_rate\": 16000",
                "16000 Hz in config.json, but sampling_rate is 24000 Hz in preprocessor_config.json"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(refused("hubert", (change){.prefix = "", .from = bad[i].from, .to = bad[i].to}, bad[i].says));
}

TEST(what_is_no_part_of_the_encoder_has_a_name)
{
    change c = {.prefix = "hubert.", .extra = {"lm_head.weight", "projector.weight"}};
    mert_error e;
    char names[64], few[24];
    mert_checkpoint *m = mert_checkpoint_open(make("hubert", &c), &e);
    CHECK(m && mert_weights_ignored(m, 0, names, sizeof names) == 2 &&
          !strcmp(names, "lm_head.weight projector.weight"));
    CHECK(mert_weights_ignored(m, 0, few, sizeof few) == 2 && !strcmp(few, "lm_head.weight ..."));
    mert_checkpoint_close(m);
}

/* Shapes of forged files: if one dimension is 0, the others may have any value. */
TEST(a_shape_as_text)
{
    static const int64_t plain[] = {2, 3}, big = 100000000000000000;
    const int64_t giant[8] = {big, big, big, big, INT64_MAX, INT64_MIN, 0, 0};
    char text[MERT_SHAPE_TEXT + 8];
    memset(text, '!', sizeof text);
    mert_shape_text(text, 2, plain);
    CHECK(!strcmp(text, "[2, 3]"));
    mert_shape_text(text, 0, plain);
    CHECK(!strcmp(text, "[]"));
    for (int n = 0; n <= 8; n++) {
        mert_shape_text(text, n, giant);
        CHECK(strlen(text) < MERT_SHAPE_TEXT && text[strlen(text) - 1] == ']');
    }
    for (int i = MERT_SHAPE_TEXT; i < (int)sizeof text; i++)
        CHECK(text[i] == '!');
}

int main(void)
{
    RUN(hubert_bare_and_under_a_head);
    RUN(wav2vec2_with_what_it_was_trained_with);
    RUN(behind_any_one_prefix);
    RUN(what_is_no_weight_is_no_obstacle);
    RUN(integers_are_no_weights);
    RUN(weight_norm_that_was_folded);
    RUN(a_shape_as_text);
    RUN(a_tap_of_zeros);
    RUN(no_number_is_not_written);
    RUN(a_number_that_no_float_holds);
    RUN(no_mask_embedding);
    RUN(a_tensor_more_less_or_other);
    RUN(configurations_that_contradict_the_tensors);
    RUN(what_is_no_part_of_the_encoder_has_a_name);
    return test_done();
}
