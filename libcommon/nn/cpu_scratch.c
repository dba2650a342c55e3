#include "cpu.h"

#include <stdlib.h>

enum { WORKERS_MAX = 1024 };
static struct { float *p; size_t floats; } scratch[WORKERS_MAX + 1];

float *mert_cpu_scratch(int worker, size_t floats)
{
    if (scratch[worker].floats < floats) {
        free(scratch[worker].p);
        floats = (floats + 15) / 16 * 16;
        scratch[worker].p = aligned_alloc(64, floats * sizeof(float));
        if (!scratch[worker].p)
            abort();
        scratch[worker].floats = floats;
    }
    return scratch[worker].p;
}

float *mert_cpu_shared_scratch(size_t floats)
{
    return mert_cpu_scratch(WORKERS_MAX, floats);
}
