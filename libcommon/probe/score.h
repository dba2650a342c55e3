/* Measures of the answers, as scikit-learn defines them.
 *
 * Scores are log-odds (0: a probability of one half) or, for regression, the predicted numbers. Measures of ranks
 * (ROC-AUC, average precision) are computed for each round, because each round has its own probe, and averaged over the
 * rounds; the others are computed from the answers of all rounds together. */
#ifndef MERT_PROBE_SCORE_H
#define MERT_PROBE_SCORE_H

#include "libcommon/probe/targets.h"

#include <stddef.h>

enum { MERT_SCORES_MAX = 64, MERT_SCORE_NAME_MAX = 32 };

/* One score and its truth: 1 if it should be high. */
typedef struct mert_scored { float score; int truth; } mert_scored;

/* Area under the ROC curve: the probability that a true one has a higher score than a false one; ties count half (Mann
 * and Whitney 1947). Sorts x by descending score. NAN if all or none are true. */
double mert_score_auc(mert_scored *x, int64_t n);
/* Average precision: the sum over the distinct scores s of precision(>= s) * (recall(>= s) - recall(> s)); sorts x as
 * above. NAN if none is true. */
double mert_score_ap(mert_scored *x, int64_t n);
/* 1 - sum (y - p)^2 / sum (y - mean y)^2; y[i * stride], p[i * stride]. NAN if all y are equal. */
double mert_score_r2(const float *y, const float *p, int64_t n, int64_t stride);

/* to[c] = log of p_c / (1 - p_c), p the softmax of s [C]. */
void mert_score_log_odds(const float *s, int64_t C, float *to);

/* The measures of a task; returns their number.
 *   classify    accuracy, balanced_accuracy (mean recall of the classes that occur), f1_macro (mean over classes that
 *               occur or were answered), roc_auc and ap (each class against the others, then the mean); if all
 *               classes are keys, also weighted_key_score (the mean of mert_key_score, harmony.h)
 *   multilabel  roc_auc, ap, f1_macro (as above, by label), f1_micro (of all answers together)
 *   regress     r2 (mean over the numbers), mae (mean absolute error); with several numbers also r2_1, r2_2 ... */
int mert_score_names(const mert_targets *g, char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX]);

/* Computes these measures into to[]. score [n, C]; round[n]: the round in which an instance was in the test part; -1:
 * none. */
int mert_score_all(const mert_targets *g, const float *score, const int32_t *round, int rounds, double *to,
                   mert_error *e) MERT_MUST_USE;

#endif
