#include "libcommon/plot/table.h"

#include "formats/array.h"
#include "formats/text.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_MAX = 256 << 20, POINTS = 2000, CURVES_MAX = 1000 };

/* ---- reading ---- */

static char *read_all(FILE *f, size_t *size, mert_error *e)
{
    int64_t room = 0, n = 0;
    char *text = NULL;
    for (;;) {
        char *more = mert_array_grow(text, &room, n + 65537, 1);
        size_t got;
        if (!more || n > TABLE_MAX) {
            free(more ? more : text);
            mert_fail(e, more ? "more than %d MiB: not a table to be drawn" : "out of memory", TABLE_MAX >> 20);
            return NULL;
        }
        text = more;
        got = fread(text + n, 1, 65536, f);
        n += (int64_t)got;
        if (!got)
            break;
    }
    if (ferror(f)) {
        mert_fail(e, "%s", strerror(errno));
        free(text);
        return NULL;
    }
    text[n] = 0;
    *size = (size_t)n;
    return text;
}

static int64_t count_tabs(const char *line)
{
    int64_t n = 1;
    for (; *line; line++)
        n += *line == '\t';
    return n;
}

static void split(char *line, char **to)
{
    for (int64_t i = 0; line; i++) {
        char *end = strchr(line, '\t');
        if (end)
            *end++ = 0;
        to[i] = line;
        line = end;
    }
}

static int read_line(mert_table *t, char *line, int64_t *room, const mert_text *at, mert_error *e)
{
    const int64_t n = count_tabs(line);
    char **more;
    if (!t->names) {
        t->columns = n;
        t->names = mert_array(n, sizeof *t->names);
        if (!t->names)
            return mert_fail(e, "out of memory");
        split(line, t->names);
        return 0;
    }
    if (n < t->columns && at->at >= at->end) /* the run has not finished this line yet */
        return 0;
    if (n != t->columns)
        return mert_fail(e, "line %" PRId64 ": %" PRId64 " columns, but the first line has %" PRId64, at->number, n,
                         t->columns);
    more = mert_array_grow(t->cells, room, (t->rows + 1) * n, sizeof *more);
    if (!more)
        return mert_fail(e, "out of memory");
    t->cells = more;
    split(line, t->cells + t->rows++ * n);
    return 0;
}

int mert_table_read(mert_table *t, FILE *f, const char *path, mert_error *e)
{
    mert_text text;
    char *line;
    size_t size;
    int64_t room = 0;
    int got;
    memset(t, 0, sizeof *t);
    t->path = path;
    t->text = read_all(f, &size, e);
    if (!t->text)
        return mert_fail_in(e, "%s", path);
    if (mert_text_open(&text, path, t->text, size, e))
        return -1;
    while ((got = mert_text_line(&text, &line, e)) > 0)
        if (*line && *line != '#' && read_line(t, line, &room, &text, e))
            return mert_fail_in(e, "%s", path);
    if (got < 0)
        return -1;
    if (!t->names || !(mert_table_is_log(t) || mert_table_is_scores(t)))
        return mert_fail(e, "%s: neither a stream nor a table that can be drawn (log.tsv or valid.tsv of a run, or the "
                            "output of mert-probe)", path);
    return 0;
}

int mert_table_needs_rows(const mert_table *t, mert_error *e)
{
    return t->rows ? 0
                   : mert_fail(e, "%s: no rows in this table yet (mert-train writes them at log_interval and "
                                  "validate_interval)", t->path);
}

void mert_table_free(mert_table *t)
{
    free(t->text);
    free(t->names);
    free(t->cells);
    memset(t, 0, sizeof *t);
}

int mert_table_column(const mert_table *t, const char *name)
{
    for (int64_t i = 0; i < t->columns; i++)
        if (!strcmp(t->names[i], name))
            return (int)i;
    return -1;
}

double mert_table_number(const mert_table *t, int64_t row, int64_t column)
{
    const char *word = t->cells[row * t->columns + column];
    char *end;
    const double x = strtod(word, &end);
    return end == word || *end ? NAN : x;
}

/* Refuses a cell of the column that is no number; "nan" is one. */
static int check_numbers(const mert_table *t, int64_t column, mert_error *e)
{
    for (int64_t r = 0; r < t->rows; r++) {
        const char *word = t->cells[r * t->columns + column];
        char *end;
        (void)strtod(word, &end);
        if (end == word || *end)
            return mert_fail(e, "%s: row %" PRId64 " (%s %.40s): '%.40s' in column '%.40s' is no number", t->path,
                             r + 1, t->names[0], t->cells[r * t->columns], word, t->names[column]);
    }
    return 0;
}

int mert_table_is_log(const mert_table *t)
{
    return t->columns > 1 && !strcmp(t->names[0], "update");
}

