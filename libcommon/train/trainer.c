#include "libcommon/train/trainer.h"

#include "libcommon/base/random.h"
#include "libcommon/models/cqt_input.h"
#include "libcommon/train/objective.h"
#include "libcommon/train/targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOST_MASK,
    HOST_ROWS,
    HOST_TARGETS,
    HOST_CQT,
    HOST_MEL,
    HOST_CHOSEN,
    HOST_OTHER_ROWS,
    HOST_OTHER_TARGETS,
    HOST_INPUT,
    HOST_REPLACED,
    HOST_CHANNELS,
    HOSTS
};

struct mert_trainer {
    const mert_layout *layout;
    mert_ops *ops;
    mert_adam_config adam;
    double loss_scale;
    mert_clipping *clipping;              /* device */
    mert_shards *shards;                  /* weights, gradients, moments */
    mert_encoder *encoder;
    mert_objective objective;
    mert_train_targets *targets;
    mert_cqt_batch *cqt_input;            /* NULL: the model hears the waveform alone */
    mert_arena arena;                     /* the batch on the device */
    struct { void *p; size_t bytes; } host[HOSTS]; /* staging: an upload reads its source until the wait */
};

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
    mert_arena_open(&t->arena, ops);
    if (!(t->shards = mert_shards_open(t->layout, ops, sharing ? sharing : &(mert_sharing){0}, w->values, e)) ||
        !(t->encoder = mert_encoder_new(t->layout, ops, NULL, NULL, e)) ||
        mert_objective_open(&t->objective, t->layout, ops, mert_shards_parts(t->shards), o, e) ||
        !(t->targets = mert_train_targets_new(&w->layout.config, e)))
        goto fail;
    if (!(t->clipping = ops->alloc(ops, sizeof *t->clipping))) {
        mert_fail(e, "out of memory");
        goto fail;
    }
    if (w->layout.config.cqt_input && !(t->cqt_input = mert_cqt_input_new(&w->layout.config, e)))
        goto fail;
    mert_encoder_use_parts(t->encoder, mert_shards_parts(t->shards));
    return t;
fail:
    mert_trainer_free(t);
    return NULL;
}

void mert_trainer_free(mert_trainer *t)
{
    if (!t)
        return;
    mert_encoder_free(t->encoder);
    mert_objective_close(&t->objective);
    mert_train_targets_free(t->targets);
    mert_cqt_batch_free(t->cqt_input);
    mert_arena_close(&t->arena);
    mert_shards_close(t->shards);
    t->ops->release(t->ops, t->clipping);
    for (size_t i = 0; i < sizeof t->host / sizeof *t->host; i++)
        free(t->host[i].p);
    free(t);
}

static void *staging(mert_trainer *t, int which, size_t bytes)
{
    if (t->host[which].bytes < bytes) {
        free(t->host[which].p);
        t->host[which].p = malloc(bytes);
        t->host[which].bytes = t->host[which].p ? bytes : 0;
    }
    return t->host[which].p;
}

static void *to_device(mert_trainer *t, const void *host, size_t bytes)
{
    float *p = mert_arena_floats(&t->arena, (int64_t)((bytes + sizeof(float) - 1) / sizeof(float)));
    if (p)
        t->ops->upload(t->ops, p, host, bytes);
    return p;
}

/* Which codebooks take part: all, or some at random. */
static uint64_t choose_codebooks(const mert_trainer *t, const mert_forward_options *r)
{
    int K = t->layout->config.codebooks, wanted = t->objective.config.random_codebook, chosen = 0;
    uint64_t set = 0;
    mert_random key = mert_random_key(r->seed, MERT_FOR_CODEBOOKS, r->update << 20 | r->micro_batch, 0, 0);
    if (!r->training || wanted >= K || wanted < 1)
        return K == 64 ? ~(uint64_t)0 : ((uint64_t)1 << K) - 1;
    /* one pass, each with the chance that leaves the right number: all subsets are equally likely */
    for (int k = 0; k < K; k++)
        if ((int)mert_random_below(&key, (uint32_t)k, (uint32_t)(K - k)) < wanted - chosen) {
            set |= (uint64_t)1 << k;
            chosen++;
        }
    return set;
}

