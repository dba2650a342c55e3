#include "libcommon/train/monitor/budget.h"

#include "formats/array.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/models/flops.h"
#include "libcommon/train/cqt_device.h"
#include "libcommon/train/data/neighbours.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2048, LOADS = 5 }; /* size of the measured products; batches in a loader (train/loader.c) */

/* ---- batches ---- */

typedef struct shape {
    int64_t B, L;
} shape;

static void larger(shape *s, const mert_epoch_plan *p)
{
    for (int64_t i = 0; i < p->n; i++) {
        int64_t B = p->batches[i].B, L = p->batches[i].L;
        if (B * L > s->B * s->L || (B * L == s->B * s->L && L > s->L))
            *s = (shape){B, L};
    }
}

/* The number of frames for the heads, for B clips of T frames: masked ones (spans overlap), or all. */
static double heads_frames(const mert_recipe *r, double B, double T)
{
    mert_mask_config m = mert_recipe_mask(r, MERT_LAST_UPDATE);
    return B * T * (r->pred_nomask_weight > 0 ? 1 : 1 - exp(-m.prob));
}

static double batch_work(const mert_budget *b, const mert_recipe *r, int64_t B, int64_t L)
{
    double T = (double)mert_config_frames(&b->model, L);
    return mert_forward_flops(&b->model, B, L) + mert_heads_flops(&b->model, llround(heads_frames(r, (double)B, T)));
}

/* The cost of a pass in forward passes: a backward pass costs two, recomputing one more. */
static double passes(const mert_recipe *r)
{
    return r->recompute ? 4 : 3;
}

/* Plans the first epoch of each crop length; audio and cost of an update are those of the first one. */
static int plan_training(mert_budget *b, const mert_recipe *r, const mert_corpus *c, shape *largest, mert_error *e)
{
    double samples = 0, work = 0;
    for (int64_t i = 0; i < (r->dynamic_crops.n ? r->dynamic_crops.n : 1); i++) {
        int64_t epoch = r->dynamic_crops.n ? (int64_t)r->dynamic_crops_epoches.value[i] - 1 : 0;
        mert_epoch_plan p;
        if (mert_epoch_plan_make(&p, c, r, epoch, e))
            return -1;
        larger(largest, &p);
        if (!epoch) {
            b->crops = p.crops_n;
            b->batches = p.n;
            b->too_short = p.too_short;
            for (int64_t k = 0; k < p.n; k++) {
                samples += (double)p.batches[k].B * (double)p.batches[k].L;
                work += passes(r) * batch_work(b, r, p.batches[k].B, p.batches[k].L);
            }
        }
        mert_epoch_plan_free(&p);
    }
    if (!b->batches)
        return mert_fail(e, "no item is as long as min_sample_size (%" PRId64 " samples)", r->min_sample_size);
    b->audio = (double)b->per_update * samples / (double)b->batches / (double)r->sample_rate;
    b->update = (double)b->per_update * work / (double)b->batches;
    b->epochs = (double)b->updates * (double)b->per_update / (double)b->batches;
    return 0;
}

static int plan_validation(mert_budget *b, const mert_recipe *r, const mert_corpus *v, shape *largest, mert_error *e)
{
    mert_epoch_plan p;
    if (v->task ? mert_plan_pieces(&p, v, r, &b->model, e) : mert_epoch_plan_make(&p, v, r, MERT_VALIDATION, e))
        return -1;
    larger(largest, &p);
    for (int64_t i = 0; i < p.n; i++)
        b->validation += batch_work(b, r, p.batches[i].B, p.batches[i].L);
    b->validations = 2 + (r->validate_interval ? (b->updates - 1) / r->validate_interval : 0);
    mert_epoch_plan_free(&p);
    return 0;
}

/* ---- a silent batch ---- */

typedef struct silence {
    mert_batch batch;
    float *audio, *mixed; /* mixed: as the loader, with memory of its own for the model's input; NULL: audio is it */
    int32_t *labels;
    uint8_t *mask;
    int64_t *items;
    mert_examples examples; /* of a task: each clip is one */
} silence;

static void silence_free(silence *s)
{
    free(s->audio);
    free(s->mixed);
    free(s->labels);
    free(s->mask);
    free(s->items);
    mert_examples_free(&s->examples);
}

