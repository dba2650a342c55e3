/* The CUDA backend of ops.h: a queue on one stream. Uploads and downloads go through pinned memory, so the caller does
 * not wait for them: when upload() returns, the caller's buffer may be changed, and a download is complete after
 * wait(). */
#include "device.h"
#include "exchange.h"
#include "random.h"
#include "times.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MERT_CUDA_NAME
#define MERT_CUDA_NAME "cuda"
#endif

enum { SLOTS = 4, DOWNLOADS = 256, MARKS = 64 };
enum : size_t { SLOT_BYTES = (size_t)4 << 20, DOWN_BYTES = (size_t)4 << 20, ALIGNED = 256 };

/* A download that is not in the caller's memory yet. */
struct download {
    void *host;
    size_t at, bytes; /* in pinned memory; at: of all that was ever downloaded */
};

/* A place in the queue: the event that is recorded there, and how many downloads and exchanges were queued before. */
struct mark {
    cudaEvent_t event;
    int64_t number, downloads, exchanges;
};

struct device {
    mert_ops ops;
    int number;
    char name[300];
    pthread_mutex_t lock;
    cudaStream_t stream;
    blas *products;
    char *work; /* scratch of one operation */
    size_t work_bytes;
    char *up; /* pinned [SLOTS][SLOT_BYTES]: uploads fill one slot after the other */
    cudaEvent_t left[SLOTS]; /* all that the slot held is on the device */
    int slot;
    size_t slot_used;
    char *down; /* pinned [DOWN_BYTES], a ring: byte number i stands at i % DOWN_BYTES */
    size_t down_used, down_free; /* bytes ever queued, and handed over */
    download downloads[DOWNLOADS]; /* a ring as well */
    int64_t queued, handed;        /* downloads ever */
    mark marks[MARKS];             /* the last; number n stands at n % MARKS */
    int64_t last_mark;
    cudaStream_t ahead; /* uploads ahead of the queue */
    cudaEvent_t arrived;
    peers *others;   /* the exchange with other processes; NULL: none */
    cudaEvent_t here; /* of waits, while `others` are watched */
    times *timing;   /* NULL: not wanted */
    cudaDeviceProp about;
    char failure[800]; /* "": none */
    int lost;          /* the device takes no more work from this process */
};

cudaStream_t stream_of(device *d) { return d->stream; }
blas *blas_of(device *d) { return d->products; }

/* ---- failures ---- */

void failed(device *d, const char *what)
{
    cudaError_t e = cudaGetLastError();
    if (!*d->failure)
        snprintf(d->failure, sizeof d->failure, "device %s: %s failed%s%s", d->name, what, e ? ": " : "",
                 e ? cudaGetErrorString(e) : "");
}

/* Notes an error of a call of the runtime. An error that the runtime repeats means that the device is lost. */
static int check(device *d, cudaError_t e, const char *what)
{
    if (!e)
        return 0;
    if (!*d->failure)
        snprintf(d->failure, sizeof d->failure, "device %s: %s: %s", d->name, what, cudaGetErrorString(e));
    cudaGetLastError();
    d->lost = d->lost || cudaStreamSynchronize(d->stream) != cudaSuccess;
    return -1;
}

/* ---- waiting ---- */

static const char left_an_error[] =
    "an operation since the last wait left an error (CUDA_LAUNCH_BLOCKING=1 finds which)";

/* Other processes are lost: what was queued will not complete. */
static int alone(device *d, const mert_error *why)
{
    if (!*d->failure)
        snprintf(d->failure, sizeof d->failure, "device %s: %.450s", d->name, why->text);
    d->lost = 1;
    return -1;
}

/* Waits for the event, and for this exchange. */
static int reach(device *d, cudaEvent_t event, int64_t exchange, const char *what)
{
    mert_error why;
    cudaError_t bad = cudaSuccess;
    if (!d->others)
        return check(d, cudaEventSynchronize(event), what);
    if (peers_await(d->others, exchange, &bad, &why) || (!bad && peers_await_event(d->others, event, &bad, &why)))
        return alone(d, &why);
    return check(d, bad, what);
}

