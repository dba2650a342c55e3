/* Probing: how much of what is known about the music can be read off frozen features, layer by layer?
 *
 *     for each seed: deal the groups to parts; for each round, layer and decay: train on train, judge on valid;
 *     ask the best one for the instances of test; score the answers of all rounds
 *
 * Features are brought to mean 0 and variance 1, as are numbers to regress on, by the statistics of what is trained on
 * alone. A linear probe whose valid part was carved from the training data is trained once more on both, with the decay
 * that was best. Each (layer, seed, round) is one task of the pool, and a function of data and options alone. */
#ifndef MERT_PROBE_H
#define MERT_PROBE_H

#include "libcommon/probe/score.h"

#include "formats/error.h"

typedef struct mert_probe_options {
    int64_t hidden;             /* units of the hidden layer; 0: linear */
    int weighted;               /* also a learned mixture of all layers (trained by net.h, hidden or not) */
    int folds, seeds;
    uint64_t seed;              /* the first of them */
    struct { const double *from; int n; } decays, net_decays; /* to choose from, descending; net: hidden or weighted */
    int epochs, patience, batch; /* these: of net.h; a batch is at most an eighth of the training part */
    double lr, dropout;
    void (*progress)(int64_t done, int64_t all); /* NULL: none */
} mert_probe_options;

/* Lines: what a guess would score that knows how often each label occurs (prior), each layer, and the mixture. */
typedef struct mert_probe_result {
    int64_t lines;              /* 1 + layers, and 1 with weighted */
    int scores, seeds, rounds;  /* seeds: 1 where nothing is random */
    char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX]; /* [scores] */
    double *value;              /* [lines, scores, seeds]; NAN: not defined */
    double *mixture;            /* [layers] mean share of each; NULL without weighted */
    int64_t rare;               /* classes or labels that occur in fewer groups than folds */
    int64_t unfinished;         /* trainings of linear probes that were not at the minimum after MERT_LINEAR_STEPS */
} mert_probe_result;

/* x [n, layers, d], n of the targets. */
int mert_probe_run(mert_probe_result *r, const mert_probe_options *o, const mert_targets *g, const float *x,
                   int64_t layers, int64_t d, mert_error *e) MERT_MUST_USE;
void mert_probe_result_free(mert_probe_result *r);

/* Over the seeds where it is defined. NAN: nowhere. */
typedef struct mert_probe_range { double mean, min, max; int n; } mert_probe_range;
mert_probe_range mert_probe_result_range(const mert_probe_result *r, int64_t line, int score);

#endif
