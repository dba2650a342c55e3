/* The number of threads of a test. */
#ifndef MERT_TEST_THREADS_H
#define MERT_TEST_THREADS_H

#include "libcommon/base/pool.h"

#include <stdlib.h>

/* From now on, the calling thread computes with n threads. */
static inline void use_threads(int n)
{
    mert_pool *former = mert_pool_used(), *pool = n > 1 ? mert_pool_new(n) : NULL;
    if (n > 1 && !pool)
        abort();
    mert_pool_use(pool);
    mert_pool_free(former);
}

#endif
