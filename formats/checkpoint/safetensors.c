/* safetensors: u64 length of the header, the header (JSON), the data. {"name": {"dtype": "F32", "shape": [2, 3],
 * "data_offsets": [begin, end]}, ...}, offsets counted from the end of the header; every byte of the data belongs to
 * exactly one tensor.
 *
 * Files written here begin with the metadata {"format": "pt", "mert_xxh64": "..."}: XXH64 of the header (without the
 * blanks after it, and with zeros in place of these 16 digits) and of the data. All zeros: not known, for example in
 * files that were written into a pipe. Other programs ignore it. Opening does not check it; mert_checkpoint_check_own
 * does. */
#include "formats/bytes.h"
#include "formats/checkpoint/container.h"
#include "formats/checkpoint/write.h"
#include "formats/memory.h"
#include "formats/stream/mts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100 * 1000 * 1000 }; /* the format's own limit */

static int element_named(const char *name, mert_dtype *t)
{
    for (int i = MERT_E_F32; name && i <= MERT_E_BOOL; i++)
        if (!strcmp(name, mert_dtype_name((mert_dtype)i))) {
            *t = (mert_dtype)i;
            return 0;
        }
    return -1;
}

/* ---- our checksum ---- */

enum { DIGITS = 16 };
static const char ours[] = "{\"__metadata__\":{\"format\":\"pt\",\"mert_xxh64\":\"", zeros[] = "0000000000000000";

/* Adds the header, without the blanks after it and with zeros in place of the digits. */
static void sum_header(mts_xxh64_state *s, const char *header, size_t size)
{
    size_t at = sizeof ours - 1;
    while (size && header[size - 1] == ' ')
        size--;
    if (size < at + DIGITS)
        return;
    mts_xxh64_add(s, header, at);
    mts_xxh64_add(s, zeros, DIGITS);
    mts_xxh64_add(s, header + at + DIGITS, size - at - DIGITS);
}

uint64_t mert_safetensors_sum(const mert_checkpoint *c, const unsigned char *data, size_t size)
{
    enum { BLOCK = 16 << 20 };
    size_t header = (size_t)mert_le(data, 8);
    mts_xxh64_state s;
    mts_xxh64_begin(&s, 0);
    sum_header(&s, (const char *)data + 8, header);
    for (size_t at = 8 + header, n; at < size; at += n) {
        n = size - at < BLOCK ? size - at : BLOCK;
        mts_xxh64_add(&s, data + at, n);
        mert_mappings_forget(c, data + at, n);
    }
    return mts_xxh64_end(&s, 0);
}

/* The number of bits in which the beginning of the header differs from ours. */
static int other_bits(const unsigned char *header)
{
    int n = 0;
    for (size_t i = 0; i < sizeof ours - 1; i++)
        n += __builtin_popcount((unsigned)(header[i] ^ (unsigned char)ours[i]));
    return n;
}

/* Finds the checksum in a file written by mert. If the beginning of the header is almost ours, it was damaged: an
 * error. */
