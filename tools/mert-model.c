/* Model files: lists, creates, converts, averages and verifies them.
 *
 *     mert-model info MODEL                                     architecture, input contract, parameters, hash
 *     mert-model init --recipe tiny --seed 1 -o DIR             random weights of a recipe's model
 *     mert-model convert --to hf -m checkpoint_best.pt -o DIR   our own directory, HF's, or fairseq's file
 *     mert-model average MODEL MODEL... -o DIR                  the mean of the weights of several
 *     mert-model verify MODEL...                                every checksum, tensor, shape and value, and the
 * self-test */
#include "formats/array.h"
#include "formats/file.h"
#include "formats/stream/mts.h"
#include "libcommon/models/inference/forward.h"
#include "libcommon/models/inference/self_test.h"
#include "libcommon/models/weights/adapter.h"
#include "libcommon/models/weights/fairseq.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/recipe/recipe.h"
#include "tools/mert-model/average.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- options ---- */

enum { TO_HF, TO_FAIRSEQ, TO_NATIVE, TO_PACKED };

static int list_tensors, show_extras, precision, to = TO_HF;
static int64_t seed;
static double adapter_alpha;
static const char *recipe, *model, *output, *adapter;
static mert_strings settings;
static const char *const layouts[] = {"hf", "fairseq", "native", "packed", NULL};

static const mert_option info_options[] = {
    {"tensors", 0, MERT_FLAG, &list_tensors, NULL, 0, 0, NULL, "list every tensor: name, type, shape"},
    {"extras", 0, MERT_FLAG, &show_extras, NULL, 0, 0, NULL,
     "print the values of a torch file that are not tensors, as JSON"},
    {0}};
static const mert_option init_options[] = {
    {"recipe", 0, MERT_STRING, &recipe, "FILE", 0, 0, NULL, "recipe of the model, see mert-recipe(5)"},
    {"set", 0, MERT_LIST, &settings, "NAME=VALUE", 0, 0, NULL, "change a value of the recipe (may be repeated)"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "seed of the random weights"},
    {"output", 'o', MERT_STRING, &output, "DIR", 0, 0, NULL, "directory to write"},
    {0}};
static const mert_option convert_options[] = {
    {"to", 0, MERT_CHOICE, &to, "LAYOUT", 0, 0, layouts, "layout to write"},
    {"precision", 0, MERT_CHOICE, &precision, "TYPE", 0, 0, mert_packing_names + 1,
     "--to packed: for mert-encode with this --precision"},
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL, "model to read: a directory, .safetensors, or torch file"},
    {"adapter", 0, MERT_STRING, &adapter, "FILE", 0, 0, NULL,
     "low-rank adapter (LoRA) that is merged into the model's weights"},
    {"adapter-alpha", 0, MERT_DOUBLE, &adapter_alpha, "X", 0, 1e6, NULL,
     "--adapter: its alpha (0: as adapter_config.json says, else 128)"},
    {"output", 'o', MERT_STRING, &output, "DIR", 0, 0, NULL, "directory to write"},
    {0}};
static const mert_option average_options[] = {
    {"output", 'o', MERT_STRING, &output, "DIR", 0, 0, NULL, "directory to write"},
    {0}};
static const mert_option verify_options[] = {{0}};

static int failed(const mert_error *e)
{
    mert_log_error("%s", e->text);
    return 1;
}

/* ---- reading ---- */

/* Heads are read if the configuration describes them, as in directories that mert wrote. */
static int wants_heads(const mert_checkpoint *c)
{
    return mert_json_get(mert_checkpoint_config(c), "mert_pretraining") != NULL;
}

/* The description of a model that is packed for mert-encode; NULL: it is not packed. */
static const mert_json *packed(const mert_checkpoint *c)
{
    return mert_json_get(mert_checkpoint_config(c), "mert_packed");
}

/* Only encoders of MERT, HuBERT and wav2vec2 have these tensors. */
static int is_encoder(const mert_checkpoint *c)
{
    static const char *const first[] = {"feature_extractor.conv_layers.0.", "layers.0.attn.query_proj.weight"};
    if (packed(c))
        return 1;
    for (size_t i = 0; i < 2 * mert_checkpoint_count(c); i++)
        if (strstr(mert_checkpoint_tensor(c, i / 2)->name, first[i % 2]))
            return 1;
    return 0;
}

