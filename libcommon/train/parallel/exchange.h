/* Processes that train together (contract N2), and what they tell each other.
 *
 * Every process calls the same functions with the same sizes in the same order, one call at a time; a call returns when
 * this process has what it asked for. All data lies in host memory. Sums are taken element by element in the order of
 * the processes, 0 first: they repeat bit for bit, and every process gets the same bits.
 *
 * Three kinds: alone (nothing to do), local (processes that one program starts on its machine, over shared memory), and
 * MPI (on any number of machines; a plugin, loaded when mpirun or srun has started the program). */
#ifndef MERT_EXCHANGE_H
#define MERT_EXCHANGE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_exchange mert_exchange;

struct mert_exchange {
    const char *name;
    int rank, ranks;
    /* data [n] -> in piece `rank` of data (mert_exchange_piece) the sum over all processes; the other pieces are left
     * as they are. */
    int (*reduce_scatter)(mert_exchange *x, float *data, int64_t n, mert_error *e);
    /* Piece r of data [n], as process r has it, to all, for all r. */
    int (*all_gather)(mert_exchange *x, float *data, int64_t n, mert_error *e);
    /* all [ranks][bytes]: what each process has as `mine`. A small thing: it is kept whole. */
    int (*collect)(mert_exchange *x, const void *mine, void *all, size_t bytes, mert_error *e);
    /* For a process that gives up alone, before it exits: the others are ended, too. */
    void (*abandon)(mert_exchange *x);
    void (*close)(mert_exchange *x); /* all processes; frees x */
};

mert_exchange *mert_exchange_alone(void);

/* Forks into n processes that share memory (at most MERT_LOCAL_MAX): before anything else was started. Returns 0 in
 * each of them, with *x; and 1 in the calling process, which has nothing to compute, when all have ended: then
 * *status is what it should exit with, or minus the signal it should die by, and e->text, where not empty, says which
 * process died. -1: error. */
enum { MERT_LOCAL_MAX = 256 };
int mert_exchange_local(int n, mert_exchange **x, int *status, mert_error *e) MERT_MUST_USE;

/* How many processes mpirun or srun have started of this program, by the environment that they leave; 1: just this. */
int mert_exchange_launched(void);
/* Joins them, by the MPI plugin: $MERT_PLUGINS/exchange-mpi.so, or ../lib/mert/exchange-mpi.so beside the program. */
mert_exchange *mert_exchange_mpi(mert_error *e);

/* Piece r of n elements: [*from, *from + the value returned), a multiple of 16 long but for the last ones. */
static inline int64_t mert_exchange_piece(int64_t n, int ranks, int r, int64_t *from)
{
    int64_t each = (n + (int64_t)16 * ranks - 1) / ((int64_t)16 * ranks) * 16;
    *from = each * r < n ? each * r : n;
    return n - *from < each ? n - *from : each;
}

/* x [n] becomes the sum over all processes, in their order. n at most MERT_SUM_MAX. */
enum { MERT_SUM_MAX = 256 };
int mert_exchange_sum(mert_exchange *x, double *data, int n, mert_error *e) MERT_MUST_USE;
/* What process 0 has as data, to all; at most MERT_BROADCAST_MAX bytes. */
enum { MERT_BROADCAST_MAX = 2048 };
int mert_exchange_broadcast(mert_exchange *x, void *data, size_t bytes, mert_error *e) MERT_MUST_USE;
int mert_exchange_barrier(mert_exchange *x, mert_error *e) MERT_MUST_USE;

/* ---- the plugin's side ---- */

enum { MERT_EXCHANGE_VERSION = 1 }; /* of struct mert_exchange and of this function, which a plugin exports: */
typedef mert_exchange *mert_exchange_plugin(int version, mert_error *e);
#define MERT_EXCHANGE_PLUGIN "mert_exchange_open"

#endif
