/* Adam's two moments of n parameters: in device memory, in host memory, or in a mapped file. From the last two they are
 * copied to the device and back, block by block. The results are the same bytes. */
#ifndef MERT_MOMENTS_H
#define MERT_MOMENTS_H

#include "formats/error.h"
#include "libcommon/nn/ops.h"

typedef struct mert_moments mert_moments;

/* Moments of zero. where: NULL: device memory; "host"; otherwise a folder, for a file without a name, which the system
 * removes when the program ends. Its disk space is allocated at once, so a full disk is an error here. */
mert_moments *mert_moments_new(mert_ops *ops, int64_t n, const char *where, mert_error *e);
void mert_moments_free(mert_moments *m); /* NULL is fine */

/* Updates n parameters from `at` on; how: without pointers and n; w and g: device [n]. */
int mert_moments_update(mert_moments *m, int64_t at, int64_t n, float *w, const float *g, const mert_adam_args *how,
                        mert_error *e) MERT_MUST_USE;

/* Copy to and from host arrays of n floats each; NULL: not copied. */
int mert_moments_get(mert_moments *m, int64_t at, int64_t n, float *first, float *second, mert_error *e) MERT_MUST_USE;
int mert_moments_set(mert_moments *m, int64_t at, int64_t n, const float *first, const float *second, mert_error *e)
    MERT_MUST_USE;

#endif
