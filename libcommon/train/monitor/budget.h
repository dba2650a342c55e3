/* What a run will take, said before it begins (mert-train --plan): its corpus as batches, its parameters, memory, work,
 * time and disk.
 *
 * Memory is not guessed: forward and backward pass of the largest batch run as they are, on a backend that computes
 * nothing (nn/dry.c), and are asked what they took. What the CPU backend keeps for itself (packed keys and values) is
 * added by formula. Work is that of models/flops.h, a backward pass counted as two forward passes, recomputing as one.
 */
#ifndef MERT_BUDGET_H
#define MERT_BUDGET_H

#include "libcommon/train/loader.h"
#include "libcommon/train/parallel/shards.h"

typedef struct mert_budget {
    mert_config model;
    int64_t parameters, extractor, heads; /* elements: of all, of the feature extractor, of what only training needs */
    /* the first epoch, and the largest batch of any kind of epoch */
    int64_t crops, batches, too_short, largest_B, largest_L;
    double audio;            /* seconds heard in an update, on the mean */
    int64_t per_update;      /* batches of an update */
    int64_t updates;
    double epochs;
    /* bytes, of each process */
    double weights, gradients, moments; /* here */
    double offloaded;                   /* moments that are elsewhere */
    double activations, loader;         /* of a batch; batches read ahead */
    double begin, saving;               /* what is held beside that for a while, when it begins and saves */
    double now;                         /* the program, its tables, and what it knows of the corpus, as it is */
    double peak;
    /* multiplications and additions */
    double forward, update, validation; /* of one crop of the largest size; of an update; of a validation */
    int64_t validations;
    double total;
    /* bytes on disk */
    double checkpoint;
    int64_t checkpoints; /* that there are at most at a time, one being written */
} mert_budget;

/* ops: what the run will compute on; ranks: processes; offload: as of a session. c and v: opened. */
int mert_budget_make(mert_budget *b, const mert_recipe *r, const mert_corpus *c, const mert_corpus *v,
                     const mert_ops *ops, int ranks, mert_sharding sharding, const char *offload, mert_error *e)
                     MERT_MUST_USE;

/* How fast the device is, in multiplications and additions per second: products of 2048^3, and, unless that would
 * take more than about `patience` seconds, one crop of the largest size forward and backward (0: not tried). */
typedef struct mert_pace {
    double product, crop;
} mert_pace;
int mert_budget_pace(mert_pace *p, const mert_budget *b, const mert_recipe *r, mert_ops *ops, double patience,
                     mert_error *e) MERT_MUST_USE;

#endif
