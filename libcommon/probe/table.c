#include "libcommon/probe/table.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "formats/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MAX = 256, FILE_MAX = 1 << 30 };

/* The numbers of the fields in a line; -1: none. */
typedef struct columns {
    int n, key, start, end, label, split, group;
} columns;

/* Splits a line at its tabs. Returns the number of fields, FIELDS_MAX + 1 if there are more. */
static int cut(char *line, char *field[FIELDS_MAX])
{
    for (int n = 0; n < FIELDS_MAX;) {
        field[n++] = line;
        line = strchr(line, '\t');
        if (!line)
            return n;
        *line++ = 0;
    }
    return FIELDS_MAX + 1;
}

static int name_columns(columns *c, char **field, int n, const char *label, const char *path, mert_error *e)
{
    const struct { const char *name; int *to; } known[] = {{"key", &c->key},     {"start", &c->start}, {"end", &c->end},
                 {"split", &c->split}, {"group", &c->group}, {label, &c->label}};
    *c = (columns){n, -1, -1, -1, -1, -1, -1};
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (!strcmp(field[i], known[k].name)) {
                if (*known[k].to >= 0)
                    return mert_fail(e, "%s: line 1: column '%s' is there twice", path, known[k].name);
                *known[k].to = i;
            }
    if (c->label < 0)
        return mert_fail(e, "%s: line 1 names no column '%s'", path, label);
    if ((c->start < 0) != (c->end < 0))
        return mert_fail(e, "%s: line 1 names a column '%s' without '%s'", path, c->start < 0 ? "end" : "start",
                         c->start < 0 ? "start" : "end");
    return 0;
}

/* Finds the columns from the first line. *header: it is a line of names. */
static int find_columns(columns *c, char **field, int n, const char *column, int *header, const char *path,
                        mert_error *e)
{
    *header = n > 1 && n <= FIELDS_MAX && !strcmp(field[0], "key");
    for (int i = 0; *header && i < n; i++)
        field[i] = mert_text_trim(field[i]);
    if (*header)
        return name_columns(c, field, n, column ? column : "label", path, e);
    if (column)
        return mert_fail(e, "%s: line 1 does not begin with 'key': there are no named columns to find '%s' in", path,
                         column);
    if (n == 2)
        *c = (columns){2, 0, -1, -1, 1, -1, -1};
    else if (n == 4)
        *c = (columns){4, 0, 1, 2, 3, -1, -1};
    else
        return mert_fail(
            e,
            "%s: line 1 has %s%d field%s, not key<TAB>label or key<TAB>start<TAB>end<TAB>label, and names no columns",
            path, n > FIELDS_MAX ? "more than " : "", n > FIELDS_MAX ? FIELDS_MAX : n, n == 1 ? "" : "s");
    return 0;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* %XX to bytes, in place. */
static int unescape(char *s)
{
    char *to = s;
    for (; *s; s++, to++) {
        int high, low;
        *to = *s;
        if (*s != '%')
            continue;
        if ((high = hex(s[1])) < 0 || (low = hex(s[2])) < 0 || high + low == 0)
            return -1;
        *to = (char)(16 * high + low);
        s += 2;
    }
    *to = 0;
    return 0;
}

static int seconds(const char *s, double *to)
{
    char *stop;
    *to = strtod(s, &stop);
    return stop == s || *stop || !(*to >= 0 && *to < 1e12);
}

static int read_row(mert_probe_row *r, const columns *c, char **field, const char *path, int64_t line, mert_error *e)
{
    static const char *const parts[] = {"train", "valid", "test"};
    for (int i = 0; i < c->n; i++)
        if (i != c->key) /* keys are paths */
            field[i] = mert_text_trim(field[i]);
    *r = (mert_probe_row){.key = field[c->key],
                          .label = field[c->label],
                          .end = INFINITY,
                          .path = path,
                          .line = line,
                          .part = MERT_PROBE_OUT};
    if (unescape(field[c->key]))
        return mert_fail(
            e, "%s: line %" PRId64 ": a %% in a key is not followed by two hexadecimal digits (a %% itself is %%25)",
            path, line);
    if (!*r->key)
        return mert_fail(e, "%s: line %" PRId64 ": the key is empty", path, line);
    r->group = c->group >= 0 ? field[c->group] : r->key;
    if (c->start >= 0) {
        if (seconds(field[c->start], &r->start) || seconds(field[c->end], &r->end))
            return mert_fail(e, "%s: line %" PRId64 ": '%.40s' is no time in seconds", path, line,
                             field[seconds(field[c->start], &r->start) ? c->start : c->end]);
        if (!(r->end > r->start))
            return mert_fail(e, "%s: line %" PRId64 ": the span ends at %g s, but begins at %g s", path, line, r->end,
                             r->start);
    }
    if (c->split < 0)
        return 0;
    for (int i = 0; i < 3; i++)
        if (!strcmp(field[c->split], parts[i]))
            r->part = (mert_probe_part)i;
    if (r->part == MERT_PROBE_OUT)
        return mert_fail(e, "%s: line %" PRId64 ": split '%.40s' is none of train, valid and test", path, line,
                         field[c->split]);
    return 0;
}

static int compare(const void *pa, const void *pb)
{
    const mert_probe_row *a = pa, *b = pb;
    int order = strcmp(a->key, b->key);
    if (order)
        return order;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->line > b->line) - (a->line < b->line);
}