static int read_encoder(mert_weights *w, const mert_checkpoint *c, const char *path, mert_error *e)
{
    if (packed(c))
        return mert_weights_open(w, path, e);
    return mert_checkpoint_check_own(c, e) ? -1 : mert_weights_from(w, c, wants_heads(c), e) ? mert_fail_in(e, "%s", path) : 0;
}

/* ---- info ---- */

static void print_contents(const mert_checkpoint *c, const char *path)
{
    int64_t elements = 0, of_type[MERT_E_OTHER + 1] = {0};
    int others = 0;
    printf("file:         %s\n", path);
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        elements += t->elements;
        of_type[t->type] += t->elements;
        others += t->type == MERT_E_OTHER;
    }
    printf("container:    %s, %zu tensors, %" PRId64 " elements", mert_checkpoint_container(c),
           mert_checkpoint_count(c), elements);
    for (int i = 0; i <= MERT_E_BOOL; i++)
        if (of_type[i])
            printf(" %s", mert_dtype_name((mert_dtype)i));
    if (others)
        printf(", %d tensor%s of types that are not read", others, others > 1 ? "s" : "");
    printf("\n");
}

static void print_tensors(const mert_checkpoint *c)
{
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        printf("tensor:       %s %s [", t->name, mert_tensor_type(t));
        for (int d = 0; d < t->ndim; d++)
            printf("%s%" PRId64, d ? ", " : "", t->shape[d]);
        printf("]\n");
    }
}

static const char *cqt_target_name(const mert_config *c)
{
    static const char *const names[2][3] = {{"", "log ", "log-power "},
                                            {"standardised ", "standardised log ", "standardised log-power "}};
    return names[c->cqt_target_std != 0][c->cqt_target_form];
}

static void print_heads(const mert_config *c)
{
    if (!c->codebooks) {
        printf("heads:        none\n");
        return;
    }
    printf("heads:        %d codebooks of", c->codebooks);
    for (int k = 0; k < c->codebooks; k++)
        printf(" %" PRId64, c->classes[k]);
    printf(" classes (and %d special rows), cosine in %d dimensions%s%s%s", c->special_rows, c->final_dim,
           c->untied ? ", untied" : "", c->learnable_temperature ? ", learnable temperature" : "",
           c->target_glu ? ", target GLU" : "");
    if (c->cqt_target_bins)
        printf(", %sCQT of %d bins", cqt_target_name(c), c->cqt_target_bins);
    if (c->mel_target_bins)
        printf(", mel of %d bins", c->mel_target_bins);
    printf("\n");
}

static void print_extractor(const mert_config *c)
{
    printf("extractor:    ");
    for (int i = 0, times; i < c->convs; i += times) {
        for (times = 1; i + times < c->convs && !memcmp(&c->conv[i], &c->conv[i + times], sizeof c->conv[i]);)
            times++;
        printf("%s[(%d, %d, %d)]", i ? " + " : "", c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride);
        if (times > 1)
            printf(" * %d", times);
    }
    printf(" (width, kernel, stride)%s, %s", c->conv_bias ? ", bias" : "",
           c->extractor_layer_norm ? "LayerNorm after each" : "GroupNorm over time after the first");
}

static void print_hubert(const mert_config *c)
{
    printf("architecture: %d layers, %s, width %d, %d heads, feed-forward %d%s\n", c->layers,
           c->pre_ln ? "pre-LN" : "post-LN", c->width, c->heads, c->ffn, c->deepnorm ? ", deepnorm" : "");
    print_extractor(c);
    printf("; positional kernel %d in %d groups\n", c->pos_kernel, c->pos_groups);
    printf("input:        mono float at %d Hz, ", c->sample_rate);
    if (c->normalize)
        printf("normalised per clip: (x - mean) / sqrt(var + %s)",
               c->normalize_eps == MERT_NORMALIZE_EPS_HF        ? "1e-7"
               : c->normalize_eps == MERT_NORMALIZE_EPS_FAIRSEQ ? "1e-5"
                                                                : "an eps of its own");
    else
        printf("not normalised");
    printf("; at least %" PRId64 " samples\n", mert_config_shortest(c));
    if (c->cqt_input)
        printf("              CQT of %d bins, hop %d, beside the extractor's channels\n", c->cqt_input_bins,
               c->sample_rate / 50);
}

