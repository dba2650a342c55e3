#include "libcommon/teachers/codebook_file.h"

#include "formats/array.h"
#include "formats/checkpoint/model_hash.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 24, TENSORS = 8 * MTS_CODEBOOKS_MAX + 3 };

void mert_codebook_free(mert_codebook *b)
{
    free(b->codewords);
    free(b->mean);
    free(b->scale);
    free(b->project);
    free(b->project_bias);
    free(b->out);
    free(b->out_bias);
    free(b->hidden_in);
    free(b->hidden_in_bias);
    free(b->expand);
    free(b->expand_bias);
    memset(b, 0, sizeof *b);
}

static int all_finite(const float *x, int64_t n, const char *name, mert_error *e)
{
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] > -MERT_FEATURE_MOST && x[i] < MERT_FEATURE_MOST))
            return mert_fail(e, "tensor %s holds a NaN, an infinity or a value beyond 1e18 at element %" PRId64, name,
                             i);
    return 0;
}

/* The tensors of a codebook, in the order of the file. */
typedef struct listing {
    mert_tensor_out t[TENSORS];
    char names[TENSORS][NAME];
    size_t n;
    float levels[MERT_FSQ_WIDTH_MAX];
} listing;

/* Adds name.0, name.1 ... of values [count, rows, columns]; columns 0: [count, rows]. */
static void list_each(listing *l, const mert_codebook *b, const char *name, const float *values, int64_t rows,
                      int64_t columns)
{
    int64_t size = rows * (columns ? columns : 1);
    for (int64_t i = 0; values && i < b->count; i++, l->n++) {
        snprintf(l->names[l->n], NAME, "%s.%d", name, (int)i);
        l->t[l->n] = (mert_tensor_out){l->names[l->n], MERT_E_F32, columns ? 2 : 1, {rows, columns}, values + i * size};
    }
}

static listing *list(const mert_codebook *b, mert_error *e)
{
    listing *l = calloc(1, sizeof *l);
    int64_t W = b->features.width, S = b->stack * W, H = b->hidden;
    if (!l) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    list_each(l, b, "codebooks", b->codewords, b->classes, b->width);
    list_each(l, b, "hidden", b->hidden_in, H, S);
    list_each(l, b, "hidden_bias", b->hidden_in_bias, H, 0);
    list_each(l, b, "project", b->project, b->width, H ? H : S);
    list_each(l, b, "project_bias", b->project_bias, b->width, 0);
    list_each(l, b, "expand", b->expand, H, b->width);
    list_each(l, b, "expand_bias", b->expand_bias, H, 0);
    list_each(l, b, "out", b->out, S, H ? H : b->width);
    list_each(l, b, "out_bias", b->out_bias, S, 0);
    for (int64_t i = 0; b->levels[0] && i < b->width; i++)
        l->levels[i] = (float)b->levels[i];
    if (b->levels[0])
        l->t[l->n++] = (mert_tensor_out){"levels", MERT_E_F32, 1, {b->width}, l->levels};
    if (b->mean) {
        l->t[l->n++] = (mert_tensor_out){"mean", MERT_E_F32, 1, {W}, b->mean};
        l->t[l->n++] = (mert_tensor_out){"scale", MERT_E_F32, 1, {W}, b->scale};
    }
    return l;
}

static int set_hash(mert_codebook *b, mert_error *e)
{
    listing *l = list(b, e);
    mert_named_values v[TENSORS];
    for (size_t i = 0; l && i < l->n; i++)
        v[i] = (mert_named_values){l->t[i].name, l->t[i].data,
                                   l->t[i].shape[0] * (l->t[i].ndim == 2 ? l->t[i].shape[1] : 1)};
    if (l)
        b->hash = mert_model_hash(v, l->n);
    free(l);
    return l ? 0 : -1;
}

