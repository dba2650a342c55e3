#include "libcommon/train/trainer.h"

#include "libcommon/base/random.h"
#include "libcommon/nn/no_room.h"
#include "libcommon/probe/targets.h"
#include "libcommon/train/cqt_device.h"
#include "libcommon/train/head.h"
#include "libcommon/train/objective.h"
#include "libcommon/train/rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The results of a batch: the objective's sums over masked frames, then over other frames, then the mean square of the
 * features. WAYS: batches in progress. */
enum { SQUARES = 2 * MERT_OBJECTIVE_SUMS, RESULTS, WAYS = 2 };

typedef struct results {
    double sums[RESULTS];
    float logit;
} results;

/* A batch in progress. There are two, used alternately: one is uploaded while the device computes the other. */
typedef struct way {
    mert_prepared own;         /* used for a batch that was not prepared before */
    char *device;              /* copy of block, audio and clean audio; NULL if the device has the host's memory */
    size_t room;
    results *back;             /* pinned */
    int64_t mark;              /* the mark after which `back` has the results; 0: no batch in progress */
    mert_sums *to;             /* NULL: not wanted */
    int training;
    int64_t masked, others;    /* numbers of frames */
    int64_t features;          /* number of values in the mean of the features penalty */
    uint64_t codebooks;
    double sample_size;
} way;

struct mert_trainer {
    const mert_layout *layout;
    mert_ops *ops;
    mert_adam_config adam;
    double loss_scale;
    int alone;                            /* no other processes */
    mert_shards *shards;                  /* weights, gradients, moments */
    mert_encoder *encoder;
    mert_objective objective;             /* closed if there is a head */
    mert_head head;                       /* of a task; layers 0: none */
    mert_rate *rates, *head_rates;        /* of a task: of all, and of the head alone */
    int n_rates, n_head_rates, frozen;
    double *losses;                       /* device [SQUARES]: of the batch */
    mert_preparer *preparer;
    mert_cqt_device *cqt;                 /* NULL: the preparer makes CQT targets, or there are none */
    mert_arena arena;                     /* the batch as elements, CQT targets */
    way way[WAYS];
    int turn;                             /* index of the way of the next batch */
    double *sums;                         /* device [WAYS, RESULTS] */
    float *logits;                        /* device [WAYS] */
    int not_finite;                       /* a loss of this update was not finite */
    mert_clipping *clipping, *clipped;    /* device; pinned */
};

static const char what_takes_less[] = "--recompute, --offload host and a smaller max_tokens take less, as --plan shows";

static int open_ways(mert_trainer *t, mert_error *e)
{
    mert_ops *ops = t->ops;
    int bad = 0;
    for (int i = 0; i < WAYS; i++)
        bad |= !(t->way[i].back = ops->pin(ops, sizeof *t->way[i].back));
    if (bad || !(t->sums = ops->alloc(ops, WAYS * RESULTS * sizeof *t->sums)) ||
        !(t->logits = mert_ops_floats(ops, WAYS)) || !(t->clipping = ops->alloc(ops, sizeof *t->clipping)) ||
        !(t->clipped = ops->pin(ops, sizeof *t->clipped)))
        return mert_fail(e, "out of memory");
    mert_clear(ops, .to = t->sums, .bytes = WAYS * RESULTS * sizeof *t->sums);
    return 0;
}

/* What the loss is. */
static int open_objective(mert_trainer *t, const mert_objective_config *o, mert_error *e)
{
    const mert_groups *groups = mert_shards_groups(t->shards);
    if (!t->layout->config.task_outputs) {
        int bad = mert_objective_open(&t->objective, t->layout, t->ops, groups, o, e);
        t->losses = t->objective.sums;
        return bad;
    }
    t->objective.config = *o;
    if (!(t->losses = t->ops->alloc(t->ops, SQUARES * sizeof *t->losses)))
        return mert_fail(e, "out of memory");
    return mert_head_open(&t->head, t->layout, t->ops, groups, &o->task, t->losses, e) ||
                   mert_rates_make(&t->rates, &t->n_rates, t->layout, &o->task, 0, e) ||
                   mert_rates_make(&t->head_rates, &t->n_head_rates, t->layout, &o->task, 1, e)
               ? -1
               : 0;
}

