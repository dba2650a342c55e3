#include "libcommon/train/loader.h"

#include "libcommon/base/random.h"

#include <math.h>
#include <stdlib.h>

/* A crop while crops are sorted. The struct is small because there is one for each crop of the epoch. */
typedef struct sized {
    uint64_t tie;
    int64_t item;
    uint32_t number; /* mert_crop.number, which is at most INT32_MAX */
    uint32_t size;   /* samples of the crop before it is cut to the length of its batch: at most max_sample_size */
} sized;

static int larger_first(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->tie != y->tie)
        return x->tie < y->tie ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Whether an item is used in an epoch. Validation does not use shards. */
static int in_epoch(const mert_corpus *c, const mert_recipe *r, int64_t item, int64_t epoch, int64_t shard)
{
    return c->items[item].samples >= mert_recipe_shortest(r, epoch) &&
           (epoch == MERT_VALIDATION || r->sharding_data < 2 || c->items[item].shard == shard);
}

static int64_t crops_of(const mert_recipe *r, int64_t samples, int64_t longest)
{
    int64_t fit = samples / longest;
    return r->crops_per_item ? r->crops_per_item : fit ? fit : 1;
}

/* 64 random bits for index i. */
static uint64_t random_bits(const mert_random *key, uint32_t i)
{
    uint32_t w[4];
    mert_random_block(key, i, w);
    return (uint64_t)w[0] << 32 | w[1];
}

/* How many crops must be added to n others so that they are `share` of all. */
static int64_t replayed(double share, int64_t n)
{
    return llround(share / (1 - share) * (double)n);
}

static int64_t replay_crops(const mert_corpus *c, const mert_recipe *r, int64_t item, int64_t longest)
{
    int64_t samples = c->replay->items[item].samples;
    return samples < r->min_sample_size ? 0 : crops_of(r, samples, longest);
}

/* Adds crops of the old corpus, drawn without replacement, anew for each epoch. If more are wanted than it has, all of
 * it is repeated in the same order. Their numbers follow those of the n crops of the new corpus. */
static int add_replayed(mert_epoch_plan *p, sized *to, int64_t n, int64_t wanted, const mert_corpus *c,
                        const mert_recipe *r, int64_t epoch, mert_error *e)
{
    mert_random key = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_ORDER, (uint64_t)epoch, 2, 0);
    mert_random ties = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_ORDER, (uint64_t)epoch, 0, 0);
    int64_t longest = mert_recipe_crop(r, epoch), there = 0;
    sized *all;
    for (int64_t i = 0; i < c->replay->n; i++)
        there += replay_crops(c, r, i, longest);
    if (!there)
        return mert_fail(e, "no item of the old corpus is as long as min_sample_size (%lld samples)",
                         (long long)r->min_sample_size);
    if (there > INT32_MAX || !(all = malloc((size_t)there * sizeof *all)))
        return mert_fail(e, "%lld crops in the old corpus: out of memory for them", (long long)there);
    there = 0;
    for (int64_t i = 0; i < c->replay->n; i++) {
        int64_t samples = c->replay->items[i].samples;
        p->too_short += samples < r->min_sample_size;
        for (int64_t k = replay_crops(c, r, i, longest); k > 0; k--, there++)
            all[there] =
                (sized){.tie = random_bits(&key, (uint32_t)there), .item = c->n + i, .number = (uint32_t)there};
    }
    qsort(all, (size_t)there, sizeof *all, larger_first); /* all sizes are 0 still, so this sorts by the random ties */
    for (int64_t i = 0; i < wanted; i++) {
        const sized *drawn = &all[i % there];
        int64_t samples = c->replay->items[drawn->item - c->n].samples;
        to[i] = (sized){.tie = random_bits(&ties, (uint32_t)(n + i)),
                        .item = drawn->item,
                        .number = (uint32_t)(n + i),
                        .size = (uint32_t)(samples < longest ? samples : longest)};
    }
    free(all);
    return 0;
}

/* The number of an item's crop k that does not depend on how many crops other items have. (Where it wraps, two crops
 * have the same random numbers.) */
static int64_t own_number(const mert_corpus *c, int64_t item, int64_t k)
{
    return (item + k * c->n) % INT32_MAX;
}

