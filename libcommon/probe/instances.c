#include "libcommon/probe/instances.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An open span. */
typedef struct mert_open_span {
    int64_t row, frames;
    double *sum; /* [layers * width] */
} mert_open_span;

/* Stored after each frame of the sample: its row and its number. */
typedef struct mark { int64_t row, frame; } mark;
enum { MARK = sizeof(mark) / sizeof(float) };

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((mert_instances *)self)->input, b);
    return 0;
}

/* ---- what the first item sets ---- */

static int first_item(mert_instances *in, const mts_record *r, mert_error *e)
{
    in->features = in->input.features;
    in->layers = mert_layers_count(r);
    in->width = in->features.width / in->layers;
    free(in->marked);
    in->marked = mert_array(in->features.width + MARK, sizeof *in->marked);
    in->came = in->came ? in->came : mert_array_zeroed(in->table->n, 1);
    if (in->frames && !in->sample)
        in->sample = mert_sample_new(in->features.width + MARK, in->max_frames, in->seed);
    if (!in->came || !in->marked || (in->frames && !in->sample))
        return mert_fail(e, "out of memory");
    in->layer = mert_layers_names(&in->features, r);
    return in->layer ? 0 : mert_fail(e, "out of memory");
}

static int like_the_others(const mert_instances *in, const mts_record *r, mert_error *e)
{
    const mert_features *a = &in->features, *b = &in->input.features;
    int64_t layers = mert_layers_count(r);
    if (strcmp(a->kind, b->kind) || a->width != b->width || layers != in->layers)
        return mert_fail(
            e, "%s of %" PRId64 " x %" PRId64 " values, but the items before it were %s of %" PRId64 " x %" PRId64,
            b->kind, layers, b->width / layers, a->kind, in->layers, in->width);
    if (a->model != b->model)
        return mert_fail(e, "of model %016" PRIx64 ", but the items before it were of model %016" PRIx64, b->model,
                         a->model);
    if (strcmp(a->recipe, b->recipe))
        return mert_fail(e, "made by '%.400s', but the items before it by '%.400s'", b->recipe, a->recipe);
    return 0;
}

/* ---- items ---- */

static int begin(void *self, const mts_record *r, mts_record *out, mert_error *e)
{
    mert_instances *in = self;
    (void)out;
    in->count = mert_probe_table_find(in->table, r->key, &in->first);
    if (!in->count) {
        if (!in->unknown++)
            memcpy(in->first_unknown, r->key, sizeof in->first_unknown);
        return 0;
    }
    if (mert_feature_input_begin(&in->input, r, e) || (in->layer ? like_the_others(in, r, e) : first_item(in, r, e)))
        return -1;
    if (in->came[in->first])
        return mert_fail(e, "came twice");
    if (in->table->spans && r->frame_rate_num <= 0)
        return mert_fail(e, "has no frames per second, which time spans need: was it pooled?");
    in->next = in->first;
    in->kept = in->n;
    in->kept_empty = in->empty;
    if (in->sample)
        mert_sample_begin(in->sample, mert_features_item(&in->input.stream, r));
    return 0;
}

static int open_span(mert_instances *in, int64_t row, mert_error *e)
{
    mert_open_span *s;
    if (in->n_open == in->open_room) {
        int64_t room = in->open_room;
        s = mert_array_grow(in->open, &room, in->n_open + 1, sizeof *s);
        if (!s)
            return mert_fail(e, "out of memory");
        memset(s + in->open_room, 0, (size_t)(room - in->open_room) * sizeof *s);
        in->open = s;
        in->open_room = room;
    }
    s = &in->open[in->n_open];
    s->row = row;
    s->frames = 0;
    if (!s->sum)
        s->sum = mert_array(in->features.width, sizeof *s->sum);
    if (!s->sum)
        return mert_fail(e, "out of memory");
    memset(s->sum, 0, (size_t)in->features.width * sizeof *s->sum);
    in->n_open++;
    return 0;
}

