#include "tools/mert-probe/tables.h"

#include "formats/array.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *probe_line_name(const mert_instances *in, int64_t line)
{
    return !line ? "prior" : line <= in->layers ? in->layer[line - 1] : "weighted";
}

/* ---- rows ---- */

/* The instance of a row; of an item, its first one. */
static int64_t instance_of(const probe_tables *t, int64_t i)
{
    return t->items ? t->items->first[i] : i;
}

static const mert_instances *sorted; /* for qsort, which passes nothing on */

/* By row, and frames of a row by time: a sample of frames comes in random order. */
static int by_time(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    if (sorted->row[a] != sorted->row[b])
        return sorted->row[a] < sorted->row[b] ? -1 : 1;
    return (sorted->frame[a] > sorted->frame[b]) - (sorted->frame[a] < sorted->frame[b]);
}

int probe_tables_open(probe_tables *t, int64_t rows, mert_error *e)
{
    int64_t size = mert_confusion_size(&t->outputs);
    t->order = mert_array(rows, sizeof *t->order);
    t->count = mert_array_zeroed(t->confusion ? size : 0, sizeof *t->count);
    if (!t->order || !t->count)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < rows; i++)
        t->order[i] = i;
    if (t->in->frame && !t->items) {
        sorted = t->in;
        qsort(t->order, (size_t)rows, sizeof *t->order, by_time);
    }
    if ((t->predictions && !(t->predicted = mert_output_open(t->predictions, e))) ||
        (t->confusion && !(t->confused = mert_output_open(t->confusion, e))))
        return -1;
    if (t->predicted)
        mert_predictions_head(t->predicted->stream, &t->outputs);
    if (t->confused)
        mert_confusion_head(t->confused->stream, &t->outputs);
    return 0;
}

/* The time of an instance: its frame, or its row's span; NAN: the whole item. */
static void find_time(const probe_tables *t, int64_t instance, double *start, double *end)
{
    const mert_instances *in = t->in;
    const mert_probe_row *r = &in->table->rows[in->row[instance]];
    const mert_features *f = &in->features;
    *start = *end = NAN;
    if (t->items)
        return;
    if (in->frame && f->frame_rate_num > 0) {
        *start = (double)in->frame[instance] * (double)f->frame_rate_den / (double)f->frame_rate_num;
        *end = (double)(in->frame[instance] + 1) * (double)f->frame_rate_den / (double)f->frame_rate_num;
    } else if (in->table->spans) {
        *start = r->start;
        *end = r->end;
    }
}

static void write_predictions(const probe_tables *t, const mert_probe_answers *a)
{
    const mert_targets *g = a->g;
    for (int64_t k = 0; k < g->n; k++) {
        int64_t i = t->order[k], instance = instance_of(t, i);
        mert_prediction p = {.key = mert_instances_key(t->in, instance),
                             .layer = probe_line_name(t->in, a->line),
                             .seed = (int64_t)a->seed,
                             .fold = a->round[i],
                             .label = g->label ? &g->label[i] : NULL,
                             .y = g->y ? g->y + i * g->outputs : NULL,
                             .answers = a->answers + i * g->outputs};
        if (a->round[i] < 0)
            continue;
        find_time(t, instance, &p.start, &p.end);
        mert_predictions_row(t->predicted->stream, &t->outputs, &p);
    }
}

/* Writes the counts of the line before, if there is one. */
static void end_line(probe_tables *t)
{
    size_t size = (size_t)mert_confusion_size(&t->outputs) * sizeof *t->count;
    if (t->confused && t->line)
        mert_confusion_rows(t->confused->stream, &t->outputs, probe_line_name(t->in, t->line), t->count);
    if (t->confused)
        memset(t->count, 0, size);
}

static int is_written(const mert_output *o, mert_error *e)
{
    return o && ferror(o->stream) ? mert_fail(e, "%s: cannot write: %s", o->path, strerror(errno ? errno : EIO)) : 0;
}

int probe_tables_add(void *tables, const mert_probe_answers *a, mert_error *e)
{
    probe_tables *t = tables;
    if (!a->line || (t->layer && strcmp(t->layer, probe_line_name(t->in, a->line))))
        return 0;
    errno = 0;
    if (t->predicted)
        write_predictions(t, a);
    if (t->confused) {
        if (t->line != a->line)
            end_line(t);
        mert_confusion_add(t->count, a->g, a->answers, a->round);
    }
    t->line = a->line;
    t->failed = is_written(t->predicted, e) || is_written(t->confused, e);
    return t->failed ? -1 : 0;
}

int probe_tables_commit(probe_tables *t, mert_error *e)
{
    mert_output *predicted = t->predicted, *confused = t->confused;
    end_line(t);
    t->predicted = t->confused = NULL;
    if (predicted && mert_output_commit(predicted, e)) {
        mert_output_abandon(confused);
        return -1;
    }
    return confused ? mert_output_commit(confused, e) : 0;
}

void probe_tables_free(probe_tables *t)
{
    mert_output_abandon(t->predicted);
    mert_output_abandon(t->confused);
    free(t->order);
    free(t->count);
}
