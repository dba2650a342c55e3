#include "codebook_file.h"

#include "../../formats/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 24 };

void mert_codebook_free(mert_codebook *b)
{
    free(b->codewords);
    free(b->mean);
    free(b->scale);
    memset(b, 0, sizeof *b);
}

/* Names and values in the order of the file: codebooks, then mean and scale. */
static size_t list(const mert_codebook *b, mert_tensor_out *t, char (*names)[NAME])
{
    size_t n = 0;
    for (int64_t i = 0; i < b->count; i++, n++) {
        snprintf(names[n], NAME, "codebooks.%d", (int)i);
        t[n] = (mert_tensor_out){names[n], MERT_E_F32, 2, {b->classes, b->width},
                                 b->codewords + i * b->classes * b->width};
    }
    if (b->mean) {
        t[n++] = (mert_tensor_out){"mean", MERT_E_F32, 1, {b->width}, b->mean};
        t[n++] = (mert_tensor_out){"scale", MERT_E_F32, 1, {b->width}, b->scale};
    }
    return n;
}

static void set_hash(mert_codebook *b, const mert_tensor_out *t, size_t n)
{
    mert_named_values v[MTS_CODEBOOKS_MAX + 2];
    for (size_t i = 0; i < n; i++)
        v[i] = (mert_named_values){t[i].name, t[i].data, t[i].ndim == 2 ? b->classes * b->width : b->width};
    b->hash = mert_model_hash(v, n);
}

static char *config_text(const mert_codebook *b, const char *type)
{
    const mert_features *f = &b->features;
    char *recipe = mert_json_quote(f->recipe), *kind = mert_json_quote(f->kind), *text = NULL;
    size_t size = (recipe ? strlen(recipe) : 0) + 1024;
    if (recipe && kind && (text = malloc(size)))
        snprintf(text, size,
                 "{\"type\": \"%s\", \"classes\": %" PRId64 ", \"width\": %" PRId64 ", \"kind\": %s, "
                 "\"sample_rate\": %" PRId64 ", \"frame_rate\": [%" PRId64 ", %" PRId64 "], \"features\": %s, "
                 "\"features_model\": \"%016" PRIx64 "\"}\n",
                 type, b->classes, b->width, kind, f->sample_rate, f->frame_rate_num,
                 f->frame_rate_den > 0 ? f->frame_rate_den : 1, recipe,
                 f->model);
    free(recipe);
    free(kind);
    return text;
}

int mert_codebook_write(mert_codebook *b, const char *path, mert_error *e)
{
    return mert_codebook_write_with(b, NULL, NULL, 0, path, e);
}

int mert_codebook_write_with(mert_codebook *b, const char *type, const mert_tensor_out *more, size_t n_more,
                             const char *path, mert_error *e)
{
    mert_tensor_out *t;
    char names[MTS_CODEBOOKS_MAX][NAME], *config;
    size_t n;
    int bad;
    if (b->count < 1 || b->count > MTS_CODEBOOKS_MAX)
        return mert_fail(e, "%lld codebooks: 1 to %d can be written", (long long)b->count, MTS_CODEBOOKS_MAX);
    t = malloc((MTS_CODEBOOKS_MAX + 3 + n_more) * sizeof *t);
    if (!t)
        return mert_fail(e, "out of memory");
    n = list(b, t, names);
    set_hash(b, t, n);
    config = config_text(b, type ? type : b->type);
    if (!config) {
        free(t);
        return mert_fail(e, "out of memory");
    }
    t[n++] = (mert_tensor_out){"config", MERT_E_U8, 1, {(int64_t)strlen(config)}, config};
    for (size_t i = 0; i < n_more; i++)
        t[n++] = more[i];
    bad = mert_safetensors_write(path, t, n, e);
    free(config);
    free(t);
    return bad;
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
    if (!type || (strcmp(type, "kmeans") && strcmp(type, "rvq") && strcmp(type, "kmeans-sums"))) {
        mert_fail(e, "config: type is '%.20s', which is no codebook's", type ? type : "");
        goto done;
    }
    snprintf(b->type, sizeof b->type, "%s", type);
    snprintf(f->kind, sizeof f->kind, "%s", kind ? kind : "");
    snprintf(f->recipe, sizeof f->recipe, "%s", recipe ? recipe : "");
    f->model = model ? strtoull(model, NULL, 16) : 0;
    mert_json_int(j, "sample_rate", &f->sample_rate);
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

static int all_finite(const float *x, int64_t n, const char *name, mert_error *e)
{
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] > -1e18f && x[i] < 1e18f))
            return mert_fail(e, "tensor %s holds a NaN, an infinity or a value beyond 1e18 at element %lld", name,
                             (long long)i);
    return 0;
}

