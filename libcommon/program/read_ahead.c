#define _GNU_SOURCE
#include "libcommon/program/read_ahead.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The most events in the queue, and the number of data bytes in it at which reading pauses. */
enum { SLOTS = 16, BYTES = 4 << 20 };

/* Memory for a chunk's data: taken from the reader in exchange for an unused buffer. Unused buffers are a stack, so
 * that the same few are used and stay in the cache. */
typedef struct buffer {
    void *data;
    size_t room;
} buffer;

typedef struct slot {
    int type;
    void *said;           /* an mts_begin, mts_record, mts_failure or text, by the type */
    buffer data;
    size_t size;
    int64_t frames;
} slot;

struct mert_read_ahead {
    mts_reader *reader;
    mert_event event;     /* the event that the caller sees */
    slot *now;            /* its slot; NULL: without a thread */
    mts_record *record;   /* of the next chunks */
    int threaded;
    pthread_t thread;
    FILE *file;           /* the thread's FILE, which reads the caller's file by `take` */
    int fd, wake[2];      /* wake[1] is closed to stop the thread */
    pthread_mutex_t lock;
    pthread_cond_t some, space;
    slot slots[SLOTS];
    buffer unused[SLOTS];
    int spare;            /* number of unused buffers */
    int first, n;         /* the queue: slots[first] .. slots[first + n - 1], modulo SLOTS */
    int stop;             /* the thread must stop */
    size_t bytes;
};

static void describe(mert_event *to, int type, const mts_reader *r)
{
    *to = (mert_event){.type = type};
    switch (type) {
    case MTS_BEGIN: to->begin = mts_reader_begin(r); break;
    case MTS_CHUNK:
        to->data = mts_reader_data(r);
        to->frames = mts_reader_frames(r);
        to->record = mts_reader_record(r);
        break;
    case MTS_RECORD:
    case MTS_RECORD_END: to->record = mts_reader_record(r); break;
    case MTS_FAILED:
    case MTS_DAMAGE: to->failure = mts_reader_failure(r); break;
    case MTS_ERROR: to->error = mts_reader_error(r); break;
    default: break;
    }
}

/* ---- the thread ---- */

/* read(2) that also returns when the thread must stop, because a pipe may never send more. */
static ssize_t take(void *cookie, char *to, size_t size)
{
    mert_read_ahead *r = cookie;
    struct pollfd of[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = r->wake[0], .events = POLLIN}};
    ssize_t n;
    do {
        while (poll(of, 2, -1) < 0)
            if (errno != EINTR)
                return -1;
        if (of[1].revents) {
            errno = ECANCELED;
            return -1;
        }
        n = read(r->fd, to, size);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    return n;
}

static void take_data(mert_read_ahead *r, slot *s)
{
    buffer b = {NULL, 0};
    pthread_mutex_lock(&r->lock);
    if (r->spare)
        b = r->unused[--r->spare];
    pthread_mutex_unlock(&r->lock);
    b.data = mts_reader_take(r->reader, b.data, &b.room);
    s->data = b;
}

static int copy_said(slot *s, const void *from, size_t size)
{
    s->said = malloc(size);
    if (!s->said)
        return -1;
    memcpy(s->said, from, size);
    return 0;
}

/* Out of memory, the event becomes an error without a text. */
static void fill(mert_read_ahead *r, slot *s, const mert_event *from)
{
    int bad = 0;
    s->type = from->type;
    s->frames = from->frames;
    s->size = 0;
    if (from->begin)
        bad = copy_said(s, from->begin, sizeof *from->begin);
    else if (from->failure)
        bad = copy_said(s, from->failure, sizeof *from->failure);
    else if (from->error)
        bad = copy_said(s, from->error, strlen(from->error) + 1);
    else if (from->type == MTS_CHUNK) {
        s->size = (size_t)from->frames * mts_record_step(from->record);
        take_data(r, s);
    } else if (from->record)
        bad = copy_said(s, from->record, sizeof *from->record);
    if (bad)
        s->type = MTS_ERROR;
}

