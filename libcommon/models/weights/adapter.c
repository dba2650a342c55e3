#include "libcommon/models/weights/adapter.h"

#include "formats/array.h"
#include "formats/bytes.h"
#include "formats/file.h"
#include "libcommon/base/pool.h"
#include "libcommon/models/weights/naming.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const first_half[] = {".lora_A.weight", ".lora_A.default.weight", ".lora_A"};
static const char *const second_half[] = {".lora_B.weight", ".lora_B.default.weight", ".lora_B"};
enum { SPELLINGS = 3, NAME = 512 };

/* Length of the name before one of these tails; 0: the name has none of them. */
static size_t stem_length(const char *name, const char *const tails[SPELLINGS], int *which)
{
    size_t n = strlen(name);
    for (int i = 0; i < SPELLINGS; i++) {
        size_t m = strlen(tails[i]);
        if (n > m && !strcmp(name + n - m, tails[i])) {
            *which = i;
            return n - m;
        }
    }
    return 0;
}

/* 1: `layer` [n] is the name of this parameter without ".weight", after any prefix. */
static int is_named(const char *layer, size_t n, const char *parameter)
{
    size_t m = strlen(parameter), tail = strlen(".weight");
    if (m <= tail || strcmp(parameter + m - tail, ".weight"))
        return 0;
    m -= tail;
    return n >= m && !memcmp(layer + n - m, parameter, m) && (n == m || layer[n - m - 1] == '.');
}

static const mert_parameter *find(const mert_layout *l, const char *layer, size_t n)
{
    char hf[128];
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        if (p->ndim == 2 && (is_named(layer, n, p->name) || (l->config.kind == MERT_HUBERT &&
                                                             !mert_name_to_hf(p->name, hf) && is_named(layer, n, hf))))
            return p;
    }
    return NULL;
}

/* ---- merging ---- */

typedef struct product {
    const float *a, *b; /* [rank, in], [out, rank] */
    float *w;           /* [out, in] */
    int64_t in, rank;
    double factor;
} product;

static void add_row(void *arg, int64_t o, int worker)
{
    const product *p = arg;
    (void)worker;
    for (int64_t i = 0; i < p->in; i++) {
        double sum = 0;
        for (int64_t r = 0; r < p->rank; r++)
            sum += (double)p->b[o * p->rank + r] * p->a[r * p->in + i];
        p->w[o * p->in + i] = (float)(p->w[o * p->in + i] + p->factor * sum);
    }
}

/* The numbers of a parameter in memory that can be written. */
static float *own_values(mert_weights *w, const mert_parameter *p)
{
    float *own = w->values + p->offset;
    int64_t i = p - w->layout.parameters;
    if (w->views && w->views[i] != own) {
        memcpy(own, w->views[i], (size_t)p->n * sizeof *own);
        w->views[i] = own;
    }
    return own;
}

static int merge_pair(mert_weights *w, const mert_parameter *p, const mert_tensor *A, const mert_tensor *B,
                      double factor, mert_error *e)
{
    int64_t rank = A->ndim == 2 ? A->shape[0] : 0;
    float *a, *b;
    int bad = 0;
    if (rank < 1 || A->shape[1] != p->shape[1] || B->ndim != 2 || B->shape[0] != p->shape[0] || B->shape[1] != rank)
        return mert_fail(e, "%s and its lora_B are not [rank, %" PRId64 "] and [%" PRId64 ", rank], as %s needs",
                         A->name, p->shape[1], p->shape[0], p->name);
    a = mert_array(A->elements, sizeof *a);
    b = mert_array(B->elements, sizeof *b);
    if (!a || !b)
        bad = mert_fail(e, "out of memory");
    else if (!mert_dtype_is_real(A->type) || !mert_dtype_is_real(B->type))
        bad = mert_fail(e, "%s or its lora_B is of a type that weights are not read from", A->name);
    else
        bad = mert_tensor_read(A, a, e) || mert_tensor_read(B, b, e) ? -1 : 0;
    if (!bad) {
        product job = {a, b, own_values(w, p), p->shape[1], rank, factor};
        mert_pool_run(p->shape[0], add_row, &job);
    }
    free(a);
    free(b);
    return bad;
}

/* ---- files ---- */

typedef struct scale {
    double alpha;
    int root; /* 1: alpha is divided by the square root of the rank */
} scale;

/* Refuses settings that change more than B A. */
static int check_config(const mert_json *j, scale *s, mert_error *e)
{
    static const char *const patterns[] = {"alpha_pattern", "rank_pattern"};
    const char *bias = mert_json_string(j, "bias");
    int dora = 0, transposed = 0;
    mert_json_double(j, "lora_alpha", &s->alpha);
    mert_json_bool(j, "use_rslora", &s->root);
    mert_json_bool(j, "use_dora", &dora);
    mert_json_bool(j, "fan_in_fan_out", &transposed);
    if (dora || transposed)
        return mert_fail(e, "%s is true, which is not computed here", dora ? "use_dora" : "fan_in_fan_out");
    if (bias && strcmp(bias, "none"))
        return mert_fail(e, "bias is '%.40s', and only 'none' is computed here", bias);
    for (int i = 0; i < 2; i++)
        if (mert_json_size(mert_json_get(j, patterns[i])))
            return mert_fail(e, "%s is not empty, which is not computed here", patterns[i]);
    return 0;
}

