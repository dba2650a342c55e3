#include "formats/array.h"
#include "formats/checkpoint/checkpoint.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/memory.h"
#include "libcommon/probe/trained.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 9 };

static const char *const tasks[] = {"classify", "multilabel", "regress"};

/* The tensors of a probe; returns their number. */
static size_t list(const mert_trained *t, mert_tensor_out to[PARTS])
{
    int64_t C = t->outputs.n, H = t->hidden, D = t->width, L = t->layers;
    const mert_tensor_out all[PARTS] = {{"mean", MERT_E_F32, 2, {L, D}, t->mean},
                                        {"scale", MERT_E_F32, 2, {L, D}, t->scale},
                                        {"output.weight", MERT_E_F32, 2, {C, H ? H : D}, t->weight},
                                        {"output.bias", MERT_E_F32, 1, {C}, t->bias},
                                        {"hidden.weight", MERT_E_F32, 2, {H, D}, t->hidden_weight},
                                        {"hidden.bias", MERT_E_F32, 1, {H}, t->hidden_bias},
                                        {"mixture", MERT_E_F32, 1, {L}, L > 1 ? t->mixture : NULL},
                                        {"number.mean", MERT_E_F32, 1, {C}, t->number_mean},
                                        {"number.size", MERT_E_F32, 1, {C}, t->number_size}};
    size_t n = 0;
    for (int i = 0; i < PARTS; i++)
        if (all[i].data)
            to[n++] = all[i];
    return n;
}

/* ---- writing ---- */

static int put_quoted(FILE *f, const char *text, mert_error *e)
{
    char *quoted = mert_json_quote(text);
    if (!quoted)
        return mert_fail(e, "'%.100s' cannot be written as JSON: out of memory, or no UTF-8", text);
    fputs(quoted, f);
    free(quoted);
    return 0;
}

static int put_config(FILE *f, const mert_trained *t, mert_error *e)
{
    const mert_features *from = &t->features;
    fprintf(f, "{\"type\": \"probe\", \"task\": \"%s\", \"layers\": [", tasks[t->outputs.task]);
    for (int64_t l = 0; l < t->layers; l++) {
        fputs(l ? ", " : "", f);
        if (put_quoted(f, t->layer[l], e))
            return -1;
    }
    fprintf(f, "], \"frames\": %s, \"outputs\": %" PRId64 ", \"classes\": [", t->frames ? "true" : "false",
            t->outputs.n);
    for (int64_t c = 0; t->names && c < t->outputs.n; c++) {
        fputs(c ? ", " : "", f);
        if (put_quoted(f, t->names[c], e))
            return -1;
    }
    fprintf(f, "], \"width\": %" PRId64 ", \"hidden\": %" PRId64 ", \"kind\": ", t->width, t->hidden);
    if (put_quoted(f, from->kind, e))
        return -1;
    fputs(t->gelu ? ", \"activation\": \"gelu\"" : "", f);
    fprintf(f, ", \"sample_rate\": %" PRId64 ", \"features\": ", from->sample_rate);
    if (put_quoted(f, from->recipe, e))
        return -1;
    fprintf(f, ", \"features_model\": \"%016" PRIx64 "\"}\n", from->model);
    return 0;
}

int mert_trained_write(const mert_trained *t, const char *path, mert_error *e)
{
    mert_tensor_out all[PARTS + 1];
    size_t n = list(t, all);
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    int bad = f ? put_config(f, t, e) : mert_fail(e, "out of memory");
    char *config = f ? mert_memory_close(f, &m) : NULL;
    if (!bad && !config)
        bad = mert_fail(e, "out of memory");
    if (!bad) {
        all[n++] = (mert_tensor_out){"config", MERT_E_U8, 1, {(int64_t)strlen(config)}, config};
        bad = mert_safetensors_write(path, all, n, e);
    }
    free(config);
    return bad;
}

/* ---- reading ---- */

enum { OUTPUTS_MAX = 1 << 24 };

static int read_names(mert_trained *t, const mert_json *names, mert_error *e)
{
    int64_t n = (int64_t)mert_json_size(names);
    if (t->outputs.task == MERT_PROBE_REGRESS)
        return n ? mert_fail(e, "config: numbers have no classes") : 0;
    if (n != t->outputs.n)
        return mert_fail(e, "config: %" PRId64 " classes for %" PRId64 " outputs", n, t->outputs.n);
    t->names = mert_array_zeroed(n, sizeof *t->names);
    t->outputs.names = t->names;
    for (int64_t i = 0; t->names && i < n; i++) {
        const char *name = mert_json_as_string(mert_json_at(names, (size_t)i));
        if (!name || strpbrk(name, "\t\r\n"))
            return mert_fail(e, "config: the name of class %" PRId64 " is no text on one line", i);
        if (!(t->names[i] = strdup(name)))
            return mert_fail(e, "out of memory");
    }
    return t->names ? 0 : mert_fail(e, "out of memory");
}

static int read_layers(mert_trained *t, const mert_json *layers, mert_error *e)
{
    t->layers = (int64_t)mert_json_size(layers);
    if (t->layers < 1 || t->layers > 4096)
        return mert_fail(e, "config: no list of layers");
    t->layer = mert_array_zeroed(t->layers, sizeof *t->layer);
    if (!t->layer)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < t->layers; i++) {
        const char *name = mert_json_as_string(mert_json_at(layers, (size_t)i));
        if (!name || !*name || strlen(name) >= sizeof t->layer[i] || strpbrk(name, "\t\r\n"))
            return mert_fail(e, "config: the name of layer %" PRId64 " is none", i);
        memcpy(t->layer[i], name, strlen(name) + 1);
    }
    return 0;
}

