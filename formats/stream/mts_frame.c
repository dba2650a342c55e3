#include "mts_frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* In the order of writing. */
enum field {
    F_STREAM, F_RECORD, F_ROW, F_KEY, F_KIND, F_DTYPE, F_SHAPE, F_SAMPLE_RATE, F_FRAME_RATE, F_CLASSES, F_MODEL,
    F_CHUNK, F_FRAMES, F_RAW, F_SIZE, F_DATA, F_CHUNKS, F_PAYLOAD, F_STAGE, F_REASON, F_COPY, F_RECORDS, F_FAILED,
    F_MANIFEST, F_INPUT, F_FIRST, F_END, F_TOTAL, F_VIA, FIELDS
};

#define BIT(field) (UINT32_C(1) << (field))

static const char *const names[FIELDS] = {
    "stream", "record", "row", "key", "kind", "dtype", "shape", "sample_rate", "frame_rate", "classes", "model",
    "chunk", "frames", "raw", "size", "data", "chunks", "payload", "stage", "reason", "copy", "records", "failed",
    "manifest", "input", "first", "end", "total", "via"};

/* All fields of a type are required, except the `optional` ones (only codes have classes, only streams without a
 * manifest have an input). via may be there several times. */
static const uint32_t optional = BIT(F_CLASSES) | BIT(F_INPUT) | BIT(F_VIA);
static const struct {
    const char *word;
    uint32_t fields;
} types[MTS_FRAME_TYPES] = {
    {"begin", BIT(F_MANIFEST) | BIT(F_INPUT) | BIT(F_FIRST) | BIT(F_END) | BIT(F_TOTAL) | BIT(F_VIA)},
    {"record", BIT(F_STREAM) | BIT(F_RECORD) | BIT(F_ROW) | BIT(F_KEY) | BIT(F_KIND) | BIT(F_DTYPE) | BIT(F_SHAPE)
                   | BIT(F_SAMPLE_RATE) | BIT(F_FRAME_RATE) | BIT(F_CLASSES) | BIT(F_MODEL)},
    {"chunk", BIT(F_STREAM) | BIT(F_RECORD) | BIT(F_ROW) | BIT(F_CHUNK) | BIT(F_FRAMES) | BIT(F_RAW) | BIT(F_SIZE)
                  | BIT(F_DATA)},
    {"done", BIT(F_STREAM) | BIT(F_RECORD) | BIT(F_ROW) | BIT(F_KEY) | BIT(F_FRAMES) | BIT(F_CHUNKS) | BIT(F_PAYLOAD)},
    {"failed", BIT(F_STREAM) | BIT(F_RECORD) | BIT(F_ROW) | BIT(F_KEY) | BIT(F_STAGE) | BIT(F_REASON) | BIT(F_COPY)},
    {"end", BIT(F_STREAM) | BIT(F_RECORDS) | BIT(F_CHUNKS) | BIT(F_FAILED)}};

static const char sum_line[] = "xxh64=0123456789abcdef\n";
enum { SUM_LINE = sizeof sum_line - 1 };
#define COUNT_MAX (INT64_MAX / 4) /* so that sums of counts do not overflow */

/* ---- writing ---- */

typedef struct text {
    char *at;
    size_t n; /* > MTS_TEXT_MAX: did not fit */
} text;

static void add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(text *t, const char *format, ...)
{
    va_list ap;
    size_t room = t->n <= MTS_TEXT_MAX ? MTS_TEXT_MAX - t->n : 0;
    char line[512];
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line || (size_t)n > room)
        t->n = MTS_TEXT_MAX + 1;
    else {
        memcpy(t->at + t->n, line, (size_t)n);
        t->n += (size_t)n;
    }
}

/* Percent escapes keep every value on its line and in ASCII. */
static void add_escaped(text *t, const char *name, const char *value, size_t size)
{
    add(t, "%s=", name);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c >= 0x20 && c < 0x7f && c != '%' && t->n < MTS_TEXT_MAX)
            t->at[t->n++] = (char)c;
        else
            add(t, "%%%02X", c);
    }
    add(t, "\n");
}