/* All crops of an epoch. NULL: out of memory, or more crops than mert_crop.number can count. */
static sized *all_crops(mert_epoch_plan *p, const mert_corpus *c, const mert_recipe *r, int64_t epoch, mert_error *e)
{
    mert_random key = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_ORDER, (uint64_t)epoch, 0, 0);
    sized *all;
    int64_t n = 0, number = 0, more;
    int64_t longest = mert_recipe_crop(r, epoch), shard = mert_recipe_shard(r, epoch);
    for (int64_t i = 0; i < c->n; i++)
        n += in_epoch(c, r, i, epoch, shard) ? crops_of(r, c->items[i].samples, longest) : 0;
    more = c->replay && n ? replayed(r->replay_share, n) : 0;
    if (n + more > INT32_MAX) {
        mert_fail(e, "%lld crops in an epoch: at most %d", (long long)(n + more), INT32_MAX);
        return NULL;
    }
    all = malloc(((size_t)(n + more) + 1) * sizeof *all);
    if (!all) {
        mert_fail(e, "out of memory for the %lld crops of an epoch", (long long)(n + more));
        return NULL;
    }
    for (int64_t i = 0; i < c->n; i++) {
        int64_t samples = c->items[i].samples, crops = crops_of(r, samples, longest);
        p->too_short += samples < mert_recipe_shortest(r, epoch);
        if (!in_epoch(c, r, i, epoch, shard))
            continue;
        for (int64_t k = crops; k > 0; k--, number++) {
            all[number] = (sized){.tie = random_bits(&key, (uint32_t)number),
                                  .item = i,
                                  .number = (uint32_t)(mert_recipe_fixed(r, epoch) ? own_number(c, i, crops - k)
                                                                                   : number),
                                  .size = (uint32_t)(samples < longest ? samples : longest)};
        }
    }
    if (more && add_replayed(p, all + n, n, more, c, r, epoch, e)) {
        free(all);
        return NULL;
    }
    p->crops_n = n + more;
    p->replayed = more;
    qsort(all, (size_t)p->crops_n, sizeof *all, larger_first);
    return all;
}

/* The number of crops in the next batch. `longest`: samples of its first crop, which is the longest; left: crops
 * left. */
static int64_t batch_size(const mert_recipe *r, int64_t longest, int64_t left)
{
    int64_t n = r->max_tokens / longest;
    if (n < 1)
        n = 1;
    if (n > left)
        n = left;
    return n > r->batch_multiple ? n - n % r->batch_multiple : n;
}

typedef struct mert_epoch_plan_batch planned;

static void shuffle(planned *b, int64_t n, const mert_recipe *r, int64_t epoch)
{
    mert_random key = mert_random_key(mert_recipe_seed(r, epoch), MERT_FOR_ORDER, (uint64_t)epoch, 1, 0);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = mert_random_below(&key, (uint32_t)i, (uint32_t)(i + 1));
        planned held = b[i];
        b[i] = b[j];
        b[j] = held;
    }
}

int mert_epoch_plan_make(mert_epoch_plan *p, const mert_corpus *c, const mert_recipe *r, int64_t epoch, mert_error *e)
{
    sized *all;
    *p = (mert_epoch_plan){0};
    all = all_crops(p, c, r, epoch, e);
    if (!all)
        return -1;
    p->crops = malloc(((size_t)p->crops_n + 1) * sizeof *p->crops);
    p->batches = malloc(((size_t)p->crops_n + 1) * sizeof *p->batches);
    if (!p->crops || !p->batches) {
        free(all);
        mert_epoch_plan_free(p);
        return mert_fail(e, "out of memory for the batches of an epoch");
    }
    for (int64_t i = 0; i < p->crops_n; i++)
        p->crops[i] = (mert_crop){.item = all[i].item, .number = all[i].number};
    for (int64_t i = 0; i < p->crops_n;) {
        planned *b = &p->batches[p->n++];
        b->first = i;
        b->B = batch_size(r, all[i].size, p->crops_n - i);
        i += b->B;
        b->L = all[i - 1].size;
    }
    free(all);
    shuffle(p->batches, p->n, r, epoch);
    return 0;
}

void mert_epoch_plan_free(mert_epoch_plan *p)
{
    free(p->crops);
    free(p->batches);
    *p = (mert_epoch_plan){0};
}
