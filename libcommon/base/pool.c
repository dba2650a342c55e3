#include "libcommon/base/pool.h"

#include <pthread.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t caller; /* held by the caller of mert_pool_run */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    pthread_t *threads;
    int wanted;            /* number of workers that was set */
    int n;                 /* number of workers that exist, with the caller; 0: not started */
    uint64_t generation;   /* counts jobs, so that a worker joins each only once */
    int stop, working;     /* working: workers that have joined the current job */
    void (*task)(void *, int64_t, int);
    void *arg;
    int64_t next, end;
} pool = {.caller = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .start = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static void work(int worker)
{
    for (;;) {
        int64_t i = __atomic_fetch_add(&pool.next, 1, __ATOMIC_RELAXED);
        if (i >= pool.end)
            return;
        pool.task(pool.arg, i, worker);
    }
}

static void *worker_main(void *p)
{
    int worker = (int)(intptr_t)p;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.generation == seen && !pool.stop)
            pthread_cond_wait(&pool.start, &pool.lock);
        if (pool.stop)
            break;
        seen = pool.generation;
        /* A worker that wakes up after the job has ended does not join it; the caller does not wait for such
         * workers. */
        if (__atomic_load_n(&pool.next, __ATOMIC_RELAXED) >= pool.end)
            continue;
        pool.working++;
        pthread_mutex_unlock(&pool.lock);
        work(worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.working == 0)
            pthread_cond_signal(&pool.done);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

void mert_pool_set_threads(int n)
{
    pthread_mutex_lock(&pool.lock);
    pool.stop = 1;
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 1; i < pool.n; i++)
        pthread_join(pool.threads[i], NULL);
    free(pool.threads);
    pool.threads = NULL;
    pool.stop = 0;
    pool.n = 0;
    pool.wanted = n;
}

static void start_workers(void)
{
    int n = pool.wanted > 1 ? pool.wanted : 1;
    pool.generation = 0;
    pool.threads = calloc((size_t)n, sizeof *pool.threads);
    if (!pool.threads)
        n = 1;
    pool.n = 1;
    /* If a thread cannot be created, fewer are used: the caller works, too. */
    while (pool.n < n && !pthread_create(&pool.threads[pool.n], NULL, worker_main, (void *)(intptr_t)pool.n))
        pool.n++;
}

/* Called with pool.caller held. */
static int workers(void)
{
    if (!pool.n)
        start_workers();
    return pool.n;
}

int mert_pool_threads(void)
{
    int n;
    pthread_mutex_lock(&pool.caller);
    n = workers();
    pthread_mutex_unlock(&pool.caller);
    return n;
}

void mert_pool_run(int64_t n, void (*task)(void *, int64_t, int), void *arg)
{
    if (n <= 0)
        return;
    pthread_mutex_lock(&pool.caller);
    if (workers() == 1 || n == 1) {
        for (int64_t i = 0; i < n; i++)
            task(arg, i, 0);
        pthread_mutex_unlock(&pool.caller);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    pool.task = task;
    pool.arg = arg;
    pool.next = 0;
    pool.end = n;
    pool.generation++;
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
    work(0);
    pthread_mutex_lock(&pool.lock);
    while (pool.working)
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.caller);
}