static void add_numbers(text *t, const char *name, const int64_t *x, int n)
{
    add(t, "%s=", name);
    for (int i = 0; i < n; i++)
        add(t, "%s%" PRId64, i ? "," : "", x[i]);
    add(t, "\n");
}

static void add_provenance(text *t, const char *lines)
{
    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        if (n)
            add_escaped(t, names[F_VIA], lines, n);
    }
}

static void put(text *t, const mts_frame *f, enum field field)
{
    const mts_record *r = &f->record;
    const char *name = names[field];
#define NUMBER(x) add(t, "%s=%" PRId64 "\n", name, (int64_t)(x)); break
#define HASH(x) add(t, "%s=%016" PRIx64 "\n", name, (x)); break
#define ESCAPED(x) add_escaped(t, name, (x), strlen(x)); break
    switch (field) {
    case F_STREAM: HASH(f->stream);
    case F_RECORD: NUMBER(f->number);
    case F_ROW: NUMBER(r->row);
    case F_KEY: ESCAPED(r->key);
    case F_KIND: ESCAPED(r->kind);
    case F_DTYPE: add(t, "%s=%s\n", name, mts_dtype_name(r->dtype)); break;
    case F_SHAPE: add_numbers(t, name, r->shape, r->ndim); break;
    case F_SAMPLE_RATE: NUMBER(r->sample_rate);
    case F_FRAME_RATE: add(t, "%s=%" PRId64 "/%" PRId64 "\n", name, r->frame_rate_num, r->frame_rate_den); break;
    case F_CLASSES:
        if (r->ncodebooks)
            add_numbers(t, name, r->classes, r->ncodebooks);
        break;
    case F_MODEL: HASH(r->model);
    case F_CHUNK: NUMBER(f->chunk);
    case F_FRAMES: NUMBER(f->frames);
    case F_RAW: NUMBER(f->raw);
    case F_SIZE: NUMBER(f->size);
    case F_DATA: HASH(f->data);
    case F_CHUNKS: NUMBER(f->chunks);
    case F_PAYLOAD: HASH(f->payload);
    case F_STAGE: ESCAPED(f->stage);
    case F_REASON: ESCAPED(f->reason);
    case F_COPY: NUMBER(f->copy);
    case F_RECORDS: NUMBER(f->records);
    case F_FAILED: NUMBER(f->failed);
    case F_MANIFEST: HASH(f->begin.manifest);
    case F_INPUT:
        if (f->begin.input)
            add(t, "%s=%016" PRIx64 "\n", name, f->begin.input);
        break;
    case F_FIRST: NUMBER(f->begin.row_first);
    case F_END: NUMBER(f->begin.row_end);
    case F_TOTAL: NUMBER(f->begin.rows_total);
    case F_VIA: add_provenance(t, f->begin.provenance); break;
    case FIELDS: break;
    }
#undef NUMBER
#undef HASH
#undef ESCAPED
}

static void put_u32(unsigned char *to, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(x >> 8 * i);
}

size_t mts_frame_write(mts_frame *f, unsigned char to[MTS_FRAME_HEAD + MTS_TEXT_MAX])
{
    text t = {(char *)to + MTS_FRAME_HEAD, 0};
    add(&t, "MTS%d %s\n", MTS_VERSION, types[f->type].word);
    for (int field = 0; field < FIELDS; field++)
        if (types[f->type].fields & BIT(field))
            put(&t, f, (enum field)field);
    if (t.n > MTS_TEXT_MAX - SUM_LINE)
        return 0;
    f->sum = mts_xxh64(t.at, t.n, 0);
    add(&t, "xxh64=%016" PRIx64 "\n", f->sum);
    put_u32(to, MTS_MAGIC);
    put_u32(to + 4, (uint32_t)t.n);
    return MTS_FRAME_HEAD + t.n;
}

/* ---- reading ---- */

long mts_frame_size(const unsigned char head[MTS_FRAME_HEAD])
{
    uint32_t word[2] = {0, 0};
    for (int i = 0; i < 8; i++)
        word[i / 4] |= (uint32_t)head[i] << 8 * (i % 4);
    return word[0] == MTS_MAGIC && word[1] >= MTS_TEXT_MIN && word[1] <= MTS_TEXT_MAX ? (long)word[1] : -1;
}

