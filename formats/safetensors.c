/* safetensors: u64 length of the header, the header (JSON), the data. {"name": {"dtype": "F32", "shape": [2, 3],
 * "data_offsets": [begin, end]}, ...}, offsets counted from the end of the header; every byte of the data belongs to
 * exactly one tensor. */
#include "bytes.h"
#include "container.h"
#include "model_write.h"
#include "stream/mts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100 * 1000 * 1000 }; /* the format's own limit */

static int element_named(const char *name, mert_element *t)
{
    for (int i = MERT_E_F32; name && i <= MERT_E_BOOL; i++)
        if (!strcmp(name, mert_element_name((mert_element)i))) {
            *t = (mert_element)i;
            return 0;
        }
    return -1;
}

/* ---- reading ---- */

typedef struct span {
    uint64_t begin, end;
    const char *name;
} span;

static int read_entry(mert_checkpoint *c, const char *path, const char *name, const mert_json *entry,
                      const unsigned char *data, uint64_t data_size, span *s, mert_error *e)
{
    const mert_json *shape = mert_json_get(entry, "shape"), *offsets = mert_json_get(entry, "data_offsets");
    const char *dtype = mert_json_string(entry, "dtype");
    int64_t dims[MERT_TENSOR_NDIM_MAX], begin, end;
    size_t ndim = mert_json_size(shape);
    mert_element type;
    uint64_t bytes;
    mert_shown display = mert_show(name, strlen(name));
    const char *shown = display.text;
    if (!dtype || !mert_json_is_array(shape) || mert_json_size(offsets) != 2 ||
        mert_json_as_int(mert_json_at(offsets, 0), &begin) || mert_json_as_int(mert_json_at(offsets, 1), &end))
        return mert_fail(e, "%s: %s: needs dtype, shape and two data_offsets", path, shown);
    if (element_named(dtype, &type))
        return mert_fail(e, "%s: %s: dtype %s is not supported", path, shown, mert_show(dtype, strlen(dtype)).text);
    if (ndim > MERT_TENSOR_NDIM_MAX)
        return mert_fail(e, "%s: %s: %zu dimensions, at most %d are supported", path, shown, ndim,
                         MERT_TENSOR_NDIM_MAX);
    for (size_t i = 0; i < ndim; i++)
        if (mert_json_as_int(mert_json_at(shape, i), &dims[i]))
            return mert_fail(e, "%s: %s: dimension %zu is no integer", path, shown, i);
    if (begin < 0 || end < begin || (uint64_t)end > data_size)
        return mert_fail(e,
                         "%s: %s: data_offsets [%" PRId64 ", %" PRId64 "] are outside the %" PRIu64
                         " bytes of data (truncated file?)",
                         path, shown, begin, end, data_size);
    if (mert_shape_bytes((int)ndim, dims, type, &bytes) || bytes != (uint64_t)(end - begin))
        return mert_fail(e, "%s: %s: its shape and dtype do not fill the %" PRId64 " bytes of its data_offsets", path,
                         shown, end - begin);
    *s = (span){(uint64_t)begin, (uint64_t)end, name};
    return mert_checkpoint_add(c, name, strlen(name), type, (int)ndim, dims, data + begin, e);
}

static int by_begin(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte belongs to exactly one tensor. */
static int check_cover(const char *path, span *spans, size_t n, uint64_t data_size, mert_error *e)
{
    uint64_t at = 0;
    qsort(spans, n, sizeof *spans, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != at)
            return mert_fail(e, "%s: %s: its data begin at %" PRIu64 ", %s at %" PRIu64, path,
                             mert_show(spans[i].name, strlen(spans[i].name)).text, spans[i].begin,
                             spans[i].begin < at ? "inside another tensor's, which end" : "behind a hole that begins",
                             at);
        at = spans[i].end;
    }
    if (at != data_size)
        return mert_fail(e, "%s: %" PRIu64 " bytes at the end belong to no tensor", path, data_size - at);
    return 0;
}

int mert_safetensors_open(mert_checkpoint *c, const char *path, const mert_mapping *m, mert_error *e)
{
    uint64_t header = m->size >= 8 ? mert_le(m->data, 8) : 0, data_size;
    mert_json *j;
    mert_json_walk w;
    const mert_json *entry;
    const char *name;
    mert_error why;
    span *spans;
    size_t n = 0;
    int rc = 0;
    if (m->size < 8)
        return mert_fail(e, "%s: %zu bytes are no safetensors file", path, m->size);
    if (header > HEADER_MAX || header > m->size - 8)
        return mert_fail(e, "%s: a header of %" PRIu64 " bytes in a file of %zu (truncated, or no safetensors file)",
                         path, header, m->size);
    if (!(j = mert_json_parse((const char *)m->data + 8, (size_t)header, "header", &why)))
        return mert_fail(e, "%s: %s", path, why.text);
    data_size = m->size - 8 - header;
    c->container = "safetensors";
    spans = calloc(mert_json_size(j) + 1, sizeof *spans);
    if (!spans)
        rc = mert_fail(e, "%s: out of memory", path);
    else if (!mert_json_is_object(j))
        rc = mert_fail(e, "%s: the header is no object", path);
    for (w = (mert_json_walk){j, NULL}; !rc && (name = mert_json_next(&w, &entry));)
        if (strcmp(name, "__metadata__"))
            rc = read_entry(c, path, name, entry, m->data + 8 + header, data_size, &spans[n++], e);
    if (!rc)
        rc = check_cover(path, spans, n, data_size, e);
    free(spans);
    mert_json_free(j);
    return rc;
}

