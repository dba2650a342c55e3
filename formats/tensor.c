#include "formats/tensor.h"

#include "formats/finite.h"
#include "formats/half.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor files are read in place: a little-endian machine is needed"
#endif

static const struct { const char *name; size_t size; } kinds[] = {
    [MERT_E_F32] = {"F32", 4}, [MERT_E_F16] = {"F16", 2}, [MERT_E_BF16] = {"BF16", 2}, [MERT_E_F64] = {"F64", 8},
    [MERT_E_I64] = {"I64", 8}, [MERT_E_I32] = {"I32", 4}, [MERT_E_I16] = {"I16", 2},   [MERT_E_I8] = {"I8", 1},
    [MERT_E_U8] = {"U8", 1},   [MERT_E_BOOL] = {"BOOL", 1},
    [MERT_E_OTHER] = {"other", 0}};

size_t mert_dtype_size(mert_dtype t)
{
    return kinds[t].size;
}

const char *mert_dtype_name(mert_dtype t)
{
    return kinds[t].name;
}

int mert_dtype_is_real(mert_dtype t)
{
    return t == MERT_E_F32 || t == MERT_E_F16 || t == MERT_E_BF16 || t == MERT_E_F64;
}

const char *mert_tensor_type(const mert_tensor *t)
{
    return t->type < MERT_E_OTHER ? kinds[t->type].name : t->other;
}

int mert_shape_elements(int ndim, const int64_t *shape, int64_t *elements)
{
    int64_t n = 1;
    int empty = 0;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return -1;
        empty |= shape[i] == 0;
    }
    for (int i = 0; i < ndim && !empty; i++)
        if (__builtin_mul_overflow(n, shape[i], &n))
            return -1;
    *elements = empty ? 0 : n;
    return 0;
}

int mert_shape_bytes(int ndim, const int64_t *shape, mert_dtype type, uint64_t *bytes)
{
    int64_t n;
    if (mert_shape_elements(ndim, shape, &n) || n > INT64_MAX / 8)
        return -1;
    *bytes = (uint64_t)n * mert_dtype_size(type);
    return 0;
}

/* Elements may be unaligned, so each is copied before use. */
#define EACH(type, expression)                                             \
    for (int64_t i = 0; i < n; i++) {                                    \
        type v;                                                          \
        memcpy(&v, (const char *)data + (size_t)i * sizeof v, sizeof v); \
        to[i] = (expression);                                            \
    }                                                                    \
    break

void mert_elements_to_floats(mert_dtype type, const void *data, int64_t n, float *to)
{
    switch (type) {
    case MERT_E_F32:
        if (n)
            memcpy(to, data, (size_t)n * sizeof *to);
        break;
    case MERT_E_F16: EACH(uint16_t, mert_from_f16(v));
    case MERT_E_BF16: EACH(uint16_t, mert_from_bf16(v));
    case MERT_E_F64: EACH(double, (float)v);
    case MERT_E_I64: EACH(int64_t, (float)v);
    case MERT_E_I32: EACH(int32_t, (float)v);
    case MERT_E_I16: EACH(int16_t, (float)v);
    case MERT_E_I8: EACH(int8_t, (float)v);
    case MERT_E_U8: EACH(uint8_t, (float)v);
    case MERT_E_BOOL: EACH(uint8_t, v ? 1.0f : 0.0f);
    case MERT_E_OTHER: break;
    }
}

int mert_tensor_read(const mert_tensor *t, float *to, mert_error *e)
{
    if (t->type == MERT_E_OTHER)
        return mert_fail(e, "%s: its elements are of type %s, which is not read", t->name, t->other);
    mert_elements_to_floats(t->type, t->data, t->elements, to);
    return 0;
}

int mert_tensor_out_check(const mert_tensor_out *t, const void *data, mert_error *e)
{
    const float *x = data;
    int64_t n, at;
    if (t->type != MERT_E_F32 || mert_shape_elements(t->ndim, t->shape, &n))
        return 0;
    at = mert_not_finite(MTS_F32, x, n);
    return at >= 0 ? mert_fail(e, "tensor %s: value %" PRId64 " is %g, and is not written", t->name, at, (double)x[at])
                  : 0;
}

void mert_shape_text(char to[MERT_SHAPE_TEXT], int ndim, const int64_t *shape)
{
    enum { ONE = 23 }; /* the length of ", ", an int64_t and the closing bracket */
    int n = snprintf(to, MERT_SHAPE_TEXT, "[");
    for (int i = 0; i < ndim && n + ONE < MERT_SHAPE_TEXT; i++)
        n += snprintf(to + n, MERT_SHAPE_TEXT - (size_t)n, "%s%" PRId64, i ? ", " : "", shape[i]);
    snprintf(to + n, MERT_SHAPE_TEXT - (size_t)n, "]");
}
