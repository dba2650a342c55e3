/* What a streaming stage is: three calls for each item, and a sink that takes what it makes. The loop that drives a
 * stage between two streams is program/filter.h; a stage can as well be driven by a test or by another program. */
#ifndef MERT_STAGE_H
#define MERT_STAGE_H

#include "formats/error.h"
#include "formats/stream/mts.h"

/* Where a stage puts its output; filled in by whoever drives the stage. */
typedef struct mert_sink mert_sink;
struct mert_sink {
    int (*write)(mert_sink *s, const void *data, int64_t frames, mert_error *e);
    int (*done)(mert_sink *s, mert_error *e);
    int (*fail)(mert_sink *s, const mert_error *why, mert_error *e);
};

/* `frames` time steps of the output record; any number per call. A NaN or an infinity among them fails the item, by
 * frame and value. */
static inline int mert_sink_write(mert_sink *s, const void *data, int64_t frames, mert_error *e)
{
    return s->write(s, data, frames, e);
}
/* For a stage that answers later (flush): what it writes belongs to the oldest item that it has not answered yet.
 * That item is now whole; or it failed, for the reason in `why`. */
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
    /* Refuses what does not fit (contract S8) or describes the output: `out` comes with key, row, sample_rate filled in
     * from `in` and the rest zero. shape[0] = -1 where the length is not known yet. A stage that writes no stream
     * leaves out alone. */
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

#endif
