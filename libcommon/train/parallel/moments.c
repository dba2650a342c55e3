#define _GNU_SOURCE
#include "libcommon/train/parallel/moments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* BLOCK: floats copied to the device at a time; WAYS: blocks on their way at once; PAGE: bytes. */
enum { BLOCK = 1 << 20, WAYS = 2, PAGE = 1 << 12 };

struct mert_moments {
    mert_ops *ops;
    int64_t n;
    float *device[2];  /* all of them, or [WAYS][BLOCK] as buffers */
    float *host[2];    /* NULL: they are in device memory */
    void *mapped;      /* the file; NULL: none */
    size_t bytes;      /* size of each moment, in whole pages */
    int direct;        /* the device uses host memory: no copies */
};

/* Allocates the disk space now: with a mapped file, a full disk later would end the program by SIGBUS. */
static int map_file(mert_moments *m, const char *folder, mert_error *e)
{
    char *path;
    int fd, bad;
    if (asprintf(&path, "%s/moments-XXXXXX", folder) < 0)
        return mert_fail(e, "out of memory");
    if ((fd = mkstemp(path)) < 0) {
        mert_fail(e, "%s: cannot make a file for the optimiser's state: %s", folder, strerror(errno));
        free(path);
        return -1;
    }
    unlink(path);
    free(path);
    bad = posix_fallocate(fd, 0, (off_t)(2 * m->bytes));
    if (!bad && (m->mapped = mmap(NULL, 2 * m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
        m->mapped = NULL;
        bad = errno;
    }
    close(fd);
    if (bad)
        return mert_fail(e, "%s: no room for %.1f MB of the optimiser's state: %s", folder, 2e-6 * (double)m->bytes,
                         strerror(bad));
    m->host[0] = m->mapped;
    m->host[1] = (float *)(void *)((char *)m->mapped + m->bytes);
    return 0;
}

mert_moments *mert_moments_new(mert_ops *ops, int64_t n, const char *where, mert_error *e)
{
    mert_moments *m = calloc(1, sizeof *m);
    int64_t device = where ? WAYS * BLOCK : n;
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->ops = ops;
    m->n = n;
    m->bytes = ((size_t)n * sizeof(float) + PAGE - 1) / PAGE * PAGE + PAGE;
    m->direct = ops->host_memory;
    if (where && strcmp(where, "host")) {
        if (map_file(m, where, e))
            goto fail;
    } else if (where) {
        m->host[0] = calloc(1, m->bytes);
        m->host[1] = calloc(1, m->bytes);
        if (!m->host[0] || !m->host[1])
            goto memory;
    }
    for (int i = 0; i < 2 && !(where && m->direct); i++) {
        if (!(m->device[i] = mert_ops_floats(ops, device)))
            goto memory;
        mert_fill(ops, .to = m->device[i], .n = device);
    }
    if (ops->wait(ops, e))
        goto fail;
    return m;
memory:
    mert_fail(e, "out of memory for the optimiser's state of %" PRId64 " parameters", n);
fail:
    mert_moments_free(m);
    return NULL;
}

void mert_moments_free(mert_moments *m)
{
    if (!m)
        return;
    for (int i = 0; i < 2; i++) {
        m->ops->release(m->ops, m->device[i]);
        if (!m->mapped)
            free(m->host[i]);
    }
    if (m->mapped)
        munmap(m->mapped, 2 * m->bytes);
    free(m);
}

/* Lets the system drop pages of the file that are not needed now. */
static void let_go(mert_moments *m, int64_t at, int64_t n)
{
    size_t from = (size_t)at * sizeof(float) / PAGE * PAGE, to = (size_t)(at + n) * sizeof(float) / PAGE * PAGE;
    for (int i = 0; m->mapped && i < 2 && to > from; i++)
        madvise((char *)m->host[i] + from, to - from, MADV_DONTNEED);
}

/* A block that is being copied from the host and back. */
typedef struct trip {
    int64_t at, n;
    int64_t mark; /* the uploads have read the host's memory, and the block is updated */
} trip;

static void go(mert_moments *m, const mert_adam_args *how, int way, trip *t)
{
    mert_adam_args a = *how;
    float *place[2];
    for (int i = 0; i < 2; i++) {
        place[i] = m->device[i] + (int64_t)way * BLOCK;
        m->ops->upload(m->ops, place[i], m->host[i] + t->at, (size_t)t->n * sizeof(float));
    }
    a.n = t->n;
    a.m = place[0];
    a.v = place[1];
    m->ops->run(m->ops, MERT_OP_ADAM, &a, sizeof a);
    t->mark = m->ops->mark(m->ops);
}

static int come_back(mert_moments *m, int way, const trip *t, mert_error *e)
{
    if (!t->n)
        return 0;
    if (m->ops->wait_mark(m->ops, t->mark, e))
        return -1;
    for (int i = 0; i < 2; i++)
        m->ops->download(m->ops, m->host[i] + t->at, m->device[i] + (int64_t)way * BLOCK,
                         (size_t)t->n * sizeof(float));
    return 0;
}

/* Block by block, by way of the device: while one is updated, the next is copied there, and the one before is copied
 * back. */
static int update_by_blocks(mert_moments *m, int64_t at, int64_t n, const mert_adam_args *how, mert_error *e)
{
    trip trips[WAYS] = {{0}};
    int way = 0;
    for (int64_t i = 0; i < n; i += BLOCK, way = !way) {
        mert_adam_args a = *how;
        trips[way] = (trip){.at = at + i, .n = n - i < BLOCK ? n - i : BLOCK};
        a.w = how->w + i;
        a.g = how->g + i;
        go(m, &a, way, &trips[way]);
        if (come_back(m, !way, &trips[!way], e))
            return -1;
        if (i >= (WAYS + 1) * BLOCK) /* that block has arrived */
            let_go(m, at + i - (WAYS + 1) * BLOCK, BLOCK);
    }
    if (come_back(m, !way, &trips[!way], e) || m->ops->wait(m->ops, e))
        return -1;
    let_go(m, at, n);
    return 0;
}

int mert_moments_update(mert_moments *m, int64_t at, int64_t n, float *w, const float *g, const mert_adam_args *how,
                        mert_error *e)
{
    mert_adam_args a = *how;
    if (at < 0 || n < 0 || at + n > m->n)
        return mert_fail(e, "no moments from %" PRId64 " to %" PRId64, at, at + n);
    a.w = w;
    a.g = g;
    if (m->host[0] && !m->direct)
        return update_by_blocks(m, at, n, &a, e);
    for (int64_t i = 0, block = m->host[0] ? BLOCK : n; i < n; i += block) {
        a.n = n - i < block ? n - i : block;
        a.w = w + i;
        a.g = g + i;
        a.m = (m->host[0] ? m->host[0] : m->device[0]) + at + i;
        a.v = (m->host[1] ? m->host[1] : m->device[1]) + at + i;
        m->ops->run(m->ops, MERT_OP_ADAM, &a, sizeof a);
        let_go(m, at + i, a.n);
    }
    return 0;
}

int mert_moments_get(mert_moments *m, int64_t at, int64_t n, float *first, float *second, mert_error *e)
{
    float *to[2] = {first, second};
    for (int i = 0; i < 2; i++)
        if (to[i] && m->host[i])
            memcpy(to[i], m->host[i] + at, (size_t)n * sizeof(float));
        else if (to[i])
            m->ops->download(m->ops, to[i], m->device[i] + at, (size_t)n * sizeof(float));
    if (m->ops->wait(m->ops, e))
        return -1;
    let_go(m, at, n);
    return 0;
}

int mert_moments_set(mert_moments *m, int64_t at, int64_t n, const float *first, const float *second, mert_error *e)
{
    const float *from[2] = {first, second};
    for (int i = 0; i < 2; i++)
        if (from[i] && m->host[i])
            memcpy(m->host[i] + at, from[i], (size_t)n * sizeof(float));
        else if (from[i])
            m->ops->upload(m->ops, m->device[i] + at, from[i], (size_t)n * sizeof(float));
    if (m->ops->wait(m->ops, e))
        return -1;
    let_go(m, at, n);
    return 0;
}
