/* The exchange (libcommon/train/parallel/exchange.h) over MPI. A shared object of its own, loaded when mpirun or srun
 * has started the program, so that one package serves machines with and without MPI.
 *
 * Everything is built of non-blocking messages: sums are taken here and not by MPI_Reduce, because the order of an
 * MPI's own sums is its own affair (contract A4 wants the same bits each time); and who waits sleeps between looks,
 * because it is the backward pass that should have the cores. */
#define _GNU_SOURCE
#include "libcommon/train/parallel/exchange.h"

#include <mpi.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 22 }; /* floats on their way at once */
enum { OTHERS_LISTED = 8 };
enum { GRACE = 10 };     /* seconds in which mpirun should end the processes of all machines */
enum { ANCESTORS = 16 }; /* looked at for an mpirun */

typedef struct over_mpi {
    mert_exchange x;
    MPI_Request *requests; /* [2 * ranks] */
    int *with;             /* [2 * ranks] whom each waits for */
    int n;
    MPI_Win shared;        /* arrivals of this machine's processes */
    float *arrived; /* [ranks][BLOCK / ranks] */
    char (*host)[MPI_MAX_PROCESSOR_NAME]; /* [ranks] */
} over_mpi;

mert_exchange_plugin mert_exchange_open;

static int failed(int code, mert_error *e)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    snprintf(e->text, sizeof e->text, "MPI: %s", text);
    return -1;
}

/* Returns the seconds that it took, at most one: the time of a run that was stopped as a whole does not count. */
static double doze(int looks)
{
    struct timespec t = {.tv_nsec = looks < 50 ? 20000 : 200000};
    double began = MPI_Wtime(), took;
    nanosleep(&t, NULL);
    took = MPI_Wtime() - began;
    return took < 1 ? took : 1;
}

