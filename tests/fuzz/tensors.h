/* Reads everything in an open checkpoint. */
#ifndef MERT_FUZZ_TENSORS_H
#define MERT_FUZZ_TENSORS_H

#include "tests/fuzz/fuzz.h"

#include "formats/checkpoint/checkpoint.h"

static inline void fuzz_tensors(const mert_checkpoint *c, size_t size)
{
    mert_error e;
    int64_t checked = 0;
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        float *x;
        FUZZ_CHECK(t->elements >= 0 && (size_t)t->elements <= 64 * (size + 1)); /* views may share storage */
        FUZZ_CHECK(mert_checkpoint_find(c, t->name) && (x = malloc((size_t)t->elements * sizeof *x + 1)));
        if (!mert_tensor_read(t, x, &e))
            for (int64_t k = 0; k < t->elements; k++)
                checked += x[k] > 0;
        free(x);
    }
    (void)!mert_checkpoint_verify(c, &checked, &e);
}

static inline void fuzz_checkpoint(const char *path, size_t size)
{
    mert_error e;
    mert_checkpoint *c = mert_checkpoint_open(path, &e);
    if (c)
        fuzz_tensors(c, size);
    mert_checkpoint_close(c);
}

#endif
