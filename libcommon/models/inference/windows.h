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

typedef struct mert_cutter mert_cutter;

typedef struct mert_window {
    const float *pcm;   /* [n], valid until the next call */
    int64_t n, first;   /* samples; the frame of the clip at which it begins */
} mert_window;

/* Frames of a window, frames from one to the next (1 to window); samples per frame, samples that a frame looks at. */
mert_cutter *mert_cutter_new(int64_t window, int64_t hop, int64_t stride, int64_t field, mert_error *e);
void mert_cutter_free(mert_cutter *c); /* NULL is fine */
void mert_cutter_begin(mert_cutter *c); /* a clip begins */
/* Takes as many of the next n samples as there is room for, at least one where no window waits, and says how many. */
int64_t mert_cutter_add(mert_cutter *c, const float *pcm, int64_t n);
/* 1: a window that is whole; 0: more samples are needed first. ended: no more will come, and the last window is due; 0
 * then means that all were given. */
int mert_cutter_next(mert_cutter *c, int ended, mert_window *w);
int64_t mert_cutter_samples(const mert_cutter *c); /* of the clip, so far */

/* ---- joining ---- */

/* centre: of the frames that two windows share, the first half (and the middle one) are the earlier window's, the
 * others the later's. fade: frame i of n shared ones is (1 - a) * earlier + a * later, a = (i + 1) / (n + 1). Where
 * windows are so close that more than two share a frame, each joins what those before it gave together. */
typedef enum mert_join { MERT_JOIN_CENTRE, MERT_JOIN_FADE } mert_join;

typedef struct mert_joiner mert_joiner;

/* width: floats of a frame */
mert_joiner *mert_joiner_new(mert_join how, int64_t window, int64_t width, mert_error *e);
void mert_joiner_free(mert_joiner *j); /* NULL is fine */
void mert_joiner_begin(mert_joiner *j); /* a clip begins: what there was of another is forgotten */
/* The next window's n rows, from frame `first` on. Rows that no later window can change go to `take`. */
int mert_joiner_add(mert_joiner *j, int64_t first, const float *rows, int64_t n, mert_take_rows *take, void *self,
                    mert_error *e);
/* The clip ends: the rest. */
int mert_joiner_end(mert_joiner *j, mert_take_rows *take, void *self, mert_error *e);

#endif
