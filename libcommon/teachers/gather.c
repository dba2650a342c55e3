#include "libcommon/teachers/gather.h"

#include <inttypes.h>
#include <string.h>

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((mert_gather *)self)->input, b);
    return 0;
}

/* Whether the item was in an earlier stream. Streams without a manifest and without an input hash cannot be told
 * apart. */
static int came_before(mert_gather *g, const mts_record *in, mert_error *e)
{
    const mts_begin *b = &g->input.stream;
    mts_xxh64_state s;
    int fresh = 1;
    mts_xxh64_begin(&s, 0);
    mts_xxh64_add(&s, &b->manifest, sizeof b->manifest);
    mts_xxh64_add(&s, &b->input, sizeof b->input);
    mts_xxh64_add(&s, &in->row, sizeof in->row);
    mts_xxh64_add(&s, in->key, strlen(in->key));
    if (b->manifest || b->input)
        fresh = mert_set_add(&g->came, mts_xxh64_end(&s, 0));
    if (fresh < 0)
        return mert_fail(e, "out of memory");
    return fresh ? 0 : mert_fail(e, "came before: the inputs must not hold an item twice");
}

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    mert_gather *g = self;
    int64_t most = g->max_frames, width;
    (void)out;
    if (came_before(g, in, e) || mert_feature_input_begin(&g->input, in, e))
        return -1;
    if (!g->sample) {
        g->features = g->input.features;
        g->rows = (mert_stack){.n = g->stack ? g->stack : 1, .width = g->features.width};
        width = g->rows.n * g->rows.width;
        if (!most)
            most = (INT64_C(1) << 30) / ((int64_t)sizeof(float) * width);
        g->sample = mert_sample_new(width, most < g->least ? g->least : most, g->seed);
        if (!g->sample)
            return mert_fail(e, "out of memory");
    } else if (mert_features_check(&g->features, &g->input.features, 0, e))
        return -1;
    mert_stack_reset(&g->rows);
    mert_sample_begin(g->sample, mert_features_item(&g->input.stream, in));
    return 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_gather *g = self;
    const float *x = mert_feature_input_read(&g->input, data, n, e);
    int64_t rows;
    (void)sink;
    if (x)
        x = mert_stack_add(&g->rows, x, n, &rows, e);
    return x ? mert_sample_add(g->sample, x, rows, e) : -1;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    (void)self;
    (void)sink;
    (void)e;
    return 0;
}

static void drop(void *self)
{
    mert_sample_drop(((mert_gather *)self)->sample);
}

static int finish(void *self, mert_error *e)
{
    mert_gather *g = self;
    int64_t n = 0;
    float *x = g->sample ? mert_sample_finish(g->sample, &n, e) : NULL;
    if (!g->sample || !mert_sample_seen(g->sample))
        return mert_fail(e, "no features to train on came in");
    if (x && n > 1 && g->least > 1 && mert_features_same(x, n, g->rows.n * g->rows.width))
        return mert_fail(e, "all %" PRId64 " frames are the same: they cannot be divided into classes", n);
    return x ? g->finish(g->finish_self, &g->features, x, n, mert_sample_seen(g->sample), e) : -1;
}

const mert_stage mert_gather_stage = {
    .stream = on_stream, .begin = begin, .frames = frames, .end = end, .drop = drop, .finish = finish};

void mert_gather_free(mert_gather *g)
{
    mert_sample_free(g->sample);
    mert_feature_input_free(&g->input);
    mert_stack_free(&g->rows);
    mert_set_free(&g->came);
    g->sample = NULL;
}
