/* k-means teachers. train, init: a stream of features in, a codebook file out. assign: features in, codes [T, 1] out
 * (and HuBERT label files). accumulate, merge (mert-kmeans/shards.c): one full iteration by many jobs.
 *
 *     mert-decode --rate 16000 --manifest train.tsv | mert-mel --mfcc > mfcc.mts
 *     mert-kmeans train -k 500 -o mfcc500.safetensors mfcc.mts
 *     mert-kmeans assign -m mfcc500.safetensors --labels train.km mfcc.mts > codes.mts */
#include "formats/array.h"
#include "tools/mert-kmeans/commands.h"

#include "libcommon/program/filter.h"
#include "libcommon/program/label_writer.h"
#include "libcommon/program/log.h"
#include "libcommon/teachers/gather.h"
#include "libcommon/teachers/kmeans/kmeans.h"

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
    {"max-iter", 0, MERT_INT64, &max_iter, "N", 0, 1e9, NULL, "maximum number of passes over the sample"},
    {"init-samples", 0, MERT_INT64, &init_samples, "N", 0, 1 << 28, NULL,
     "frames that k-means++ uses (0: 3 batches, at least 3 K)"},
    {"n-init", 0, MERT_INT64, &n_init, "N", 1, 1000, NULL, "number of starts of k-means++, of which the best is kept"},
    {"lloyd", 0, MERT_INT64, &lloyd, "N", 0, 1e9, NULL, "maximum number of full iterations over the sample afterwards"},
    {"max-frames", 0, MERT_INT64, &max_frames, "N", 0, 4e9, NULL,
     "frames kept in memory, as a uniform sample (0: as many as fit into 1 GiB)"},
    {0}};

/* The same without the options of the iterations. */
static const mert_option init_options[] = {
    {"clusters", 'k', MERT_INT64, &k, "K", 1, 1 << 24, NULL, "number of clusters (classes)"},
    {"output", 'o', MERT_STRING, &model, "MODEL", 0, 0, NULL, "codebook file to write (.safetensors)"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "seed of all random choices"},
    {"init-samples", 0, MERT_INT64, &init_samples, "N", 0, 1 << 28, NULL,
     "frames that k-means++ uses (0: 30000, at least 3 K)"},
    {"n-init", 0, MERT_INT64, &n_init, "N", 1, 1000, NULL, "number of starts of k-means++, of which the best is kept"},
    {"max-frames", 0, MERT_INT64, &max_frames, "N", 0, 4e9, NULL,
     "frames kept in memory, as a uniform sample (0: as many as fit into 1 GiB)"},
    {0}};

static const mert_option assign_options[] = {
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL, "codebook file of 'train', or centroids [K, D] as .npy"},
    {"labels", 0, MERT_STRING, &labels, "FILE", 0, 0, NULL,
     "also write HuBERT's label file, one line per manifest row, and FILE.meta"},
    {"any-settings", 0, MERT_FLAG, &any_settings, NULL, 0, 0, NULL,
     "accept features made with other settings than those of the codebook"},
    {0}};

/* ---- train ---- */

static void show(void *self, const char *what, int64_t step, int64_t steps, double inertia)
{
    (void)self;
    if (inertia < 0)
        mert_log_progress("%s %" PRId64 " of %" PRId64, what, step, steps);
    else
        mert_log_progress("%s %" PRId64 " of at most %" PRId64 ", mean squared distance %.6g", what, step, steps,
                          inertia);
}

/* Called at the end of the input: trains on the sample x [n, width] and writes the codebook file. */
static int write_centroids(void *self, const mert_features *f, float *x, int64_t n, int64_t seen, mert_error *e)
{
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result r;
    mert_codebook book = {.type = "kmeans", .features = *f, .count = 1, .classes = k, .width = f->width};
    int bad;
    (void)self;
    o.k = k;
    o.seed = (uint64_t)seed;
    o.batch = batch;
    o.max_iter = max_iter;
    o.init_samples = init_samples;
    o.n_init = n_init;
    o.lloyd = lloyd;
    o.progress = show;
    if (k > n)
        return mert_fail(e, "%" PRId64 " clusters need at least as many frames, but %" PRId64 " came in", k, n);
    book.codewords = mert_array(mert_array_count(k, f->width), sizeof(float));
    bad = !book.codewords ? mert_fail(e, "out of memory")
                          : mert_kmeans_train(&o, x, n, f->width, book.codewords, &r, e);
    if (!bad && r.empty)
        mert_log_note("%" PRId64 " of %" PRId64 " clusters are empty: are there so many different frames?", r.empty, k);
    if (!bad && mert_options.verbose)
        mert_log_note("%" PRId64 " of %" PRId64 " frames, %" PRId64 " mini-batches, %" PRId64 " full iterations, "
                      "%" PRId64 " clusters moved, inertia %.9g, mean squared distance %.6g",
                      n, seen, r.steps, r.iterations, r.placed_anew, r.inertia, r.inertia / (double)n);
    bad = bad || mert_codebook_write(&book, model, e);
    mert_codebook_free(&book);
    return bad ? -1 : 0;
}

