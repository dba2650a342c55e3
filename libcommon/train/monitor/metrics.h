/* The metrics of a run: one line of text per interval, and the same values as rows of files.
 *
 *     SAVE/log.tsv     training: sums since the last row
 *     SAVE/valid.tsv   validation, always on the same crops and masks
 *     SAVE/log.jsonl   the rows of both in order of time, one object per line: {"update":50,"kind":"train",...}
 *
 * The first two begin with a line of column names; in JSON the columns ce_0, ce_1 ... are one array "ce_k", and NaN is
 * null. Losses are in bits. ce_k is the cross entropy of codebook k on masked frames. For validation, entropy_k and
 * unigram_k are the costs of guesses by the label frequencies of the validation and of the training set, neighbours_k
 * that of a prediction from the two nearest unmasked labels (neighbours.h). attention_logit is the largest of the
 * interval. */
#ifndef MERT_METRICS_H
#define MERT_METRICS_H

#include "formats/error.h"
#include "libcommon/train/trainer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct mert_metrics_file {
    FILE *stream;
    char *path;
} mert_metrics_file;

typedef struct mert_metrics {
    mert_metrics_file log, valid, json;
    int K, scaled;
} mert_metrics;

/* Opens the files in SAVE and removes rows after `update` (a resumed run writes them again; 0: keeps only the names). A
 * file with other column names is an error. scaled: the run has a loss scale (loss_scale.h), and its log the columns
 * loss_scale and overflows. */
int mert_metrics_open(mert_metrics *j, const char *save, int K, int scaled, int64_t update, mert_error *e)
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
} mert_train_row;

/* Writes the row, and the line for users into line[0..size) (with up to 8 codebooks listed one by one). */
int mert_metrics_train(mert_metrics *j, const mert_train_row *r, int64_t last_update, char *line, size_t size,
                       mert_error *e) MERT_MUST_USE;

typedef struct mert_valid_row {
    int64_t update;
    mert_sums sums;
    const double *entropy, *unigram, *neighbours; /* [K] */
} mert_valid_row;

int mert_metrics_valid(mert_metrics *j, const mert_valid_row *r, char *line, size_t size, mert_error *e) MERT_MUST_USE;

#endif
