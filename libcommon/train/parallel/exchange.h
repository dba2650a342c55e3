/* Communication between the processes of a training run (contract N2).
 *
 * Every process calls the same functions with the same sizes in the same order, one call at a time; a call returns when
 * this process has its result. All data is in host memory. Sums are computed element by element in the order of the
 * processes, 0 first: they repeat bit for bit, and every process gets the same bits.
 *
 * There are three kinds: alone (one process: nothing to do), local (processes that one program starts on its machine,
 * with shared memory), and MPI (any number of machines; a plugin, loaded if mpirun or srun has started the program). */
#ifndef MERT_EXCHANGE_H
#define MERT_EXCHANGE_H

#include "formats/error.h"
#include "libcommon/nn/ops.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef struct mert_exchange mert_exchange;

struct mert_exchange {
    const char *name;
    int rank, ranks;
    double patience; /* seconds that a call, or an exchange of devices, waits for another process: then it fails and
                        names it; 0: for ever */
    int neighbour, neighbours; /* the number of this process among those of its machine, and their number */
    mert_arrivals arrivals;    /* for exchanges of devices (ops.h) */
    /* data [n] -> piece `rank` of data (mert_exchange_piece) becomes the sum over all processes; the other pieces are
     * unchanged. */
    int (*reduce_scatter)(mert_exchange *x, float *data, int64_t n, mert_error *e);
    /* Sends piece r of data [n] from process r to all, for all r. */
    int (*all_gather)(mert_exchange *x, float *data, int64_t n, mert_error *e);
    /* all [ranks][bytes]: the `mine` of each process. For small data. */
    int (*collect)(mert_exchange *x, const void *mine, void *all, size_t bytes, mert_error *e);
    /* To be called by a process that fails, before it exits: ends the others. */
    void (*abandon)(mert_exchange *x);
    void (*close)(mert_exchange *x); /* called by all processes; frees x */
};

mert_exchange *mert_exchange_alone(void);

/* Forks into n processes with shared memory (at most MERT_LOCAL_MAX); must be called before any thread is started.
 * Returns 0 in each of them, with *x. Returns 1 in the calling process, which does not compute, when all have ended:
 * *status is its exit status, or minus the signal that should end it, and e->text, if not empty, says which process
 * died. -1: error. */
enum { MERT_LOCAL_MAX = 256 };
int mert_exchange_local(int n, mert_exchange **x, int *status, mert_error *e) MERT_MUST_USE;

/* The number of processes that mpirun or srun have started, from their environment variables; 1: only this one. */
int mert_exchange_launched(void);
/* The name for mert_ops_open of this process's device, if `device` is asked for: with several processes, process n
 * of this machine uses device n, or the only one that its launcher makes visible to it. -1: `device` has a number
 * already. */
int mert_exchange_device(const mert_exchange *x, const char *device, char *name, size_t room, mert_error *e)
    MERT_MUST_USE;

/* Connects them with the MPI plugin: $MERT_PLUGINS/exchange-mpi.so, or ../lib/mert/exchange-mpi.so beside the
 * program. */
mert_exchange *mert_exchange_mpi(mert_error *e);

/* Piece r of n elements begins at *from; returns its length, a multiple of 16 except for the last ones. */
static inline int64_t mert_exchange_piece(int64_t n, int ranks, int r, int64_t *from)
{
    int64_t each = (n + (int64_t)16 * ranks - 1) / ((int64_t)16 * ranks) * 16;
    *from = each * r < n ? each * r : n;
    return n - *from < each ? n - *from : each;
}

/* x [n] becomes the sum over all processes, in their order. n at most MERT_SUM_MAX. */
enum { MERT_SUM_MAX = 256 };
int mert_exchange_sum(mert_exchange *x, double *data, int n, mert_error *e) MERT_MUST_USE;
int mert_exchange_barrier(mert_exchange *x, mert_error *e) MERT_MUST_USE;

/* To be called before a process prints which ones do not answer (MERT_NO_ANSWER). On each machine only one process
 * prints it, and when it ends, the others are ended. They wait here for that, but not longer than `patience`. */
static inline void mert_exchange_take_word(const mert_exchange *x)
{
    struct timespec second = {.tv_sec = 1};
    int32_t nobody = 0, *told = x->arrivals.told;
    if (told && !__atomic_compare_exchange_n(told, &nobody, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        for (double waited = 0; waited < x->patience; waited++)
            nanosleep(&second, NULL);
}

/* ---- the plugin's side ---- */

enum { MERT_EXCHANGE_VERSION = 2 }; /* version of struct mert_exchange and of this function, which a plugin exports: */
typedef mert_exchange *mert_exchange_plugin(int version, mert_error *e);
#define MERT_EXCHANGE_PLUGIN "mert_exchange_open"

#endif
