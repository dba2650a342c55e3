#include "libcommon/teachers/encodec/internal.h"

#include "formats/array.h"
#include "libcommon/teachers/codes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_SANE = 1 << 16 };

int mert_encodec_has(const mert_encodec_loader *l, const char *prefix)
{
    for (size_t i = 0; i < mert_checkpoint_count(l->c); i++)
        if (!strncmp(mert_checkpoint_tensor(l->c, i)->name, prefix, strlen(prefix)))
            return 1;
    return 0;
}

void mert_encodec_layer_name(const mert_encodec_loader *l, char name[MERT_ENCODEC_NAME], const char *net, int layer,
                             const char *part)
{
    snprintf(name, MERT_ENCODEC_NAME, "%s.%s.%d%s", net, l->official ? "model" : "layers", layer, part);
}

int mert_encodec_has_layer(const mert_encodec_loader *l, const char *net, int layer, const char *part)
{
    char name[MERT_ENCODEC_NAME];
    mert_encodec_layer_name(l, name, net, layer, part);
    strcat(name, ".");
    return mert_encodec_has(l, name);
}

static const mert_tensor *find(const mert_encodec_loader *l, const char *name)
{
    const mert_tensor *t = mert_checkpoint_find(l->c, name);
    for (size_t i = 0; t && i < mert_checkpoint_count(l->c); i++)
        if (mert_checkpoint_tensor(l->c, i) == t)
            l->used[i] = 1;
    return t;
}

/* A tensor's values in the mapped file, if they are float32; otherwise NULL. */
static const float *own_bytes(const mert_tensor *t)
{
    return t->type == MERT_E_F32 && (uintptr_t)t->data % sizeof(float) == 0 ? t->data : NULL;
}

const float *mert_encodec_values(mert_encodec_loader *l, const char *name, const char *own, int ndim, int64_t *shape)
{
    const mert_tensor *t = find(l, name);
    const float *v;
    int64_t bad;
    if (!t) {
        mert_fail(l->e, "tensor %s is missing", name);
        return NULL;
    }
    int fits = t->ndim == ndim && t->elements > 0 && t->elements < INT32_MAX;
    for (int i = 0; fits && i < ndim; i++) {
        if (shape[i] < 0)
            shape[i] = t->shape[i];
        fits = shape[i] == t->shape[i] && shape[i] <= SIZE_MAX_SANE;
    }
    if (!fits) {
        mert_fail(l->e, "tensor %s has another shape than this model needs", name);
        return NULL;
    }
    if (!mert_dtype_is_real(t->type)) {
        mert_fail(l->e, "tensor %s is of type %s, and weights are read from F32, F16, BF16 or F64", name,
                  mert_tensor_type(t));
        return NULL;
    }
    l->named[l->n_named] = (mert_named_values){l->hashed ? strdup(own) : NULL, NULL, t->elements};
    if (l->hashed && !l->named[l->n_named].name) {
        mert_fail(l->e, "out of memory");
        return NULL;
    }
    v = own_bytes(t);
    if (!v) {
        float *copy = l->read[l->n_named] = mert_array(t->elements, sizeof *v);
        if (!copy)
            mert_fail(l->e, "out of memory");
        if (!copy || mert_tensor_read(t, copy, l->e)) {
            l->n_named++;
            return NULL;
        }
        v = copy;
    }
    l->named[l->n_named++].values = v;
    bad = MERT_CODES_KERNELS->beyond(v, t->elements, INFINITY);
    if (bad < t->elements) {
        mert_fail(l->e, "tensor %s holds a NaN or an infinity at element %" PRId64, name, bad);
        return NULL;
    }
    return v;
}

float *mert_encodec_room(mert_encodec_loader *l, int which, int64_t n)
{
    if (n > l->room_floats[which]) {
        free(l->room[which]);
        l->room[which] = mert_array(n, sizeof **l->room);
        l->room_floats[which] = l->room[which] ? n : 0;
    }
    if (!l->room[which])
        mert_fail(l->e, "out of memory");
    return l->room[which];
}

static double squares(const float *v, int64_t n)
{
    double lane[8] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            lane[j] += (double)v[i + j] * v[i + j];
    for (; i < n; i++)
        sum += (double)v[i] * v[i];
    for (i = 0; i < 8; i++)
        sum += lane[i];
    return sum;
}

/* A conv's weight [a, b, kernel] with weight norm folded in (norm over dims 1 and 2), valid until the next call; shape
 * as in mert_encodec_values(). */
static float *weight(mert_encodec_loader *l, const char *base, const char *own, int64_t *shape)
{
    static const char *const g_names[] = {"weight_g", "parametrizations.weight.original0"};
    static const char *const v_names[] = {"weight_v", "parametrizations.weight.original1"};
    char name[2 * MERT_ENCODEC_NAME], as[2 * MERT_ENCODEC_NAME];
    int naming = 0;
    const float *g, *v;
    float *w;
    int64_t g_shape[3] = {-1, 1, 1}, each;
    snprintf(name, sizeof name, "%s.parametrizations.", base);
    naming = mert_encodec_has(l, name);
    snprintf(name, sizeof name, "%s.weight", base);
    snprintf(as, sizeof as, "%s.weight", own);
    if (mert_checkpoint_find(l->c, name)) {
        v = mert_encodec_values(l, name, as, 3, shape);
        g = NULL;
    } else {
        snprintf(name, sizeof name, "%s.%s", base, v_names[naming]);
        snprintf(as, sizeof as, "%s.weight_v", own);
        v = mert_encodec_values(l, name, as, 3, shape);
        if (!v)
            return NULL;
        g_shape[0] = shape[0];
        snprintf(name, sizeof name, "%s.%s", base, g_names[naming]);
        snprintf(as, sizeof as, "%s.weight_g", own);
        g = mert_encodec_values(l, name, as, 3, g_shape);
        if (!g)
            return NULL;
    }
    if (!v)
        return NULL;
    each = shape[1] * shape[2];
    w = mert_encodec_room(l, 0, shape[0] * each);
    for (int64_t o = 0; w && o < shape[0]; o++) {
        double norm = g ? sqrt(squares(v + o * each, each)) : 1;
        if (!(norm > 0)) {
            mert_fail(l->e, "tensor %s.%s: row %" PRId64 " of %" PRId64 " is all zero, and weight norm divides by its length",
                      base, v_names[naming], o, shape[0]);
            return NULL;
        }
        for (int64_t i = 0; i < each; i++)
            w[o * each + i] = !g ? v[o * each + i] : norm > 0 ? (float)((double)g[o] * v[o * each + i] / norm) : 0;
    }
    return w;
}

const float *mert_encodec_conv(mert_encodec_loader *l, const char *net, int layer, const char *part, int transposed,
                               int64_t shape[3], const float **bias)
{
    char base[MERT_ENCODEC_NAME + 16], own[MERT_ENCODEC_NAME + 16], name[2 * MERT_ENCODEC_NAME];
    int64_t bias_shape[1];
    float *w;
    mert_encodec_layer_name(l, base, net, layer, part);
    strcat(base, !l->official ? ".conv" : transposed ? ".convtr.convtr" : ".conv.conv");
    snprintf(own, sizeof own, "%s.layers.%d%s.conv", net, layer, part);
    w = weight(l, base, own, shape);
    if (!w)
        return NULL;
    bias_shape[0] = shape[transposed ? 1 : 0];
    snprintf(name, sizeof name, "%s.bias", base);
    strcat(own, ".bias");
    *bias = mert_encodec_values(l, name, own, 1, bias_shape);
    return *bias ? w : NULL;
}
