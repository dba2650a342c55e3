#include "tools/mert-train/watch.h"

#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/monitor/compare.h"
#include "libcommon/train/monitor/in_place.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The expected speed of training relative to that of products, used if no crop was timed; measured for the 95M
 * model. */
static const double USUAL_SHARE = 0.65;
static const double PATIENCE = 3; /* seconds for timing crops */

/* ---- --plan ---- */

/* MB are 2^20 bytes, as in the last line of -v. */
static void row_bytes(const char *what, double bytes, const char *note)
{
    printf("    %-28s %10.1f MB%s%s\n", what, bytes / (1 << 20), *note ? "  " : "", note);
}

/* Labels that do not exist yet: their assumed number and kind, and the size of their text. */
static void say_labelling(const mert_session *s, const mert_budget *b)
{
    const mert_recipe *r = &s->recipe;
    double rate = r->label_rate > 0 ? r->label_rate : (double)r->sample_rate / (double)mert_recipe_stride(r), bytes = 0;
    double seconds = s->train.seconds + s->valid.seconds;
    for (int k = 0; k < b->model.codebooks; k++)
        bytes += seconds * rate * (log10((double)b->model.classes[k]) + 1); /* a number and a blank */
    printf("    no labels yet: %d codebooks of %" PRId64 " classes at %g per second are meant\n", b->model.codebooks,
           b->model.classes[0], rate);
    printf("    labelling    %.3f hours of audio, %.0f million labels, %.1f MB as text\n", seconds / 3600,
           1e-6 * seconds * rate * b->model.codebooks, bytes / (1 << 20));
}

static void say_corpus(const mert_session *s, const mert_budget *b)
{
    const mert_corpus *c = &s->train, *all[] = {c, &s->valid, &s->replay};
    static const char *const names[] = {"training", "validation", "replay"};
    printf("corpus\n");
    for (int i = 0; i < (c->replay ? 3 : 2); i++)
        if (all[i]->nparts)
            printf("    %-12s %8" PRId64 " items  %10.3f hours%s\n", names[i], all[i]->n, all[i]->seconds / 3600,
                   all[i]->config.unpacked   ? "  (by the manifest: not packed yet)"
                   : all[i]->config.in_place ? "  (by the manifest: decoded in place)"
                                             : "");
    if (s->task)
        printf("    task         %8" PRId64 " examples, %" PRId64 " to train on, %" PRId64 " outputs\n",
               s->task->targets.n, mert_task_count(s->task, MERT_PROBE_TRAIN), s->task->targets.outputs);
    else if (!c->K)
        say_labelling(s, b);
    if (b->too_short)
        printf("    %" PRId64 " items are shorter than min_sample_size and left out\n", b->too_short);
    for (int k = 0; k < c->K; k++)
        printf("    codebook %-3d %8" PRId64 " classes %8.3f per second, entropy %6.3f bits  %s\n", k,
               c->codebooks[k].classes, (double)c->codebooks[k].rate_num / (double)c->codebooks[k].rate_den,
               mert_corpus_entropy(c, k), c->codebooks[k].path);
}

static void say_batches(const mert_session *s, const mert_budget *b)
{
    printf("batches\n");
    printf("    an epoch     %8" PRId64 " crops in %" PRId64 " batches\n", b->crops, b->batches);
    printf("    the largest  %8" PRId64 " crops of %" PRId64 " samples (%.2f s)\n", b->largest_B, b->largest_L,
           (double)b->largest_L / (double)s->recipe.sample_rate);
    printf("    an update    %8" PRId64 " batch%s, %.1f s of audio\n", b->per_update, b->per_update == 1 ? "" : "es",
           b->audio);
    if (b->audio < 0.9 * s->recipe.lr_seconds)
        printf("    lr = %g was chosen for %.0f s: take a smaller one, or update_batches=%.0f\n", s->recipe.lr,
               s->recipe.lr_seconds, ceil(s->recipe.lr_seconds / b->audio * (double)b->per_update));
    printf("    the run      %8" PRId64 " updates, %.2f epochs\n", b->updates, b->epochs);
}