static void print_conformer(const mert_config *c)
{
    const mert_conformer_config *f = &c->conformer;
    printf("architecture: MERT-v2, %d Conformer blocks, width %d, %d heads, feed-forward %d, convolution of %d\n",
           c->layers, c->width, c->heads, c->ffn, f->kernel);
    if (c->convs) {
        print_extractor(c);
        printf("\n");
    }
    printf("subsampler:  ");
    for (int i = 0; i < f->stages; i++)
        printf("%s %d ConvNeXt layers of %d channels", i ? "," : "", f->stage[i].depth, f->stage[i].channels);
    printf("\n");
    printf("input:        mono float at %d Hz, not normalised, at least %" PRId64 " samples", c->sample_rate,
           mert_config_shortest(c));
    if (!c->convs)
        printf("; log-mel spectrum of %d bins, n_fft %d, window %d, hop %d", f->mels, f->n_fft, f->win_length, f->hop);
    printf("\n");
    printf("context:      variant %s, trained on %g s\n", f->variant, f->context);
}

static void print_model(const mert_weights *w, const mert_checkpoint *from)
{
    const mert_config *c = &w->layout.config;
    mert_error e;
    int stride = mert_config_stride(c), field = mert_config_receptive_field(c);
    if (c->kind == MERT_CONFORMER)
        print_conformer(c);
    else
        print_hubert(c);
    printf("output:       %d hidden states [T, %d], T = floor((samples - %d) / %d) + 1, %.6g frames per second\n",
           c->layers + 1, c->width, field, stride, (double)c->sample_rate / stride);
    print_heads(c);
    printf("parameters:   %" PRId64 "\n", w->layout.elements);
    printf("hash:         %016" PRIx64 "\n", mert_weights_hash(w));
    if (mert_weights_check_finite(w, from, 1, &e))
        printf("not finite:   %s\n", e.text);
}

static int info_one(const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    mert_weights w;
    char *text, names[512];
    int bad = 0, ignored;
    if (!c)
        return -1;
    print_contents(c, path);
    if (!is_encoder(c))
        printf("architecture: not a MERT, HuBERT or wav2vec2 encoder\n");
    else if (read_encoder(&w, c, path, e))
        bad = -1;
    else {
        print_model(&w, c);
        if (!packed(c) && (ignored = mert_weights_ignored(c, wants_heads(c), names, sizeof names)))
            printf("left out:     %d tensors that are no part of the encoder: %s\n", ignored, names);
        mert_weights_free(&w);
    }
    if (list_tensors)
        print_tensors(c);
    if (show_extras && mert_checkpoint_extras(c)) {
        if ((text = mert_json_text(mert_checkpoint_extras(c), 1)))
            printf("extras:       %s\n", text);
        else
            bad = mert_fail(e, "%s: out of memory", path);
        free(text);
    }
    mert_checkpoint_close(c);
    return bad;
}

/* Calls one() for each argument. If it fails for one of them, continues with the next. */
static int each(int argc, char **argv, int (*one)(const char *path, mert_error *e))
{
    mert_error e;
    int status = 0;
    for (int i = 0; i < argc; i++)
        if (one(argv[i], &e))
            status = failed(&e);
    return mert_log_stdout() || status;
}

static int info(int argc, char **argv)
{
    if (!argc)
        mert_usage_error("of which model?");
    return each(argc, argv, info_one);
}

/* ---- init ---- */

