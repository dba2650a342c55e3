/* The CPU backend. Operations run at once, so there is nothing to wait for. */
#define _DEFAULT_SOURCE /* madvise */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/rows_int8.h"

#include <cblas.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 1 << 21 };
enum { PACKING_PAYS = 512 }; /* rows: with fewer, packing takes longer than it saves (break-even is at about 400) */

static size_t cpu_packed_bytes(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    if (as == MERT_PACKED_F32 && o->type == MERT_ELEMENT_BF16 && mert_half_fast())
        as = MERT_PACKED_BF16; /* the same numbers (gemm_half.h) */
    if (rows < PACKING_PAYS || (as == MERT_PACKED_INT8 && k > MERT_INT8_DEPTH))
        return 0;
    return (size_t)(as == MERT_PACKED_INT8   ? mert_int8_floats(n, k)
                    : as == MERT_PACKED_BF16 ? mert_half_floats(n, k)
                                             : mert_packed_floats(n, k)) *
           sizeof(float);
}

static int64_t cpu_rows_at_once(const mert_ops *o, mert_block block)
{
    (void)o;
    switch (block) {
    case MERT_BLOCK_EXTRACTOR: return 1 << 13;
    case MERT_BLOCK_LOGITS: return 1 << 12;
    case MERT_BLOCK_FRAMES: return 64; /* the first layer then has 4096 rows of output */
    case MERT_BLOCK_FEED_FORWARD: return 264; /* a multiple of 24: two register tiles of rows */
    }
    return INT64_MAX;
}

static void *cpu_alloc(mert_ops *o, size_t bytes)
{
    size_t align = bytes >= 16 * HUGE_PAGE ? HUGE_PAGE : 64; /* for smaller blocks, rounding up to huge pages would
                                                                waste memory */
    void *p = bytes > SIZE_MAX / 2 ? NULL : aligned_alloc(align, (bytes + align - 1) / align * align);
    (void)o;
#ifdef MADV_HUGEPAGE
    if (p && align == HUGE_PAGE) /* a hint: fewer page faults and TLB misses */
        madvise(p, (bytes + align - 1) / align * align, MADV_HUGEPAGE);
#endif
    return p;
}

static void cpu_release(mert_ops *o, void *p)
{
    (void)o;
    free(p);
}

static void cpu_copy(mert_ops *o, void *to, const void *from, size_t bytes)
{
    (void)o;
    memcpy(to, from, bytes);
}

static int64_t cpu_mark(mert_ops *o)
{
    (void)o;
    return 1;
}

static int cpu_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    (void)o;
    (void)mark;
    return mert_cpu_failed(e);
}

static const void *cpu_share(mert_ops *o, const void *host, size_t bytes)
{
    (void)o;
    (void)bytes;
    return host;
}

static void cpu_unshare(mert_ops *o, const void *shared)
{
    (void)o;
    (void)shared;
}

static int cpu_wait(mert_ops *o, mert_error *e)
{
    (void)o;
    return mert_cpu_failed(e);
}

static int cpu_renew(mert_ops *o, mert_error *e)
{
    (void)o;
    (void)e;
    mert_pool_renew();
    return 0;
}

static void cpu_close(mert_ops *o)
{
    (void)o;
}

/* Scratch memory belongs to the pool, so only one of the threads that use it runs an operation at a time. */
static void cpu_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    mert_pool_hold();
    if (o->type == MERT_ELEMENT_F32)
        mert_cpu_run(op, args);
    else
        mert_cpu_run_rounded(o->type, op, args, size);
    mert_pool_let_go();
}

/* OpenBLAS calls this itself before a fork. Other BLAS libraries do not have it. */
extern int blas_thread_shutdown_(void) __attribute__((weak));

/* The pool distributes the work. The threads that OpenBLAS starts when it is loaded would spin for their first 30 ms,
 * which is as long as a small job takes. */
static void single_threaded_blas(void)
{
    openblas_set_num_threads(1);
    if (blas_thread_shutdown_)
        blas_thread_shutdown_();
}

/* One backend for each type of element; memory and failures belong to the pool of the thread that uses it. */
#define CPU(elements)                                                                                              \
    {                                                                                                              \
        .name = "cpu", .type = (elements), .host_memory = 1, .packed_bytes = cpu_packed_bytes,                     \
        .rows_at_once = cpu_rows_at_once, .alloc = cpu_alloc, .release = cpu_release, .upload = cpu_copy,          \
        .download = cpu_copy, .mark = cpu_mark, .wait_mark = cpu_wait_mark, .pin = cpu_alloc, .unpin = cpu_release,   \
        .upload_ahead = cpu_copy, .share = cpu_share, .unshare = cpu_unshare, .wait = cpu_wait, .renew = cpu_renew,    \
        .run = cpu_run, .close = cpu_close                                                                         \
    }

mert_ops *mert_ops_cpu_of(mert_element_type type)
{
    static mert_ops cpu[] = {CPU(MERT_ELEMENT_F32), CPU(MERT_ELEMENT_BF16), CPU(MERT_ELEMENT_F16)};
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, single_threaded_blas);
    return &cpu[type];
}

mert_ops *mert_ops_cpu(void)
{
    return mert_ops_cpu_of(MERT_ELEMENT_F32);
}
