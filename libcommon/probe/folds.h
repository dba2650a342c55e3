/* Splits the instances into training, validation and test parts. All instances of a group are in the same part.
 *
 * Cross-validation: groups are assigned to K folds at random, but stratified: each fold has about the same proportion
 * of every class (or of low and high numbers). In round f, fold f is the test part (TEST), the next fold is used to
 * choose the regularisation (VALID), and the others are for training. With a given split there is one round; if it has
 * no valid part, 1/K of the groups of train, chosen in the same way, becomes the valid part. */
#ifndef MERT_PROBE_FOLDS_H
#define MERT_PROBE_FOLDS_H

#include "libcommon/probe/targets.h"

typedef struct mert_folds {
    const mert_targets *targets; /* owned by the caller */
    int k, rounds;               /* rounds: k, or 1 with a given split */
    int carved;                  /* the valid part was taken from the training part */
    int all;                     /* 1: there is no test part (mert_folds_all) */
    int64_t *stratum;            /* [groups] similar groups have equal or close numbers */
} mert_folds;

/* Refuses a split without train or test, and fewer groups than folds. k >= 3. */
int mert_folds_make(mert_folds *f, const mert_targets *g, int k, mert_error *e) MERT_MUST_USE;
/* For training on everything: one round, in which one fold is the valid part and the others are for training. A given
 * split is ignored. */
int mert_folds_all(mert_folds *f, const mert_targets *g, int k, mert_error *e) MERT_MUST_USE;
/* part[n]: the part of each instance in a round. It depends only on the seed and on the groups' names, labels and
 * order. */
int mert_folds_assign(const mert_folds *f, uint64_t seed, int round, mert_probe_part *part, mert_error *e)
    MERT_MUST_USE;
/* The number of classes or labels that occur in fewer groups than folds: some rounds have none of them for training or
 * for testing. 0 with a given split. */
int64_t mert_folds_rare(const mert_folds *f);
void mert_folds_free(mert_folds *f);

#endif
