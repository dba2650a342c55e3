#include "libcommon/train/task/task.h"

#include "formats/array.h"
#include "formats/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table and the split ---- */

static int reduce_chords(mert_task *t, mert_chord_rule rule, mert_error *e)
{
    if (rule == MERT_CHORDS_AS_WRITTEN)
        return 0;
    if (mert_probe_table_chords(&t->table, rule, &t->renamed, e))
        return -1;
    return t->table.n ? 0 : mert_fail(e, "%s: no chord is major, minor or N by this rule", t->table.path);
}

static int split_by_manifests(mert_task *t, const mert_task_source *from, mert_error *e)
{
    if (!from->manifest[MERT_PROBE_TEST])
        return 0;
    if (t->table.splits)
        return mert_fail(e, "%s: has a column 'split': --test-manifest would give another", t->table.path);
    for (int p = MERT_PROBE_TRAIN; p <= MERT_PROBE_TEST; p++)
        if (from->manifest[p] && mert_probe_table_assign(&t->table, from->manifest[p], (mert_probe_part)p, e))
            return -1;
    t->outside = mert_probe_table_keep_parts(&t->table);
    return t->table.n ? 0 : mert_fail(e, "%s: no key is an item of the manifests", t->table.path);
}

int mert_task_read(mert_task *t, const mert_task_source *from, mert_error *e)
{
    int folder = mert_path_is_directory(from->table);
    *t = (mert_task){.kind = from->kind};
    if (folder && from->column)
        return mert_fail(e, "%s: a folder of .lab files has no column '%s'", from->table, from->column);
    if (folder ? mert_probe_table_read_folder(&t->table, from->table, e)
               : mert_probe_table_read(&t->table, from->table, from->column, e))
        return -1;
    if (reduce_chords(t, from->chords, e) || split_by_manifests(t, from, e))
        return -1;
    t->example = mert_array(t->table.n, sizeof *t->example);
    for (int64_t i = 0; t->example && i < t->table.n; i++)
        t->example[i] = -1;
    return t->example ? 0 : mert_fail(e, "out of memory");
}

void mert_task_free(mert_task *t)
{
    mert_targets_free(&t->targets);
    mert_probe_table_free(&t->table);
    free(t->row);
    free(t->example);
    free(t->part);
    free(t->mean);
    free(t->size);
    *t = (mert_task){0};
}

int mert_task_meet(mert_task *t, const mert_corpus *c, mert_error *e)
{
    int64_t met = 0;
    for (int64_t i = 0; i < c->n; i++) {
        int64_t first, n = mert_probe_table_find(&t->table, mert_corpus_key(c, i), &first);
        t->unknown += !n;
        met += n;
        for (int64_t k = 0; k < n; k++)
            t->example[first + k] = 0;
    }
    return met ? 0 : mert_fail(e, "%s: no key is an item of %s", t->table.path, c->parts->path);
}

/* Numbers have mean 0 and variance 1 in the training part. */
static int measure_numbers(mert_task *t, mert_error *e)
{
    const mert_targets *g = &t->targets;
    int64_t n = mert_task_count(t, MERT_PROBE_TRAIN);
    if (t->kind != MERT_PROBE_REGRESS)
        return 0;
    t->mean = mert_array_zeroed(g->outputs, sizeof *t->mean);
    t->size = mert_array_zeroed(g->outputs, sizeof *t->size);
    if (!t->mean || !t->size)
        return mert_fail(e, "out of memory");
    for (int64_t c = 0; c < g->outputs; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < g->n; i++)
            sum += t->part[i] == MERT_PROBE_TRAIN ? g->y[i * g->outputs + c] : 0;
        sum /= (double)n;
        for (int64_t i = 0; i < g->n; i++)
            squares += t->part[i] == MERT_PROBE_TRAIN ? pow(g->y[i * g->outputs + c] - sum, 2) : 0;
        t->mean[c] = (float)sum;
        t->size[c] = squares > 0 ? (float)sqrt(squares / (double)n) : 1;
    }
    return 0;
}

int mert_task_settle(mert_task *t, int folds, int fold, uint64_t seed, mert_error *e)
{
    mert_folds f;
    int64_t n = 0;
    int bad;
    if (!(t->row = mert_array(t->table.n, sizeof *t->row)))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < t->table.n; i++)
        if (t->example[i] >= 0) {
            t->example[i] = n;
            t->row[n++] = i;
        }
    t->missing = t->table.n - n;
    if (mert_targets_make(&t->targets, t->kind, &t->table, t->row, n, e))
        return -1;
    if (mert_folds_make(&f, &t->targets, folds, e))
        return mert_fail_in(e, "%s", t->table.path);
    t->folds = folds;
    t->carved = f.carved;
    t->fold = f.rounds == 1 ? 0 : fold;
    t->part = mert_array(n, sizeof *t->part);
    bad = !t->part ? mert_fail(e, "out of memory") : mert_folds_assign(&f, seed, t->fold, t->part, e);
    mert_folds_free(&f);
    return bad || measure_numbers(t, e) ? -1 : 0;
}

int64_t mert_task_count(const mert_task *t, mert_probe_part part)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->targets.n; i++)
        n += t->part[i] == part;
    return n;
}

uint64_t mert_task_hash(const mert_task *t)
{
    mts_xxh64_state x;
    mts_xxh64_begin(&x, 0);
    for (int64_t i = 0; i < t->targets.n; i++) {
        const mert_probe_row *r = &t->table.rows[t->row[i]];
        double facts[] = {r->start, r->end, t->part[i]};
        mts_xxh64_add(&x, r->key, strlen(r->key) + 1);
        mts_xxh64_add(&x, r->label, strlen(r->label) + 1);
        mts_xxh64_add(&x, facts, sizeof facts);
    }
    return mts_xxh64_end(&x, 0);
}

