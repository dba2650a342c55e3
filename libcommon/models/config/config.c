/* The functions for both kinds of model. */
#include "libcommon/models/config/kinds.h"

#include "formats/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- time ---- */

int mert_config_stride(const mert_config *c)
{
    return c->kind == MERT_CONFORMER ? mert_conformer_stride(c) : mert_hubert_stride(c);
}

int mert_config_receptive_field(const mert_config *c)
{
    return c->kind == MERT_CONFORMER ? mert_conformer_field(c) : mert_hubert_receptive_field(c);
}

int64_t mert_config_frames(const mert_config *c, int64_t samples)
{
    return c->kind == MERT_CONFORMER ? mert_conformer_frames(c, samples) : mert_hubert_frames(c, samples);
}

int64_t mert_config_shortest(const mert_config *c)
{
    return c->kind == MERT_CONFORMER ? mert_conformer_shortest(c) : mert_hubert_receptive_field(c);
}

int mert_config_check_length(const mert_config *c, int64_t samples, mert_error *e)
{
    if (mert_config_frames(c, samples) > 0)
        return 0;
    return c->kind == MERT_CONFORMER
               ? mert_fail(e, "%" PRId64 " samples give no frame: this model needs at least %" PRId64, samples,
                           mert_config_shortest(c))
               : mert_fail(e, "%" PRId64 " samples are shorter than the model's receptive field of %" PRId64, samples,
                           mert_config_shortest(c));
}

/* ---- checks ---- */

static int check_task(const mert_config *c, mert_error *e)
{
    return mert_config_within(c->task_outputs, 0, 65536, "the number of outputs of a task", e) ||
                   mert_config_within(c->task_hidden, 0, 65536, "the hidden layer of a task", e) ||
                   (c->task_outputs &&
                    mert_config_within(c->task_layers, 1, c->layers + 1, "the number of hidden states of a task", e))
               ? -1
               : 0;
}

static int check_heads(const mert_config *c, mert_error *e)
{
    int64_t rows = 0;
    if (check_task(c, e))
        return -1;
    if (mert_config_within(c->codebooks, 0, MERT_CODEBOOKS_MAX, "the number of codebooks", e) ||
        mert_config_within(c->cqt_target_bins, 0, 65536, "cqt_target_bins", e) ||
        mert_config_within(c->mel_target_bins, 0, 65536, "mel_target_bins", e))
        return -1;
    if (!c->codebooks)
        return 0;
    if (!isfinite(c->cqt_target_mean) || !(c->cqt_target_std >= 0 && isfinite(c->cqt_target_std)))
        return mert_fail(e, "cqt_target_mean %g and cqt_target_std %g are no mean and deviation", c->cqt_target_mean,
                         c->cqt_target_std);
    if (mert_config_within(c->final_dim, 1, 65536, "final_dim", e) ||
        mert_config_within(c->special_rows, 0, 65536, "special_rows", e))
        return -1;
    for (int k = 0; k < c->codebooks; k++) {
        if (mert_config_within(c->classes[k], 1, 1 << 24, "the number of classes of a codebook", e))
            return -1;
        rows += c->classes[k] + c->special_rows;
    }
    return mert_config_within(rows * c->final_dim, 1, (int64_t)1 << 32, "the size of the label embeddings", e);
}

int mert_config_check(const mert_config *c, mert_error *e)
{
    if (mert_config_within(c->sample_rate, 1000, 768000, "sample_rate", e) ||
        mert_config_within(c->width, 1, 65536, "hidden_size", e) ||
        mert_config_within(c->layers, 1, MERT_LAYERS_MAX, "num_hidden_layers", e) ||
        mert_config_within(c->heads, 1, 1024, "num_attention_heads", e) ||
        mert_config_within(c->ffn, 1, 1 << 20, "intermediate_size", e))
        return -1;
    if (c->width % c->heads)
        return mert_fail(e, "hidden_size %d is not a multiple of num_attention_heads %d", c->width, c->heads);
    if (!(c->eps > 0 && c->eps < 1))
        return mert_fail(e, "layer_norm_eps %g is outside 0 to 1", c->eps);
    if (c->kind == MERT_CONFORMER ? mert_conformer_check(c, e) : mert_hubert_check(c, e))
        return -1;
    return check_heads(c, e);
}

void mert_config_drop_heads(mert_config *c)
{
    c->codebooks = c->task_outputs = 0;
}

/* ---- config.json ---- */

static const char *const cqt_forms[] = {"magnitude", "log", "log-power", NULL}; /* as mert_cqt_target */

/* Not in the file: the magnitude as it is, as in all models before there was a choice. */
static int take_cqt_target(mert_config *c, const mert_json *h, mert_error *e)
{
    const char *form;
    int found = 0;
    if (mert_config_read_string(h, "cqt_target_form", &form, e) ||
        mert_config_read_double(h, "cqt_target_mean", &c->cqt_target_mean, e) ||
        mert_config_read_double(h, "cqt_target_std", &c->cqt_target_std, e))
        return -1;
    for (int i = 0; form && !found && cqt_forms[i]; i++)
        if ((found = !strcmp(form, cqt_forms[i])))
            c->cqt_target_form = (mert_cqt_target)i;
    if (form && !found)
        return mert_fail(e, "cqt_target_form '%.40s' is none of: %s %s %s", form, cqt_forms[0], cqt_forms[1],
                         cqt_forms[2]);
    return 0;
}

