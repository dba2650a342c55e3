/* k-means teachers. train: a stream of features in, a codebook file out. assign: features in, codes [T, 1] out (and HuBERT label files).
 *
 *     mert-decode --rate 16000 --manifest train.tsv | mert-mel --mfcc > mfcc.mts
 *     mert-kmeans train -k 500 -o mfcc500.safetensors mfcc.mts
 *     mert-kmeans assign -m mfcc500.safetensors --labels train.km mfcc.mts > codes.mts */
#include "../libcommon/base/filter.h"
#include "../libcommon/base/label_tap.h"
#include "../libcommon/base/log.h"
#include "../libcommon/base/options.h"
#include "../libcommon/base/report.h"
#include "../libcommon/models/codebook_file.h"
#include "../libcommon/models/kmeans.h"
#include "../libcommon/models/nearest.h"
#include "../libcommon/models/sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

static int64_t k, seed, batch = 10000, max_iter = 100, init_samples, n_init = 20, lloyd, max_frames;
static const char *model, *labels;
static int any_settings;

static const mert_option train_options[] = {
    {"clusters", 'k', MERT_INT64, &k, "K", 1, 1 << 24, NULL, "number of clusters (classes)"},
    {"output", 'o', MERT_STRING, &model, "MODEL", 0, 0, NULL, "codebook file to write (.safetensors)"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "seed of all random choices"},
    {"batch", 0, MERT_INT64, &batch, "N", 1, 1 << 28, NULL, "frames of a mini-batch"},
    {"max-iter", 0, MERT_INT64, &max_iter, "N", 0, 1e9, NULL, "passes over the sample at most"},
    {"init-samples", 0, MERT_INT64, &init_samples, "N", 0, 1 << 28, NULL, "frames that k-means++ sees (0: 3 batches, at least 3 K)"},
    {"n-init", 0, MERT_INT64, &n_init, "N", 1, 1000, NULL, "starts of k-means++, the best is kept"},
    {"lloyd", 0, MERT_INT64, &lloyd, "N", 0, 1e9, NULL, "full iterations over the sample afterwards, at most"},
    {"max-frames", 0, MERT_INT64, &max_frames, "N", 0, 4e9, NULL, "frames kept in memory, a uniform sample (0: what 1 GiB holds)"},
    {0}};

static const mert_option assign_options[] = {
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL, "codebook file of 'train', or centroids [K, D] as .npy"},
    {"labels", 0, MERT_STRING, &labels, "FILE", 0, 0, NULL, "write HuBERT labels, one line per manifest row, and FILE.meta"},
    {"any-settings", 0, MERT_FLAG, &any_settings, NULL, 0, 0, NULL, "accept features made with other settings than the codebook's"},
    {0}};

/* ---- what both have ---- */

typedef struct state {
    mts_begin stream;       /* that the records come from */
    mert_codebook book;     /* train: filled at the end */
    mert_features now;      /* of the open record */
    mts_record record;      /* the open record */
    int64_t frame;          /* frames of it so far */
    float *values;          /* [room] frames as float32 */
    int64_t room;
    mert_sample *sample;    /* train */
    mert_nearest *nearest;  /* assign */
    int32_t *label;         /* assign: [room / width] */
    uint16_t *narrow;
} state;

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    ((state *)self)->stream = *b;
    return 0;
}

static int read_values(state *s, const void *data, int64_t frames, mert_error *e)
{
    int64_t n = frames * s->now.width;
    if (n > s->room) {
        free(s->values);
        s->room = 0;
        s->values = malloc((size_t)n * sizeof *s->values);
        if (!s->values)
            return mert_fail(e, "out of memory");
        s->room = n;
    }
    return mert_features_read(&s->record, data, frames, s->values, e);
}

static int not_finite(const state *s, int64_t frame, mert_error *e)
{
    return mert_fail(e, "frame %" PRId64 " holds a NaN, an infinity or a value beyond 1e18", s->frame + frame);
}

/* ---- train ---- */

