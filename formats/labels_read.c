#define _GNU_SOURCE
#include "labels.h"

#include "file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- NAME.meta ---- */

enum { META_MAX = 1 << 16 };
enum { HAS_CLASSES = 1, HAS_RATE = 2, HAS_CODEBOOK = 4, HAS_INDEX = 8, HAS_MANIFEST = 16, HAS_ROWS = 32,
       HAS_FAILED = 64 };

static int parse_int(const char *s, int64_t min, int64_t max, int64_t *to)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno || v < min || v > max)
        return -1;
    *to = v;
    return 0;
}

static int parse_hash(const char *s, uint64_t *to)
{
    if (strlen(s) != 16 || strspn(s, "0123456789abcdef") != 16)
        return -1;
    *to = strtoull(s, NULL, 16);
    return 0;
}

static int parse_rate(char *s, mert_labels_meta *m)
{
    char *slash = strchr(s, '/');
    if (!slash)
        return -1;
    *slash = 0;
    return parse_int(s, 0, INT32_MAX, &m->frame_rate_num) || parse_int(slash + 1, 1, INT32_MAX, &m->frame_rate_den);
}

/* Which field a key is, and its value read; 0: another key, -1: a value that cannot be. */
static int parse_field(mert_labels_meta *m, const char *key, char *value)
{
    static const char *const keys[] = {"classes",  "frame_rate", "codebook",   "codebook_index",
                                       "manifest", "rows",       "failed_rows"};
    size_t i = 0;
    int bad;
    while (i < sizeof keys / sizeof *keys && strcmp(keys[i], key))
        i++;
    switch (1 << i) {
    case HAS_CLASSES: bad = parse_int(value, 1, INT32_MAX, &m->classes); break;
    case HAS_RATE: bad = parse_rate(value, m); break;
    case HAS_CODEBOOK: bad = parse_hash(value, &m->codebook); break;
    case HAS_INDEX: bad = parse_int(value, 0, MTS_CODEBOOKS_MAX - 1, &m->codebook_index); break;
    case HAS_MANIFEST: bad = parse_hash(value, &m->manifest); break;
    case HAS_ROWS: bad = parse_int(value, 0, INT64_MAX, &m->rows); break;
    case HAS_FAILED: bad = parse_int(value, 0, INT64_MAX, &m->failed_rows); break;
    default: return 0;
    }
    return bad ? -1 : 1 << i;
}

static int parse_meta(mert_labels_meta *m, char *text, const char *path, mert_error *e)
{
    char *line, *next = text, *equals;
    int seen = 0, got;
    for (int number = 1; (line = strsep(&next, "\n")); number++) {
        line[strcspn(line, "\r")] = 0;
        if (!*line)
            continue;
        if (!(equals = strchr(line, '=')))
            return mert_fail(e, "%s:%d: not key=value: '%.60s'", path, number, line);
        *equals = 0;
        got = parse_field(m, line, equals + 1);
        if (got < 0)
            return mert_fail(e, "%s:%d: '%.60s' cannot be the value of %s", path, number, equals + 1, line);
        if (seen & got)
            return mert_fail(e, "%s:%d: %s for the second time", path, number, line);
        seen |= got;
    }
    if (!(seen & HAS_CLASSES) || !(seen & HAS_ROWS))
        return mert_fail(e, "%s: says nothing about %s", path, seen & HAS_CLASSES ? "rows" : "classes");
    return 0;
}

/* 1: read, 0: there is none, -1: error. */
static int read_meta(mert_labels *l, mert_error *e)
{
    char *path, *text;
    int bad;
    if (asprintf(&path, "%s.meta", l->path) < 0)
        return mert_fail(e, "%s: out of memory", l->path);
    if (access(path, F_OK) && errno == ENOENT) {
        free(path);
        return 0;
    }
    text = mert_file_read(path, META_MAX, NULL, e);
    bad = !text || parse_meta(&l->meta, text, path, e);
    free(text);
    free(path);
    return bad ? -1 : 1;
}

/* ---- lines and labels ---- */

typedef struct scan {
    const char *at, *end, *begin; /* within one line, its line end left out */
} scan;

