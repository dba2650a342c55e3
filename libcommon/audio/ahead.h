/* Many files decoded ahead, on several threads, and read in order by one: one file's decoding and resampling overlap
 * with each other and with what the reader does, and the files behind it are on their way.
 *
 *     mert_ahead *x = mert_ahead_new(n, path_of, self, &settings, threads, &e);
 *     for (i = 0; i < n; i++) {                                // item 0, 1, ...
 *         if ((a = mert_ahead_open(x, &e)))
 *             while ((count = mert_ahead_read(x, &samples, &e)) > 0) use(samples, count);
 *         mert_ahead_close(x);                                 // also of one that failed, or was not read to its end
 *     }
 *     mert_ahead_free(x);
 *
 * Each item goes through its two halves (decode.h) in pieces of fixed size, one piece at a time in each: what comes out
 * does not depend on the number of threads. Some pieces of some items wait at most, so memory is bounded: about 2 MB
 * and what FFmpeg holds for each of threads + 1 items. With `threads` 1 there is no other thread than the reader's, and
 * nothing is done ahead. */
#ifndef MERT_AUDIO_AHEAD_H
#define MERT_AUDIO_AHEAD_H

#include "libcommon/audio/decode.h"

typedef struct mert_ahead mert_ahead;

/* path_of(self, i): item i's file, for free(); NULL: out of memory. Called on any thread, one at a time, and not after
 * mert_ahead_free. */
mert_ahead *mert_ahead_new(int64_t n, char *(*path_of)(void *self, int64_t i), void *self, const mert_audio_settings *s,
                           int threads, mert_error *e);
/* The next item, to ask for its rate and, after its last sample, mert_audio_salvaged; valid until it is closed. NULL:
 * it cannot be opened. */
const mert_audio *mert_ahead_open(mert_ahead *x, mert_error *e);
/* How many samples there are at *samples, valid until the next call; 0 at the end, -1 on error. */
int64_t mert_ahead_read(mert_ahead *x, const float **samples, mert_error *e);
void mert_ahead_close(mert_ahead *x);
/* Also before the last item: what threads are still at comes to nothing. NULL is fine. */
void mert_ahead_free(mert_ahead *x);

#endif