static int hash_parse(const char *s, uint64_t *to)
{
    *to = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef", *d = s[i] ? strchr(digits, s[i]) : NULL;
        if (!d)
            return -1;
        *to = *to << 4 | (uint64_t)(d - digits);
    }
    return 0;
}

int mts_frame_valid(const char *s, size_t size, int *version)
{
    uint64_t sum;
    if (size < MTS_TEXT_MIN || memcmp(s, "MTS", 3) || s[3] < '1' || s[3] > '9' || s[4] != ' ')
        return 0;
    const char *last = s + size - SUM_LINE;
    if (last[-1] != '\n' || memcmp(last, sum_line, 6) || last[SUM_LINE - 1] != '\n' || hash_parse(last + 6, &sum)
        || sum != mts_xxh64(s, size - SUM_LINE, 0))
        return 0;
    *version = s[3] - '0';
    return 1;
}

static int number_parse(const char *s, char **end, int64_t *to)
{
    if (*s != '-' && (*s < '0' || *s > '9'))
        return -1;
    errno = 0;
    long long x = strtoll(s, end, 10);
    *to = x;
    return errno ? -1 : 0;
}

static int number(const char *s, int64_t min, int64_t max, int64_t *to)
{
    char *end;
    return number_parse(s, &end, to) || *end || *to < min || *to > max ? -1 : 0;
}

/* Parses "12,-1,7" and returns the number of values, or -1. */
static int numbers(const char *s, int64_t *to, int max)
{
    for (int n = 0; n < max;) {
        char *end;
        if (number_parse(s, &end, &to[n]))
            return -1;
        n++;
        if (!*end)
            return n;
        if (*end != ',')
            return -1;
        s = end + 1;
    }
    return -1;
}

static int unescape(const char *s, char *to, size_t room)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *s; s++) {
        int c = (unsigned char)*s;
        if (c < 0x20 || c >= 0x7f)
            return -1;
        if (c == '%') {
            const char *high = s[1] ? strchr(digits, s[1]) : NULL, *low = high && s[2] ? strchr(digits, s[2]) : NULL;
            if (!low)
                return -1;
            c = (int)(16 * (high - digits) + (low - digits));
            s += 2;
        }
        if (!c || n + 1 >= room)
            return -1;
        to[n++] = (char)c;
    }
    to[n] = 0;
    return 0;
}

static int frame_rate(const char *s, mts_record *r)
{
    char *end;
    if (number_parse(s, &end, &r->frame_rate_num) || *end != '/')
        return -1;
    return number(end + 1, 1, INT32_MAX, &r->frame_rate_den);
}

static int provenance(const char *s, char *lines)
{
    size_t n = strlen(lines);
    if (unescape(s, lines + n, MTS_PROVENANCE_MAX - n))
        return -1;
    n += strlen(lines + n);
    if (n + 1 >= MTS_PROVENANCE_MAX)
        return -1;
    lines[n] = '\n';
    lines[n + 1] = 0;
    return 0;
}

