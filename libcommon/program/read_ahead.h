/* Reads, checks and decompresses a stream in a thread, while the caller works on earlier events. The events and their
 * order are those of mts_next (formats/stream/mts.h); memory is bounded.
 *
 *     mert_read_ahead *r = mert_read_ahead_open(f, name, mert_options.threads > 1);
 *     while ((event = mert_read_ahead_next(r))->type != MTS_EOF) ...
 *     mert_read_ahead_close(r);   // also before the end, and while the thread waits for a pipe */
#ifndef MERT_READ_AHEAD_H
#define MERT_READ_AHEAD_H

#include "formats/stream/mts.h"

typedef struct mert_event {
    int type;                   /* an mts_event; the other fields depend on it: */
    const mts_begin *begin;     /* MTS_BEGIN */
    const mts_record *record;   /* MTS_RECORD, MTS_CHUNK, MTS_RECORD_END */
    const void *data;           /* MTS_CHUNK: `frames` time steps */
    int64_t frames;
    const mts_failure *failure; /* MTS_FAILED, MTS_DAMAGE */
    const char *error;          /* MTS_ERROR */
} mert_event;

typedef struct mert_read_ahead mert_read_ahead;

/* The caller closes f; nothing of it may have been read. threaded 0: no thread, data are read when they are asked for.
 * NULL only if out of memory. */
mert_read_ahead *mert_read_ahead_open(FILE *f, const char *name, int threaded);
const mert_event *mert_read_ahead_next(mert_read_ahead *r); /* valid until the next call */
void mert_read_ahead_close(mert_read_ahead *r);             /* NULL is fine */

#endif
