/* Compares the log of a run with that of another run of the same recipe on the same data (on another machine or with
 * another seed). Rows of the same update are compared; a value is within its band if
 *
 *     |own - reference| <= max(absolute, relative * |reference|)
 *
 *     ce, ce_k, loss     0.3 bits or 10%     (bits per masked frame; over an interval, not one batch)
 *     cqt_mse, mel_mse   25%
 *     grad_norm          300%                (of a single update: shows only divergence)
 *
 * If only one of the logs has one of these columns, they are of different recipes; a last line without its end is
 * ignored, because it is still being written. A value that is better than the band is outside, too: a leak of labels
 * into the input looks like that. */
#ifndef MERT_LOG_COMPARE_H
#define MERT_LOG_COMPARE_H

#include "formats/error.h"

#include <stdint.h>

enum { MERT_COMPARED_MAX = 128 };

typedef struct mert_compared {
    char column[32];
    double own, reference, band; /* within the band: |own - reference| <= band */
    int outside;
} mert_compared;

typedef struct mert_log_comparison {
    int64_t rows, within;                   /* rows of the same update in both logs; of these, rows within all bands */
    int64_t left;                           /* the first update outside of a band; -1: none */
    mert_compared first;                    /* the first column outside of its band, in that update */
    int64_t last;                           /* the last update that both have */
    mert_compared columns[MERT_COMPARED_MAX]; /* the values of that update */
    int n;
} mert_log_comparison;

/* reference: the log.tsv or valid.tsv of a run; lines that begin with # are comments. It is compared with the same kind
 * of file in SAVE. Logs without a common update are an error. */
int mert_compare(mert_log_comparison *c, const char *save, const char *reference, mert_error *e) MERT_MUST_USE;

#endif
