/* train [--threads N] [--runs R] [--clips B] [--samples L] [--set NAME=VALUE] RECIPE: measures one update of the
 * recipe's model on B clips of L samples (0: from the recipe), with everything that mert-train does per batch:
 * regression targets, forward, backward, clipping, Adam. Prints "accumulate seconds GFLOP KIB" and "update seconds",
 * separated by tabs; the GFLOP are three times those of a forward pass (models/flops.h). LayerDrop is off, so that the
 * formula holds.
 *
 * --device NAME: the same on a device, batch after batch as in a run (targets were made ahead of time): prints
 * milliseconds of a batch and of an update, TFLOP/s and their share of the device's rate by its data sheet, the host's
 * time and waits. --table: then also the time of each kind of operation in a batch. */
#include "libcommon/base/random.h"
#include "libcommon/models/flops.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/data/mask.h"
#include "libcommon/train/monitor/device.h"
#include "libcommon/train/recipe/recipe.h"
#include "libcommon/train/trainer.h"
#include "tests/bench/clock.h"
#include "tests/bench/timed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODEBOOKS = 8, CLASSES = 1024 };

static int runs = 3, table;
static const char *device;
static int64_t clips, samples;
static mert_strings settings;
static const mert_option options[] = {
    {"runs", 0, MERT_INT, &runs, "R", 1, BENCH_RUNS_MAX, NULL, "updates, of which the median counts"},
    {"clips", 0, MERT_INT64, &clips, "B", 0, 1024, NULL, "clips of the batch (0: the recipe's max_tokens)"},
    {"samples", 0, MERT_INT64, &samples, "L", 0, 1 << 28, NULL, "samples of a clip (0: the recipe's max_sample_size)"},
    {"set", 0, MERT_LIST, &settings, "NAME=VALUE", 0, 0, NULL,
     "changes a setting of the recipe (may come several times)"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL, "a device, and what it is measured by"},
    {"table", 0, MERT_FLAG, &table, NULL, 0, 0, NULL, "the time of each kind of operation"},
    {0}};
static const mert_tool tool = {"train", "one update of a recipe's model", "[options] RECIPE", NULL, options, NULL};

typedef struct batch {
    float *audio;
    int32_t *labels;
    uint8_t *mask;
    int64_t *items;
} batch;

static int make_batch(const mert_recipe *r, const mert_config *c, batch *own, mert_batch *b, mert_error *e)
{
    mert_mask_config how = mert_recipe_mask(r, 1);
    mert_random audio = mert_random_key(1, MERT_FOR_TEST, 0, 0, 0), label = mert_random_key(1, MERT_FOR_TEST, 1, 0, 0);
    int64_t T = mert_config_frames(c, samples), n = clips * samples, frames = c->codebooks * clips * T;
    own->audio = malloc((size_t)n * sizeof *own->audio);
    own->labels = malloc((size_t)frames * sizeof *own->labels);
    own->mask = malloc((size_t)(clips * T));
    own->items = malloc((size_t)clips * sizeof *own->items);
    if (!own->audio || !own->labels || !own->mask || !own->items)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n; i++)
        own->audio[i] = 0.4f * (float)mert_random_uniform(&audio, (uint32_t)i) - 0.2f;
    for (int64_t i = 0; i < frames; i++)
        own->labels[i] = (int32_t)mert_random_below(&label, (uint32_t)i, CLASSES);
    for (int64_t i = 0; i < clips; i++)
        own->items[i] = i;
    *b = (mert_batch){.B = clips, .L = samples, .T = T, .K = c->codebooks, .clean = own->audio, .audio = own->audio,
                      .labels = own->labels, .mask = own->mask, .items = own->items};
    return mert_mask_make(&how, 1, 1, 0, own->items, clips, T, own->mask, e);
}

static int measure(mert_trainer *t, const mert_recipe *r, const mert_config *c, const mert_batch *b, mert_error *e)
{
    double accumulate[BENCH_RUNS_MAX], update[BENCH_RUNS_MAX], norm, work = 0;
    mert_forward_options how = mert_recipe_forward_options(r);
    for (int i = -1; i < runs; i++) { /* the first run allocates memory and does not count */
        mert_sums sums = {0};
        double start = bench_now(), between;
        how.update = (uint64_t)(i + 2);
        if (mert_trainer_accumulate(t, &how, b, &sums, e) || mert_trainer_settle(t, e))
            return -1;
        between = bench_now();
        if (mert_trainer_update(t, i + 2, r->lr, (double)sums.sample_size, &norm, e))
            return mert_fail(e, "the gradient is not finite");
        if (i >= 0) {
            accumulate[i] = between - start;
            update[i] = bench_now() - between;
        }
        work = 3 * (mert_forward_flops(c, b->B, b->L) + mert_heads_flops(c, sums.sample_size));
    }
    printf("accumulate\t%.5f\t%.3f\t%ld\n", bench_median(accumulate, runs), 1e-9 * work, bench_peak());
    printf("update\t%.5f\n", bench_median(update, runs));
    return 0;
}

/* ---- on a device ---- */