int mert_table_is_scores(const mert_table *t)
{
    return t->columns > 1 && !strcmp(t->names[0], "layer") && mert_table_column(t, "metric") > 0 &&
           mert_table_column(t, "mean") > 0;
}

/* Whether a name matches one of the patterns "A,B*". */
static int fits(const char *patterns, const char *name)
{
    char one[128];
    for (const char *p = patterns; *p; p += *p == ',') {
        const size_t n = strcspn(p, ",");
        if (n < sizeof one) {
            memcpy(one, p, n);
            one[n] = 0;
            if (!fnmatch(one, name, 0))
                return 1;
        }
        p += n;
    }
    return 0;
}

int mert_table_fits(const mert_table *t, const char *patterns)
{
    for (int64_t c = 1; c < t->columns; c++)
        if (fits(patterns, t->names[c]))
            return 1;
    return 0;
}

/* ---- curves ---- */

/* A reference value has the colour of the cross entropy that it belongs to: unigram_3 that of ce_3, if that is one of
 * the panel's lines from `first` on. */
static void compare(mert_line *l, const mert_panel *p, int first, const char *prefix)
{
    const char *name = l->name + strlen(prefix), *suffix = strrchr(name, '_');
    const int dash = fits("unigram_*,entropy_*", name) ? 1 : fits("neighbours_*", name) ? 2 : 0;
    char of[64];
    if (!dash)
        return;
    l->dash = dash;
    snprintf(of, sizeof of, "%sce%s", prefix, suffix);
    for (int k = first; k < p->nlines; k++)
        if (!strcmp(p->lines[k].name, of))
            l->colour = p->lines[k].colour;
}

/* before: index of the panel's first line from this table. */
static int add_curve(const mert_table *t, int64_t column, const char *prefix, int before, mert_panel *to, mert_error *e)
{
    const int64_t by = (t->rows + POINTS - 1) / POINTS, n = (t->rows + by - 1) / by;
    mert_line *l;
    if (to->nlines == CURVES_MAX)
        return mert_fail(e, "%s: more than %d columns are to be drawn in one panel: --columns names some", t->path,
                         CURVES_MAX);
    if (check_numbers(t, column, e))
        return -1;
    if (!(l = mert_panel_line(to, n)))
        return mert_fail(e, "out of memory");
    snprintf(l->name, sizeof l->name, "%s%.50s", prefix, t->names[column]);
    compare(l, to, before, prefix);
    l->n = n;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t r = i * by; r < (i + 1) * by && r < t->rows; r++) {
            const double y = mert_table_number(t, r, column);
            l->x[i] = mert_table_number(t, r, 0); /* the last row of those in the mean, as in logs */
            if (isfinite(y))
                sum += y, count++;
        }
        l->y[i] = count ? sum / (double)count : NAN;
    }
    return 0;
}

int mert_table_curves(const mert_table *t, const char *patterns, const char *prefix, mert_panel *to, mert_error *e)
{
    const int before = to->nlines;
    const char *usual[] = {"ce_*,unigram_*,neighbours_*", "loss"};
    to->type = MERT_LINES;
    if (check_numbers(t, 0, e))
        return -1;
    for (int i = 0; to->nlines == before && i < (patterns ? 1 : 2); i++)
        for (int64_t c = 1; c < t->columns; c++)
            if (fits(patterns ? patterns : usual[i], t->names[c]) && add_curve(t, c, prefix, before, to, e))
                return -1;
    if (to->nlines == before)
        return mert_fail(e, "%s: no column '%s'", t->path, patterns ? patterns : "loss");
    mert_panel_fit(to, "update", patterns && !strpbrk(patterns, "*,") ? patterns : "");
    if (!patterns)
        snprintf(to->y.label, sizeof to->y.label, "%s",
                 strcmp(to->lines[before].name + strlen(prefix), "loss") ? "bits per frame" : "loss");
    return 0;
}

/* ---- scores ---- */

static const char *word_at(const mert_table *t, int64_t row, const char *column)
{
    return t->cells[row * t->columns + mert_table_column(t, column)];
}

/* The first row from `row` on whose metric matches; t->rows: none. */
static int64_t metric_row(const mert_table *t, int64_t row, const char *metrics)
{
    while (row < t->rows && !fits(metrics ? metrics : "*", word_at(t, row, "metric")))
        row++;
    return row;
}

static void layer_axis(const mert_table *t, const char *metric, mert_axis *a, double offset)
{
    int64_t n = 0, i = 0, by;
    for (int64_t r = 0; r < t->rows; r++)
        n += !strcmp(word_at(t, r, "metric"), metric);
    mert_axis_linear(a, offset - 0.5, (double)n - 0.5 + offset, 4, "layer");
    a->nticks = 0;
    by = (n + MERT_TICKS_MAX - 1) / MERT_TICKS_MAX;
    for (int64_t r = 0; r < t->rows; r++)
        if (!strcmp(word_at(t, r, "metric"), metric) && i++ % by == 0) {
            mert_tick *tick = &a->ticks[a->nticks++];
            tick->at = (double)(i - 1) + offset;
            snprintf(tick->text, sizeof tick->text, "%s", word_at(t, r, "layer"));
        }
}

