#include "libcommon/train/loader.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/train/data/level.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one batch ---- */

static void free_samples(const mert_load *l, float *p)
{
    if (l->ops)
        l->ops->unpin(l->ops, p);
    else
        free(p);
}

void mert_load_free(mert_load *l)
{
    mert_prepared_free(&l->prepared);
    free_samples(l, l->clean);
    free_samples(l, l->audio);
    free(l->labels);
    free(l->mask);
    free(l->source);
    free(l->channels);
    free(l->items);
    free(l->corpus_items);
    free(l->failures);
    mert_examples_free(&l->examples);
    memset(l, 0, sizeof *l);
}

/* *room: the number of elements that *p has room for. Grows it to n if necessary; the contents are lost. */
static int need(void *p, size_t n, size_t element)
{
    void **at = p;
    free(*at);
    *at = n <= SIZE_MAX / 2 / element ? malloc(n * element + 1) : NULL;
    return *at ? 0 : -1;
}

static int need_samples(const mert_load *l, float **p, size_t n)
{
    if (!l->ops)
        return need(p, n, sizeof **p);
    free_samples(l, *p);
    *p = n <= SIZE_MAX / 2 / sizeof **p ? l->ops->pin(l->ops, n * sizeof **p) : NULL;
    return *p ? 0 : -1;
}

static int make_room(mert_load *l, int64_t B, int64_t L, int64_t T, int K, int64_t D, mert_error *e)
{
    size_t samples = (size_t)B * (size_t)L, frames = (size_t)B * (size_t)T, channels = (size_t)B * (size_t)D;
    if (samples > l->samples_room) {
        l->samples_room = 0;
        if (need_samples(l, &l->clean, samples) || need_samples(l, &l->audio, samples))
            return mert_fail(e, "out of memory for a batch of %lld crops of %lld samples", (long long)B, (long long)L);
        l->samples_room = samples;
    }
    if (frames > l->frames_room) {
        l->frames_room = 0;
        if (need(&l->labels, frames * (size_t)K, sizeof *l->labels) || need(&l->mask, frames, sizeof *l->mask) ||
            need(&l->source, frames, sizeof *l->source))
            return mert_fail(e, "out of memory for the labels of a batch");
        l->frames_room = frames;
    }
    if (channels > l->channels_room) {
        l->channels_room = 0;
        if (need(&l->channels, channels, sizeof *l->channels))
            return mert_fail(e, "out of memory");
        l->channels_room = channels;
    }
    if ((size_t)B > l->items_room) {
        l->items_room = 0;
        if (need(&l->items, (size_t)B, sizeof *l->items) ||
            need(&l->corpus_items, (size_t)B, sizeof *l->corpus_items) ||
            need(&l->failures, (size_t)B, sizeof *l->failures))
            return mert_fail(e, "out of memory");
        l->items_room = (size_t)B;
    }
    return 0;
}

/* The first sample of a crop of L samples: a random position, on the grid of frames unless the recipe has crop_jitter.
 * Fixed validation: at a whole second, which is on the grid of any model. */
static int64_t crop_start(const mert_corpus *c, const mert_recipe *r, const mert_crop *crop, int64_t epoch, int64_t L)
{
    mert_random key = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_CROP, (uint64_t)epoch, 0, 0);
    mert_random pick = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_CROP, (uint64_t)epoch, 0, 1);
    int64_t grid = c->config.jitter ? 1 : c->config.stride, item = crop->item, places;
    if (c->task && epoch == MERT_VALIDATION)
        return crop->number * L;
    if (c->task)
        return mert_task_start(c->task, c, item, L, mert_random_uniform(&pick, (uint32_t)crop->number),
                               mert_random_uniform(&key, (uint32_t)crop->number));
    c = mert_corpus_owner(c, &item);
    if (mert_recipe_fixed(r, epoch))
        grid = c->config.sample_rate % c->config.stride ? c->config.stride : c->config.sample_rate;
    places = (c->items[item].samples - L) / grid + 1;
    return (int64_t)(mert_random_uniform(&key, (uint32_t)crop->number) * (double)places) * grid;
}

/* Reads the audio of the crops, without those that cannot be read. starts [B]: the first sample of each crop that was
 * read. */