static void *read_main(void *p)
{
    mert_read_ahead *r = p;
    mert_event event;
    for (int type = MTS_BEGIN, stop; type != MTS_EOF && type != MTS_ERROR;) {
        slot *s;
        pthread_mutex_lock(&r->lock);
        while ((r->n == SLOTS - 1 || r->bytes >= BYTES) && !r->stop)
            pthread_cond_wait(&r->space, &r->lock);
        s = &r->slots[(r->first + r->n) % SLOTS];
        stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        if (stop)
            break;
        describe(&event, mts_next(r->reader), r->reader);
        fill(r, s, &event);
        type = s->type;
        pthread_mutex_lock(&r->lock);
        r->n++;
        r->bytes += s->size;
        pthread_cond_signal(&r->some);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

/* ---- the caller ---- */

static void give_up_file(mert_read_ahead *r)
{
    if (r->file)
        fclose(r->file);
    for (int i = 0; i < 2; i++)
        if (r->wake[i] >= 0)
            close(r->wake[i]);
}

/* Only reads of regular files never wait. */
static int may_wait(int fd)
{
    struct stat st;
    return fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode));
}

mert_read_ahead *mert_read_ahead_open(FILE *f, const char *name, int threaded)
{
    mert_read_ahead *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->fd = fileno(f);
    r->wake[0] = r->wake[1] = -1;
    if (threaded && may_wait(r->fd) && !pipe(r->wake)) {
        r->file = fopencookie(r, "rb", (cookie_io_functions_t){.read = take});
        if (r->file)
            setvbuf(r->file, NULL, _IOFBF, 1 << 16);
    }
    r->reader = mts_reader_open(r->file ? r->file : f, name);
    if (!r->reader) {
        give_up_file(r);
        free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->some, NULL);
    pthread_cond_init(&r->space, NULL);
    /* Without a thread if it cannot be created. */
    r->threaded = threaded && !pthread_create(&r->thread, NULL, read_main, r);
    return r;
}

/* Frees the slot of the event that the caller has seen. */
static void give_back(mert_read_ahead *r)
{
    slot *s = r->now;
    if (!s)
        return;
    free(s->said);
    s->said = NULL;
    pthread_mutex_lock(&r->lock);
    r->first = (r->first + 1) % SLOTS;
    r->n--;
    r->bytes -= s->size;
    if (s->data.data)
        r->unused[r->spare++] = s->data;
    s->data = (buffer){NULL, 0};
    pthread_cond_signal(&r->space);
    pthread_mutex_unlock(&r->lock);
    r->now = NULL;
}

const mert_event *mert_read_ahead_next(mert_read_ahead *r)
{
    mert_event *event = &r->event;
    slot *s;
    if (!r->threaded) {
        describe(event, mts_next(r->reader), r->reader);
        return event;
    }
    if (r->now && (r->now->type == MTS_EOF || r->now->type == MTS_ERROR))
        return event;
    give_back(r);
    pthread_mutex_lock(&r->lock);
    while (!r->n)
        pthread_cond_wait(&r->some, &r->lock);
    s = r->now = &r->slots[r->first];
    pthread_mutex_unlock(&r->lock);
    *event = (mert_event){.type = s->type};
    switch (s->type) {
    case MTS_BEGIN: event->begin = s->said; break;
    case MTS_FAILED:
    case MTS_DAMAGE: event->failure = s->said; break;
    case MTS_ERROR: event->error = s->said ? s->said : "out of memory"; break;
    case MTS_RECORD:
    case MTS_RECORD_END:
        free(r->record);
        r->record = s->said;
        s->said = NULL;
        event->record = r->record;
        break;
    case MTS_CHUNK:
        event->record = r->record;
        event->data = s->data.data;
        event->frames = s->frames;
        break;
    default: break;
    }
    return event;
}

void mert_read_ahead_close(mert_read_ahead *r)
{
    if (!r)
        return;
    if (r->threaded) {
        pthread_mutex_lock(&r->lock);
        r->stop = 1;
        pthread_cond_signal(&r->space);
        pthread_mutex_unlock(&r->lock);
        mts_reader_stop(r->reader);
        if (r->wake[1] >= 0)
            close(r->wake[1]);
        r->wake[1] = -1;
        pthread_join(r->thread, NULL);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(r->slots[i].said);
        free(r->slots[i].data.data);
    }
    while (r->spare)
        free(r->unused[--r->spare].data);
    free(r->record);
    mts_reader_close(r->reader);
    give_up_file(r);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->some);
    pthread_cond_destroy(&r->space);
    free(r);
}
