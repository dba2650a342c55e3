/* mert-train from the first update to the last: what follows an update, and what is said: rows of the logs,
 * validations, checkpoints, and the early end by a signal or a limit of time. */
#ifndef MERT_TRAIN_COURSE_H
#define MERT_TRAIN_COURSE_H

#include "libcommon/train/monitor/metrics.h"
#include "libcommon/train/session.h"

typedef struct course {
    /* set before */
    double neighbours[MERT_CODEBOOKS_MAX]; /* what the nearest labels tell of validation's masked ones, in bits */
    int64_t validated; /* the update of the last row of valid.tsv when this process began; -1: none */
    int log_norms;
    /* afterwards */
    int stop;         /* LIMITS_ bits, of all processes: they end after the same update */
    int owes;         /* the last update is made, but not its validation */
    int ended;        /* before its last update, because no validation was better any more */
    int same_failure; /* of all processes, in the same way */
    /* its own */
    mert_train_row row;
    int64_t first, saved;   /* the update with which this process began, and that of the newest checkpoint */
    double since, saved_at; /* limits_elapsed() before the first update, and at the newest checkpoint */
} course;

/* All processes call it, with a session that has begun. j: open in process 0. */
int course_run(course *c, mert_session *s, mert_metrics *j, mert_error *e);

#endif
