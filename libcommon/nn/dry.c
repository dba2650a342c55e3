/* A backend that computes nothing and allocates no device memory. Code runs on it unchanged, including its allocations,
 * and can be asked afterwards how much memory it would have used (train/monitor/budget.h). Device pointers are
 * addresses in a range that is never accessed; downloads give zeros. */
#include "libcommon/nn/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct dry {
    mert_ops ops;
    const mert_ops *as;
    uintptr_t next;
} dry;

static size_t dry_packed_bytes(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    const mert_ops *other = ((const dry *)o)->as;
    return other ? other->packed_bytes(other, rows, n, k, as) : 0;
}

static int64_t dry_rows_at_once(const mert_ops *o, mert_block block)
{
    const mert_ops *other = ((const dry *)o)->as;
    return other ? other->rows_at_once(other, block) : INT64_MAX;
}

static void *dry_alloc(mert_ops *o, size_t bytes)
{
    dry *d = (dry *)o;
    uintptr_t p = d->next;
    if (bytes > UINTPTR_MAX / 4 || p > UINTPTR_MAX / 2)
        return NULL;
    d->next += (bytes + 63) / 64 * 64 + 64;
    return (void *)p;
}

static void dry_release(mert_ops *o, void *p)
{
    (void)o;
    (void)p;
}

static void dry_upload(mert_ops *o, void *to, const void *host, size_t bytes)
{
    (void)o;
    (void)to;
    (void)host;
    (void)bytes;
}

static void dry_download(mert_ops *o, void *host, const void *from, size_t bytes)
{
    (void)o;
    (void)from;
    memset(host, 0, bytes);
}

static int64_t dry_mark(mert_ops *o)
{
    (void)o;
    return 1;
}

static int dry_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    (void)o;
    (void)mark;
    (void)e;
    return 0;
}

/* This is host memory, so it is really allocated. */
static void *dry_pin(mert_ops *o, size_t bytes)
{
    (void)o;
    return malloc(bytes ? bytes : 1);
}

static void dry_unpin(mert_ops *o, void *pinned)
{
    (void)o;
    free(pinned);
}

static const void *dry_share(mert_ops *o, const void *host, size_t bytes)
{
    (void)bytes;
    (void)o;
    return host;
}

static void dry_unshare(mert_ops *o, const void *shared)
{
    (void)o;
    (void)shared;
}

static int dry_nothing(mert_ops *o, mert_error *e)
{
    (void)o;
    (void)e;
    return 0;
}

static void dry_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    (void)o;
    (void)op;
    (void)args;
    (void)size;
}

static void dry_close(mert_ops *o)
{
    free(o);
}

mert_ops *mert_ops_dry(const mert_ops *as)
{
    dry *d = malloc(sizeof *d);
    if (!d)
        return NULL;
    *d = (dry){.ops = {.name = "dry",
                       .type = as ? as->type : MERT_ELEMENT_F32,
                       .cqt = as ? as->cqt : 1,
                       .packed_bytes = dry_packed_bytes,
                       .rows_at_once = dry_rows_at_once,
                       .alloc = dry_alloc,
                       .release = dry_release,
                       .upload = dry_upload,
                       .download = dry_download,
                       .mark = dry_mark,
                       .wait_mark = dry_wait_mark,
                       .pin = dry_pin,
                       .unpin = dry_unpin,
                       .upload_ahead = dry_upload,
                       .share = dry_share,
                       .unshare = dry_unshare,
                       .wait = dry_nothing,
                       .renew = dry_nothing,
                       .run = dry_run,
                       .close = dry_close},
               .as = as,
               .next = 4096};
    return &d->ops;
}