/* The targets' rows of masked frames: from [B * T, bins] to [S, bins]. */
static const float *masked_rows(mert_trainer *t, const float *all, const int32_t *rows, int64_t S, int64_t bins,
                                float *to)
{
    for (int64_t i = 0; i < S; i++)
        memcpy(to + i * bins, all + rows[i] * bins, (size_t)bins * sizeof(float));
    return to_device(t, to, (size_t)(S * bins) * sizeof(float));
}

static int upload_targets(mert_trainer *t, const mert_batch *b, mert_chosen *m, const int32_t *rows, mert_error *e)
{
    const mert_config *c = &t->layout->config;
    int64_t n = b->B * b->T, cqt = c->cqt_target_bins, mel = c->mel_target_bins;
    float *q = staging(t, HOST_CQT, (size_t)(n * cqt + 1) * sizeof(float)),
          *l = staging(t, HOST_MEL, (size_t)(n * mel + 1) * sizeof(float));
    float *picked = staging(t, HOST_CHOSEN, (size_t)(m->S * (cqt + mel) + 1) * sizeof(float));
    if (!q || !l || !picked)
        return mert_fail(e, "out of memory");
    if (mert_train_targets_compute(t->targets, b->B, b->L, b->T, b->clean, q, l, e))
        return -1;
    if (cqt)
        m->cqt = masked_rows(t, q, rows, m->S, cqt, picked);
    if (mel)
        m->mel = masked_rows(t, l, rows, m->S, mel, picked + m->S * cqt);
    return 0;
}

/* The frames whose mask is `masked`, as lists: which rows, which classes. */
static int upload_chosen(mert_trainer *t, const mert_batch *b, int masked, mert_chosen *m, const int32_t **host_rows,
                         mert_error *e)
{
    const mert_config *c = &t->layout->config;
    int64_t n = b->B * b->T, S = 0;
    int32_t *rows = staging(t, masked ? HOST_ROWS : HOST_OTHER_ROWS, (size_t)n * sizeof *rows);
    int32_t *targets = staging(t, masked ? HOST_TARGETS : HOST_OTHER_TARGETS, (size_t)(n * b->K) * sizeof *targets);
    if (!rows || !targets)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n; i++)
        if (!b->mask[i] == !masked)
            rows[S++] = (int32_t)i;
    for (int k = 0; k < b->K; k++)
        for (int64_t i = 0; i < S; i++) {
            int32_t label = b->labels[k * n + rows[i]];
            if (label < 0 || label >= c->classes[k])
                return mert_fail(e, "codebook %d: label %d of frame %lld is outside its %lld classes", k, (int)label,
                                 (long long)(rows[i] % b->T), (long long)c->classes[k]);
            targets[k * S + i] = label + c->special_rows;
        }
    m->S = S;
    m->unmasked = !masked;
    m->rows = to_device(t, rows, (size_t)S * sizeof *rows);
    m->targets = to_device(t, targets, (size_t)(S * b->K) * sizeof *targets);
    *host_rows = rows;
    return 0;
}

static int upload_masked(mert_trainer *t, const mert_batch *b, mert_chosen *m, mert_error *e)
{
    const int32_t *rows;
    return upload_chosen(t, b, 1, m, &rows, e) || upload_targets(t, b, m, rows, e) ? -1 : 0;
}

/* Masked frames whose place another one takes. */
static int upload_replaced(mert_trainer *t, const mert_batch *b, mert_corruption *k, mert_error *e)
{
    int64_t n = b->B * b->T;
    int32_t *to = staging(t, HOST_REPLACED, (size_t)n * (2 * sizeof *to + sizeof(float))), *from = to + n;
    float *flags = (float *)(void *)(from + n);
    if (!to)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        flags[i] = b->mask[i] && b->source[i] != MERT_MASK_EMBEDDING && b->source[i] != i ? 1.0f : 0.0f;
        if (flags[i] != 0) {
            to[k->replaced] = (int32_t)i;
            from[k->replaced++] = b->source[i];
        }
    }
    k->to = to_device(t, to, (size_t)k->replaced * sizeof *to);
    k->from = to_device(t, from, (size_t)k->replaced * sizeof *from);
    k->replaced_rows = to_device(t, flags, (size_t)n * sizeof(float));
    return 0;
}

