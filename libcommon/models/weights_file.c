/* Models in files: names of HF and fairseq, strict both ways; our own directories; hashes. */
#include "weights.h"

#include "fairseq.h"

#include "../../formats/file.h"
#include "../../formats/model_hash.h"
#include "../../formats/model_write.h"
#include "../../formats/stream/mts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* fairseq's spelling on the left, HF's on the right, for what stands inside a name. */
static const struct { const char *fairseq, *hf; } renamed[] = {
    {"post_extract_proj.", "feature_projection.projection."},
    {"encoder.layer_norm.", "encoder.layer_norm."},       /* before the next, which is a part of it */
    {"encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."},
    {".self_attn_layer_norm.", ".layer_norm."},
    {".self_attn.", ".attention."},
    {".fc1.", ".feed_forward.intermediate_dense."},
    {".fc2.", ".feed_forward.output_dense."},
};

int mert_name_to_hf(const char *name, char to[128])
{
    int layer, used = 0;
    if (!strcmp(name, "mask_emb")) {
        snprintf(to, 128, "masked_spec_embed");
        return 0;
    }
    if (!strncmp(name, "layer_norm.", 11)) {
        snprintf(to, 128, "feature_projection.%s", name);
        return 0;
    }
    if (sscanf(name, "feature_extractor.conv_layers.%d.%n", &layer, &used) == 1 && used) {
        const char *rest = name + used;
        if (!strncmp(rest, "0.", 2))
            snprintf(to, 128, "feature_extractor.conv_layers.%d.conv.%s", layer, rest + 2);
        else /* "2." GroupNorm, "2.1." LayerNorm */
            snprintf(to, 128, "feature_extractor.conv_layers.%d.layer_norm.%s", layer, strrchr(rest, '.') + 1);
        return 0;
    }
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        const char *at = strstr(name, renamed[i].fairseq);
        if (at) {
            snprintf(to, 128, "%.*s%s%s", (int)(at - name), name, renamed[i].hf, at + strlen(renamed[i].fairseq));
            return 0;
        }
    }
    if (!strncmp(name, "encoder.", 8)) {
        snprintf(to, 128, "%s", name);
        return 0;
    }
    return -1;
}

/* Weight norm as newer torch stores it. */
static int new_weight_norm_name(const char *name, char to[128])
{
    const char *g = strstr(name, ".weight_g"), *v = strstr(name, ".weight_v"), *at = g ? g : v;
    if (!at)
        return -1;
    snprintf(to, 128, "%.*s.parametrizations.weight.original%d", (int)(at - name), name, g ? 0 : 1);
    return 0;
}

/* What stands before every name: "" or "model." (fairseq), "hubert." and the like (HF with a head). */
static const char *find_prefix(const mert_checkpoint *c, int *hf)
{
    static const char *const prefixes[] = {"", "model.", "hubert.", "wav2vec2.", "mert.", "encoder_model."};
    char name[160];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(name, sizeof name, "%sfeature_extractor.conv_layers.0.0.weight", prefixes[i]);
        *hf = 0;
        if (mert_checkpoint_find(c, name))
            return prefixes[i];
        snprintf(name, sizeof name, "%sfeature_extractor.conv_layers.0.conv.weight", prefixes[i]);
        *hf = 1;
        if (mert_checkpoint_find(c, name))
            return prefixes[i];
    }
    return NULL;
}

static const mert_tensor *find_tensor(const mert_checkpoint *c, const char *prefix, int hf, const char *name)
{
    char own[128], full[192], newer[128];
    const mert_tensor *t;
    if (hf) {
        if (mert_name_to_hf(name, own))
            return NULL;
    } else
        snprintf(own, sizeof own, "%s", name);
    snprintf(full, sizeof full, "%s%s", prefix, own);
    t = mert_checkpoint_find(c, full);
    if (!t && !new_weight_norm_name(own, newer)) {
        snprintf(full, sizeof full, "%s%s", prefix, newer);
        t = mert_checkpoint_find(c, full);
    }
    return t;
}

const mert_tensor *mert_weights_tensor(const mert_checkpoint *c, const char *name)
{
    int hf;
    const char *prefix = find_prefix(c, &hf);
    return prefix ? find_tensor(c, prefix, hf, name) : NULL;
}

/* ---- loading ---- */

static int same_shape(const mert_parameter *p, const mert_tensor *t)
{
    if (p->ndim != t->ndim)
        return 0;
    for (int i = 0; i < p->ndim; i++)
        if (p->shape[i] != t->shape[i])
            return 0;
    return 1;
}