/* Waits until all that is on the stream has run. */
static int rest(device *d, int64_t exchange, const char *what)
{
    if (!d->others)
        return check(d, cudaStreamSynchronize(d->stream), what);
    return check(d, cudaEventRecord(d->here, d->stream), what) ? -1 : reach(d, d->here, exchange, what);
}

/* ---- memory ---- */

void *scratch(device *d, size_t bytes)
{
    if (bytes <= d->work_bytes && d->work)
        return d->work;
    bytes = (bytes + ALIGNED - 1) / ALIGNED * ALIGNED + ALIGNED;
    rest(d, 0, "an operation");
    cudaFree(d->work);
    d->work_bytes = 0;
    if (cudaMalloc(&d->work, bytes)) {
        cudaGetLastError();
        d->work = NULL;
        if (!*d->failure)
            snprintf(d->failure, sizeof d->failure,
                     "device %s: out of memory: an operation has no room for %zu bytes to work in", d->name, bytes);
        return NULL;
    }
    d->work_bytes = bytes;
    return d->work;
}

/* Copies the first `upto` downloads, which have run, to the callers' memory. -1: the queue has failed. */
static int hand_over(device *d, int64_t upto)
{
    for (; d->handed < upto; d->handed++) {
        const download *next = &d->downloads[d->handed % DOWNLOADS];
        if (!*d->failure)
            memcpy(next->host, d->down + next->at % DOWN_BYTES, next->bytes);
        d->down_free = d->handed + 1 < d->queued ? d->downloads[(d->handed + 1) % DOWNLOADS].at : d->down_used;
    }
    return *d->failure ? -1 : 0;
}

/* Waits for everything, and copies all downloads to the callers' memory. -1: the queue has failed. */
static int settle(device *d)
{
    rest(d, peers_queued(d->others), left_an_error);
    return hand_over(d, d->queued);
}

static void take(device *d)
{
    pthread_mutex_lock(&d->lock);
    cudaSetDevice(d->number);
}

static void leave(device *d) { pthread_mutex_unlock(&d->lock); }

/* If the device is lost, returns an address that nothing uses: the message must not be that memory is missing, and the
 * next wait reports the loss. */
static void *cuda_alloc(mert_ops *o, size_t bytes)
{
    device *d = (device *)o;
    void *p = NULL;
    cudaError_t bad;
    take(d);
    bad = cudaMalloc(&p, bytes ? bytes : 1);
    if (bad) {
        p = NULL;
        if (bad != cudaErrorMemoryAllocation)
            check(d, bad, "an operation before");
        cudaGetLastError();
    }
    if (d->lost)
        p = d->down;
    leave(d);
    return p;
}

static void cuda_release(mert_ops *o, void *p)
{
    device *d = (device *)o;
    if (!p)
        return;
    take(d);
    settle(d);
    if (!d->lost)
        cudaFree(p);
    leave(d);
}

/* ---- copies ---- */

