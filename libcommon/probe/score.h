/* How good are the answers? The usual measures, as scikit-learn defines them (with its names where they differ from
 * ours).
 *
 * Scores are log-odds, so that 0 is where a label is as likely as not, or the numbers themselves (regression). Measures
 * of ranks (ROC-AUC, average precision) compare scores of one round only, since each round has a probe of its own, and
 * are averaged over the rounds; the others are of the answers of all rounds together. */
#ifndef MERT_PROBE_SCORE_H
#define MERT_PROBE_SCORE_H

#include "libcommon/probe/targets.h"

#include <stddef.h>

enum { MERT_SCORES_MAX = 64, MERT_SCORE_NAME_MAX = 32 };

/* One score and whether it should be high. */
typedef struct mert_scored { float score; int truth; } mert_scored;

/* Puts x in order of descending scores. Area under the ROC curve: the probability that one that should be high scores
 * higher than one that should not, ties counting half (Mann and Whitney 1947). NAN where all are or none is high. */
double mert_score_auc(mert_scored *x, int64_t n);
/* Average precision: the sum over the distinct scores s of precision(>= s) * (recall(>= s) - recall(> s)); x is put in
 * order as above. NAN where none is high. */
double mert_score_ap(mert_scored *x, int64_t n);
/* 1 - sum (y - p)^2 / sum (y - mean y)^2; y[i * stride], p[i * stride]. NAN where all y are the same. */
double mert_score_r2(const float *y, const float *p, int64_t n, int64_t stride);

/* The measures of a task: their number and names.
 *   classify    accuracy, balanced_accuracy (mean recall of the classes that occur), f1_macro (mean over classes that
 *               occur or were answered), roc_auc and ap (each class against the others, then the mean)
 *   multilabel  roc_auc, ap, f1_macro (as above, by label), f1_micro (of all answers together)
 *   regress     r2 (mean over the numbers), mae (mean absolute error); with several numbers also r2_1, r2_2 ... */
int mert_score_names(const mert_targets *g, char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX]);

/* to[] of those measures. score [n, C]; round[n]: in which of the rounds an instance was asked; -1: in none. */
int mert_score_all(const mert_targets *g, const float *score, const int32_t *round, int rounds, double *to,
                   mert_error *e) MERT_MUST_USE;

#endif