static char *config_text(const mert_codebook *b, const char *type)
{
    const mert_features *f = &b->features;
    char *recipe = mert_json_quote(f->recipe), *kind = mert_json_quote(f->kind), *text = NULL;
    size_t size = (recipe ? strlen(recipe) : 0) + 1024;
    if (recipe && kind && (text = malloc(size)))
        snprintf(text, size,
                 "{\"type\": \"%s\", \"codebooks\": %" PRId64 ", \"classes\": %" PRId64 ", \"width\": %" PRId64
                 ", \"kind\": %s, "
                 "\"sample_rate\": %" PRId64 ", \"frame_rate\": [%" PRId64 ", %" PRId64 "], \"stack\": %" PRId64 ", "
                 "\"features\": %s, "
                 "\"features_model\": \"%016" PRIx64 "\"}\n",
                 type, b->count, b->classes, b->width, kind, f->sample_rate, f->frame_rate_num,
                 f->frame_rate_den > 0 ? f->frame_rate_den : 1, b->stack, recipe, f->model);
    free(recipe);
    free(kind);
    return text;
}

/* A file with values that are not finite would be refused by the reader. */
static int listed_finite(const listing *l, const char *path, mert_error *e)
{
    for (size_t i = 0; i < l->n; i++) {
        const mert_tensor_out *t = &l->t[i];
        if (t->type == MERT_E_F32 && all_finite(t->data, t->shape[0] * (t->ndim > 1 ? t->shape[1] : 1), t->name, e))
            return mert_fail_in(e, "%s: not written", path);
    }
    return 0;
}

int mert_codebook_write(mert_codebook *b, const char *path, mert_error *e)
{
    return mert_codebook_write_with(b, NULL, NULL, 0, path, e);
}

int mert_codebook_write_with(mert_codebook *b, const char *type, const mert_tensor_out *more, size_t n_more,
                             const char *path, mert_error *e)
{
    listing *l;
    mert_tensor_out *t;
    char *config;
    int bad;
    if (b->count < 1 || b->count > MTS_CODEBOOKS_MAX)
        return mert_fail(e, "%" PRId64 " codebooks: 1 to %d can be written", b->count, MTS_CODEBOOKS_MAX);
    b->stack = b->stack ? b->stack : 1;
    if (set_hash(b, e) || !(l = list(b, e)))
        return -1;
    if (listed_finite(l, path, e)) {
        free(l);
        return -1;
    }
    t = mert_array((int64_t)(l->n + 1 + n_more), sizeof *t);
    config = config_text(b, type ? type : b->type);
    if (t && config) {
        memcpy(t, l->t, l->n * sizeof *t);
        t[l->n] = (mert_tensor_out){"config", MERT_E_U8, 1, {(int64_t)strlen(config)}, config};
        for (size_t i = 0; i < n_more; i++)
            t[l->n + 1 + i] = more[i];
        bad = mert_safetensors_write(path, t, l->n + 1 + n_more, e);
    } else
        bad = mert_fail(e, "out of memory");
    free(config);
    free(t);
    free(l);
    return bad;
}

static int known_type(const char *type)
{
    static const char *const types[] = {"kmeans", "kmeans-sums", "rvq", "melrvq", "random", "fsq", "random-fsq"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(type, types[i]))
            return 1;
    return 0;
}

static int read_config(mert_codebook *b, const mert_tensor *t, mert_error *e)
{
    mert_features *f = &b->features;
    mert_json *j;
    const mert_json *rate;
    const char *type, *kind, *recipe, *model;
    int bad = -1;
    if (t->type != MERT_E_U8 || t->elements > 1 << 20)
        return mert_fail(e, "its config is not JSON text as U8");
    j = mert_json_parse(t->data, (size_t)t->elements, "config", e);
    if (!j)
        return -1;
    type = mert_json_string(j, "type");
    kind = mert_json_string(j, "kind");
    recipe = mert_json_string(j, "features");
    model = mert_json_string(j, "features_model");
    if (!type || !known_type(type)) {
        mert_fail(e, "config: type is '%.20s', which is no codebook's", type ? type : "");
        goto done;
    }
    snprintf(b->type, sizeof b->type, "%s", type);
    snprintf(f->kind, sizeof f->kind, "%s", kind ? kind : "");
    snprintf(f->recipe, sizeof f->recipe, "%s", recipe ? recipe : "");
    f->model = model ? strtoull(model, NULL, 16) : 0;
    mert_json_int(j, "sample_rate", &f->sample_rate);
    b->stack = 1;
    mert_json_int(j, "stack", &b->stack);
    mert_json_int(j, "codebooks", &b->stated.count);
    mert_json_int(j, "classes", &b->stated.classes);
    mert_json_int(j, "width", &b->stated.width);
    if (b->stack < 1 || b->stack > 1024) {
        mert_fail(e, "config: stack is %" PRId64 ", not 1 to 1024", b->stack);
        goto done;
    }
    rate = mert_json_get(j, "frame_rate");
    f->frame_rate_den = 1;
    if (rate && (mert_json_as_int(mert_json_at(rate, 0), &f->frame_rate_num) ||
                 mert_json_as_int(mert_json_at(rate, 1), &f->frame_rate_den) ||
                 f->frame_rate_num < 0 || f->frame_rate_den < 1)) {
        mert_fail(e, "config: frame_rate is not [numerator, denominator]");
        goto done;
    }
    bad = 0;
done:
    mert_json_free(j);
    return bad;
}

