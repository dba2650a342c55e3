#include "libcommon/train/monitor/compare.h"

#include "formats/array.h"
#include "formats/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 30, COLUMNS_MAX = 1024 };

static const struct {
    const char *name; /* "ce" is also for ce_0, ce_1 ... */
    double absolute, relative;
} bands[] = {{"loss", 0.3, 0.1}, {"ce", 0.3, 0.1}, {"cqt_mse", 0, 0.25}, {"mel_mse", 0, 0.25}, {"grad_norm", 0, 3}};

typedef struct table {
    char *text;
    const char *name[COLUMNS_MAX];
    int columns;
    double *values; /* [rows, columns] */
    int64_t rows;
} table;

/* The tolerance band of a column; -1: it is not compared. */
static int band_of(const char *column)
{
    for (int i = 0; i < (int)(sizeof bands / sizeof *bands); i++) {
        size_t n = strlen(bands[i].name);
        if (!strncmp(column, bands[i].name, n) && (!column[n] || (column[n] == '_' && !strcmp(bands[i].name, "ce"))))
            return i;
    }
    return -1;
}

static void table_free(table *t)
{
    free(t->text);
    free(t->values);
    *t = (table){0};
}

/* ---- reading ---- */

/* Returns the next line, cut off in place; skips comments. NULL: none. number: line number. */
static char *next_line(char **text, int64_t *number)
{
    while (*text && **text) {
        char *line = *text, *end = strchr(line, '\n');
        *text = end ? end + 1 : NULL;
        if (!end)
            return NULL; /* not written completely yet */
        *end = 0;
        ++*number;
        if (*line != '#')
            return line;
    }
    return NULL;
}

static int read_names(table *t, char *line, mert_error *e)
{
    for (char *name = line, *tab; name; name = tab) {
        if ((tab = strchr(name, '\t')))
            *tab++ = 0;
        if (t->columns == COLUMNS_MAX)
            return mert_fail(e, "more than %d columns", COLUMNS_MAX);
        t->name[t->columns++] = name;
    }
    return t->columns < 2 || strcmp(t->name[0], "update") ? mert_fail(e, "not the log of a training run") : 0;
}

static int read_row(const table *t, const char *line, double *to, mert_error *e)
{
    for (int i = 0; i < t->columns; i++) {
        char *end;
        if (!strcmp(t->name[i], "time")) { /* a text, which is not compared */
            to[i] = NAN;
            end = (char *)line + strcspn(line, "\t");
        } else {
            to[i] = strtod(line, &end);
        }
        if (end == line || *end != (i == t->columns - 1 ? 0 : '\t'))
            return mert_fail(e, "column %d (%s) is no number, or there are not %d of them", i + 1, t->name[i],
                             t->columns);
        line = end + 1;
    }
    return 0;
}

static int read_rows(table *t, char *text, int64_t *number, mert_error *e)
{
    int64_t room = 0;
    for (char *line; (line = next_line(&text, number)); t->rows++) {
        if (t->rows == room) {
            int64_t n = mert_array_count(room = 2 * room + 64, t->columns);
            double *grown = mert_array_resize(t->values, n, sizeof *grown);
            if (!grown)
                return mert_fail(e, "out of memory");
            t->values = grown;
        }
        if (read_row(t, line, t->values + t->rows * t->columns, e))
            return -1;
    }
    return 0;
}

static int table_read(table *t, const char *path, mert_error *e)
{
    size_t size;
    char *text, *line;
    int64_t number = 0;
    *t = (table){.text = mert_file_read(path, FILE_MAX, &size, e)};
    if (!(text = t->text))
        return -1;
    line = next_line(&text, &number);
    if (line ? !read_names(t, line, e) && !read_rows(t, text, &number, e) : !mert_fail(e, "empty"))
        return 0;
    mert_fail_in(e, "%s: line %" PRId64, path, number);
    table_free(t);
    return -1;
}

/* ---- comparing ---- */

static int column_of(const table *t, const char *name)
{
    for (int i = 0; i < t->columns; i++)
        if (!strcmp(t->name[i], name))
            return i;
    return -1;
}

/* Checks that b has all columns of a that are compared. */
static int covers(const table *a, const char *a_path, const table *b, const char *b_path, mert_error *e)
{
    for (int i = 0; i < a->columns; i++)
        if (band_of(a->name[i]) >= 0 && column_of(b, a->name[i]) < 0)
            return mert_fail(e, "%s: no column %s, as %s has: not the same recipe and labels", b_path, a->name[i],
                             a_path);
    return 0;
}

static mert_compared compare_value(const char *column, double own, double reference)
{
    int band = band_of(column);
    mert_compared v = {.own = own, .reference = reference};
    strncpy(v.column, column, sizeof v.column - 1);
    v.band = fmax(bands[band].absolute, bands[band].relative * fabs(reference));
    v.outside = !isnan(reference) && !(fabs(own - reference) <= v.band); /* a codebook that was not used: NaN in both */
    return v;
}

static void compare_row(mert_log_comparison *c, const table *own, const double *a, const table *reference, const double *b)
{
    int64_t update = (int64_t)b[0];
    int outside = 0;
    c->n = 0;
    for (int i = 1; i < reference->columns && c->n < MERT_COMPARED_MAX; i++) {
        const char *column = reference->name[i];
        mert_compared *v = &c->columns[c->n];
        if (band_of(column) < 0)
            continue;
        *v = compare_value(column, a[column_of(own, column)], b[i]);
        if (v->outside && c->left < 0) {
            c->left = update;
            c->first = *v;
        }
        outside |= v->outside;
        c->n++;
    }
    c->rows++;
    c->within += !outside;
    c->last = update;
}

static void compare_tables(mert_log_comparison *c, const table *own, const table *reference)
{
    for (int64_t i = 0, j = 0; i < own->rows && j < reference->rows;) {
        const double *a = own->values + i * own->columns, *b = reference->values + j * reference->columns;
        if (a[0] == b[0])
            compare_row(c, own, a, reference, b);
        if (a[0] <= b[0])
            i++;
        else
            j++;
    }
}

int mert_compare(mert_log_comparison *c, const char *save, const char *path, mert_error *e)
{
    table own, reference;
    char *own_path;
    int bad;
    *c = (mert_log_comparison){.left = -1, .last = -1};
    if (table_read(&reference, path, e))
        return -1;
    own_path = mert_path_join(save, column_of(&reference, "epoch") >= 0 ? "log.tsv" : "valid.tsv");
    if (!own_path || table_read(&own, own_path, e)) {
        bad = own_path ? -1 : mert_fail(e, "out of memory");
    } else {
        bad = covers(&own, own_path, &reference, path, e) || covers(&reference, path, &own, own_path, e);
        if (!bad) {
            compare_tables(c, &own, &reference);
            bad = c->rows ? 0 : mert_fail(e, "%s: no update in common with %s", own_path, path);
        }
        table_free(&own);
    }
    free(own_path);
    table_free(&reference);
    return bad ? -1 : 0;
}
