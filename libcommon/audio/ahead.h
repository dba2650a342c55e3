/* Decodes many files ahead on several threads, for one reader that reads them in order. Decoding and resampling of a
 * file run in parallel with each other, with the reader, and with the next files.
 *
 *     mert_ahead *x = mert_ahead_new(n, path_of, self, &settings, threads, &e);
 *     for (i = 0; i < n; i++) {                                // item 0, 1, ...
 *         if ((a = mert_ahead_open(x, &e)))
 *             while ((count = mert_ahead_read(x, &samples, &e)) > 0) use(samples, count);
 *         mert_ahead_close(x);                                 // also if it failed, or was not read to its end
 *     }
 *     mert_ahead_free(x);
 *
 * Each item goes through two steps (decode.h) in pieces of fixed size, one piece at a time in each step, so the output
 * does not depend on the number of threads. The queues are bounded: memory is about 2 MB plus FFmpeg's own for each of
 * threads + 1 items. With `threads` 1 everything runs on the reader's thread, and nothing is decoded ahead. */
#ifndef MERT_AUDIO_AHEAD_H
#define MERT_AUDIO_AHEAD_H

#include "libcommon/audio/decode.h"

typedef struct mert_ahead mert_ahead;

/* path_of(self, i): the path of item i, which is freed by free(); NULL: out of memory. Called on any thread, one call
 * at a time, and not after mert_ahead_free. */
mert_ahead *mert_ahead_new(int64_t n, char *(*path_of)(void *self, int64_t i), void *self, const mert_audio_settings *s,
                           int threads, mert_error *e);
/* Opens the next item. The handle gives its rate and, after its last sample, mert_audio_salvaged; valid until it is
 * closed. NULL: it cannot be opened. */
const mert_audio *mert_ahead_open(mert_ahead *x, mert_error *e);
/* Returns the number of samples at *samples, valid until the next call; 0 at the end, -1 on error. */
int64_t mert_ahead_read(mert_ahead *x, const float **samples, mert_error *e);
void mert_ahead_close(mert_ahead *x);
/* May be called before the last item; unfinished work is discarded. NULL is fine. */
void mert_ahead_free(mert_ahead *x);

#endif
