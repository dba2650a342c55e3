/* One clip computed while the answer before it is still being written: a thread of its own runs the forward passes, the
 * caller converts and writes. One clip is under way at a time, so memory is that of one forward pass and two answers:
 * the one that is written, and the one that comes into being.
 *
 *     mert_async_submit(a, first, n);
 *     for each further clip:
 *         mert_async_take(a, &rows, &n_rows, &e);    waits; the answer to the last one
 *         mert_async_submit(a, next, n);             goes on at once
 *         write(rows); mert_async_release(a);
 *     mert_async_take(...); write; release;
 */
#ifndef MERT_ASYNC_H
#define MERT_ASYNC_H

#include "libcommon/models/inference/inference.h"

typedef struct mert_async mert_async;

/* threaded 0: submit computes, and returns when that is done; the answers are the same. m belongs to this object's
 * thread until it is freed. NULL: no memory, or no thread. */
mert_async *mert_async_new(mert_inference *m, int threaded, mert_error *e);
/* Waits for a clip under way. NULL is fine. */
void mert_async_free(mert_async *a);

/* There must be no clip that was not taken yet. pcm [n] stays the caller's, and as it is until this clip is taken. */
void mert_async_submit(mert_async *a, const float *pcm, int64_t n);
int mert_async_ready(mert_async *a); /* 1: take will not wait */
/* The answer [n_rows, mert_inference_width], valid until release, which must come before the next take. -1: it failed;
 * nothing to release. */
int mert_async_take(mert_async *a, const float **rows, int64_t *n_rows, mert_error *e) MERT_MUST_USE;
void mert_async_release(mert_async *a);

#endif
