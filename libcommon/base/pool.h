/* The threads of the process, shared by all that computes in it; without mert_pool_set_threads there are none but the
 * caller's. Work is split by what it is (tiles, items), never by the number of threads, so that results do not depend
 * on it (contract A1): thread count only decides who does which piece. */
#ifndef MERT_POOL_H
#define MERT_POOL_H

#include <stdint.h>

/* Runs task(arg, i, worker) for i in [0, n), pieces handed out in order; returns when all are done. `worker` is in
 * [0, mert_pool_threads()), for scratch memory. Of several threads that call it one waits for the other; tasks must
 * call neither it nor mert_pool_threads. The threads start at the first use. */
void mert_pool_run(int64_t n, void (*task)(void *arg, int64_t i, int worker), void *arg);
int mert_pool_threads(void);
void mert_pool_set_threads(int n); /* before the first use, or between uses; never set: 1, the caller alone */

/* For tasks that look for the first of something: *first becomes `found` if that is less. */
static inline void mert_pool_first(int64_t *first, int64_t found)
{
    int64_t seen = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (found < seen && !__atomic_compare_exchange_n(first, &seen, found, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
