#include "libcommon/probe/targets.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A set of texts, sorted bytewise. */
typedef struct names {
    char **items;
    int64_t n, room;
} names;

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(names *s, const char *text, size_t length, mert_error *e)
{
    char *copy = malloc(length + 1), **more = s->items;
    if (copy)
        more = mert_array_grow(s->items, &s->room, s->n + 1, sizeof *more);
    s->items = more ? more : s->items;
    if (!copy || !more) {
        free(copy);
        return mert_fail(e, "out of memory");
    }
    memcpy(copy, text, length);
    copy[length] = 0;
    s->items[s->n++] = copy;
    return 0;
}

static void names_settle(names *s)
{
    int64_t n = 0;
    if (s->n)
        qsort(s->items, (size_t)s->n, sizeof *s->items, by_bytes);
    for (int64_t i = 0; i < s->n; i++)
        if (n && !strcmp(s->items[n - 1], s->items[i]))
            free(s->items[i]);
        else
            s->items[n++] = s->items[i];
    s->n = n;
}

static int64_t names_find(const names *s, const char *text)
{
    char **found = bsearch(&text, s->items, (size_t)s->n, sizeof *s->items, by_bytes);
    return found ? found - s->items : -1;
}

static void names_free(names *s)
{
    for (int64_t i = 0; i < s->n; i++)
        free(s->items[i]);
    free(s->items);
}

/* The next of the comma-separated labels, without blanks around it; NULL at the end. */
static const char *next_label(const char **at, size_t *length)
{
    const char *s = *at;
    if (!s)
        return NULL;
    s += strspn(s, " ");
    *length = strcspn(s, ",");
    *at = s[*length] ? s + *length + 1 : NULL;
    while (*length && s[*length - 1] == ' ')
        --*length;
    return s;
}

#define AT(r) (r)->path, (r)->line

/* ---- classes, labels ---- */

static int collect(names *all, mert_probe_task task, const mert_probe_row *r, mert_error *e)
{
    const char *at = r->label, *s;
    size_t length;
    if (task == MERT_PROBE_CLASSIFY) {
        if (strchr(r->label, ','))
            return mert_fail(e, "%s: line %" PRId64 ": '%.100s' holds a comma: several labels are for the task "
                             "multilabel", AT(r), r->label);
        if (!*r->label)
            return mert_fail(e, "%s: line %" PRId64 ": the label is empty", AT(r));
        return names_add(all, r->label, strlen(r->label), e);
    }
    if (!r->label[strspn(r->label, " ")])
        return 0;
    while ((s = next_label(&at, &length))) {
        if (!length)
            return mert_fail(e, "%s: line %" PRId64 ": an empty label between commas in '%.100s'", AT(r), r->label);
        if (names_add(all, s, length, e))
            return -1;
    }
    return 0;
}

static int mark_labels(const names *all, const char *labels, float *y, mert_error *e)
{
    const char *at = labels, *s;
    char *copy;
    size_t length;
    if (!labels[strspn(labels, " ")])
        return 0;
    while ((s = next_label(&at, &length))) {
        if (!(copy = malloc(length + 1)))
            return mert_fail(e, "out of memory");
        memcpy(copy, s, length);
        copy[length] = 0;
        y[names_find(all, copy)] = 1;
        free(copy);
    }
    return 0;
}

static int make_classes(mert_targets *g, const mert_probe_table *t, const int64_t *row, mert_error *e)
{
    names all = {0};
    int bad = 0, multi = g->task == MERT_PROBE_MULTILABEL;
    for (int64_t i = 0; !bad && i < g->n; i++)
        if (!i || row[i] != row[i - 1])
            bad = collect(&all, g->task, &t->rows[row[i]], e);
    names_settle(&all);
    if (!bad && all.n < (multi ? 1 : 2))
        bad = multi
                  ? mert_fail(e, "%s: no row with features has a label", t->path)
                  : mert_fail(e,
                              "%s: one class only, '%.100s', in all rows with features: there is nothing to predict",
                              t->path, all.items[0]);
    if (!bad) {
        g->outputs = all.n;
        g->label = multi ? NULL : mert_array(g->n, sizeof *g->label);
        g->y = multi ? mert_array_zeroed(mert_array_count(g->n, all.n), sizeof *g->y) : NULL;
        bad = !(multi ? (void *)g->y : (void *)g->label) ? mert_fail(e, "out of memory") : 0;
    }
    for (int64_t i = 0; !bad && i < g->n; i++)
        if (multi)
            bad = mark_labels(&all, t->rows[row[i]].label, g->y + i * all.n, e);
        else
            g->label[i] = (int32_t)names_find(&all, t->rows[row[i]].label);
    if (!bad && multi && all.n == 1) {
        int64_t without = 0;
        while (without < g->n && g->y[without] > 0)
            without++;
        if (without == g->n)
            bad = mert_fail(e, "%s: all rows with features have the one label there is: there is nothing to predict",
                            t->path);
    }
    if (bad) {
        names_free(&all);
        return -1;
    }
    g->names = all.items;
    return 0;
}

