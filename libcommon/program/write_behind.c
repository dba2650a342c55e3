#include "libcommon/program/write_behind.h"

#include "libcommon/base/integer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The most calls in the queue, and the most bytes of frames in them. GATHER: frames are passed on in blocks of about
 * this size, that of the writer's chunks, so that the writer need not copy them. */
enum { SLOTS = 16, BYTES = 4 << 20, GATHER = 1 << 20 };

enum call { RECORD, FRAMES, END, FAILED };

typedef struct failure {
    int64_t row;
    char key[MTS_KEY_MAX], stage[MTS_STAGE_MAX], reason[MTS_REASON_MAX];
} failure;

/* Memory for frames. Unused buffers are a stack, so that the same few are used and stay in the cache. */
typedef struct buffer {
    struct buffer *below;
    size_t room;
    unsigned char data[];
} buffer;

typedef struct slot {
    enum call call;
    void *said;            /* RECORD: mts_record; FAILED: the failure */
    buffer *data;          /* FRAMES */
    size_t size;
    int64_t frames;
} slot;

struct mert_write_behind {
    mts_writer *writer;
    int threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t some, space;
    slot slots[SLOTS];
    buffer *unused;
    int first, n;          /* the queue: slots[first] .. slots[first + n - 1], modulo SLOTS; the caller fills the next
                              one */
    size_t bytes;
    int closing, broken;   /* broken: a call failed; the thread ignores further calls */
    int filling;           /* the caller is collecting frames in its slot */
    size_t step;           /* of the open record */
    const char *error;     /* an error in the caller's thread */
};

/* ---- the thread ---- */

static int perform(mts_writer *w, const slot *s)
{
    const failure *f = s->said;
    switch (s->call) {
    case RECORD: return mts_write_record(w, s->said);
    case FRAMES: return mts_write_frames(w, s->data->data, s->frames);
    case END: return mts_write_record_end(w);
    case FAILED: return mts_write_failed(w, f->key, f->row, f->stage, f->reason);
    }
    return -1;
}