mert_trainer *mert_trainer_new(const mert_weights *w, mert_ops *ops, const mert_objective_config *o,
                               const mert_adam_config *a, const mert_sharing *sharing, mert_error *e)
{
    mert_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    t->layout = &w->layout;
    t->ops = ops;
    t->adam = *a;
    t->loss_scale = 1;
    t->alone = !sharing || !sharing->exchange || sharing->exchange->ranks == 1;
    mert_arena_open(&t->arena, ops);
    if (!(t->shards = mert_shards_open(t->layout, ops, sharing ? sharing : &(mert_sharing){0}, w->values, e)) ||
        !(t->encoder = mert_encoder_new(t->layout, ops, NULL, NULL, e)) ||
        open_objective(t, o, e) ||
        !(t->preparer = mert_preparer_new(w, o->nomask_weight > 0, ops, e)) ||
        (mert_cqt_device_work(&t->layout->config, ops) > 0 &&
         !(t->cqt = mert_cqt_device_new(&t->layout->config, ops, e))) ||
        open_ways(t, e)) {
        mert_ops_no_room(ops, what_takes_less, e);
        mert_trainer_free(t);
        return NULL;
    }
    mert_encoder_use_groups(t->encoder, mert_shards_groups(t->shards));
    return t;
}

int mert_trainer_join(mert_trainer *t, mert_error *e)
{
    return mert_shards_join(t->shards, e);
}

void mert_trainer_free(mert_trainer *t)
{
    if (!t)
        return;
    t->ops->wait(t->ops, NULL); /* queued operations still read pinned memory */
    mert_encoder_free(t->encoder);
    if (t->head.ops) {
        mert_head_close(&t->head);
        t->ops->release(t->ops, t->losses);
    }
    free(t->rates);
    free(t->head_rates);
    mert_objective_close(&t->objective);
    mert_preparer_free(t->preparer);
    mert_cqt_device_free(t->cqt);
    mert_arena_close(&t->arena);
    for (int i = 0; i < WAYS; i++) {
        mert_prepared_free(&t->way[i].own);
        t->ops->release(t->ops, t->way[i].device);
        t->ops->unpin(t->ops, t->way[i].back);
    }
    t->ops->release(t->ops, t->sums);
    t->ops->release(t->ops, t->logits);
    t->ops->release(t->ops, t->clipping);
    t->ops->unpin(t->ops, t->clipped);
    mert_shards_close(t->shards);
    free(t);
}

/* Which codebooks are used: all, or a random choice. */
static uint64_t choose_codebooks(const mert_trainer *t, const mert_forward_options *r)
{
    int K = t->layout->config.codebooks, wanted = t->objective.config.random_codebook, chosen = 0;
    uint64_t set = 0;
    mert_random key = mert_random_key(r->seed, MERT_FOR_CODEBOOKS, r->update << 20 | r->micro_batch, 0, 0);
    if (!r->training || wanted >= K || wanted < 1)
        return K == 64 ? ~(uint64_t)0 : ((uint64_t)1 << K) - 1;
    /* one pass; the probability of each is such that the number is right and all subsets are equally likely */
    for (int k = 0; k < K; k++)
        if ((int)mert_random_below(&key, (uint32_t)k, (uint32_t)(K - k)) < wanted - chosen) {
            set |= (uint64_t)1 << k;
            chosen++;
        }
    return set;
}

/* ---- to the device ---- */

