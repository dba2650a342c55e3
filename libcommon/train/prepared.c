#include "libcommon/train/prepared.h"

#include "libcommon/models/cqt_input.h"
#include "libcommon/train/cqt_device.h"
#include "libcommon/train/mel_batch.h"
#include "libcommon/train/targets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNED = 64 };

struct mert_preparer {
    const mert_config *c;
    int cqt_bins;          /* of the CQT targets that are made here */
    int others;
    mert_ops *ops;
    pthread_mutex_t lock;  /* protects the members below */
    mert_train_targets *targets;
    mert_cqt_batch *input; /* NULL: the model has no CQT input */
    mert_mel_batch *mel;   /* NULL: the model's input is the waveform */
    float *frames;         /* regression targets of all frames; those of masked frames are copied to the block */
    size_t room;
};

mert_preparer *mert_preparer_new(const mert_weights *w, int others, mert_ops *ops, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    mert_config here = *c;
    mert_preparer *p = calloc(1, sizeof *p);
    if (!p) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->c = c;
    p->others = others;
    p->ops = ops;
    if (mert_cqt_device_work(c, ops) > 0)
        here.cqt_target_bins = 0;
    p->cqt_bins = here.cqt_target_bins;
    if (!(p->targets = mert_train_targets_new(&here, e)) ||
        (c->cqt_input && !(p->input = mert_cqt_input_new(c, e))) ||
        (c->kind == MERT_CONFORMER && !c->convs && !(p->mel = mert_mel_batch_new(w, e)))) {
        mert_preparer_free(p);
        return NULL;
    }
    return p;
}

