#include "libcommon/models/inference/async.h"

#include "libcommon/base/pool.h"

#include <pthread.h>
#include <stdlib.h>

enum state { IDLE, SUBMITTED, READY };

struct mert_async {
    mert_inference *m;
    mert_pool *pool; /* of the thread that made this */
    int threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;

    enum state state;
    int stop, held;       /* held: the caller is reading `rows` */
    const float *pcm;
    int64_t n;
    int bad;
    mert_error why;
    const float *rows;
    int64_t n_rows;
};

static void *thread_main(void *arg)
{
    mert_async *a = arg;
    mert_pool_use(a->pool);
    pthread_mutex_lock(&a->lock);
    for (;;) {
        int bad;
        while (a->state != SUBMITTED && !a->stop)
            pthread_cond_wait(&a->changed, &a->lock);
        if (a->stop)
            break;
        pthread_mutex_unlock(&a->lock);
        bad = mert_inference_forward(a->m, a->pcm, a->n, &a->n_rows, &a->why);
        pthread_mutex_lock(&a->lock);
        while (a->held && !a->stop)
            pthread_cond_wait(&a->changed, &a->lock);
        if (a->stop)
            break;
        pthread_mutex_unlock(&a->lock); /* neither held nor ready: the caller does not read rows */
        if (!bad)
            bad = mert_inference_answer(a->m, &a->rows, &a->why);
        pthread_mutex_lock(&a->lock);
        a->bad = bad;
        a->state = READY;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

mert_async *mert_async_new(mert_inference *m, int threaded, mert_error *e)
{
    mert_async *a = calloc(1, sizeof *a);
    if (!a) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    a->m = m;
    a->pool = mert_pool_used();
    a->threaded = threaded;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    if (threaded && pthread_create(&a->thread, NULL, thread_main, a)) {
        a->threaded = 0;
        mert_async_free(a);
        mert_fail(e, "cannot start a thread");
        return NULL;
    }
    return a;
}

void mert_async_free(mert_async *a)
{
    if (!a)
        return;
    if (a->threaded) {
        pthread_mutex_lock(&a->lock);
        a->stop = 1;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
    }
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
    free(a);
}

void mert_async_submit(mert_async *a, const float *pcm, int64_t n)
{
    a->pcm = pcm; /* the thread does not read it while idle */
    a->n = n;
    if (!a->threaded) {
        a->bad = mert_inference_forward(a->m, pcm, n, &a->n_rows, &a->why);
        a->state = READY;
        return;
    }
    pthread_mutex_lock(&a->lock);
    a->state = SUBMITTED;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

int mert_async_ready(mert_async *a)
{
    int ready;
    pthread_mutex_lock(&a->lock);
    ready = a->state == READY;
    pthread_mutex_unlock(&a->lock);
    return ready;
}

int mert_async_take(mert_async *a, const float **rows, int64_t *n_rows, mert_error *e)
{
    pthread_mutex_lock(&a->lock);
    while (a->state != READY)
        pthread_cond_wait(&a->changed, &a->lock);
    a->state = IDLE;
    if (!a->threaded && !a->bad)
        a->bad = mert_inference_answer(a->m, &a->rows, &a->why);
    a->held = !a->bad;
    pthread_mutex_unlock(&a->lock);
    if (a->bad) {
        *e = a->why;
        return -1;
    }
    *rows = a->rows;
    *n_rows = a->n_rows;
    return 0;
}

void mert_async_release(mert_async *a)
{
    pthread_mutex_lock(&a->lock);
    a->held = 0;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}
