/* Models in files: loading with the names of HF and fairseq, writing, hashes. */
#include "libcommon/models/weights/weights.h"

#include "libcommon/models/weights/fairseq.h"
#include "libcommon/models/weights/naming.h"

#include "formats/finite.h"

#include "formats/bytes.h"
#include "formats/checkpoint/model_hash.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/memory.h"
#include "formats/stream/mts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const mert_tensor *mert_weights_tensor(const mert_checkpoint *c, const char *name)
{
    mert_naming naming;
    return mert_naming_find(&naming, c, NULL) ? NULL : mert_naming_tensor(&naming, c, name);
}

/* ---- loading ---- */

/* The state of loading a model from a file. */
typedef struct weight_loader {
    mert_weights *w;
    const mert_checkpoint *c;
    mert_naming naming;
    int identity;              /* the file has no post_extract_proj, and fairseq's model does not need one */
    int folded;                /* the weight of the positional convolution is one tensor, not two factors */
    const mert_tensor **taken;
    size_t n_taken;
    char missing[512];
    int n_missing;
} weight_loader;

static const char position[] = "encoder.pos_conv.0.weight";

/* fairseq has no projection if the extractor is as wide as the model. HF's code always has one. */
static int needs_no_projection(const weight_loader *t)
{
    const mert_config *c = &t->w->layout.config;
    const mert_json *extras = mert_checkpoint_extras(t->c);
    return c->kind == MERT_HUBERT && !t->naming.hf && mert_config_features(c) == c->width &&
           (mert_json_get(extras, "cfg") || mert_json_get(extras, "args")) &&
           !mert_naming_tensor(&t->naming, t->c, "post_extract_proj.weight") &&
           !mert_naming_tensor(&t->naming, t->c, "post_extract_proj.bias");
}

static int is_folded(const weight_loader *t)
{
    return t->w->layout.config.kind == MERT_HUBERT && mert_naming_tensor(&t->naming, t->c, position) &&
           !mert_naming_tensor(&t->naming, t->c, "encoder.pos_conv.0.weight_g") &&
           !mert_naming_tensor(&t->naming, t->c, "encoder.pos_conv.0.weight_v");
}

static void put_identity(float *to, const mert_parameter *p)
{
    memset(to, 0, (size_t)p->n * sizeof *to);
    for (int64_t i = 0; p->ndim == 2 && i < p->shape[0]; i++)
        to[i * p->shape[1] + i] = 1;
}

static void note_missing(weight_loader *t, const char *name)
{
    size_t used = strlen(t->missing);
    char full[MERT_NAMING_NAME];
    t->n_missing++;
    if (mert_naming_spell(&t->naming, name, full))
        snprintf(full, sizeof full, "%s%s", t->naming.prefix, name);
    if (used + strlen(full) + 3 < sizeof t->missing)
        snprintf(t->missing + used, sizeof t->missing - used, " %s", mert_show(full, strlen(full)).text);
}

static int load_one(weight_loader *t, int i, mert_error *e)
{
    mert_weights *w = t->w;
    const mert_parameter *p = &w->layout.parameters[i];
    int direction = !strcmp(p->name, "encoder.pos_conv.0.weight_v");
    const mert_tensor *x = mert_naming_tensor(&t->naming, t->c, t->folded && direction ? position : p->name);
    char have[MERT_SHAPE_TEXT], want[MERT_SHAPE_TEXT];
    if (!x) {
        if (t->identity && !strncmp(p->name, "post_extract_proj.", 18))
            put_identity(w->values + p->offset, p);
        else if (!(t->folded && !strcmp(p->name, "encoder.pos_conv.0.weight_g")) &&
                 strcmp(p->name, "mask_emb")) /* inference does not read it, and some exports do not have it */
            note_missing(t, p->name);
        return 0;
    }
    if (!mert_parameter_has_shape(p, x->ndim, x->shape)) {
        mert_shape_text(have, x->ndim, x->shape);
        mert_shape_text(want, p->ndim, p->shape);
        return mert_fail(e, "tensor %s is %s, and the configuration makes it %s", x->name, have, want);
    }
    if (!mert_dtype_is_real(x->type))
        return mert_fail(e, "tensor %s is of type %s, and weights are read from F32, F16, BF16 or F64", x->name,
                         mert_tensor_type(x));
    if (w->views && !(t->folded && direction) && x->type == MERT_E_F32 && (uintptr_t)x->data % sizeof(float) == 0)
        w->views[i] = x->data;
    else if (mert_tensor_read(x, w->values + p->offset, e))
        return -1;
    t->taken[t->n_taken++] = x;
    return 0;
}

