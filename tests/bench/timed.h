/* A backend that passes everything on to another one and counts: operations, waits, the time that the host spends in
 * waits; and with `each`, the time of every operation, by waiting before and behind it (the queue's overhead, some
 * microseconds, is in it). */
#ifndef MERT_BENCH_TIMED_H
#define MERT_BENCH_TIMED_H

#include "libcommon/base/clock.h"
#include "libcommon/nn/ops.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct timed {
    mert_ops ops;
    mert_ops *inner;
    int each;
    double waiting; /* seconds */
    int64_t waits, operations, count[MERT_OPS_COUNT];
    double seconds[MERT_OPS_COUNT];
} timed;

#define NAMED(op) [MERT_OP_##op] = #op
static const char *const timed_names[MERT_OPS_COUNT] = {
    NAMED(COPY), NAMED(CLEAR), NAMED(FILL), NAMED(COPY_2D), NAMED(AXPY), NAMED(ADD), NAMED(SWAP_AXES), NAMED(GEMM),
    NAMED(GELU), NAMED(GELU_BACKWARD), NAMED(COLUMN_SUM), NAMED(LAYER_NORM), NAMED(LAYER_NORM_BACKWARD),
    NAMED(TIME_NORM), NAMED(TIME_NORM_BACKWARD), NAMED(WEIGHT_NORM), NAMED(WEIGHT_NORM_BACKWARD), NAMED(GROUPED_CONV),
    NAMED(GROUPED_CONV_BACKWARD), NAMED(ATTENTION), NAMED(ATTENTION_BACKWARD), NAMED(DROPOUT), NAMED(MASK),
    NAMED(MASK_BACKWARD), NAMED(ZERO), NAMED(GATHER), NAMED(SCATTER_ADD), NAMED(NORMALIZE), NAMED(NORMALIZE_BACKWARD),
    NAMED(CROSS_ENTROPY), NAMED(SQUARED_ERROR), NAMED(GLU), NAMED(GLU_BACKWARD), NAMED(PACK), NAMED(WINDOW_MOMENTS),
    NAMED(FOLD_NORM), NAMED(SUM_SQUARES), NAMED(ADAM), NAMED(NARROW), NAMED(WIDEN), NAMED(TO_ELEMENTS),
    NAMED(TO_FLOATS), NAMED(DEPTHWISE_CONV), NAMED(DEPTHWISE_CONV_BACKWARD), NAMED(TIME_SQUARES), NAMED(RESPONSE_NORM),
    NAMED(RESPONSE_NORM_BACKWARD), NAMED(ROTARY), NAMED(CONV), NAMED(CONV_BACKWARD), NAMED(FIRST_LAYER),
    NAMED(FIRST_LAYER_BACKWARD), NAMED(ADD_NORM), NAMED(ADD_NORM_BACKWARD), NAMED(POOL_SPANS), NAMED(CORRUPT),
    NAMED(CORRUPT_BACKWARD), NAMED(CLIP)};
#undef NAMED

static inline mert_ops *timed_inner(const mert_ops *o) { return ((const timed *)o)->inner; }

static size_t timed_packed_bytes(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    return timed_inner(o)->packed_bytes(timed_inner(o), rows, n, k, as);
}
static int64_t timed_rows_at_once(const mert_ops *o, mert_block b)
{
    return timed_inner(o)->rows_at_once(timed_inner(o), b);
}
static void *timed_alloc(mert_ops *o, size_t n) { return timed_inner(o)->alloc(timed_inner(o), n); }
static void timed_release(mert_ops *o, void *p) { timed_inner(o)->release(timed_inner(o), p); }
static void timed_upload(mert_ops *o, void *to, const void *h, size_t n)
{
    timed_inner(o)->upload(timed_inner(o), to, h, n);
}
static void timed_download(mert_ops *o, void *h, const void *from, size_t n)
{
    timed_inner(o)->download(timed_inner(o), h, from, n);
}
static int64_t timed_mark(mert_ops *o) { return timed_inner(o)->mark(timed_inner(o)); }
static void *timed_pin(mert_ops *o, size_t n) { return timed_inner(o)->pin(timed_inner(o), n); }
static void timed_unpin(mert_ops *o, void *p) { timed_inner(o)->unpin(timed_inner(o), p); }
static void timed_upload_ahead(mert_ops *o, void *to, const void *h, size_t n)
{
    timed_inner(o)->upload_ahead(timed_inner(o), to, h, n);
}
static const void *timed_share(mert_ops *o, const void *h, size_t n)
{
    return timed_inner(o)->share(timed_inner(o), h, n);
}
static void timed_unshare(mert_ops *o, const void *p) { timed_inner(o)->unshare(timed_inner(o), p); }
static int timed_renew(mert_ops *o, mert_error *e) { return timed_inner(o)->renew(timed_inner(o), e); }

static int timed_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    timed *t = (timed *)o;
    double start = mert_seconds();
    int bad = t->inner->wait_mark(t->inner, mark, e);
    t->waiting += mert_seconds() - start;
    t->waits++;
    return bad;
}

static int timed_wait(mert_ops *o, mert_error *e)
{
    timed *t = (timed *)o;
    double start = mert_seconds();
    int bad = t->inner->wait(t->inner, e);
    t->waiting += mert_seconds() - start;
    t->waits++;
    return bad;
}

static void timed_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    timed *t = (timed *)o;
    double start;
    t->operations++;
    if (!t->each) {
        t->inner->run(t->inner, op, args, size);
        return;
    }
    t->inner->wait(t->inner, NULL);
    start = mert_seconds();
    t->inner->run(t->inner, op, args, size);
    t->inner->wait(t->inner, NULL);
    t->seconds[op] += mert_seconds() - start;
    t->count[op]++;
}

static inline void timed_open(timed *t, mert_ops *inner)
{
    *t = (timed){.ops = *inner, .inner = inner};
    t->ops.packed_bytes = timed_packed_bytes;
    t->ops.rows_at_once = timed_rows_at_once;
    t->ops.alloc = timed_alloc;
    t->ops.release = timed_release;
    t->ops.upload = timed_upload;
    t->ops.download = timed_download;
    t->ops.mark = timed_mark;
    t->ops.wait_mark = timed_wait_mark;
    t->ops.pin = timed_pin;
    t->ops.unpin = timed_unpin;
    t->ops.upload_ahead = timed_upload_ahead;
    t->ops.share = timed_share;
    t->ops.unshare = timed_unshare;
    t->ops.wait = timed_wait;
    t->ops.renew = timed_renew;
    t->ops.run = timed_run;
}

/* The operations, the longest first. */
static inline void timed_print(const timed *t)
{
    double all = 0;
    int done[MERT_OPS_COUNT] = {0};
    for (int i = 0; i < MERT_OPS_COUNT; i++)
        all += t->seconds[i];
    for (;;) {
        int most = -1;
        for (int i = 0; i < MERT_OPS_COUNT; i++)
            if (t->count[i] && !done[i] && (most < 0 || t->seconds[i] > t->seconds[most]))
                most = i;
        if (most < 0)
            return;
        done[most] = 1;
        printf("    %-24s %5" PRId64 " times %10.3f ms %5.1f%%\n", timed_names[most], t->count[most],
               1e3 * t->seconds[most], 100 * t->seconds[most] / all);
    }
}

#endif