static int upload_corruption(mert_trainer *t, const mert_batch *b, mert_corruption *k, mert_error *e)
{
    int64_t n = b->B * b->T, channels = b->channels ? b->B * t->layout->config.width : 0;
    float *flags = staging(t, HOST_MASK, (size_t)n * sizeof(float));
    float *silent = staging(t, HOST_CHANNELS, (size_t)(channels + 1) * sizeof(float));
    if (!flags || !silent)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n; i++)
        flags[i] = b->mask[i] && (!b->source || b->source[i] == MERT_MASK_EMBEDDING) ? 1.0f : 0.0f;
    for (int64_t i = 0; i < channels; i++)
        silent[i] = b->channels[i] ? 1.0f : 0.0f;
    k->mask = to_device(t, flags, (size_t)n * sizeof(float));
    if (channels)
        k->channels = to_device(t, silent, (size_t)channels * sizeof(float));
    return b->source ? upload_replaced(t, b, k, e) : 0;
}

/* Floats of the host as elements. */
static const mert_element *to_elements(mert_trainer *t, const float *host, int64_t n)
{
    return mert_arena_rounded(&t->arena, to_device(t, host, (size_t)n * sizeof *host), n);
}

/* What the model hears beside the waveform. */
static int upload_input(mert_trainer *t, const mert_batch *b, const mert_element **cqt, mert_error *e)
{
    int64_t n = b->B * b->T * t->layout->config.cqt_input_bins;
    float *rows = staging(t, HOST_INPUT, (size_t)n * sizeof *rows);
    if (!rows)
        return mert_fail(e, "out of memory");
    if (mert_cqt_batch_run(t->cqt_input, b->B, b->L, b->T, b->audio, rows, e))
        return -1;
    *cqt = to_elements(t, rows, n);
    return 0;
}

/* d: the objective's sums of masked frames, then of the others. */
static void add_sums(const mert_trainer *t, const mert_batch *b, const mert_chosen *m, double sample_size,
                     const double *d, double squares, float logit, mert_sums *s)
{
    const mert_config *c = &t->layout->config;
    const mert_objective_config *o = &t->objective.config;
    double S = (double)m->S, pen = squares / (double)(b->B * b->T * c->conv[c->convs - 1].dim);
    double cqt = c->cqt_target_bins && m->S ? d[MERT_OBJECTIVE_CQT] / (S * c->cqt_target_bins) : 0;
    double mel = c->mel_target_bins && m->S ? d[MERT_OBJECTIVE_MEL] / (S * c->mel_target_bins) : 0;
    for (int k = 0; k < c->codebooks; k++) {
        s->ce[k] += d[2 * k];
        s->correct[k] += (int64_t)d[2 * k + 1];
        s->counted[k] += m->codebooks >> k & 1 ? m->S : 0;
        s->loss += d[2 * k] + o->nomask_weight * d[MERT_OBJECTIVE_SUMS + 2 * k];
    }
    s->loss += sample_size * (o->features_pen_weight * pen + o->cqt_weight * cqt + o->mel_weight * mel);
    s->features_pen += pen;
    s->cqt_mse += cqt;
    s->mel_mse += mel;
    s->largest_logit = s->batches ? fmax(s->largest_logit, logit) : logit;
    s->masked += m->S;
    s->sample_size += (int64_t)sample_size;
    s->batches++;
    s->frames += b->B * b->T;
    s->samples += b->B * b->L;
}