static int fill_audio(mert_load *l, mert_corpus *c, const mert_recipe *r, const mert_config *model,
                      const mert_crop *crops, int64_t B, int64_t *starts, mert_error *e)
{
    mert_batch *b = &l->batch;
    mert_corpus_crop *read = calloc((size_t)B, sizeof *read);
    int bad;
    if (!read)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < B; i++)
        read[i] = (mert_corpus_crop){.item = crops[i].item, .first = crop_start(c, r, &crops[i], l->epoch, b->L),
                                     .n = b->L, .to = l->clean + i * b->L};
    bad = mert_corpus_read(c, read, B, e);
    for (int64_t i = 0; !bad && i < B; i++) {
        if (!read[i].bad && model->normalize)
            read[i].bad = mert_level_crop(c, crops[i].item, model->normalize_eps, read[i].to, b->L, &read[i].why);
        if (read[i].bad) {
            struct mert_load_failure *f = &l->failures[l->failed++];
            f->item = crops[i].item;
            snprintf(f->why, sizeof f->why, "%.500s", read[i].why.text);
            continue;
        }
        if (b->B < i)
            memcpy(l->clean + b->B * b->L, read[i].to, (size_t)b->L * sizeof *l->clean);
        starts[b->B] = read[i].first;
        l->items[b->B] = crops[i].number;
        l->corpus_items[b->B++] = crops[i].item;
    }
    free(read);
    return bad;
}

/* Sets T to the number of frames for which all crops have labels, and fills labels [K, B, T]. only: the codebook to
 * read; -1: all. */
static int fill_labels(mert_load *l, const mert_corpus *c, int64_t shortest, const int64_t *starts, int only,
                       mert_error *e)
{
    mert_batch *b = &l->batch;
    for (int64_t i = 0; i < b->B; i++) {
        int64_t frames = mert_corpus_frames(c, l->corpus_items[i], starts[i]);
        if (frames <= shortest)
            return mert_fail(e, "%s: no labels for a crop that begins at sample %lld",
                             mert_corpus_key(c, l->corpus_items[i]), (long long)starts[i]);
        if (frames < b->T)
            b->T = frames;
    }
    for (int k = 0; k < c->K; k++)
        for (int64_t i = 0; i < b->B && (only < 0 || k == only); i++)
            if (mert_corpus_labels(c, l->corpus_items[i], k, starts[i], b->T, l->labels + (k * b->B + i) * b->T, e))
                return -1;
    return 0;
}

/* Changes the input of training batches (not of validation): mixes in pieces of other items, replaces masked frames by
 * other frames, and sets channels to 0. */
static int make_harder(mert_load *l, const mert_recipe *r, int64_t width, mert_error *e)
{
    mert_batch *b = &l->batch;
    mert_mixture_config mixture = mert_recipe_mixture(r);
    mert_replace_config replace = mert_recipe_replace(r);
    mert_mask_config channels = mert_recipe_channel_mask(r);
    uint64_t seed = (uint64_t)r->seed, update = (uint64_t)l->update;
    uint32_t micro_batch = (uint32_t)l->micro_batch;
    if (mixture.prob > 0) { /* otherwise a device needs one copy of the samples, not two */
        mert_mixture_make(&mixture, seed, update, micro_batch, l->items, b->B, b->L, l->clean, l->audio);
        b->audio = l->audio;
    }
    if (replace.replace > 0 || replace.origin > 0) {
        if (mert_mask_replace(&replace, seed, update, micro_batch, l->items, b->B, b->T, l->mask, l->source, e))
            return -1;
        b->source = l->source;
    }
    if (channels.prob > 0) {
        if (mert_mask_channels(&channels, seed, update, micro_batch, l->items, b->B, width, l->channels, e))
            return -1;
        b->channels = l->channels;
    }
    return 0;
}

/* Masks that depend on nothing but item and crop: one row at a time, for all frames that the crop's samples have,
 * however many of them have labels. */
static int mask_fixed(mert_load *l, const mert_recipe *r, const mert_config *model, const mert_mask_config *mask,
                      mert_error *e)
{
    const mert_batch *b = &l->batch;
    int64_t T = mert_config_frames(model, b->L);
    uint8_t *row = malloc((size_t)T + 1);
    int bad = row ? 0 : mert_fail(e, "out of memory");
    for (int64_t i = 0; !bad && i < b->B; i++) {
        bad = mert_mask_make(mask, (uint64_t)r->valid_seed, UINT64_MAX, 0, &l->items[i], 1, T, row, e);
        if (!bad)
            memcpy(l->mask + i * b->T, row, (size_t)b->T);
    }
    free(row);
    return bad;
}

/* Fills masked frames with noise; no other replacement is used with it. */
static void mask_by_noise(mert_load *l, const mert_recipe *r, const mert_config *model)
{
    mert_batch *b = &l->batch;
    uint64_t keyed = l->epoch == MERT_VALIDATION ? UINT64_MAX : (uint64_t)l->update; /* the same key as for the masks */
    if (b->audio != l->audio)
        memcpy(l->audio, l->clean, (size_t)(b->B * b->L) * sizeof *l->audio);
    b->audio = l->audio;
    mert_mask_noise(r->mask_noise, mert_recipe_seed(r, l->epoch), keyed,
                    mert_recipe_fixed(r, l->epoch) ? 0 : (uint32_t)l->micro_batch, l->items, b->B, b->T, l->mask,
                    mert_config_stride(model), b->L, l->audio);
    for (int64_t i = 0; i < b->B * b->T; i++)
        l->source[i] = (int32_t)i;
    b->source = l->source;
}