static int silent_examples(silence *s, const mert_recipe *r, const mert_config *c, int64_t B, int64_t T, mert_error *e)
{
    int64_t answers = B * (r->task_kind == MERT_PROBE_CLASSIFY ? 1 : c->task_outputs);
    s->examples = (mert_examples){.n = B, .outputs = c->task_outputs, .single = r->task_kind == MERT_PROBE_CLASSIFY,
                                  .first = mert_array_zeroed(B + 1, sizeof *s->examples.first),
                                  .from = mert_array_zeroed(B, sizeof *s->examples.from),
                                  .to = mert_array_zeroed(B, sizeof *s->examples.to)};
    if (r->task_kind == MERT_PROBE_REGRESS)
        s->examples.numbers = mert_array_zeroed(answers, sizeof *s->examples.numbers);
    else
        s->examples.labels = mert_array_zeroed(answers, sizeof *s->examples.labels);
    if (!s->examples.first || !s->examples.from || !s->examples.to || (!s->examples.numbers && !s->examples.labels))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < B; i++) {
        s->examples.first[i + 1] = i + 1;
        s->examples.to[i] = (int32_t)T;
    }
    s->batch.examples = &s->examples;
    return 0;
}

/* Makes a batch of this shape; noise: quiet noise instead of silence, for timing. */
static int silence_make(silence *s, const mert_recipe *r, const mert_config *c, shape of, int noise, mert_error *e)
{
    mert_mask_config mask = mert_recipe_mask(r, MERT_LAST_UPDATE);
    mert_random key = mert_random_key(1, MERT_FOR_TEST, 0, 0, 0);
    int64_t T = mert_config_frames(c, of.L), samples = of.B * of.L;
    int mixed = !noise && (r->mixture_prob > 0 || r->mask_with);
    *s = (silence){.audio = mert_array_zeroed(samples, sizeof *s->audio),
                   .mixed = mixed ? mert_array_zeroed(samples, sizeof *s->mixed) : NULL,
                   .labels = mert_array_zeroed(of.B * T * c->codebooks, sizeof *s->labels),
                   .mask = mert_array_zeroed(of.B * T, 1),
                   .items = mert_array_zeroed(of.B, sizeof *s->items)};
    if (!s->audio || (mixed && !s->mixed) || !s->labels || !s->mask || !s->items) {
        silence_free(s);
        return mert_fail(e, "out of memory");
    }
    for (int64_t i = 0; noise && i < samples; i++)
        s->audio[i] = 0.2f * (float)mert_random_uniform(&key, (uint32_t)i) - 0.1f;
    for (int64_t i = 0; i < of.B; i++)
        s->items[i] = i;
    s->batch = (mert_batch){.B = of.B, .L = of.L, .T = T, .K = c->codebooks, .clean = s->audio,
                            .audio = mixed ? s->mixed : s->audio, .labels = s->labels, .mask = s->mask,
                            .items = s->items};
    if (c->task_outputs ? !silent_examples(s, r, c, of.B, T, e)
                        : !mert_mask_make(&mask, 1, 1, 0, s->items, of.B, T, s->mask, e))
        return 0;
    silence_free(s);
    return -1;
}

/* ---- memory ---- */

static int dry_run(mert_trainer *t, const mert_recipe *r, const mert_config *c, shape train, shape valid, mert_error *e)
{
    mert_forward_options options = mert_recipe_forward_options(r);
    mert_sums sums = {0};
    silence s;
    int bad;
    options.layerdrop = 0;
    if (silence_make(&s, r, c, train, 0, e))
        return -1;
    bad = mert_trainer_accumulate(t, &options, &s.batch, &sums, e);
    silence_free(&s);
    if (bad || !valid.B)
        return bad;
    if (silence_make(&s, r, c, valid, 0, e))
        return -1;
    bad = mert_trainer_evaluate(t, &s.batch, &sums, e);
    silence_free(&s);
    return bad;
}

/* The CPU backend's memory for attention: packed keys and values of all heads of the batch. */
static double packed_attention(const mert_config *c, shape s)
{
    return 2.0 * sizeof(float) * (double)s.B * (double)mert_config_frames(c, s.L) * c->width;
}

static int64_t resident(void)
{
    int64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*d %" SCNd64, &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * 4096;
}

static int batch_memory(mert_budget *b, const mert_recipe *r, const mert_layout *l, const mert_ops *device,
                        shape train, shape valid, mert_error *e)
{
    mert_objective_config objective = mert_recipe_objective(r);
    mert_adam_config adam = mert_recipe_adam(r);
    mert_weights w = {.layout = *l};
    mert_ops *ops = mert_ops_dry(device);
    mert_trainer *t = ops ? mert_trainer_new(&w, ops, &objective, &adam, NULL, e) : NULL;
    int bad = !ops ? mert_fail(e, "out of memory") : !t || dry_run(t, r, &b->model, train, valid, e);
    b->now = (double)resident();
    if (!bad)
        b->activations = (double)mert_trainer_memory(t) + (device->host_memory ? packed_attention(&b->model, train) : 0);
    mert_trainer_free(t);
    if (ops)
        ops->close(ops);
    return bad ? -1 : 0;
}