/* Weight norm divides each tap by its length, which is 0 for a tap of zeros. This is an error if the file has two
 * factors. If the weight was folded, the tap gets an arbitrary direction with gain 0. */
static int check_taps(weight_loader *t, mert_error *e)
{
    mert_weights *w = t->w;
    const mert_parameter *p = mert_layout_find(&w->layout, "encoder.pos_conv.0.weight_v");
    const float *v = mert_weights_values(w, p);
    float *own = w->values + p->offset;
    int64_t K = p->shape[2];
    if (!t->folded)
        return mert_weights_check_taps(w, mert_naming_tensor(&t->naming, t->c, p->name)->name, e);
    for (int64_t k = -1; (k = mert_tap_without_length(p, v, k + 1)) >= 0;) {
        if (v != own)
            memcpy(own, v, (size_t)p->n * sizeof *own);
        v = own;
        for (int64_t i = k; i < p->n; i += K)
            own[i] = 1;
        if (w->views)
            w->views[p - w->layout.parameters] = own;
    }
    return 0;
}

static int load_all(weight_loader *t, mert_error *e)
{
    t->identity = needs_no_projection(t);
    t->folded = is_folded(t);
    for (int i = 0; i < t->w->layout.count; i++)
        if (load_one(t, i, e))
            return -1;
    if (t->n_missing)
        return mert_fail(e, "%d tensor%s missing:%s", t->n_missing, t->n_missing > 1 ? "s are" : " is", t->missing);
    if (t->folded)
        mert_weights_positional_gain(t->w);
    return t->w->layout.config.kind == MERT_HUBERT ? check_taps(t, e) : 0;
}

