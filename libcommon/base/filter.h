/* A filter program: records flow in, records flow out. This is the loop that all stages share: it opens the inputs,
 * reads events, carries failures through (S7), counts them (F2), ends quietly when the reader has gone (F1), writes
 * begin and end, and prints the -v line. A stage only says what it needs and does its work, always on the calling
 * thread; with --threads above 1 other threads read ahead of it and write behind it (read_ahead.h, write_behind.h). */
#ifndef MERT_FILTER_H
#define MERT_FILTER_H

#include "../../formats/error.h"
#include "../../formats/stream/mts.h"

/* Where a stage puts its output. */
typedef struct mert_sink mert_sink;
/* `frames` time steps of the output record; any number per call. A NaN or an infinity among them fails the item, by
 * frame and value. */
int mert_sink_write(mert_sink *s, const void *data, int64_t frames, mert_error *e);
/* For a stage that answers later (flush): what it writes belongs to the oldest item that it has not answered yet.
 * That item is now whole; or it failed, for the reason in `why`. */
int mert_sink_done(mert_sink *s, mert_error *e);
int mert_sink_fail(mert_sink *s, const mert_error *why, mert_error *e);

/* Returning -1 fails the item (with the error's text as the reason), not the run. */
typedef struct mert_stage {
    /* Refuses what does not fit (S8) or describes the output: `out` comes with key, row, sample_rate filled in from
     * `in` and the rest zero. shape[0] = -1 where the length is not known yet. A stage that writes no stream leaves out
     * alone. */
    int (*begin)(void *self, const mts_record *in, mts_record *out, mert_error *e);
    int (*frames)(void *self, const void *data, int64_t frames, mert_sink *sink, mert_error *e);
    int (*end)(void *self, mert_sink *sink, mert_error *e);
    void (*drop)(void *self); /* the open item failed: forget it. May be NULL */
    /* A stream begins, with what it says of itself before this program adds its line. -1 ends the run. May be NULL */
    int (*stream)(void *self, const mts_begin *b, mert_error *e);
    /* All input came through (items may have failed): a stage that gathers does its work now. -1: the run is broken.
     * May be NULL */
    int (*finish)(void *self, mert_error *e);
    /* Set by a stage that answers later: items begin and end, and it writes when it likes, always to the oldest, and
     * says when that is done. flush: all that ended are to be answered now, no more will come in this stream. -1: the
     * run is broken. `drop` still means the item that began last. NULL: output belongs to the open item */
    int (*flush)(void *self, mert_sink *sink, mert_error *e);
} mert_stage;

/* A second reader of what the filter writes, for label files beside the stream; any member may be NULL. -1 ends the
 * run. */
typedef struct mert_tap {
    int (*stream)(void *self, const mts_begin *b, mert_error *e);
    int (*record)(void *self, const mts_record *r, mert_error *e);
    int (*frames)(void *self, const void *data, int64_t frames, mert_error *e);
    int (*end)(void *self, mert_error *e);
    int (*failed)(void *self, const char *key, int64_t row, mert_error *e); /* voids the open record, or stands alone */
    /* All input came through and all output is written: files beside the stream may take their names. Not called
     * otherwise. */
    int (*commit)(void *self, mert_error *e);
} mert_tap;

typedef struct mert_filter {
    const mert_stage *stage;
    void *self;
    const char *settings; /* provenance after tool and version: "bins=336 hop=320"; NULL: no settings */
    int no_output;        /* 1: nothing is written to stdout (training) */
    const char *output;   /* a file that the stage writes at the end: refused before anything is read; NULL: none */
    const mert_tap *tap;
    void *tap_self;
} mert_filter;

/* Runs over the files named (standard input if there are none; "-" is standard input) and returns the exit status.
 * Refuses to write a stream to a terminal (S10). */
int mert_filter_run(const mert_filter *f, char **files, int nfiles);

#endif