/* The next piece of pinned memory, for at most *bytes; its former contents are on the device. */
static char *upload_room(device *d, size_t *bytes)
{
    char *p;
    if (d->slot_used == SLOT_BYTES) {
        check(d, cudaEventRecord(d->left[d->slot], d->stream), "an upload");
        d->slot = (d->slot + 1) % SLOTS;
        d->slot_used = 0;
        reach(d, d->left[d->slot], 0, "an upload");
    }
    p = d->up + (size_t)d->slot * SLOT_BYTES + d->slot_used;
    if (*bytes > SLOT_BYTES - d->slot_used)
        *bytes = SLOT_BYTES - d->slot_used;
    d->slot_used += (*bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    return p;
}

static void cuda_upload(mert_ops *o, void *to, const void *host, size_t bytes)
{
    device *d = (device *)o;
    take(d);
    for (size_t done = 0, n; done < bytes && !*d->failure; done += n) {
        char *p;
        n = bytes - done;
        p = upload_room(d, &n);
        memcpy(p, (const char *)host + done, n);
        check(d, cudaMemcpyAsync((char *)to + done, p, n, cudaMemcpyHostToDevice, d->stream), "an upload");
    }
    leave(d);
}

static void cuda_download(mert_ops *o, void *host, const void *from, size_t bytes)
{
    device *d = (device *)o;
    take(d);
    for (size_t done = 0, n; done < bytes && !*d->failure; done += n) {
        size_t at, room;
        if (d->queued - d->handed == DOWNLOADS || d->down_used - d->down_free == DOWN_BYTES)
            settle(d);
        at = d->down_used % DOWN_BYTES;
        room = DOWN_BYTES - (d->down_used - d->down_free);
        room = room < DOWN_BYTES - at ? room : DOWN_BYTES - at;
        n = bytes - done < room ? bytes - done : room;
        d->downloads[d->queued++ % DOWNLOADS] = {(char *)host + done, d->down_used, n};
        d->down_used += (n + ALIGNED - 1) / ALIGNED * ALIGNED;
        check(d, cudaMemcpyAsync(d->down + at, (const char *)from + done, n, cudaMemcpyDeviceToHost, d->stream),
              "a download");
    }
    leave(d);
}

/* The queue waits for it, so a wait for the queue includes it. */
static void cuda_upload_ahead(mert_ops *o, void *to, const void *host, size_t bytes)
{
    device *d = (device *)o;
    take(d);
    if (bytes && !*d->failure) {
        check(d, cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, d->ahead), "an upload");
        check(d, cudaEventRecord(d->arrived, d->ahead), "an upload");
        check(d, cudaStreamWaitEvent(d->stream, d->arrived, 0), "an upload");
    }
    leave(d);
}

/* Any thread may call these while another one waits: they need no lock. */
static void *cuda_pin(mert_ops *o, size_t bytes)
{
    char *p = NULL;
    if (cudaSetDevice(((device *)o)->number) || cudaHostAlloc(&p, bytes ? bytes : 1, cudaHostAllocDefault)) {
        cudaGetLastError();
        return NULL;
    }
    return p;
}

static void cuda_unpin(mert_ops *o, void *pinned)
{
    cudaSetDevice(((device *)o)->number);
    cudaFreeHost(pinned);
}

static const void *cuda_share(mert_ops *o, const void *host, size_t bytes)
{
    void *p = cuda_alloc(o, bytes);
    if (p)
        cuda_upload(o, p, host, bytes);
    return p;
}

static void cuda_unshare(mert_ops *o, const void *shared) { cuda_release(o, (void *)(uintptr_t)shared); }

/* ---- the queue ---- */

static int cuda_wait(mert_ops *o, mert_error *e)
{
    device *d = (device *)o;
    int bad;
    take(d);
    bad = settle(d);
    if (bad && e)
        snprintf(e->text, sizeof e->text, "%s", d->failure);
    leave(d);
    return bad;
}

static int64_t cuda_mark(mert_ops *o)
{
    device *d = (device *)o;
    mark *m;
    take(d);
    m = &d->marks[++d->last_mark % MARKS];
    m->number = d->last_mark;
    m->downloads = d->queued;
    m->exchanges = peers_queued(d->others);
    check(d, cudaEventRecord(m->event, d->stream), "a mark");
    leave(d);
    return m->number;
}

/* If a later mark has taken the place of this one, waits for the later one. */
static int cuda_wait_mark(mert_ops *o, int64_t number, mert_error *e)
{
    device *d = (device *)o;
    const mark *m = &d->marks[number % MARKS];
    int bad;
    take(d);
    reach(d, m->event, m->exchanges, left_an_error);
    bad = hand_over(d, m->downloads);
    if (bad && e)
        snprintf(e->text, sizeof e->text, "%s", d->failure);
    leave(d);
    return bad;
}

static int cuda_renew(mert_ops *o, mert_error *e)
{
    device *d = (device *)o;
    take(d);
    settle(d);
    if (d->lost && e)
        snprintf(e->text, sizeof e->text, "%s: the device takes no more work from this process", d->failure);
    if (!d->lost)
        *d->failure = 0;
    leave(d);
    return d->lost ? -1 : 0;
}