/* ---- writing ---- */

static int same_name(const void *a, const void *b)
{
    const mert_tensor_out *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int check_names(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e)
{
    const mert_tensor_out **sorted = calloc(n + 1, sizeof *sorted);
    int rc = 0;
    if (!sorted)
        return mert_fail(e, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, n, sizeof *sorted, same_name);
    for (size_t i = 1; i < n && !rc; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            rc = mert_fail(e, "%s: two tensors named %s", path, sorted[i]->name);
    free(sorted);
    return rc;
}

static int put_entry(FILE *f, const char *path, const mert_tensor_out *t, uint64_t *at, mert_error *e)
{
    char *quoted = mert_json_quote(t->name);
    uint64_t bytes;
    if (!quoted)
        return mert_fail(e, "%s: a tensor's name is not UTF-8", path);
    if (t->ndim < 0 || t->ndim > MERT_TENSOR_NDIM_MAX || mert_shape_bytes(t->ndim, t->shape, t->type, &bytes)) {
        free(quoted);
        return mert_fail(e, "%s: %s: this shape cannot be written", path, t->name);
    }
    fprintf(f, ",%s:{\"dtype\":\"%s\",\"shape\":[", quoted, mert_element_name(t->type));
    for (int i = 0; i < t->ndim; i++)
        fprintf(f, "%s%" PRId64, i ? "," : "", t->shape[i]);
    fprintf(f, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *at, *at + bytes);
    *at += bytes;
    free(quoted);
    return 0;
}

static const void *its_own(void *arg, size_t i, mert_error *e)
{
    (void)e;
    return ((const mert_tensor_out *)arg)[i].data;
}

int mert_safetensors_write(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e)
{
    return mert_safetensors_write_from(path, tensors, n, its_own, (void *)tensors, NULL, NULL, e);
}

static int put(mert_output *o, mts_xxh64_state *sum, const void *data, uint64_t bytes)
{
    mts_xxh64_add(sum, data, (size_t)bytes);
    return fwrite(data, 1, (size_t)bytes, o->stream) != bytes;
}

static int put_data(mert_output *o, mts_xxh64_state *sum, const char *path, const mert_tensor_out *t, const void *data,
                    mert_error *e)
{
    uint64_t bytes = 0;
    mert_shape_bytes(t->ndim, t->shape, t->type, &bytes);
    if (bytes && (!data || put(o, sum, data, bytes)))
        return data ? mert_fail(e, "%s: cannot write: %s", path, strerror(errno)) : -1;
    return 0;
}

int mert_safetensors_write_from(const char *path, const mert_tensor_out *tensors, size_t n,
                                const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg,
                                uint64_t *written, uint64_t *hash, mert_error *e)
{
    mts_xxh64_state sum;
    char *header = NULL;
    size_t size = 0;
    uint64_t at = 0, length;
    unsigned char prefix[8];
    mert_output *o;
    FILE *f = open_memstream(&header, &size);
    int rc = f ? check_names(path, tensors, n, e) : mert_fail(e, "%s: out of memory", path);
    if (!f)
        return -1;
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", f);
    for (size_t i = 0; i < n && !rc; i++)
        rc = put_entry(f, path, &tensors[i], &at, e);
    fputs("}", f);
    if (fclose(f) && !rc)
        rc = mert_fail(e, "%s: out of memory", path);
    if (rc || !(o = mert_output_open(path, e))) {
        free(header);
        return -1;
    }
    length = ((uint64_t)size + 8 + 63) / 64 * 64 - 8; /* blanks behind the JSON put the data on a multiple of 64 */
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(length >> 8 * i);
    mts_xxh64_begin(&sum, 0);
    put(o, &sum, prefix, 8);
    put(o, &sum, header, size);
    for (uint64_t i = size; i < length; i++)
        put(o, &sum, " ", 1);
    free(header);
    for (size_t i = 0; i < n; i++)
        if (put_data(o, &sum, path, &tensors[i], fetch(arg, i, e), e)) {
            mert_output_abandon(o);
            return -1;
        }
    if (written)
        *written = sum.total;
    if (hash)
        *hash = mts_xxh64_end(&sum, 0);
    return mert_output_commit(o, e);
}