void mert_preparer_free(mert_preparer *p)
{
    if (!p)
        return;
    mert_train_targets_free(p->targets);
    mert_cqt_batch_free(p->input);
    mert_mel_batch_free(p->mel);
    free(p->frames);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

mert_ops *mert_preparer_ops(const mert_preparer *p)
{
    return p->ops;
}

void mert_prepared_free(mert_prepared *p)
{
    if (p->ops)
        p->ops->unpin(p->ops, p->block);
    *p = (mert_prepared){0};
}

/* ---- layout of the block ---- */

/* Reserves n items of `each` bytes at the end of the block. */
static size_t place(mert_prepared *p, int64_t n, size_t each)
{
    size_t at = p->bytes;
    p->bytes += ((size_t)n * each + ALIGNED - 1) / ALIGNED * ALIGNED;
    return at;
}

static int replaces(const mert_batch *b, int64_t i)
{
    return b->source && b->mask[i] && b->source[i] != MERT_MASK_EMBEDDING && b->source[i] != i;
}

static void count(const mert_preparer *p, const mert_batch *b, int training, mert_prepared *to)
{
    int64_t n = b->B * b->T;
    to->S = to->others = to->replaced = 0;
    to->examples = b->examples ? b->examples->n : 0;
    if (b->examples)
        return;
    for (int64_t i = 0; i < n; i++) {
        to->S += b->mask[i] != 0;
        to->replaced += replaces(b, i);
    }
    if (p->others && training)
        to->others = n - to->S;
}

static int lay_out(const mert_preparer *p, const mert_batch *b, mert_prepared *to, mert_error *e)
{
    const mert_config *c = p->c;
    int64_t n = b->B * b->T;
    to->bytes = 0;
    to->mask_T = c->kind == MERT_CONFORMER ? mert_config_front_frames(c, b->L) : b->T;
    to->mel_frames = p->mel ? mert_config_mel_frames(c, b->L) : 0;
    to->rows = place(to, to->S, sizeof(int32_t));
    to->targets = place(to, to->S * b->K, sizeof(int32_t));
    to->other_rows = place(to, to->others, sizeof(int32_t));
    to->other_targets = place(to, to->others * b->K, sizeof(int32_t));
    to->cqt = place(to, to->S * p->cqt_bins, sizeof(float));
    to->cqt_later = to->S && c->cqt_target_bins != p->cqt_bins;
    to->mel = place(to, to->S * c->mel_target_bins, sizeof(float));
    to->mask = place(to, b->examples ? 0 : b->B * to->mask_T, sizeof(float));
    to->shares = place(to, to->examples * b->T, sizeof(float));
    to->answers = place(to, b->examples ? to->examples * b->examples->outputs : 0, sizeof(float));
    to->channels = place(to, b->channels ? b->B * c->width : 0, sizeof(float));
    to->replaced_to = place(to, to->replaced, sizeof(int32_t));
    to->replaced_from = place(to, to->replaced, sizeof(int32_t));
    to->replaced_rows = place(to, b->source ? n : 0, sizeof(float));
    to->input = place(to, p->mel ? b->B * to->mel_frames * c->conformer.mels : p->input ? n * c->cqt_input_bins : 0,
                      sizeof(float));
    if (to->bytes > to->room || !to->block) {
        mert_prepared empty = *to;
        mert_prepared_free(&empty);
        to->ops = p->ops;
        to->block = p->ops->pin(p->ops, to->bytes);
        to->room = to->block ? to->bytes : 0;
    }
    return to->block ? 0 : mert_fail(e, "out of memory for the targets of %lld frames", (long long)n);
}

/* ---- filling ---- */

static int32_t *whole_at(const mert_prepared *p, size_t at)
{
    return (int32_t *)(void *)(p->block + at);
}

static float *floats_at(const mert_prepared *p, size_t at)
{
    return (float *)(void *)(p->block + at);
}

/* Lists the frames with mask == `masked`: their rows, and their classes. */
static int list_frames(const mert_config *c, const mert_batch *b, int masked, int64_t S, int32_t *rows,
                       int32_t *targets, mert_error *e)
{
    int64_t n = b->B * b->T, s = 0;
    for (int64_t i = 0; i < n; i++)
        if (!b->mask[i] == !masked)
            rows[s++] = (int32_t)i;
    for (int k = 0; k < b->K; k++)
        for (int64_t i = 0; i < S; i++) {
            int32_t label = b->labels[k * n + rows[i]];
            if (label < 0 || label >= c->classes[k])
                return mert_fail(e, "codebook %d: label %d of frame %lld is outside its %lld classes", k, (int)label,
                                 (long long)(rows[i] % b->T), (long long)c->classes[k]);
            targets[k * S + i] = label + c->special_rows;
        }
    return 0;
}

/* Copies the rows of masked frames: from [B * T, bins] to [S, bins]. */
static void take_rows(const float *all, const int32_t *rows, int64_t S, int64_t bins, float *to)
{
    for (int64_t i = 0; i < S; i++)
        memcpy(to + i * bins, all + rows[i] * bins, (size_t)bins * sizeof(float));
}

static int fill_targets(mert_preparer *p, const mert_batch *b, const mert_prepared *to, mert_error *e)
{
    int64_t n = b->B * b->T, cqt = p->cqt_bins, mel = p->c->mel_target_bins;
    size_t floats = (size_t)(n * (cqt + mel)) + 1;
    const int32_t *rows = whole_at(to, to->rows);
    if (!cqt && !mel)
        return 0;
    if (floats > p->room) {
        free(p->frames);
        p->frames = malloc(floats * sizeof *p->frames);
        p->room = p->frames ? floats : 0;
    }
    if (!p->frames)
        return mert_fail(e, "out of memory for the targets of %lld frames", (long long)n);
    if (mert_train_targets_compute(p->targets, b->B, b->L, b->T, b->clean, p->frames, p->frames + n * cqt, e))
        return -1;
    take_rows(p->frames, rows, to->S, cqt, floats_at(to, to->cqt));
    take_rows(p->frames + n * cqt, rows, to->S, mel, floats_at(to, to->mel));
    return 0;
}

/* Masks are made for the frames of the model. If they act before a subsampler, one frame of a mask is this many frames
 * of the front end. */
static int64_t frame_parts(const mert_config *c)
{
    int64_t parts = 1;
    for (int i = 0; c->kind == MERT_CONFORMER && i < c->conformer.stages; i++)
        parts *= c->conformer.stage[i].stride;
    return parts;
}

/* Whether frame `frame` of a clip is replaced by mask_emb. */
static int hidden_frame(const mert_batch *b, int64_t clip, int64_t frame)
{
    int64_t i = clip * b->T + frame;
    return frame < b->T && b->mask[i] && (!b->source || b->source[i] == MERT_MASK_EMBEDDING);
}

static void fill_flags(const mert_config *c, const mert_batch *b, const mert_prepared *p)
{
    int64_t n = b->B * b->T, found = 0;
    float *mask = floats_at(p, p->mask), *channels = floats_at(p, p->channels);
    float *replaced = floats_at(p, p->replaced_rows);
    int32_t *to = whole_at(p, p->replaced_to), *from = whole_at(p, p->replaced_from);
    for (int64_t i = 0; i < b->B * p->mask_T; i++)
        mask[i] = hidden_frame(b, i / p->mask_T, i % p->mask_T / frame_parts(c)) ? 1.0f : 0.0f;
    for (int64_t i = 0; b->channels && i < b->B * c->width; i++)
        channels[i] = b->channels[i] ? 1.0f : 0.0f;
    for (int64_t i = 0; b->source && i < n; i++) {
        replaced[i] = replaces(b, i) ? 1.0f : 0.0f;
        if (replaces(b, i)) {
            to[found] = (int32_t)i;
            from[found++] = b->source[i];
        }
    }
}

static int fill_frames(mert_preparer *p, const mert_batch *b, const mert_prepared *to, mert_error *e)
{
    const mert_config *c = p->c;
    fill_flags(c, b, to);
    return list_frames(c, b, 1, to->S, whole_at(to, to->rows), whole_at(to, to->targets), e) ||
                   (to->others && list_frames(c, b, 0, to->others, whole_at(to, to->other_rows),
                                              whole_at(to, to->other_targets), e)) ||
                   fill_targets(p, b, to, e)
               ? -1
               : 0;
}

/* Weights of frames, and what is right. */
static void fill_examples(const mert_batch *b, const mert_prepared *to)
{
    const mert_examples *x = b->examples;
    float *share = floats_at(to, to->shares);
    int64_t each = x->single ? 1 : x->outputs;
    memset(share, 0, (size_t)(x->n * b->T) * sizeof *share);
    for (int64_t i = 0; i < x->n; i++)
        for (int32_t t = x->from[i]; t < x->to[i]; t++)
            share[i * b->T + t] = 1 / (float)(x->to[i] - x->from[i]);
    memcpy(to->block + to->answers, x->numbers ? (const void *)x->numbers : x->labels,
           (size_t)(x->n * each) * sizeof(float));
}

static int prepare(mert_preparer *p, const mert_batch *b, int training, mert_prepared *to, mert_error *e)
{
    const mert_config *c = p->c;
    if (b->K != c->codebooks)
        return mert_fail(e, "%d label sets, but the model has heads for %d", b->K, c->codebooks);
    count(p, b, training, to);
    if (lay_out(p, b, to, e))
        return -1;
    if (b->examples)
        fill_examples(b, to);
    else if (fill_frames(p, b, to, e))
        return -1;
    if (p->mel)
        return mert_mel_batch_run(p->mel, b->B, b->L, b->audio, floats_at(to, to->input), e);
    return p->input ? mert_cqt_batch_run(p->input, b->B, b->L, b->T, b->audio, floats_at(to, to->input), e) : 0;
}

int mert_prepare(mert_preparer *p, const mert_batch *b, int training, mert_prepared *to, mert_error *e)
{
    int bad;
    pthread_mutex_lock(&p->lock);
    bad = prepare(p, b, training, to, e);
    pthread_mutex_unlock(&p->lock);
    return bad;
}
