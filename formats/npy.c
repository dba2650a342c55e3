#include "formats/npy.h"

#include "formats/array.h"
#include "formats/tensor.h"
#include "formats/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *descr, *name;
    size_t size;
    int integer;
    mert_dtype element; /* the same type in checkpoints, which have no uint16 */
} types[MERT_NPY_TYPES] = {
    {"<f4", "float32", 4, 0, MERT_E_F32}, {"<f2", "float16", 2, 0, MERT_E_F16}, {"<f8", "float64", 8, 0, MERT_E_F64},
    {"<i2", "int16", 2, 1, MERT_E_I16},   {"<u2", "uint16", 2, 1, MERT_E_I16},  {"<i4", "int32", 4, 1, MERT_E_I32},
    {"<i8", "int64", 8, 1, MERT_E_I64},   {"|i1", "int8", 1, 1, MERT_E_I8},     {"|u1", "uint8", 1, 1, MERT_E_U8},
    {"|b1", "bool", 1, 1, MERT_E_BOOL}};

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
enum { HEADER_MAX = 1 << 16 };

size_t mert_npy_type_size(mert_npy_type t)
{
    return types[t].size;
}

const char *mert_npy_type_name(mert_npy_type t)
{
    return types[t].name;
}

int mert_npy_type_is_integer(mert_npy_type t)
{
    return types[t].integer;
}

/* ---- the header: a Python dictionary with three keys ---- */

typedef struct cursor {
    const char *p, *end;
} cursor;

static void blanks(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n'))
        c->p++;
}

static int sign(cursor *c, char wanted)
{
    blanks(c);
    if (c->p == c->end || *c->p != wanted)
        return 0;
    c->p++;
    return 1;
}

static int word(cursor *c, const char *wanted)
{
    size_t n = strlen(wanted);
    blanks(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, wanted, n))
        return 0;
    c->p += n;
    return 1;
}

/* Reads 'text' or "text" into to[]. */
static int quoted(cursor *c, char *to, size_t size)
{
    char quote = sign(c, '\'') ? '\'' : sign(c, '"') ? '"' : 0;
    size_t n = 0;
    while (quote && c->p < c->end && *c->p != quote && n + 1 < size)
        to[n++] = *c->p++;
    to[n] = 0;
    return quote && sign(c, quote);
}

static int shape_parse(cursor *c, mert_npy *a)
{
    if (!sign(c, '('))
        return -1;
    for (a->ndim = 0; !sign(c, ')');) {
        int64_t x = 0;
        int digits = 0;
        for (blanks(c); c->p < c->end && *c->p >= '0' && *c->p <= '9' && x <= INT64_MAX / 10 - 1; digits++)
            x = 10 * x + (*c->p++ - '0');
        if (!digits || a->ndim == MERT_NPY_NDIM_MAX)
            return -1;
        a->shape[a->ndim++] = x;
        if (!sign(c, ',') && !(c->p < c->end && *c->p == ')'))
            return -1;
    }
    return 0;
}

static int header_parse(mert_npy *a, cursor c, int *fortran, const char *path, mert_error *e)
{
    char name[32], descr[32];
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    int seen = 0, type = 0, now;
    *fortran = 0;
    if (!sign(&c, '{'))
        return mert_fail(e, "%s: its npy header is no dictionary", path);
    while (!sign(&c, '}')) {
        if (!quoted(&c, name, sizeof name) || !sign(&c, ':'))
            return mert_fail(e, "%s: its npy header cannot be read", path);
        if (!strcmp(name, "descr")) {
            now = DESCR;
            if (!quoted(&c, descr, sizeof descr))
                return mert_fail(e, "%s: structured arrays are not read", path);
            for (type = 0; type < MERT_NPY_TYPES && strcmp(types[type].descr, descr);)
                type++;
            if (type == MERT_NPY_TYPES)
                return mert_fail(e, "%s: elements of type '%s' are not read", path, descr);
        } else if (!strcmp(name, "fortran_order")) {
            now = ORDER;
            *fortran = word(&c, "True");
            if (!*fortran && !word(&c, "False"))
                return mert_fail(e, "%s: its npy header cannot be read at fortran_order", path);
        } else if (!strcmp(name, "shape")) {
            now = SHAPE;
            if (shape_parse(&c, a))
                return mert_fail(e, "%s: its npy header has a bad shape (at most %d axes)", path, MERT_NPY_NDIM_MAX);
        } else
            return mert_fail(e, "%s: its npy header has a field '%s'", path, name);
        if (seen & now)
            return mert_fail(e, "%s: its npy header has %s twice", path, name);
        seen |= now;
        if (!sign(&c, ',') && !(c.p < c.end && *c.p == '}'))
            return mert_fail(e, "%s: its npy header cannot be read behind %s", path, name);
    }
    blanks(&c);
    if (seen != (DESCR | ORDER | SHAPE) || c.p != c.end)
        return mert_fail(e, "%s: its npy header is not complete", path);
    a->type = (mert_npy_type)type;
    return 0;
}

