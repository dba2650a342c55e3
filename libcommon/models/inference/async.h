/* Computes one clip while the caller still writes the result of the one before. A thread runs the forward passes; the
 * caller converts and writes. One clip is computed at a time, so memory is that of one forward pass and two results.
 *
 *     mert_async_submit(a, first, n);
 *     for each further clip:
 *         mert_async_take(a, &rows, &n_rows, &e);    waits for the result of the last clip
 *         mert_async_submit(a, next, n);             returns at once
 *         write(rows); mert_async_release(a);
 *     mert_async_take(...); write; release; */
#ifndef MERT_ASYNC_H
#define MERT_ASYNC_H

#include "libcommon/models/inference/inference.h"

typedef struct mert_async mert_async;

/* threaded 0: there is no thread; submit queues the operations, take waits for them, and results are the same. The
 * thread owns m until this object is freed. NULL: out of memory, or no thread could be started. */
mert_async *mert_async_new(mert_inference *m, int threaded, mert_error *e);
/* Waits for a clip that is being computed. NULL is fine. */
void mert_async_free(mert_async *a);

/* The result of the clip before must have been taken. pcm [n] belongs to the caller and must not change until this clip
 * is taken. */
void mert_async_submit(mert_async *a, const float *pcm, int64_t n);
int mert_async_ready(mert_async *a); /* 1: take would not wait */
/* The result [n_rows, mert_inference_width], valid until release, which must be called before the next take. -1: the
 * clip failed; then release is not needed. */
int mert_async_take(mert_async *a, const float **rows, int64_t *n_rows, mert_error *e) MERT_MUST_USE;
void mert_async_release(mert_async *a);

#endif