static int train_begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    int64_t most;
    (void)out;
    if (mert_features_of(&s->now, &s->stream, in, e))
        return -1;
    if (!s->sample) {
        s->book.features = s->now;
        most = max_frames ? max_frames : (INT64_C(1) << 30) / (4 * s->now.width);
        if (most < k)
            most = k;
        s->sample = mert_sample_new(s->now.width, most, (uint64_t)seed);
        if (!s->sample)
            return mert_fail(e, "out of memory");
    } else if (mert_features_check(&s->book.features, &s->now, 0, e))
        return mert_fail_in(e, "does not fit what came before");
    s->record = *in;
    s->frame = 0;
    mert_sample_begin(s->sample, mert_features_item(in));
    return 0;
}

static int train_frames(void *self, const void *data, int64_t frames, mert_sink *sink, mert_error *e)
{
    state *s = self;
    (void)sink;
    if (read_values(s, data, frames, e))
        return -1;
    for (int64_t i = 0; i < frames * s->now.width; i++)
        if (!(s->values[i] > -1e18f && s->values[i] < 1e18f))
            return not_finite(s, i / s->now.width, e);
    s->frame += frames;
    return mert_sample_add(s->sample, s->values, frames, e);
}

static int train_end(void *self, mert_sink *sink, mert_error *e)
{
    (void)self;
    (void)sink;
    (void)e;
    return 0;
}

static void train_drop(void *self)
{
    mert_sample_drop(((state *)self)->sample);
}

static void show(void *self, const char *what, int64_t step, int64_t steps, double inertia)
{
    (void)self;
    if (inertia < 0)
        mert_log_progress("%s %" PRId64 " of %" PRId64, what, step, steps);
    else
        mert_log_progress("%s %" PRId64 " of at most %" PRId64 ", mean squared distance %.6g", what, step, steps, inertia);
}

static int train_finish(void *self, mert_error *e)
{
    state *s = self;
    mert_kmeans_options o = {k, (uint64_t)seed, batch, max_iter, mert_kmeans_defaults.max_no_improvement, init_samples, n_init, lloyd, show, s};
    mert_kmeans_result r;
    const float *x;
    int64_t n;
    if (!s->sample)
        return mert_fail(e, "no features came in");
    x = mert_sample_finish(s->sample, &n, e);
    if (!x && n)
        return -1;
    snprintf(s->book.type, sizeof s->book.type, "kmeans");
    s->book.count = 1;
    s->book.classes = k;
    s->book.width = s->book.features.width;
    s->book.codewords = calloc((size_t)(k * s->book.width), sizeof(float));
    if (!s->book.codewords)
        return mert_fail(e, "out of memory");
    if (mert_kmeans_train(&o, x, n, s->book.width, s->book.codewords, &r, e))
        return -1;
    mert_log_progress_end();
    if (r.empty)
        mert_log_note("%" PRId64 " of %" PRId64 " clusters are empty: are there so many different frames?", r.empty, k);
    if (mert_options.verbose)
        mert_log_note("%" PRId64 " of %" PRId64 " frames, %" PRId64 " mini-batches, %" PRId64 " full iterations, %" PRId64
                      " clusters placed anew, inertia %.9g (%.6g per frame)",
                      n, mert_sample_seen(s->sample), r.steps, r.iterations, r.placed_anew, r.inertia, r.inertia / (double)n);
    return mert_codebook_write(&s->book, model, e);
}

static const mert_stage train_stage = {train_begin, train_frames, train_end, train_drop, on_stream, train_finish};

/* ---- assign ---- */

static int assign_begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    if (mert_features_of(&s->now, &s->stream, in, e) || mert_features_check(&s->book.features, &s->now, any_settings, e))
        return -1;
    s->record = *in;
    s->frame = 0;
    snprintf(out->kind, sizeof out->kind, "codes");
    out->dtype = s->book.classes > 65535 ? MTS_I32 : MTS_U16;
    out->ndim = 2;
    out->shape[0] = in->shape[0];
    out->shape[1] = 1;
    out->frame_rate_num = in->frame_rate_num;
    out->frame_rate_den = in->frame_rate_den;
    out->ncodebooks = 1;
    out->classes[0] = s->book.classes;
    out->model = s->book.hash;
    return 0;
}