/* ---- other processes ---- */

static int cuda_join(mert_ops *o, const mert_peers *with, mert_error *e)
{
    device *d = (device *)o;
    mert_error why;
    int bad;
    take(d);
    times_close(d->timing, d->name); /* a process must not wait for others while it writes times */
    d->timing = NULL;
    bad = peers_join(&d->others, with, d->number, &d->about, &why);
    if (bad && e)
        snprintf(e->text, sizeof e->text, "device %s: %.700s", d->name, why.text);
    leave(d);
    return bad;
}

static int64_t cuda_exchange(mert_ops *o, mert_exchange_what what, float *data, int64_t n, int64_t each)
{
    device *d = (device *)o;
    mert_error why;
    int64_t number;
    take(d);
    if (!*d->failure && peers_exchange(d->others, d->stream, what, data, n, each, &why))
        alone(d, &why);
    number = peers_queued(d->others);
    leave(d);
    return number;
}

static void cuda_finish(mert_ops *o, int64_t number)
{
    device *d = (device *)o;
    take(d);
    if (!*d->failure)
        check(d, peers_finish(d->others, d->stream, number), "an exchange");
    leave(d);
}

/* ---- operations ---- */

static const operations *table[MERT_OPS_COUNT];

static void fill_table(void)
{
    const operations *const files[] = {memory_operations,   elementwise_operations, norm_operations,
                                       product_operations,  position_operations,    attention_operations,
                                       loss_operations,     update_operations,      conformer_operations,
                                       extractor_operations, corrupt_operations,     codec_operations,
                                       cqt_operations};
    for (const operations *file : files)
        for (const operations *o = file; o->op != MERT_OPS_COUNT; o++)
            table[o->op] = o;
}

static void cuda_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    device *d = (device *)o;
    (void)size;
    take(d);
    if (*d->failure) {
        leave(d);
        return;
    }
    if (!table[op] || !table[op]->of[o->type]) {
        snprintf(d->failure, sizeof d->failure, "device %s has no operation of number %d", d->name, (int)op);
    } else {
        times_begin(d->timing, op, table[op]->name, d->stream);
        table[op]->of[o->type](d, args);
        times_end(d->timing, d->stream);
        check(d, cudaPeekAtLastError(), table[op]->name);
    }
    leave(d);
}

/* Products read weights without packing. */
static size_t cuda_packed_bytes(const mert_ops *, int64_t, int64_t, int64_t, mert_packing) { return 0; }
static int64_t cuda_rows_at_once(const mert_ops *, mert_block) { return INT64_MAX; }

dropout make_dropout(const mert_dropout_key *key, double p)
{
    mert_random r = mert_random_key(key->seed, MERT_FOR_DROPOUT, key->place, 0, key->site);
    dropout d = {{r.key[0], r.key[1]}, r.counter[0], r.counter[2], (uint32_t)(p * 4294967296.0),
                 (float)(1.0 / (1.0 - p))};
    return d;
}

/* ---- opening and closing ---- */