/* Checks only the first codebook: the residuals that later ones quantise may be zero. */
static int tells_classes_apart(const mert_codebook *b, mert_error *e)
{
    for (int64_t v = 1; v < b->classes; v++)
        if (memcmp(b->codewords, b->codewords + v * b->width, (size_t)b->width * sizeof *b->codewords))
            return 0;
    return b->classes == 1 ? 0 : mert_fail(e, "all %" PRId64 " codewords are the same: every frame would get class 0",
                                           b->classes);
}

static int read_vector(const mert_checkpoint *c, const char *name, int64_t width, float **to, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, name);
    if (!t)
        return mert_fail(e, "tensor %s is missing", name);
    if (t->ndim != 1 || t->elements != width)
        return mert_fail(e, "tensor %s does not have one value for each of the %" PRId64 " of a frame", name, width);
    *to = mert_array(width, sizeof **to);
    if (!*to)
        return mert_fail(e, "out of memory");
    return mert_tensor_read(t, *to, e) || all_finite(*to, width, name, e) ? -1 : 0;
}

static int read_codewords(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    char name[NAME];
    for (b->count = 0; b->count < MTS_CODEBOOKS_MAX; b->count++) {
        const mert_tensor *t;
        snprintf(name, sizeof name, "codebooks.%d", (int)b->count);
        t = mert_checkpoint_find(c, name);
        if (!t)
            break;
        if (t->ndim != 2 || t->elements < 1 || t->shape[0] > INT32_MAX || t->elements > INT32_MAX ||
            (b->count && (t->shape[0] != b->classes || t->shape[1] != b->width)))
            return mert_fail(e, "tensor %s does not have the shape [classes, width] that a codebook has here", name);
        if (!b->count) {
            b->classes = t->shape[0];
            b->width = t->shape[1];
        }
        float *more = mert_array_resize(b->codewords, mert_array_count(b->count + 1, t->elements), sizeof *more);
        if (!more)
            return mert_fail(e, "out of memory");
        b->codewords = more;
        if (mert_tensor_read(t, more + b->count * t->elements, e) ||
            all_finite(more + b->count * t->elements, t->elements, name, e))
            return -1;
    }
    return b->count ? tells_classes_apart(b, e) : mert_fail(e, "tensor codebooks.0 is missing");
}

/* Reads name.0, name.1 ... of shape [rows, columns] (columns 0: [rows]) into one array. */
static int read_each(const mert_codebook *b, const mert_checkpoint *c, const char *what, int64_t rows, int64_t columns,
                     float **to, mert_error *e)
{
    int64_t size = rows * (columns ? columns : 1);
    char name[NAME];
    *to = b->count * size < INT64_C(1) << 31 ? mert_array(mert_array_count(b->count, size), sizeof **to) : NULL;
    if (!*to)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < b->count; i++) {
        const mert_tensor *t;
        snprintf(name, sizeof name, "%s.%d", what, (int)i);
        t = mert_checkpoint_find(c, name);
        if (!t)
            return mert_fail(e, "tensor %s is missing", name);
        if (t->ndim != (columns ? 2 : 1) || t->shape[0] != rows || (columns && t->shape[1] != columns))
            return mert_fail(e, "tensor %s does not fit the codebooks", name);
        if (mert_tensor_read(t, *to + i * size, e) || all_finite(*to + i * size, size, name, e))
            return -1;
    }
    return 0;
}