/* The block's address on the device; also sets *audio, and *clean if the device needs it. NULL: out of memory. */
static const char *upload(mert_trainer *t, way *w, const mert_prepared *p, const mert_batch *b, const float **audio,
                          const float **clean, mert_error *e)
{
    mert_ops *ops = t->ops;
    size_t all = (size_t)(b->B * b->L) * sizeof *b->audio, samples = p->mel_frames ? 0 : all;
    size_t more = p->cqt_later && !(samples && b->clean == b->audio) ? all : 0, bytes = p->bytes + samples + more;
    *audio = b->audio;
    *clean = b->clean;
    if (ops->host_memory)
        return p->block;
    if (w->room < bytes) {
        ops->release(ops, w->device);
        w->device = ops->alloc(ops, bytes);
        w->room = w->device ? bytes : 0;
    }
    if (!w->device) {
        mert_fail(e, "out of memory for a batch of %lld clips of %lld samples", (long long)b->B, (long long)b->L);
        return NULL;
    }
    ops->upload_ahead(ops, w->device, p->block, p->bytes);
    if (samples)
        ops->upload_ahead(ops, w->device + p->bytes, b->audio, samples);
    if (more)
        ops->upload_ahead(ops, w->device + p->bytes + samples, b->clean, more);
    *audio = (const float *)(void *)(w->device + p->bytes);
    *clean = more ? (const float *)(void *)(w->device + p->bytes + samples) : *audio;
    return w->device;
}

static const int32_t *whole(const char *block, size_t at)
{
    return (const int32_t *)(const void *)(block + at);
}

static const float *floats(const char *block, size_t at)
{
    return (const float *)(const void *)(block + at);
}

static mert_corruption corruption(const mert_prepared *p, const char *block, const mert_batch *b)
{
    return (mert_corruption){.mask = floats(block, p->mask),
                             .replaced = p->replaced,
                             .to = whole(block, p->replaced_to),
                             .from = whole(block, p->replaced_from),
                             .replaced_rows = b->source ? floats(block, p->replaced_rows) : NULL,
                             .channels = b->channels ? floats(block, p->channels) : NULL};
}

/* ---- results ---- */

/* Adds the results of a batch of a labelled task that has arrived. */
static void add_examples(mert_trainer *t, const way *w)
{
    mert_sums none = {0}, *s = w->to ? w->to : &none;
    double loss = w->back->sums[0] * (t->head.config.kind == MERT_PROBE_REGRESS ? 0.5 : 1), logit;
    s->loss += loss;
    s->right += t->head.config.kind == MERT_PROBE_CLASSIFY ? (int64_t)w->back->sums[1] : 0;
    logit = isfinite(w->back->logit) ? w->back->logit : NAN; /* none: the encoder is frozen */
    s->largest_logit = s->batches ? fmax(s->largest_logit, logit) : logit;
    s->batches++;
    t->not_finite |= w->training && !isfinite(loss);
}

/* Adds the results of a batch that has arrived. */
static void add_sums(mert_trainer *t, const way *w)
{
    const mert_config *c = &t->layout->config;
    const mert_objective_config *o = &t->objective.config;
    const double *d = w->back->sums;
    mert_sums none = {0}, *s = w->to ? w->to : &none;
    const double *u = d + MERT_OBJECTIVE_SUMS; /* of unmasked frames */
    double S = (double)w->masked, pen = w->features ? d[SQUARES] / (double)w->features : 0, loss = 0, masked = 0, rest;
    double cqt = c->cqt_target_bins && w->masked ? d[MERT_OBJECTIVE_CQT] / (S * c->cqt_target_bins) : 0;
    double mel = c->mel_target_bins && w->masked ? d[MERT_OBJECTIVE_MEL] / (S * c->mel_target_bins) : 0;
    for (int k = 0; k < c->codebooks; k++) {
        s->ce[k] += d[2 * k];
        s->correct[k] += (int64_t)d[2 * k + 1];
        s->counted[k] += w->codebooks >> k & 1 ? w->masked : 0;
        s->unmasked_ce[k] += u[2 * k];
        s->unmasked_correct[k] += (int64_t)u[2 * k + 1];
        s->unmasked_counted[k] += w->codebooks >> k & 1 ? w->others : 0;
        masked += d[2 * k];
        loss += d[2 * k] + o->nomask_weight * u[2 * k];
    }
    rest = o->features_pen_weight * pen + o->cqt_weight * cqt + o->mel_weight * mel;
    loss += w->sample_size * rest;
    s->loss += loss;
    s->masked_loss += masked + S * rest;
    s->features_pen += pen;
    s->cqt_mse += cqt;
    s->mel_mse += mel;
    s->largest_logit = s->batches ? fmax(s->largest_logit, w->back->logit) : w->back->logit;
    s->batches++;
    t->not_finite |= w->training && !isfinite(loss);
}

