/* Tables of predictions: tab-separated, with a first line that names the columns.
 *
 *     key  start  end  layer  seed  fold  label  predicted  score:NAME ...
 *
 * key: as `mert-tensor ls` prints it. start, end: seconds; "-": the whole item. layer: as in the table of scores. seed,
 * fold: "-": not known. label: the truth ("-": not known): a class, labels with commas between, or numbers with commas
 * between; predicted: likewise. score:NAME: the probability of each class or label; not for numbers. */
#ifndef MERT_PROBE_PREDICTIONS_H
#define MERT_PROBE_PREDICTIONS_H

#include "libcommon/probe/targets.h"

#include <stdio.h>

/* What the outputs of a probe mean: mert_targets without its instances. */
typedef struct mert_outputs {
    mert_probe_task task;
    int64_t n;               /* classes, labels or numbers */
    char *const *names;      /* [n]; NULL: regress */
} mert_outputs;

typedef struct mert_prediction {
    const char *key, *layer;
    double start, end;       /* NAN: the whole item */
    int64_t seed, fold;      /* -1: not known */
    const int32_t *label;    /* the truth, as in mert_targets, of this instance; both NULL: not known */
    const float *y;
    const float *answers;    /* [n] log-odds, or numbers */
} mert_prediction;

/* Errors of the stream are left to its owner (ferror). */
void mert_predictions_head(FILE *to, const mert_outputs *o);
void mert_predictions_row(FILE *to, const mert_outputs *o, const mert_prediction *p);

/* The class with the highest answer; the first one of several. */
int64_t mert_predicted_class(const float *answers, int64_t n);

/* Counts of answers, for one layer. Classes: count[label, predicted], [n, n]. Labels: count[label], [n, 4]: predicted
 * and true, not predicted but true, predicted but not true, neither. */
int64_t mert_confusion_size(const mert_outputs *o); /* numbers in count; 0: regress */
/* round[i] < 0: not answered. */
void mert_confusion_add(int64_t *count, const mert_targets *g, const float *answers, const int32_t *round);
/*     layer  label  NAME ...      (classes: a row for each label, a column for each prediction)
 *     layer  label  true_positive  false_negative  false_positive  true_negative      (labels) */
void mert_confusion_head(FILE *to, const mert_outputs *o);
void mert_confusion_rows(FILE *to, const mert_outputs *o, const char *layer, const int64_t *count);

#endif