/* Reads projections: the shape of the first one gives the width of frames. */
static int read_projections(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, "project.0");
    int64_t S;
    if (!t)
        return mert_fail(e, "tensor project.0 is missing");
    if (t->ndim != 2 || t->shape[1] < 1 || t->shape[1] > 1 << 24 || t->shape[1] % b->stack)
        return mert_fail(e, "tensor project.0 does not fit %" PRId64 " frames", b->stack);
    S = t->shape[1];
    b->features.width = S / b->stack;
    if (read_each(b, c, "project", b->width, S, &b->project, e) ||
        read_each(b, c, "project_bias", b->width, 0, &b->project_bias, e))
        return -1;
    if (strcmp(b->type, "melrvq"))
        return 0;
    if (read_each(b, c, "out", S, b->width, &b->out, e))
        return -1;
    return read_each(b, c, "out_bias", S, 0, &b->out_bias, e);
}

/* ---- finite scalar quantisers ---- */

/* Sets width and classes from the levels. */
static int multiply_levels(mert_codebook *b, int64_t width, mert_error *e)
{
    b->width = width;
    b->classes = 1;
    for (int64_t i = 0; i < width; i++) {
        if (b->levels[i] < 2)
            return mert_fail(e, "levels: %d is less than 2", b->levels[i]);
        if (b->levels[i] > MERT_FSQ_CLASSES_MAX / b->classes)
            return mert_fail(e, "levels: together they are more than %d classes", MERT_FSQ_CLASSES_MAX);
        b->classes *= b->levels[i];
    }
    return 0;
}

int mert_codebook_levels(mert_codebook *b, const char *text, mert_error *e)
{
    const char *at = text;
    int64_t n = 0;
    memset(b->levels, 0, sizeof b->levels);
    do {
        char *end;
        long level = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || level < 0 || level > MERT_FSQ_CLASSES_MAX)
            return mert_fail(e, "levels: '%s' is no list of whole numbers like 8,5,5,5", text);
        if (n == MERT_FSQ_WIDTH_MAX)
            return mert_fail(e, "levels: more than %d numbers", MERT_FSQ_WIDTH_MAX);
        b->levels[n++] = (int)level;
        at = *end ? end + 1 : NULL;
    } while (at);
    return multiply_levels(b, n, e);
}

static int read_levels(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, "levels");
    float values[MERT_FSQ_WIDTH_MAX];
    if (!t)
        return mert_fail(e, "tensor levels is missing");
    if (t->ndim != 1 || t->elements < 1 || t->elements > MERT_FSQ_WIDTH_MAX)
        return mert_fail(e, "tensor levels does not have 1 to %d values", MERT_FSQ_WIDTH_MAX);
    if (mert_tensor_read(t, values, e))
        return -1;
    for (int64_t i = 0; i < t->elements; i++) {
        if (!(values[i] >= 2 && values[i] <= MERT_FSQ_CLASSES_MAX && values[i] == floorf(values[i])))
            return mert_fail(e, "tensor levels: %g is no number of levels", (double)values[i]);
        b->levels[i] = (int)values[i];
    }
    return multiply_levels(b, t->elements, e);
}

