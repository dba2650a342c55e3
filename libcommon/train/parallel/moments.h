/* Adam's two moments of n parameters: in device memory, in host memory, or in a file that is mapped into memory, from
 * where they visit the device block by block. The bytes are the same. */
#ifndef MERT_MOMENTS_H
#define MERT_MOMENTS_H

#include "formats/error.h"
#include "libcommon/nn/ops.h"

typedef struct mert_moments mert_moments;

/* All zero. where: NULL: device memory; "host"; else a folder: a file without a name in it, which is gone when the
 * program ends, however it does. Its room is taken at once: a full disk shows here. */
mert_moments *mert_moments_new(mert_ops *ops, int64_t n, const char *where, mert_error *e);
void mert_moments_free(mert_moments *m); /* NULL is fine */

/* The update of n of them from `at` on: `how` without pointers and n; w and g: device [n]. */
int mert_moments_update(mert_moments *m, int64_t at, int64_t n, float *w, const float *g, const mert_adam_args *how,
                        mert_error *e) MERT_MUST_USE;

/* To and from host arrays of n floats each; NULL: not wanted. */
int mert_moments_get(mert_moments *m, int64_t at, int64_t n, float *first, float *second, mert_error *e) MERT_MUST_USE;
int mert_moments_set(mert_moments *m, int64_t at, int64_t n, const float *first, const float *second, mert_error *e)
    MERT_MUST_USE;

#endif