static int assign_frames(void *self, const void *data, int64_t frames, mert_sink *sink, mert_error *e)
{
    state *s = self;
    int64_t room = s->room, bad;
    if (read_values(s, data, frames, e))
        return -1;
    if (s->room != room || !s->label) {
        free(s->label);
        free(s->narrow);
        s->label = malloc((size_t)(s->room / s->now.width + 1) * sizeof *s->label);
        s->narrow = malloc((size_t)(s->room / s->now.width + 1) * sizeof *s->narrow);
        if (!s->label || !s->narrow)
            return mert_fail(e, "out of memory");
    }
    bad = mert_nearest_find(s->nearest, s->values, s->now.width, frames, s->label, NULL);
    if (bad == -2)
        return mert_fail(e, "out of memory");
    if (bad >= 0)
        return not_finite(s, bad, e);
    s->frame += frames;
    if (s->book.classes > 65535)
        return mert_sink_write(sink, s->label, frames, e);
    for (int64_t i = 0; i < frames; i++)
        s->narrow[i] = (uint16_t)s->label[i];
    return mert_sink_write(sink, s->narrow, frames, e);
}

static const mert_stage assign_stage = {assign_begin, assign_frames, train_end, NULL, on_stream, NULL};

static void release(state *s)
{
    mert_codebook_free(&s->book);
    mert_sample_free(s->sample);
    mert_nearest_free(s->nearest);
    free(s->values);
    free(s->label);
    free(s->narrow);
}

static int train(int argc, char **argv)
{
    static state s;
    mert_filter f = {.stage = &train_stage, .self = &s, .no_output = 1};
    int status;
    if (!k)
        mert_usage_error("how many clusters? -k K");
    if (!model)
        mert_usage_error("where to? -o MODEL");
    status = mert_filter_run(&f, argv, argc);
    release(&s);
    return status;
}

static int assign(int argc, char **argv)
{
    static state s;
    mert_label_tap tap = {0};
    mert_error e;
    char settings[64];
    mert_filter f = {.stage = &assign_stage, .self = &s, .settings = settings};
    int status = 1;
    if (!model)
        mert_usage_error("with which codebook? -m MODEL");
    if (mert_codebook_read(&s.book, model, &e) || (labels && mert_label_tap_open(&tap, labels, &e))) {
        mert_log_error("%s", e.text);
        goto done;
    }
    if (strcmp(s.book.type, "kmeans")) {
        mert_log_error("%s: is a codebook for %s, not for k-means (mert-rvq encodes with it)", model, s.book.type);
        goto done;
    }
    s.nearest = mert_nearest_new(s.book.codewords, s.book.classes, s.book.width);
    if (!s.nearest) {
        mert_log_error("out of memory");
        goto done;
    }
    snprintf(settings, sizeof settings, "assign model=%016" PRIx64, s.book.hash);
    if (labels) {
        f.tap = &mert_label_tap_calls;
        f.tap_self = &tap;
    }
    status = mert_filter_run(&f, argv, argc);
done:
    mert_label_tap_close(&tap);
    release(&s);
    return status;
}

static const mert_command commands[] = {
    {"train", "[options] -k K -o MODEL [FILE...]", "features in, a codebook of K centroids out", train_options, train},
    {"assign", "[options] -m MODEL [FILE...]", "features in, codes [T, 1] out: the nearest centroid of each frame", assign_options, assign},
    {0}};

static const mert_tool tool = {"mert-kmeans", "k-means teachers: trains codebooks on features, and labels features with them",
                               "COMMAND [options] [FILE...]", "Reads streams of features (cqt, mel, mfcc, chroma, hidden) [T, width].",
                               NULL, commands};

int main(int argc, char **argv)
{
    return mert_tool_main(&tool, argc, argv);
}
