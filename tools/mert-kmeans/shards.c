/* One full iteration of k-means over a corpus, divided among jobs. accumulate: features of a shard and the model in,
 * exact sums out. merge: the sums of all shards in, the next model out. */
#include "tools/mert-kmeans/commands.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/program/report.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/kmeans/shard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *model, *output;
static int any_settings, partial;

const mert_option kmeans_accumulate_options[] = {
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL, "centroids of the last iteration"},
    {"output", 'o', MERT_STRING, &output, "SUMS", 0, 0, NULL, "file of sums to write (.safetensors)"},
    {"any-settings", 0, MERT_FLAG, &any_settings, NULL, 0, 0, NULL,
     "accept features made with other settings than those of the codebook"},
    {0}};

const mert_option kmeans_merge_options[] = {
    {"output", 'o', MERT_STRING, &output, "MODEL", 0, 0, NULL, "codebook file to write (.safetensors)"},
    {"partial", 0, MERT_FLAG, &partial, NULL, 0, 0, NULL, "accept missing rows of a manifest"},
    {0}};

/* ---- accumulate ---- */

typedef struct accumulating {
    mert_kmeans_shard shard;
    mert_kmeans_pass item;      /* sums of the open item, which may still fail */
    mert_nearest *nearest;
    mert_feature_input input;
    int32_t *label;             /* [room] */
    double *distance2;
    int64_t room;
} accumulating;

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    accumulating *a = self;
    (void)out;
    mert_kmeans_pass_clear(&a->item);
    return mert_feature_input_begin(&a->input, in, e) ||
                   mert_features_check(&a->shard.book.features, &a->input.features, any_settings, e)
               ? -1 : 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    accumulating *a = self;
    const float *x = mert_feature_input_floats(&a->input, data, n, e);
    int64_t bad;
    (void)sink;
    if (!x)
        return -1;
    if (n > a->room) {
        free(a->label);
        free(a->distance2);
        a->room = 0;
        a->label = mert_array(n, sizeof *a->label);
        a->distance2 = mert_array(n, sizeof *a->distance2);
        if (!a->label || !a->distance2)
            return mert_fail(e, "out of memory");
        a->room = n;
    }
    bad = mert_nearest_find(a->nearest, x, a->shard.book.width, n, a->label, a->distance2);
    if (bad != -1)
        return bad < 0 ? mert_fail(e, "out of memory") : mert_feature_input_refuse(&a->input, bad, e);
    return mert_kmeans_pass_add(&a->item, x, n, a->label, a->distance2, e);
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    accumulating *a = self;
    (void)sink;
    return mert_kmeans_pass_merge(&a->shard.pass, &a->item, e) ||
                   mert_kmeans_shard_row(&a->shard, &a->input.stream, a->input.record.row, e)
               ? -1 : 0;
}

static int finish(void *self, mert_error *e)
{
    return mert_kmeans_shard_write(&((accumulating *)self)->shard, output, e);
}

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((accumulating *)self)->input, b);
    return 0;
}

/* Failed rows, too, count as seen. */
static int on_failed(void *self, const char *key, int64_t row, mert_error *e)
{
    accumulating *a = self;
    (void)key;
    return mert_kmeans_shard_row(&a->shard, &a->input.stream, row, e);
}

static const mert_stage stage = {
    .stream = on_stream, .begin = begin, .frames = frames, .end = end, .finish = finish};
static const mert_observer observer = {.failed = on_failed};

static int open_model(accumulating *a, mert_error *e)
{
    mert_codebook book;
    if (kmeans_open(&book, &a->nearest, model, e))
        return -1;
    return mert_kmeans_shard_new(&a->shard, &book, e) ||
                   mert_kmeans_pass_new(&a->item, a->shard.book.classes, a->shard.book.width, e)
               ? -1 : 0;
}

int kmeans_accumulate(int argc, char **argv)
{
    static accumulating a;
    mert_filter f = {.stage = &stage, .self = &a, .no_output = 1, .observer = &observer, .observer_self = &a};
    mert_error e;
    int status = 1;
    if (!model)
        mert_usage_error("-m MODEL is needed");
    if (!output)
        mert_usage_error("where to? -o SUMS");
    f.output = output;
    if (open_model(&a, &e))
        mert_log_error("%s", e.text);
    else
        status = mert_filter_run(&f, argv, argc);
    mert_kmeans_shard_free(&a.shard);
    mert_kmeans_pass_free(&a.item);
    mert_nearest_free(a.nearest);
    mert_feature_input_free(&a.input);
    free(a.label);
    free(a.distance2);
    return status;
}

/* ---- merge ---- */

static int merge_all(mert_kmeans_shard *all, char **files, int n, mert_error *e)
{
    for (int i = 0; i < n; i++) {
        mert_kmeans_shard one;
        int bad;
        if (mert_kmeans_shard_read(i ? &one : all, files[i], e))
            return -1;
        if (!i)
            continue;
        bad = mert_kmeans_shard_merge(all, &one, e) ? mert_fail_in(e, "%s", files[i]) : 0;
        mert_kmeans_shard_free(&one);
        if (bad)
            return -1;
        mert_log_progress("%d of %d shards", i + 1, n);
    }
    return partial ? 0 : mert_kmeans_shard_complete(all, e);
}

static int next_model(mert_kmeans_shard *all, mert_error *e)
{
    int64_t k = all->book.classes, n = mert_kmeans_sums_points(&all->pass.sums);
    mert_kmeans_step step;
    if (k > n)
        return mert_fail(e, "%" PRId64 " clusters need at least as many frames, but %" PRId64 " came in", k, n);
    mert_kmeans_pass_step(&all->pass, all->book.codewords, &step);
    if (mert_options.verbose)
        mert_log_note("%" PRId64 " frames, inertia %.9g, mean squared distance %.6g, %" PRId64 " clusters empty, "
                      "%" PRId64 " of them moved, largest move %.6g%s", step.points, step.inertia,
                      step.inertia / (double)step.points, step.empty, step.placed, step.moved,
                      step.moved == 0 ? ": nothing left to do" : "");
    return mert_codebook_write(&all->book, output, e);
}

int kmeans_merge(int argc, char **argv)
{
    mert_kmeans_shard all = {0};
    mert_error e;
    if (!output)
        mert_usage_error("where to? -o MODEL");
    if (!argc)
        mert_usage_error("name the sums: SUMS...");
    if (mert_output_check(output, argv, argc, &e) || merge_all(&all, argv, argc, &e) || next_model(&all, &e))
        mert_report_broken("%s", e.text);
    mert_kmeans_shard_free(&all);
    return mert_report_finish();
}
