/* The interface of a streaming stage: three calls for each item, and a sink for its output. program/filter.h has the
 * loop that runs a stage between two streams; tests and other programs can also run a stage. */
#ifndef MERT_STAGE_H
#define MERT_STAGE_H

#include "formats/error.h"
#include "formats/stream/mts.h"

/* The output of a stage; filled in by the caller of the stage. */
typedef struct mert_sink mert_sink;
struct mert_sink {
    int (*write)(mert_sink *s, const void *data, int64_t frames, mert_error *e);
    int (*done)(mert_sink *s, mert_error *e);
    int (*fail)(mert_sink *s, const mert_error *why, mert_error *e);
};

/* Writes `frames` time steps of the output record; any number per call. A NaN or infinity fails the item; the reason
 * has frame and value. */
static inline int mert_sink_write(mert_sink *s, const void *data, int64_t frames, mert_error *e)
{
    return s->write(s, data, frames, e);
}
/* For a stage with delayed output (flush): output belongs to the oldest unfinished item. _done: that item is complete;
 * _failed: it failed, with the reason `why`. */
static inline int mert_sink_done(mert_sink *s, mert_error *e)
{
    return s->done(s, e);
}
static inline int mert_sink_fail(mert_sink *s, const mert_error *why, mert_error *e)
{
    return s->fail(s, why, e);
}

/* Returning -1 fails the item (with the error's text as the reason), not the run. */
typedef struct mert_stage {
    /* Refuses an unsuitable record (contract S8), or describes the output: key, row and sample_rate of `out` are set
     * from `in`, the rest is zero. shape[0] = -1: length not known yet. A stage without output does not change out. */
    int (*begin)(void *self, const mts_record *in, mts_record *out, mert_error *e);
    int (*frames)(void *self, const void *data, int64_t frames, mert_sink *sink, mert_error *e);
    int (*end)(void *self, mert_sink *sink, mert_error *e);
    void (*drop)(void *self); /* the open item failed: discard it. May be NULL */
    /* A stream begins; b is without this program's line of provenance. -1 ends the run. May be NULL */
    int (*stream)(void *self, const mts_begin *b, mert_error *e);
    /* All input was read (items may have failed): a stage that only collects data does its work now. -1: the run fails.
     * May be NULL */
    int (*finish)(void *self, mert_error *e);
    /* For a stage with delayed output: items begin and end, and output, which may come at any later time, belongs to
     * the oldest unfinished item until the stage reports it as done. flush: finish all items that have ended; this
     * stream has no more. -1: the run fails. `drop` is still for the item that began last. NULL: output belongs to the
     * open item */
    int (*flush)(void *self, mert_sink *sink, mert_error *e);
} mert_stage;

#endif