static int grow(mert_instances *in, mert_error *e)
{
    int64_t room = in->room ? 2 * in->room : 64;
    float *x = mert_array_resize(in->x, mert_array_count(room, in->features.width), sizeof *x);
    int64_t *row = x ? mert_array_resize(in->row, room, sizeof *row) : NULL;
    in->x = x ? x : in->x;
    if (!row)
        return mert_fail(e, "out of memory: %" PRId64 " instances of %" PRId64 " values do not fit", room,
                         in->features.width);
    in->row = row;
    in->room = room;
    return 0;
}

/* Ends a span: its mean becomes an instance. The last open span takes its place in the list. */
static int close_span(mert_instances *in, int64_t at, mert_error *e)
{
    mert_open_span s = in->open[at];
    if (s.frames && !in->frames) {
        if (in->n == in->room && grow(in, e))
            return -1;
        for (int64_t i = 0; i < in->features.width; i++)
            in->x[in->n * in->features.width + i] = (float)(s.sum[i] / (double)s.frames);
        in->row[in->n++] = s.row;
    }
    in->empty += !s.frames;
    in->open[at] = in->open[--in->n_open];
    in->open[in->n_open] = s;
    return 0;
}

static int add_frame(mert_instances *in, mert_open_span *s, const float *x, int64_t frame, mert_error *e)
{
    s->frames++;
    if (in->frames) {
        memcpy(in->marked, x, (size_t)in->features.width * sizeof *x);
        memcpy(in->marked + in->features.width, &(mark){s->row, frame}, sizeof(mark));
        return mert_sample_add(in->sample, in->marked, 1, e);
    }
    for (int64_t i = 0; i < in->features.width; i++)
        s->sum[i] += x[i];
    return 0;
}

/* Opens the spans that begin before the time, and closes those that end by then. */
static int turn_to(mert_instances *in, double time, mert_error *e)
{
    const mert_probe_row *rows = in->table->rows;
    for (; in->next < in->first + in->count && rows[in->next].start <= time; in->next++)
        if (open_span(in, in->next, e))
            return -1;
    for (int64_t i = in->n_open; i-- > 0;)
        if (rows[in->open[i].row].end <= time && close_span(in, i, e))
            return -1;
    return 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_instances *in = self;
    const mts_record *r = &in->input.record;
    int64_t frame = in->input.frame;
    const float *x = in->count ? mert_feature_input_read(&in->input, data, n, e) : NULL;
    (void)sink;
    if (!in->count)
        return 0;
    for (int64_t i = 0; x && i < n; i++, frame++) {
        double middle =
            r->frame_rate_num > 0 ? ((double)frame + 0.5) * (double)r->frame_rate_den / (double)r->frame_rate_num : 0;
        if (turn_to(in, middle, e))
            return -1;
        for (int64_t k = 0; k < in->n_open; k++)
            if (add_frame(in, &in->open[k], x + i * in->features.width, frame, e))
                return -1;
    }
    return x ? 0 : -1;
}

/* Stores the open item's key for its rows. */
static int keep_key(mert_instances *in, mert_error *e)
{
    char *key = strdup(in->input.record.key);
    in->key = in->key ? in->key : mert_array_zeroed(in->table->n, sizeof *in->key);
    if (!key || !in->key) {
        free(key);
        return mert_fail(e, "out of memory");
    }
    for (int64_t i = 0; i < in->count; i++)
        in->key[in->first + i] = key;
    return 0;
}

const char *mert_instances_key(const mert_instances *in, int64_t i)
{
    return in->key ? in->key[in->row[i]] : in->table->rows[in->row[i]].key;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    mert_instances *in = self;
    (void)sink;
    if (!in->count)
        return 0;
    if (!in->input.frame)
        return mert_fail(e, "has no frames");
    while (in->n_open)
        if (close_span(in, in->n_open - 1, e))
            return -1;
    in->empty += in->first + in->count - in->next;
    if (in->table->stems && keep_key(in, e))
        return -1;
    memset(in->came + in->first, 1, (size_t)in->count);
    return 0;
}

