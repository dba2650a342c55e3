#include "libcommon/train/parallel/exchange_queue.h"

#include <pthread.h>
#include <stdlib.h>

enum { ROOM = 256 }; /* put waits if the queue has so many entries */

struct mert_exchange_queue {
    mert_exchange *x;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stop, failed;
    mert_error why;
    int64_t put, done;
    struct {
        mert_exchange_what what;
        float *data;
        int64_t n;
    } jobs[ROOM];
};

static int work(mert_exchange *x, mert_exchange_what what, float *data, int64_t n, mert_error *e)
{
    if (what != MERT_ALL_GATHER && x->reduce_scatter(x, data, n, e))
        return -1;
    return what != MERT_REDUCE_SCATTER ? x->all_gather(x, data, n, e) : 0;
}

static void *run(void *arg)
{
    mert_exchange_queue *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        int64_t i = q->done % ROOM;
        mert_error e = {{0}};
        int bad = 0;
        while (!q->stop && q->done == q->put)
            pthread_cond_wait(&q->changed, &q->lock);
        if (q->done == q->put)
            break;
        pthread_mutex_unlock(&q->lock);
        if (!q->failed)
            bad = work(q->x, q->jobs[i].what, q->jobs[i].data, q->jobs[i].n, &e);
        pthread_mutex_lock(&q->lock);
        if (bad) {
            q->failed = 1;
            q->why = e;
        }
        q->done++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

mert_exchange_queue *mert_exchange_queue_new(mert_exchange *x, mert_error *e)
{
    mert_exchange_queue *q = calloc(1, sizeof *q);
    if (!q) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    q->x = x;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    if (pthread_create(&q->thread, NULL, run, q)) {
        mert_fail(e, "cannot start a thread");
        pthread_cond_destroy(&q->changed);
        pthread_mutex_destroy(&q->lock);
        free(q);
        return NULL;
    }
    return q;
}

void mert_exchange_queue_free(mert_exchange_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stop = 1;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

int64_t mert_exchange_queue_put(mert_exchange_queue *q, mert_exchange_what what, float *data, int64_t n)
{
    int64_t number;
    pthread_mutex_lock(&q->lock);
    while (q->put - q->done == ROOM)
        pthread_cond_wait(&q->changed, &q->lock);
    q->jobs[q->put % ROOM].what = what;
    q->jobs[q->put % ROOM].data = data;
    q->jobs[q->put % ROOM].n = n;
    number = ++q->put;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return number;
}

int mert_exchange_queue_wait(mert_exchange_queue *q, int64_t number, mert_error *e)
{
    int failed;
    pthread_mutex_lock(&q->lock);
    while (q->done < number)
        pthread_cond_wait(&q->changed, &q->lock);
    failed = q->failed;
    if (failed)
        *e = q->why;
    pthread_mutex_unlock(&q->lock);
    return failed ? -1 : 0;
}
