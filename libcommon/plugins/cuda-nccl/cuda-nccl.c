/* Exchange between CUDA devices (plugins/cuda/comm.h) over NCCL. A shared object of its own: the library has more than
 * 200 MB, which a single process does not need.
 *
 * The communicator does not block: a call that has to wait for other processes returns, and state() says when it is
 * complete. Whoever waits asks state() for errors of other processes meanwhile, and may abort.
 *
 * Contract A4 wants the same bits each time on the same machines. NCCL's rings and trees add in an order that follows
 * from machines and sizes; sums inside of a switch (NVLS, CollNet) are left out, unless the environment asks for
 * them. */
#define _POSIX_C_SOURCE 200809L
#include "libcommon/plugins/cuda/comm.h"

#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "NCCL 2.18 or newer is needed: communicators that do not block"
#endif

enum { CLOSING = 10000 }; /* ms */

_Static_assert(sizeof(ncclUniqueId) == COMM_IDENTITY, "the identity of NCCL");

struct comm {
    ncclComm_t c;
    int rank, ranks;
};

comm_plugin mert_comm_library;

static int failed(ncclResult_t r, ncclComm_t c, mert_error *e)
{
    const char *more = ncclGetLastError(c);
    snprintf(e->text, sizeof e->text, "NCCL: %s%s%.400s", ncclGetErrorString(r), more && *more ? ": " : "",
             more ? more : "");
    return -1;
}

static int identity(unsigned char id[COMM_IDENTITY], mert_error *e)
{
    ncclUniqueId made;
    ncclResult_t r = ncclGetUniqueId(&made);
    if (r != ncclSuccess)
        return failed(r, NULL, e);
    memcpy(id, &made, sizeof made);
    return 0;
}

static struct comm *open_nccl(const unsigned char id[COMM_IDENTITY], int device, int rank, int ranks, mert_error *e)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId of;
    struct comm *c = calloc(1, sizeof *c);
    ncclResult_t r;
    (void)device;
    if (!c) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return NULL;
    }
    setenv("NCCL_NVLS_ENABLE", "0", 0);
    setenv("NCCL_COLLNET_ENABLE", "0", 0);
    memcpy(&of, id, sizeof of);
    config.blocking = 0;
    c->rank = rank;
    c->ranks = ranks;
    r = ncclCommInitRankConfig(&c->c, ranks, of, rank, &config);
    if (r == ncclSuccess || r == ncclInProgress)
        return c;
    failed(r, NULL, e);
    if (c->c)
        ncclCommAbort(c->c);
    free(c);
    return NULL;
}

static int state(struct comm *c, mert_error *e)
{
    ncclResult_t now = ncclSuccess, r = ncclCommGetAsyncError(c->c, &now);
    if (r != ncclSuccess)
        return failed(r, c->c, e);
    return now == ncclSuccess ? 0 : now == ncclInProgress ? 1 : failed(now, c->c, e);
}

/* Pieces that differ in size: one sum or broadcast for each, all of them at once. */
static ncclResult_t by_pieces(const struct comm *c, const comm_exchange *x, cudaStream_t stream)
{
    ncclResult_t r = ncclGroupStart(), ended;
    for (int i = 0; i < c->ranks && r == ncclSuccess; i++) {
        float *piece = x->data + x->each * i;
        size_t n = (size_t)comm_piece(x, i);
        if (n && x->what == MERT_REDUCE_SCATTER)
            r = ncclReduce(piece, piece, n, ncclFloat, ncclSum, i, c->c, stream);
        else if (n)
            r = ncclBroadcast(piece, piece, n, ncclFloat, i, c->c, stream);
        if (r == ncclInProgress)
            r = ncclSuccess;
    }
    ended = ncclGroupEnd();
    return r == ncclSuccess ? ended : r;
}

static int exchange(struct comm *c, const comm_exchange *x, void *stream, mert_error *e)
{
    float *own = x->data + x->each * c->rank;
    ncclResult_t r;
    if (comm_refuses(x, c->ranks)) {
        snprintf(e->text, sizeof e->text, "an exchange of %lld floats in pieces of %lld is refused", (long long)x->n,
                 (long long)x->each);
        return -1;
    }
    if (x->what == MERT_ALL_REDUCE)
        r = ncclAllReduce(x->data, x->data, (size_t)x->n, ncclFloat, ncclSum, c->c, stream);
    else if (x->each * c->ranks != x->n)
        r = by_pieces(c, x, stream);
    else if (x->what == MERT_REDUCE_SCATTER)
        r = ncclReduceScatter(x->data, own, (size_t)x->each, ncclFloat, ncclSum, c->c, stream);
    else
        r = ncclAllGather(own, x->data, (size_t)x->each, ncclFloat, c->c, stream);
    return r == ncclSuccess || r == ncclInProgress ? 0 : failed(r, c->c, e);
}

static void abort_nccl(struct comm *c)
{
    ncclCommAbort(c->c);
    free(c);
}

/* Finalizing does not block either, and a process that is lost at the end holds nobody up. */
static void close_nccl(struct comm *c)
{
    struct timespec t = {.tv_nsec = 1000000};
    ncclResult_t now = ncclCommFinalize(c->c);
    for (int looks = 0; now == ncclInProgress && looks < CLOSING; looks++) {
        nanosleep(&t, NULL);
        if (ncclCommGetAsyncError(c->c, &now) != ncclSuccess)
            break;
    }
    if (now == ncclSuccess)
        ncclCommDestroy(c->c);
    else
        ncclCommAbort(c->c);
    free(c);
}

const comm_library *mert_comm_library(int version, mert_error *e)
{
    static const comm_library library = {.version = COMM_VERSION,
                                         .name = "NCCL",
                                         .identity = identity,
                                         .open = open_nccl,
                                         .state = state,
                                         .exchange = exchange,
                                         .abort = abort_nccl,
                                         .close = close_nccl};
    if (version == COMM_VERSION)
        return &library;
    snprintf(e->text, sizeof e->text, "no exchange between devices: %s is of another version of mert", COMM_FILE);
    return NULL;
}