static void print_shape(char to[96], int ndim, const int64_t *shape)
{
    int n = snprintf(to, 96, "[");
    for (int i = 0; i < ndim && n < 80; i++)
        n += snprintf(to + n, 96 - (size_t)n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(to + n, 96 - (size_t)n, "]");
}

static int take_all(mert_weights *w, const mert_checkpoint *c, const char *prefix, int hf, const mert_tensor **taken,
                    size_t *n_taken, mert_error *e)
{
    char missing[512] = "";
    int n_missing = 0;
    for (int i = 0; i < w->layout.count; i++) {
        const mert_parameter *p = &w->layout.parameters[i];
        const mert_tensor *t = find_tensor(c, prefix, hf, p->name);
        char have[96], want[96];
        if (!t) {
            if (!strcmp(p->name, "mask_emb")) /* inference never reads it; some exports leave it out */
                continue;
            n_missing++;
            if (strlen(missing) + strlen(p->name) + 3 < sizeof missing)
                snprintf(missing + strlen(missing), sizeof missing - strlen(missing), " %s", p->name);
            continue;
        }
        if (!same_shape(p, t)) {
            print_shape(have, t->ndim, t->shape);
            print_shape(want, p->ndim, p->shape);
            return mert_fail(e, "tensor %s is %s, and the configuration makes it %s", t->name, have, want);
        }
        if (w->views && t->type == MERT_E_F32 && (uintptr_t)t->data % sizeof(float) == 0)
            w->views[i] = t->data;
        else if (mert_tensor_read(t, w->values + p->offset, e))
            return -1;
        taken[(*n_taken)++] = t;
    }
    return n_missing ? mert_fail(e, "%d tensor%s missing:%s", n_missing, n_missing > 1 ? "s are" : " is", missing) : 0;
}

/* Tensors that training leaves in checkpoints and that the model itself does not need. */
static int known_extra(const char *name, int heads)
{
    static const char *const always[] = {"encoder_cqt_model.spec_layer.",
                                         "encoder_mel_model.spec_layer.",
                                         "quantizer.",
                                         "project_q.",
                                         "lm_head.",
                                         "projector.",
                                         "classifier.",
                                         "num_batches_tracked"};
    static const char *const pretraining[] = {"label_embs_concat", "final_proj.",        "logit_temp_list",
                                              "target_glu.",       "encoder_cqt_model.", "encoder_mel_model."};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (strstr(name, always[i]))
            return 1;
    for (size_t i = 0; !heads && i < sizeof pretraining / sizeof *pretraining; i++)
        if (!strncmp(name, pretraining[i], strlen(pretraining[i])))
            return 1;
    return 0;
}

static int order_pointers(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    return x < y ? -1 : x > y;
}

static int nothing_unused(const mert_checkpoint *c, const char *prefix, int heads, const mert_tensor **taken,
                          size_t n_taken, mert_error *e)
{
    char unused[512] = "";
    int n = 0;
    qsort(taken, n_taken, sizeof *taken, order_pointers);
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        if (bsearch(&t, taken, n_taken, sizeof *taken, order_pointers))
            continue;
        if (strncmp(t->name, prefix, strlen(prefix))) /* beside the model: optimiser state, a head on top */
            continue;
        if (known_extra(t->name + strlen(prefix), heads))
            continue;
        n++;
        if (strlen(unused) + strlen(t->name) + 3 < sizeof unused)
            snprintf(unused + strlen(unused), sizeof unused - strlen(unused), " %s", t->name);
    }
    return n ? mert_fail(e, "%d tensor%s the configuration has no place for:%s", n, n > 1 ? "s that" : " that", unused)
             : 0;
}

int mert_weights_ignored(const mert_checkpoint *c, int heads, char *to, size_t size)
{
    int hf, n = 0, full = 0;
    const char *prefix = find_prefix(c, &hf);
    size_t used = 0;
    to[0] = 0;
    for (size_t i = 0; prefix && i < mert_checkpoint_count(c); i++) {
        const char *name = mert_checkpoint_tensor(c, i)->name;
        if (!strncmp(name, prefix, strlen(prefix)) && !known_extra(name + strlen(prefix), heads))
            continue;
        full |= used + strlen(name) + 6 > size;
        if (!full)
            used += (size_t)snprintf(to + used, size - used, "%s%s", n ? " " : "", name);
        n++;
    }
    if (full)
        snprintf(to + used, size - used, " ...");
    return n;
}

