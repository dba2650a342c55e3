#include "formats/checkpoint/torch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef mert_pickle_value value;

enum { UNSUPPORTED = -1, UNTYPED = -2 };

static const struct { const char *storage, *dtype; int element; size_t size; } types[] = {
    {"FloatStorage", "float32", MERT_E_F32, 4}, {"HalfStorage", "float16", MERT_E_F16, 2},
    {"BFloat16Storage", "bfloat16", MERT_E_BF16, 2}, {"DoubleStorage", "float64", MERT_E_F64, 8},
    {"LongStorage", "int64", MERT_E_I64, 8}, {"IntStorage", "int32", MERT_E_I32, 4},
    {"ShortStorage", "int16", MERT_E_I16, 2}, {"CharStorage", "int8", MERT_E_I8, 1},
    {"ByteStorage", "uint8", MERT_E_U8, 1}, {"BoolStorage", "bool", MERT_E_BOOL, 1},
    {"UntypedStorage", "", UNTYPED, 1}, {"_UntypedStorage", "", UNTYPED, 1},
    {"ComplexFloatStorage", "complex64", UNSUPPORTED, 8}, {"ComplexDoubleStorage", "complex128", UNSUPPORTED, 16},
    {"QInt8Storage", "qint8", UNSUPPORTED, 1}, {"QUInt8Storage", "quint8", UNSUPPORTED, 1},
    {"QInt32Storage", "qint32", UNSUPPORTED, 4}};

/* ---- storages ---- */

/* The id of a storage: ("storage", class, key, location, numel), and in old files a sixth, which is None unless the
 * storage is a part of another. */
static int read_storage(const value *id, mert_storage *s, mert_error *e)
{
    const value *class, *key, *numel;
    const char *name;
    if (id->type != MERT_P_TUPLE || id->size < 5 || !mert_pickle_is_text(id->items[0], "storage"))
        return mert_fail(e, "refers to something outside that is no storage");
    class = id->items[1];
    key = id->items[2];
    numel = id->items[4];
    if (class->type != MERT_P_CLASS || key->type != MERT_P_TEXT || numel->type != MERT_P_INT || numel->number < 0)
        return mert_fail(e, "a storage that is not described by class, key and size");
    if (id->size > 5 && id->items[5]->type != MERT_P_NONE)
        return mert_fail(e, "storage %s: pieces of storages are not supported", mert_show(key->text, key->size).text);
    name = strrchr(class->text, '.') + 1;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strncmp(class->text, "torch.", 6) && !strcmp(name, types[i].storage)) {
            *s = (mert_storage){key->text, key->size, types[i].element, types[i].size, types[i].dtype, numel->number, NULL};
            return 0;
        }
    *s = (mert_storage){key->text, key->size, UNSUPPORTED, 0, class->text, numel->number, NULL};
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const mert_storage *x = a, *y = b;
    int c = memcmp(x->key, y->key, x->key_size < y->key_size ? x->key_size : y->key_size);
    return c ? c : x->key_size < y->key_size ? -1 : x->key_size > y->key_size;
}

