#include "libcommon/nn/cpu/cpu.h"

#include <stdlib.h>

enum { WORKERS_MAX = 1024 };
static struct { float *p; size_t floats; } scratch[WORKERS_MAX + 1];
static size_t lacking; /* size of the failed allocation in bytes; 0: none has failed */

float *mert_cpu_scratch(int worker, size_t floats)
{
    if (scratch[worker].floats < floats) {
        free(scratch[worker].p);
        floats = (floats + 15) / 16 * 16;
        scratch[worker].p = aligned_alloc(64, floats * sizeof(float));
        scratch[worker].floats = scratch[worker].p ? floats : 0;
        if (!scratch[worker].p)
            mert_cpu_fail(floats * sizeof(float));
    }
    return scratch[worker].p;
}

float *mert_cpu_shared_scratch(size_t floats)
{
    return mert_cpu_scratch(WORKERS_MAX, floats);
}

void mert_cpu_fail(size_t bytes)
{
    __atomic_store_n(&lacking, bytes ? bytes : 1, __ATOMIC_RELAXED);
}

int mert_cpu_failed(mert_error *e)
{
    size_t bytes = __atomic_load_n(&lacking, __ATOMIC_RELAXED);
    return bytes ? mert_fail(e, "out of memory: an operation needs %zu more bytes", bytes) : 0;
}

void mert_cpu_renew(void)
{
    __atomic_store_n(&lacking, 0, __ATOMIC_RELAXED);
}
