#include "libcommon/base/pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { SHARED = 2 }; /* shared scratch memory comes first: MERT_POOL_OUTER, MERT_POOL_SHARED; then the workers' */

typedef struct scratch {
    void *p;
    size_t bytes;
} scratch;

struct mert_pool {
    pthread_mutex_t operation; /* held between mert_pool_hold and mert_pool_let_go */
    pthread_mutex_t caller;    /* held by the caller of mert_pool_run */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    pthread_t *threads;
    scratch *scratch;      /* SHARED + wanted */
    size_t lacking;
    int wanted;
    int n;                 /* number of workers that exist, with the caller; 0: not started */
    uint64_t generation;   /* counts jobs, so that a worker joins each only once */
    int stop, working;     /* working: workers that have joined the current job */
    void (*task)(void *, int64_t, int);
    void *arg;
    int64_t next, end;
};

/* The pool that the calling thread uses; NULL: it computes alone, with `alone`. */
static _Thread_local mert_pool *used;
static _Thread_local struct {
    scratch scratch[SHARED + 1];
    size_t lacking;
} alone;

/* ---- making, ending, choosing ---- */

mert_pool *mert_pool_new(int threads)
{
    mert_pool *p = calloc(1, sizeof *p);
    int n = threads > 1 ? threads : 1;
    if (!p || !(p->threads = calloc((size_t)n, sizeof *p->threads)) ||
        !(p->scratch = calloc((size_t)(SHARED + n), sizeof *p->scratch))) {
        if (p)
            free(p->threads);
        free(p);
        return NULL;
    }
    p->wanted = n;
    pthread_mutex_init(&p->operation, NULL);
    pthread_mutex_init(&p->caller, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    return p;
}

void mert_pool_free(mert_pool *p)
{
    if (!p)
        return;
    if (used == p)
        used = NULL;
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    for (int i = 0; i < SHARED + p->wanted; i++)
        free(p->scratch[i].p);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->caller);
    pthread_mutex_destroy(&p->operation);
    free(p->scratch);
    free(p->threads);
    free(p);
}

void mert_pool_use(mert_pool *p)
{
    used = p;
}

mert_pool *mert_pool_used(void)
{
    return used;
}

/* ---- workers ---- */

static void work(mert_pool *p, int worker)
{
    for (;;) {
        int64_t i = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
        if (i >= p->end)
            return;
        p->task(p->arg, i, worker);
    }
}

typedef struct beginning {
    mert_pool *pool;
    int worker;
} beginning;

static void *worker_main(void *arg)
{
    beginning b = *(beginning *)arg;
    mert_pool *p = b.pool;
    uint64_t seen = 0;
    free(arg);
    used = p;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->generation == seen && !p->stop)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->stop)
            break;
        seen = p->generation;
        /* A worker that wakes up after the job has ended does not join it; the caller does not wait for such
         * workers. */
        if (__atomic_load_n(&p->next, __ATOMIC_RELAXED) >= p->end)
            continue;
        p->working++;
        pthread_mutex_unlock(&p->lock);
        work(p, b.worker);
        pthread_mutex_lock(&p->lock);
        if (--p->working == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_worker(mert_pool *p, int worker)
{
    beginning *b = malloc(sizeof *b);
    if (!b)
        return -1;
    *b = (beginning){p, worker};
    if (!pthread_create(&p->threads[worker], NULL, worker_main, b))
        return 0;
    free(b);
    return -1;
}

/* Called with p->caller held. If a thread cannot be created, fewer are used: the caller works, too. */
static int workers(mert_pool *p)
{
    if (!p->n)
        for (p->n = 1; p->n < p->wanted && !start_worker(p, p->n);)
            p->n++;
    return p->n;
}

int mert_pool_threads(void)
{
    int n;
    if (!used)
        return 1;
    pthread_mutex_lock(&used->caller);
    n = workers(used);
    pthread_mutex_unlock(&used->caller);
    return n;
}

static void run_alone(int64_t n, void (*task)(void *, int64_t, int), void *arg)
{
    for (int64_t i = 0; i < n; i++)
        task(arg, i, 0);
}

static void run_together(mert_pool *p, int64_t n, void (*task)(void *, int64_t, int), void *arg)
{
    pthread_mutex_lock(&p->lock);
    p->task = task;
    p->arg = arg;
    p->next = 0;
    p->end = n;
    p->generation++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->working)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void mert_pool_run(int64_t n, void (*task)(void *, int64_t, int), void *arg)
{
    mert_pool *p = used;
    if (n <= 0)
        return;
    if (!p) {
        run_alone(n, task, arg);
        return;
    }
    pthread_mutex_lock(&p->caller);
    if (workers(p) == 1 || n == 1)
        run_alone(n, task, arg);
    else
        run_together(p, n, task, arg);
    pthread_mutex_unlock(&p->caller);
}

/* ---- scratch memory, and its failures ---- */

static pthread_key_t at_end; /* of a thread that has computed alone */
static int have_key;         /* 0: the process has too many keys, so such memory is kept when its thread ends */

static void free_alone(void *p)
{
    scratch *s = p;
    for (int i = 0; i <= SHARED; i++) {
        free(s[i].p);
        s[i] = (scratch){NULL, 0};
    }
}

static void make_key(void)
{
    have_key = !pthread_key_create(&at_end, free_alone);
}

static scratch *scratch_of(int worker)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (used)
        return &used->scratch[SHARED + worker];
    pthread_once(&once, make_key);
    if (have_key)
        pthread_setspecific(at_end, alone.scratch);
    return &alone.scratch[SHARED + worker];
}

void *mert_pool_scratch(int worker, size_t bytes)
{
    enum { LINE = 64 };
    scratch *s = scratch_of(worker);
    if (s->bytes < bytes) {
        size_t whole = bytes > SIZE_MAX - LINE ? 0 : (bytes + LINE - 1) / LINE * LINE;
        free(s->p);
        s->p = whole ? aligned_alloc(LINE, whole) : NULL;
        s->bytes = s->p ? whole : 0;
        if (!s->p)
            mert_pool_lacks(bytes);
    }
    return s->p;
}

void mert_pool_hold(void)
{
    if (used)
        pthread_mutex_lock(&used->operation);
}

void mert_pool_let_go(void)
{
    if (used)
        pthread_mutex_unlock(&used->operation);
}

static size_t *lacking(void)
{
    return used ? &used->lacking : &alone.lacking;
}

void mert_pool_lacks(size_t bytes)
{
    __atomic_store_n(lacking(), bytes ? bytes : 1, __ATOMIC_RELAXED);
}

size_t mert_pool_lacking(void)
{
    return __atomic_load_n(lacking(), __ATOMIC_RELAXED);
}

void mert_pool_renew(void)
{
    __atomic_store_n(lacking(), 0, __ATOMIC_RELAXED);
}