static int read_task(mert_trained *t, const char *task, mert_error *e)
{
    for (int i = 0; task && i < 3; i++)
        if (!strcmp(task, tasks[i])) {
            t->outputs.task = (mert_probe_task)i;
            return 0;
        }
    return mert_fail(e, "config: no task of a probe");
}

static int take_config(mert_trained *t, const mert_json *j, mert_error *e)
{
    const char *type = mert_json_string(j, "type"), *kind = mert_json_string(j, "kind");
    const char *activation = mert_json_string(j, "activation");
    const char *recipe = mert_json_string(j, "features"), *model = mert_json_string(j, "features_model");
    if (!type || strcmp(type, "probe"))
        return mert_fail(e, "not a probe: its config is of type '%.20s'", type ? type : "");
    if (!kind || !*kind || strlen(kind) >= sizeof t->features.kind)
        return mert_fail(e, "config: no kind of features");
    if (activation && strcmp(activation, "gelu"))
        return mert_fail(e, "config: activation '%.20s', which this version does not know", activation);
    t->gelu = activation != NULL;
    snprintf(t->features.kind, sizeof t->features.kind, "%s", kind);
    snprintf(t->features.recipe, sizeof t->features.recipe, "%s", recipe ? recipe : "");
    t->features.model = model ? strtoull(model, NULL, 16) : 0;
    mert_json_int(j, "sample_rate", &t->features.sample_rate);
    mert_json_int(j, "outputs", &t->outputs.n);
    mert_json_int(j, "width", &t->width);
    mert_json_int(j, "hidden", &t->hidden);
    mert_json_bool(j, "frames", &t->frames);
    if (read_task(t, mert_json_string(j, "task"), e) || read_layers(t, mert_json_get(j, "layers"), e))
        return -1;
    if (t->outputs.n < (t->outputs.task == MERT_PROBE_CLASSIFY ? 2 : 1) || t->outputs.n > OUTPUTS_MAX || t->width < 1 ||
        t->width > 1 << 20 || t->hidden < 0 || t->hidden > 1 << 20)
        return mert_fail(e, "config: outputs, width or hidden is no size of a probe");
    t->features.width = t->width;
    return read_names(t, mert_json_get(j, "classes"), e);
}

static int read_config(mert_trained *t, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *config = mert_checkpoint_find(c, "config");
    mert_json *j;
    int bad;
    if (!config)
        return mert_fail(e, "not a probe: tensor config is missing");
    if (config->type != MERT_E_U8)
        return mert_fail(e, "not a probe: its config is not JSON text as U8");
    j = mert_json_parse(config->data, (size_t)config->elements, "config", e);
    if (!j)
        return -1;
    bad = take_config(t, j, e);
    mert_json_free(j);
    return bad;
}

/* The shapes are compared before memory is taken for what the config says. */
static int read_tensors(mert_trained *t, const mert_checkpoint *c, mert_error *e)
{
    mert_trained shapes = *t;
    mert_tensor_out all[PARTS];
    float some = 0;
    size_t n;
    shapes.mean = shapes.scale = shapes.weight = shapes.bias = shapes.mixture = &some;
    if (t->hidden)
        shapes.hidden_weight = shapes.hidden_bias = &some;
    if (t->outputs.task == MERT_PROBE_REGRESS)
        shapes.number_mean = shapes.number_size = &some;
    n = list(&shapes, all);
    for (size_t i = 0; i < n; i++) {
        const mert_tensor *have = mert_checkpoint_find(c, all[i].name);
        if (!have)
            return mert_fail(e, "tensor %s is missing", all[i].name);
        if (have->type != MERT_E_F32 || have->ndim != all[i].ndim || have->shape[0] != all[i].shape[0] ||
            (have->ndim == 2 && have->shape[1] != all[i].shape[1]))
            return mert_fail(e, "tensor %s does not have the shape that the config says", all[i].name);
    }
    if (mert_trained_make(t, e))
        return -1;
    n = list(t, all);
    for (size_t i = 0; i < n; i++)
        if (mert_tensor_read(mert_checkpoint_find(c, all[i].name), (float *)all[i].data, e))
            return -1;
    for (int64_t i = 0; i < t->block_size; i++)
        if (!(t->block[i] > -MERT_FEATURE_MOST && t->block[i] < MERT_FEATURE_MOST))
            return mert_fail(e, "a weight is a NaN, an infinity or beyond 1e18");
    return 0;
}

int mert_trained_read(mert_trained *t, const char *path, mert_error *e)
{
    mert_checkpoint *c;
    int bad;
    *t = (mert_trained){0};
    if (mert_input_note(path, e) || !(c = mert_checkpoint_open(path, e)))
        return -1;
    if (mert_checkpoint_check_own(c, NULL))
        bad = mert_fail(e, "the checksum does not fit: the file is damaged");
    else
        bad = read_config(t, c, e) || read_tensors(t, c, e);
    mert_checkpoint_close(c);
    if (bad)
        mert_trained_free(t);
    return bad ? mert_fail_in(e, "%s", path) : 0;
}
