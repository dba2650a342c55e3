/* A filter program: reads records and writes records. This is the loop of all stages. It opens the inputs, reads
 * events, passes failures on (contract S7) and counts them (contract F2), ends without a message when the reader of its
 * output has ended (contract F1), writes begin and end, and prints the -v line. The stage is always called on the
 * calling thread; with --threads above 1, other threads read ahead of it and write behind it (read_ahead.h,
 * write_behind.h). */
#ifndef MERT_FILTER_H
#define MERT_FILTER_H

#include "libcommon/tensor/stage.h"

/* Receives a copy of what the filter writes, for label files; any member may be NULL. -1 ends the run. */
typedef struct mert_observer {
    int (*stream)(void *self, const mts_begin *b, mert_error *e);
    int (*record)(void *self, const mts_record *r, mert_error *e);
    int (*frames)(void *self, const void *data, int64_t frames, mert_error *e);
    int (*end)(void *self, mert_error *e);
    int (*failed)(void *self, const char *key, int64_t row, mert_error *e); /* the open record, if any, is invalid */
    /* Called when all input was read and all output is written: label files can then be renamed into place. Not called
     * otherwise. */
    int (*commit)(void *self, mert_error *e);
} mert_observer;

typedef struct mert_filter {
    const mert_stage *stage;
    void *self;
    const char *settings; /* provenance, without tool and version: "bins=336 hop=320"; NULL: no settings */
    int no_output;        /* 1: nothing is written to stdout (training) */
    const char *output;   /* a file that the stage writes at the end; checked before anything is read; NULL: none */
    const mert_observer *observer;
    void *observer_self;
} mert_filter;

/* Runs over these files (none, or "-": standard input) and returns the exit status. Refuses to write a stream to a
 * terminal (contract S10). */
int mert_filter_run(const mert_filter *f, char **files, int nfiles);

#endif
