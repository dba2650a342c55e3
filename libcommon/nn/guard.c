/* The backend for tests (contract B2). It runs the operations of another backend as late as the rules of ops.h allow,
 * on another thread, in memory that the host cannot access. Code that works here keeps the rules that a real device
 * imposes:
 * - Device memory can be read and written only while the queue runs; an access by the host ends in SIGSEGV.
 * - Nothing runs before a wait. A result that is read without a wait has the NaN values that download put there.
 * - New memory is filled with NaN, so that reading memory that was never written shows.
 * - An upload reads its source when it runs, so that a source that is changed too early shows.
 * - wait_mark runs only what was queued before the mark.
 * - upload_ahead fills its target with NaN at once, and copies in its turn. So an earlier operation that still reads
 *   the target shows, and also a source that is changed too early. */
#define _GNU_SOURCE
#include "libcommon/nn/ops.h"

#include "libcommon/base/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARGS_MAX = 256, QUEUE_MAX = 1 << 14, BLOCKS_MAX = 1 << 16 };
enum { DO_RUN, DO_COPY };

typedef struct entry {
    int what;
    mert_op op;
    void *to;
    const void *from;
    size_t bytes;
    _Alignas(16) unsigned char args[ARGS_MAX];
} entry;

typedef struct guard {
    mert_ops ops;
    mert_ops *inner;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    int running, stop;
    entry *queue;
    int n;
    int upto;        /* number of entries to run now */
    int64_t queued;  /* number of entries queued since the start */
    struct { void *p; size_t bytes; } block[BLOCKS_MAX];
    int blocks;
    mert_pool *pool; /* of the thread that waits */
    size_t lacking;  /* memory that an operation lacked */
} guard;

static void open_memory(guard *g, int protection)
{
    for (int i = 0; i < g->blocks; i++)
        if (g->block[i].p)
            mprotect(g->block[i].p, g->block[i].bytes, protection);
}

static void *guard_thread(void *p)
{
    guard *g = p;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        while (!g->running && !g->stop)
            pthread_cond_wait(&g->wake, &g->lock);
        if (g->stop)
            break;
        mert_pool_use(g->pool);
        open_memory(g, PROT_READ | PROT_WRITE);
        for (int i = 0; i < g->upto; i++) {
            entry *e = &g->queue[i];
            if (e->what == DO_COPY)
                memcpy(e->to, e->from, e->bytes);
            else
                g->inner->run(g->inner, e->op, e->args, e->bytes);
        }
        open_memory(g, PROT_NONE);
        g->n -= g->upto;
        memmove(g->queue, g->queue + g->upto, (size_t)g->n * sizeof *g->queue);
        g->running = 0;
        g->lacking = mert_pool_lacking();
        if (!g->pool)
            mert_pool_renew(); /* this thread's own; the one that waits records it */
        pthread_cond_signal(&g->idle);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* Runs the first n entries of the queue. */
static void run_first(guard *g, int n)
{
    pthread_mutex_lock(&g->lock);
    if (n > 0) {
        g->upto = n;
        g->pool = mert_pool_used();
        g->running = 1;
        pthread_cond_signal(&g->wake);
        while (g->running)
            pthread_cond_wait(&g->idle, &g->lock);
        if (g->lacking)
            mert_pool_lacks(g->lacking);
    }
    pthread_mutex_unlock(&g->lock);
}

static void drain(guard *g)
{
    run_first(g, g->n);
}

static int64_t guard_mark(mert_ops *o)
{
    return ((const guard *)o)->queued + 1;
}

static int guard_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    guard *g = (guard *)o;
    run_first(g, (int)(mark - 1 - (g->queued - g->n)));
    return g->inner->wait(g->inner, e);
}

static int guard_wait(mert_ops *o, mert_error *e)
{
    guard *g = (guard *)o;
    drain(g);
    return g->inner->wait(g->inner, e);
}

static int guard_renew(mert_ops *o, mert_error *e)
{
    guard *g = (guard *)o;
    return g->inner->renew(g->inner, e);
}

static size_t guard_packed_bytes(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    const mert_ops *inner = ((const guard *)o)->inner;
    return inner->packed_bytes(inner, rows, n, k, as);
}

static int64_t guard_rows_at_once(const mert_ops *o, mert_block block)
{
    const mert_ops *inner = ((const guard *)o)->inner;
    return inner->rows_at_once(inner, block);
}