/* Names who has not answered. */
static int late(const over_mpi *m, mert_error *e)
{
    char list[OTHERS_LISTED * 80] = "", who[sizeof list + 40];
    size_t used = 0;
    int named = 0, last = -1, done;
    for (int i = 0; i < m->n && named < OTHERS_LISTED; i++)
        if (m->with[i] != last && MPI_Request_get_status(m->requests[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS &&
            !done) {
            last = m->with[i];
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%d (%.60s)", named++ ? ", " : "", last,
                                     m->host[last]);
        }
    mert_exchange_take_word(&m->x);
    snprintf(who, sizeof who, "process%s %s of %d", named > 1 ? "es" : "", list, m->x.ranks);
    snprintf(e->text, sizeof e->text, MERT_NO_ANSWER, m->x.patience, who);
    return -1;
}

/* Until all requests are done. */
static int finish(over_mpi *m, mert_error *e)
{
    double waited = 0;
    int all = 0, code = MPI_SUCCESS;
    for (int looks = 0; code == MPI_SUCCESS && !all; looks++) {
        code = MPI_Testall(m->n, m->requests, &all, MPI_STATUSES_IGNORE);
        if (!all && code == MPI_SUCCESS && m->x.patience > 0 && waited >= m->x.patience)
            return late(m, e);
        if (!all && code == MPI_SUCCESS)
            waited += doze(looks);
    }
    m->n = 0;
    return code == MPI_SUCCESS ? 0 : failed(code, e);
}

static void post_send(over_mpi *m, const void *from, size_t bytes, int to)
{
    m->with[m->n] = to;
    if (bytes)
        MPI_Isend(from, (int)bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD, &m->requests[m->n++]);
}

static void post_receive(over_mpi *m, void *to, size_t bytes, int from)
{
    m->with[m->n] = from;
    if (bytes)
        MPI_Irecv(to, (int)bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, &m->requests[m->n++]);
}

/* Bytes of the block that begins `at` floats into a piece of n. */
static size_t block_bytes(int64_t n, int64_t at, int64_t block)
{
    int64_t left = n > at ? n - at : 0;
    return (size_t)(left < block ? left : block) * sizeof(float);
}

static int reduce_scatter(mert_exchange *x, float *data, int64_t n, mert_error *e)
{
    over_mpi *m = (over_mpi *)x;
    int64_t own, own_n = mert_exchange_piece(n, x->ranks, x->rank, &own), from, longest, block = BLOCK / x->ranks;
    longest = mert_exchange_piece(n, x->ranks, 0, &from);
    for (int64_t at = 0; at < longest; at += block) {
        int64_t count = (int64_t)(block_bytes(own_n, at, block) / sizeof(float));
        float *mine = data + own + at;
        for (int i = 1; i < x->ranks; i++) { /* each begins with another neighbour */
            int from_rank = (x->rank + x->ranks - i) % x->ranks, to = (x->rank + i) % x->ranks;
            int64_t theirs = mert_exchange_piece(n, x->ranks, to, &from);
            post_receive(m, m->arrived + from_rank * block, (size_t)count * sizeof(float), from_rank);
            post_send(m, data + from + at, block_bytes(theirs, at, block), to);
        }
        if (finish(m, e))
            return -1;
        memcpy(m->arrived + x->rank * block, mine, (size_t)count * sizeof(float));
        memcpy(mine, m->arrived, (size_t)count * sizeof(float));
        for (int r = 1; r < x->ranks; r++) {
            const float *theirs = m->arrived + r * block;
            for (int64_t i = 0; i < count; i++)
                mine[i] += theirs[i];
        }
    }
    return 0;
}

static int all_gather(mert_exchange *x, float *data, int64_t n, mert_error *e)
{
    over_mpi *m = (over_mpi *)x;
    int64_t own, own_n = mert_exchange_piece(n, x->ranks, x->rank, &own), from;
    int64_t longest = mert_exchange_piece(n, x->ranks, 0, &from);
    for (int64_t at = 0; at < longest; at += BLOCK) {
        for (int i = 1; i < x->ranks; i++) {
            int from_rank = (x->rank + x->ranks - i) % x->ranks, to = (x->rank + i) % x->ranks;
            int64_t theirs = mert_exchange_piece(n, x->ranks, from_rank, &from);
            post_receive(m, data + from + at, block_bytes(theirs, at, BLOCK), from_rank);
            post_send(m, data + own + at, block_bytes(own_n, at, BLOCK), to);
        }
        if (finish(m, e))
            return -1;
    }
    return 0;
}

static int collect(mert_exchange *x, const void *mine, void *all, size_t bytes, mert_error *e)
{
    over_mpi *m = (over_mpi *)x;
    memcpy((char *)all + (size_t)x->rank * bytes, mine, bytes);
    for (int r = 0; r < x->ranks; r++)
        if (r != x->rank) {
            post_receive(m, (char *)all + (size_t)r * bytes, bytes, r);
            post_send(m, mine, bytes, r);
        }
    return finish(m, e);
}

/* ---- the end ---- */

/* Reads the name and the parent of a process from /proc/PID/stat. -1: there is none. */
static int look_at(int pid, char name[32], int *parent)
{
    char path[32];
    FILE *f;
    int n;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!(f = fopen(path, "r")))
        return -1;
    n = fscanf(f, "%*d (%31[^)]) %*c %d", name, parent);
    fclose(f);
    return n == 2 ? 0 : -1;
}

/* The mpirun that has started this process, perhaps by a script; 0: it runs elsewhere, or is something else. */
static int find_launcher(void)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "prterun"};
    int pid = getppid(), parent;
    char name[32];
    for (int i = 0; i < ANCESTORS && pid > 1 && !look_at(pid, name, &parent); i++, pid = parent)
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            if (!strcmp(name, names[j]))
                return pid;
    return 0;
}

/* In the process that is left behind, where only system calls are safe. */
static void wait_and_kill(int launcher)
{
    struct pollfd p = {.fd = 0, .events = POLLIN};
    setsid(); /* mpirun signals groups */
    dup2(launcher, 0);
    for (long i = 1, n = sysconf(_SC_OPEN_MAX); i < n && i < 65536; i++) /* pipes and connections should end */
        close((int)i);
    if (!poll(&p, 1, GRACE * 1000))
        syscall(SYS_pidfd_send_signal, 0, SIGKILL, NULL, 0);
    _exit(0);
}

/* If this process descends from an mpirun of this machine, leaves a process behind that kills the mpirun if it is still
 * there after GRACE seconds, and ends. Where the kernel refuses this, it does nothing. */
static void end_launcher(void)
{
    int pid = find_launcher(), launcher = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (launcher < 0)
        return;
    if (!fork())
        wait_and_kill(launcher);
    close(launcher);
}

