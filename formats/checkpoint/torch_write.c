/* Writes torch files: a pickle of protocol 2 describes the values, in a zip file of stored entries. Their data are
 * aligned to 64 bytes, as in torch's own files, so that they can be mapped. */
#include "formats/bytes.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "formats/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char archive[] = "archive";

/* ---- the pickle ---- */

static void put_le(FILE *f, uint64_t v, int width)
{
    for (int i = 0; i < width; i++)
        putc((int)(v >> 8 * i & 255), f);
}

static void put_text(FILE *f, const char *s, size_t n)
{
    putc('X', f);
    put_le(f, n, 4);
    fwrite(s, 1, n, f);
}

static void put_int(FILE *f, int64_t v)
{
    if (v == (int32_t)v) {
        putc('J', f);
        put_le(f, (uint64_t)v, 4);
    } else {
        fputs("\x8a\x08", f);
        put_le(f, (uint64_t)v, 8);
    }
}

static void put_double(FILE *f, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    putc('G', f);
    for (int i = 56; i >= 0; i -= 8)
        putc((int)(bits >> i & 255), f);
}

static void put_ints(FILE *f, int n, const int64_t *v)
{
    putc('(', f);
    for (int i = 0; i < n; i++)
        put_int(f, v[i]);
    putc('t', f);
}

static void put_json(FILE *f, const json_t *j)
{
    const char *key;
    json_t *v;
    size_t i;
    switch (json_typeof(j)) {
    case JSON_NULL: putc('N', f); break;
    case JSON_TRUE: putc(0x88, f); break;
    case JSON_FALSE: putc(0x89, f); break;
    case JSON_INTEGER: put_int(f, json_integer_value(j)); break;
    case JSON_REAL: put_double(f, json_real_value(j)); break;
    case JSON_STRING: put_text(f, json_string_value(j), json_string_length(j)); break;
    case JSON_ARRAY:
        fputs("](", f);
        json_array_foreach(j, i, v)
            put_json(f, v);
        putc('e', f);
        break;
    case JSON_OBJECT:
        fputs("}(", f);
        json_object_foreach((json_t *)j, key, v) { /* the macro takes no const, but changes nothing */
            put_text(f, key, strlen(key));
            put_json(f, v);
        }
        putc('u', f);
        break;
    }
}

static const char *storage_class(mert_dtype t)
{
    static const char *const names[] =
        {[MERT_E_F32] = "Float", [MERT_E_F16] = "Half", [MERT_E_BF16] = "BFloat16", [MERT_E_F64] = "Double",
         [MERT_E_I64] = "Long",  [MERT_E_I32] = "Int",  [MERT_E_I16] = "Short",     [MERT_E_I8] = "Char",
         [MERT_E_U8] = "Byte",   [MERT_E_BOOL] = "Bool"};
    return names[t];
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks) of a storage of its own. */
static void put_tensor(FILE *f, const mert_tensor_out *t, size_t key)
{
    int64_t stride[MERT_TENSOR_NDIM_MAX], elements = 1;
    char name[24];
    for (int i = t->ndim; i-- > 0; elements *= t->shape[i])
        stride[i] = elements;
    snprintf(name, sizeof name, "%zu", key);
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", f);
    put_text(f, "storage", 7);
    fprintf(f, "ctorch\n%sStorage\n", storage_class(t->type));
    put_text(f, name, strlen(name));
    put_text(f, "cpu", 3);
    put_int(f, elements);
    fputs("tQ", f);
    put_int(f, 0);
    put_ints(f, t->ndim, t->shape);
    put_ints(f, t->ndim, stride);
    fputs("\x89" "ccollections\nOrderedDict\n)RtR", f);
}

static char *make_pickle(const char *key, const mert_tensor_out *tensors, size_t n, const mert_json *extras,
                         size_t *size)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    const char *name;
    char *text;
    json_t *v;
    if (!f)
        return NULL;
    fputs("\x80\x02}(", f);
    json_object_foreach((json_t *)extras, name, v) {
        put_text(f, name, strlen(name));
        put_json(f, v);
    }
    put_text(f, key, strlen(key));
    fputs("ccollections\nOrderedDict\n)R(", f);
    for (size_t i = 0; i < n; i++) {
        put_text(f, tensors[i].name, strlen(tensors[i].name));
        put_tensor(f, &tensors[i], i);
    }
    fputs("uu.", f);
    text = mert_memory_close(f, &m);
    *size = text ? m.size : 0;
    return text;
}

/* ---- the zip file ---- */

typedef struct entry {
    char name[48];
    uint32_t crc, size;
    uint32_t at;
} entry;