static int settle(mert_trainer *t, way *w, mert_error *e)
{
    int64_t mark = w->mark;
    w->mark = 0;
    if (!mark)
        return 0;
    if (t->ops->wait_mark(t->ops, mark, e) || mert_shards_check(t->shards, e))
        return -1;
    if (t->head.layers)
        add_examples(t, w);
    else
        add_sums(t, w);
    return 0;
}

int mert_trainer_settle(mert_trainer *t, mert_error *e)
{
    int bad = 0;
    for (int i = 0; i < WAYS; i++)
        bad = settle(t, &t->way[(t->turn + i) % WAYS], bad ? NULL : e) || bad; /* the older batch first */
    return bad ? -1 : 0;
}

/* Stores what the host already knows of the batch, and where its results will go. */
static void note(way *w, const mert_batch *b, const mert_prepared *p, uint64_t codebooks, int training, mert_sums *to)
{
    w->to = to;
    w->training = training;
    w->masked = p->S;
    w->others = p->others;
    w->codebooks = codebooks;
    w->sample_size = (double)(p->S + p->others + p->examples);
    if (!to)
        return;
    to->masked += p->S;
    to->examples += p->examples;
    to->sample_size += p->S + p->others + p->examples;
    to->frames += b->B * b->T;
    to->samples += b->B * b->L;
}

static void bring_back(mert_trainer *t, way *w)
{
    mert_ops *ops = t->ops;
    double *sums = t->sums + (w - t->way) * RESULTS;
    float *logit = t->logits + (w - t->way);
    mert_copy(ops, .to = sums, .from = t->losses, .bytes = SQUARES * sizeof *sums);
    mert_copy(ops, .to = sums + SQUARES, .from = mert_encoder_features_squares(t->encoder), .bytes = sizeof *sums);
    mert_copy(ops, .to = logit, .from = mert_encoder_largest_logit(t->encoder), .bytes = sizeof *logit);
    ops->download(ops, w->back->sums, sums, sizeof w->back->sums);
    ops->download(ops, &w->back->logit, logit, sizeof w->back->logit);
    w->features = mert_encoder_features_count(t->encoder);
    w->mark = ops->mark(ops);
}

/* ---- the passes ---- */

/* The input of the encoder for a batch, on the device. */
typedef struct encoder_input {
    const char *block; /* what was prepared */
    int64_t L;         /* samples, or frames of spectra */
    const mert_element *x, *cqt;
    const float *cqt_target; /* [S, bins], if the device computes it */
    mert_element *more; /* as many elements as were asked for, behind it in the arena */
} encoder_input;

/* The objective of masked frames and of the others, forward and (dhidden) backward. */
static int objective(mert_trainer *t, const way *w, const mert_prepared *p, const encoder_input *in,
                     const mert_element *hidden, mert_element *dhidden, mert_error *e)
{
    const char *block = in->block;
    const mert_config *c = &t->layout->config;
    double scaled = w->sample_size * t->loss_scale;
    mert_chosen masked = {.codebooks = w->codebooks, .weight = t->loss_scale, .S = p->S,
                          .rows = whole(block, p->rows), .targets = whole(block, p->targets),
                          .cqt = p->cqt_later ? in->cqt_target : c->cqt_target_bins ? floats(block, p->cqt) : NULL,
                          .mel = c->mel_target_bins ? floats(block, p->mel) : NULL};
    mert_chosen others = {.codebooks = w->codebooks, .weight = t->objective.config.nomask_weight * t->loss_scale,
                          .unmasked = 1, .S = p->others, .rows = whole(block, p->other_rows),
                          .targets = whole(block, p->other_targets)};
    return mert_objective_run(&t->objective, &masked, scaled, hidden, dhidden, e) ||
           (p->others && mert_objective_run(&t->objective, &others, scaled, hidden, dhidden, e));
}

