/* Which process keeps what of the weights, gradients and moments, and how they get together (contract N2). Each part of
 * the model (models/parameter_groups.h) is cut into as many pieces as there are processes (mert_exchange_piece); "own"
 * is a process's piece of every part.
 *
 *                         weights          gradients          moments   exchanged per update, beside small things
 *     MERT_SHARD_NONE     all              all                all       gradients: sums to all
 *     MERT_SHARD_OPTIMIZER all             all                own       gradients: sums to their owners; weights to all
 *     MERT_SHARD_FULL     own, a few parts own, a few parts   own       per batch: weights twice, gradients once
 *
 * The gradients of a part set out while the backward pass goes on with the next one; with MERT_SHARD_FULL, weights
 * of the next part arrive meanwhile. The sums are the same bits in the first two ways, and in the third where an
 * update has one batch per process; so is the update. For one process, all three are the first.
 *
 *     mert_shards_open(...); encoder and objective use mert_shards_parts()
 *     for each batch: mert_shards_batch(s, last, silent), forward and backward pass
 *     mert_shards_sum(s, &squares); mert_shards_update(s, &how); */
#ifndef MERT_SHARDS_H
#define MERT_SHARDS_H

#include "libcommon/models/parameter_groups.h"
#include "libcommon/models/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/parallel/exchange.h"

typedef enum mert_sharding { MERT_SHARD_NONE, MERT_SHARD_OPTIMIZER, MERT_SHARD_FULL } mert_sharding;

typedef struct mert_sharing {
    mert_exchange *exchange;
    mert_sharding sharding;
    const char *offload; /* where the moments are: moments.h */
} mert_sharing;

typedef struct mert_shards mert_shards;

/* weights: host [layout->size], copied; the layout must stay. NULL on error. */
mert_shards *mert_shards_open(const mert_layout *layout, mert_ops *ops, const mert_sharing *sharing,
                              const float *weights, mert_error *e);
void mert_shards_close(mert_shards *s); /* NULL is fine */
const mert_parts *mert_shards_parts(const mert_shards *s);

/* Before the passes of a batch. last: of this update on this process: its backward pass sends gradients away. silent:
 * it adds nothing: for a process that has no batch where others have one, and must take part all the same
 * (mert_shards_together). */
void mert_shards_batch(mert_shards *s, int last, int silent);
/* Whether all processes must run equally many passes. */
int mert_shards_together(const mert_shards *s);
/* After the passes: whether something went wrong on the way. */
int mert_shards_check(mert_shards *s, mert_error *e) MERT_MUST_USE;

/* After the last batch of the update: all gradients come together. *squares: of the sums, all of them. */
int mert_shards_sum(mert_shards *s, double *squares, mert_error *e) MERT_MUST_USE;
/* `how` without pointers and n; NULL: no update. The gradients are zero afterwards. */
int mert_shards_update(mert_shards *s, const mert_adam_args *how, mert_error *e) MERT_MUST_USE;

/* Host arrays in the layout, [layout->size] each; NULL: not wanted. All processes call it; only where `here` is set
 * must pointers be valid: elsewhere they say what is wanted. Gradients are those of mert_shards_sum. */
typedef struct mert_shards_arrays {
    float *weights, *gradients;
} mert_shards_arrays;
int mert_shards_get(mert_shards *s, const mert_shards_arrays *to, int here, mert_error *e) MERT_MUST_USE;
/* All weights, where the host can read them as they are, until the next update; NULL: it cannot. */
const float *mert_shards_weights(const mert_shards *s);
/* The first (0) or second (1) moments of a part of the model, to host [n of the part]. All processes call it. */
int mert_shards_moment(mert_shards *s, int which, int part, float *to, mert_error *e) MERT_MUST_USE;
int mert_shards_set(mert_shards *s, const float *weights, const float *m, const float *v, mert_error *e) MERT_MUST_USE;

#endif
