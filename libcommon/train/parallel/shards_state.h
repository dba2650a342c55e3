/* What shards.c and shards_slots.c work on. */
#ifndef MERT_SHARDS_STATE_H
#define MERT_SHARDS_STATE_H

#include "libcommon/train/parallel/exchange_queue.h"
#include "libcommon/train/parallel/moments.h"
#include "libcommon/train/parallel/shards.h"

enum { WEIGHT_SLOTS = 5, GRADIENT_SLOTS = 4 };

/* A place for one part at a time. */
typedef struct mert_slot {
    float *device;
    float *host;    /* what the exchange works on: == device where the device computes in host memory */
    int part;       /* -1: none */
    int busy;       /* in use by the passes */
    int64_t number; /* of its exchange in the queue; 0: none is under way */
    int64_t used;   /* when: the one that was used longest ago makes room */
} mert_slot;

typedef struct mert_piece {
    int64_t from, n; /* own floats within the part */
    int64_t at;      /* where they are in own arrays */
} mert_piece;

struct mert_shards {
    const mert_layout *layout;
    mert_ops *ops;
    mert_exchange *x;
    mert_exchange_queue *queue; /* NULL: alone */
    mert_sharding sharding;
    int direct;                 /* the device computes in host memory */
    mert_parts parts;
    mert_piece *piece;          /* [parts.n] */
    int64_t own;                /* floats of all own pieces */
    float *weights, *gradients; /* device: [layout->size], or [own] with MERT_SHARD_FULL */
    float *staged;              /* host [layout->size]: gradients on their way, unless direct */
    mert_moments *moments;      /* of all, or of own */
    double *squares;            /* device */
    int last, silent;
    int summed;                 /* the gradients have come together, ... */
    double sum_squares;         /* ... and this is of them */
    int64_t *number;            /* [parts.n]: of the exchange of its gradients; 0: they have not set out */
    int failed;
    mert_error why;
    mert_slot slot[WEIGHT_SLOTS], gradient_slot[GRADIENT_SLOTS]; /* MERT_SHARD_FULL */
    float *arrived;             /* device: own gradients of one part, unless direct */
    int64_t clock;
};

/* Keeps the first of what goes wrong during a pass (mert_shards_check says it). */
static inline void mert_shards_fail(mert_shards *s, const mert_error *e)
{
    if (!s->failed)
        s->why = *e;
    s->failed = 1;
}

/* Until the queue is through, for what cannot say that it failed: mert_shards_check() says it. */
static inline void mert_shards_wait(mert_shards *s)
{
    mert_error e;
    if (s->ops->wait(s->ops, &e))
        mert_shards_fail(s, &e);
}

/* Where a part's own floats are in weights and gradients. */
static inline int64_t mert_shards_own(const mert_shards *s, int part)
{
    const mert_piece *p = &s->piece[part];
    return s->sharding == MERT_SHARD_FULL ? p->at : s->parts.part[part].from + p->from;
}

/* MERT_SHARD_FULL */
int mert_slots_open(mert_shards *s, mert_error *e) MERT_MUST_USE;
void mert_slots_close(mert_shards *s);
void mert_slots_settle(mert_shards *s);               /* all gradients come together, or the pass has failed */
void mert_slots_forget(mert_shards *s);               /* the weights have changed */

#endif