static int take_input(mert_trainer *t, const mert_batch *b, way *w, const mert_prepared *p, int64_t more,
                      encoder_input *in, mert_error *e)
{
    const mert_config *c = &t->layout->config;
    const float *audio = NULL, *clean = NULL;
    *in = (encoder_input){.block = upload(t, w, p, b, &audio, &clean, e), .L = p->mel_frames ? p->mel_frames : b->L};
    mert_arena_reset(&t->arena);
    mert_clear(t->ops, .to = t->losses, .bytes = SQUARES * sizeof *t->losses);
    if (!in->block)
        return -1;
    in->x = p->mel_frames ? mert_arena_rounded(&t->arena, floats(in->block, p->input), b->B * in->L * c->conformer.mels)
                          : mert_arena_rounded(&t->arena, audio, b->B * in->L);
    if (c->cqt_input)
        in->cqt = mert_arena_rounded(&t->arena, floats(in->block, p->input), b->B * b->T * c->cqt_input_bins);
    if (more)
        in->more = mert_arena_elements(&t->arena, more);
    if (p->cqt_later)
        in->cqt_target = mert_cqt_device_run(t->cqt, &t->arena, b->B, b->L, b->T, p->S, whole(in->block, p->rows),
                                             clean);
    if (t->arena.failed)
        return mert_fail(e, "out of memory for a batch of %lld clips of %lld samples", (long long)b->B,
                         (long long)b->L);
    return 0;
}

/* The encoder of pre-training alone: the last hidden states, on the device. */
static const mert_element *encode(mert_trainer *t, const mert_forward_options *r, const mert_batch *b,
                                  const mert_prepared *p, const encoder_input *in, mert_error *e)
{
    mert_corruption how = corruption(p, in->block, b);
    return mert_encoder_forward(t->encoder, r, b->B, in->L, b->T, in->x, &how, in->cqt, NULL, e);
}

enum { SITE_HEAD = 8 }; /* of dropout keys, beside those of the encoder (models/encoder/state.h) */

/* Encoder and head of a labelled task, forward and backward. */
static int task_pass(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, const way *w,
                     const mert_prepared *p, const encoder_input *in, mert_error *e)
{
    const mert_groups *groups = mert_shards_groups(t->shards);
    const mert_forward_options still = {0}, *how = t->frozen ? &still : r;
    mert_head_batch examples = {.n = b->examples->n, .B = b->B, .T = b->T, .first = b->examples->first,
                                .share = floats(in->block, p->shares), .labels = whole(in->block, p->answers),
                                .numbers = floats(in->block, p->answers),
                                .key = {r->seed, r->update << 20 | r->micro_batch, SITE_HEAD},
                                .dropout = w->training ? t->head.config.dropout : 0};
    mert_layer_tap tap;
    mert_gradient_tap gradient = mert_head_gradient(&t->head);
    int bad = mert_head_begin(&t->head, &examples, &tap, e) ||
              !mert_encoder_forward(t->encoder, how, b->B, in->L, b->T, in->x, NULL, in->cqt, &tap, e);
    mert_groups_need(groups, mert_groups_last(groups), w->training);
    if (!bad)
        bad = mert_head_run(&t->head, t->loss_scale, w->training, e);
    if (!w->training || t->frozen)
        mert_groups_done(groups, mert_groups_last(groups), 0);
    if (bad || !w->training || t->frozen || !examples.n)
        return bad ? -1 : 0;
    mert_clear(t->ops, .to = in->more, .bytes = mert_element_bytes(t->ops, b->B * b->T * t->layout->config.width));
    return mert_encoder_backward_from(t->encoder, t->head.top, in->more, &gradient, 0, e);
}