static void say_parameters(const mert_budget *b)
{
    printf("parameters\n");
    printf("    %-28s %10.3f million\n", "extractor", 1e-6 * (double)b->extractor);
    printf("    %-28s %10.3f million\n", "transformer", 1e-6 * (double)(b->parameters - b->extractor - b->heads));
    printf("    %-28s %10.3f million\n", "heads", 1e-6 * (double)b->heads);
    printf("    %-28s %10.3f million\n", "all", 1e-6 * (double)b->parameters);
}

static void say_memory(const mert_budget *b, int ranks)
{
    printf("memory%s\n", ranks > 1 ? " of each process" : "");
    row_bytes("weights", b->weights, "");
    row_bytes("gradients", b->gradients, "");
    row_bytes("optimiser", b->moments, b->offloaded > 0 ? "in a file instead" : "");
    row_bytes("largest batch", b->activations, "activations and their gradients");
    row_bytes("loader", b->loader, "");
    row_bytes("while it begins", b->begin, "as long as there is no batch");
    row_bytes("crops of an epoch", b->planning, "while they are dealt out");
    row_bytes("counts of labels", b->neighbours, "when it begins");
    row_bytes("while it saves", b->saving, "");
    row_bytes("program and corpus", b->now, "with tables and targets, as it is now");
    row_bytes("at most, together", b->peak, "");
}

static void say_work(const mert_budget *b, const mert_pace *p)
{
    double pace = p->crop > 0 ? p->crop : USUAL_SHARE * p->product, seconds = b->total / pace;
    printf("work and time\n");
    printf("    %-28s %10.3f GFLOP\n", "an update", 1e-9 * b->update);
    printf("    %-28s %10.3f GFLOP, %" PRId64 " times\n", "a validation", 1e-9 * b->validation, b->validations);
    printf("    %-28s %10.1f GFLOP/s  measured now, %d threads\n", "products of 2048 x 2048", 1e-9 * p->product,
           mert_options.threads);
    if (p->crop > 0)
        printf("    %-28s %10.1f GFLOP/s  one crop forward and backward, measured now\n", "training", 1e-9 * p->crop);
    else
        printf("    %-28s %10.1f GFLOP/s  not measured: %.0f%% of the products' rate\n", "training", 1e-9 * pace,
               100 * USUAL_SHARE);
    printf("    %-28s %10.3f days  (%.2f hours; %.2f s for an update)\n", "the run, on this machine", seconds / 86400,
           seconds / 3600, b->update / pace);
}

static void say_in_place(const mert_in_place_cost *p, const mert_budget *b)
{
    printf("    %-28s %10.1f s of audio per second of a core, measured now on %d crops\n", "decoding in place", p->pace,
           p->crops);
    printf("    %-28s %10.2f s of a core, of %d processes of %.0f MB each beside this one\n", "for an update",
           b->audio / p->pace, p->processes, p->memory / (1 << 20));
}

static double to_pack(const mert_corpus *c)
{
    return c->config.unpacked ? 4 * c->seconds * (double)c->config.sample_rate : 0;
}

static void say_disk(const mert_session *s, const mert_budget *b)
{
    double pcm = to_pack(&s->train) + to_pack(&s->valid) + to_pack(&s->replay);
    printf("disk\n");
    row_bytes("a checkpoint", b->checkpoint, "weights and optimiser");
    printf("    %-28s %10" PRId64 "\n", "of them at a time, at most", b->checkpoints);
    if (pcm > 0)
        row_bytes("packed audio", pcm, "before compression");
    if (b->offloaded > 0)
        row_bytes("optimiser", b->offloaded, "of each process, while it runs");
    row_bytes("together", b->checkpoint * (double)b->checkpoints + pcm, "");
}

static void row_gigabytes(const char *what, double bytes, const char *note)
{
    printf("    %-28s %10.3f GB%s%s\n", what, 1e-9 * bytes, *note ? "  " : "", note);
}