/* Room for the numbers of which most stay where they are: untouched memory is none. */
static int allocate_views(mert_weights *w, const mert_config *c, mert_error *e)
{
    if (mert_layout_make(&w->layout, c, e))
        return -1;
    w->views = calloc((size_t)w->layout.count, sizeof *w->views);
    w->values = calloc((size_t)w->layout.size, sizeof *w->values);
    for (int i = 0; w->views && w->values && i < w->layout.count; i++)
        w->views[i] = w->values + w->layout.parameters[i].offset;
    if (w->views && w->values)
        return 0;
    mert_weights_free(w);
    return mert_fail(e, "no memory for %lld parameters", (long long)w->layout.elements);
}

/* "mert_packed" of config.json: {"version": 1, "hash": S9 in hex, "xxh64": of the bytes of the one tensor "packed"},
 * and "precision": "bf16" where the products are to be so; then some of the tensor's float32 are pairs of bfloat16. */
static int open_packed(mert_weights *w, const mert_checkpoint *c, const mert_json *about, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, "packed");
    const char *hash = mert_json_as_string(mert_json_get(about, "hash"));
    const mert_json *precision = mert_json_get(about, "precision");
    mert_config config;
    int64_t version = 0;
    if (precision && (!mert_json_as_string(precision) || strcmp(mert_json_as_string(precision), "bf16")))
        return mert_fail(e, "packed for a precision that this version does not know");
    if (mert_json_as_int(mert_json_get(about, "version"), &version) || version != MERT_PACKED_VERSION)
        return mert_fail(e, "packed in a way that this version does not know: pack the model again");
    if (!t || t->type != MERT_E_F32 || t->ndim != 1 || (uintptr_t)t->data % 64 || !hash ||
        sscanf(hash, "%16" SCNx64, &w->hash) != 1)
        return mert_fail(e, "config.json says that it is packed, and it is not");
    if (mert_config_from_hf(&config, mert_checkpoint_config(c), mert_checkpoint_preprocessor(c), e))
        return mert_fail_in(e, "config.json");
    config.codebooks = 0;
    if (mert_layout_make(&w->layout, &config, e))
        return -1;
    w->packed = t->data;
    w->packed_size = t->elements;
    w->packed_as = precision ? MERT_PACKED_BF16 : MERT_PACKED_F32;
    return 0;
}

static int from(mert_weights *w, const mert_checkpoint *c, int heads, int views, mert_error *e)
{
    const mert_json *about = mert_json_get(mert_checkpoint_config(c), "mert_packed");
    mert_config config;
    const mert_tensor **taken;
    size_t n_taken = 0;
    int hf, bad;
    const char *prefix = find_prefix(c, &hf);
    memset(w, 0, sizeof *w);
    if (about)
        return views ? open_packed(w, c, about, e)
                     : mert_fail(e, "packed for mert-encode: there are no single tensors in it");
    if (!prefix)
        return mert_fail(e, "no MERT model in it: there is no feature_extractor.conv_layers.0 weight");
    if (mert_checkpoint_config(c)) {
        if (mert_config_from_hf(&config, mert_checkpoint_config(c), mert_checkpoint_preprocessor(c), e))
            return mert_fail_in(e, "config.json");
    } else if (mert_json_get(mert_checkpoint_extras(c), "cfg") || mert_json_get(mert_checkpoint_extras(c), "args")) {
        if (mert_config_from_fairseq(&config, mert_checkpoint_extras(c), e))
            return mert_fail_in(e, "its configuration");
    } else
        return mert_fail(e, "no config.json beside it: the model's architecture is not known");
    if (!heads)
        config.codebooks = 0;
    if (views ? allocate_views(w, &config, e) : mert_weights_allocate(w, &config, e))
        return -1;
    taken = calloc(mert_checkpoint_count(c) + (size_t)w->layout.count, sizeof *taken);
    bad = !taken ? mert_fail(e, "out of memory") : 0;
    bad = bad || take_all(w, c, prefix, hf, taken, &n_taken, e) || nothing_unused(c, prefix, heads, taken, n_taken, e);
    free(taken);
    if (bad)
        mert_weights_free(w);
    return bad ? -1 : 0;
}

int mert_weights_from(mert_weights *w, const mert_checkpoint *c, int heads, mert_error *e)
{
    return from(w, c, heads, 0, e);
}

int mert_weights_open(mert_weights *w, const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    memset(w, 0, sizeof *w);
    if (!c)
        return -1;
    if (from(w, c, 0, 1, e)) {
        mert_checkpoint_close(c);
        return mert_fail_in(e, "%s", path);
    }
    w->source = c;
    mert_checkpoint_expect(c);
    return 0;
}

int mert_weights_load(mert_weights *w, const char *path, int heads, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    int bad;
    memset(w, 0, sizeof *w);
    if (!c)
        return -1;
    bad = mert_weights_from(w, c, heads, e);
    mert_checkpoint_close(c);
    return bad ? mert_fail_in(e, "%s", path) : 0;
}