typedef struct choice {
    const mert_task *task;
    mert_probe_part part;
} choice;

static int is_in(void *arg, const char *key)
{
    const choice *c = arg;
    int64_t first, n = mert_probe_table_find(&c->task->table, key, &first);
    return n && c->task->example[first] >= 0 && c->task->part[c->task->example[first]] == c->part;
}

void mert_task_keep(const mert_task *t, mert_corpus *c, mert_probe_part part)
{
    choice which = {t, part};
    mert_corpus_keep(c, is_in, &which);
    c->task = t;
}

/* ---- examples of crops ---- */

int64_t mert_task_start(const mert_task *t, const mert_corpus *c, int64_t item, int64_t L, double pick, double place)
{
    int64_t grid = c->config.jitter ? 1 : c->config.stride, samples = c->items[item].samples, first, last;
    int64_t row, n = mert_probe_table_find(&t->table, mert_corpus_key(c, item), &row);
    const mert_probe_row *r = &t->table.rows[row + (int64_t)(pick * (double)n)];
    double rate = (double)c->config.sample_rate, from = r->start * rate, to = fmin(r->end * rate, (double)samples);
    /* a crop that is longer than the span begins before it, and ends after it; a shorter one is inside of it */
    first = (int64_t)fmax(0, fmin(from, to - (double)L)) / grid;
    last = (int64_t)fmax(0, fmin(fmax(from, to - (double)L), (double)(samples - L))) / grid;
    first = first < last ? first : last;
    return (first + (int64_t)(place * (double)(last - first + 1))) * grid;
}

static int make_room(mert_examples *x, int64_t n, mert_error *e)
{
    int64_t *row, room = 2 * n;
    int32_t *from, *to;
    if (n <= x->room)
        return 0;
    row = mert_array_resize(x->row, room, sizeof *row);
    x->row = row ? row : x->row;
    from = mert_array_resize(x->from, room, sizeof *from);
    x->from = from ? from : x->from;
    to = mert_array_resize(x->to, room, sizeof *to);
    x->to = to ? to : x->to;
    x->room = row && from && to ? room : 0;
    return x->room ? 0 : mert_fail(e, "out of memory for the examples of a batch");
}

/* Of the frames of a crop, the first whose middle is at this time or later; time in frames from its beginning. */
static int32_t frame_at(double time, int64_t T)
{
    double t = ceil(time - 0.5);
    return (int32_t)(t < 0 ? 0 : t > (double)T ? (double)T : t);
}

/* Adds the examples of a crop. */
static int add_crop(const mert_task *t, const mert_corpus *c, int64_t item, int64_t start, int64_t T, int training,
                    mert_examples *x, mert_error *e)
{
    double stride = (double)c->config.stride, frames = (double)c->config.sample_rate / stride;
    double begun = (double)start / stride;
    int64_t first, n = mert_probe_table_find(&t->table, mert_corpus_key(c, item), &first);
    for (int64_t i = first; i < first + n; i++) {
        const mert_probe_row *r = &t->table.rows[i];
        double from = r->start * frames - begun, to = r->end * frames - begun;
        int32_t a = frame_at(from, T), b = frame_at(to, T);
        if (t->example[i] < 0 || a >= b || (training && 2 * (b - a) < fmin(floor(to - from), (double)T)))
            continue;
        if (make_room(x, x->n + 1, e))
            return -1;
        x->row[x->n] = t->example[i];
        x->from[x->n] = a;
        x->to[x->n++] = b;
    }
    return 0;
}

static int add_answers(const mert_task *t, mert_examples *x, mert_error *e)
{
    const mert_targets *g = &t->targets;
    int64_t C = g->outputs;
    x->outputs = C;
    x->single = t->kind == MERT_PROBE_CLASSIFY;
    free(x->labels);
    free(x->numbers);
    x->labels = NULL;
    x->numbers = NULL;
    if (t->kind == MERT_PROBE_REGRESS)
        x->numbers = mert_array(mert_array_count(x->n, C), sizeof *x->numbers);
    else
        x->labels = mert_array(x->single ? x->n : mert_array_count(x->n, C), sizeof *x->labels);
    if (!x->labels && !x->numbers)
        return mert_fail(e, "out of memory for the examples of a batch");
    for (int64_t i = 0; i < x->n; i++) {
        const float *y = g->y ? g->y + x->row[i] * C : NULL;
        if (x->single)
            x->labels[i] = g->label[x->row[i]];
        for (int64_t k = 0; y && k < C; k++)
            if (x->numbers)
                x->numbers[i * C + k] = (y[k] - t->mean[k]) / t->size[k];
            else
                x->labels[i * C + k] = y[k] > 0;
    }
    return 0;
}

int mert_task_fill(const mert_task *t, const mert_corpus *c, const int64_t *items, const int64_t *start, int64_t B,
                   int64_t T, int training, mert_examples *to, mert_error *e)
{
    if (B >= to->clips_room) {
        free(to->first);
        to->clips_room = B + 1;
        if (!(to->first = mert_array(B + 1, sizeof *to->first))) {
            to->clips_room = 0;
            return mert_fail(e, "out of memory for the examples of a batch");
        }
    }
    to->n = 0;
    for (int64_t i = 0; i < B; i++) {
        to->first[i] = to->n;
        if (add_crop(t, c, items[i], start[i], T, training, to, e))
            return -1;
    }
    to->first[B] = to->n;
    return add_answers(t, to, e);
}

void mert_examples_free(mert_examples *x)
{
    free(x->first);
    free(x->row);
    free(x->from);
    free(x->to);
    free(x->labels);
    free(x->numbers);
    *x = (mert_examples){0};
}
