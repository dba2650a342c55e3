/* A uniform sample of the frames of a corpus, in bounded memory, that does not depend on how the corpus was read:
 * every frame has a priority, a random number keyed by (seed, item, frame) (contract A4), and the frames with the
 * lowest priorities stay. The same frames are chosen in any order of items and for any split of the stream into
 * chunks or shards. */
#ifndef MERT_SAMPLE_H
#define MERT_SAMPLE_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_sample mert_sample;

/* At most max_frames frames of width d are kept. NULL: out of memory. */
mert_sample *mert_sample_new(int64_t d, int64_t max_frames, uint64_t seed);
void mert_sample_free(mert_sample *s); /* NULL is fine */

/* item: a number of its own for every item, whatever the order (mert_features_item). Frames of an item come in
 * order. */
void mert_sample_begin(mert_sample *s, uint64_t item);
int mert_sample_add(mert_sample *s, const float *frames, int64_t n, mert_error *e) MERT_MUST_USE;
/* The item failed: its frames leave the sample. (Frames that they had pushed out do not come back.) */
void mert_sample_drop(mert_sample *s);

int64_t mert_sample_seen(const mert_sample *s); /* frames of all items that were not dropped */
/* Puts the sample in order of priority, which is a random order, and returns it: [n, d], owned by the sample. Call
 * once, at the end. */
float *mert_sample_finish(mert_sample *s, int64_t *n, mert_error *e);

#endif