/* Allocates the batch, and fills what is known before its audio is read. starts [B]: the caller frees it. */
static int begin_batch(mert_load *l, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                       const mert_epoch_plan *p, int64_t epoch, int64_t index, int64_t update, int64_t micro_batch,
                       int64_t **starts, mert_error *e)
{
    const struct mert_epoch_plan_batch *planned = &p->batches[index];
    int64_t T = mert_config_frames(model, planned->L);
    l->failed = 0;
    l->epoch = epoch;
    l->index = index;
    l->batches = p->n;
    l->update = update;
    l->micro_batch = micro_batch;
    if (make_room(l, planned->B, planned->L, T, c->K, r->mask_channel_prob > 0 ? model->width : 0, e))
        return -1;
    l->batch = (mert_batch){.L = planned->L,
                            .T = T,
                            .K = c->K,
                            .clean = l->clean,
                            .audio = l->clean,
                            .labels = l->labels,
                            .mask = l->mask,
                            .items = l->items};
    *starts = malloc((size_t)planned->B * sizeof **starts);
    return *starts ? 0 : mert_fail(e, "out of memory");
}

/* Labels and mask of the crops that were read, or for a labelled task their examples. */
static int finish_batch(mert_load *l, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                        const int64_t *starts, int only, mert_error *e)
{
    mert_batch *b = &l->batch;
    int validation = l->epoch == MERT_VALIDATION;
    mert_mask_config mask = mert_recipe_mask(r, validation ? MERT_LAST_UPDATE : l->update);
    uint64_t keyed = validation ? UINT64_MAX : (uint64_t)l->update; /* in validation the masks are always the same */
    if (c->task) {
        b->examples = &l->examples;
        return mert_task_fill(c->task, c, l->corpus_items, starts, b->B, b->T, !validation, &l->examples, e);
    }
    if (fill_labels(l, c, mask.length, starts, only, e))
        return -1;
    if (mert_recipe_fixed(r, l->epoch))
        return mask_fixed(l, r, model, &mask, e);
    return mert_mask_make(&mask, mert_recipe_seed(r, l->epoch), keyed, (uint32_t)l->micro_batch, l->items, b->B, b->T,
                          l->mask, e);
}

int mert_load_fill(mert_load *l, mert_corpus *c, const mert_recipe *r, const mert_config *model,
                   const mert_epoch_plan *p, int64_t epoch, int64_t index, int64_t update, int64_t micro_batch,
                   mert_error *e)
{
    int64_t *starts;
    int bad;
    if (begin_batch(l, c, r, model, p, epoch, index, update, micro_batch, &starts, e))
        return -1;
    bad = fill_audio(l, c, r, model, p->crops + p->batches[index].first, p->batches[index].B, starts, e);
    if (!bad)
        bad = !l->batch.B ? mert_fail(e, "no item of a whole batch can be read, the first: %s: %s",
                                      mert_corpus_key(c, l->failures->item), l->failures->why)
                          : finish_batch(l, c, r, model, starts, -1, e);
    free(starts);
    if (bad || c->task)
        return bad ? -1 : 0;
    if (epoch != MERT_VALIDATION && make_harder(l, r, model->width, e))
        return -1;
    if (r->mask_with)
        mask_by_noise(l, r, model);
    return 0;
}

int mert_load_fill_labels(mert_load *l, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                          const mert_epoch_plan *p, int64_t epoch, int64_t index, int64_t update, int k, mert_error *e)
{
    const mert_crop *crops = p->crops + p->batches[index].first;
    mert_batch *b = &l->batch;
    int64_t *starts;
    int bad;
    if (begin_batch(l, c, r, model, p, epoch, index, update, epoch == MERT_VALIDATION ? index : 0, &starts, e))
        return -1;
    for (; b->B < p->batches[index].B; b->B++) {
        starts[b->B] = crop_start(c, r, &crops[b->B], epoch, b->L);
        l->items[b->B] = crops[b->B].number;
        l->corpus_items[b->B] = crops[b->B].item;
    }
    bad = finish_batch(l, c, r, model, starts, k, e);
    free(starts);
    return bad;
}

/* ---- a few batches ahead, on a thread of its own ---- */

/* two in use and three ahead, so that one batch may take longer than an update */
enum { IN_USE = 2, LOADS = IN_USE + 3 };

