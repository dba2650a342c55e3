/* Exchange between devices as this backend wants it: one thin boundary with two implementations, NCCL (a plugin of its
 * own, plugins/cuda-nccl: 200 MB that one process does not need) and shared memory (tests/cuda/emulated_comm.cpp). It
 * is C, because a plugin is. Everything is queued on the stream that is given; no call waits for other processes. */
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
    /* What one process makes and gives to all, so that they find each other. */
    int (*identity)(unsigned char id[COMM_IDENTITY], mert_error *e);
    /* Begins to connect; `device` is the current one of this thread, and stays it. NULL: error. */
    comm *(*open)(const unsigned char id[COMM_IDENTITY], int device, int rank, int ranks, mert_error *e);
    /* 0: all is well. 1: the last call is not complete yet; ask again before the next. -1: it has failed, or another
     * process has. */
    int (*state)(comm *c, mert_error *e);
    int (*exchange)(comm *c, const comm_exchange *x, void *stream, mert_error *e);
    /* What is on the stream ends, with results that are worth nothing; frees c, as close does. */
    void (*abort)(comm *c);
    void (*close)(comm *c); /* all processes, when nothing is on the stream */
} comm_library;

/* NULL: it is not there, and why. */
const comm_library *comm_find(mert_error *e);

/* What the plugin exports. */
typedef const comm_library *comm_plugin(int version, mert_error *e);
#define COMM_PLUGIN "mert_comm_library"
#define COMM_FILE "cuda-nccl.so"

/* What is refused, for both implementations: pieces that do not cover the data, addresses that hold no floats. */
static inline int comm_refuses(const comm_exchange *x, int ranks)
{
    return x->n <= 0 || x->each <= 0 || x->each * ranks < x->n || (intptr_t)x->data % (intptr_t)sizeof(float) != 0;
}

/* Floats of piece r. */
static inline int64_t comm_piece(const comm_exchange *x, int r)
{
    int64_t left = x->n - x->each * r;
    return left <= 0 ? 0 : left < x->each ? left : x->each;
}

#ifdef __cplusplus
}
#endif

#endif