static int get(mts_frame *f, enum field field, const char *s)
{
    mts_record *r = &f->record;
    mts_begin *b = &f->begin;
    switch (field) {
    case F_STREAM: return strlen(s) != 16 || hash_parse(s, &f->stream);
    case F_RECORD: return number(s, 0, COUNT_MAX, &f->number);
    case F_ROW: return number(s, -1, COUNT_MAX, &r->row);
    case F_KEY: return unescape(s, r->key, sizeof r->key);
    case F_KIND: return unescape(s, r->kind, sizeof r->kind);
    case F_DTYPE: {
        int t = mts_dtype_parse(s);
        r->dtype = t < 0 ? MTS_F32 : (mts_dtype)t;
        return t < 0;
    }
    case F_SHAPE: return (r->ndim = numbers(s, r->shape, MTS_NDIM_MAX)) < 0;
    case F_SAMPLE_RATE: return number(s, 0, INT32_MAX, &r->sample_rate);
    case F_FRAME_RATE: return frame_rate(s, r);
    case F_CLASSES: return (r->ncodebooks = numbers(s, r->classes, MTS_CODEBOOKS_MAX)) < 0;
    case F_MODEL: return strlen(s) != 16 || hash_parse(s, &r->model);
    case F_CHUNK: return number(s, 0, COUNT_MAX, &f->chunk);
    case F_FRAMES: return number(s, 0, COUNT_MAX, &f->frames);
    case F_RAW: return number(s, 1, MTS_CHUNK_MAX, &f->raw);
    case F_SIZE: return number(s, 1, 2 * (int64_t)MTS_CHUNK_MAX, &f->size);
    case F_DATA: return strlen(s) != 16 || hash_parse(s, &f->data);
    case F_CHUNKS: return number(s, 0, COUNT_MAX, &f->chunks);
    case F_PAYLOAD: return strlen(s) != 16 || hash_parse(s, &f->payload);
    case F_STAGE: return unescape(s, f->stage, sizeof f->stage);
    case F_REASON: return unescape(s, f->reason, sizeof f->reason);
    case F_COPY: return number(s, 1, 2, &f->copy);
    case F_RECORDS: return number(s, 0, COUNT_MAX, &f->records);
    case F_FAILED: return number(s, 0, COUNT_MAX, &f->failed);
    case F_MANIFEST: return strlen(s) != 16 || hash_parse(s, &b->manifest);
    case F_INPUT: return strlen(s) != 16 || hash_parse(s, &b->input);
    case F_FIRST: return number(s, -1, COUNT_MAX, &b->row_first);
    case F_END: return number(s, -1, COUNT_MAX, &b->row_end);
    case F_TOTAL: return number(s, -1, COUNT_MAX, &b->rows_total);
    case F_VIA: return provenance(s, b->provenance);
    case FIELDS: break;
    }
    return -1;
}

static int field_find(const char *line, size_t name)
{
    for (int i = 0; i < FIELDS; i++)
        if (strlen(names[i]) == name && !memcmp(names[i], line, name))
            return i;
    return -1;
}

static int type_find(const char *word, size_t size)
{
    for (int i = 0; i < MTS_FRAME_TYPES; i++)
        if (strlen(types[i].word) == size && !memcmp(types[i].word, word, size))
            return i;
    return -1;
}

/* Checks the fields of a frame against each other. */
static int check(const mts_frame *f, mts_why *why)
{
    switch (f->type) {
    case MTS_FRAME_BEGIN: return mts_begin_check(&f->begin, why);
    case MTS_FRAME_RECORD: return mts_record_check(&f->record, why);
    case MTS_FRAME_CHUNK: return f->frames > 0 ? 0 : mts_because(why, "a chunk of no frames");
    default: return 0;
    }
}

int mts_frame_parse(mts_frame *f, const char *s, size_t size, mts_why *why)
{
    const char *end = s + size - SUM_LINE, *newline = memchr(s, '\n', size), *line;
    char value[3 * MTS_PROVENANCE_MAX + 1];
    uint32_t seen = 0;
    int type = type_find(s + 5, (size_t)(newline - s - 5));
    if (type < 0)
        return mts_because(why, "a frame of unknown type");
    f->type = (mts_frame_type)type;
    hash_parse(end + 6, &f->sum);
    f->record.ncodebooks = 0;
    f->begin.provenance[0] = 0;
    f->begin.input = 0;
    for (line = newline + 1; line < end; line = newline + 1) {
        newline = memchr(line, '\n', (size_t)(end - line));
        const char *equals = memchr(line, '=', (size_t)(newline - line));
        int field = equals ? field_find(line, (size_t)(equals - line)) : -1;
        if (field < 0 || !(types[type].fields & BIT(field)))
            continue; /* a field of a later version */
        size_t n = (size_t)(newline - equals - 1);
        if (n < sizeof value) {
            memcpy(value, equals + 1, n);
            value[n] = 0;
        }
        if (n >= sizeof value || strlen(value) != n || ((seen & BIT(field)) && field != F_VIA)
            || get(f, (enum field)field, value))
            return mts_because(why, "%s frame with a bad %s", types[type].word, names[field]);
        seen |= BIT(field);
    }
    for (int field = 0; field < FIELDS; field++)
        if (types[type].fields & ~optional & ~seen & BIT(field))
            return mts_because(why, "%s frame without %s", types[type].word, names[field]);
    return check(f, why);
}