/* Reads adapter_config.json beside the file, if it exists. */
static int read_config(const char *path, scale *s, mert_error *e)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *beside = malloc(n + sizeof "adapter_config.json");
    mert_json *j;
    int bad;
    if (!beside)
        return mert_fail(e, "out of memory");
    memcpy(beside, path, n);
    strcpy(beside + n, "adapter_config.json");
    if (access(beside, F_OK)) {
        free(beside);
        return 0;
    }
    j = mert_json_read(beside, e);
    bad = !j ? -1 : check_config(j, s, e) ? mert_fail_in(e, "%s", beside) : 0;
    mert_json_free(j);
    free(beside);
    return bad;
}

static void note_other(mert_adapter *about, const char *name)
{
    size_t used = strlen(about->names);
    if (used + strlen(name) + 2 < sizeof about->names)
        snprintf(about->names + used, sizeof about->names - used, "%s%s", used ? " " : "", name);
    about->others++;
}

/* Merges the pair whose first tensor is `t`. */
static int merge_one(mert_weights *w, const mert_checkpoint *c, const mert_tensor *t, size_t n, int spelling,
                     const scale *s, mert_adapter *about, mert_error *e)
{
    const mert_parameter *p = find(&w->layout, t->name, n);
    const mert_tensor *other;
    char name[NAME];
    double rank = t->ndim == 2 ? (double)t->shape[0] : 1;
    if (!p)
        return mert_fail(e, "%s: the model has no such linear layer", t->name);
    snprintf(name, sizeof name, "%.*s%s", (int)n, t->name, second_half[spelling]);
    if (!(other = mert_checkpoint_find(c, name)))
        return mert_fail(e, "%s is there, and %s is not", t->name, name);
    if (!about->layers++)
        about->rank = (int)rank;
    return merge_pair(w, p, t, other, s->alpha / (s->root ? sqrt(rank) : rank), e);
}

static int merge_all(mert_weights *w, const mert_checkpoint *c, const scale *s, mert_adapter *about, mert_error *e)
{
    int spelling;
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        size_t a = stem_length(t->name, first_half, &spelling);
        size_t b = a ? 0 : stem_length(t->name, second_half, &spelling);
        char name[NAME];
        if (a && merge_one(w, c, t, a, spelling, s, about, e))
            return -1;
        if (b) {
            snprintf(name, sizeof name, "%.*s%s", (int)b, t->name, first_half[spelling]);
            if (!mert_checkpoint_find(c, name))
                return mert_fail(e, "%s is there, and %s is not", t->name, name);
        }
        if (!a && !b && strstr(t->name, ".lora_"))
            return mert_fail(e, "%s: neither lora_A nor lora_B of a linear layer", t->name);
        if (!a && !b)
            note_other(about, t->name);
    }
    return about->layers ? 0 : mert_fail(e, "there are no tensors LAYER.lora_A.weight and LAYER.lora_B.weight in it");
}

int mert_adapter_merge(mert_weights *w, const char *path, double alpha, mert_adapter *about, mert_error *e)
{
    scale s = {MERT_ADAPTER_ALPHA, 0};
    mert_adapter unused;
    mert_checkpoint *c;
    char *file;
    int bad;
    about = about ? about : &unused;
    *about = (mert_adapter){.layers = 0};
    if (w->packed)
        return mert_fail(e,
            "the model is packed: an adapter goes into the model that it was made of (mert-model convert "
                            "--adapter --to packed)");
    file = mert_path_is_directory(path) ? mert_path_join(path, "adapter_model.safetensors") : strdup(path);
    if (!file)
        return mert_fail(e, "out of memory");
    bad = read_config(file, &s, e);
    s.alpha = alpha > 0 ? alpha : s.alpha;
    about->alpha = s.alpha;
    if (!bad && !(c = mert_checkpoint_open(file, e)))
        bad = -1;
    else if (!bad) {
        bad = merge_all(w, c, &s, about, e) ? mert_fail_in(e, "%s", file) : 0;
        mert_checkpoint_close(c);
    }
    free(file);
    return bad;
}

void mert_adapter_text(const mert_adapter *about, char *to, size_t size)
{
    int n = snprintf(to, size, "merged into %d layer%s: rank %d, alpha %.9g", about->layers,
                     about->layers == 1 ? "" : "s", about->rank, about->alpha);
    if (about->others && n > 0 && (size_t)n < size)
        snprintf(to + n, size - (size_t)n, "; %d tensor%s no part of it: %s", about->others,
                 about->others == 1 ? " is" : "s are", about->names);
}