static int pass(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, way *w, const mert_prepared *p,
                mert_error *e)
{
    const mert_groups *groups = mert_shards_groups(t->shards);
    int64_t n = b->B * b->T, D = t->layout->config.width;
    encoder_input in;
    const mert_element *hidden = NULL;
    mert_element *dhidden;
    int bad = take_input(t, b, w, p, w->training ? n * D : 0, &in, e);
    if (!bad && t->head.layers)
        return task_pass(t, r, b, w, p, &in, e);
    bad = bad || !(hidden = encode(t, r, b, p, &in, e)) ? -1 : 0;
    dhidden = in.more;
    if (!bad && dhidden)
        mert_clear(t->ops, .to = dhidden, .bytes = mert_element_bytes(t->ops, n * D));
    mert_groups_need(groups, mert_groups_last(groups), w->training);
    if (!bad)
        bad = objective(t, w, p, &in, hidden, dhidden, e);
    if (!w->training)
        mert_groups_done(groups, mert_groups_last(groups), 0);
    if (!bad && w->training)
        bad = mert_encoder_backward(t->encoder, dhidden,
                                    t->objective.config.features_pen_weight * w->sample_size * t->loss_scale, e);
    return bad;
}

/* Queues a whole batch, and meanwhile collects the results of the batch before it. */
static int run(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, int training, mert_sums *sums,
               mert_error *e)
{
    way *w = &t->way[t->turn];
    const mert_prepared *p = b->prepared ? b->prepared : &w->own;
    if (!b->prepared && mert_prepare(t->preparer, b, training, &w->own, e))
        return -1;
    note(w, b, p, choose_codebooks(t, r), training, sums);
    if (pass(t, r, b, w, p, e)) {
        t->ops->wait(t->ops, NULL);
        mert_ops_no_room(t->ops, what_takes_less, e);
        return -1;
    }
    bring_back(t, w);
    t->turn = (t->turn + 1) % WAYS;
    return settle(t, &t->way[t->turn], e);
}

/* Clears the sums of batches that have arrived, so that the next update does not check them. */
static void forget_sums(mert_trainer *t)
{
    mert_clear(t->ops, .to = t->sums, .bytes = WAYS * RESULTS * sizeof *t->sums);
}

int mert_trainer_accumulate(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, mert_sums *sums,
                            mert_error *e)
{
    mert_forward_options training = *r;
    training.training = 1;
    return run(t, &training, b, 1, sums, e);
}

int mert_trainer_evaluate(mert_trainer *t, const mert_batch *b, mert_sums *sums, mert_error *e)
{
    mert_forward_options evaluation = {0};
    mert_encoder_refresh(t->encoder);
    if (run(t, &evaluation, b, 0, sums, e) || mert_trainer_settle(t, e))
        return -1;
    forget_sums(t);
    return 0;
}

int mert_trainer_hidden(mert_trainer *t, const mert_batch *b, float *to, mert_error *e)
{
    mert_forward_options evaluation = {0};
    way *w = &t->way[t->turn];
    int64_t n = b->B * b->T * t->layout->config.width;
    encoder_input in;
    const mert_element *hidden;
    float *values;
    if (mert_trainer_settle(t, e) || mert_prepare(t->preparer, b, 0, &w->own, e))
        return -1;
    mert_encoder_refresh(t->encoder);
    if (take_input(t, b, w, &w->own, 0, &in, e) || !(hidden = encode(t, &evaluation, b, &w->own, &in, e))) {
        t->ops->wait(t->ops, NULL);
        return -1;
    }
    if (!(values = mert_arena_floats(&t->arena, n)))
        return mert_fail(e, "out of memory for hidden states");
    mert_to_floats(t->ops, .to = values, .from = hidden, .n = n);
    t->ops->download(t->ops, to, values, (size_t)n * sizeof *to);
    return t->ops->wait(t->ops, e);
}

mert_preparer *mert_trainer_preparer(const mert_trainer *t)
{
    return t->preparer;
}

void mert_trainer_batch(mert_trainer *t, int last, int silent)
{
    mert_shards_batch(t->shards, last, silent);
}

int mert_trainer_together(const mert_trainer *t)
{
    return mert_shards_together(t->shards);
}

int mert_trainer_sum(mert_trainer *t, mert_error *e)
{
    if (!t->alone && mert_trainer_settle(t, e)) /* all processes must know whether the losses are finite */
        return -1;
    return mert_shards_sum(t->shards, t->not_finite, e);
}