/* mpirun ends the processes of all machines, and waits for each of these: for a quarter of an hour if one cannot be
 * reached. On one machine it never takes long. */
static void abandon(mert_exchange *x)
{
    if (x->neighbours < x->ranks)
        end_launcher();
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void close_mpi(mert_exchange *x)
{
    over_mpi *m = (over_mpi *)x;
    if (m->shared != MPI_WIN_NULL)
        MPI_Win_free(&m->shared);
    free(m->requests);
    free(m->with);
    free(m->arrived);
    free(m->host);
    free(m);
    MPI_Finalize();
}

/* Which processes are of this machine, and memory that they share. Without it, nobody knows how far the others are. */
static void find_neighbours(over_mpi *m)
{
    MPI_Comm here;
    MPI_Aint bytes = (MPI_Aint)((2 * (size_t)m->x.ranks + 1) * sizeof(int64_t));
    int unit;
    int64_t *at = NULL;
    m->shared = MPI_WIN_NULL;
    m->x.neighbours = 1;
    if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, m->x.rank, MPI_INFO_NULL, &here) != MPI_SUCCESS)
        return;
    MPI_Comm_rank(here, &m->x.neighbour);
    MPI_Comm_size(here, &m->x.neighbours);
    if (MPI_Win_allocate_shared(m->x.neighbour ? 0 : bytes, sizeof *at, MPI_INFO_NULL, here, &at, &m->shared) !=
            MPI_SUCCESS ||
        MPI_Win_shared_query(m->shared, 0, &bytes, &unit, &at) != MPI_SUCCESS)
        m->shared = MPI_WIN_NULL;
    for (int r = 0; r <= 2 * m->x.ranks && m->shared != MPI_WIN_NULL && !m->x.neighbour; r++)
        at[r] = r < m->x.ranks ? -1 : 0;
    MPI_Barrier(here);
    if (m->shared != MPI_WIN_NULL) {
        __atomic_store_n(&at[m->x.rank], 0, __ATOMIC_SEQ_CST);
        m->x.arrivals = (mert_arrivals){at, at + m->x.ranks, (int32_t *)(void *)(at + 2 * m->x.ranks)};
    }
    MPI_Comm_free(&here);
}

static int find_hosts(over_mpi *m)
{
    char mine[MPI_MAX_PROCESSOR_NAME] = "";
    int length;
    m->host = calloc((size_t)m->x.ranks, sizeof *m->host);
    return !m->host || MPI_Get_processor_name(mine, &length) != MPI_SUCCESS ||
           MPI_Allgather(mine, sizeof mine, MPI_CHAR, m->host, sizeof mine, MPI_CHAR, MPI_COMM_WORLD) != MPI_SUCCESS;
}

mert_exchange *mert_exchange_open(int version, mert_error *e)
{
    over_mpi *m = version == MERT_EXCHANGE_VERSION ? calloc(1, sizeof *m) : NULL;
    int have = 0;
    if (!m) {
        snprintf(e->text, sizeof e->text, "%s",
                 version == MERT_EXCHANGE_VERSION ? "out of memory" : "the MPI plugin is of another version of mert");
        return NULL;
    }
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &have) != MPI_SUCCESS || have < MPI_THREAD_SERIALIZED) {
        snprintf(e->text, sizeof e->text, "MPI cannot be called from a thread of its own");
        free(m);
        return NULL;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    m->x = (mert_exchange){.name = "MPI",
                           .reduce_scatter = reduce_scatter,
                           .all_gather = all_gather,
                           .collect = collect,
                           .abandon = abandon,
                           .close = close_mpi};
    MPI_Comm_rank(MPI_COMM_WORLD, &m->x.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m->x.ranks);
    find_neighbours(m);
    m->requests = calloc(2 * (size_t)m->x.ranks, sizeof *m->requests);
    m->with = calloc(2 * (size_t)m->x.ranks, sizeof *m->with);
    m->arrived = malloc((size_t)(BLOCK + m->x.ranks) * sizeof *m->arrived);
    if (!m->requests || !m->with || !m->arrived || find_hosts(m)) {
        snprintf(e->text, sizeof e->text, "out of memory");
        close_mpi(&m->x);
        return NULL;
    }
    return &m->x;
}
