#include "exchange.h"
#include "comm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECENT = 256 };

/* The events of exchange number n stand at n % RECENT. Where a later one has taken the place, that one is waited
 * for. */
struct peers {
    mert_peers with;
    const comm_library *library;
    comm *c; /* NULL: ended */
    cudaStream_t stream;
    cudaEvent_t before;        /* what an exchange waits for */
    cudaEvent_t begun[RECENT]; /* it runs, and waits only for the others */
    cudaEvent_t done[RECENT];
    int64_t queued, finished; /* exchanges */
    double running;           /* when exchange finished + 1 was first seen running; 0: it was not */
    double quiet;             /* since when another process is to print the message; 0: none is */
    mert_error why;           /* c is ended */
    int device;
    double looked;            /* when the others were last checked */
    pthread_mutex_t lock;     /* of all that changes */
    pthread_t watcher;
    int watched, stop;
};

static double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void doze(int64_t looks)
{
    struct timespec t = {0, looks < 100 ? 10000 : 200000};
    nanosleep(&t, NULL);
}

/* ---- who is lost or late ---- */

/* Adds process r to a list. */
static void list_one(char *list, size_t room, int *n, int r)
{
    size_t used = strlen(list);
    if (used + 16 < room)
        snprintf(list + used, room - used, "%s%d", (*n)++ ? ", " : "", r);
}

/* How many exchanges process r has queued; -1: not known. */
static int64_t entered(const peers *p, int r)
{
    const mert_arrivals *a = &p->with.arrivals;
    return a->entered ? __atomic_load_n(&a->entered[r], __ATOMIC_SEQ_CST) : -1;
}

/* The processes that have queued `least` exchanges and not `number`, as "process 1 of 4" or "processes 1, 3 of 4".
 * 0: none. */
static int name_absent(const peers *p, int64_t least, int64_t number, char *text, size_t room)
{
    char list[160] = "";
    int n = 0;
    for (int r = 0; r < p->with.ranks; r++)
        if (r != p->with.rank && entered(p, r) >= least && entered(p, r) < number)
            list_one(list, sizeof list, &n, r);
    snprintf(text, room, "process%s %s of %d", n > 1 ? "es" : "", list, p->with.ranks);
    return n;
}

/* Seconds since process r last showed that it is alive. */
static double silence(const peers *p, int r)
{
    const mert_arrivals *a = &p->with.arrivals;
    int64_t seen = a->seen ? __atomic_load_n(&a->seen[r], __ATOMIC_SEQ_CST) : 0;
    return seen ? now() - 1e-3 * (double)seen : 0;
}

/* Likewise the processes that have not shown that they are alive for most of half the limit, or of half a minute. */
static int name_silent(const peers *p, char *text, size_t room)
{
    char list[160] = "";
    double longest = p->with.limit > 0 && p->with.limit < 60 ? p->with.limit / 2 : 30;
    int n = 0;
    for (int r = 0; r < p->with.ranks; r++)
        longest = silence(p, r) > longest ? silence(p, r) : longest;
    for (int r = 0; r < p->with.ranks; r++)
        if (silence(p, r) > longest / 2)
            list_one(list, sizeof list, &n, r);
    snprintf(text, room, "process%s %s of %d", n > 1 ? "es" : "", list, p->with.ranks);
    return n;
}

/* 1: since then, the others have had the time that the limit gives them. */
static int expired(const peers *p, double since) { return p->with.limit > 0 && now() - since > p->with.limit; }

/* 1: this process prints the message, which ends the others. If another process should print it but takes too long,
 * this one does. */
static int is_reporter(peers *p)
{
    int32_t nobody = 0, *told = p->with.arrivals.told;
    if (p->quiet == 0 &&
        (!told || __atomic_compare_exchange_n(told, &nobody, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)))
        return 1;
    if (p->quiet == 0)
        p->quiet = now();
    return expired(p, p->quiet);
}

/* Ends the exchange, and says why. */
static int end(peers *p, mert_error *e)
{
    p->library->abort(p->c);
    p->c = NULL;
    *e = p->why;
    return -1;
}

static int lost(peers *p, const mert_error *how, mert_error *e)
{
    char who[240];
    int n = name_absent(p, 0, p->finished + 1, who, sizeof who);
    n = n ? n : name_silent(p, who, sizeof who);
    snprintf(p->why.text, sizeof p->why.text, "%s%sexchange %lld of process %d of %d has failed: %.500s",
             n ? who : "", n ? " is lost, or has ended: " : "", (long long)p->finished + 1, p->with.rank,
             p->with.ranks, how->text);
    return end(p, e);
}

