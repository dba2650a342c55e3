/* A filter program: records flow in, records flow out. This is the loop that all stages share: it opens the inputs,
 * reads events, carries failures through (contract S7), counts them (contract F2), ends quietly when the reader has
 * gone (contract F1), writes begin and end, and prints the -v line. A stage only says what it needs and does its work,
 * always on the calling thread; with --threads above 1 other threads read ahead of it and write behind it
 * (read_ahead.h, write_behind.h). */
#ifndef MERT_FILTER_H
#define MERT_FILTER_H

#include "libcommon/tensor/stage.h"

/* A second reader of what the filter writes, for label files beside the stream; any member may be NULL. -1 ends the
 * run. */
typedef struct mert_observer {
    int (*stream)(void *self, const mts_begin *b, mert_error *e);
    int (*record)(void *self, const mts_record *r, mert_error *e);
    int (*frames)(void *self, const void *data, int64_t frames, mert_error *e);
    int (*end)(void *self, mert_error *e);
    int (*failed)(void *self, const char *key, int64_t row, mert_error *e); /* voids the open record, or stands alone */
    /* All input came through and all output is written: files beside the stream may take their names. Not called
     * otherwise. */
    int (*commit)(void *self, mert_error *e);
} mert_observer;

typedef struct mert_filter {
    const mert_stage *stage;
    void *self;
    const char *settings; /* provenance after tool and version: "bins=336 hop=320"; NULL: no settings */
    int no_output;        /* 1: nothing is written to stdout (training) */
    const char *output;   /* a file that the stage writes at the end: refused before anything is read; NULL: none */
    const mert_observer *observer;
    void *observer_self;
} mert_filter;

/* Runs over the files named (standard input if there are none; "-" is standard input) and returns the exit status.
 * Refuses to write a stream to a terminal (contract S10). */
int mert_filter_run(const mert_filter *f, char **files, int nfiles);

#endif
