/* Writes a stream in a thread, which compresses, hashes and writes in the order of the calls, while the caller
 * continues. The calls are those of mts_writer (formats/stream/mts.h) and give the same bytes; memory is bounded. A
 * call that returns 0 is accepted; if it fails later, the next call or close returns the error. */
#ifndef MERT_WRITE_BEHIND_H
#define MERT_WRITE_BEHIND_H

#include "formats/stream/mts.h"

typedef struct mert_write_behind mert_write_behind;

/* threaded 0: every call is done when it returns. NULL only if out of memory. */
mert_write_behind *mert_write_behind_open(FILE *f, const char *name, const mts_begin *begin, int level, int threaded);
int mert_write_behind_record(mert_write_behind *w, const mts_record *r);
int mert_write_behind_frames(mert_write_behind *w, const void *data, int64_t frames);
int mert_write_behind_end(mert_write_behind *w); /* ends the open record */
int mert_write_behind_failed(mert_write_behind *w, const char *key, int64_t row, const char *stage, const char *reason);
/* Waits until everything is written, then does the same as mts_writer_close. */
int mert_write_behind_close(mert_write_behind *w, int ok, char *error, size_t size);

/* The error, after a call has returned -1. */
const char *mert_write_behind_error(const mert_write_behind *w);
int mert_write_behind_pipe_closed(const mert_write_behind *w);

#endif
