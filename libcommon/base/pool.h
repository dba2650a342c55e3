/* The thread pool of the process, shared by all computations. Without mert_pool_set_threads it has only the caller's
 * thread. Callers divide work by its structure (tiles, items), never by the number of threads, so that results do not
 * depend on that number (contract A1): it only decides which thread does which part. */
#ifndef MERT_POOL_H
#define MERT_POOL_H

#include <stdint.h>

/* Runs task(arg, i, worker) for i in [0, n), started in order of i; returns when all are done. `worker` is in [0,
 * mert_pool_threads()), for scratch memory. If several threads call it, one runs after the other; tasks must not call
 * it, or mert_pool_threads. The threads are created at the first use. */
void mert_pool_run(int64_t n, void (*task)(void *arg, int64_t i, int worker), void *arg);
int mert_pool_threads(void);
void mert_pool_set_threads(int n); /* not while the pool runs; default 1: only the caller */

/* For tasks that search for the first match: *first = min(*first, found), atomically. */
static inline void mert_pool_first(int64_t *first, int64_t found)
{
    int64_t seen = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (found < seen && !__atomic_compare_exchange_n(first, &seen, found, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
