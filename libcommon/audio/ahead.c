#include "libcommon/audio/ahead.h"

#include "formats/array.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The most pieces in each of an item's two queues. */
enum { WAITING = 4 };

/* A queue of pieces, whose memory is reused; the reader or resampler may still use the first one. */
typedef struct queue {
    mert_audio_piece piece[WAITING];
    int first, n;
} queue;

typedef enum step { NOTHING, OPEN, DECODE, RESAMPLE } step;

typedef struct item {
    int64_t index;
    mert_audio *audio;
    mert_error why;            /* why it could not be opened */
    int opened, failed;        /* opened: opening was tried */
    int opening, decoding, resampling;       /* a thread is doing this */
    int all_decoded, all_ready; /* the last piece is in the queue */
    queue decoded, ready;
} item;

struct mert_ahead {
    int64_t n, next;           /* number of items; the next one to start */
    char *(*path_of)(void *, int64_t);
    void *self;
    mert_audio_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stop, users;           /* users: the threads, and the reader */
    item *items;               /* a ring; the first is the one that the reader has */
    int room, first, count;
    int abandoned;             /* the reader has closed the first one: no more steps for it */
    int looked_at;             /* the reader has got its first ready piece */
};

static mert_audio_piece *queue_end(queue *q) { return &q->piece[(q->first + q->n) % WAITING]; }

static void queue_drop(queue *q)
{
    q->first = (q->first + 1) % WAITING;
    q->n--;
}

/* ---- steps: units of work, done without the lock ---- */

static step step_of(const item *i)
{
    if (!i->opened)
        return i->opening ? NOTHING : OPEN;
    if (i->failed)
        return NOTHING;
    if (i->decoded.n && !i->resampling && i->ready.n < WAITING && !i->all_ready)
        return RESAMPLE;
    /* Decodes no more than the segment needs, unless all of that was resampled and was not enough. */
    if (!i->decoding && !i->all_decoded && !i->all_ready && i->decoded.n < WAITING &&
        (!mert_audio_enough(i->audio) || (!i->decoded.n && !i->resampling)))
        return DECODE;
    return NOTHING;
}

/* Chooses the next step: the first possible one of the first `most` items, earliest item first; *of: the item. Starts
 * new items while there is room. */
static step choose(mert_ahead *x, int most, item **of)
{
    for (int k = 0; k < most && !x->stop; k++) {
        item *i = &x->items[(x->first + k) % x->room];
        step s;
        if (k == x->count) {
            if (x->next == x->n)
                break;
            i->index = x->next++;
            x->count++;
        }
        if (k == 0 && x->abandoned)
            continue;
        s = step_of(i);
        if (s != NOTHING) {
            *of = i;
            return s;
        }
    }
    return NOTHING;
}

/* Called with the lock held, and returns with it. */
static void perform(mert_ahead *x, step s, item *i)
{
    mert_audio_piece *from = &i->decoded.piece[i->decoded.first], *to;
    int *busy = s == OPEN ? &i->opening : s == DECODE ? &i->decoding : &i->resampling;
    char *path = s == OPEN ? x->path_of(x->self, i->index) : NULL;
    to = queue_end(s == DECODE ? &i->decoded : &i->ready);
    *busy = 1;
    pthread_mutex_unlock(&x->lock);
    if (s == DECODE)
        mert_audio_decode(i->audio, to);
    else if (s == RESAMPLE)
        mert_audio_resample(i->audio, from, to);
    else if (path)
        i->audio = mert_audio_open(path, &x->settings, &i->why);
    else
        mert_fail(&i->why, "out of memory");
    free(path);
    pthread_mutex_lock(&x->lock);
    *busy = 0;
    if (s == OPEN) {
        i->opened = 1;
        i->failed = !i->audio;
    } else if (s == DECODE) {
        i->all_decoded = to->how != MERT_PIECE_MORE;
        i->decoded.n++;
    } else {
        i->all_ready = to->how != MERT_PIECE_MORE;
        i->ready.n++;
        queue_drop(&i->decoded);
    }
    pthread_cond_broadcast(&x->changed);
}

static void forget(item *i)
{
    mert_audio_close(i->audio);
    i->audio = NULL;
    i->opened = i->failed = i->all_decoded = i->all_ready = 0;
    i->decoded.n = i->ready.n = 0;
}

