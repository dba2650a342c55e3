/* Processes of one machine with shared memory. Each process has two windows, used alternately, for its outgoing data.
 * After a barrier all processes read it. A window can be written again two steps later, because a process passes the
 * barrier in between only after reading. Waiting processes sleep. If a process dies, the others would wait for ever; so
 * the process that started them watches and ends them. If a process hangs, the first of the others that loses patience
 * names it and fails. */
#define _GNU_SOURCE
#include "libcommon/train/parallel/exchange.h"

#include "libcommon/base/integer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 1 << 19 }; /* floats */

typedef struct shared {
    pthread_mutex_t lock; /* of the next three: the barrier */
    pthread_cond_t passed;
    int64_t round, steps[MERT_LOCAL_MAX]; /* steps: how often each process has come to the barrier */
    int waiting;
    int abandoned;
    int32_t told; /* of mert_arrivals */
    int64_t entered[MERT_LOCAL_MAX], seen[MERT_LOCAL_MAX];
    int closed[MERT_LOCAL_MAX];
    _Alignas(64) float window[]; /* [2][ranks][WINDOW] */
} shared;

typedef struct local {
    mert_exchange x;
    shared *s;
    int turn;
} local;

static size_t shared_bytes(int ranks)
{
    return sizeof(shared) + 2 * (size_t)ranks * WINDOW * sizeof(float);
}

static float *window(const local *l, int rank)
{
    return l->s->window + ((size_t)l->turn * (size_t)l->x.ranks + (size_t)rank) * WINDOW;
}

/* The first process that has not come to the barrier as often as this one. */
static int missing(const local *l)
{
    int r = 0;
    while (r < l->x.ranks - 1 && l->s->steps[r] >= l->s->steps[l->x.rank])
        r++;
    return r;
}

/* With the lock held: waits for the others. Time is counted second by second, so that a run that was stopped as a whole
 * and continues does not fail at once. -1: *late has not come to the barrier. */
static int wait_for_all(const local *l, int64_t round, int *late)
{
    shared *s = l->s;
    double waited = 0;
    while (s->round == round) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        if (l->x.patience <= 0)
            pthread_cond_wait(&s->passed, &s->lock);
        else if (pthread_cond_timedwait(&s->passed, &s->lock, &until) == ETIMEDOUT && ++waited >= l->x.patience &&
                 s->round == round) {
            *late = missing(l);
            return -1;
        }
    }
    return 0;
}

/* The barrier after writing the windows. */
static int meet(const local *l, mert_error *e)
{
    shared *s = l->s;
    int late = -1, bad = 0;
    char who[48];
    pthread_mutex_lock(&s->lock);
    s->steps[l->x.rank]++;
    if (++s->waiting == l->x.ranks) {
        s->waiting = 0;
        s->round++;
        pthread_cond_broadcast(&s->passed);
    } else {
        bad = wait_for_all(l, s->round, &late);
    }
    pthread_mutex_unlock(&s->lock);
    if (!bad)
        return 0;
    mert_exchange_take_word(&l->x);
    snprintf(who, sizeof who, "process %d of %d", late, l->x.ranks);
    return mert_fail(e, MERT_NO_ANSWER, l->x.patience, who);
}

static void next(local *l)
{
    l->turn = !l->turn;
}

static int reduce_scatter(mert_exchange *x, float *data, int64_t n, mert_error *e)
{
    local *l = (local *)x;
    int64_t own, own_n = mert_exchange_piece(n, x->ranks, x->rank, &own), longest, from;
    int64_t block = WINDOW / x->ranks / 16 * 16;
    longest = mert_exchange_piece(n, x->ranks, 0, &from);
    for (int64_t at = 0; at < longest; at += block) { /* a block of every piece at a time, so that all processes have
                                                         equal work */
        int64_t mine = own_n > at ? mert_smaller(block, own_n - at) : 0;
        for (int r = 0; r < x->ranks; r++) {
            int64_t piece = mert_exchange_piece(n, x->ranks, r, &from);
            float *room = window(l, x->rank) + r * block;
            if (piece > at)
                memcpy(room, data + from + at, (size_t)mert_smaller(block, piece - at) * sizeof *data);
        }
        if (meet(l, e))
            return -1;
        for (int r = 0; r < x->ranks && mine; r++) {
            const float *theirs = window(l, r) + x->rank * block;
            float *to = data + own + at;
            if (r == 0)
                memcpy(to, theirs, (size_t)mine * sizeof *to);
            else
                for (int64_t i = 0; i < mine; i++)
                    to[i] += theirs[i];
        }
        next(l);
    }
    return 0;
}

static int all_gather(mert_exchange *x, float *data, int64_t n, mert_error *e)
{
    local *l = (local *)x;
    int64_t own, own_n = mert_exchange_piece(n, x->ranks, x->rank, &own), from;
    int64_t longest = mert_exchange_piece(n, x->ranks, 0, &from);
    for (int64_t at = 0; at < longest; at += WINDOW) {
        if (own_n > at)
            memcpy(window(l, x->rank), data + own + at, (size_t)mert_smaller(WINDOW, own_n - at) * sizeof *data);
        if (meet(l, e))
            return -1;
        for (int r = 0; r < x->ranks; r++) {
            int64_t piece = mert_exchange_piece(n, x->ranks, r, &from);
            if (r != x->rank && piece > at)
                memcpy(data + from + at, window(l, r), (size_t)mert_smaller(WINDOW, piece - at) * sizeof *data);
        }
        next(l);
    }
    return 0;
}