/* Samples twice (with the mixture), labels, masks; and what is prepared from them: targets of chosen frames, flags. */
static double loader_memory(const mert_recipe *r, const mert_config *c, const mert_ops *ops, shape s)
{
    int bins = c->mel_target_bins + (mert_cqt_device_work(c, ops) > 0 ? 0 : c->cqt_target_bins);
    double samples = (double)s.B * (double)s.L, frames = (double)s.B * (double)mert_config_frames(c, s.L);
    double masked = frames * (1 - exp(-mert_recipe_mask(r, MERT_LAST_UPDATE).prob));
    double chosen = heads_frames(r, (double)s.B, (double)mert_config_frames(c, s.L));
    double prepared = chosen * (c->codebooks + 1) * sizeof(int32_t) + frames * 2 * sizeof(float) +
                      (masked * bins + frames * c->cqt_input_bins) * sizeof(float);
    return LOADS * (samples * 2 * sizeof(float) + frames * (c->codebooks * sizeof(int32_t) + sizeof(int32_t) + 1) +
                    prepared);
}

/* Memory at the beginning: the crops of an epoch, sorted with a second array of them, and the plan that is kept; and the
 * counts of neighbouring labels, for 2^entropy classes. */
static void start_memory(mert_budget *b, const mert_recipe *r, const mert_corpus *c, shape train)
{
    enum { SORTED = 2 * 24 };
    mert_mask_config m = mert_recipe_mask(r, MERT_LAST_UPDATE);
    double kept = (double)b->crops * sizeof(mert_crop) + (double)b->batches * sizeof(struct mert_epoch_plan_batch),
           most = 0;
    double masked = (double)b->crops * (double)mert_config_frames(&b->model, train.L) * (1 - exp(-m.prob));
    b->planning = kept + SORTED * (double)b->crops;
    masked = fmin(masked, MERT_NEIGHBOURS_COUNTED);
    for (int k = 0; k < b->model.codebooks; k++)
        most = fmax(most, k < c->K ? exp2(mert_corpus_entropy(c, k)) : (double)b->model.classes[k]);
    b->neighbours = kept + (masked > 0 && b->model.codebooks ? mert_neighbours_memory(most, masked) : 0);
}

static void model_memory(mert_budget *b, const mert_layout *l, int ranks, mert_sharding sharding, const char *offload)
{
    double bytes = (double)l->size * sizeof(float), part = 0, own = 1.0 / ranks, moments;
    for (int i = 0; i < l->count; i++)
        part = fmax(part, (double)l->parameters[i].n * sizeof(float));
    b->weights = b->gradients = bytes;
    moments = 2 * bytes * (sharding == MERT_SHARD_NONE ? 1 : own);
    if (ranks > 1 && sharding == MERT_SHARD_FULL) {
        double layer = fmax(part, bytes / (b->model.layers + 2)); /* the groups in memory at a time (shards.h) */
        b->weights = fmin(bytes, bytes * own + 5 * layer);
        b->gradients = fmin(bytes, bytes * own + 4 * layer);
    }
    *(offload && strcmp(offload, "host") ? &b->offloaded : &b->moments) = moments;
    b->begin = 3 * bytes;  /* the contents of a checkpoint, until the trainer has them */
    b->saving = 2 * bytes; /* the packed model for the self-test (models/inference/self_test.h), and its weights */
    b->peak = b->now + fmax(b->begin + fmax(b->planning, b->neighbours),
                            b->weights + b->gradients + b->moments +
                                fmax(fmax(b->begin, b->planning), b->activations + b->loader + b->saving));
}

/* ---- the budget ---- */

static void count_parameters(mert_budget *b, const mert_layout *l)
{
    static const char extractor[] = "feature_extractor.";
    b->parameters = l->elements;
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        b->heads += p->training_only ? p->n : 0;
        b->extractor += !strncmp(p->name, extractor, sizeof extractor - 1) ? p->n : 0;
    }
}

/* The size of a checkpoint (weights and two moments), and the most checkpoints at a time, with the one being
 * written. */
static void disk(mert_budget *b, const mert_layout *l, const mert_recipe *r)
{
    int64_t saved = r->save_interval ? (b->updates + r->save_interval - 1) / r->save_interval : 1, kept = saved;
    b->checkpoint = 3.0 * (double)l->elements * sizeof(float);
    if (r->keep && r->keep < saved)
        kept = r->keep + 1;
    b->checkpoints = kept;
}

