#include "libcommon/tensor/npy_record.h"

#include "formats/array.h"
#include "formats/finite.h"
#include "libcommon/base/integer.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- arrays to records ---- */

static int is_float(mert_npy_type t)
{
    return !mert_npy_type_is_integer(t);
}

static int shape_of(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e)
{
    const int pcm = !strcmp(m->kind, "pcm"), codes = !strcmp(m->kind, "codes");
    if (a->ndim < 1)
        return mert_fail(e, "a single number has no time axis");
    if (a->ndim > MTS_NDIM_MAX)
        return mert_fail(e, "%d axes; a record has at most %d", a->ndim, MTS_NDIM_MAX);
    if (a->ndim == 1 && !pcm && !codes)
        return mert_fail(e, "one axis; %s needs time and at least one more", m->kind);
    if (m->transpose && a->ndim != 2)
        return mert_fail(e, "%d axes; only two can be swapped (--transpose)", a->ndim);
    r->ndim = a->ndim;
    memcpy(r->shape, a->shape, (size_t)a->ndim * sizeof *r->shape);
    if (m->transpose) {
        r->shape[0] = a->shape[1];
        r->shape[1] = a->shape[0];
    }
    if (codes && a->ndim == 1) {
        r->ndim = 2;
        r->shape[1] = 1;
    }
    if (codes && (r->ndim != 2 || r->shape[1] < 1 || r->shape[1] > MTS_CODEBOOKS_MAX))
        return mert_fail(e, "codes are [T, K] with K from 1 to %d", MTS_CODEBOOKS_MAX);
    return 0;
}

/* "1024" or "1024,500" into r->classes. */
static int classes_given(const char *text, mts_record *r, mert_error *e)
{
    int n = 0;
    for (const char *p = text;; n++) {
        char *end;
        long long x = strtoll(p, &end, 10);
        if (end == p || x < 1 || x > INT32_MAX || (*end && *end != ',') || n == r->ncodebooks)
            return mert_fail(e, "'%s' does not give the classes of %d codebooks", text, r->ncodebooks);
        r->classes[n] = x;
        if (!*end)
            break;
        p = end + 1;
    }
    if (n && n + 1 != r->ncodebooks)
        return mert_fail(e, "'%s' does not give the classes of %d codebooks", text, r->ncodebooks);
    for (int k = 1; !n && k < r->ncodebooks; k++)
        r->classes[k] = r->classes[0];
    return 0;
}

/* One pass over all codes: their range gives classes and type, which are needed before the first one is written. */
static int codes_of(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e)
{
    int64_t block[MERT_VALUES_BLOCK], largest[MTS_CODEBOOKS_MAX] = {0}, most = 0;
    if (is_float(a->type))
        return mert_fail(e, "codes of type %s; they are integers", mert_npy_type_name(a->type));
    r->ncodebooks = (int)r->shape[1];
    if (m->classes && classes_given(m->classes, r, e))
        return -1;
    for (int64_t at = 0, n; at < a->elements; at += n) {
        n = mert_smaller(a->elements - at, MERT_VALUES_BLOCK);
        mert_npy_to_ints(a, at, n, block);
        for (int64_t i = 0; i < n; i++) {
            int k = (int)(m->transpose ? (at + i) / r->shape[0] : (at + i) % r->shape[1]);
            int64_t limit = m->classes ? r->classes[k] : INT32_MAX;
            if (block[i] < 0 || block[i] >= limit)
                return mert_fail(e, "element %" PRId64 ": code %" PRId64 " is outside 0 to %" PRId64, at + i, block[i],
                                 limit - 1);
            if (block[i] > largest[k])
                largest[k] = block[i];
        }
    }
    for (int k = 0; k < r->ncodebooks; k++) {
        if (!m->classes)
            r->classes[k] = largest[k] + 1;
        most = r->classes[k] > most ? r->classes[k] : most;
    }
    r->dtype = most > 65536 ? MTS_I32 : MTS_U16;
    return 0;
}

