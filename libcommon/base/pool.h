/* Thread pools: a pool has threads and their scratch memory. Each thread of a program computes with the pool that
 * mert_pool_use gave it, and without one it computes alone. Threads with different pools share nothing, so a program
 * can compute several things at once. Threads with the same pool compute one after the other.
 *
 * Callers divide work by its structure (tiles, items), never by the number of threads, so that results do not depend on
 * that number (contract A1): it only decides which thread does which part. */
#ifndef MERT_POOL_H
#define MERT_POOL_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_pool mert_pool;

/* A pool of so many threads (at least 1), the caller of mert_pool_run included. The others are created at the first
 * use; if one cannot be created, there are fewer. NULL: out of memory. */
mert_pool *mert_pool_new(int threads);

/* Ends the pool's threads. No other thread may use it any more; if the calling thread does, it has no pool then. */
void mert_pool_free(mert_pool *pool);

/* From now on, the calling thread computes with `pool`; NULL: alone. A new thread has no pool. */
void mert_pool_use(mert_pool *pool);
mert_pool *mert_pool_used(void); /* the calling thread's, to give it to a thread that works for this one; or NULL */

/* ---- all of the following concern the pool of the calling thread ---- */

int mert_pool_threads(void);

/* Runs task(arg, i, worker) for i in [0, n), started in order of i; returns when all are done. `worker` is in [0,
 * mert_pool_threads()), for scratch memory. Tasks must not call it, or mert_pool_threads. */
void mert_pool_run(int64_t n, void (*task)(void *arg, int64_t i, int worker), void *arg);

/* Scratch memory: at least `bytes` bytes, 64-byte aligned, with undefined contents. It grows on demand and is kept for
 * the next call. NULL: out of memory; recorded as by mert_pool_lacks. `worker` is a number as in mert_pool_run, for
 * memory of one worker, or stands for memory that all workers see, to be used between mert_pool_hold and
 * mert_pool_let_go: MERT_POOL_SHARED, and MERT_POOL_OUTER for an operation that runs another one, which has
 * MERT_POOL_SHARED. */
enum { MERT_POOL_SHARED = -1, MERT_POOL_OUTER = -2 };
void *mert_pool_scratch(int worker, size_t bytes);

/* Between these two, no other thread of the same pool is between them: for work that needs several runs and shared
 * scratch memory. */
void mert_pool_hold(void);
void mert_pool_let_go(void);

/* A task has no result, so it records here that it could not get `bytes` bytes of memory. */
void mert_pool_lacks(size_t bytes);
size_t mert_pool_lacking(void); /* bytes of the last such failure; 0: none since the last mert_pool_renew */
void mert_pool_renew(void);

/* For tasks that search for the first match: *first = min(*first, found), atomically. */
static inline void mert_pool_first(int64_t *first, int64_t found)
{
    int64_t seen = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (found < seen && !__atomic_compare_exchange_n(first, &seen, found, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