/* Reads levels, encoders and decoders. The first layer's shape gives the width of frames. */
static int read_fsq(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    int trained = !strcmp(b->type, "fsq");
    const char *first = trained ? "hidden.0" : "project.0";
    const mert_tensor *t = mert_checkpoint_find(c, first);
    char name[NAME];
    int64_t S;
    if (read_levels(b, c, e))
        return -1;
    if (!t)
        return mert_fail(e, "tensor %s is missing", first);
    if (t->ndim != 2 || t->shape[0] < 1 || t->shape[0] > 1 << 20 || t->shape[1] < 1 || t->shape[1] > 1 << 24 ||
        t->shape[1] % b->stack)
        return mert_fail(e, "tensor %s does not fit %" PRId64 " frames", first, b->stack);
    S = t->shape[1];
    b->features.width = S / b->stack;
    b->hidden = trained ? t->shape[0] : 0;
    do {
        b->count++;
        snprintf(name, sizeof name, "project.%d", (int)b->count);
    } while (b->count < MTS_CODEBOOKS_MAX && mert_checkpoint_find(c, name));
    if (read_each(b, c, "project", b->width, trained ? b->hidden : S, &b->project, e) ||
        read_each(b, c, "project_bias", b->width, 0, &b->project_bias, e))
        return -1;
    if (!trained)
        return 0;
    return read_each(b, c, "hidden", b->hidden, S, &b->hidden_in, e) ||
                   read_each(b, c, "hidden_bias", b->hidden, 0, &b->hidden_in_bias, e) ||
                   read_each(b, c, "expand", b->hidden, b->width, &b->expand, e) ||
                   read_each(b, c, "expand_bias", b->hidden, 0, &b->expand_bias, e) ||
                   read_each(b, c, "out", S, b->hidden, &b->out, e) ||
                   read_each(b, c, "out_bias", S, 0, &b->out_bias, e)
               ? -1
               : 0;
}

static int is_fsq(const mert_codebook *b)
{
    return !strcmp(b->type, "fsq") || !strcmp(b->type, "random-fsq");
}

/* Codewords, and the projections of those that have them. */
static int read_words(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    if (read_codewords(b, c, e))
        return -1;
    b->features.width = b->width;
    if (!strcmp(b->type, "melrvq") || !strcmp(b->type, "random"))
        return read_projections(b, c, e);
    return b->stack == 1 ? 0 : mert_fail(e, "config: only projected codebooks stand for several frames");
}

/* Refuses a file that has lost a codebook: one that says that it has more, or a numbered tensor of a codebook that was
 * not read. */
static int check_count(const mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    static const char *const numbered[] = {"codebooks", "hidden", "hidden_bias", "project", "project_bias",
                                           "expand",    "expand_bias", "out", "out_bias"};
    const char *first = is_fsq(b) ? "project" : "codebooks";
    const struct { const char *what; int64_t stated, is; } numbers[] = {
        {"codebooks", b->stated.count, b->count},
        {"classes", b->stated.classes, b->classes},
        {"values in a codeword", b->stated.width, b->width}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].stated && numbers[i].stated != numbers[i].is)
            return mert_fail(e, "config says %" PRId64 " %s, the tensors are of %" PRId64 ": the file is damaged",
                             numbers[i].stated, numbers[i].what, numbers[i].is);
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const char *name = mert_checkpoint_tensor(c, i)->name, *dot = strchr(name, '.');
        char *end;
        for (size_t k = 0; dot && k < sizeof numbered / sizeof *numbered; k++)
            if (strlen(numbered[k]) == (size_t)(dot - name) && !memcmp(name, numbered[k], (size_t)(dot - name)) &&
                strtoll(dot + 1, &end, 10) >= b->count && !*end)
                return mert_fail(e, "tensor %s is of a codebook that is not whole: %s.%" PRId64
                                 " is missing: the file is damaged", name, first, b->count);
    }
    return 0;
}

/* Normalisation and hash, which all have. */
static int finish_reading(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    if (check_count(b, c, e))
        return -1;
    if (mert_checkpoint_find(c, "mean") || mert_checkpoint_find(c, "scale"))
        if (read_vector(c, "mean", b->features.width, &b->mean, e) ||
            read_vector(c, "scale", b->features.width, &b->scale, e))
            return -1;
    for (int64_t i = 0; b->scale && i < b->features.width; i++) /* decoding divides by it */
        if (!(b->scale[i] > 0))
            return mert_fail(e, "tensor scale: element %" PRId64 " is %g: it must be above 0", i, (double)b->scale[i]);
    if (!strncmp(b->type, "kmeans", 6) && (b->count != 1 || b->mean))
        return mert_fail(e, "a k-means model has one codebook and no normalisation, this has more");
    return set_hash(b, e);
}