int mert_budget_make(mert_budget *b, const mert_recipe *r, const mert_corpus *c, const mert_corpus *v,
                     const mert_ops *ops, int ranks, mert_sharding sharding, const char *offload, mert_error *e)
{
    mert_labels_meta *metas = mert_array_zeroed(c->K, sizeof *metas);
    mert_layout l = {0};
    shape train = {0}, valid = {0};
    int bad;
    if (!metas)
        return mert_fail(e, "out of memory");
    *b = (mert_budget){.per_update = mert_recipe_batches(r, ranks)};
    b->updates = r->max_update && r->max_update < r->total_updates ? r->max_update : r->total_updates;
    mert_corpus_metas(c, metas);
    bad = mert_recipe_model(r, metas, c->K, &b->model, e) ||
          (c->task && mert_recipe_task_model(r, c->task->targets.outputs, &b->model, e)) ||
          mert_layout_make(&l, &b->model, e) ||
          plan_training(b, r, c, &train, e) || plan_validation(b, r, v, &valid, e) ||
          batch_memory(b, r, &l, ops, train, valid, e);
    if (!bad) {
        b->largest_B = train.B;
        b->largest_L = train.L;
        b->forward = batch_work(b, r, 1, train.L);
        b->total = (double)b->updates * b->update + (double)b->validations * b->validation;
        b->loader = loader_memory(r, &b->model, ops, train);
        count_parameters(b, &l);
        start_memory(b, r, c, train);
        model_memory(b, &l, ranks, sharding, offload);
        disk(b, &l, r);
    }
    mert_layout_free(&l);
    free(metas);
    return bad ? -1 : 0;
}

/* ---- speed ---- */

/* Three runs, the first for warming up; fewer if they take longer than `patience` seconds. */
static int product_pace(double *pace, mert_ops *ops, double patience, mert_error *e)
{
    const int64_t n = (int64_t)N * N, many = mert_pool_threads();
    mert_element *a = mert_ops_elements(ops, many * n), *b = mert_ops_elements(ops, many * n);
    mert_element *c = mert_ops_elements(ops, many * n);
    double best = INFINITY, start = mert_seconds();
    int bad = !a || !b || !c ? mert_fail(e, "out of memory") : 0;
    for (int i = 0; !bad && i < 2; i++) /* the speed does not depend on the values */
        mert_clear(ops, .to = i ? b : a, .bytes = mert_element_bytes(ops, many * n));
    for (int run = 0; !bad && run < 3 && (!run || mert_seconds() - start < patience); run++) {
        double began;
        bad = ops->wait(ops, e);
        began = mert_seconds();
        mert_gemm(ops, .M = N, .N = N, .K = N, .a = a, .lda = N, .b = b, .ldb = N, .tb = 1, .c = c, .ldc = N,
                  .batch = many, .a_step = n, .b_step = n, .c_step = n);
        bad = bad || ops->wait(ops, e);
        best = fmin(best, mert_seconds() - began);
    }
    *pace = 2.0 * N * N * N * (double)many / best;
    ops->release(ops, a);
    ops->release(ops, b);
    ops->release(ops, c);
    return bad;
}

static int time_crop(mert_trainer *t, const mert_budget *b, const mert_recipe *r, double *pace, mert_error *e)
{
    mert_forward_options options = mert_recipe_forward_options(r);
    double best = INFINITY;
    silence s;
    int bad = 0;
    if (silence_make(&s, r, &b->model, (shape){1, b->largest_L}, 1, e))
        return -1;
    for (int run = 0; !bad && run < 3; run++) {
        double began = mert_seconds();
        bad = mert_trainer_accumulate(t, &options, &s.batch, NULL, e) || mert_trainer_settle(t, e);
        best = fmin(best, mert_seconds() - began);
    }
    silence_free(&s);
    *pace = passes(r) * b->forward / best;
    return bad;
}

int mert_budget_pace(mert_pace *p, const mert_budget *b, const mert_recipe *r, mert_ops *ops, double patience,
                     mert_error *e)
{
    mert_objective_config objective = mert_recipe_objective(r);
    mert_adam_config adam = mert_recipe_adam(r);
    mert_weights w;
    mert_trainer *t;
    int bad;
    *p = (mert_pace){0};
    if (product_pace(&p->product, ops, patience, e))
        return -1;
    if (3 * passes(r) * b->forward / p->product > patience) /* three runs */
        return 0;
    if (mert_recipe_weights(r, &b->model, &w, e))
        return -1;
    t = mert_trainer_new(&w, ops, &objective, &adam, NULL, e);
    bad = !t || time_crop(t, b, r, &p->crop, e);
    mert_trainer_free(t);
    mert_weights_free(&w);
    return bad ? -1 : 0;
}