static void cuda_close(mert_ops *o)
{
    device *d = (device *)o;
    take(d);
    if (d->stream)
        settle(d);
    times_close(d->timing, d->name);
    peers_leave(d->others);
    if (d->products)
        blas_close(d->products);
    cudaFree(d->work);
    cudaFreeHost(d->up);
    cudaFreeHost(d->down);
    for (int i = 0; i < SLOTS; i++)
        if (d->left[i])
            cudaEventDestroy(d->left[i]);
    for (int i = 0; i < MARKS; i++)
        if (d->marks[i].event)
            cudaEventDestroy(d->marks[i].event);
    if (d->arrived)
        cudaEventDestroy(d->arrived);
    if (d->here)
        cudaEventDestroy(d->here);
    if (d->ahead)
        cudaStreamDestroy(d->ahead);
    if (d->stream)
        cudaStreamDestroy(d->stream);
    leave(d);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* 0, or -1 with the reason in e. */
static int find_device(int number, cudaDeviceProp *about, mert_error *e)
{
    int count = 0;
    cudaError_t bad = cudaGetDeviceCount(&count);
    if (bad)
        snprintf(e->text, sizeof e->text, "no %s: %s",
                 bad == cudaErrorNoDevice ? "device is found" : "driver that can be used", cudaGetErrorString(bad));
    else if (number >= count)
        snprintf(e->text, sizeof e->text, "there is no device %d: there are 0 to %d", number, count - 1);
    else if ((bad = cudaSetDevice(number)) || (bad = cudaGetDeviceProperties(about, number)))
        snprintf(e->text, sizeof e->text, "device %d cannot be used: %s", number, cudaGetErrorString(bad));
    else
        return 0;
    return -1;
}

static int make(device *d, mert_error *e)
{
    cudaError_t bad = cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking);
    if (!bad)
        bad = cudaStreamCreateWithFlags(&d->ahead, cudaStreamNonBlocking);
    if (!bad)
        bad = cudaEventCreateWithFlags(&d->arrived, cudaEventDisableTiming);
    if (!bad)
        bad = cudaEventCreateWithFlags(&d->here, cudaEventDisableTiming);
    for (int i = 0; i < SLOTS && !bad; i++)
        bad = cudaEventCreateWithFlags(&d->left[i], cudaEventDisableTiming);
    for (int i = 0; i < MARKS && !bad; i++)
        bad = cudaEventCreateWithFlags(&d->marks[i].event, cudaEventDisableTiming);
    if (bad || (bad = cudaHostAlloc(&d->up, SLOTS * SLOT_BYTES, cudaHostAllocDefault)) ||
        (bad = cudaHostAlloc(&d->down, DOWN_BYTES, cudaHostAllocDefault))) {
        snprintf(e->text, sizeof e->text, "%s cannot be used: %s", d->name, cudaGetErrorString(bad));
        return -1;
    }
    d->timing = times_open();
    return (d->products = blas_open(e)) ? 0 : -1;
}

extern "C" __attribute__((visibility("default"))) mert_device_plugin mert_device_open;

mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e)
{
    mert_error unused;
    cudaDeviceProp about;
    device *d;
    e = e ? e : &unused;
    if (version != MERT_OPS_VERSION) {
        snprintf(e->text, sizeof e->text, "the plugin is of another version of mert (%d, wanted is %d)",
                 MERT_OPS_VERSION, version);
        return NULL;
    }
    if (find_device(number, &about, e))
        return NULL;
    if (!(d = (device *)calloc(1, sizeof *d))) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return NULL;
    }
    fill_table();
    d->about = about;
    pthread_mutex_init(&d->lock, NULL);
    d->number = number;
    snprintf(d->name, sizeof d->name, "%s:%d (%s)", MERT_CUDA_NAME, number, about.name);
    d->ops.name = MERT_CUDA_NAME;
    d->ops.type = type;
    d->ops.device = d->name;
    d->ops.memory = (int64_t)about.totalGlobalMem;
    d->ops.cqt = 1;
    d->ops.packed_bytes = cuda_packed_bytes;
    d->ops.rows_at_once = cuda_rows_at_once;
    d->ops.alloc = cuda_alloc;
    d->ops.release = cuda_release;
    d->ops.upload = cuda_upload;
    d->ops.download = cuda_download;
    d->ops.mark = cuda_mark;
    d->ops.wait_mark = cuda_wait_mark;
    d->ops.pin = cuda_pin;
    d->ops.unpin = cuda_unpin;
    d->ops.upload_ahead = cuda_upload_ahead;
    d->ops.share = cuda_share;
    d->ops.unshare = cuda_unshare;
    d->ops.wait = cuda_wait;
    d->ops.renew = cuda_renew;
    d->ops.run = cuda_run;
    d->ops.join = cuda_join;
    d->ops.exchange = cuda_exchange;
    d->ops.finish = cuda_finish;
    d->ops.close = cuda_close;
    if (make(d, e)) {
        cuda_close(&d->ops);
        return NULL;
    }
    return &d->ops;
}
