/* The state of shards.c and shards_slots.c. */
#ifndef MERT_SHARDS_STATE_H
#define MERT_SHARDS_STATE_H

#include "libcommon/train/parallel/exchange_queue.h"
#include "libcommon/train/parallel/moments.h"
#include "libcommon/train/parallel/shards.h"

enum { WEIGHT_SLOTS = 5, GRADIENT_SLOTS = 4 };

/* Memory for one group at a time. */
typedef struct mert_slot {
    float *device;
    float *host;    /* for the exchange; == device if direct */
    int group;      /* -1: none */
    int busy;       /* in use by the passes */
    int64_t number; /* of its exchange in the queue; 0: none */
    int64_t used;   /* time of the last use: the least recently used slot is reused */
} mert_slot;

typedef struct mert_piece {
    int64_t from, n; /* own floats within the group */
    int64_t at;      /* their position in arrays of own floats */
} mert_piece;

struct mert_shards {
    const mert_layout *layout;
    mert_ops *ops;
    mert_exchange *x;
    mert_exchange_queue *queue; /* NULL: alone */
    mert_sharding sharding;
    int joined;                 /* the devices exchange among themselves */
    int direct;                 /* what is exchanged is device memory: joined, or it is the host's */
    mert_groups groups;
    mert_piece *piece;          /* [groups.n] */
    int64_t own;                /* number of floats of all own pieces */
    float *weights, *gradients; /* device: [layout->size], or [own] with MERT_SHARD_FULL */
    float *staged;              /* host [layout->size]: gradients being exchanged, unless direct */
    mert_moments *moments;      /* of all parameters, or of own ones */
    double *squares;            /* device: of the summed gradients */
    int last, silent;
    int summed;                 /* the gradients are summed; `squares` of all processes is computed */
    double sum_squares;         /* of this value */
    int64_t *number;            /* [groups.n]: number of the exchange of the group's gradients; 0: not sent yet */
    int failed;
    mert_error why;
    mert_slot slot[WEIGHT_SLOTS], gradient_slot[GRADIENT_SLOTS]; /* MERT_SHARD_FULL */
    float *arrived;             /* device: own gradients of one group, unless direct */
    int64_t clock;
};

/* Keeps the first error during a pass (mert_shards_check returns it). */
static inline void mert_shards_fail(mert_shards *s, const mert_error *e)
{
    if (!s->failed)
        s->why = *e;
    s->failed = 1;
}

/* Waits for the queue, before and after the host exchanges; devices that exchange themselves need no wait. For callers
 * that cannot return an error: mert_shards_check() returns it. */
static inline void mert_shards_wait(mert_shards *s)
{
    mert_error e;
    if (!s->joined && s->ops->wait(s->ops, &e))
        mert_shards_fail(s, &e);
}

/* Starts an exchange of data [n] in pieces, and returns its number, for mert_shards_await. */
static inline int64_t mert_shards_put(mert_shards *s, mert_exchange_what what, float *data, int64_t n)
{
    int64_t from;
    return s->joined ? s->ops->exchange(s->ops, what, data, n, mert_exchange_piece(n, s->x->ranks, 0, &from))
                     : mert_exchange_queue_put(s->queue, what, data, n);
}

/* What is queued after this call uses the result of exchange `number`. */
static inline int mert_shards_await(mert_shards *s, int64_t number, mert_error *e)
{
    if (!s->joined)
        return mert_exchange_queue_wait(s->queue, number, e);
    s->ops->finish(s->ops, number);
    return 0;
}

/* The position of a group's own floats in weights and gradients. */
static inline int64_t mert_shards_own(const mert_shards *s, int group)
{
    const mert_piece *p = &s->piece[group];
    return s->sharding == MERT_SHARD_FULL ? p->at : s->groups.group[group].from + p->from;
}

/* MERT_SHARD_FULL */
int mert_slots_open(mert_shards *s, mert_error *e) MERT_MUST_USE;
void mert_slots_close(mert_shards *s);
void mert_slots_join(mert_shards *s);                 /* from now on without host memory */
void mert_slots_settle(mert_shards *s);               /* finishes all sums of gradients, also after an error */
void mert_slots_forget(mert_shards *s);               /* drops all fetched weights, because they have changed */

#endif
