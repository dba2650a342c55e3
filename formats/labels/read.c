#define _GNU_SOURCE
#include "formats/labels/labels.h"

#include "formats/array.h"
#include "formats/labels/array.h"
#include "formats/labels/meta.h"
#include "formats/labels/text.h"
#include "formats/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines and labels ---- */

typedef struct scan {
    const char *at, *end, *begin; /* within one line, without its line end */
} scan;

static int64_t offset_of(const mert_labels *l, int64_t row)
{
    return l->known ? l->known[row].offset : l->offset[row];
}

static scan scan_row(const mert_labels *l, int64_t row)
{
    const char *begin = l->text + offset_of(l, row);
    scan s = {begin, l->text + offset_of(l, row + 1), begin};
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

/* The class of the label at s->at..stop, or -1. */
static int64_t parse_label(const mert_labels *l, const scan *s, const char *stop, int64_t limit)
{
    int64_t v = 0;
    if (l->dict)
        return mert_label_dict_class(l->dict, s->at, (size_t)(stop - s->at));
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
    if (l->dict)
        return mert_fail(e, "%s:%" PRId64 ":%" PRId64 ": '%.*s' is none of the %" PRId64 " classes in %s", l->path,
                         row + 1, s->at - s->begin + 1, shown, s->at, mert_label_dict_classes(l->dict),
                         mert_label_dict_file(l->dict));
    return mert_fail(e, "%s:%" PRId64 ":%" PRId64 ": '%.*s' is no label (0 to %" PRId64 ")", l->path, row + 1,
                     s->at - s->begin + 1, shown, s->at, label_limit(l) - 1);
}

enum { LET_GO = 1 << 13 }; /* rows after which pages of the text may leave memory */

static void let_go(const mert_labels *l, size_t bytes)
{
    mert_mapping_forget(l->mapping, l->text, bytes);
}

int mert_labels_text_lines(mert_labels *l, size_t size, mert_error *e)
{
    const int mark = mert_text_mark(l->path, l->text, size, e);
    size_t rows = 0, at = mark > 0 ? (size_t)mark : 0;
    const char *stop;
    if (mark < 0)
        return -1;
    for (const char *p = l->text + mark, *end = l->text + size; p < end; p = stop + 1, rows++) {
        if (rows % LET_GO == 0)
            let_go(l, (size_t)(p - l->text));
        if (!(stop = memchr(p, '\n', (size_t)(end - p))))
            stop = end - 1;
    }
    if (!(l->offset = mert_array((int64_t)rows + 1, sizeof *l->offset)))
        return mert_fail(e, "%s: out of memory", l->path);
    let_go(l, size);
    for (l->rows = 0; at < size; l->rows++) {
        if (l->rows % LET_GO == 0)
            let_go(l, at);
        l->offset[l->rows] = (int64_t)at;
        stop = memchr(l->text + at, '\n', size - at);
        at = stop ? (size_t)(stop - l->text) + 1 : size;
    }
    l->offset[l->rows] = (int64_t)size;
    l->cut = l->rows > 0 && l->text[size - 1] != '\n';
    return 0;
}

int64_t mert_labels_text_most(const mert_labels *l, int64_t row)
{
    return (offset_of(l, row + 1) - offset_of(l, row) + 1) / 2;
}

int64_t mert_labels_text_row(const mert_labels *l, int64_t row, int32_t *to, int *bad)
{
    scan s = scan_row(l, row);
    const char *stop;
    int64_t n = 0, v;
    for (; (stop = next_token(&s)); s.at = stop, n++) {
        v = parse_label(l, &s, stop, (int64_t)1 << 31);
        *bad |= v < 0;
        to[n] = (int32_t)(v < 0 ? 0 : v);
    }
    return n;
}

static int check_lines(const mert_labels *l, int64_t *empty, mert_error *e)
{
    const char *stop;
    for (int64_t row = 0; row < l->rows; row++) {
        scan s = scan_row(l, row);
        int64_t n = 0;
        for (; (stop = next_token(&s)); s.at = stop, n++)
            if (parse_label(l, &s, stop, label_limit(l)) < 0)
                return bad_label(l, row, &s, stop, e);
        *empty += n == 0;
    }
    return 0;
}

static mert_mapping *mapping_of(const mert_labels *l)
{
    return l->npy ? &l->npy->mapping : l->mapping;
}

/* Compares the file's bytes with the hash in its .meta. */
static int check_bytes(const mert_labels *l, mert_error *e)
{
    const mert_mapping *map = mapping_of(l);
    const uint64_t hash = !l->meta.hash || !map ? 0
                          : l->known            ? mert_labels_index_facts(l)->bytes
                                                : mts_xxh64(map->data, map->size, 0);
    if (l->meta.hash && hash != l->meta.hash)
        return mert_fail(e,
                         "%s: damaged or changed since it was written: its hash is %016" PRIx64
                         ", %s.meta says %016" PRIx64
                         "; write the labels again, or, if they were changed on purpose, take out that line 'hash='",
                         l->path, hash, l->path, l->meta.hash);
    if (!l->meta.hash && l->verified && l->cut)
        return mert_fail(e,
                         "%s:%" PRId64 ": the last line has no end, so the file was cut (its .meta has no hash to tell "
                         "how); write the labels again, or, if it is whole, end its last line",
                         l->path, l->rows);
    return 0;
}

/* Compares the file with its .meta and dictionary. */
static int check(const mert_labels *l, mert_error *e)
{
    int64_t empty = 0;
    if (check_bytes(l, e))
        return -1;
    if (l->verified && l->rows != l->meta.rows)
        return mert_fail(e, "%s: has %" PRId64 " %s, but its .meta says %" PRId64 " rows", l->path, l->rows,
                         l->npy ? "rows" : "lines", l->meta.rows);
    if (l->known)
        empty = mert_labels_index_facts(l)->empty;
    else if (l->npy ? mert_labels_array_check(l, &empty, e) : check_lines(l, &empty, e))
        return -1;
    /* Items shorter than a frame have no labels either, so there can be more empty lines than failures, but not
     * fewer. */
    if (empty < l->meta.failed_rows)
        return mert_fail(e, "%s: has %" PRId64 " empty %s, but its .meta says that %" PRId64 " rows failed", l->path,
                         empty, l->npy ? "rows" : "lines", l->meta.failed_rows);
    return 0;
}

static int map_text(mert_labels *l, mert_error *e)
{
    mert_mapping *map = calloc(1, sizeof *map);
    if (!map)
        return mert_fail(e, "%s: out of memory", l->path);
    if (mert_mapping_open(map, l->path, e)) {
        free(map);
        return -1;
    }
    l->mapping = map;
    l->text = map->data ? (const char *)map->data : "";
    return 0;
}

/* Reads the dictionary, if there is one; it and the .meta must have the same number of classes. */
static int find_dict(mert_labels *l, mert_error *e)
{
    if (mert_label_dict_find(&l->dict, l->path, e) < 0)
        return -1;
    if (l->dict && l->verified && mert_label_dict_classes(l->dict) != l->meta.classes)
        return mert_fail(e, "%s: its .meta says %" PRId64 " classes, but %s lists %" PRId64, l->path, l->meta.classes,
                         mert_label_dict_file(l->dict), mert_label_dict_classes(l->dict));
    if (l->dict)
        l->meta.classes = mert_label_dict_classes(l->dict);
    return 0;
}

/* The first part of both ways of opening: everything but the rows of a text. */
static int begin(mert_labels *l, const char *path, mert_error *e)
{
    const int npy = mert_labels_is_npy(path);
    memset(l, 0, sizeof *l);
    l->meta.frame_rate_den = 1;
    if (!(l->path = strdup(path)))
        return mert_fail(e, "%s: out of memory", path);
    return (npy ? mert_labels_array_open(l, e) : map_text(l, e))
                   || (l->verified = mert_labels_meta_read(path, &l->meta, e)) < 0 || (!npy && find_dict(l, e))
               ? -1
               : 0;
}

static int finish(mert_labels *l, int bad, mert_error *e)
{
    if (bad || ((l->verified || l->dict) && check(l, e))) {
        mert_labels_close(l);
        return -1;
    }
    if (!l->verified)
        l->meta.rows = l->rows;
    return 0;
}

int mert_labels_open(mert_labels *l, const char *path, mert_error *e)
{
    return finish(l, begin(l, path, e) || (!l->npy && mert_labels_text_lines(l, mapping_of(l)->size, e)), e);
}

int mert_labels_open_indexed(mert_labels *l, const char *path, mert_index_keeping keeping, mert_error *e)
{
    return finish(l, begin(l, path, e) || mert_labels_index_find(l, keeping, e), e);
}

void mert_labels_close(mert_labels *l)
{
    if (l->mapping)
        mert_mapping_close(l->mapping);
    if (l->npy)
        mert_npy_close(l->npy);
    mert_label_dict_free(l->dict);
    if (l->index)
        mert_index_close(l->index);
    free(l->npy);
    free(l->mapping);
    free(l->index);
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
    if (l->known)
        return l->known[row].count;
    if (l->npy)
        return mert_labels_array_count(l, row);
    for (s = scan_row(l, row); (stop = next_token(&s)); s.at = stop)
        n++;
    return n;
}

int mert_labels_read_on(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
{
    const int64_t limit = label_limit(l);
    const char *stop;
    int64_t i = 0, v;
    if (c->row < 0 || c->row >= l->rows)
        return mert_fail(e, "%s: has %" PRId64 " rows, there is no row %" PRId64, l->path, l->rows, c->row);
    if (l->npy) {
        if (mert_labels_array_read(l, c->row, c->index, n, to, e))
            return -1;
        c->index += n;
        return 0;
    }
    scan s = scan_row(l, c->row);
    s.at = c->at ? c->at : s.begin;
    for (; i < n && (stop = next_token(&s)); s.at = stop, i++) {
        if (!to)
            continue;
        if ((v = parse_label(l, &s, stop, limit)) < 0)
            return bad_label(l, c->row, &s, stop, e);
        to[i] = (int32_t)v;
    }
    if (i < n)
        return mert_fail(e, "%s:%" PRId64 ": has %" PRId64 " labels, %" PRId64 " to %" PRId64 " were wanted", l->path,
                         c->row + 1, c->index + i, c->index, c->index + n - 1);
    c->index += n;
    c->at = s.at;
    return 0;
}

int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
{
    mert_labels_cursor c = {.row = row};
    if (l->npy)
        c.index = first;
    else if (first && row >= 0 && row < l->rows && mert_labels_read_on(l, &c, first, NULL, e))
        return mert_fail(e, "%s:%" PRId64 ": has %" PRId64 " labels, %" PRId64 " to %" PRId64 " were wanted", l->path,
                         row + 1, mert_labels_count(l, row), first, first + n - 1);
    return mert_labels_read_on(l, &c, n, to, e);
}

const char *mert_labels_line(const mert_labels *l, int64_t row, size_t *size)
{
    if (l->npy || row < 0 || row >= l->rows)
        return NULL;
    scan s = scan_row(l, row);
    *size = (size_t)(s.end - s.begin);
    return s.begin;
}

/* ---- several codebooks ---- */

static int same_items(const mert_labels *a, const mert_labels *b, mert_error *e)
{
    const mert_labels_meta *x = &a->meta, *y = &b->meta;
    if (a->rows != b->rows)
        return mert_fail(e, "%s has %" PRId64 " rows, %s has %" PRId64, a->path, a->rows, b->path, b->rows);
    if (x->frame_rate_num * y->frame_rate_den != y->frame_rate_num * x->frame_rate_den)
        return mert_fail(e, "%s has %" PRId64 "/%" PRId64 " labels per second, %s has %" PRId64 "/%" PRId64, a->path,
                         x->frame_rate_num, x->frame_rate_den, b->path, y->frame_rate_num, y->frame_rate_den);
    if (x->manifest && y->manifest && x->manifest != y->manifest)
        return mert_fail(e, "%s belongs to the manifest %016" PRIx64 ", %s to %016" PRIx64, a->path, x->manifest,
                         b->path, y->manifest);
    return 0;
}

int mert_labels_open_all(mert_labels **all, const char *pattern, mert_error *e)
{
    const int many = strstr(pattern, "%d") != NULL;
    int K = 0, bad = 0;
    if (!(*all = calloc(many ? MTS_CODEBOOKS_MAX : 1, sizeof **all)))
        return mert_fail(e, "%s: out of memory", pattern);
    do {
        char *name = mert_labels_name(pattern, K);
        if (name && K && access(name, F_OK)) {
            free(name);
            break;
        }
        if (!name)
            bad = mert_fail(e, "%s: out of memory", pattern);
        else if (K == MTS_CODEBOOKS_MAX)
            bad = mert_fail(e, "%s: more than %d codebooks", pattern, MTS_CODEBOOKS_MAX);
        else
            bad = mert_labels_open(&(*all)[K], name, e);
        K += !bad;
        bad = bad || (K > 1 && same_items(&(*all)[0], &(*all)[K - 1], e));
        free(name);
    } while (many && !bad);
    if (!bad)
        return K;
    mert_labels_close_all(*all, K);
    *all = NULL;
    return -1;
}

void mert_labels_close_all(mert_labels *all, int K)
{
    for (int k = 0; k < K; k++)
        mert_labels_close(&all[k]);
    free(all);
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