static int collect(mert_exchange *x, const void *mine, void *all, size_t bytes, mert_error *e)
{
    local *l = (local *)x;
    if (bytes > WINDOW * sizeof(float))
        return mert_fail(e, "%zu bytes are too many to collect at once", bytes);
    memcpy(window(l, x->rank), mine, bytes);
    if (meet(l, e))
        return -1;
    for (int r = 0; r < x->ranks; r++)
        memcpy((char *)all + (size_t)r * bytes, window(l, r), bytes);
    next(l);
    return 0;
}

static void abandon(mert_exchange *x)
{
    __atomic_store_n(&((local *)x)->s->abandoned, 1, __ATOMIC_SEQ_CST);
}

static void close_local(mert_exchange *x)
{
    local *l = (local *)x;
    __atomic_store_n(&l->s->closed[x->rank], 1, __ATOMIC_SEQ_CST);
    munmap(l->s, shared_bytes(x->ranks));
    free(l);
}

/* ---- the parent process ---- */

static pid_t children[MERT_LOCAL_MAX];
static int children_n;

static void to_all(int number)
{
    for (int i = 0; i < children_n; i++)
        if (children[i] > 0)
            kill(children[i], number);
}

/* Forwards a signal that ends this process to the children. They are in their own process group, so that a terminal
 * signals them only once. A second signal is ignored within one second, because timeout(1) sends each one twice. */
static void pass_on(int number)
{
    static struct timespec last;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - last.tv_sec > 1 || !last.tv_sec)
        to_all(number);
    last = now;
}

/* Handles the end of one process. 1: the others had to be ended; e->text is the reason, unless the process has printed
 * it. */
static int one_ended(const shared *s, int rank, int how, int *status, mert_error *e)
{
    int closed = __atomic_load_n(&s->closed[rank], __ATOMIC_SEQ_CST);
    int abandoned = __atomic_load_n(&s->abandoned, __ATOMIC_SEQ_CST);
    if (closed) { /* it had closed its exchange: a normal exit status, or the signal that was forwarded to it */
        if (WIFSIGNALED(how))
            *status = -WTERMSIG(how);
        else if (*status >= 0 && WEXITSTATUS(how) > *status)
            *status = WEXITSTATUS(how);
        return 0;
    }
    *status = 1;
    if (!abandoned) {
        if (WIFSIGNALED(how))
            mert_fail(e, "process %d of %d was killed by signal %d (%s): the others are ended", rank, children_n,
                      WTERMSIG(how), strsignal(WTERMSIG(how)));
        else if (!WEXITSTATUS(how))
            mert_fail(e, "process %d of %d left: the others are ended", rank, children_n);
    }
    to_all(SIGKILL);
    return 1;
}

static int supervise(const shared *s, mert_error *e)
{
    struct sigaction old[4], a = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    static const int passed[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};
    int status = 0, how, over = 0;
    pid_t pid;
    for (int i = 0; i < 4; i++) {
        sigaction(passed[i], NULL, &old[i]);
        if (old[i].sa_handler != SIG_IGN) /* nohup */
            sigaction(passed[i], &a, NULL);
    }
    while ((pid = waitpid(-1, &how, 0)) > 0 || (pid < 0 && errno == EINTR))
        for (int i = 0; i < children_n; i++)
            if (children[i] == pid) {
                children[i] = 0;
                if (!over)
                    over = one_ended(s, i, how, &status, e);
            }
    for (int i = 0; i < 4; i++)
        sigaction(passed[i], &old[i], NULL);
    return status;
}

static shared *share(int n, mert_error *e)
{
    shared *s = mmap(NULL, shared_bytes(n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t m;
    pthread_condattr_t c;
    if (s == MAP_FAILED) {
        mert_fail(e, "no memory to share among %d processes: %s", n, strerror(errno));
        return NULL;
    }
    pthread_mutexattr_init(&m);
    pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&s->lock, &m);
    pthread_mutexattr_destroy(&m);
    pthread_condattr_init(&c);
    pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setclock(&c, CLOCK_MONOTONIC);
    pthread_cond_init(&s->passed, &c);
    pthread_condattr_destroy(&c);
    return s;
}

int mert_exchange_local(int n, mert_exchange **x, int *status, mert_error *e)
{
    pid_t parent = getpid();
    shared *s = share(n, e);
    local *l = calloc(1, sizeof *l);
    if (!s || !l)
        return s ? mert_fail(e, "out of memory") : (free(l), -1);
    children_n = n;
    e->text[0] = 0;
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            mert_fail(e, "cannot start process %d of %d: %s", i, n, strerror(errno));
            to_all(SIGKILL);
            return -1;
        }
        if (!pid) {
            setpgid(0, i ? children[0] : 0);
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the parent dies, nothing else would end this process */
            if (getppid() != parent)
                _exit(1);
            *l = (local){.x = {.name = "local",
                               .rank = i,
                               .ranks = n,
                               .neighbour = i,
                               .neighbours = n,
                               .arrivals = {s->entered, s->seen, &s->told},
                               .reduce_scatter = reduce_scatter,
                               .all_gather = all_gather,
                               .collect = collect,
                               .abandon = abandon,
                               .close = close_local},
                         .s = s};
            *x = &l->x;
            return 0;
        }
        children[i] = pid;
    }
    free(l);
    *status = supervise(s, e);
    munmap(s, shared_bytes(n));
    return 1;
}