static int run(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, int backward, mert_sums *sums,
               mert_error *e)
{
    mert_chosen m = {.codebooks = choose_codebooks(t, r), .weight = t->loss_scale}, other = m;
    const mert_objective_config *o = &t->objective.config;
    const mert_parts *parts = mert_shards_parts(t->shards);
    mert_corruption corruption = {0};
    const mert_element *audio, *hidden, *cqt = NULL;
    const int32_t *rows;
    mert_element *dhidden = NULL;
    double d[2 * MERT_OBJECTIVE_SUMS], squares, sample_size, scaled;
    float logit;
    int64_t n = b->B * b->T, D = t->layout->config.width;
    int bad = 0, others = backward && o->nomask_weight > 0;
    if (b->K != t->layout->config.codebooks)
        return mert_fail(e, "%d label sets, but the model has heads for %d", b->K, t->layout->config.codebooks);
    mert_arena_reset(&t->arena);
    mert_clear(t->ops, .to = t->objective.sums, .bytes = sizeof d);
    audio = to_elements(t, b->audio, b->B * b->L);
    bad = upload_masked(t, b, &m, e) || upload_corruption(t, b, &corruption, e) ||
          (others && upload_chosen(t, b, 0, &other, &rows, e)) ||
          (t->cqt_input && upload_input(t, b, &cqt, e));
    other.weight = o->nomask_weight * t->loss_scale;
    sample_size = (double)(m.S + other.S);
    scaled = sample_size * t->loss_scale;
    if (!bad && backward)
        dhidden = mert_arena_elements(&t->arena, n * D);
    if (!bad && t->arena.failed)
        bad = mert_fail(e, "out of memory for a batch of %lld clips of %lld samples", (long long)b->B, (long long)b->L);
    if (!bad && !(hidden = mert_encoder_forward(t->encoder, r, b->B, b->L, b->T, audio, &corruption, cqt, NULL, e)))
        bad = -1;
    if (!bad && dhidden)
        mert_clear(t->ops, .to = dhidden, .bytes = mert_element_bytes(t->ops, n * D));
    mert_parts_need(parts, mert_part_last(parts), backward);
    if (!bad)
        bad = mert_objective_run(&t->objective, &m, scaled, hidden, dhidden, e) ||
              (others && mert_objective_run(&t->objective, &other, scaled, hidden, dhidden, e));
    if (!backward)
        mert_parts_done(parts, mert_part_last(parts), 0);
    if (!bad && backward)
        bad = mert_encoder_backward(t->encoder, dhidden, o->features_pen_weight * scaled, e);
    if (!bad) {
        t->ops->download(t->ops, d, t->objective.sums, sizeof d);
        t->ops->download(t->ops, &squares, mert_encoder_features_squares(t->encoder), sizeof squares);
        t->ops->download(t->ops, &logit, mert_encoder_largest_logit(t->encoder), sizeof logit);
    }
    bad |= t->ops->wait(t->ops, bad ? NULL : e);
    bad = bad || mert_shards_check(t->shards, e);
    if (!bad)
        add_sums(t, b, &m, sample_size, d, squares, logit, sums);
    return bad ? -1 : 0;
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
    return run(t, &evaluation, b, 0, sums, e);
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
    return mert_shards_sum(t->shards, e);
}

void mert_trainer_scale(mert_trainer *t, double loss_scale)
{
    t->loss_scale = loss_scale;
}

int mert_trainer_update(mert_trainer *t, int64_t update, double lr, double sample_size, double *norm, mert_error *e)
{
    const mert_adam_config *a = &t->adam;
    mert_clipping clipping;
    mert_adam_args how = {.clipping = t->clipping,
                          .lr = lr,
                          .step = lr * sqrt(1 - pow(a->beta2, (double)update)) / (1 - pow(a->beta1, (double)update)),
                          .beta1 = a->beta1, .beta2 = a->beta2, .eps = a->eps, .weight_decay = a->weight_decay};
    mert_shards_batch(t->shards, 0, 0);
    if (mert_shards_sum(t->shards, e))
        return -1;
    mert_clip(t->ops, .to = t->clipping, .squares = mert_shards_squares(t->shards),
              .scale = 1 / (sample_size * t->loss_scale), .clip_norm = a->clip_norm,
              .slack = t->ops->type == MERT_ELEMENT_F16 ? 0 : 1e-6);
    t->ops->download(t->ops, &clipping, t->clipping, sizeof clipping);
    if (mert_shards_update(t->shards, sample_size > 0 ? &how : NULL, e))
        return -1;
    *norm = clipping.norm;
    return sample_size > 0 && clipping.finite ? 0 : 1;
}

int mert_trainer_get(mert_trainer *t, const mert_shards_arrays *to, int here, mert_error *e)
{
    return mert_shards_get(t->shards, to, here, e);
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

int mert_trainer_moment(mert_trainer *t, int which, int part, float *to, mert_error *e)
{
    return mert_shards_moment(t->shards, which, part, to, e);
}

const mert_parts *mert_trainer_parts(const mert_trainer *t)
{
    return mert_shards_parts(t->shards);
}

size_t mert_trainer_memory(const mert_trainer *t)
{
    return mert_encoder_memory(t->encoder) + t->objective.arena.most + t->arena.most;
}