static int late(peers *p, mert_error *e)
{
    char who[240];
    long long number = (long long)p->finished + 1;
    if (name_absent(p, 0, number, who, sizeof who) || name_silent(p, who, sizeof who))
        snprintf(p->why.text, sizeof p->why.text, MERT_NO_ANSWER " (exchange %lld)", p->with.limit, who, number);
    else if (name_absent(p, -1, 0, who, sizeof who))
        snprintf(p->why.text, sizeof p->why.text, MERT_NO_ANSWER ", or a device or a link hangs (exchange %lld)",
                 p->with.limit, who, number);
    else
        snprintf(p->why.text, sizeof p->why.text, MERT_NO_ANSWER " (exchange %lld)", p->with.limit,
                 "a device or a link", number);
    return end(p, e);
}

/* Checks the other processes once. */
static int watch(peers *p, mert_error *e)
{
    mert_error how = {{0}};
    p->looked = now();
    if (!p->c) {
        *e = p->why;
        return -1;
    }
    while (p->finished < p->queued && !cudaEventQuery(p->done[(p->finished + 1) % RECENT])) {
        p->finished++;
        p->running = 0;
    }
    if (p->library->state(p->c, &how) < 0)
        return is_reporter(p) ? lost(p, &how, e) : 0;
    if (p->finished == p->queued || cudaEventQuery(p->begun[(p->finished + 1) % RECENT])) {
        p->running = 0; /* the device's own work takes this time */
        return 0;
    }
    if (p->running == 0)
        p->running = now();
    return expired(p, p->running) && is_reporter(p) ? late(p, e) : 0;
}

/* Shows the others that this process is alive. A thread that waits for the device also checks the others. But a launch
 * waits, too, if the device's queue is full; then this thread checks them. */
