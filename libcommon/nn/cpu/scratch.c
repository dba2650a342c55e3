#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"

float *mert_cpu_scratch(int worker, size_t floats)
{
    return mert_pool_scratch(worker, floats > SIZE_MAX / sizeof(float) ? SIZE_MAX : floats * sizeof(float));
}

float *mert_cpu_shared_scratch(size_t floats)
{
    return mert_cpu_scratch(MERT_POOL_SHARED, floats);
}

int mert_cpu_failed(mert_error *e)
{
    size_t bytes = mert_pool_lacking();
    return bytes ? mert_fail(e, "out of memory: an operation needs %zu more bytes", bytes) : 0;
}