/* Converts Fortran order to row-major order. */
static int to_row_major(mert_npy *a, const char *path, mert_error *e)
{
    const size_t size = types[a->type].size;
    int64_t index[MERT_NPY_NDIM_MAX] = {0}, stride[MERT_NPY_NDIM_MAX], from = 0;
    if (!(a->row_major = mert_array(a->elements, size)))
        return mert_fail(e, "%s: out of memory for converting it from Fortran order", path);
    stride[0] = 1;
    for (int i = 1; i < a->ndim; i++)
        stride[i] = stride[i - 1] * a->shape[i - 1];
    for (int64_t to = 0; to < a->elements; to++) {
        memcpy(a->row_major + (size_t)to * size, a->data + (size_t)from * size, size);
        for (int i = a->ndim - 1; i >= 0; i--) {
            from += stride[i];
            if (++index[i] < a->shape[i])
                break;
            from -= index[i] * stride[i];
            index[i] = 0;
        }
    }
    a->data = a->row_major;
    return 0;
}

static int open_mapped(mert_npy *a, const char *path, mert_error *e)
{
    int fortran;
    const unsigned char *p = a->mapping.data;
    size_t size = a->mapping.size, head, length, bytes;
    char words[MERT_TEXT_WORDS];
    if (mert_text_stands_in((const char *)p, size, words))
        return mert_fail(e, "%s: not a npy file: this is %s", path, words);
    if (size < 10 || memcmp(p, magic, sizeof magic))
        return mert_fail(e, "%s: not a npy file", path);
    if (p[6] != 1 && p[6] != 2)
        return mert_fail(e, "%s: npy version %d.%d; 1.0 and 2.0 are read", path, p[6], p[7]);
    head = p[6] == 1 ? 10 : 12;
    length = size < head ? size : (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] == 2 && size >= head)
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (length > HEADER_MAX || length > size - head)
        return mert_fail(e, "%s: its npy header is cut short or absurdly long", path);
    if (header_parse(a, (cursor){(const char *)p + head, (const char *)p + head + length}, &fortran, path, e))
        return -1;
    bytes = size - head - length;
    a->elements = 1;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] == 0)
            a->elements = 0;
    for (int i = 0; i < a->ndim && a->elements; i++) {
        if (a->shape[i] > (int64_t)(bytes / types[a->type].size) / a->elements)
            return mert_fail(e, "%s: holds %zu bytes of data, less than its shape needs", path, bytes);
        a->elements *= a->shape[i];
    }
    if ((size_t)a->elements * types[a->type].size != bytes)
        return mert_fail(e, "%s: holds %zu bytes of data where its shape needs %zu", path, bytes,
                         (size_t)a->elements * types[a->type].size);
    a->data = a->elements ? p + head + length : NULL;
    return fortran && a->elements && a->ndim > 1 ? to_row_major(a, path, e) : 0;
}

int mert_npy_open(mert_npy *a, const char *path, mert_error *e)
{
    memset(a, 0, sizeof *a);
    if (mert_mapping_open(&a->mapping, path, e))
        return -1;
    if (!open_mapped(a, path, e))
        return 0;
    mert_npy_close(a);
    return -1;
}

void mert_npy_close(mert_npy *a)
{
    mert_mapping_close(&a->mapping);
    free(a->row_major);
    a->row_major = NULL;
    a->data = NULL;
}

/* ---- elements ---- */

static int64_t load_int(const unsigned char *p, mert_npy_type t)
{
    uint64_t x = 0;
    for (size_t i = 0; i < types[t].size; i++)
        x |= (uint64_t)p[i] << 8 * i;
    switch (t) {
    case MERT_NPY_I8: return (int8_t)x;
    case MERT_NPY_I16: return (int16_t)x;
    case MERT_NPY_I32: return (int32_t)x;
    case MERT_NPY_BOOL: return x != 0;
    default: return (int64_t)x;
    }
}

void mert_npy_to_floats(const mert_npy *a, int64_t first, int64_t n, float *to)
{
    size_t size = types[a->type].size;
    const unsigned char *p = n ? a->data + (size_t)first * size : NULL;
    if (a->type != MERT_NPY_U16)
        mert_elements_to_floats(types[a->type].element, p, n, to);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)load_int(p + (size_t)i * size, a->type);
}

int mert_npy_to_ints(const mert_npy *a, int64_t first, int64_t n, int64_t *to)
{
    size_t size = types[a->type].size;
    const unsigned char *p = n ? a->data + (size_t)first * size : NULL;
    if (!types[a->type].integer)
        return -1;
    for (int64_t i = 0; i < n; i++)
        to[i] = load_int(p + (size_t)i * size, a->type);
    return 0;
}

