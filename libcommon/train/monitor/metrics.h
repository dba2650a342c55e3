/* The metrics of a run: one line of text per interval, and the same values as rows of files.
 *
 *     SAVE/log.tsv     training: sums since the last row
 *     SAVE/valid.tsv   validation, always on the same crops and masks
 *     SAVE/norms.tsv   where wanted: norms of gradients and weights, of each parameter group
 *     SAVE/log.jsonl   the rows of all in order of time, one object per line: {"update":50,"kind":"train",...}
 *
 * The first three begin with a line of column names; in JSON the columns ce_0, ce_1 ... are one array "ce_k", and NaN
 * is null. Losses are in bits. ce_k is the cross entropy of codebook k on masked frames. For validation, entropy_k and
 * unigram_k are the costs of guesses by the label frequencies of the validation and of the training set, neighbours_k
 * that of a prediction from the two nearest unmasked labels (neighbours.h). attention_logit is the largest of the
 * interval. loss is per masked frame and of masked frames alone in both files; objective is the quantity whose gradient
 * is computed, per frame that has a loss. used_k: the number of classes that were predicted for any masked frame. time,
 * a text, is UTC.
 *
 * With a labelled task the first two have other columns instead of these: the mean loss of an example in nats (regress:
 * in variances of the numbers), their number, and in training the share of right answers (classify), in validation the
 * task's scores (probe/score.h).
 *
 * Readers find columns by their names: new ones come after the old ones. */
#ifndef MERT_METRICS_H
#define MERT_METRICS_H

#include "formats/error.h"
#include "libcommon/train/monitor/events.h"
#include "libcommon/train/session.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct mert_metrics_file {
    FILE *stream;
    char *path;
} mert_metrics_file;

/* Which columns there are. */
typedef struct mert_metrics_kind {
    int K;      /* codebooks */
    int scaled; /* the run has a loss scale (loss_scale.h), and its log the columns loss_scale and overflows */
    int events; /* SAVE/tensorboard is wanted as well (events.h) */
    const mert_task_answers *task; /* whose scores validation has (without answers); NULL: there is no task */
    int norms;  /* number of parameter groups; 0: no norms are wanted, and their file is left as it is */
} mert_metrics_kind;

typedef struct mert_metrics {
    mert_metrics_file log, valid, norms, json;
    mert_events events;
    mert_metrics_kind kind;
    int64_t validated; /* the update of valid.tsv's last row when it was opened; -1: it had none */
} mert_metrics;

/* Opens the files in SAVE and removes rows after `update` (a resumed run writes them again; 0: keeps only the names). A
 * file whose columns are the first of these gets the others, with nan in its rows: an older version wrote it. Other
 * column names are an error. */
int mert_metrics_open(mert_metrics *j, const char *save, const mert_metrics_kind *kind, int64_t update, mert_error *e)
    MERT_MUST_USE;
int mert_metrics_close(mert_metrics *j, mert_error *e) MERT_MUST_USE;

typedef struct mert_train_row {
    int64_t update, epoch;
    mert_sums sums;
    double grad_norm, lr;
    double seconds, waited; /* since the last row; of these, spent waiting for data */
    double audio_seconds;   /* processed since the last row */
    int64_t skipped;        /* skipped updates so far */
    double loss_scale;
    int64_t overflows;      /* so far */
    const int64_t *used;    /* [K], NULL: not known */
    double hours_heard;     /* by the whole run, audio */
    double wall_seconds;    /* since this process began */
    double eta_seconds;     /* until the last update */
    int64_t time;           /* now: seconds since 1970 */
} mert_train_row;

/* Writes the row, and the line for users into line[0..size) (with up to 8 codebooks listed one by one). */
int mert_metrics_train(mert_metrics *j, const mert_train_row *r, int64_t last_update, char *line, size_t size,
                       mert_error *e) MERT_MUST_USE;

typedef struct mert_valid_row {
    int64_t update;
    mert_sums sums;
    const double *entropy, *unigram, *neighbours; /* [K] */
    const int64_t *used;                          /* [K], NULL: not known */
    const mert_task_answers *answers;             /* of a task */
    double hours_heard;
} mert_valid_row;

/* A row of log.jsonl alone: {"update":5,"kind":"change","name":"lr","from":"0.003","to":"0.001"}. */
int mert_metrics_change(mert_metrics *j, const mert_change *c, mert_error *e) MERT_MUST_USE;

int mert_metrics_norms(mert_metrics *j, int64_t update, const mert_norms *n, mert_error *e) MERT_MUST_USE;

int mert_metrics_valid(mert_metrics *j, const mert_valid_row *r, char *line, size_t size, mert_error *e) MERT_MUST_USE;

#endif
