/* Probing: how well can labels be predicted from frozen features, layer by layer?
 *
 *     for each seed: assign the groups to parts; for each round, layer and decay: train on train, compare on valid;
 *     predict the instances of test with the best one; score the answers of all rounds
 *
 * Features, and numbers to predict, are scaled to mean 0 and variance 1, with the statistics of the training part only.
 * If the valid part was taken from the training data, a linear probe is trained again on both, with the best decay.
 * Each (layer, seed, round) is one task of the pool, and its result depends only on data and options. */
#ifndef MERT_PROBE_H
#define MERT_PROBE_H

#include "libcommon/probe/items.h"
#include "libcommon/probe/score.h"
#include "libcommon/probe/trained.h"

#include "formats/error.h"

/* What the probes of a line and a seed answered, in all rounds. */
typedef struct mert_probe_answers {
    int64_t line;
    uint64_t seed;
    const mert_targets *g;  /* of the instances, or of items */
    const float *answers;   /* [g->n, outputs] (score.h) */
    const int32_t *round;   /* [g->n] the round in which it was tested; -1: none */
} mert_probe_answers;

typedef struct mert_probe_options {
    int64_t hidden;             /* units of the hidden layer; 0: linear */
    int weighted;               /* also a learned mixture of all layers (trained by net.h, with or without a hidden
                                   layer) */
    int folds, seeds;
    uint64_t seed;              /* the first seed */
    struct { const double *from; int n; } decays, net_decays; /* the candidates, descending; net: hidden or weighted */
    int epochs, patience, batch; /* see net.h; a batch is at most an eighth of the training part */
    double lr, dropout;
    const mert_items *items;    /* not NULL: answers are averaged by item and scored so */
    void (*progress)(int64_t done, int64_t all); /* NULL: none */
    /* Called for each line and seed, in this order, by the calling thread; -1 ends the run. NULL: none */
    int (*answered)(void *self, const mert_probe_answers *a, mert_error *e);
    void *answered_self;
} mert_probe_options;

/* Lines: the prior (the same prediction for all: the frequency of each label), each layer, and the mixture. */
typedef struct mert_probe_result {
    int64_t lines;              /* 1 + layers, and 1 with weighted */
    int scores, seeds, rounds;  /* seeds: 1 if nothing is random */
    char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX]; /* [scores] */
    double *value;              /* [lines, scores, seeds]; NAN: not defined */
    double *mixture;            /* [layers] mean weight of each layer; NULL without weighted */
    int64_t rare;               /* classes or labels that occur in fewer groups than folds */
    int64_t unfinished;         /* number of linear probes that had not converged after MERT_LINEAR_STEPS */
} mert_probe_result;

/* x [n, layers, d], n of the targets. */
int mert_probe_run(mert_probe_result *r, const mert_probe_options *o, const mert_targets *g, const float *x,
                   int64_t layers, int64_t d, mert_error *e) MERT_MUST_USE;
/* Trains the probe of a line (from 1) on all instances, by the first seed. The decay is chosen as above, with one fold
 * of the instances as the valid part, which a linear probe is then trained on, too. The caller sets features, layer and
 * frames of the result. */
int mert_probe_train(mert_trained *to, const mert_probe_options *o, const mert_targets *g, const float *x,
                     int64_t layers, int64_t d, int64_t line, mert_error *e) MERT_MUST_USE;

void mert_probe_result_free(mert_probe_result *r);

/* Statistics over the seeds for which the value is defined. NAN: none. */
typedef struct mert_probe_range { double mean, min, max; int n; } mert_probe_range;
mert_probe_range mert_probe_result_range(const mert_probe_result *r, int64_t line, int score);

#endif