int mert_storages_list(mert_storages *s, const mert_pickle *p, mert_error *e)
{
    value **ids;
    size_t n = mert_pickle_persistents(p, &ids), kept = 0;
    s->n = 0;
    if (!(s->items = calloc(n + 1, sizeof *s->items)))
        return mert_fail(e, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (read_storage(ids[i]->items[0], &s->items[i], e))
            return -1;
    qsort(s->items, n, sizeof *s->items, by_key);
    for (size_t i = 0; i < n; i++) {
        mert_storage *a = kept ? &s->items[kept - 1] : NULL, *b = &s->items[i];
        if (a && !by_key(a, b)) {
            if (a->element != b->element || strcmp(a->type, b->type) || a->numel != b->numel)
                return mert_fail(e, "storage %s: described in two ways", mert_show(b->key, b->key_size).text);
        } else
            s->items[kept++] = *b;
    }
    s->n = kept;
    return 0;
}

mert_storage *mert_storages_find(const mert_storages *s, const char *key, size_t key_size)
{
    mert_storage k = {.key = key, .key_size = key_size};
    return s->n ? bsearch(&k, s->items, s->n, sizeof k, by_key) : NULL;
}

int mert_storage_bytes(const mert_storage *s, uint64_t *bytes)
{
    return __builtin_mul_overflow((uint64_t)s->numel, (uint64_t)s->element_size, bytes) ? -1 : 0;
}

/* ---- tensors ---- */

/* A tuple of integers, or torch.Size of one. */
static int read_numbers(const value *v, int64_t to[MERT_TENSOR_NDIM_MAX], size_t *n)
{
    if (mert_pickle_is_of(v, "torch.Size") && v->type == MERT_P_OBJECT && v->args && v->args->size == 1)
        v = v->args->items[0];
    if ((v->type != MERT_P_TUPLE && v->type != MERT_P_LIST) || v->size > MERT_TENSOR_NDIM_MAX)
        return -1;
    *n = v->size;
    for (size_t i = 0; i < v->size; i++) {
        if (v->items[i]->type != MERT_P_INT || v->items[i]->number < 0)
            return -1;
        to[i] = v->items[i]->number;
    }
    return 0;
}

typedef struct view {
    const unsigned char *data; /* of the storage */
    mert_dtype type;
    int64_t numel, offset;     /* in elements of the type */
    size_t ndim;
    int64_t shape[MERT_TENSOR_NDIM_MAX], stride[MERT_TENSOR_NDIM_MAX];
    int negated;               /* torch's neg bit: the values are those of the storage, times -1 */
    char other[200];           /* name of a type that is not supported; otherwise empty */
} view;

static int is_contiguous(const view *t)
{
    int64_t expect = 1;
    for (size_t i = t->ndim; i-- > 0;) {
        if (t->shape[i] != 1 && t->stride[i] != expect)
            return 0;
        expect *= t->shape[i]; /* the product is known to fit */
    }
    return 1;
}

/* IEEE numbers, little endian: the sign is the highest bit of the last byte. */
static void negate(unsigned char *numbers, int64_t n, size_t size)
{
    for (int64_t i = 0; i < n; i++)
        numbers[(size_t)(i + 1) * size - 1] ^= 0x80;
}

/* Copies the elements of a view in row-major order into memory of the checkpoint. All copies together may not be larger
 * than the files. */
static const void *gather(mert_checkpoint *c, const view *t, int64_t elements, mert_error *e)
{
    size_t size = mert_dtype_size(t->type), bytes = (size_t)elements * size;
    int64_t index[MERT_TENSOR_NDIM_MAX] = {0}, at = t->offset;
    unsigned char *to;
    if (bytes > c->gather_max - c->gathered) {
        mert_fail(e, "tensors that are not contiguous unfold to more than the file holds");
        return NULL;
    }
    if (!(to = mert_checkpoint_hold(c, bytes))) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    c->gathered += bytes;
    for (int64_t i = 0; i < elements; i++) {
        memcpy(to + (size_t)i * size, t->data + (size_t)at * size, size);
        for (size_t d = t->ndim; d-- > 0;) {
            at += t->stride[d];
            if (++index[d] < t->shape[d])
                break;
            at -= t->stride[d] * t->shape[d];
            index[d] = 0;
        }
    }
    if (t->negated)
        negate(to, elements, size);
    return to;
}

/* Checks that the last element is inside the storage. The stride of a dimension of size 1 is not used. */
static int check_reach(const view *t, mert_error *e)
{
    int64_t last = t->offset, step;
    for (size_t i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &step) || __builtin_add_overflow(last, step, &last))
            return mert_fail(e, "impossible strides");
    if (last >= t->numel)
        return mert_fail(e, "needs element %" PRId64 " of a storage of %" PRId64, last, t->numel);
    return 0;
}

static int add_view(mert_checkpoint *c, view *t, const char *name, size_t name_size, mert_error *e)
{
    int64_t elements;
    uint64_t bytes;
    const void *data;
    if (mert_shape_bytes((int)t->ndim, t->shape, t->type, &bytes) ||
        mert_shape_elements((int)t->ndim, t->shape, &elements))
        return mert_fail(e, "an impossible shape");
    if (*t->other)
        return mert_checkpoint_add_other(c, name, name_size, t->other, (int)t->ndim, t->shape, e);
    if (elements && check_reach(t, e))
        return -1;
    for (size_t i = 0; i < t->ndim; i++)
        if (t->shape[i] == 1)
            t->stride[i] = 0; /* not used */
    if (!elements || (is_contiguous(t) && !t->negated))
        data = elements ? t->data + (size_t)t->offset * mert_dtype_size(t->type) : t->data;
    else if (!(data = gather(c, t, elements, e)))
        return -1;
    return mert_checkpoint_add(c, name, name_size, t->type, (int)t->ndim, t->shape, data, e);
}