static int init(int argc, char **argv)
{
    mert_recipe r;
    mert_config c;
    mert_weights w;
    mert_error e;
    int status = 0;
    (void)argv;
    if (!recipe || !output || argc)
        mert_usage_error("needs --recipe FILE and -o DIR, and no operands");
    mert_recipe_defaults(&r);
    if (mert_recipe_read(&r, recipe, &e))
        return failed(&e);
    for (int i = 0; i < settings.n; i++)
        if (mert_recipe_set(&r, settings.items[i], &e))
            return failed(&e);
    if (mert_recipe_check(&r, &e) || mert_recipe_model(&r, NULL, 0, &c, &e)) {
        mert_fail_in(&e, "%s", recipe);
        return failed(&e);
    }
    r.seed = seed;
    if (mert_recipe_weights(&r, &c, &w, &e))
        return failed(&e);
    if (mert_recipe_pretrained(&r, &w, &e) || mert_weights_save(&w, output, &e) ||
        mert_self_test_save(&w, output, &e))
        status = failed(&e);
    else if (mert_options.verbose)
        mert_log_note("%s: %" PRId64 " parameters, hash %016" PRIx64, output, w.layout.elements, mert_weights_hash(&w));
    mert_weights_free(&w);
    return status;
}

/* ---- convert ---- */

static int save_fairseq(const mert_weights *w, const char *dir, mert_error *e)
{
    char *path = mert_path_join(dir, "checkpoint.pt");
    int bad = path ? mert_make_directory(dir, e) || mert_weights_save_fairseq(w, path, e)
                   : mert_fail(e, "%s: out of memory", dir);
    free(path);
    return bad ? -1 : 0;
}

/* Writes the weights packed, as mert-encode's products read them. */
static int save_packed(const mert_weights *w, const char *dir, mert_error *e)
{
    mert_ops *ops = mert_ops_cpu();
    mert_packing as = (mert_packing)(precision + 1);
    mert_forward *f = mert_forward_new(w, ops, as, e);
    const float *block = NULL;
    int64_t n = f ? mert_forward_weights(f, &block) : 0;
    float *host = f ? mert_array(n, sizeof *host) : NULL;
    int bad = !f ? -1 : !host ? mert_fail(e, "out of memory") : 0;
    if (!bad) {
        ops->download(ops, host, block, (size_t)n * sizeof *host);
        bad = ops->wait(ops, e) ? -1 : mert_weights_save_packed(w, host, n, as, dir, e);
    }
    free(host);
    mert_forward_free(f);
    return bad;
}

/* Writes the result of the self-test for the model that was written. With products in bf16 or int8 it differs from
 * that of the original. */
static int save_answer(const mert_weights *w, const char *dir, mert_error *e)
{
    mert_weights written;
    int bad;
    if (!precision)
        return mert_self_test_save(w, dir, e);
    if (mert_weights_open(&written, dir, e))
        return -1;
    bad = mert_self_test_save(&written, dir, e);
    mert_weights_free(&written);
    return bad;
}

/* Notes for a model that is written although a part of it cannot be represented exactly. */
static void say_what_differs(const mert_weights *w)
{
    const mert_config *c = &w->layout.config;
    const mert_parameter *mask = mert_layout_find(&w->layout, "mask_emb");
    const float *values = mask ? mert_weights_values(w, mask) : NULL;
    int64_t zeros = 0;
    if (c->kind == MERT_CONFORMER)
        return;
    if (to == TO_HF && (c->deepnorm || c->cqt_input))
        mert_log_note("%s: %s: HuBERT's code does not compute that, what is written needs MERT's own", model,
                      c->deepnorm ? "deepnorm" : "feature_extractor_cqt");
    if (to == TO_HF && c->normalize && c->normalize_eps != MERT_NORMALIZE_EPS_HF)
        mert_log_note("%s: it normalises clips with an eps of %g, as fairseq does; transformers has 1e-7 alone, which "
                      "makes other numbers of quiet clips (mert-encode goes by normalize_eps in "
                      "preprocessor_config.json)", model, c->normalize_eps);
    if (to == TO_FAIRSEQ && c->normalize && c->normalize_eps != MERT_NORMALIZE_EPS_FAIRSEQ)
        mert_log_note("%s: it normalises clips with an eps of %g; fairseq has 1e-5 alone, which makes other numbers of "
                      "quiet clips", model, c->normalize_eps);
    while (zeros < mask->n && values[zeros] == 0)
        zeros++;
    if (zeros == mask->n && to != TO_PACKED)
        mert_log_note("%s: it has no mask_emb, which only training needs: zeros are written", model);
}

