/* One clip computed while the answer before it is still being written: a thread of its own runs the forward passes, the caller converts
 * and writes. One clip is under way at a time, so memory is that of one forward pass and two answers: the one that is written, and
 * the one that comes into being.
 *
 *     mert_ahead_submit(a, first, n);
 *     for each further clip:
 *         mert_ahead_take(a, &rows, &n_rows, &e);    waits; the answer to the last one
 *         mert_ahead_submit(a, next, n);             goes on at once
 *         write(rows); mert_ahead_release(a);
 *     mert_ahead_take(...); write; release;
 */
#ifndef MERT_AHEAD_H
#define MERT_AHEAD_H

#include "inference.h"

typedef struct mert_ahead mert_ahead;

/* threaded 0: submit computes, and returns when that is done; the answers are the same. m belongs to this object's thread until it is freed.
 * NULL: no memory, or no thread. */
mert_ahead *mert_ahead_new(mert_inference *m, int threaded, mert_error *e);
/* Waits for a clip under way. NULL is fine. */
void mert_ahead_free(mert_ahead *a);

/* There must be no clip that was not taken yet. pcm [n] stays the caller's, and as it is until this clip is taken. */
void mert_ahead_submit(mert_ahead *a, const float *pcm, int64_t n);
int mert_ahead_ready(mert_ahead *a); /* 1: take will not wait */
/* The answer [n_rows, mert_inference_width], valid until release, which must come before the next take. -1: it failed; nothing to
 * release. */
int mert_ahead_take(mert_ahead *a, const float **rows, int64_t *n_rows, mert_error *e);
void mert_ahead_release(mert_ahead *a);

#endif
