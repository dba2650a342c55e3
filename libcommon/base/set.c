#include "libcommon/base/set.h"

#include <stdlib.h>

static int put(mert_set *s, uint64_t x)
{
    size_t i = (size_t)x & (s->room - 1);
    while (s->slot[i] && s->slot[i] != x)
        i = (i + 1) & (s->room - 1);
    if (s->slot[i])
        return 0;
    s->slot[i] = x;
    return 1;
}

static int grow(mert_set *s)
{
    mert_set more = {.room = s->room ? 2 * s->room : 64};
    more.slot = calloc(more.room, sizeof *more.slot);
    if (!more.slot)
        return -1;
    for (size_t i = 0; i < s->room; i++)
        if (s->slot[i])
            put(&more, s->slot[i]);
    free(s->slot);
    s->slot = more.slot;
    s->room = more.room;
    return 0;
}

int mert_set_add(mert_set *s, uint64_t x)
{
    int fresh;
    if (!x) {
        fresh = !s->has_zero;
        s->has_zero = 1;
        return fresh;
    }
    if (2 * s->n >= s->room && grow(s))
        return -1;
    fresh = put(s, x);
    s->n += (size_t)fresh;
    return fresh;
}

void mert_set_free(mert_set *s)
{
    free(s->slot);
    *s = (mert_set){0};
}
