/* Exchange between devices for this backend: one interface with two implementations, NCCL (plugins/cuda-nccl, a plugin
 * of its own, because NCCL has 200 MB that a single process does not need) and shared memory
 * (tests/cuda/emulated_comm.cpp). The interface of a plugin is C. All work is queued on the given stream; no call waits
 * for other processes. */
#ifndef MERT_CUDA_COMM_H
#define MERT_CUDA_COMM_H

#include "libcommon/nn/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { COMM_VERSION = 1, COMM_IDENTITY = 128 };

typedef struct comm comm;

/* One exchange, as exchange() of ops.h. */
typedef struct comm_exchange {
    mert_exchange_what what;
    float *data;
    int64_t n, each;
} comm_exchange;

typedef struct comm_library {
    int version;
    const char *name;
    /* One process makes this number and sends it to all, which then find each other by it. */
    int (*identity)(unsigned char id[COMM_IDENTITY], mert_error *e);
    /* Begins to connect. `device` is this thread's current device, and remains so. NULL: error. */
    comm *(*open)(const unsigned char id[COMM_IDENTITY], int device, int rank, int ranks, mert_error *e);
    /* 0: no error. 1: the last call is not complete yet; the next call must wait until it is. -1: it has failed, or
     * another process has. */
    int (*state)(comm *c, mert_error *e);
    int (*exchange)(comm *c, const comm_exchange *x, void *stream, mert_error *e);
    /* Ends the exchanges on the stream; their results are invalid. Frees c, as close does. */
    void (*abort)(comm *c);
    void (*close)(comm *c); /* called by all processes, when nothing is on the stream */
} comm_library;

/* NULL: there is no such library; e says why. */
const comm_library *comm_find(mert_error *e);

/* The plugin exports a function of this type, with the name COMM_PLUGIN. */
typedef const comm_library *comm_plugin(int version, mert_error *e);
#define COMM_PLUGIN "mert_comm_library"
#define COMM_FILE "cuda-nccl.so"

/* 1: both implementations refuse it, because the pieces do not cover the data or the address is not one of floats. */
static inline int comm_refuses(const comm_exchange *x, int ranks)
{
    return x->n <= 0 || x->each <= 0 || x->each * ranks < x->n || (intptr_t)x->data % (intptr_t)sizeof(float) != 0;
}

/* Number of floats of piece r. */
static inline int64_t comm_piece(const comm_exchange *x, int r)
{
    int64_t left = x->n - x->each * r;
    return left <= 0 ? 0 : left < x->each ? left : x->each;
}

#ifdef __cplusplus
}
#endif

#endif
