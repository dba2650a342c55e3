#include "mts_frame.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

int mts_because(mts_why *why, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    return -1;
}

static const struct {
    const char *name;
    size_t size;
} dtypes[MTS_DTYPES] = {{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"i16", 2}, {"u16", 2}, {"i32", 4}};

size_t mts_dtype_size(mts_dtype t)
{
    return (unsigned)t < MTS_DTYPES ? dtypes[t].size : 0;
}

const char *mts_dtype_name(mts_dtype t)
{
    return (unsigned)t < MTS_DTYPES ? dtypes[t].name : "?";
}

int mts_dtype_parse(const char *name)
{
    for (int i = 0; i < MTS_DTYPES; i++)
        if (!strcmp(name, dtypes[i].name))
            return i;
    return -1;
}

int64_t mts_record_width(const mts_record *r)
{
    int64_t n = 1;
    for (int i = 1; i < r->ndim; i++)
        n *= r->shape[i];
    return n;
}

size_t mts_record_step(const mts_record *r)
{
    return (size_t)mts_record_width(r) * mts_dtype_size(r->dtype);
}

static int ended(const char *s, size_t room)
{
    return memchr(s, 0, room) != NULL;
}

static int shape_check(const mts_record *r, mts_why *why)
{
    int64_t step = (int64_t)mts_dtype_size(r->dtype);
    if (r->ndim < 1 || r->ndim > MTS_NDIM_MAX)
        return mts_because(why, "%d axes, 1 to %d are possible", r->ndim, MTS_NDIM_MAX);
    for (int i = 1; i < r->ndim; i++) {
        if (r->shape[i] < 1)
            return mts_because(why, "axis %d of length %" PRId64, i, r->shape[i]);
        if (r->shape[i] > MTS_CHUNK_MAX / step)
            return mts_because(why, "one time step is larger than %d bytes", MTS_CHUNK_MAX);
        step *= r->shape[i];
    }
    if (r->shape[0] < -1 || r->shape[0] > INT64_C(1) << MTS_STEPS_LOG || r->shape[0] > INT64_MAX / step)
        return mts_because(why, "%" PRId64 " time steps", r->shape[0]);
    return 0;
}

static int classes_check(const mts_record *r, mts_why *why)
{
    int codes = !strcmp(r->kind, "codes");
    if (!codes && r->ncodebooks)
        return mts_because(why, "classes given for kind %s", r->kind);
    if (!codes)
        return 0;
    if (r->dtype != MTS_I16 && r->dtype != MTS_U16 && r->dtype != MTS_I32)
        return mts_because(why, "codes of type %s", mts_dtype_name(r->dtype));
    if (r->ndim != 2 || r->ncodebooks < 1 || r->ncodebooks > MTS_CODEBOOKS_MAX || r->shape[1] != r->ncodebooks)
        return mts_because(why, "codes must be [T, K] with classes for each of K codebooks, K at most %d",
                           MTS_CODEBOOKS_MAX);
    for (int i = 0; i < r->ncodebooks; i++)
        if (r->classes[i] < 1 || r->classes[i] > INT32_MAX)
            return mts_because(why, "codebook %d of %" PRId64 " classes", i, r->classes[i]);
    return 0;
}

int mts_record_check(const mts_record *r, mts_why *why)
{
    if (!ended(r->kind, sizeof r->kind) || !ended(r->key, sizeof r->key))
        return mts_because(why, "kind or key without an end");
    if (!r->kind[0] || strspn(r->kind, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(r->kind))
        return mts_because(why, "kind \"%s\" is no word of a-z, 0-9, _ and -", r->kind);
    if ((unsigned)r->dtype >= MTS_DTYPES)
        return mts_because(why, "element type number %d", (int)r->dtype);
    if (shape_check(r, why))
        return -1;
    if (r->row < -1)
        return mts_because(why, "row %" PRId64, r->row);
    if (r->sample_rate < 0 || r->sample_rate > INT32_MAX)
        return mts_because(why, "sample rate %" PRId64, r->sample_rate);
    if (r->frame_rate_num < 0 || r->frame_rate_den < 1 || r->frame_rate_num > INT32_MAX
        || r->frame_rate_den > INT32_MAX)
        return mts_because(why, "frame rate %" PRId64 "/%" PRId64, r->frame_rate_num, r->frame_rate_den);
    return classes_check(r, why);
}

int mts_record_possible(const mts_record *r, char *why, size_t size)
{
    mts_record x = *r;
    mts_why because;
    if (!x.frame_rate_num && !x.frame_rate_den)
        x.frame_rate_den = 1;
    if (!mts_record_check(&x, &because))
        return 0;
    snprintf(why, size, "%s", because.text);
    return -1;
}

int mts_begin_check(const mts_begin *b, mts_why *why)
{
    if (!ended(b->provenance, sizeof b->provenance))
        return mts_because(why, "provenance without an end");
    if (b->row_first < -1 || b->row_end < b->row_first || (b->row_first < 0) != (b->row_end < 0))
        return mts_because(why, "rows %" PRId64 " to %" PRId64, b->row_first, b->row_end);
    if (b->rows_total < -1 || (b->rows_total >= 0 && b->row_end > b->rows_total))
        return mts_because(why, "rows up to %" PRId64 " of %" PRId64, b->row_end, b->rows_total);
    return 0;
}
