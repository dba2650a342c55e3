/* A uniform sample of the frames of a corpus, in bounded memory. Every frame has a priority, a random number keyed by
 * (seed, item, frame) (contract A4), and the frames with the lowest priorities are kept. So the same frames are chosen
 * for any order of items and any division into chunks or shards. */
#ifndef MERT_SAMPLE_H
#define MERT_SAMPLE_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_sample mert_sample;

/* Keeps at most max_frames frames of width d. NULL: out of memory. */
mert_sample *mert_sample_new(int64_t d, int64_t max_frames, uint64_t seed);
void mert_sample_free(mert_sample *s); /* NULL is fine */

/* item: a number that identifies the item, independent of the order (mert_features_item). Frames of an item come in
 * order. */
void mert_sample_begin(mert_sample *s, uint64_t item);
int mert_sample_add(mert_sample *s, const float *frames, int64_t n, mert_error *e) MERT_MUST_USE;
/* The item failed: removes its frames from the sample. (Frames that they replaced do not come back.) */
void mert_sample_drop(mert_sample *s);

int64_t mert_sample_seen(const mert_sample *s); /* number of frames of all items that were not dropped */
/* Sorts the sample by priority, which is a random order, and returns it: [n, d], owned by the sample. To be called
 * once, at the end. */
float *mert_sample_finish(mert_sample *s, int64_t *n, mert_error *e);

#endif
