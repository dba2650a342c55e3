/* Who is trained on, who chooses, who is asked. No group is ever on two sides.
 *
 * Cross-validation: groups are dealt to K folds so that each fold has about its share of every class (or of low and
 * high numbers), at random otherwise. In round f the groups of fold f are asked (TEST), those of the next fold choose
 * the regularisation (VALID), the others are trained on. With a given split there is one round; if it names no valid
 * part, one K-th of the groups of train, dealt in the same way, becomes it. */
#ifndef MERT_PROBE_FOLDS_H
#define MERT_PROBE_FOLDS_H

#include "libcommon/probe/targets.h"

typedef struct mert_folds {
    const mert_targets *targets; /* the caller's */
    int k, rounds;               /* rounds: k, or 1 with a given split */
    int carved;                  /* the valid part was taken from what could have been trained on */
    int64_t *stratum;            /* [groups] groups that are alike have the same number, or near ones */
} mert_folds;

/* Refuses a split without train or test, and fewer groups than folds. k: 3 at least. */
int mert_folds_make(mert_folds *f, const mert_targets *g, int k, mert_error *e) MERT_MUST_USE;
/* part[n]: of each instance, in a round. A function of the seed and of the groups' names, labels and order alone. */
int mert_folds_deal(const mert_folds *f, uint64_t seed, int round, mert_probe_part *part, mert_error *e) MERT_MUST_USE;
/* Classes or labels that occur in fewer groups than folds: some rounds have none to train on, or to ask. 0 with a given
 * split. */
int64_t mert_folds_rare(const mert_folds *f);
void mert_folds_free(mert_folds *f);

#endif
