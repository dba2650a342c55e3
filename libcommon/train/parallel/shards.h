/* Distributes weights, gradients and moments among the processes, and exchanges them (contract N2).
 * Each parameter group (models/weights/parameter_groups.h) is divided into one piece per process
 * (mert_exchange_piece); "own" is a process's piece of every group.
 *
 *                          weights            gradients          moments   exchanged per update, besides small data
 *     MERT_SHARD_NONE      all                all                all       gradients: sums to all
 *     MERT_SHARD_OPTIMIZER all                all                own       gradients: sums to their owners; weights to all
 *     MERT_SHARD_FULL      own, a few groups  own, a few groups  own       per batch: weights twice, gradients once
 *
 * The gradients of a group are sent while the backward pass computes the next one; with MERT_SHARD_FULL, the weights of
 * the next group are fetched meanwhile. Sums and updates have the same bits in the first two modes, and in the third if
 * an update has one batch per process. With one process, all three are the first.
 *
 *     mert_shards_open(...); encoder and objective use mert_shards_groups()
 *     for each batch: mert_shards_batch(s, last, silent), forward and backward pass
 *     mert_shards_sum(s); mert_shards_update(s, &how, NULL, 0); */
#ifndef MERT_SHARDS_H
#define MERT_SHARDS_H

#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/parallel/exchange.h"

typedef enum mert_sharding { MERT_SHARD_NONE, MERT_SHARD_OPTIMIZER, MERT_SHARD_FULL } mert_sharding;

typedef struct mert_sharing {
    mert_exchange *exchange;
    mert_sharding sharding;
    const char *offload; /* where the moments are stored: moments.h */
} mert_sharing;

typedef struct mert_shards mert_shards;

/* weights: host [layout->size], copied; the layout must outlive the result. NULL on error. */
mert_shards *mert_shards_open(const mert_layout *layout, mert_ops *ops, const mert_sharing *sharing,
                              const float *weights, mert_error *e);
void mert_shards_close(mert_shards *s); /* NULL is fine */
const mert_groups *mert_shards_groups(const mert_shards *s);
/* Lets the devices exchange among themselves, if they can (join of ops.h): all processes call it, once, before the
 * first batch. 0: they do, or there is nothing to join. 1: they cannot, for the reason in e: the exchange goes through
 * host memory, as without this call. */
int mert_shards_join(mert_shards *s, mert_error *e) MERT_MUST_USE;

/* To be called before the passes of a batch. last: the last batch of this update on this process; its backward pass
 * sends the gradients. silent: the batch adds nothing to the gradients: for a process that has no batch while others
 * have one, but must take part (mert_shards_together). */
void mert_shards_batch(mert_shards *s, int last, int silent);
/* 1: all processes must run the same number of passes. */
int mert_shards_together(const mert_shards *s);
/* To be called after the passes: returns an error that happened during them. */
int mert_shards_check(mert_shards *s, mert_error *e) MERT_MUST_USE;

/* To be called after the last batch of the update: completes the sums of the gradients. One process only queues it.
 * spoilt: the gradients of this process are invalid: the sum of squares is then not finite in all processes. */
int mert_shards_sum(mert_shards *s, int spoilt, mert_error *e) MERT_MUST_USE;
/* Device: the sum of the squares of all elements of the summed gradients. */
const double *mert_shards_squares(const mert_shards *s);
/* A range of the flat array whose learning rate is multiplied by this; 0: it does not change, and neither do its
 * moments. */
typedef struct mert_rate {
    int64_t from, n;
    double factor;
} mert_rate;
/* `how` without parameters, gradients, moments and n; NULL: no update. rates [n]: all ranges that are updated, in
 * order; n 0: everything. The gradients are zero afterwards. It waits. */
int mert_shards_update(mert_shards *s, const mert_adam_args *how, const mert_rate *rates, int n, mert_error *e)
    MERT_MUST_USE;

/* Host arrays with the layout of the weights, [layout->size] each; NULL: not needed. All processes call it, with the
 * same arrays not NULL; the pointers must be valid only if `here` is set. Gradients are those of mert_shards_sum. */
typedef struct mert_shards_arrays {
    float *weights, *gradients;
} mert_shards_arrays;
int mert_shards_get(mert_shards *s, const mert_shards_arrays *to, int here, mert_error *e) MERT_MUST_USE;
/* All weights, valid until the next update; NULL: the host cannot read them. */
const float *mert_shards_weights(const mert_shards *s);
/* Copies the first (which = 0) or second (1) moments of a group of the model to host memory [n of the group]. All
 * processes call it. */
int mert_shards_moment(mert_shards *s, int which, int group, float *to, mert_error *e) MERT_MUST_USE;
int mert_shards_set(mert_shards *s, const float *weights, const float *m, const float *v, mert_error *e) MERT_MUST_USE;

#endif