/* Called with the lock held. Does not wait for threads, because a read may never end: the last one to leave frees. */
static void leave(mert_ahead *x)
{
    int last = --x->users == 0;
    pthread_mutex_unlock(&x->lock);
    if (!last)
        return;
    for (int k = 0; k < x->room; k++) {
        item *i = &x->items[k];
        forget(i);
        for (int p = 0; p < WAITING; p++) {
            free(i->decoded.piece[p].samples.data);
            free(i->ready.piece[p].samples.data);
        }
    }
    pthread_mutex_destroy(&x->lock);
    pthread_cond_destroy(&x->changed);
    free(x->items);
    free(x);
}

static void *work(void *p)
{
    mert_ahead *x = p;
    item *i;
    pthread_mutex_lock(&x->lock);
    while (!x->stop) {
        step s = choose(x, x->room, &i);
        if (s == NOTHING) {
            pthread_cond_wait(&x->changed, &x->lock);
            continue;
        }
        perform(x, s, i);
    }
    leave(x);
    return NULL;
}

static int start_thread(mert_ahead *x)
{
    pthread_t thread;
    pthread_mutex_lock(&x->lock);
    x->users++;
    pthread_mutex_unlock(&x->lock);
    if (!pthread_create(&thread, NULL, work, x))
        return pthread_detach(thread);
    pthread_mutex_lock(&x->lock);
    x->users--;
    pthread_mutex_unlock(&x->lock);
    return -1;
}

/* ---- the reader ---- */

mert_ahead *mert_ahead_new(int64_t n, char *(*path_of)(void *self, int64_t i), void *self, const mert_audio_settings *s,
                           int threads, mert_error *e)
{
    mert_ahead *x = calloc(1, sizeof *x);
    if (x) {
        x->room = threads > 1 ? threads + 1 : 1;
        x->items = mert_array_zeroed(x->room, sizeof *x->items);
    }
    if (!x || !x->items) {
        free(x);
        mert_fail(e, "out of memory");
        return NULL;
    }
    x->n = n;
    x->users = 1;
    x->path_of = path_of;
    x->self = self;
    x->settings = *s;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->changed, NULL);
    /* One item has work for at most two threads. If a thread cannot be created, fewer are used. */
    for (int t = 0; threads > 1 && t < threads && t < 2 * n && !start_thread(x); t++)
        ;
    return x;
}

void mert_ahead_free(mert_ahead *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->stop = 1;
    pthread_cond_broadcast(&x->changed);
    leave(x);
}

/* Waits until `there` is true for the first item, and does its steps if no thread does. It does not work on other
 * items: another one may be a pipe that sends nothing before the first is read. Called with the lock held. */
static item *wait_for(mert_ahead *x, int (*there)(const item *))
{
    for (;;) {
        item *i = &x->items[x->first], *of;
        step s;
        if (x->count && there(i))
            return i;
        s = choose(x, 1, &of);
        if (s != NOTHING)
            perform(x, s, of);
        else
            pthread_cond_wait(&x->changed, &x->lock);
    }
}

static int is_opened(const item *i) { return i->opened; }
static int is_ready(const item *i) { return i->ready.n > 0; }
static int is_still(const item *i) { return !i->opening && !i->decoding && !i->resampling; }

const mert_audio *mert_ahead_open(mert_ahead *x, mert_error *e)
{
    item *i;
    pthread_mutex_lock(&x->lock);
    i = wait_for(x, is_opened);
    pthread_mutex_unlock(&x->lock);
    if (i->failed)
        mert_fail(e, "%s", i->why.text);
    return i->audio;
}

int64_t mert_ahead_read(mert_ahead *x, const float **samples, mert_error *e)
{
    const mert_audio_piece *p = NULL;
    item *i = &x->items[x->first];
    pthread_mutex_lock(&x->lock);
    while (!p || (p->how == MERT_PIECE_MORE && !p->samples.n)) {
        if (x->looked_at && i->ready.n == 1 && i->all_ready) { /* the end, returned before */
            pthread_mutex_unlock(&x->lock);
            return 0;
        }
        if (x->looked_at) {
            queue_drop(&i->ready);
            pthread_cond_broadcast(&x->changed);
        }
        wait_for(x, is_ready);
        p = &i->ready.piece[i->ready.first];
        x->looked_at = 1;
    }
    pthread_mutex_unlock(&x->lock);
    *samples = p->samples.data;
    return p->how == MERT_PIECE_FAULT ? mert_fail(e, "%s", p->why.text) : p->samples.n;
}

void mert_ahead_close(mert_ahead *x)
{
    item *i;
    pthread_mutex_lock(&x->lock);
    x->abandoned = 1;
    i = wait_for(x, is_still);
    pthread_mutex_unlock(&x->lock);
    forget(i);
    pthread_mutex_lock(&x->lock);
    x->abandoned = x->looked_at = 0;
    x->first = (x->first + 1) % x->room;
    x->count--;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
}