static void *watcher(void *of)
{
    peers *p = (peers *)of;
    struct timespec t = {0, 100000000};
    mert_error unused;
    cudaSetDevice(p->device);
    while (!__atomic_load_n(&p->stop, __ATOMIC_SEQ_CST)) {
        if (p->with.arrivals.seen)
            __atomic_store_n(&p->with.arrivals.seen[p->with.rank], (int64_t)(now() * 1e3), __ATOMIC_SEQ_CST);
        nanosleep(&t, NULL);
        if (pthread_mutex_trylock(&p->lock))
            continue;
        if (!p->stop && p->c && p->finished < p->queued && now() - p->looked > 1)
            watch(p, &unused);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

int peers_await_event(peers *p, cudaEvent_t event, cudaError_t *bad, mert_error *e)
{
    int gone = 0;
    for (int64_t looks = 0; !gone && (*bad = cudaEventQuery(event)) == cudaErrorNotReady; looks++) {
        pthread_mutex_lock(&p->lock);
        gone = watch(p, e);
        pthread_mutex_unlock(&p->lock);
        doze(looks);
    }
    pthread_mutex_lock(&p->lock);
    if (!gone && !p->c) { /* the event is complete only because the exchange was ended */
        *e = p->why;
        gone = -1;
    }
    pthread_mutex_unlock(&p->lock);
    return gone;
}

int peers_await(peers *p, int64_t number, cudaError_t *bad, mert_error *e)
{
    *bad = cudaSuccess;
    return number > 0 ? peers_await_event(p, p->done[number % RECENT], bad, e) : 0;
}

/* ---- queueing ---- */

int64_t peers_queued(const peers *p) { return p ? p->queued : 0; }

cudaError_t peers_finish(peers *p, cudaStream_t stream, int64_t number)
{
    return number > 0 ? cudaStreamWaitEvent(stream, p->done[number % RECENT], 0) : cudaSuccess;
}

/* Waits until the library has completed its last call, if that was not an exchange. */
static int complete(peers *p, mert_error *e)
{
    double began = now();
    int state;
    for (int64_t looks = 0; (state = p->library->state(p->c, e)) > 0; looks++) {
        if (expired(p, began)) {
            snprintf(e->text, sizeof e->text, MERT_NO_ANSWER ", says %s", p->with.limit, "another process",
                     p->library->name);
            return -1;
        }
        doze(looks);
    }
    return state;
}

static int queue_one(peers *p, cudaStream_t stream, const comm_exchange *x, mert_error *e)
{
    int64_t number = p->queued + 1;
    cudaError_t bad;
    mert_error how = {{0}};
    if (!p->c) {
        *e = p->why;
        return -1;
    }
    if ((bad = cudaEventRecord(p->before, stream)) || (bad = cudaStreamWaitEvent(p->stream, p->before, 0)) ||
        (bad = cudaEventRecord(p->begun[number % RECENT], p->stream))) {
        snprintf(e->text, sizeof e->text, "an exchange: %s", cudaGetErrorString(bad));
        return -1;
    }
    if (p->library->exchange(p->c, x, p->stream, &how) || complete(p, &how))
        return lost(p, &how, e);
    if ((bad = cudaEventRecord(p->done[number % RECENT], p->stream))) {
        snprintf(e->text, sizeof e->text, "an exchange: %s", cudaGetErrorString(bad));
        return -1;
    }
    p->queued = number;
    if (p->with.arrivals.entered)
        __atomic_store_n(&p->with.arrivals.entered[p->with.rank], number, __ATOMIC_SEQ_CST);
    return 0;
}

int peers_exchange(peers *p, cudaStream_t stream, mert_exchange_what what, float *data, int64_t n, int64_t each,
                   mert_error *e)
{
    comm_exchange x = {what, data, n, each};
    int bad = 0;
    if (n) {
        pthread_mutex_lock(&p->lock);
        bad = queue_one(p, stream, &x, e);
        pthread_mutex_unlock(&p->lock);
    }
    return bad;
}

/* ---- connecting ---- */

/* The processes send this to each other. */
struct peer_report {
    int missing, failed;
    unsigned char identity[COMM_IDENTITY], device[16];
    char why[400];
};

static int tell(const mert_peers *with, const peer_report *mine, peer_report *all, mert_error *e)
{
    return with->collect(with->with, mine, all, sizeof *mine, e);
}

/* The result from what all processes sent: 0, 1 or -1, with the reason of the first process that has one. */
static int agree(const mert_peers *with, const peer_report *all, mert_error *e)
{
    for (int r = 0; r < with->ranks; r++)
        if (all[r].missing || all[r].failed) {
            snprintf(e->text, sizeof e->text, "%s", all[r].why);
            return all[r].failed ? -1 : 1;
        }
    return 0;
}

static int share_a_device(const mert_peers *with, const peer_report *all, mert_error *e)
{
    for (int r = 0; r < with->ranks; r++)
        for (int s = 0; s < r; s++)
            if (!memcmp(all[r].device, all[s].device, sizeof all->device)) {
                snprintf(e->text, sizeof e->text,
                         "processes %d and %d have the same device: every process takes one of its own", s, r);
                return -1;
            }
    return 0;
}

static int make(peers *p, int device, const unsigned char *identity, mert_error *e)
{
    cudaError_t bad = cudaStreamCreateWithFlags(&p->stream, cudaStreamNonBlocking);
    if (!bad)
        bad = cudaEventCreateWithFlags(&p->before, cudaEventDisableTiming);
    for (int i = 0; i < RECENT && !bad; i++)
        if (!(bad = cudaEventCreateWithFlags(&p->begun[i], cudaEventDisableTiming)))
            bad = cudaEventCreateWithFlags(&p->done[i], cudaEventDisableTiming);
    if (bad) {
        snprintf(e->text, sizeof e->text, "the exchange between devices: %s", cudaGetErrorString(bad));
        return -1;
    }
    p->c = p->library->open(identity, device, p->with.rank, p->with.ranks, e);
    if (!p->c || complete(p, e))
        return -1;
    p->device = device;
    p->watched = !pthread_create(&p->watcher, NULL, watcher, p);
    if (!p->watched)
        snprintf(e->text, sizeof e->text, "cannot start a thread");
    return p->watched ? 0 : -1;
}

static void stop_watching(peers *p)
{
    if (!p->watched)
        return;
    __atomic_store_n(&p->stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(p->watcher, NULL);
    p->watched = 0;
}

int peers_join(peers **to, const mert_peers *with, int device, const cudaDeviceProp *about, mert_error *e)
{
    peers *p = (peers *)calloc(1, sizeof *p);
    peer_report mine = {}, *all = (peer_report *)calloc((size_t)with->ranks, sizeof *all);
    mert_error why = {{0}};
    int bad;
    if (!p || !all) {
        snprintf(e->text, sizeof e->text, "out of memory");
        free(p);
        free(all);
        return -1; /* the others wait until this process has ended */
    }
    p->with = *with;
    pthread_mutex_init(&p->lock, NULL);
    mine.missing = !(p->library = comm_find(&why));
    memcpy(mine.device, &about->uuid, sizeof mine.device);
    if (!mine.missing && !with->rank)
        mine.failed = p->library->identity(mine.identity, &why) != 0;
    snprintf(mine.why, sizeof mine.why, "%.*s", (int)sizeof mine.why - 1, why.text);
    bad = tell(with, &mine, all, e);
    bad = bad ? -1 : (bad = agree(with, all, e)) ? bad : share_a_device(with, all, e);
    if (!bad) {
        mine.failed = make(p, device, all[0].identity, &why) != 0;
        snprintf(mine.why, sizeof mine.why, "process %d of %d: %.*s", with->rank, with->ranks,
                 (int)sizeof mine.why - 40, why.text);
        bad = tell(with, &mine, all, e) ? -1 : agree(with, all, e);
    }
    free(all);
    if (bad) {
        stop_watching(p);
        if (p->c)
            p->library->abort(p->c);
        p->c = NULL;
        peers_leave(p);
        return bad;
    }
    *to = p;
    return 0;
}

void peers_leave(peers *p)
{
    if (!p)
        return;
    stop_watching(p);
    if (p->c)
        p->library->close(p->c);
    for (int i = 0; i < RECENT; i++) {
        if (p->begun[i])
            cudaEventDestroy(p->begun[i]);
        if (p->done[i])
            cudaEventDestroy(p->done[i]);
    }
    if (p->before)
        cudaEventDestroy(p->before);
    if (p->stream)
        cudaStreamDestroy(p->stream);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