static int train(int argc, char **argv)
{
    static mert_gather g;
    mert_filter f = {.stage = &mert_gather_stage, .self = &g, .no_output = 1};
    int status;
    if (!k)
        mert_usage_error("-k K is needed, the number of clusters");
    if (!model)
        mert_usage_error("where to? -o MODEL");
    g.seed = (uint64_t)seed;
    g.max_frames = max_frames;
    g.least = k;
    g.finish = write_centroids;
    f.output = model;
    status = mert_filter_run(&f, argv, argc);
    mert_gather_free(&g);
    return status;
}

static int init(int argc, char **argv)
{
    max_iter = 0;
    return train(argc, argv);
}

/* ---- assign ---- */

typedef struct assigning {
    mert_codebook book;
    mert_nearest *nearest;
    mert_feature_input input;
    int32_t *label;         /* [room] */
    uint16_t *narrow;
    int64_t room;
} assigning;

static int assign_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((assigning *)self)->input, b);
    return 0;
}

static int assign_begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    assigning *s = self;
    if (mert_feature_input_begin(&s->input, in, e) ||
        mert_features_check(&s->book.features, &s->input.features, any_settings, e))
        return -1;
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

static int assign_frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    assigning *s = self;
    const float *x = mert_feature_input_floats(&s->input, data, n, e);
    int64_t bad;
    if (!x)
        return -1;
    if (n > s->room) {
        free(s->label);
        free(s->narrow);
        s->room = 0;
        s->label = mert_array(n, sizeof *s->label);
        s->narrow = mert_array(n, sizeof *s->narrow);
        if (!s->label || !s->narrow)
            return mert_fail(e, "out of memory");
        s->room = n;
    }
    bad = mert_nearest_find(s->nearest, x, s->book.width, n, s->label, NULL);
    if (bad != -1)
        return bad < 0 ? mert_fail(e, "out of memory") : mert_feature_input_refuse(&s->input, bad, e);
    if (s->book.classes > 65535)
        return mert_sink_write(sink, s->label, n, e);
    for (int64_t i = 0; i < n; i++)
        s->narrow[i] = (uint16_t)s->label[i];
    return mert_sink_write(sink, s->narrow, n, e);
}

static int assign_end(void *self, mert_sink *sink, mert_error *e)
{
    (void)self;
    (void)sink;
    (void)e;
    return 0;
}

static const mert_stage assign_stage = {
    .stream = assign_stream, .begin = assign_begin, .frames = assign_frames, .end = assign_end};

int kmeans_open(mert_codebook *book, mert_nearest **nearest, const char *path, mert_error *e)
{
    if (mert_codebook_read(book, path, e))
        return -1;
    if (!strcmp(book->type, "kmeans")) {
        *nearest = mert_nearest_new(book->codewords, book->classes, book->width);
        if (*nearest)
            return 0;
        mert_fail(e, "out of memory");
    } else if (!strcmp(book->type, "kmeans-sums"))
        mert_fail(e, "%s: holds the sums of a shard, not a model: see mert-kmeans merge", path);
    else
        mert_fail(e, "%s: is a codebook of kind %s, not of k-means: see mert-rvq encode", path, book->type);
    mert_codebook_free(book);
    return -1;
}

static int assign(int argc, char **argv)
{
    static assigning s;
    mert_label_writer writer = {0};
    mert_error e;
    char settings[64];
    mert_filter f = {.stage = &assign_stage, .self = &s, .settings = settings};
    int status = 1;
    if (!model)
        mert_usage_error("-m MODEL is needed");
    if (kmeans_open(&s.book, &s.nearest, model, &e) || (labels && mert_label_writer_open(&writer, labels, &e))) {
        mert_log_error("%s", e.text);
    } else {
        snprintf(settings, sizeof settings, "assign model=%016" PRIx64, s.book.hash);
        if (labels) {
            f.observer = &mert_label_writer_calls;
            f.observer_self = &writer;
        }
        status = mert_filter_run(&f, argv, argc);
    }
    mert_label_writer_close(&writer);
    mert_codebook_free(&s.book);
    mert_nearest_free(s.nearest);
    mert_feature_input_free(&s.input);
    free(s.label);
    free(s.narrow);
    return status;
}

static const mert_command commands[] = {
    {"train", "[options] -k K -o MODEL [FILE...]",
     "read features, write a codebook of K centroids", train_options, train},
    {"init", "[options] -k K -o MODEL [FILE...]", "read features, write first centroids by k-means++", init_options,
     init},
    {"accumulate", "[options] -m MODEL -o SUMS [FILE...]",
     "read features of a shard, write its sums for a full iteration",
     kmeans_accumulate_options, kmeans_accumulate},
    {"merge", "[options] -o MODEL SUMS...",
     "read the sums of all shards, write the next codebook", kmeans_merge_options,
     kmeans_merge},
    {"assign", "[options] -m MODEL [FILE...]", "read features, write codes [T, 1]: the nearest centroid of each frame",
     assign_options, assign},
    {0}};

static const mert_tool tool = {"mert-kmeans",
                               "train k-means codebooks on features, and label features with them",
                               "COMMAND [options] [FILE...]",
                               "Reads streams of features (cqt, mel, mfcc, chroma, hidden) [T, width].",
                               NULL, commands};

int main(int argc, char **argv)
{
    return mert_tool_main(&tool, argc, argv);
}
