#include "formats/labels/text.h"

#include "formats/array.h"
#include "formats/labels/index.h"
#include "formats/text.h"

#include <inttypes.h>
#include <string.h>

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

int mert_labels_text_check(const mert_labels *l, int64_t *empty, mert_error *e)
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

int64_t mert_labels_text_count(const mert_labels *l, int64_t row)
{
    scan s = scan_row(l, row);
    const char *stop;
    int64_t n = 0;
    for (; (stop = next_token(&s)); s.at = stop)
        n++;
    return n;
}

int mert_labels_text_read(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
{
    const int64_t limit = label_limit(l);
    scan s = scan_row(l, c->row);
    const char *stop;
    int64_t i = 0, v;
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

const char *mert_labels_text_line(const mert_labels *l, int64_t row, size_t *size)
{
    scan s = scan_row(l, row);
    *size = (size_t)(s.end - s.begin);
    return s.begin;
}