int mert_codebook_from(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *config = mert_checkpoint_find(c, "config");
    memset(b, 0, sizeof *b);
    if (mert_checkpoint_check_own(c, NULL)) /* the caller adds the file name */
        return mert_fail(e, "the checksum does not fit: the file is damaged");
    if (!config)
        return mert_fail(e, "not a codebook of this program: tensor config is missing");
    if (read_config(b, config, e) || (is_fsq(b) ? read_fsq(b, c, e) : read_words(b, c, e)) || finish_reading(b, c, e)) {
        mert_codebook_free(b);
        return -1;
    }
    return 0;
}

/* Reads plain centroids [V, D]. */
static int read_npy(mert_codebook *b, const char *path, mert_error *e)
{
    mert_npy a;
    int bad = -1;
    if (mert_npy_open(&a, path, e))
        return -1;
    if (a.ndim != 2 || a.elements < 1 || a.shape[0] > INT32_MAX || a.elements > INT32_MAX)
        mert_fail(e, "%s: centroids have the shape [classes, width], this array has not", path);
    else if ((b->codewords = mert_npy_floats(&a, e))) {
        snprintf(b->type, sizeof b->type, "kmeans");
        b->count = 1;
        b->classes = a.shape[0];
        b->width = b->features.width = a.shape[1];
        b->stack = 1;
        if (all_finite(b->codewords, a.elements, path, e))
            bad = -1;
        else
            bad = tells_classes_apart(b, e) || set_hash(b, e) ? mert_fail_in(e, "%s", path) : 0;
    }
    mert_npy_close(&a);
    if (bad)
        mert_codebook_free(b);
    return bad;
}

int mert_codebook_read(mert_codebook *b, const char *path, mert_error *e)
{
    mert_checkpoint *c;
    size_t n = strlen(path);
    int bad;
    memset(b, 0, sizeof *b);
    if (mert_input_note(path, e))
        return -1;
    if (n > 4 && !strcmp(path + n - 4, ".npy"))
        return read_npy(b, path, e);
    c = mert_checkpoint_open(path, e);
    if (!c)
        return -1;
    bad = mert_codebook_from(b, c, e);
    mert_checkpoint_close(c);
    return bad ? mert_fail_in(e, "%s", path) : 0;
}

int mert_codebook_normalise(mert_codebook *b, float *x, int64_t n, mert_error *e)
{
    b->mean = mert_array(b->features.width, sizeof *b->mean);
    b->scale = mert_array(b->features.width, sizeof *b->scale);
    if (!b->mean || !b->scale)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < b->features.width; i++) {
        double sum = 0, squares = 0, mean, deviation;
        for (int64_t r = 0; r < n; r++)
            sum += x[r * b->features.width + i];
        mean = sum / (double)n;
        for (int64_t r = 0; r < n; r++)
            squares += (x[r * b->features.width + i] - mean) * (x[r * b->features.width + i] - mean);
        deviation = sqrt(squares / (double)n);
        b->mean[i] = (float)mean;
        b->scale[i] = deviation > 1e-30 && deviation > 1e-7 * fabs(mean) ? (float)(1 / deviation) : 1;
    }
    mert_codebook_to_words(b, x, n, x);
    return 0;
}

void mert_codebook_to_words(const mert_codebook *b, const float *x, int64_t n, float *z)
{
    if (!b->mean) {
        memmove(z, x, (size_t)(n * b->features.width) * sizeof *z);
        return;
    }
    for (int64_t r = 0; r < n; r++, x += b->features.width, z += b->features.width)
        for (int64_t i = 0; i < b->features.width; i++)
            z[i] = (x[i] - b->mean[i]) * b->scale[i];
}

void mert_codebook_from_words(const mert_codebook *b, float *z, int64_t n)
{
    for (int64_t r = 0; b->mean && r < n; r++, z += b->features.width)
        for (int64_t i = 0; i < b->features.width; i++)
            z[i] = z[i] / b->scale[i] + b->mean[i];
}
