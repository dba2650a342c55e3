/* The approximation for clips that should not be taken whole: windows of W frames, H frames apart, each through the
 * model as a clip of its own, and the frames that two windows share joined.
 *
 * Frame t of a clip looks at samples t * stride up to t * stride + field, so that a window of W frames from frame f
 * takes samples f * stride up to (f + W - 1) * stride + field. Windows begin at frames 0, H, 2H ... as long as they
 * fit; the last one begins at T - W: it ends with the clip, and has its full length. A clip of at most W frames is one
 * window and the same answer as without. The joined answer has the T frames of the clip, each once.
 *
 * Cutting and joining hold about one window each, whatever the length of the clip, and do not depend on how samples
 * came. */
#ifndef MERT_WINDOWS_H
#define MERT_WINDOWS_H

#include "formats/error.h"
#include "libcommon/models/inference/pooling.h"

#include <stdint.h>

/* ---- cutting ---- */

typedef struct mert_chunker mert_chunker;

typedef struct mert_window {
    const float *pcm;   /* [n], valid until the next call */
    int64_t n, first;   /* samples; the frame of the clip at which it begins */
} mert_window;

/* Frames of a window, frames from one to the next (1 to window); samples per frame, samples that a frame looks at. */
mert_chunker *mert_chunker_new(int64_t window, int64_t hop, int64_t stride, int64_t field, mert_error *e);
void mert_chunker_free(mert_chunker *c); /* NULL is fine */
void mert_chunker_begin(mert_chunker *c); /* a clip begins */
/* Takes as many of the next n samples as there is room for, at least one where no window waits, and says how many. */
int64_t mert_chunker_add(mert_chunker *c, const float *pcm, int64_t n);
/* 1: a window that is whole; 0: more samples are needed first. ended: no more will come, and the last window is due; 0
 * then means that all were given. */
int mert_chunker_next(mert_chunker *c, int ended, mert_window *w);
int64_t mert_chunker_samples(const mert_chunker *c); /* of the clip, so far */

/* ---- joining ---- */

/* centre: of the frames that two windows share, the first half (and the middle one) are the earlier window's, the
 * others the later's. fade: frame i of n shared ones is (1 - a) * earlier + a * later, a = (i + 1) / (n + 1). Where
 * windows are so close that more than two share a frame, each joins what those before it gave together. */
typedef enum mert_join { MERT_JOIN_CENTRE, MERT_JOIN_FADE } mert_join;

typedef struct mert_overlap mert_overlap;

/* width: floats of a frame */
mert_overlap *mert_overlap_new(mert_join how, int64_t window, int64_t width, mert_error *e);
void mert_overlap_free(mert_overlap *j); /* NULL is fine */
void mert_overlap_begin(mert_overlap *j); /* a clip begins: what there was of another is forgotten */
/* The next window's n rows, from frame `first` on. Rows that no later window can change go to `take`. */
int mert_overlap_add(mert_overlap *j, int64_t first, const float *rows, int64_t n, mert_take_rows *take, void *self,
                    mert_error *e) MERT_MUST_USE;
/* The clip ends: the rest. */
int mert_overlap_end(mert_overlap *j, mert_take_rows *take, void *self, mert_error *e) MERT_MUST_USE;

#endif
