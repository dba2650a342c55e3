/* Device memory that is taken in order and given back all at once: what one forward pass keeps, or what one layer
 * needs. Blocks are asked of the backend when the arena grows, and kept: the second batch of a shape allocates nothing.
 */
#ifndef MERT_ARENA_H
#define MERT_ARENA_H

#include "libcommon/nn/ops.h"

typedef struct mert_arena {
    mert_ops *ops;
    struct { char *p; size_t bytes, used; } block[64];
    int blocks, now;
    size_t most;         /* bytes in use at any time so far */
    int failed;          /* memory ran out: pointers returned since are NULL */
} mert_arena;

typedef struct mert_arena_mark { int now; size_t used; } mert_arena_mark;

void mert_arena_open(mert_arena *a, mert_ops *ops);
float *mert_arena_floats(mert_arena *a, int64_t n); /* 64-byte aligned, as are all */
mert_element *mert_arena_elements(mert_arena *a, int64_t n);
/* x [n] as elements: x itself, or where they are no float32 a copy. */
const mert_element *mert_arena_rounded(mert_arena *a, const float *x, int64_t n);
mert_arena_mark mert_arena_here(const mert_arena *a);
void mert_arena_back(mert_arena *a, mert_arena_mark m); /* gives back what was taken since */
void mert_arena_reset(mert_arena *a);
void mert_arena_close(mert_arena *a);

#endif