static int take_task(mert_config *c, const mert_json *j, mert_error *e)
{
    const mert_json *t = mert_json_get(j, "mert_task");
    return t && (mert_config_read_int(t, "outputs", &c->task_outputs, e) ||
                 mert_config_read_int(t, "hidden", &c->task_hidden, e) ||
                 mert_config_read_int(t, "layers", &c->task_layers, e))
               ? -1
               : 0;
}

static int take_heads(mert_config *c, const mert_json *j, mert_error *e)
{
    const mert_json *h = mert_json_get(j, "mert_pretraining"), *classes = mert_json_get(h, "classes");
    if (!h)
        return 0;
    c->codebooks = (int)(mert_json_size(classes) <= MERT_CODEBOOKS_MAX ? mert_json_size(classes) : 0);
    if (!c->codebooks && mert_json_size(classes))
        return mert_fail(e, "mert_pretraining: more than %d codebooks", MERT_CODEBOOKS_MAX);
    for (int k = 0; k < c->codebooks; k++)
        if (mert_json_as_int(mert_json_at(classes, (size_t)k), &c->classes[k]))
            return mert_fail(e, "mert_pretraining: classes holds something else than whole numbers");
    return mert_config_read_int(h, "special_rows", &c->special_rows, e) ||
                   mert_config_read_int(h, "final_dim", &c->final_dim, e) ||
                   mert_config_read_bool(h, "untied", &c->untied, e) ||
                   mert_config_read_bool(h, "learnable_temperature", &c->learnable_temperature, e) ||
                   mert_config_read_bool(h, "target_glu", &c->target_glu, e) ||
                   mert_config_read_int(h, "cqt_target_bins", &c->cqt_target_bins, e) ||
                   mert_config_read_int(h, "mel_target_bins", &c->mel_target_bins, e) || take_cqt_target(c, h, e)
               ? -1
               : 0;
}

int mert_config_from_hf(mert_config *c, const mert_json *j, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e)
{
    const char *type;
    int conformer;
    if (mert_config_read_string(j, "model_type", &type, e))
        return -1;
    conformer = type && (!strcmp(type, "mert2") || !strcmp(type, MERT_CONFORMER_OWN));
    if (conformer ? mert_conformer_from_hf(c, j, preprocessor, processor, e)
                  : mert_hubert_from_hf(c, j, preprocessor, processor, e))
        return -1;
    return take_heads(c, j, e) || take_task(c, j, e) ? -1 : mert_config_check(c, e);
}

int mert_cqt_target_same(const mert_config *a, const mert_config *b)
{
    return a->cqt_target_form == b->cqt_target_form && a->cqt_target_std == b->cqt_target_std &&
           (a->cqt_target_std == 0 || a->cqt_target_mean == b->cqt_target_mean);
}

static void put_heads(FILE *f, const mert_config *c)
{
    if (c->task_outputs)
        fprintf(f, "  \"mert_task\": {\"outputs\": %d, \"hidden\": %d, \"layers\": %d},\n", c->task_outputs,
                c->task_hidden, c->task_layers);
    if (!c->codebooks)
        return;
    fprintf(f, "  \"mert_pretraining\": {\n    \"classes\": [");
    for (int k = 0; k < c->codebooks; k++)
        fprintf(f, "%s%lld", k ? ", " : "", (long long)c->classes[k]);
    fprintf(f, "],\n    \"special_rows\": %d,\n    \"final_dim\": %d,\n    \"untied\": %s,\n", c->special_rows,
            c->final_dim, mert_config_yes_no(c->untied));
    fprintf(f, "    \"learnable_temperature\": %s,\n    \"target_glu\": %s,\n",
            mert_config_yes_no(c->learnable_temperature),
            mert_config_yes_no(c->target_glu));
    if (c->cqt_target_form)
        fprintf(f, "    \"cqt_target_form\": \"%s\",\n", cqt_forms[c->cqt_target_form]);
    if (c->cqt_target_std != 0)
        fprintf(f, "    \"cqt_target_mean\": %.17g,\n    \"cqt_target_std\": %.17g,\n", c->cqt_target_mean,
                c->cqt_target_std);
    fprintf(f, "    \"cqt_target_bins\": %d,\n    \"mel_target_bins\": %d\n  },\n", c->cqt_target_bins,
            c->mel_target_bins);
}

char *mert_config_to_hf(const mert_config *c)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    if (!f)
        return NULL;
    if (c->kind == MERT_CONFORMER)
        mert_conformer_put(f, c);
    else
        mert_hubert_put(f, c);
    put_heads(f, c);
    fprintf(f, "  \"torch_dtype\": \"float32\"\n}\n");
    return mert_memory_close(f, &m);
}

char *mert_config_to_preprocessor(const mert_config *c)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    if (!f)
        return NULL;
    fprintf(
        f,
        "{\n  \"do_normalize\": %s,\n  \"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\",\n  \"feature_size\": 1,\n",
        mert_config_yes_no(c->normalize));
    if (c->normalize && c->normalize_eps != MERT_NORMALIZE_EPS_HF) /* transformers ignores it */
        fprintf(f, "  \"normalize_eps\": %.9g,\n", c->normalize_eps);
    fprintf(
        f,
        "  \"padding_side\": \"right\",\n  \"padding_value\": 0.0,\n  \"return_attention_mask\": %s,\n  \"sampling_rate\": %d\n}\n",
        mert_config_yes_no(c->extractor_layer_norm), c->sample_rate);
    return mert_memory_close(f, &m);
}
