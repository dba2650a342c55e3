/* Whether a run is on track: its log beside that of another run of the same recipe on the same data, on another machine
 * or from another seed. Rows of the same update are held against each other; a value is within its band if
 *
 *     |own - reference| <= max(absolute, relative * |reference|)
 *
 *     ce, ce_k, loss     0.3 bits or 10%     (bits per masked frame; over an interval, not one batch)
 *     cqt_mse, mel_mse   25%
 *     grad_norm          300%                (of one update: only what runs away shows)
 *
 * A log with others of these columns is of another recipe; a last line without its end is still being written. Better
 * than the band is as far from the reference as worse: labels that leak look like that. */
#ifndef MERT_LOG_COMPARE_H
#define MERT_LOG_COMPARE_H

#include "formats/error.h"

#include <stdint.h>

enum { MERT_COMPARED_MAX = 128 };

typedef struct mert_compared {
    char column[32];
    double own, reference, band; /* on track: own within reference +- band */
    int outside;
} mert_compared;

typedef struct mert_log_comparison {
    int64_t rows, within;                   /* of the same update in both logs; of these within all bands */
    int64_t left;                           /* the first update outside of a band; -1: none */
    mert_compared first;                    /* the first column that was, then */
    int64_t last;                           /* the last update that both have ... */
    mert_compared columns[MERT_COMPARED_MAX]; /* ... and what stands there */
    int n;
} mert_log_comparison;

/* reference: the log.tsv or valid.tsv of a run; lines that begin with # say what it is. It is held against the file of
 * that kind in SAVE. Logs without an update in common are an error. */
int mert_compare(mert_log_comparison *c, const char *save, const char *reference, mert_error *e) MERT_MUST_USE;

#endif