static int add_score(const mert_table *t, const char *metric, const char *column, mert_panel *to, mert_error *e)
{
    const int at = mert_table_column(t, column);
    mert_line *l;
    if (at < 0)
        return mert_fail(e, "%s: no column '%s'", t->path, column);
    if (check_numbers(t, at, e))
        return -1;
    if (!(l = mert_panel_line(to, t->rows)))
        return mert_fail(e, "out of memory");
    snprintf(l->name, sizeof l->name, "%s", strcmp(column, "mean") ? column : metric);
    if (strcmp(column, "mean"))
        l->colour = 0, l->dash = 2;
    for (int64_t r = 0; r < t->rows; r++)
        if (!strcmp(word_at(t, r, "metric"), metric)) {
            l->x[l->n] = (double)l->n;
            l->y[l->n++] = mert_table_number(t, r, at);
        }
    return 0;
}

int mert_table_scores(const mert_table *t, const char *metrics, mert_panel *to, mert_error *e)
{
    const int64_t first = metric_row(t, 0, metrics);
    const char *metric;
    int64_t r;
    if (first == t->rows)
        return mert_fail(e, "%s: no metric '%s'", t->path, metrics);
    metric = word_at(t, first, "metric");
    to->type = MERT_LINES;
    snprintf(to->title, sizeof to->title, "%s: score of each layer", t->path);
    for (r = first; r < t->rows; r = metric_row(t, r + 1, metrics)) {
        int known = 0;
        for (int k = 0; k < to->nlines; k++)
            known |= !strcmp(to->lines[k].name, word_at(t, r, "metric"));
        if (!known && add_score(t, word_at(t, r, "metric"), "mean", to, e))
            return -1;
    }
    if (to->nlines == 1 && (add_score(t, metric, "min", to, e) || add_score(t, metric, "max", to, e)))
        return -1;
    mert_panel_fit(to, "layer", to->nlines == 3 && to->lines[1].dash ? metric : "score");
    layer_axis(t, metric, &to->x, 0);
    return 0;
}

static void name_task(const char *path, const char *metric, char *to, size_t size)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *end = strrchr(name, '.');
    snprintf(to, size, "%.*s, %.12s", (int)(end > name && end - name < 24 ? end - name : 24), name, metric);
}

int mert_table_tasks(const mert_table *t, int n, const char *metrics, mert_panel *to, mert_error *e)
{
    const int64_t first = metric_row(t, 0, metrics);
    if (first == t->rows)
        return mert_fail(e, "%s: no metric '%s'", t->path, metrics);
    to->type = MERT_IMAGE;
    snprintf(to->title, sizeof to->title, "score, layer by task");
    for (int64_t r = 0; r < t->rows; r++)
        to->columns += !strcmp(word_at(t, r, "metric"), word_at(t, first, "metric"));
    to->rows = n;
    to->span = 1;
    to->values = mert_array(mert_array_count(to->columns, n), sizeof *to->values);
    if (!to->values)
        return mert_fail(e, "out of memory");
    layer_axis(t, word_at(t, first, "metric"), &to->x, 0.5);
    mert_axis_linear(&to->y, 0, n, 1, "");
    to->y.nticks = 0;
    for (int k = 0; k < n; k++)
        if (check_numbers(&t[k], mert_table_column(&t[k], "mean"), e))
            return -1;
    for (int k = 0; k < n; k++) {
        const int64_t at = metric_row(&t[k], 0, metrics), row = n - 1 - k; /* the first task at the top */
        int64_t i = 0;
        if (at == t[k].rows)
            return mert_fail(e, "%s: no metric '%s'", t[k].path, metrics);
        for (int64_t c = 0; c < to->columns; c++)
            to->values[c * n + row] = NAN;
        for (int64_t r = 0; r < t[k].rows && i < to->columns; r++)
            if (!strcmp(word_at(&t[k], r, "metric"), word_at(&t[k], at, "metric")))
                to->values[i++ * n + row] = (float)mert_table_number(&t[k], r, mert_table_column(&t[k], "mean"));
        if (to->y.nticks < MERT_TICKS_MAX) {
            mert_tick *tick = &to->y.ticks[to->y.nticks++];
            tick->at = (double)row + 0.5;
            name_task(t[k].path, word_at(&t[k], at, "metric"), tick->text, sizeof tick->text);
        }
    }
    mert_panel_range(to, &to->low, &to->high);
    if (!(to->high > to->low))
        to->high = to->low + 1;
    return 0;
}
