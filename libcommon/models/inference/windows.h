/* An approximation for clips that are too long to be processed as a whole: windows of W frames, H frames apart. Each
 * window goes through the model as a clip of its own. Frames that two windows share are joined.
 *
 * Frame t of a clip depends on samples t * stride to t * stride + field, so a window of W frames from frame f on has
 * the samples f * stride to (f + W - 1) * stride + field. Windows begin at frames 0, H, 2H ... as long as they fit. The
 * last window begins at frame T - W, so that it ends with the clip and has the full length. A clip of at most W frames
 * is one window, and its result is the same as without windows. The joined result has the T frames of the clip, each
 * once.
 *
 * Both objects need memory for about one window, whatever the length of the clip. Results do not depend on how the
 * samples are divided into calls. */
#ifndef MERT_WINDOWS_H
#define MERT_WINDOWS_H

#include "formats/error.h"
#include "libcommon/models/inference/pooling.h"

#include <stdint.h>

/* ---- chunker: divides a clip into windows ---- */

typedef struct mert_chunker mert_chunker;

typedef struct mert_window {
    const float *pcm;   /* [n], valid until the next call */
    int64_t n, first;   /* number of samples; first frame, counted in the clip */
} mert_window;

/* window: frames of a window. hop: frames from one window to the next (1 to window). stride: samples per frame. field:
 * samples that a frame depends on. */
mert_chunker *mert_chunker_new(int64_t window, int64_t hop, int64_t stride, int64_t field, mert_error *e);
void mert_chunker_free(mert_chunker *c); /* NULL is fine */
void mert_chunker_begin(mert_chunker *c); /* starts a new clip */
/* Copies as many of the next n samples as there is room for, and returns their number. It is at least one if
 * mert_chunker_next has returned all complete windows. */
int64_t mert_chunker_add(mert_chunker *c, const float *pcm, int64_t n);
/* 1: *w is the next complete window. 0: more samples are needed. ended 1: there are no more samples, so the last window
 * is returned, too; then 0 means that all windows have been returned. */
int mert_chunker_next(mert_chunker *c, int ended, mert_window *w);
int64_t mert_chunker_samples(const mert_chunker *c); /* samples of the clip so far */

/* ---- overlap: joins the results of windows ---- */

/* centre: of the frames that two windows share, the first half (and the middle frame) are from the earlier window, the
 * others from the later one. fade: frame i of n shared frames is (1 - a) * earlier + a * later, a = (i + 1) / (n + 1).
 * If more than two windows share a frame, each window is joined with the result of those before it. */
typedef enum mert_join { MERT_JOIN_CENTRE, MERT_JOIN_FADE } mert_join;

typedef struct mert_overlap mert_overlap;

/* width: floats of a frame */
mert_overlap *mert_overlap_new(mert_join how, int64_t window, int64_t width, mert_error *e);
void mert_overlap_free(mert_overlap *j); /* NULL is fine */
void mert_overlap_begin(mert_overlap *j); /* starts a new clip and discards rows of the last one */
/* Adds the n rows of the next window, from frame `first` on. Rows that later windows cannot change are passed to
 * `take`. */
int mert_overlap_add(mert_overlap *j, int64_t first, const float *rows, int64_t n, mert_rows_sink *take, void *self,
                    mert_error *e) MERT_MUST_USE;
/* The clip ends: passes the remaining rows to `take`. */
int mert_overlap_end(mert_overlap *j, mert_rows_sink *take, void *self, mert_error *e) MERT_MUST_USE;

#endif