static void put_header(FILE *f, const entry *z, int central)
{
    put_le(f, central ? 0x02014b50 : 0x04034b50, 4);
    put_le(f, 0, central ? 4 : 2); /* versions */
    put_le(f, 1 << 11, 2);         /* names are UTF-8 */
    put_le(f, 0, 2);               /* stored */
    put_le(f, 0, 4);               /* no time, so that the same model gives the same file */
    put_le(f, z->crc, 4);
    put_le(f, z->size, 4);
    put_le(f, z->size, 4);
    put_le(f, strlen(z->name), 2);
}

static int put_entry(FILE *f, entry *z, const void *data, uint64_t *at, const char *path, mert_error *e)
{
    uint64_t name = strlen(z->name), start = *at + 30 + name + 4, pad = (64 - start % 64) % 64;
    if (start + pad + z->size > UINT32_MAX)
        return mert_fail(e, "%s: more than 4 GiB", path);
    z->crc = mert_crc32(0, data, z->size);
    z->at = (uint32_t)*at;
    put_header(f, z, 0);
    put_le(f, 4 + pad, 2);
    fwrite(z->name, 1, name, f);
    fputs("FB", f); /* the extra field that torch uses for padding */
    put_le(f, pad, 2);
    for (uint64_t i = 0; i < pad; i++)
        putc('Z', f);
    if (z->size && fwrite(data, 1, z->size, f) != z->size)
        return mert_fail(e, "%s: cannot write: %s", path, strerror(errno));
    *at = start + pad + z->size;
    return 0;
}

static void put_directory(FILE *f, const entry *z, size_t n, uint64_t at)
{
    uint64_t size = 0;
    for (size_t i = 0; i < n; i++) {
        put_header(f, &z[i], 1);
        put_le(f, 0, 8); /* extra, comment, disk, attributes */
        put_le(f, 0, 4);
        put_le(f, z[i].at, 4);
        fputs(z[i].name, f);
        size += 46 + strlen(z[i].name);
    }
    put_le(f, 0x06054b50, 4);
    put_le(f, 0, 4);
    put_le(f, n, 2);
    put_le(f, n, 2);
    put_le(f, size, 4);
    put_le(f, at, 4);
    put_le(f, 0, 2);
}

static int put_all(FILE *f, entry *z, const char *pickle, const mert_tensor_out *tensors, size_t n, const char *path,
                   mert_error *e)
{
    uint64_t at = 0;
    int bad = put_entry(f, &z[0], pickle, &at, path, e);
    for (size_t i = 0; i < n && !bad; i++)
        bad = mert_tensor_out_check(&tensors[i], tensors[i].data, e)
                  ? mert_fail_in(e, "%s", path) : put_entry(f, &z[i + 1], tensors[i].data, &at, path, e);
    bad = bad || put_entry(f, &z[n + 1], "little", &at, path, e) || put_entry(f, &z[n + 2], "3\n", &at, path, e);
    if (!bad)
        put_directory(f, z, n + 3, at);
    return bad ? -1 : 0;
}

int mert_torch_write(const char *path, const char *key, const mert_tensor_out *tensors, size_t n,
                     const mert_json *extras, mert_error *e)
{
    size_t size = 0;
    entry *z = n < 65000 ? calloc(n + 3, sizeof *z) : NULL;
    char *pickle = NULL;
    mert_output *o;
    uint64_t bytes;
    int bad = -1;
    for (size_t i = 0; z && i < n; i++) {
        if (tensors[i].ndim < 0 || tensors[i].ndim > MERT_TENSOR_NDIM_MAX ||
            mert_shape_bytes(tensors[i].ndim, tensors[i].shape, tensors[i].type, &bytes) || bytes > UINT32_MAX) {
            mert_fail(e, "%s: %s: this shape cannot be written", path, tensors[i].name);
            goto out;
        }
        snprintf(z[i + 1].name, sizeof z->name, "%s/data/%zu", archive, i);
        z[i + 1].size = (uint32_t)bytes;
    }
    if (!z || !(pickle = make_pickle(key, tensors, n, extras, &size)) || size > UINT32_MAX) {
        mert_fail(e, "%s: %s", path, n < 65000 ? "out of memory" : "too many tensors");
        goto out;
    }
    snprintf(z[0].name, sizeof z->name, "%s/data.pkl", archive);
    z[0].size = (uint32_t)size;
    snprintf(z[n + 1].name, sizeof z->name, "%s/byteorder", archive);
    z[n + 1].size = 6;
    snprintf(z[n + 2].name, sizeof z->name, "%s/version", archive);
    z[n + 2].size = 2;
    if (!(o = mert_output_open(path, e)))
        goto out;
    bad = put_all(o->stream, z, pickle, tensors, n, path, e);
    if (bad)
        mert_output_abandon(o);
    else
        bad = mert_output_commit(o, e);
out:
    free(z);
    free(pickle);
    return bad;
}