/* Refuses an output that would overwrite the model it is made from. */
static int check_elsewhere(mert_error *e)
{
    static const char *const files[] = {"", "model.safetensors", "checkpoint.pt"};
    struct stat in, out;
    int same = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files && !same; i++) {
        char *path = *files[i] ? mert_path_join(output, files[i]) : strdup(output);
        if (!path)
            return mert_fail(e, "out of memory");
        same = !stat(model, &in) && !stat(path, &out) && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
        free(path);
    }
    return same ? mert_fail(e, "%s: is the model itself, which the output would replace", output) : 0;
}

static int merge_adapter(mert_weights *w, mert_error *e)
{
    mert_adapter about;
    char text[512];
    if (mert_adapter_merge(w, adapter, adapter_alpha, &about, e))
        return -1;
    mert_adapter_text(&about, text, sizeof text);
    mert_log_note("%s: %s", adapter, text);
    return 0;
}

static int convert(int argc, char **argv)
{
    mert_checkpoint *c;
    mert_weights w;
    mert_error e;
    char names[512];
    int heads, bad, ignored;
    (void)argv;
    if (!model || !output || argc)
        mert_usage_error("needs -m MODEL and -o DIR, and no operands");
    if (precision && to != TO_PACKED)
        mert_usage_error("--precision is for --to packed: the other layouts hold the weights as they are");
    if (check_elsewhere(&e) || !(c = mert_checkpoint_open(model, &e)))
        return failed(&e);
    heads = wants_heads(c) && to != TO_HF && to != TO_PACKED;
    bad = mert_checkpoint_check_own(c, &e);
    if (bad) {
        mert_checkpoint_close(c);
        return failed(&e);
    }
    bad = mert_weights_from(&w, c, heads, &e);
    if (!bad && (bad = mert_weights_check_finite(&w, c, 1, &e)))
        mert_weights_free(&w);
    if (!bad && (ignored = mert_weights_ignored(c, heads, names, sizeof names)))
        mert_log_note("%s: left out, %d tensor%s no part of the encoder: %s", model, ignored,
                      ignored > 1 ? "s that are" : " that is", names);
    mert_checkpoint_close(c);
    if (bad) {
        mert_fail_in(&e, "%s", model);
        return failed(&e);
    }
    if (adapter && merge_adapter(&w, &e)) {
        mert_weights_free(&w);
        return failed(&e);
    }
    if (w.layout.config.kind == MERT_CONFORMER && to == TO_FAIRSEQ) {
        mert_weights_free(&w);
        mert_fail(&e, "%s: a MERT-v2 model, which fairseq's code does not have: --to hf, native or packed", model);
        return failed(&e);
    }
    say_what_differs(&w);
    bad = to == TO_HF        ? mert_weights_save_hf(&w, output, &e)
          : to == TO_FAIRSEQ ? save_fairseq(&w, output, &e)
          : to == TO_PACKED  ? save_packed(&w, output, &e)
                             : mert_weights_save(&w, output, &e);
    bad = bad || (to != TO_FAIRSEQ && save_answer(&w, output, &e));
    if (!bad && mert_options.verbose)
        mert_log_note("%s: %" PRId64 " parameters, hash %016" PRIx64, output, w.layout.elements, mert_weights_hash(&w));
    mert_weights_free(&w);
    return bad ? failed(&e) : 0;
}

/* ---- verify ---- */

static int all_finite(const mert_checkpoint *c, mert_error *e)
{
    float *to_read = NULL, *more;
    int bad = 0;
    for (size_t i = 0; i < mert_checkpoint_count(c) && !bad; i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        if (t->type == MERT_E_OTHER)
            continue;
        if (!(more = mert_array_resize(to_read, t->elements + 1, sizeof *more))) {
            bad = mert_fail(e, "%s: out of memory", t->name);
            break;
        }
        to_read = more;
        bad = mert_tensor_read(t, to_read, e);
        for (int64_t k = 0; k < t->elements && !bad; k++)
            if (!isfinite(to_read[k]))
                bad = mert_fail(e, "%s: value %" PRId64 " is %g%s", t->name, k, to_read[k],
                                t->type == MERT_E_F64 ? " as F32" : "");
    }
    free(to_read);
    return bad;
}