/* ---- saving ---- */

static int write_text(const char *dir, const char *name, char *text, mert_error *e)
{
    char *path = mert_path_join(dir, name);
    mert_output *o = path && text ? mert_output_open(path, e) : NULL;
    int bad = -1;
    if (!path || !text)
        mert_fail(e, "%s: out of memory", dir);
    if (o) {
        fputs(text, o->stream);
        bad = mert_output_commit(o, e);
    }
    free(path);
    free(text);
    return bad;
}

static int save(const mert_weights *w, const char *dir, int hf, mert_error *e)
{
    const mert_layout *l = &w->layout;
    mert_tensor_out *out = calloc((size_t)l->count, sizeof *out);
    char(*names)[128] = calloc((size_t)l->count, sizeof *names);
    char *path = mert_path_join(dir, "model.safetensors");
    mert_config config = l->config;
    size_t n = 0;
    int bad = !out || !names || !path ? mert_fail(e, "%s: out of memory", dir) : mert_make_directory(dir, e);
    for (int i = 0; !bad && i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        if (!hf)
            snprintf(names[n], sizeof names[n], "%s", p->name);
        else if (mert_name_to_hf(p->name, names[n]))
            continue;
        out[n] =
            (mert_tensor_out){.name = names[n], .type = MERT_E_F32, .ndim = p->ndim, .data = mert_weights_values(w, p)};
        memcpy(out[n].shape, p->shape, sizeof p->shape);
        n++;
    }
    if (hf)
        config.codebooks = 0;
    bad = bad || mert_safetensors_write(path, out, n, e) ||
          write_text(dir, "config.json", mert_config_to_hf(&config), e) ||
          write_text(dir, "preprocessor_config.json", mert_config_to_preprocessor(&config), e);
    free(out);
    free(names);
    free(path);
    return bad ? -1 : 0;
}

int mert_weights_save(const mert_weights *w, const char *dir, mert_error *e)
{
    return save(w, dir, 0, e);
}

int mert_weights_save_hf(const mert_weights *w, const char *dir, mert_error *e)
{
    return save(w, dir, 1, e);
}

/* config.json with what tells a packed model from others. NULL: out of memory. */
static char *packed_config(const mert_weights *w, const float *packed, int64_t size, mert_packing as)
{
    mert_config config = w->layout.config;
    char *text, *to = NULL;
    size_t n;
    FILE *f;
    config.codebooks = 0;
    if (!(text = mert_config_to_hf(&config)))
        return NULL;
    if ((f = open_memstream(&to, &n))) {
        fprintf(f, "{\n  \"mert_packed\": {\"version\": %d, \"hash\": \"%016" PRIx64 "\", \"xxh64\": \"%016" PRIx64
                "\"%s},%s",
                MERT_PACKED_VERSION, mert_weights_hash(w), mts_xxh64(packed, (size_t)size * sizeof *packed, 0),
                as == MERT_PACKED_BF16 ? ", \"precision\": \"bf16\"" : "", strchr(text, '{') + 1);
        if (fclose(f)) {
            free(to);
            to = NULL;
        }
    }
    free(text);
    return to;
}

int mert_weights_save_packed(const mert_weights *w, const float *packed, int64_t size, mert_packing as, const char *dir,
                             mert_error *e)
{
    mert_tensor_out out = {.name = "packed", .type = MERT_E_F32, .ndim = 1, .shape = {size}, .data = packed};
    char *path = mert_path_join(dir, "model.safetensors");
    int bad = !path ? mert_fail(e, "%s: out of memory", dir) : 0;
    bad = bad || mert_make_directory(dir, e) || mert_safetensors_write(path, &out, 1, e) ||
          write_text(dir, "config.json", packed_config(w, packed, size, as), e) ||
          write_text(dir, "preprocessor_config.json", mert_config_to_preprocessor(&w->layout.config), e);
    free(path);
    return bad ? -1 : 0;
}

uint64_t mert_weights_hash(const mert_weights *w)
{
    const mert_layout *l = &w->layout;
    mert_named_values *v = calloc((size_t)l->count + 1, sizeof *v);
    size_t n = 0;
    uint64_t h;
    if (w->packed) {
        free(v);
        return w->hash;
    }
    if (!v)
        return 0;
    for (int i = 0; i < l->count; i++)
        if (!l->parameters[i].training_only)
            v[n++] = (mert_named_values){l->parameters[i].name, mert_weights_values(w, &l->parameters[i]),
                                         l->parameters[i].n};
    h = mert_model_hash(v, n);
    free(v);
    return h;
}
