#include "libcommon/nn/arena.h"

enum { GRAIN = 1 << 22, LARGE = 1 << 30 };

void mert_arena_open(mert_arena *a, mert_ops *ops)
{
    *a = (mert_arena){.ops = ops};
}

static void note_most(mert_arena *a)
{
    size_t used = 0;
    for (int i = 0; i <= a->now; i++)
        used += a->block[i].used;
    a->most = used > a->most ? used : a->most;
}

static void *take(mert_arena *a, int64_t n, size_t each)
{
    size_t bytes = (size_t)(n > 0 ? n : 1) * each, size;
    char *p;
    if (a->failed || n > (int64_t)1 << 40)
        goto fail;
    bytes = (bytes + 63) / 64 * 64;
    while (a->now < a->blocks && a->block[a->now].used + bytes > a->block[a->now].bytes)
        a->now++;
    if (a->now == a->blocks) {
        if (a->blocks == (int)(sizeof a->block / sizeof *a->block))
            goto fail;
        /* each new block is as large as all blocks before it, up to LARGE, so there are few blocks for any shape */
        size = 0;
        for (int i = 0; i < a->blocks; i++)
            size += a->block[i].bytes;
        size = size < GRAIN ? GRAIN : size > LARGE ? LARGE : size;
        size = size < bytes ? bytes : size;
        a->block[a->now].p = a->ops->alloc(a->ops, size);
        if (!a->block[a->now].p)
            goto fail;
        a->block[a->now].bytes = size;
        a->block[a->now].used = 0;
        a->blocks++;
    }
    p = a->block[a->now].p + a->block[a->now].used;
    a->block[a->now].used += bytes;
    note_most(a);
    return p;
fail:
    a->failed = 1;
    return NULL;
}

float *mert_arena_floats(mert_arena *a, int64_t n)
{
    return take(a, n, sizeof(float));
}

mert_element *mert_arena_elements(mert_arena *a, int64_t n)
{
    return take(a, n, mert_element_bytes(a->ops, 1));
}

const mert_element *mert_arena_rounded(mert_arena *a, const float *x, int64_t n)
{
    mert_element *to;
    if (a->ops->type == MERT_ELEMENT_F32)
        return (const mert_element *)(const void *)x;
    if ((to = mert_arena_elements(a, n)))
        mert_to_elements(a->ops, .to = to, .from = x, .n = n);
    return to;
}

mert_arena_mark mert_arena_here(const mert_arena *a)
{
    return (mert_arena_mark){a->now, a->now < a->blocks ? a->block[a->now].used : 0};
}

void mert_arena_back(mert_arena *a, mert_arena_mark m)
{
    for (int i = m.now + 1; i < a->blocks; i++)
        a->block[i].used = 0;
    if (m.now < a->blocks)
        a->block[m.now].used = m.used;
    a->now = m.now;
}

void mert_arena_reset(mert_arena *a)
{
    mert_arena_back(a, (mert_arena_mark){0, 0});
    a->failed = 0;
}

void mert_arena_close(mert_arena *a)
{
    for (int i = 0; i < a->blocks; i++)
        a->ops->release(a->ops, a->block[i].p);
    a->blocks = a->now = 0;
}