static int dtype_of(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e)
{
    if (!strcmp(m->kind, "pcm") && !is_float(a->type) && a->type != MERT_NPY_I16)
        return mert_fail(e, "pcm of type %s; it is a float type or int16", mert_npy_type_name(a->type));
    switch (a->type) {
    case MERT_NPY_F32: case MERT_NPY_F64: r->dtype = MTS_F32; break;
    case MERT_NPY_F16: r->dtype = !strcmp(m->kind, "pcm") ? MTS_F32 : MTS_F16; break;
    case MERT_NPY_I16: case MERT_NPY_I8: r->dtype = MTS_I16; break;
    case MERT_NPY_U16: case MERT_NPY_U8: case MERT_NPY_BOOL: r->dtype = MTS_U16; break;
    default: r->dtype = MTS_I32;
    }
    return 0;
}

int mert_npy_record(const mert_npy *a, const mert_npy_meaning *m, mts_record *r, mert_error *e)
{
    snprintf(r->kind, sizeof r->kind, "%s", m->kind);
    if (shape_of(a, m, r, e))
        return -1;
    r->sample_rate = m->sample_rate;
    r->frame_rate_num = m->frame_rate_num;
    r->frame_rate_den = m->frame_rate_den ? m->frame_rate_den : 1;
    if (!strcmp(m->kind, "pcm")) {
        r->frame_rate_num = m->sample_rate;
        r->frame_rate_den = 1;
    }
    r->ncodebooks = 0;
    return !strcmp(m->kind, "codes") ? codes_of(a, m, r, e) : dtype_of(a, m, r, e);
}

/* Converts n elements from element `first` of the record (row major over [T, ...]) to its type. */
static int convert(const mert_npy *a, const mert_npy_meaning *m, const mts_record *r, int64_t first, int64_t n,
                   void *to, mert_error *e)
{
    const size_t size = mert_npy_type_size(a->type);
    unsigned char gathered[8 * MERT_VALUES_BLOCK];
    int64_t ints[MERT_VALUES_BLOCK];
    mert_npy part = *a;
    part.data = n ? a->data + (size_t)first * size : NULL;
    if (m->transpose) {
        for (int64_t i = 0; i < n; i++) {
            int64_t t = (first + i) / r->shape[1], k = (first + i) % r->shape[1];
            memcpy(gathered + (size_t)i * size, a->data + (size_t)(k * r->shape[0] + t) * size, size);
        }
        part.data = gathered;
    }
    if (r->dtype == MTS_F16) {
        memcpy(to, part.data, (size_t)n * size);
        return 0;
    }
    if (r->dtype == MTS_F32) {
        mert_npy_to_floats(&part, 0, n, to);
        return 0;
    }
    mert_npy_to_ints(&part, 0, n, ints);
    for (int64_t i = 0; i < n; i++)
        if (r->dtype == MTS_I32) {
            if (ints[i] < INT32_MIN || ints[i] > INT32_MAX)
                return mert_fail(e, "element %" PRId64 ": %" PRId64 " does not fit 32 bits", first + i, ints[i]);
            ((int32_t *)to)[i] = (int32_t)ints[i];
        } else {
            ((uint16_t *)to)[i] = (uint16_t)ints[i]; /* the same bits for i16 */
        }
    return 0;
}

int mert_npy_frames(const mert_npy *a, const mert_npy_meaning *m, const mts_record *r, mts_writer *w, mert_error *e)
{
    const int64_t width = mts_record_width(r);
    /* Whole steps at a time; a step that is larger than a block is converted in parts. */
    const int64_t steps = width < MERT_VALUES_BLOCK ? MERT_VALUES_BLOCK / width : 1;
    unsigned char *block = mert_array(mert_array_count(steps, width), mts_dtype_size(r->dtype));
    int rc = 0;
    if (!block)
        return mert_fail(e, "out of memory");
    for (int64_t at = 0, n; !rc && at < r->shape[0]; at += n) {
        n = mert_smaller(r->shape[0] - at, steps);
        for (int64_t done = 0, part; !rc && done < n * width; done += part) {
            part = mert_smaller(n * width - done, MERT_VALUES_BLOCK);
            rc = convert(a, m, r, at * width + done, part, block + (size_t)done * mts_dtype_size(r->dtype), e);
        }
        if (!rc && !m->nonfinite && mert_finite_check(r->dtype, block, n, width, at, e))
            rc = -1;
        if (!rc && mts_write_frames(w, block, n))
            rc = mert_fail(e, "%s", mts_writer_error(w));
    }
    free(block);
    return rc;
}