static void say_steps(const timed *t, const mert_batch *b, double step, double host, double update, double work)
{
    mert_device_rates rates;
    int known = t->inner->device && !mert_device_recognise(&rates, t->inner->device);
    printf("%" PRId64 " x %.1f s: %.2f ms a batch, %.2f ms an update, %.0f s/s, %.2f TFLOP/s", b->B,
           (double)b->L / 24000, 1e3 * step, 1e3 * update, (double)(b->B * b->L) / 24000 / step, 1e-12 * work / step);
    if (known)
        printf(", %.1f%% of %s's %g", 100 * work / step / (t->inner->type ? rates.half : rates.f32), rates.name,
               1e-12 * (t->inner->type ? rates.half : rates.f32));
    printf("; host %.2f ms, %.1f waits, %" PRId64 " operations\n", 1e3 * host, (double)t->waits / runs,
           t->operations / runs);
}

static int steps(mert_trainer *t, timed *on, const mert_recipe *r, const mert_config *c, const mert_batch *b,
                 mert_error *e)
{
    mert_forward_options how = mert_recipe_forward_options(r);
    double start = 0, step, host, norm;
    mert_sums sums = {0};
    how.update = 1;
    for (int i = -2; i <= runs; i++) { /* two that allocate, then those that count */
        if (i == 0) {
            if (mert_trainer_settle(t, e))
                return -1;
            on->waits = on->operations = 0;
            on->waiting = 0;
            start = bench_now();
        }
        sums = (mert_sums){0};
        if (i < runs && mert_trainer_accumulate(t, &how, b, &sums, e))
            return -1;
        if (i == runs && mert_trainer_settle(t, e))
            return -1;
    }
    step = (bench_now() - start) / runs;
    host = step - on->waiting / runs;
    start = bench_now();
    if (mert_trainer_update(t, 1, r->lr, runs * 1e3, &norm, e) < 0)
        return -1;
    say_steps(on, b, step, host, bench_now() - start,
              3 * (mert_forward_flops(c, b->B, b->L) + mert_heads_flops(c, b->prepared->S + b->prepared->others)));
    if (!table)
        return 0;
    on->each = 1;
    if (mert_trainer_accumulate(t, &how, b, &sums, e) || mert_trainer_settle(t, e))
        return -1;
    timed_print(on);
    return 0;
}

static int on_device(const mert_recipe *r, const mert_config *c, const mert_weights *w, mert_batch *b, mert_error *e)
{
    mert_objective_config objective = mert_recipe_objective(r);
    mert_adam_config adam = mert_recipe_adam(r);
    mert_prepared prepared = {0};
    mert_ops *inner = mert_ops_open(device, (mert_element_type)r->precision, e);
    size_t bytes = (size_t)(b->B * b->L) * sizeof *b->audio;
    float *audio = inner ? inner->pin(inner, bytes) : NULL;
    timed on;
    mert_trainer *t;
    int bad;
    if (!inner || !audio)
        return inner ? mert_fail(e, "out of memory") : -1;
    memcpy(audio, b->audio, bytes);
    b->audio = b->clean = audio;
    timed_open(&on, inner);
    t = mert_trainer_new(w, &on.ops, &objective, &adam, NULL, e);
    bad = !t || mert_prepare(mert_trainer_preparer(t), b, 1, &prepared, e);
    b->prepared = &prepared;
    bad = bad || steps(t, &on, r, c, b, e);
    mert_prepared_free(&prepared);
    mert_trainer_free(t);
    inner->unpin(inner, audio);
    inner->close(inner);
    return bad ? -1 : 0;
}

static int run(const char *path, mert_error *e)
{
    mert_recipe r;
    mert_config c;
    mert_weights w;
    mert_batch b;
    batch own = {0};
    mert_objective_config objective;
    mert_adam_config adam;
    mert_trainer *t;
    int bad;
    mert_recipe_defaults(&r);
    if (mert_recipe_read(&r, path, e) || mert_recipe_set(&r, "encoder_layerdrop=0", e))
        return -1;
    for (int i = 0; i < settings.n; i++)
        if (mert_recipe_set(&r, settings.items[i], e))
            return -1;
    r.codebooks = CODEBOOKS;
    r.classes = CLASSES;
    if (mert_recipe_check(&r, e) || mert_recipe_model(&r, NULL, 0, &c, e) || mert_weights_init(&w, &c, 1, e))
        return -1;
    samples = samples ? samples : r.max_sample_size;
    clips = clips ? clips : r.max_tokens / samples;
    objective = mert_recipe_objective(&r);
    adam = mert_recipe_adam(&r);
    if (device) {
        bad = make_batch(&r, &c, &own, &b, e) || on_device(&r, &c, &w, &b, e);
    } else {
        t = mert_trainer_new(&w, mert_ops_cpu(), &objective, &adam, NULL, e);
        free(w.values); /* the trainer has its own */
        w.values = NULL;
        bad = !t || make_batch(&r, &c, &own, &b, e) || measure(t, &r, &c, &b, e);
        mert_trainer_free(t);
    }
    mert_weights_free(&w);
    free(own.audio);
    free(own.labels);
    free(own.mask);
    free(own.items);
    return bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    mert_error e = {{0}};
    mert_options_parse(&tool, &argc, &argv);
    if (argc != 1)
        mert_usage_error("which recipe?");
    if (run(argv[0], &e)) {
        mert_log_error("%s: %s", argv[0], e.text);
        return 1;
    }
    return 0;
}