void mert_trainer_scale(mert_trainer *t, double loss_scale)
{
    t->loss_scale = loss_scale;
}

int mert_trainer_update(mert_trainer *t, int64_t update, double lr, double sample_size, double *norm, mert_error *e)
{
    const mert_adam_config *a = &t->adam;
    mert_adam_args how = {.clipping = t->clipping,
                          .lr = lr,
                          .step = lr * sqrt(1 - pow(a->beta2, (double)update)) / (1 - pow(a->beta1, (double)update)),
                          .beta1 = a->beta1, .beta2 = a->beta2, .eps = a->eps, .weight_decay = a->weight_decay};
    int wanted = sample_size > 0;
    mert_shards_batch(t->shards, 0, 0);
    if (mert_trainer_sum(t, e))
        return -1;
    mert_clip(t->ops, .to = t->clipping, .squares = mert_shards_squares(t->shards), .also = t->sums,
              .n = WAYS * RESULTS, .scale = 1 / (sample_size * t->loss_scale), .clip_norm = a->clip_norm,
              .slack = t->ops->type == MERT_ELEMENT_F16 ? 0 : 1e-6);
    t->ops->download(t->ops, t->clipped, t->clipping, sizeof *t->clipped);
    forget_sums(t);
    if (mert_shards_update(t->shards, wanted && !t->not_finite ? &how : NULL, t->frozen ? t->head_rates : t->rates,
                           t->frozen ? t->n_head_rates : t->n_rates, e) ||
        mert_trainer_settle(t, e))
        return -1;
    *norm = t->clipped->norm;
    wanted = wanted && !t->not_finite && t->clipped->finite;
    t->not_finite = 0;
    return wanted ? 0 : 1;
}

void mert_trainer_freeze(mert_trainer *t, int frozen)
{
    t->frozen = frozen;
}

int mert_trainer_scores(mert_trainer *t, float *to, mert_error *e)
{
    return mert_head_scores(&t->head, to, e);
}

int mert_trainer_features(mert_trainer *t, float *to, mert_error *e)
{
    return mert_head_features(&t->head, to, e);
}

int64_t mert_trainer_embeddings(const mert_trainer *t)
{
    return t->objective.embeddings;
}

int mert_trainer_predicted(mert_trainer *t, int training, int64_t *to, mert_error *e)
{
    int64_t *from = t->objective.predicted + (training ? 0 : t->objective.embeddings);
    size_t bytes = (size_t)t->objective.embeddings * sizeof *to;
    t->ops->download(t->ops, to, from, bytes);
    mert_clear(t->ops, .to = from, .bytes = bytes);
    return t->ops->wait(t->ops, e) || mert_trainer_settle(t, e) ? -1 : 0;
}

int mert_trainer_get(mert_trainer *t, const mert_shards_arrays *to, int here, mert_error *e)
{
    if (to->gradients && mert_trainer_sum(t, e))
        return -1;
    return mert_shards_get(t->shards, to, here, e) || mert_trainer_settle(t, e) ? -1 : 0;
}

int mert_trainer_set(mert_trainer *t, const float *weights, const float *m, const float *v, mert_error *e)
{
    mert_encoder_refresh(t->encoder);
    return mert_shards_set(t->shards, weights, m, v, e);
}

const float *mert_trainer_weights(const mert_trainer *t)
{
    return mert_shards_weights(t->shards);
}

int mert_trainer_moment(mert_trainer *t, int which, int group, float *to, mert_error *e)
{
    return mert_shards_moment(t->shards, which, group, to, e);
}

const mert_groups *mert_trainer_groups(const mert_trainer *t)
{
    return mert_shards_groups(t->shards);
}

size_t mert_trainer_memory(const mert_trainer *t)
{
    return mert_encoder_memory(t->encoder) + t->objective.arena.most + t->head.arena.most + t->arena.most +
           mert_cqt_device_memory(t->cqt) + t->way[0].room + t->way[1].room;
}