/* ---- records to arrays ---- */

mert_npy_type mert_npy_type_of(mts_dtype t)
{
    static const mert_npy_type types[MTS_DTYPES] = {
        [MTS_F32] = MERT_NPY_F32, [MTS_F16] = MERT_NPY_F16, [MTS_BF16] = MERT_NPY_F32,
        [MTS_I16] = MERT_NPY_I16, [MTS_U16] = MERT_NPY_U16, [MTS_I32] = MERT_NPY_I32};
    return types[t];
}

int mert_npy_append_frames(mert_npy_writer *w, const mts_record *r, const void *data, int64_t frames, mert_error *e)
{
    double wide[MERT_VALUES_BLOCK];
    float narrow[MERT_VALUES_BLOCK];
    const int64_t elements = frames * mts_record_width(r);
    if (r->dtype != MTS_BF16)
        return mert_npy_append(w, data, elements, e);
    for (int64_t at = 0, n; at < elements; at += n) {
        n = mert_smaller(elements - at, MERT_VALUES_BLOCK);
        mert_values_read(r->dtype, (const char *)data + 2 * at, n, wide);
        for (int64_t i = 0; i < n; i++)
            narrow[i] = (float)wide[i];
        if (mert_npy_append(w, narrow, n, e))
            return -1;
    }
    return 0;
}

/* File systems allow 255 bytes for a name; a hash and .npy must fit, too. */
enum { NAME_MOST = 255 - 31 };

/* Bytes of the UTF-8 character at p; 0: there is none that is printed as itself. */
static size_t character(const unsigned char *p)
{
    uint32_t c = *p;
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    static const uint32_t least[] = {0, 0x20, 0xa0, 0x800, 0x10000};
    c &= n > 1 ? 0x7fu >> n : 0x7f;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return n && c >= least[n] && c != 0x7f && !(c >= 0xd800 && c < 0xe000) && c < 0x110000 ? n : 0;
}

/* Bytes of the first part of a key: up to a slash between two parts that are not empty. */
static size_t first_part(const char *key)
{
    size_t n = strcspn(key, "/");
    while (key[n] && (!n || !key[n + 1] || key[n + 1] == '/'))
        n += 1 + strcspn(key + n + 1, "/");
    return n;
}

/* Writes one part to `to`; returns its end. */
static char *print_part(char *to, const char *part, size_t length)
{
    char *at = to;
    const int climbs = length && length <= 2 && strspn(part, ".") >= length;
    if (!length)
        *at++ = '%';
    for (size_t i = 0, n; i < length; i += n) {
        size_t whole = climbs ? 0 : character((const unsigned char *)part + i);
        const int plain = whole && part[i] != '%' && part[i] != '/';
        n = plain ? whole : 1;
        if ((size_t)(at - to) + (plain ? n : 3) > NAME_MOST)
            return at + sprintf(at, "~%016" PRIx64, mts_xxh64(part, length, 0));
        if (plain)
            at = (char *)memcpy(at, part + i, n) + n;
        else
            at += sprintf(at, "%%%02X", (unsigned char)part[i]);
    }
    return at;
}

char *mert_npy_tree_name(const char *key)
{
    /* a part that is cut has at least 75 bytes, and becomes at most 241 */
    char *to = malloc(4 * strlen(key) + 64), *at = to;
    while (to) {
        size_t n = first_part(key);
        at = print_part(at, key, n);
        key += n;
        if (!*key)
            break;
        *at++ = *key++;
    }
    if (to)
        strcpy(at, ".npy");
    return to;
}

void mert_npy_file_name(char *to, size_t size, const char *key)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+ ";
    const size_t most = size < 256 ? size - 32 : NAME_MOST;
    size_t n = 0;
    for (const char *p = key; *p; p++) {
        if (n + 3 > most) {
            n += (size_t)snprintf(to + n, size - n, "~%016" PRIx64, mts_xxh64(key, strlen(key), 0));
            break;
        }
        if (strchr(plain, *p) && !(*p == '.' && p == key))
            to[n++] = *p;
        else
            n += (size_t)snprintf(to + n, size - n, "%%%02X", (unsigned char)*p);
    }
    if (!n)
        n = (size_t)snprintf(to, size, "%%");
    snprintf(to + n, size - n, ".npy");
}