/* _rebuild_tensor_v3: the storage has bytes, the element type is a separate argument. */
static int type_view(view *t, const mert_storage *s, const value *v, mert_error *e)
{
    const char *type = s->type;
    int element = s->element;
    if (element == UNTYPED) {
        const value *dtype = v->args->size > 6 ? v->args->items[6] : NULL;
        if (!dtype || dtype->type != MERT_P_CLASS || strncmp(dtype->text, "torch.", 6))
            return mert_fail(e, "bytes without an element type");
        type = dtype->text + 6;
        element = UNSUPPORTED;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if (!strcmp(type, types[i].dtype))
                element = types[i].element;
    }
    t->type = element < 0 ? MERT_E_OTHER : (mert_dtype)element;
    if (element < 0)
        snprintf(t->other, sizeof t->other, "%s", mert_show(type, strlen(type)).text);
    else if (!s->data)
        return mert_fail(e, "its storage is not in the file");
    t->numel = s->element == UNTYPED && element >= 0 ? s->numel / (int64_t)mert_dtype_size(t->type) : s->numel;
    t->data = s->data;
    return 0;
}

/* Reads the metadata of a tensor, the last argument: {"neg": True}: the values are to be negated, {"conj": True}: the
 * conjugate is meant; extensions may add other keys. */
static void take_metadata(view *t, const value *metadata)
{
    if (*t->other || !metadata || metadata->type == MERT_P_NONE)
        return;
    if (metadata->type != MERT_P_DICT)
        snprintf(t->other, sizeof t->other, "%s with metadata", mert_dtype_name(t->type));
    for (size_t i = 0; metadata->type == MERT_P_DICT && i + 1 < metadata->size; i += 2) {
        const value *key = metadata->items[i], *set = metadata->items[i + 1];
        if (set->type == MERT_P_NONE || (set->type == MERT_P_BOOL && !set->number))
            continue;
        if (mert_pickle_is_text(key, "neg") && mert_dtype_is_real(t->type))
            t->negated = 1;
        else if (key->type == MERT_P_TEXT)
            snprintf(t->other, sizeof t->other, "%s with torch's '%.40s' bit", mert_dtype_name(t->type),
                     mert_show(key->text, key->size).text);
        else
            snprintf(t->other, sizeof t->other, "%s with metadata", mert_dtype_name(t->type));
    }
}

/* 0: v is not a tensor. Otherwise the index of the metadata among the arguments. *quantised: a tensor of quantised
 * numbers, which has none. */
static size_t metadata_of(const value *v, int *quantised)
{
    static const struct { const char *name; size_t metadata; } rebuild[] = {
        {"torch._utils._rebuild_tensor", 6}, {"torch._utils._rebuild_tensor_v2", 6},
        {"torch._utils._rebuild_tensor_v3", 7}, {"torch._utils._rebuild_qtensor", 7}};
    *quantised = 0;
    if (v->type != MERT_P_OBJECT)
        return 0;
    for (size_t i = 0; i < sizeof rebuild / sizeof *rebuild; i++)
        if (mert_pickle_is_of(v, rebuild[i].name)) {
            *quantised = i == 3;
            return rebuild[i].metadata;
        }
    return 0;
}

int mert_torch_tensor(mert_checkpoint *c, const mert_storages *s, const mert_pickle_value *v, const char *name,
                      size_t name_size, mert_error *e)
{
    const value *id, *args = v->args;
    mert_storage *storage;
    size_t strides, metadata;
    view t = {0};
    int quantised;
    if (!(metadata = metadata_of(v, &quantised)))
        return 1;
    if (!args || args->size < 4 || args->items[0]->type != MERT_P_PERSISTENT || args->items[1]->type != MERT_P_INT ||
        args->items[1]->number < 0)
        return mert_fail(e, "a tensor that is not described by storage, offset, shape and strides");
    if (read_numbers(args->items[2], t.shape, &t.ndim) || read_numbers(args->items[3], t.stride, &strides) ||
        strides != t.ndim)
        return mert_fail(e, "a tensor whose shape and strides are not two tuples of as many numbers, at most %d",
                         MERT_TENSOR_NDIM_MAX);
    id = args->items[0]->items[0]; /* checked by mert_storages_list */
    storage = mert_storages_find(s, id->items[2]->text, id->items[2]->size);
    if (!storage)
        return mert_fail(e, "its storage is not in the file");
    t.offset = args->items[1]->number;
    if (type_view(&t, storage, v, e))
        return -1;
    if (quantised && !*t.other)
        snprintf(t.other, sizeof t.other, "quantised %s", mert_dtype_name(t.type));
    take_metadata(&t, args->size > metadata ? args->items[metadata] : NULL);
    if (*t.other)
        t.type = MERT_E_OTHER;
    return add_view(c, &t, name, name_size, e);
}