static entry *next_entry(guard *g)
{
    if (g->n == QUEUE_MAX)
        drain(g); /* as with a device whose queue is full, the caller has to wait */
    memset(&g->queue[g->n], 0, sizeof *g->queue);
    g->queued++;
    return &g->queue[g->n++];
}

static void guard_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    entry *e = next_entry((guard *)o);
    if (size > ARGS_MAX)
        abort();
    e->what = DO_RUN;
    e->op = op;
    e->bytes = size;
    memcpy(e->args, args, size);
}

static void guard_copy(mert_ops *o, void *to, const void *from, size_t bytes)
{
    entry *e = next_entry((guard *)o);
    e->what = DO_COPY;
    e->to = to;
    e->from = from;
    e->bytes = bytes;
}

static void guard_download(mert_ops *o, void *host, const void *from, size_t bytes)
{
    memset(host, 0xff, bytes); /* NaN until the wait */
    guard_copy(o, host, from, bytes);
}

static void guard_upload_ahead(mert_ops *o, void *to, const void *host, size_t bytes)
{
    guard *g = (guard *)o;
    open_memory(g, PROT_READ | PROT_WRITE);
    memset(to, 0xff, bytes);
    open_memory(g, PROT_NONE);
    guard_copy(o, to, host, bytes);
}

static void *guard_pin(mert_ops *o, size_t bytes)
{
    (void)o;
    return malloc(bytes ? bytes : 1);
}

static void guard_unpin(mert_ops *o, void *pinned)
{
    (void)o;
    free(pinned);
}

static void *guard_alloc(mert_ops *o, size_t bytes)
{
    guard *g = (guard *)o;
    size_t whole = (bytes + 4095) / 4096 * 4096;
    unsigned char *p;
    int i = 0;
    while (i < g->blocks && g->block[i].p)
        i++;
    if (i == BLOCKS_MAX || bytes > SIZE_MAX / 2)
        return NULL;
    p = mmap(NULL, whole ? whole : 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    memset(p, 0xff, whole);
    mprotect(p, whole ? whole : 4096, PROT_NONE);
    g->block[i].p = p;
    g->block[i].bytes = whole ? whole : 4096;
    if (i == g->blocks)
        g->blocks++;
    return p;
}

static void guard_release(mert_ops *o, void *p)
{
    guard *g = (guard *)o;
    if (!p)
        return;
    drain(g);
    for (int i = 0; i < g->blocks; i++)
        if (g->block[i].p == p) {
            munmap(p, g->block[i].bytes);
            g->block[i].p = NULL;
            return;
        }
    abort(); /* released twice, or not from here */
}

static const void *guard_share(mert_ops *o, const void *host, size_t bytes)
{
    void *p = guard_alloc(o, bytes);
    if (p)
        guard_copy(o, p, host, bytes);
    return p;
}

static void guard_unshare(mert_ops *o, const void *shared)
{
    guard_release(o, (void *)(uintptr_t)shared);
}

static void guard_close(mert_ops *o)
{
    guard *g = (guard *)o;
    drain(g);
    pthread_mutex_lock(&g->lock);
    g->stop = 1;
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    for (int i = 0; i < g->blocks; i++)
        if (g->block[i].p)
            munmap(g->block[i].p, g->block[i].bytes);
    g->inner->close(g->inner);
    free(g->queue);
    free(g);
}

mert_ops *mert_ops_guard(mert_ops *inner)
{
    guard *g = calloc(1, sizeof *g);
    if (!g || !(g->queue = malloc(QUEUE_MAX * sizeof *g->queue))) {
        free(g);
        return NULL;
    }
    g->inner = inner;
    g->ops = (mert_ops){.name = "guard",
                        .type = inner->type,
                        .cqt = inner->cqt,
                        .packed_bytes = guard_packed_bytes,
                        .rows_at_once = guard_rows_at_once,
                        .alloc = guard_alloc,
                        .release = guard_release,
                        .upload = guard_copy,
                        .download = guard_download,
                        .mark = guard_mark,
                        .wait_mark = guard_wait_mark,
                        .pin = guard_pin,
                        .unpin = guard_unpin,
                        .upload_ahead = guard_upload_ahead,
                        .share = guard_share,
                        .unshare = guard_unshare,
                        .wait = guard_wait,
                        .renew = guard_renew,
                        .run = guard_run,
                        .close = guard_close};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    pthread_cond_init(&g->idle, NULL);
    if (pthread_create(&g->thread, NULL, guard_thread, g)) {
        free(g->queue);
        free(g);
        return NULL;
    }
    return &g->ops;
}
