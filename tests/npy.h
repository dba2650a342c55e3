/* For tests and the bench: writes a whole .npy file in one call. */
#ifndef TESTS_NPY_H
#define TESTS_NPY_H

#include "formats/npy.h"

static inline int put_npy(const char *path, mert_npy_type type, int ndim, const int64_t *shape, const void *data,
                          mert_error *e)
{
    int64_t elements = 1;
    mert_npy_writer *w = mert_npy_create(path, type, ndim, shape, e);
    for (int i = 0; i < ndim; i++)
        elements *= shape[i];
    if (!w || mert_npy_append(w, data, elements, e)) {
        mert_npy_abandon(w);
        return -1;
    }
    return mert_npy_commit(w, e);
}

#endif