/* Runs the self-test: compares the output with the stored one, if there is one (returns 1, otherwise 0), and checks
 * that all numbers are finite. */
static int verify_answer(const mert_weights *w, const char *path, double *worst, mert_error *e)
{
    int answer = mert_path_is_directory(path) ? mert_self_test_check(w, path, worst, e) : 0;
    if (answer == 0 && mert_self_test_sane(w, e))
        return mert_fail_in(e, "%s", path);
    return answer;
}

static int verify_one(const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    mert_weights w;
    double worst;
    int64_t checked;
    int bad, answer;
    if (!c)
        return -1;
    bad = mert_checkpoint_verify(c, &checked, e); /* the error names the file */
    if (!bad && all_finite(c, e))
        bad = mert_fail_in(e, "%s", path);
    if (bad || !is_encoder(c)) {
        if (!bad)
            printf("%s: sound: %zu tensors, %" PRId64 " bytes with checksums, no encoder\n", path,
                   mert_checkpoint_count(c), checked);
        mert_checkpoint_close(c);
        return bad;
    }
    if (!(bad = read_encoder(&w, c, path, e))) {
        answer = packed(c) && mert_weights_check_sums(&w, path, e) ? -1 : verify_answer(&w, path, &worst, e);
        if (packed(c) && !checked) /* written by a version without a checksum of the whole file */
            checked = w.packed_size * (int64_t)sizeof *w.packed;
        if (answer < 0)
            bad = -1; /* the error names the file */
        else
            printf("%s: sound: %zu tensors, %" PRId64 " bytes with checksums, model hash %016" PRIx64, path,
                   mert_checkpoint_count(c), checked, mert_weights_hash(&w));
        if (answer == 0)
            printf(", no known answer\n");
        else if (answer > 0)
            printf(", its known answer within %.1e\n", worst);
        mert_weights_free(&w);
    }
    mert_checkpoint_close(c);
    return bad;
}

static int verify(int argc, char **argv)
{
    if (!argc)
        mert_usage_error("which model?");
    return each(argc, argv, verify_one);
}

/* ---- average ---- */

static int average(int argc, char **argv)
{
    mert_weights w;
    mert_error e;
    int bad;
    if (argc < 2 || !output)
        mert_usage_error("needs two models or more, and -o DIR");
    for (int i = 0; i < argc; i++) {
        model = argv[i];
        if (check_elsewhere(&e))
            return failed(&e);
    }
    if (average_models(&w, argv, argc, &e))
        return failed(&e);
    bad = mert_weights_save(&w, output, &e) || mert_self_test_save(&w, output, &e);
    if (!bad && mert_options.verbose)
        mert_log_note("%s: the mean of %d models, hash %016" PRIx64, output, argc, mert_weights_hash(&w));
    mert_weights_free(&w);
    return bad ? failed(&e) : 0;
}

static const mert_command commands[] = {
    {"info", "[options] MODEL...", "describe models: architecture, input, output, parameters, hash", info_options,
     info},
    {"init", "[options] --recipe FILE -o DIR", "write a model with random weights for a recipe", init_options, init},
    {"convert", "[--to hf|fairseq|native|packed] [--precision bf16|int8] -m MODEL -o DIR",
     "convert a model to another layout",
     convert_options, convert},
    {"average", "MODEL MODEL... -o DIR", "write the mean of the weights of several models", average_options, average},
    {"verify", "MODEL...", "read models completely; check checksums, tensors, shapes and values, and run the self-test",
     verify_options, verify},
    {0}};

static const mert_tool tool = {"mert-model",
                               "describe, create, convert, average and verify models",
                               "COMMAND [options]",
                               "MODEL is a Hugging Face or native directory, or a .safetensors or torch file.",
                               NULL,
                               commands};

int main(int argc, char **argv)
{
    return mert_tool_main(&tool, argc, argv);
}