static int read_vector(const mert_checkpoint *c, const char *name, int64_t width, float **to, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, name);
    if (!t)
        return mert_fail(e, "tensor %s is missing", name);
    if (t->ndim != 1 || t->elements != width)
        return mert_fail(e, "tensor %s does not have one value for each of the %lld of a frame", name,
                         (long long)width);
    *to = malloc((size_t)width * sizeof **to);
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
        float *more = realloc(b->codewords, (size_t)((b->count + 1) * t->elements) * sizeof *more);
        if (!more)
            return mert_fail(e, "out of memory");
        b->codewords = more;
        if (mert_tensor_read(t, more + b->count * t->elements, e) ||
            all_finite(more + b->count * t->elements, t->elements, name, e))
            return -1;
    }
    return b->count ? 0 : mert_fail(e, "tensor codebooks.0 is missing");
}

int mert_codebook_from(mert_codebook *b, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *config = mert_checkpoint_find(c, "config");
    mert_tensor_out t[MTS_CODEBOOKS_MAX + 2];
    char names[MTS_CODEBOOKS_MAX][NAME];
    memset(b, 0, sizeof *b);
    if (!config)
        return mert_fail(e, "not a codebook of this program: tensor config is missing");
    if (read_config(b, config, e) || read_codewords(b, c, e))
        goto fail;
    b->features.width = b->width;
    if (mert_checkpoint_find(c, "mean") || mert_checkpoint_find(c, "scale"))
        if (read_vector(c, "mean", b->width, &b->mean, e) || read_vector(c, "scale", b->width, &b->scale, e))
            goto fail;
    if (!strncmp(b->type, "kmeans", 6) && (b->count != 1 || b->mean)) {
        mert_fail(e, "a k-means model has one codebook and no normalisation, this has more");
        goto fail;
    }
    set_hash(b, t, list(b, t, names));
    return 0;
fail:
    mert_codebook_free(b);
    return -1;
}

/* Plain centroids [V, D]. */
static int read_npy(mert_codebook *b, const char *path, mert_error *e)
{
    mert_tensor_out t[1];
    char names[1][NAME];
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
        bad = all_finite(b->codewords, a.elements, path, e);
        set_hash(b, t, list(b, t, names));
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
    b->mean = malloc((size_t)b->width * sizeof *b->mean);
    b->scale = malloc((size_t)b->width * sizeof *b->scale);
    if (!b->mean || !b->scale)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < b->width; i++) {
        double sum = 0, squares = 0, mean, deviation;
        for (int64_t r = 0; r < n; r++)
            sum += x[r * b->width + i];
        mean = sum / (double)n;
        for (int64_t r = 0; r < n; r++)
            squares += (x[r * b->width + i] - mean) * (x[r * b->width + i] - mean);
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
        memmove(z, x, (size_t)(n * b->width) * sizeof *z);
        return;
    }
    for (int64_t r = 0; r < n; r++, x += b->width, z += b->width)
        for (int64_t i = 0; i < b->width; i++)
            z[i] = (x[i] - b->mean[i]) * b->scale[i];
}

void mert_codebook_from_words(const mert_codebook *b, float *z, int64_t n)
{
    for (int64_t r = 0; b->mean && r < n; r++, z += b->width)
        for (int64_t i = 0; i < b->width; i++)
            z[i] = z[i] / b->scale[i] + b->mean[i];
}