/* Checks that the rows of each item, which are adjacent now, agree. */
static int check_items(const mert_probe_table *t, mert_error *e)
{
    for (int64_t i = 1; i < t->n; i++) {
        const mert_probe_row *a = &t->rows[i - 1], *b = &t->rows[i];
        if (strcmp(a->key, b->key))
            continue;
        if (!t->spans)
            return mert_fail(e, "%s: line %" PRId64 ": '%.200s' is there already, in line %" PRId64, b->path, b->line,
                             b->key, a->line);
        if (a->part != b->part || strcmp(a->group, b->group))
            return mert_fail(e, "%s: '%.200s' has another %s in line %" PRId64 " than in line %" PRId64, b->path,
                             b->key, a->part != b->part ? "split" : "group", b->line, a->line);
    }
    return 0;
}

int mert_probe_table_sort(mert_probe_table *t, mert_error *e)
{
    qsort(t->rows, (size_t)t->n, sizeof *t->rows, compare);
    return check_items(t, e);
}

static int read_lines(mert_probe_table *t, size_t size, const char *column, mert_error *e)
{
    char *field[FIELDS_MAX], *line;
    columns c = {0};
    mert_text text;
    int header = 0, got;
    if (mert_text_open(&text, t->path, t->texts[0], size, e))
        return -1;
    while ((got = mert_text_line(&text, &line, e)) > 0) {
        const int64_t number = text.number;
        int n = cut(line, field);
        if (number == 1) {
            if (find_columns(&c, field, n, column, &header, t->path, e))
                return -1;
            t->spans = c.start >= 0;
            t->splits = c.split >= 0;
            if (header)
                continue;
        }
        if (n != c.n)
            return mert_fail(e, "%s: line %" PRId64 " has %d field%s, the first one has %d", t->path, number, n,
                             n == 1 ? "" : "s", c.n);
        if (read_row(&t->rows[t->n], &c, field, t->path, number, e))
            return -1;
        t->n++;
    }
    if (got < 0)
        return -1;
    if (!t->n)
        return mert_fail(e, "%s: no labels in it", t->path);
    return mert_probe_table_sort(t, e);
}

