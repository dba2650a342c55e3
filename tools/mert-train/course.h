/* The course of a training run from the first update to the last: after each update it logs, validates and saves, and
 * it ends early because of a signal or a time limit. */
#ifndef MERT_TRAIN_COURSE_H
#define MERT_TRAIN_COURSE_H

#include "libcommon/train/monitor/metrics.h"
#include "libcommon/train/session.h"

typedef struct course {
    /* set by the caller */
    double neighbours[MERT_CODEBOOKS_MAX]; /* the cost of predicting the masked labels of validation from the nearest
                                            * unmasked ones, in bits */
    int64_t validated; /* the update of the last row of valid.tsv when this process began; -1: none */
    int log_norms;
    int pieces;      /* number of validation items whose predictions are written; 0: none */
    /* results */
    int stop;         /* LIMITS_ bits of all processes, which end after the same update */
    int owes;         /* the last update is done, but its validation is not */
    int ended;        /* it ended before its last update, because validation did not improve any more */
    int same_failure; /* a failure that all processes have in the same way */
    /* private */
    mert_train_row row;
    int64_t first, saved;   /* the first update of this process; the update of the newest checkpoint */
    double since, saved_at; /* limits_elapsed() at these two */
} course;

/* To be called by all processes, with a session that has begun. j: open in process 0. */
int course_run(course *c, mert_session *s, mert_metrics *j, mert_error *e);

#endif