/* Prints the plan for a device, by its published rates (monitor/device.h). */
static void say_device(const mert_device_rates *on, const mert_device_plan *p, const mert_budget *b,
                       const mert_recipe *r, const char *advice)
{
    double rate = r->precision == MERT_ELEMENT_F32 ? on->f32 : on->half, run = (double)b->updates * p->update;
    printf("on %s (%g GB, %g TFLOP/s %s, %g GB/s, by its data sheet)\n", on->name, 1e-9 * on->memory, 1e-12 * rate,
           r->precision == MERT_ELEMENT_F32 ? "float32" : "of 16 bits", 1e-9 * on->bandwidth);
    row_gigabytes("weights", p->weights, "float32");
    row_gigabytes("gradients", p->gradients, "");
    row_gigabytes("optimiser", p->moments, p->moments > 0 ? "" : "kept elsewhere");
    row_gigabytes("largest batch", p->activations, "activations, their gradients, 16-bit weights");
    row_gigabytes("work space", p->workspace, "");
    row_gigabytes("driver and libraries", p->reserved, "an allowance");
    row_gigabytes("together", p->all, p->all > on->memory ? "more than it has" : "");
    if (*advice)
        printf("    what would fit: %s\n", advice);
    printf("    %-28s %10.3f ms  products %.3f ms, CQT targets %.3f ms, memory %.3f ms\n", "an update, at least",
           1e3 * p->update, 1e3 * p->products, 1e3 * p->targets, 1e3 * p->memory);
    printf("    %-28s %10.3f days  (%.2f hours), without exchange, transfers and validation\n", "the run, at least",
           run / 86400, run / 3600);
}

static int plan_device(const mert_session *s, const mert_device_rates *on, int ranks, mert_sharding sharding,
                       const char *offload, mert_error *e)
{
    mert_device_plan p;
    mert_budget b;
    char advice[512];
    if (mert_device_budget(&p, &b, on, &s->recipe, &s->train, &s->valid, ranks, sharding, offload, e) ||
        mert_device_advice(advice, sizeof advice, &p, on, &s->recipe, &s->train, &s->valid, ranks, sharding, offload,
                           e))
        return -1;
    say_device(on, &p, &b, &s->recipe, advice);
    return 0;
}

int watch_plan(const mert_session *s, mert_ops *ops, const mert_device_rates *on, int ranks, mert_sharding sharding,
               const char *offload)
{
    mert_error e = {{0}};
    mert_budget b;
    mert_pace p;
    mert_in_place_cost in_place;
    if (mert_in_place_measure(&in_place, &s->train, &s->recipe, &e) ||
        mert_budget_make(&b, &s->recipe, &s->train, &s->valid, ops, ranks, sharding, offload, &e) ||
        mert_budget_pace(&p, &b, &s->recipe, ops, PATIENCE, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    say_corpus(s, &b);
    say_batches(s, &b);
    say_parameters(&b);
    say_memory(&b, ranks);
    say_work(&b, &p);
    if (in_place.crops)
        say_in_place(&in_place, &b);
    say_disk(s, &b);
    if (on && plan_device(s, on, ranks, sharding, offload, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    return mert_log_stdout();
}

/* ---- --compare ---- */

static void say_value(const mert_compared *v)
{
    printf("    %-14s %12.6g %12.6g   %.6g to %.6g%s\n", v->column, v->own, v->reference, v->reference - v->band,
           v->reference + v->band, v->outside ? "   outside" : "");
}

int watch_compare(const char *save, const char *reference)
{
    mert_error e = {{0}};
    mert_log_comparison c;
    if (mert_compare(&c, save, reference, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    printf("update %" PRId64 "      this run    reference   band\n", c.last);
    for (int i = 0; i < c.n; i++)
        say_value(&c.columns[i]);
    if (c.left >= 0) {
        printf("first outside of its band at update %" PRId64 ":\n", c.left);
        say_value(&c.first);
    }
    printf("%s: %" PRId64 " of %" PRId64 " rows within the bands, up to update %" PRId64 "\n",
           c.left < 0 ? "on track" : "not on track", c.within, c.rows, c.last);
    return mert_log_stdout() || c.left >= 0;
}