/* Tensors that are in checkpoints of training and that the model itself does not use. */
static int known_extra(const char *name, int heads, mert_model_kind kind)
{
    static const char *const always[] = {"encoder_cqt_model.spec_layer.",
                                         "encoder_mel_model.spec_layer.",
                                         "feature_extractor_cqt.cqt_kernels_", /* nnAudio's tables, which we compute */
                                         "feature_extractor_cqt.lenghts",      /* (spelled like this) */
                                         "quantizer.",
                                         "project_q.",
                                         "lm_head.",
                                         "projector.",
                                         "classifier.",
                                         "num_batches_tracked"};
    static const char *const pretraining[] = {"label_embs_concat", "final_proj.",        "logit_temp_list",
                                              "target_glu.",       "encoder_cqt_model.", "encoder_mel_model.",
                                              "task."};
    if (!heads && kind == MERT_CONFORMER && !strcmp(name, "mask_emb")) /* without heads, a Conformer has no parameter
                                                                          for it */
        return 1;
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

static int check_unused(const mert_checkpoint *c, const mert_naming *naming, int heads, const mert_tensor **taken,
                        size_t n_taken, mert_error *e)
{
    const char *prefix = naming->prefix;
    char unused[512] = "";
    int n = 0;
    qsort(taken, n_taken, sizeof *taken, order_pointers);
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        if (bsearch(&t, taken, n_taken, sizeof *taken, order_pointers))
            continue;
        if (strncmp(t->name, prefix, strlen(prefix))) /* outside of the model: optimiser state, a head on top */
            continue;
        if (known_extra(t->name + strlen(prefix), heads, naming->kind))
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
    mert_naming naming;
    int n = 0, full = 0, there = !mert_naming_find(&naming, c, NULL);
    const char *prefix = naming.prefix;
    size_t used = 0;
    to[0] = 0;
    for (size_t i = 0; there && i < mert_checkpoint_count(c); i++) {
        const char *name = mert_checkpoint_tensor(c, i)->name;
        if (!strncmp(name, prefix, strlen(prefix)) && !known_extra(name + strlen(prefix), heads, naming.kind))
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

/* Allocates room for all numbers, most of which stay in the file: memory that is never written takes no space. */
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

/* The tables of a packed model that the host needs: they are its first numbers (forward_conformer.c). */
static int view_constants(mert_weights *w, mert_error *e)
{
    const mert_layout *l = &w->layout;
    if (!l->constants)
        return 0;
    if (w->packed_size < l->constants)
        return mert_fail(e, "%" PRId64 " packed weights are fewer than this architecture has", w->packed_size);
    if (!(w->views = calloc((size_t)l->count, sizeof *w->views)))
        return mert_fail(e, "out of memory");
    for (int i = 0; i < l->count && l->parameters[i].offset < l->constants; i++)
        w->views[i] = w->packed + l->parameters[i].offset;
    return 0;
}

/* Opens a packed model. "mert_packed" in config.json is {"version": 1, "hash": hexadecimal (contract S9), "xxh64": of
 * the bytes of the only tensor, "packed"}. "precision": "bf16" or "int8" is added if products are in bfloat16
 * or in 8-bit integers; then some of the tensor's float32 numbers are other numbers of 32 bits together. With int8 these
 * may look like a NaN, so the tensor's type is int32. */
static mert_dtype packed_kind(mert_packing as)
{
    return as == MERT_PACKED_INT8 ? MERT_E_I32 : MERT_E_F32;
}

static int open_packed(mert_weights *w, const mert_checkpoint *c, const mert_json *about, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, "packed");
    const char *hash = mert_json_string(about, "hash"), *sum = mert_json_string(about, "xxh64");
    const mert_json *precision = mert_json_get(about, "precision");
    mert_packing as = MERT_PACKED_F32;
    mert_config config;
    int64_t version = 0;
    if (precision)
        for (as = MERT_PACKED_BF16; mert_packing_names[as]; as++)
            if (mert_json_as_string(precision) && !strcmp(mert_json_as_string(precision), mert_packing_names[as]))
                break;
    if (!mert_packing_names[as])
        return mert_fail(e, "packed for a precision that this version does not know");
    if (mert_json_as_int(mert_json_get(about, "version"), &version) || version != MERT_PACKED_VERSION)
        return mert_fail(e, "packed in a way that this version does not know: pack the model again");
    if (!t || t->type != packed_kind(as) || t->ndim != 1 || (uintptr_t)t->data % 64 || !hash ||
        sscanf(hash, "%16" SCNx64, &w->hash) != 1 || !sum || sscanf(sum, "%16" SCNx64, &w->packed_sum) != 1)
        return mert_fail(e, "config.json says that it is packed, and it is not");
    if (mert_config_from_hf(&config, mert_checkpoint_config(c), mert_checkpoint_preprocessor(c),
                            mert_checkpoint_processor(c), e))
        return mert_fail_in(e, "config.json");
    mert_config_drop_heads(&config);
    if (mert_layout_make(&w->layout, &config, e))
        return -1;
    w->packed = t->data;
    w->packed_size = t->elements;
    w->packed_as = as;
    return view_constants(w, e);
}

/* Refuses a configuration that is much larger than the file, before memory is allocated for it (contract F3). Smaller
 * differences are found later, when tensors are compared with the configuration; the error then names the tensors. */
static int check_size(const mert_checkpoint *c, const mert_config *config, mert_error *e)
{
    enum { TIMES = 16, ALWAYS = 1 << 22 };
    mert_layout l;
    int64_t there = 0, wanted;
    if (mert_layout_make(&l, config, e))
        return -1;
    wanted = l.elements;
    mert_layout_free(&l);
    for (size_t i = 0; i < mert_checkpoint_count(c); i++)
        there += mert_checkpoint_tensor(c, i)->elements;
    return wanted > ALWAYS && wanted / TIMES > there
               ? mert_fail(e, "the configuration makes a model of %lld numbers, the file holds %lld", (long long)wanted,
                           (long long)there)
               : 0;
}

static const char *kind_name(mert_model_kind kind)
{
    return kind == MERT_CONFORMER ? "MERT-v2 model (model_type mert2)" : "HuBERT or MERT-v1 model";
}

static int load_from(mert_weights *w, const mert_checkpoint *c, int heads, int views, mert_error *e)
{
    const mert_json *about = mert_json_get(mert_checkpoint_config(c), "mert_packed");
    mert_config config;
    weight_loader t = {.w = w, .c = c};
    int bad;
    memset(w, 0, sizeof *w);
    if (about && views && open_packed(w, c, about, e)) {
        mert_weights_free(w);
        return -1;
    }
    if (about)
        return views ? 0
                     : mert_fail(e, "packed for mert-encode: there are no single tensors in it");
    if (mert_naming_find(&t.naming, c, e))
        return -1;
    if (mert_checkpoint_config(c)) {
        if (mert_config_from_hf(&config, mert_checkpoint_config(c), mert_checkpoint_preprocessor(c),
                            mert_checkpoint_processor(c), e))
            return mert_fail_in(e, "config.json");
    } else if (mert_json_get(mert_checkpoint_extras(c), "cfg") || mert_json_get(mert_checkpoint_extras(c), "args")) {
        if (mert_config_from_fairseq(&config, mert_checkpoint_extras(c), e))
            return mert_fail_in(e, "its configuration");
    } else
        return mert_fail(e, "no config.json beside it: the model's architecture is not known");
    if (config.kind != t.naming.kind)
        return mert_fail(e, "config.json describes a %s, and the tensors are those of a %s", kind_name(config.kind),
                         kind_name(t.naming.kind));
    if (!heads)
        mert_config_drop_heads(&config);
    if (check_size(c, &config, e) ||
        (views ? allocate_views(w, &config, e) : mert_weights_allocate(w, &config, e)))
        return -1;
    t.taken = calloc(mert_checkpoint_count(c) + (size_t)w->layout.count, sizeof *t.taken);
    bad = !t.taken ? mert_fail(e, "out of memory") : 0;
    bad = bad || load_all(&t, e) || check_unused(c, &t.naming, heads, t.taken, t.n_taken, e);
    free(t.taken);
    if (bad)
        mert_weights_free(w);
    return bad ? -1 : 0;
}

int mert_weights_from(mert_weights *w, const mert_checkpoint *c, int heads, mert_error *e)
{
    return load_from(w, c, heads, 0, e);
}

int mert_weights_open(mert_weights *w, const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    memset(w, 0, sizeof *w);
    if (!c)
        return -1;
    if (load_from(w, c, 0, 1, e)) {
        mert_checkpoint_close(c);
        return mert_fail_in(e, "%s", path);
    }
    w->source = c;
    mert_checkpoint_expect(c);
    return 0;
}

int mert_weights_check_sums(const mert_weights *w, const char *path, mert_error *e)
{
    if (w->packed)
        return mts_xxh64(w->packed, (size_t)w->packed_size * sizeof *w->packed, 0) == w->packed_sum
                   ? 0
                   : mert_fail(e, "%s: the packed weights are not what their checksum says: the file is damaged", path);
    return w->source ? mert_checkpoint_check_own(w->source, e) : 0;
}

int mert_weights_load(mert_weights *w, const char *path, int heads, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    int bad;
    memset(w, 0, sizeof *w);
    if (!c)
        return -1;
    bad = mert_checkpoint_check_own(c, e) ? -1 : mert_weights_from(w, c, heads, e) ? mert_fail_in(e, "%s", path) : 0;
    if (!bad && (bad = mert_weights_check_finite(w, c, 1, e))) {
        mert_weights_free(w);
        mert_fail_in(e, "%s", path);
    }
    mert_checkpoint_close(c);
    return bad;
}

int mert_weights_check_finite(const mert_weights *w, const mert_checkpoint *c, int training, mert_error *e)
{
    for (int i = 0; !w->packed && i < w->layout.count; i++) {
        const mert_parameter *p = &w->layout.parameters[i];
        const float *x = mert_weights_values(w, p);
        int64_t at = p->training_only && !training ? -1 : mert_not_finite(MTS_F32, x, p->n);
        const mert_tensor *t;
        mert_weights_forget(w, p);
        if (at < 0)
            continue;
        if (!(t = mert_weights_tensor(c, p->name))) /* the weight norm was folded */
            t = mert_weights_tensor(c, position);
        return mert_fail(e, "tensor %s: value %lld is %g%s", t ? t->name : p->name, (long long)at, (double)x[at],
                         t && t->type == MERT_E_F64 ? " as F32" : "");
    }
    return 0;
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

/* Writes the tensors, config.json and preprocessor_config.json (frees both texts), with the checksums of the texts in
 * the metadata of the tensors. */
static int write_model(const char *dir, const mert_tensor_out *tensors, size_t n, char *config, char *preprocessor,
                       mert_error *e)
{
    char sums[2][17], *path = mert_path_join(dir, "model.safetensors");
    const char *const about[][2] = {{"mert_config", sums[0]}, {"mert_preprocessor", sums[1]}};
    int bad;
    if (!path || !config || !preprocessor) {
        free(path);
        free(config);
        free(preprocessor);
        return mert_fail(e, "%s: out of memory", dir);
    }
    snprintf(sums[0], sizeof sums[0], "%016" PRIx64, mts_xxh64(config, strlen(config), 0));
    snprintf(sums[1], sizeof sums[1], "%016" PRIx64, mts_xxh64(preprocessor, strlen(preprocessor), 0));
    bad = mert_make_directory(dir, e) || mert_safetensors_write_about(path, tensors, n, about, 2, e);
    free(path);
    if (bad) {
        free(config);
        free(preprocessor);
        return -1;
    }
    bad = write_text(dir, "config.json", config, e);
    if (bad)
        free(preprocessor);
    return bad || write_text(dir, "preprocessor_config.json", preprocessor, e) ? -1 : 0;
}

static int save(const mert_weights *w, const char *dir, int hf, mert_error *e)
{
    const mert_layout *l = &w->layout;
    mert_tensor_out *out = calloc((size_t)l->count, sizeof *out);
    char(*names)[128] = calloc((size_t)l->count, sizeof *names);
    mert_config config = l->config;
    size_t n = 0;
    int bad = !out || !names ? mert_fail(e, "%s: out of memory", dir) : 0;
    for (int i = 0; !bad && i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        if (hf && config.kind == MERT_CONFORMER && p->training_only)
            continue;
        if (!hf || config.kind == MERT_CONFORMER)
            snprintf(names[n], sizeof names[n], "%s", p->name);
        else if (mert_name_to_hf(p->name, names[n]))
            continue;
        out[n] =
            (mert_tensor_out){.name = names[n], .type = MERT_E_F32, .ndim = p->ndim, .data = mert_weights_values(w, p)};
        memcpy(out[n].shape, p->shape, sizeof p->shape);
        n++;
    }
    if (hf)
        mert_config_drop_heads(&config);
    bad = bad || write_model(dir, out, n, mert_config_to_hf(&config), mert_config_to_preprocessor(&config), e);
    free(out);
    free(names);
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

/* config.json of a packed model. NULL: out of memory. */
static char *packed_config(const mert_weights *w, const float *packed, int64_t size, mert_packing as)
{
    mert_config config = w->layout.config;
    mert_memory m;
    char *text;
    FILE *f;
    mert_config_drop_heads(&config);
    if (!(text = mert_config_to_hf(&config)))
        return NULL;
    if ((f = mert_memory_open(&m)))
        fprintf(f, "{\n  \"mert_packed\": {\"version\": %d, \"hash\": \"%016" PRIx64 "\", \"xxh64\": \"%016" PRIx64
                "\"%s%s%s},%s",
                MERT_PACKED_VERSION, mert_weights_hash(w), mts_xxh64(packed, (size_t)size * sizeof *packed, 0),
                as == MERT_PACKED_F32 ? "" : ", \"precision\": \"",
                as == MERT_PACKED_F32 ? "" : mert_packing_names[as], as == MERT_PACKED_F32 ? "" : "\"",
                strchr(text, '{') + 1);
    free(text);
    return mert_memory_close(f, &m);
}

int mert_weights_save_packed(const mert_weights *w, const float *packed, int64_t size, mert_packing as, const char *dir,
                             mert_error *e)
{
    mert_tensor_out out = {.name = "packed", .type = packed_kind(as), .ndim = 1, .shape = {size}, .data = packed};
    return write_model(dir, &out, 1, packed_config(w, packed, size, as),
                       mert_config_to_preprocessor(&w->layout.config), e);
}

static void forget_hashed(void *self, const mert_named_values *t)
{
    const mert_weights *w = self;
    if (w->source)
        mert_checkpoint_forget(w->source, t->values, (size_t)t->n * sizeof *t->values);
}

uint64_t mert_weights_hash(const mert_weights *w)
{
    enum { MOST = 4 * MERT_CONV_MAX + 40 * MERT_LAYERS_MAX + 16 + MERT_STAGES_MAX * (4 + 10 * MERT_LAYERS_MAX) };
    const mert_layout *l = &w->layout;
    mert_named_values v[MOST]; /* on the stack, because this function cannot report an error */
    size_t n = 0;
    if (w->packed)
        return w->hash;
    for (int i = 0; i < l->count && n < MOST; i++)
        if (!l->parameters[i].training_only)
            v[n++] = (mert_named_values){l->parameters[i].name, mert_weights_values(w, &l->parameters[i]),
                                         l->parameters[i].n};
    return mert_model_hash_each(v, n, forget_hashed, (void *)(uintptr_t)w);
}
