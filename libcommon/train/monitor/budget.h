/* Estimates the cost of a run (mert-train --plan): batches, parameters, memory, operations, time and disk space.
 *
 * Memory is measured: forward and backward pass of the largest batch are run on a backend that computes nothing but
 * counts allocations (nn/dry.c). The CPU backend's own memory (packed keys and values) is added by a formula.
 * Operations are those of models/flops.h; a backward pass counts as two forward passes, recomputing as one.
 */
#ifndef MERT_BUDGET_H
#define MERT_BUDGET_H

#include "libcommon/train/loader.h"
#include "libcommon/train/parallel/shards.h"

typedef struct mert_budget {
    mert_config model;
    int64_t parameters, extractor, heads; /* number of elements: all, of the feature extractor, of the heads */
    /* the first epoch, and the largest batch of any kind of epoch */
    int64_t crops, batches, too_short, largest_B, largest_L;
    double audio;            /* mean seconds of audio per update */
    int64_t per_update;      /* batches per update */
    int64_t updates;
    double epochs;
    /* bytes per process */
    double weights, gradients, moments; /* here */
    double offloaded;                   /* moments that are stored elsewhere (--offload) */
    double activations, loader;         /* of a batch; of the batches that are loaded ahead */
    double begin, saving;               /* additional memory for a short time, at the beginning and when saving */
    double planning;                    /* the crops of an epoch while they are sorted */
    double neighbours;                  /* the counts that are made at the beginning (data/neighbours.h) */
    double now;                         /* the current size: program, tables, corpus */
    double peak;
    /* multiplications and additions */
    double forward, update, validation; /* of one crop of the largest size; of an update; of a validation */
    int64_t validations;
    double total;
    /* bytes on disk */
    double checkpoint;
    int64_t checkpoints; /* the most at a time, with the one being written */
} mert_budget;

/* ops: the backend of the run; ranks: number of processes; offload: as in a session. c and v: open. */
int mert_budget_make(mert_budget *b, const mert_recipe *r, const mert_corpus *c, const mert_corpus *v,
                     const mert_ops *ops, int ranks, mert_sharding sharding, const char *offload, mert_error *e)
                     MERT_MUST_USE;

/* The speed of the device in multiplications and additions per second: of products of 2048^3 and, unless that would
 * take more than about `patience` seconds, of one crop of the largest size, forward and backward (0: not measured). */
typedef struct mert_pace {
    double product, crop;
} mert_pace;
int mert_budget_pace(mert_pace *p, const mert_budget *b, const mert_recipe *r, mert_ops *ops, double patience,
                     mert_error *e) MERT_MUST_USE;

#endif