int mert_probe_table_read(mert_probe_table *t, const char *path, const char *column, mert_error *e)
{
    size_t size, lines = 1;
    char *text;
    *t = (mert_probe_table){.path = path};
    text = mert_file_read(path, FILE_MAX, &size, e);
    t->texts = text ? mert_array(1, sizeof *t->texts) : NULL;
    if (!t->texts) {
        free(text);
        return text ? mert_fail(e, "out of memory") : -1;
    }
    t->texts[t->n_texts++] = text;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    t->rows = mert_array((int64_t)lines, sizeof *t->rows);
    if (t->rows ? read_lines(t, size, column, e) : mert_fail(e, "out of memory")) {
        mert_probe_table_free(t);
        return -1;
    }
    return 0;
}

void mert_probe_table_free(mert_probe_table *t)
{
    free(t->rows);
    for (int64_t i = 0; i < t->n_texts; i++)
        free(t->texts[i]);
    free(t->texts);
    t->rows = NULL;
    t->texts = NULL;
    t->n = t->n_texts = 0;
}

int mert_probe_table_chords(mert_probe_table *t, mert_chord_rule rule, int64_t *out, mert_error *e)
{
    char **more = mert_array_resize(t->texts, t->n_texts + 1, sizeof *more);
    char(*to)[MERT_CHORD_MAX] = more ? mert_array(t->n, sizeof *to) : NULL;
    int64_t n = 0, all = t->n;
    t->texts = more ? more : t->texts;
    if (!to)
        return mert_fail(e, "out of memory");
    t->texts[t->n_texts++] = (char *)to;
    for (int64_t i = 0; i < all; i++) {
        int got = mert_chord_reduce(t->rows[i].label, rule, to[i]);
        if (got < 0)
            return mert_fail(e, "%s: line %" PRId64 ": '%.100s' is not a chord like N, C, A:min7/b3 or G:(1,b3,5)",
                             t->rows[i].path, t->rows[i].line, t->rows[i].label);
        if (got)
            continue;
        t->rows[n] = t->rows[i];
        t->rows[n++].label = to[i];
    }
    t->n = n;
    *out = all - n;
    return 0;
}

/* strcmp of a key and the first `length` bytes of another one. */
static int compare_key(const char *a, const char *b, size_t length)
{
    int order = strncmp(a, b, length);
    return order ? order : a[length] != 0;
}

/* Finds the rows whose key has these `length` bytes. */
static int64_t find(const mert_probe_table *t, const char *key, size_t length, int64_t *first)
{
    int64_t low = 0, high = t->n, n = 0;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (compare_key(t->rows[middle].key, key, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *first = low;
    while (low + n < t->n && !compare_key(t->rows[low + n].key, key, length))
        n++;
    return n;
}

int64_t mert_probe_table_find(const mert_probe_table *t, const char *key, int64_t *first)
{
    const char *name = strrchr(key, '/'), *dot = t->stems ? strrchr(name ? name : key, '.') : NULL;
    int64_t n = find(t, key, strlen(key), first);
    return n || !dot ? n : find(t, key, (size_t)(dot - key), first);
}

int mert_probe_table_assign(mert_probe_table *t, const char *path, mert_probe_part part, mert_error *e)
{
    mert_manifest m;
    int bad = mert_manifest_read(&m, path, e);
    if (bad)
        return -1;
    for (int64_t i = 0; !bad && i < m.n; i++) {
        int64_t first, n = mert_probe_table_find(t, m.rows[i].path, &first);
        for (int64_t k = first; !bad && k < first + n; k++)
            if (t->rows[k].part != MERT_PROBE_OUT)
                bad = mert_fail(e, "%s: '%.200s' is in another part of the split already", path, m.rows[i].path);
            else
                t->rows[k].part = part;
    }
    mert_manifest_free(&m);
    t->splits = 1;
    return bad;
}

int64_t mert_probe_table_keep_parts(mert_probe_table *t)
{
    int64_t n = 0, all = t->n;
    for (int64_t i = 0; i < all; i++)
        if (t->rows[i].part != MERT_PROBE_OUT)
            t->rows[n++] = t->rows[i];
    t->n = n;
    return all - n;
}