static scan scan_row(const mert_labels *l, int64_t row)
{
    scan s = {l->text + l->offset[row], l->text + l->offset[row + 1], l->text + l->offset[row]};
    if (s.end > s.begin && s.end[-1] == '\n')
        s.end--;
    if (s.end > s.begin && s.end[-1] == '\r')
        s.end--;
    return s;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next token's end, with s->at at its beginning; NULL: no more. */
static const char *next_token(scan *s)
{
    const char *p;
    while (s->at < s->end && is_blank(*s->at))
        s->at++;
    for (p = s->at; p < s->end && !is_blank(*p); p++)
        ;
    return p == s->at ? NULL : p;
}

/* The label at s->at..stop, or -1. */
static int64_t parse_label(const scan *s, const char *stop, int64_t limit)
{
    int64_t v = 0;
    for (const char *p = s->at; p < stop; p++) {
        if (*p < '0' || *p > '9' || (v = 10 * v + (*p - '0')) >= limit)
            return -1;
    }
    return v;
}

static int64_t label_limit(const mert_labels *l)
{
    return l->meta.classes ? l->meta.classes : (int64_t)1 << 31;
}

static int bad_label(const mert_labels *l, int64_t row, const scan *s, const char *stop, mert_error *e)
{
    int shown = (int)(stop - s->at > 40 ? 40 : stop - s->at);
    return mert_fail(e, "%s:%" PRId64 ":%lld: '%.*s' is no label (0 to %" PRId64 ")", l->path, row + 1,
                     (long long)(s->at - s->begin + 1), shown, s->at, label_limit(l) - 1);
}

static int find_lines(mert_labels *l, size_t size, mert_error *e)
{
    size_t rows = 0, at = 0;
    const char *stop;
    for (const char *p = l->text, *end = l->text + size; p < end; p = stop + 1, rows++)
        if (!(stop = memchr(p, '\n', (size_t)(end - p))))
            stop = end - 1;
    if (!(l->offset = malloc((rows + 1) * sizeof *l->offset)))
        return mert_fail(e, "%s: out of memory", l->path);
    for (l->rows = 0; at < size; l->rows++) {
        l->offset[l->rows] = (int64_t)at;
        stop = memchr(l->text + at, '\n', size - at);
        at = stop ? (size_t)(stop - l->text) + 1 : size;
    }
    l->offset[l->rows] = (int64_t)size;
    return 0;
}

static int check_against_meta(mert_labels *l, mert_error *e)
{
    int64_t empty = 0, limit = label_limit(l);
    const char *stop;
    if (l->rows != l->meta.rows)
        return mert_fail(e, "%s: has %" PRId64 " lines, but its .meta says %" PRId64 " rows", l->path, l->rows,
                         l->meta.rows);
    for (int64_t row = 0; row < l->rows; row++) {
        scan s = scan_row(l, row);
        int64_t n = 0;
        for (; (stop = next_token(&s)); s.at = stop, n++)
            if (parse_label(&s, stop, limit) < 0)
                return bad_label(l, row, &s, stop, e);
        empty += n == 0;
    }
    /* An item shorter than a frame has no labels either: there may be more empty lines than failures, not fewer. */
    if (empty < l->meta.failed_rows)
        return mert_fail(e, "%s: has %" PRId64 " empty lines, but its .meta says that %" PRId64 " rows failed", l->path,
                         empty, l->meta.failed_rows);
    return 0;
}

int mert_labels_open(mert_labels *l, const char *path, mert_error *e)
{
    mert_mapping *map = calloc(1, sizeof *map);
    memset(l, 0, sizeof *l);
    l->meta.frame_rate_den = 1;
    if (!map || !(l->path = strdup(path))) {
        free(map);
        return mert_fail(e, "%s: out of memory", path);
    }
    if (mert_mapping_open(map, path, e)) {
        free(map);
        goto fail;
    }
    l->mapping = map;
    l->text = map->data ? (const char *)map->data : "";
    if (find_lines(l, map->size, e) || (l->verified = read_meta(l, e)) < 0 || (l->verified && check_against_meta(l, e)))
        goto fail;
    if (!l->verified)
        l->meta.rows = l->rows;
    return 0;
fail:
    mert_labels_close(l);
    return -1;
}

void mert_labels_close(mert_labels *l)
{
    if (l->mapping)
        mert_mapping_close(l->mapping);
    free(l->mapping);
    free(l->offset);
    free(l->path);
    memset(l, 0, sizeof *l);
}

int64_t mert_labels_count(const mert_labels *l, int64_t row)
{
    scan s;
    const char *stop;
    int64_t n = 0;
    if (row < 0 || row >= l->rows)
        return 0;
    for (s = scan_row(l, row); (stop = next_token(&s)); s.at = stop)
        n++;
    return n;
}

int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
{
    int64_t limit = label_limit(l), i, v;
    const char *stop;
    scan s;
    if (row < 0 || row >= l->rows)
        return mert_fail(e, "%s: has %" PRId64 " rows, there is no row %" PRId64, l->path, l->rows, row);
    s = scan_row(l, row);
    for (i = 0; i < first + n && (stop = next_token(&s)); s.at = stop, i++) {
        if (i < first)
            continue;
        if ((v = parse_label(&s, stop, limit)) < 0)
            return bad_label(l, row, &s, stop, e);
        to[i - first] = (int32_t)v;
    }
    if (i < first + n)
        return mert_fail(e, "%s:%" PRId64 ": has %" PRId64 " labels, %" PRId64 " to %" PRId64 " were wanted", l->path,
                         row + 1, i, first, first + n - 1);
    return 0;
}

int mert_labels_match(const mert_labels *l, const mert_manifest *m, int64_t sample_rate, int64_t frame_rate_num,
                      int64_t frame_rate_den, int64_t tolerance, mert_error *e)
{
    int64_t num = frame_rate_num, unit;
    if (l->rows != m->n)
        return mert_fail(e, "%s: has %" PRId64 " rows, but the manifest has %" PRId64, l->path, l->rows, m->n);
    if (l->meta.manifest && m->hash && l->meta.manifest != m->hash)
        return mert_fail(e, "%s: belongs to the manifest %016" PRIx64 ", this one is %016" PRIx64, l->path,
                         l->meta.manifest, m->hash);
    if (!num) {
        num = l->meta.frame_rate_num;
        frame_rate_den = l->meta.frame_rate_den;
    }
    if (!num || sample_rate <= 0)
        return 0;
    unit = sample_rate * frame_rate_den; /* `unit` samples carry `num` labels */
    for (int64_t row = 0; row < l->rows; row++) {
        int64_t n = mert_labels_count(l, row), samples = m->rows[row].samples;
        int64_t fit = samples / unit * num + (int64_t)((double)(samples % unit) * (double)num / (double)unit);
        if (n && (n < fit - tolerance || n > fit + tolerance))
            return mert_fail(e,
                             "%s:%" PRId64 ": %s has %" PRId64 " labels, but its %" PRId64 " samples make %" PRId64
                             " at %" PRId64 "/%" PRId64 " per second",
                             l->path, row + 1, m->rows[row].path, n, samples, fit, num, frame_rate_den);
    }
    return 0;
}