float *mert_npy_floats(const mert_npy *a, mert_error *e)
{
    float *to = mert_array(a->elements, sizeof *to);
    if (!to) {
        mert_fail(e, "out of memory for %" PRId64 " numbers", a->elements);
        return NULL;
    }
    mert_npy_to_floats(a, 0, a->elements, to);
    return to;
}

/* ---- writing ---- */

struct mert_npy_writer {
    mert_output *out;
    char *path;
    mert_npy_type type;
    int ndim;
    int64_t shape[MERT_NPY_NDIM_MAX], elements;
    size_t head; /* bytes before the data, a multiple of 64 as in NumPy's files */
};

/* The text of the header, without its padding, with shape[0] = first. */
static size_t header_text(const mert_npy_writer *w, int64_t first, char *to, size_t size)
{
    size_t n = (size_t)snprintf(to, size, "{'descr': '%s', 'fortran_order': False, 'shape': (", types[w->type].descr);
    for (int i = 0; i < w->ndim; i++)
        n += (size_t)snprintf(to + n, size - n, "%s%" PRId64 "%s", i ? ", " : "", i ? w->shape[i] : first,
                              w->ndim == 1 ? "," : "");
    return n + (size_t)snprintf(to + n, size - n, "), }");
}

static int write_header(mert_npy_writer *w, int64_t first, mert_error *e)
{
    unsigned char head[512];
    size_t n = header_text(w, first, (char *)head + 10, sizeof head - 10);
    memcpy(head, magic, sizeof magic);
    head[6] = 1;
    head[7] = 0;
    head[8] = (unsigned char)(w->head - 10);
    head[9] = (unsigned char)((w->head - 10) >> 8);
    memset(head + 10 + n, ' ', w->head - 10 - n);
    head[w->head - 1] = '\n';
    if (fwrite(head, 1, w->head, w->out->stream) != w->head)
        return mert_fail(e, "%s: cannot write: %s", w->path, strerror(errno));
    return 0;
}

mert_npy_writer *mert_npy_create(const char *path, mert_npy_type type, int ndim, const int64_t *shape, mert_error *e)
{
    char text[512];
    mert_npy_writer *w = calloc(1, sizeof *w);
    if (!w || ndim < 0 || ndim > MERT_NPY_NDIM_MAX) {
        mert_fail(e, "%s: %s", path, w ? "too many axes for a npy file" : "out of memory");
        free(w);
        return NULL;
    }
    w->type = type;
    w->ndim = ndim;
    if (ndim)
        memcpy(w->shape, shape, (size_t)ndim * sizeof *shape);
    /* Leaves room for the longest possible shape[0]. */
    w->head = (10 + header_text(w, INT64_MAX, text, sizeof text) + 1 + 63) / 64 * 64;
    if (!(w->path = strdup(path)) || !(w->out = mert_output_open(path, e)) || write_header(w, 0, e)) {
        if (!w->path)
            mert_fail(e, "%s: out of memory", path);
        mert_npy_abandon(w);
        return NULL;
    }
    return w;
}

int mert_npy_append(mert_npy_writer *w, const void *data, int64_t elements, mert_error *e)
{
    size_t n = (size_t)elements;
    if (n && fwrite(data, types[w->type].size, n, w->out->stream) != n)
        return mert_fail(e, "%s: cannot write: %s", w->path, strerror(errno));
    w->elements += elements;
    return 0;
}

int mert_npy_rewind(mert_npy_writer *w, int64_t elements, mert_error *e)
{
    off_t at = (off_t)(w->head + (size_t)elements * types[w->type].size);
    if (fflush(w->out->stream) || fseeko(w->out->stream, at, SEEK_SET) || ftruncate(fileno(w->out->stream), at))
        return mert_fail(e, "%s: cannot write: %s", w->path, strerror(errno));
    w->elements = elements;
    return 0;
}

int mert_npy_commit(mert_npy_writer *w, mert_error *e)
{
    int64_t step = 1, first = w->ndim ? w->shape[0] : 1;
    int rc = -1;
    for (int i = 1; i < w->ndim; i++)
        step *= w->shape[i];
    if (first < 0)
        first = step ? w->elements / step : 0;
    if (first * step != w->elements)
        mert_fail(e, "%s: %" PRId64 " numbers do not fill its shape", w->path, w->elements);
    else if (fseeko(w->out->stream, 0, SEEK_SET))
        mert_fail(e, "%s: cannot write: %s", w->path, strerror(errno));
    else if (!write_header(w, first, e)) {
        rc = mert_output_commit(w->out, e);
        w->out = NULL;
    }
    mert_npy_abandon(w);
    return rc;
}

void mert_npy_abandon(mert_npy_writer *w)
{
    if (!w)
        return;
    mert_output_abandon(w->out);
    free(w->path);
    free(w);
}