static void drop(void *self)
{
    mert_instances *in = self;
    if (!in->count)
        return;
    in->n = in->kept;
    in->empty = in->kept_empty;
    in->n_open = 0;
    if (in->sample)
        mert_sample_drop(in->sample);
}

/* ---- the end of the input ---- */

/* Converts the sample [n, values + mark] in place to x [n, values], to row and to frame. */
static int take_sample(mert_instances *in, mert_error *e)
{
    int64_t values = in->features.width;
    float *x = mert_sample_finish(in->sample, &in->n, e);
    if (!x)
        return mert_fail(e, "no frame of an item with a label came in");
    in->row = mert_array(in->n, sizeof *in->row);
    in->frame = mert_array(in->n, sizeof *in->frame);
    if (!in->row || !in->frame)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < in->n; i++) {
        mark m;
        memcpy(&m, x + i * (values + MARK) + values, sizeof m);
        in->row[i] = m.row;
        in->frame[i] = m.frame;
        memmove(x + i * values, x + i * (values + MARK), (size_t)values * sizeof *x);
    }
    in->x = x;
    return 0;
}

typedef struct place { int64_t row, at, frame; } place;

static int by_row(const void *pa, const void *pb)
{
    const place *a = pa, *b = pb;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

/* Sorts instances by row: follows each cycle of the permutation once. */
static int sort(mert_instances *in, mert_error *e)
{
    int64_t values = in->features.width;
    size_t bytes = (size_t)values * sizeof(float);
    place *to = mert_array(in->n, sizeof *to);
    float *x = in->marked;
    if (!to)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < in->n; i++)
        to[i] = (place){in->row[i], i, in->frame ? in->frame[i] : 0};
    qsort(to, (size_t)in->n, sizeof *to, by_row);
    for (int64_t i = 0; i < in->n; i++) {
        in->row[i] = to[i].row;
        if (in->frame)
            in->frame[i] = to[i].frame;
    }
    for (int64_t start = 0; start < in->n; start++) {
        int64_t at = start;
        if (to[start].at == start)
            continue;
        memcpy(x, in->x + start * values, bytes);
        for (int64_t from = to[at].at; from != start; at = from, from = to[at].at) {
            memcpy(in->x + at * values, in->x + from * values, bytes);
            to[at].at = at;
        }
        memcpy(in->x + at * values, x, bytes);
        to[at].at = at;
    }
    free(to);
    return 0;
}

static int finish(void *self, mert_error *e)
{
    mert_instances *in = self;
    const mert_probe_row *rows = in->table->rows;
    for (int64_t i = 0; i < in->table->n; i++)
        in->missing += !in->came || !in->came[i];
    if (in->missing == in->table->n)
        return in->unknown ? mert_fail(e, "%s: no item has a row: the first item is '%.200s', the first key '%.200s'",
                                       in->table->path, in->first_unknown, rows[0].key)
                           : mert_fail(e, "%s: no item came in for any row", in->table->path);
    if (in->sample && take_sample(in, e))
        return -1;
    if (!in->n)
        return mert_fail(e, "%s: no span has a frame in it", in->table->path);
    return sort(in, e) || in->finish(in->finish_self, in, e) ? -1 : 0;
}

const mert_stage mert_instances_stage = {
    .stream = on_stream, .begin = begin, .frames = frames, .end = end, .drop = drop, .finish = finish};

void mert_instances_free(mert_instances *in)
{
    if (!in->sample)
        free(in->x);
    mert_sample_free(in->sample);
    for (int64_t i = 0; in->key && i < in->table->n; i++)
        if (!i || in->key[i] != in->key[i - 1])
            free(in->key[i]);
    free(in->key);
    free(in->row);
    free(in->frame);
    free(in->layer);
    free(in->marked);
    free(in->came);
    for (int64_t i = 0; i < in->open_room; i++)
        free(in->open[i].sum);
    free(in->open);
    mert_feature_input_free(&in->input);
}