static void *write_main(void *p)
{
    mert_write_behind *w = p;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        slot *s = &w->slots[w->first];
        int bad;
        while (!w->n && !w->closing)
            pthread_cond_wait(&w->some, &w->lock);
        if (!w->n)
            break;
        bad = w->broken;
        pthread_mutex_unlock(&w->lock);
        bad = bad || perform(w->writer, s) < 0;
        free(s->said);
        s->said = NULL;
        pthread_mutex_lock(&w->lock);
        w->broken |= bad;
        w->bytes -= s->size;
        s->size = 0;
        if (s->data) {
            s->data->below = w->unused;
            w->unused = s->data;
            s->data = NULL;
        }
        w->first = (w->first + 1) % SLOTS;
        w->n--;
        pthread_cond_signal(&w->space);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the caller ---- */

mert_write_behind *mert_write_behind_open(FILE *f, const char *name, const mts_begin *begin, int level, int threaded)
{
    mert_write_behind *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->writer = mts_writer_open(f, name, begin, level);
    if (!w->writer) {
        free(w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->some, NULL);
    pthread_cond_init(&w->space, NULL);
    /* Without a thread if it cannot be created. */
    w->threaded = threaded && !*mts_writer_error(w->writer) && !pthread_create(&w->thread, NULL, write_main, w);
    return w;
}

/* Waits for the next slot to fill; NULL: a call failed. */
static slot *next_slot(mert_write_behind *w)
{
    slot *s;
    pthread_mutex_lock(&w->lock);
    while ((w->n == SLOTS || w->bytes >= BYTES) && !w->broken)
        pthread_cond_wait(&w->space, &w->lock);
    s = w->broken ? NULL : &w->slots[(w->first + w->n) % SLOTS];
    pthread_mutex_unlock(&w->lock);
    return s;
}

static void hand_over(mert_write_behind *w, slot *s)
{
    pthread_mutex_lock(&w->lock);
    w->n++;
    w->bytes += s->size;
    pthread_cond_signal(&w->some);
    pthread_mutex_unlock(&w->lock);
}

static int hand_over_frames(mert_write_behind *w)
{
    slot *s;
    if (!w->filling)
        return 0;
    w->filling = 0;
    if (!(s = next_slot(w)))
        return -1;
    hand_over(w, s);
    return 0;
}

static int out_of_memory(mert_write_behind *w)
{
    w->error = "out of memory";
    return -1;
}

static int call(mert_write_behind *w, enum call which, const void *said, size_t size)
{
    slot *s;
    if (w->error || hand_over_frames(w) || !(s = next_slot(w)))
        return -1;
    s->call = which;
    if (size && !(s->said = malloc(size)))
        return out_of_memory(w);
    if (size)
        memcpy(s->said, said, size);
    hand_over(w, s);
    return 0;
}

int mert_write_behind_record(mert_write_behind *w, const mts_record *r)
{
    if (!w->threaded)
        return mts_write_record(w->writer, r);
    w->step = mts_record_step(r);
    return call(w, RECORD, r, sizeof *r);
}

/* A slot for up to `most` frames. */
static int begin_frames(mert_write_behind *w, slot *s, int64_t most)
{
    size_t size = (size_t)most * w->step;
    buffer *b;
    pthread_mutex_lock(&w->lock);
    b = w->unused;
    w->unused = b ? b->below : NULL;
    pthread_mutex_unlock(&w->lock);
    if (!b || b->room < size) {
        free(b);
        if (!(b = malloc(sizeof *b + size)))
            return out_of_memory(w);
        b->room = size;
    }
    s->call = FRAMES;
    s->data = b;
    s->frames = 0;
    w->filling = 1;
    return 0;
}

int mert_write_behind_frames(mert_write_behind *w, const void *data, int64_t frames)
{
    const unsigned char *from = data;
    int64_t most = w->step && w->step < GATHER ? GATHER / (int64_t)w->step : 1;
    if (!w->threaded)
        return mts_write_frames(w->writer, data, frames);
    while (frames > 0) {
        slot *s = next_slot(w);
        int64_t n;
        if (!s || w->error || (!w->filling && begin_frames(w, s, most)))
            return -1;
        n = mert_smaller(most - s->frames, frames);
        memcpy(s->data->data + (size_t)s->frames * w->step, from, (size_t)n * w->step);
        s->frames += n;
        s->size = (size_t)s->frames * w->step;
        from += (size_t)n * w->step;
        frames -= n;
        if (s->frames == most && hand_over_frames(w))
            return -1;
    }
    return 0;
}

int mert_write_behind_end(mert_write_behind *w)
{
    return w->threaded ? call(w, END, NULL, 0) : mts_write_record_end(w->writer);
}

int mert_write_behind_failed(mert_write_behind *w, const char *key, int64_t row, const char *stage, const char *reason)
{
    failure f = {.row = row};
    if (!w->threaded)
        return mts_write_failed(w->writer, key, row, stage, reason);
    snprintf(f.key, sizeof f.key, "%s", key);
    snprintf(f.stage, sizeof f.stage, "%s", stage);
    snprintf(f.reason, sizeof f.reason, "%s", reason);
    return call(w, FAILED, &f, sizeof f);
}

int mert_write_behind_close(mert_write_behind *w, int ok, char *error, size_t size)
{
    int bad;
    if (!w)
        return 0;
    if (w->threaded) {
        pthread_mutex_lock(&w->lock);
        w->closing = 1;
        pthread_cond_signal(&w->some);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(w->slots[i].said);
        free(w->slots[i].data);
    }
    for (buffer *b = w->unused, *below; b; b = below) {
        below = b->below;
        free(b);
    }
    bad = mts_writer_close(w->writer, ok && !w->error, error, size);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->some);
    pthread_cond_destroy(&w->space);
    free(w);
    return bad;
}

const char *mert_write_behind_error(const mert_write_behind *w)
{
    return w->error ? w->error : mts_writer_error(w->writer);
}

int mert_write_behind_pipe_closed(const mert_write_behind *w)
{
    return !w->error && mts_writer_pipe_closed(w->writer);
}