static int take_sum(mert_checkpoint *c, const char *path, const mert_mapping *m, uint64_t header, mert_error *e)
{
    const unsigned char *p = m->data + 8;
    mert_checked r = {m->data, m->size, 0, 1, "header and tensors"};
    char digits[DIGITS + 1], again[DIGITS + 1];
    int bits;
    if (header < sizeof ours - 1 + DIGITS || (bits = other_bits(p)) > 4)
        return 0;
    memcpy(digits, p + sizeof ours - 1, DIGITS);
    digits[DIGITS] = 0;
    r.sum = strtoull(digits, NULL, 16);
    snprintf(again, sizeof again, "%016" PRIx64, r.sum);
    if (bits || strcmp(digits, again))
        return mert_fail(e, "%s: its header is damaged (where the file's checksum stands)", path);
    return strcmp(digits, zeros) ? mert_checkpoint_add_checked(c, &r, path, e) : 0;
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
    mert_dtype type;
    uint64_t bytes;
    mert_shown display = mert_show(name, strlen(name));
    const char *shown = display.text;
    if (!dtype || !mert_json_is_array(shape) || mert_json_size(offsets) != 2 ||
        mert_json_as_int(mert_json_at(offsets, 0), &begin) || mert_json_as_int(mert_json_at(offsets, 1), &end))
        return mert_fail(e, "%s: %s: needs dtype, shape and two data_offsets", path, shown);
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
    if (element_named(dtype, &type)) {
        *s = (span){(uint64_t)begin, (uint64_t)end, name};
        return mert_checkpoint_add_other(c, name, strlen(name), dtype, (int)ndim, dims, e) ? mert_fail_in(e, "%s: %s", path, shown) : 0;
    }
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

/* Checks that every byte belongs to exactly one tensor. */
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
    mert_json_iterator w;
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
    if (take_sum(c, path, m, header, e))
        return -1;
    if (!(j = mert_json_parse((const char *)m->data + 8, (size_t)header, "header", &why)))
        return mert_fail(e, "%s: %s", path, why.text);
    data_size = m->size - 8 - header;
    c->container = "safetensors";
    spans = calloc(mert_json_size(j) + 1, sizeof *spans);
    if (!spans)
        rc = mert_fail(e, "%s: out of memory", path);
    else if (!mert_json_is_object(j))
        rc = mert_fail(e, "%s: the header is no object", path);
    for (w = (mert_json_iterator){j, NULL}; !rc && (name = mert_json_next(&w, &entry));)
        if (strcmp(name, "__metadata__"))
            rc = read_entry(c, path, name, entry, m->data + 8 + header, data_size, &spans[n++], e);
    if (!rc)
        rc = check_cover(path, spans, n, data_size, e);
    if (!rc && !c->about && mert_json_string(mert_json_get(j, "__metadata__"), "mert_xxh64"))
        c->about = mert_json_keep(mert_json_get(j, "__metadata__"));
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
    fprintf(f, ",%s:{\"dtype\":\"%s\",\"shape\":[", quoted, mert_dtype_name(t->type));
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

/* A file that is being written, and the checksum of its contents so far. */
typedef struct writing {
    mert_output *o;
    const char *path;
    mts_xxh64_state sum;
} writing;

static int put(writing *w, const void *data, size_t size, mert_error *e)
{
    mts_xxh64_add(&w->sum, data, size);
    return fwrite(data, 1, size, w->o->stream) != size
               ? mert_fail(e, "%s: cannot write: %s", w->path, strerror(errno)) : 0;
}

static int put_data(writing *w, const mert_tensor_out *t, const void *data, mert_error *e)
{
    uint64_t bytes = 0;
    mert_shape_bytes(t->ndim, t->shape, t->type, &bytes);
    if (bytes && (!data || mert_tensor_out_check(t, data, e)))
        return data ? mert_fail_in(e, "%s", w->path) : -1;
    return bytes ? put(w, data, (size_t)bytes, e) : 0;
}

/* The whole header; blanks after the JSON align the data to 64 bytes. To be freed by the caller. */
static char *make_header(const char *path, const mert_tensor_out *tensors, size_t n, const char *const (*about)[2],
                         size_t n_about, size_t *length, mert_error *e)
{
    mert_memory m;
    char *header;
    uint64_t at = 0;
    FILE *f = mert_memory_open(&m);
    int rc;
    if (!f) {
        mert_fail(e, "%s: out of memory", path);
        return NULL;
    }
    rc = check_names(path, tensors, n, e);
    fprintf(f, "%s%s\"", ours, zeros);
    for (size_t i = 0; i < n_about; i++)
        fprintf(f, ",\"%s\":\"%s\"", about[i][0], about[i][1]);
    fputs("}", f);
    for (size_t i = 0; i < n && !rc; i++)
        rc = put_entry(f, path, &tensors[i], &at, e);
    fputs("}", f);
    while (!rc && !fflush(f) && m.size % 64 != 56)
        putc(' ', f);
    if (!(header = mert_memory_close(f, &m)) && !rc)
        rc = mert_fail(e, "%s: out of memory", path);
    if (rc) {
        free(header);
        return NULL;
    }
    *length = m.size;
    return header;
}

static int write_all(const char *path, const mert_tensor_out *tensors, size_t n, const char *const (*about)[2],
                     size_t n_about, const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg, mert_error *e)
{
    size_t length;
    char *header = make_header(path, tensors, n, about, n_about, &length, e);
    unsigned char prefix[8];
    writing w = {.path = path};
    int bad;
    if (!header || !(w.o = mert_output_open(path, e))) {
        free(header);
        return -1;
    }
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(length >> 8 * i);
    bad = put(&w, prefix, 8, e) || put(&w, header, length, e);
    mts_xxh64_begin(&w.sum, 0);
    sum_header(&w.sum, header, length);
    free(header);
    for (size_t i = 0; i < n && !bad; i++)
        bad = put_data(&w, &tensors[i], fetch(arg, i, e), e);
    if (bad) {
        mert_output_abandon(w.o);
        return -1;
    }
    if (!fseek(w.o->stream, (long)(8 + sizeof ours - 1), SEEK_SET)) /* fails on a pipe: the checksum stays unknown */
        fprintf(w.o->stream, "%016" PRIx64, mts_xxh64_end(&w.sum, 0));
    return mert_output_commit(w.o, e);
}

int mert_safetensors_write(const char *path, const mert_tensor_out *tensors, size_t n, mert_error *e)
{
    return write_all(path, tensors, n, NULL, 0, its_own, (void *)tensors, e);
}

int mert_safetensors_write_about(const char *path, const mert_tensor_out *tensors, size_t n,
                                 const char *const (*about)[2], size_t n_about, mert_error *e)
{
    return write_all(path, tensors, n, about, n_about, its_own, (void *)tensors, e);
}

int mert_safetensors_write_from(const char *path, const mert_tensor_out *tensors, size_t n,
                                const void *(*fetch)(void *arg, size_t i, mert_error *e), void *arg, mert_error *e)
{
    return write_all(path, tensors, n, NULL, 0, fetch, arg, e);
}