/* ---- numbers ---- */

static int read_numbers(mert_targets *g, const mert_probe_row *r, float *y, mert_error *e)
{
    const char *at = r->label, *s;
    size_t length;
    int64_t n = 0;
    for (; (s = next_label(&at, &length)); n++) {
        char *stop;
        double v = strtod(s, &stop);
        if (!length || stop != s + length || !(fabs(v) < 1e18))
            return mert_fail(e, "%s: line %" PRId64 ": '%.*s' is no number to regress on", AT(r),
                             (int)(length < 100 ? length : 100), s);
        if (n < g->outputs)
            y[n] = (float)v;
    }
    if (n != g->outputs)
        return mert_fail(e, "%s: line %" PRId64 ": %" PRId64 " numbers, the others have %" PRId64, AT(r), n,
                         g->outputs);
    return 0;
}

static int make_numbers(mert_targets *g, const mert_probe_table *t, const int64_t *row, mert_error *e)
{
    g->outputs = 1;
    for (const char *s = t->rows[row[0]].label; *s; s++)
        g->outputs += *s == ',';
    g->y = mert_array(mert_array_count(g->n, g->outputs), sizeof *g->y);
    if (!g->y)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < g->n; i++)
        if (read_numbers(g, &t->rows[row[i]], g->y + i * g->outputs, e))
            return -1;
    for (int64_t c = 0; c < g->outputs; c++) {
        int64_t i = 1;
        while (i < g->n && g->y[i * g->outputs + c] == g->y[c])
            i++;
        if (i == g->n)
            return mert_fail(e, "%s: all rows with features have the same number, %g: there is nothing to predict",
                             t->path, (double)g->y[c]);
    }
    return 0;
}

/* ---- groups ---- */

static int make_groups(mert_targets *g, const mert_probe_table *t, const int64_t *row, mert_error *e)
{
    names all = {0};
    int bad = 0;
    for (int64_t i = 0; !bad && i < g->n; i++)
        if (!i || row[i] != row[i - 1])
            bad = names_add(&all, t->rows[row[i]].group, strlen(t->rows[row[i]].group), e);
    names_settle(&all);
    g->groups = all.n;
    g->group = mert_array(g->n, sizeof *g->group);
    g->part = mert_array(all.n, sizeof *g->part);
    if (!bad && (!g->group || !g->part))
        bad = mert_fail(e, "out of memory");
    for (int64_t i = 0; !bad && i < all.n; i++)
        g->part[i] = MERT_PROBE_OUT;
    for (int64_t i = 0; !bad && i < g->n; i++) {
        const mert_probe_row *r = &t->rows[row[i]];
        mert_probe_part *part;
        g->group[i] = (int32_t)names_find(&all, r->group);
        part = &g->part[g->group[i]];
        if (*part != MERT_PROBE_OUT && *part != r->part)
            bad = mert_fail(e, "%s: line %" PRId64 ": group '%.200s' is on two sides of the split", AT(r), r->group);
        *part = r->part;
    }
    names_free(&all);
    return bad;
}

int mert_targets_make(mert_targets *g, mert_probe_task task, const mert_probe_table *t, const int64_t *row, int64_t n,
                      mert_error *e)
{
    *g = (mert_targets){.task = task, .n = n, .given = t->splits};
    if ((task == MERT_PROBE_REGRESS ? make_numbers : make_classes)(g, t, row, e) || make_groups(g, t, row, e)) {
        mert_targets_free(g);
        return -1;
    }
    return 0;
}

void mert_targets_free(mert_targets *g)
{
    names all = {.items = g->names, .n = g->names ? g->outputs : 0};
    names_free(&all);
    free(g->label);
    free(g->y);
    free(g->group);
    free(g->part);
    *g = (mert_targets){0};
}
