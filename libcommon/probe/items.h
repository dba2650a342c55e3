/* Items instead of instances: what a probe answers for the spans or frames of an item is averaged, as MARBLE does for
 * long tracks. Probabilities are averaged for classes and labels, predicted numbers for regression. */
#ifndef MERT_PROBE_ITEMS_H
#define MERT_PROBE_ITEMS_H

#include "libcommon/probe/targets.h"

typedef struct mert_items {
    mert_targets g;  /* of the items; names and groups are those of the instances' targets, which must outlive it */
    int64_t *first;  /* [g.n + 1]: the instances of item i are [first[i], first[i + 1]) */
} mert_items;

/* row[n]: the row of each instance, ascending. Refuses an item whose rows have different labels, naming both lines. */
int mert_items_make(mert_items *m, const mert_targets *g, const mert_probe_table *t, const int64_t *row, mert_error *e)
    MERT_MUST_USE;
/* Averages in place: answers [instances, C] (score.h) become those of items, round [instances] likewise. */
void mert_items_average(const mert_items *m, float *answers, int32_t *round);
void mert_items_free(mert_items *m);

/* The mean of n of the answers that were added to the sums, which are zero at first. */
void mert_answer_add(double sums[2], mert_probe_task task, float answer);
float mert_answer_mean(const double sums[2], mert_probe_task task, int64_t n);
/* The means of n answers of `outputs` values each; `to` may be their own memory. */
void mert_answers_mean(mert_probe_task task, const float *answers, int64_t n, int64_t outputs, float *to);

#endif
