#include "libcommon/probe/apply.h"

#include "formats/array.h"
#include "libcommon/probe/items.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1: an item may have several rows, which are held back until it is complete. */
static int has_rows(const mert_apply *a)
{
    return (a->frames || a->span > 0) && !a->per_item;
}

int mert_apply_make(mert_apply *a, mert_error *e)
{
    const mert_trained *p = a->probe;
    int64_t values = p->layers * p->width, C = p->outputs.n;
    a->at = mert_array(p->layers, sizeof *a->at);
    a->sum = mert_array(values, sizeof *a->sum);
    a->mean = mert_array(C, sizeof *a->mean);
    a->x = mert_array(values + p->width + p->hidden + 2 * C, sizeof *a->x);
    if (!a->at || !a->sum || !a->mean || !a->x)
        return mert_fail(e, "out of memory");
    a->work = a->x + values;
    a->answers = a->work + p->width + p->hidden + C;
    if (has_rows(a) && !(a->held = tmpfile()))
        return mert_fail(e, "no temporary file: %s", strerror(errno));
    return 0;
}

void mert_apply_free(mert_apply *a)
{
    if (a->held)
        fclose(a->held);
    free(a->at);
    free(a->sum);
    free(a->mean);
    free(a->x);
    mert_feature_input_free(&a->input);
}

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((mert_apply *)self)->input, b);
    return 0;
}

static void open_span(mert_apply *a, int64_t number)
{
    memset(a->sum, 0, (size_t)(a->probe->layers * a->probe->width) * sizeof *a->sum);
    a->count = 0;
    a->number = number;
}

static int begin(void *self, const mts_record *r, mts_record *out, mert_error *e)
{
    mert_apply *a = self;
    (void)out;
    if (mert_feature_input_begin(&a->input, r, e) ||
        mert_trained_check(a->probe, &a->input.features, r, a->any_settings, a->at, e))
        return -1;
    if (a->span > 0 && !a->frames && r->frame_rate_num <= 0)
        return mert_fail(e, "has no frames per second, which time spans need: was it pooled?");
    memset(a->mean, 0, (size_t)a->probe->outputs.n * sizeof *a->mean);
    a->rows = 0;
    if (a->held && (fseeko(a->held, 0, SEEK_SET) || ftruncate(fileno(a->held), 0)))
        return mert_fail(e, "temporary file: %s", strerror(errno));
    open_span(a, 0);
    return 0;
}

static double seconds_of(const mert_apply *a, double frames)
{
    const mts_record *r = &a->input.record;
    return r->frame_rate_num > 0 ? frames * (double)r->frame_rate_den / (double)r->frame_rate_num : NAN;
}

static void put_row(const mert_apply *a, FILE *to, double start, double end)
{
    mert_prediction p = {.key = a->input.record.key,
                         .layer = a->layer,
                         .start = start,
                         .end = end,
                         .seed = -1,
                         .fold = -1,
                         .answers = a->answers};
    mert_predictions_row(to, &a->probe->outputs, &p);
}

/* Computes the answers for x, and adds a row with these times. */
static void answer(mert_apply *a, double start, double end)
{
    const mert_outputs *o = &a->probe->outputs;
    mert_trained_answer(a->probe, a->x, a->work, a->answers);
    a->rows++;
    for (int64_t c = 0; a->per_item && c < o->n; c++)
        mert_answer_add(a->mean[c], o->task, a->answers[c]);
    if (!a->per_item)
        put_row(a, a->held ? a->held : a->to, start, end);
}

/* Computes the answers for the mean of the open span, if it has frames. last: the item's length in seconds. */
static void close_span(mert_apply *a, double last)
{
    double start = NAN, end = NAN;
    if (!a->count)
        return;
    for (int64_t i = 0; i < a->probe->layers * a->probe->width; i++)
        a->x[i] = (float)(a->sum[i] / (double)a->count);
    if (a->span > 0) {
        start = (double)a->number * a->span;
        end = (double)(a->number + 1) * a->span;
        end = end > last ? last : end;
    }
    answer(a, start, end);
}

static void take(mert_apply *a, const float *x, int64_t frame)
{
    const mert_trained *p = a->probe;
    if (a->frames) {
        for (int64_t l = 0; l < p->layers; l++)
            memcpy(a->x + l * p->width, x + a->at[l] * p->width, (size_t)p->width * sizeof *x);
        answer(a, seconds_of(a, (double)frame), seconds_of(a, (double)frame + 1));
        return;
    }
    if (a->span > 0) {
        int64_t number = (int64_t)floor(seconds_of(a, (double)frame + 0.5) / a->span);
        if (number != a->number) {
            close_span(a, INFINITY);
            open_span(a, number);
        }
    }
    for (int64_t l = 0; l < p->layers; l++)
        for (int64_t i = 0; i < p->width; i++)
            a->sum[l * p->width + i] += x[a->at[l] * p->width + i];
    a->count++;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_apply *a = self;
    int64_t frame = a->input.frame;
    const float *x = mert_feature_input_read(&a->input, data, n, e);
    (void)sink;
    for (int64_t i = 0; x && i < n; i++)
        take(a, x + i * a->input.features.width, frame + i);
    return x ? 0 : -1;
}

/* Copies the rows of the item to the table. */
static int release(mert_apply *a, mert_error *e)
{
    char block[4096];
    size_t n;
    if (fflush(a->held) || ferror(a->held) || fseeko(a->held, 0, SEEK_SET))
        return mert_fail(e, "temporary file: %s", strerror(errno));
    while ((n = fread(block, 1, sizeof block, a->held)) > 0)
        fwrite(block, 1, n, a->to);
    return ferror(a->held) ? mert_fail(e, "temporary file: %s", strerror(errno)) : 0;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    mert_apply *a = self;
    const mert_outputs *o = &a->probe->outputs;
    (void)sink;
    if (!a->input.frame)
        return mert_fail(e, "has no frames");
    if (!a->frames)
        close_span(a, seconds_of(a, (double)a->input.frame));
    if (a->per_item) {
        for (int64_t c = 0; c < o->n; c++)
            a->answers[c] = mert_answer_mean(a->mean[c], o->task, a->rows);
        put_row(a, a->to, NAN, NAN);
    }
    return a->held ? release(a, e) : 0;
}

const mert_stage mert_apply_stage = {.stream = on_stream, .begin = begin, .frames = frames, .end = end};