struct mert_loader {
    mert_corpus *corpus;
    const mert_recipe *recipe;
    const mert_config *model;
    mert_rank_assignment assignment;
    mert_preparer *preparer; /* NULL: batches are not prepared */
    mert_pool *pool;         /* of the thread that made this */
    mert_epoch_plan plan;
    int64_t update, micro_batch, epoch, index; /* of the next batch to make */
    mert_load loads[LOADS];
    pthread_t thread;
    int started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t made, taken; /* numbers of batches. Load i is loads[i % LOADS]; the last IN_USE of those taken are in use */
    int stop, failed;
    mert_error why;
};

/* Moves to the next epoch, if this one has no batch left. */
static int go_on(mert_loader *l, mert_error *e)
{
    while (l->index >= l->plan.n) {
        mert_epoch_plan_free(&l->plan);
        l->epoch++;
        l->index = 0;
        if (mert_epoch_plan_make(&l->plan, l->corpus, l->recipe, l->epoch, e))
            return -1;
        if (!l->plan.n)
            return mert_fail(e, "epoch %lld has no batch", (long long)l->epoch);
    }
    return 0;
}

static int make_next(mert_loader *l, mert_load *to, mert_error *e)
{
    for (int mine = 0; !mine;) {
        mine = l->micro_batch % l->assignment.ranks == l->assignment.rank;
        if (go_on(l, e) || (mine && mert_load_fill(to, l->corpus, l->recipe, l->model, &l->plan, l->epoch, l->index,
                                                   l->update, l->micro_batch, e)))
            return -1;
        if (mine && l->preparer) {
            if (mert_prepare(l->preparer, &to->batch, 1, &to->prepared, e))
                return -1;
            to->batch.prepared = &to->prepared;
        }
        l->index++;
        if (++l->micro_batch == l->assignment.batches) {
            l->micro_batch = 0;
            l->update++;
        }
    }
    return 0;
}

static void *loader_run(void *arg)
{
    mert_loader *l = arg;
    mert_pool_use(l->pool);
    for (;;) {
        int bad;
        mert_error e = {{0}};
        pthread_mutex_lock(&l->lock);
        while (!l->stop && l->made - l->taken >= LOADS - IN_USE)
            pthread_cond_wait(&l->changed, &l->lock);
        if (l->stop) {
            pthread_mutex_unlock(&l->lock);
            return NULL;
        }
        pthread_mutex_unlock(&l->lock);
        bad = make_next(l, &l->loads[l->made % LOADS], &e);
        pthread_mutex_lock(&l->lock);
        if (bad) {
            l->failed = 1;
            l->why = e;
        } else {
            l->made++;
        }
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
        if (bad)
            return NULL;
    }
}

mert_loader *mert_loader_start(mert_corpus *c, const mert_recipe *r, const mert_config *model, mert_position from,
                               const mert_rank_assignment *assignment, mert_preparer *preparer, mert_error *e)
{
    mert_loader *l = calloc(1, sizeof *l);
    if (!l) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    l->corpus = c;
    l->recipe = r;
    l->model = model;
    l->assignment = assignment ? *assignment : (mert_rank_assignment){.batches = mert_recipe_batches(r, 1), .ranks = 1};
    l->preparer = preparer;
    for (int i = 0; preparer && i < LOADS; i++)
        l->loads[i].ops = mert_preparer_ops(preparer);
    l->update = from.update + 1;
    l->epoch = from.epoch;
    l->index = from.index;
    l->pool = mert_pool_used();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (mert_epoch_plan_make(&l->plan, c, r, l->epoch, e))
        goto fail;
    if (!l->plan.n) {
        mert_fail(e, "no item is as long as min_sample_size (%lld samples)", (long long)r->min_sample_size);
        goto fail;
    }
    if (pthread_create(&l->thread, NULL, loader_run, l)) {
        mert_fail(e, "cannot start a thread");
        goto fail;
    }
    l->started = 1;
    return l;
fail:
    mert_loader_stop(l);
    return NULL;
}

const mert_load *mert_loader_next(mert_loader *l, double *waited, mert_error *e)
{
    const mert_load *load = NULL;
    double since = mert_seconds();
    pthread_mutex_lock(&l->lock);
    while (!l->failed && l->made == l->taken)
        pthread_cond_wait(&l->changed, &l->lock);
    if (l->made > l->taken) {
        load = &l->loads[l->taken % LOADS];
        l->taken++;
        pthread_cond_broadcast(&l->changed);
    } else {
        *e = l->why;
    }
    pthread_mutex_unlock(&l->lock);
    if (waited)
        *waited += mert_seconds() - since;
    return load;
}

void mert_loader_stop(mert_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = 1;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    mert_epoch_plan_free(&l->plan);
    for (int i = 0; i < LOADS; i++)
        mert_load_free(&l->loads[i]);
    free(l);
}
