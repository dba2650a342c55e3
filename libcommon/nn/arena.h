/* Device memory that is allocated in order and freed all at once: the activations of one forward pass, or the scratch
 * memory of one layer. An arena requests blocks from the backend as it grows, and keeps them, so that the second batch
 * of the same shape allocates nothing. */
#ifndef MERT_ARENA_H
#define MERT_ARENA_H

#include "libcommon/nn/ops.h"

typedef struct mert_arena {
    mert_ops *ops;
    struct { char *p; size_t bytes, used; } block[64];
    int blocks, now;
    size_t most;         /* largest number of bytes in use so far */
    int failed;          /* out of memory: since then all functions have returned NULL */
} mert_arena;

typedef struct mert_arena_mark { int now; size_t used; } mert_arena_mark;

void mert_arena_open(mert_arena *a, mert_ops *ops);
float *mert_arena_floats(mert_arena *a, int64_t n); /* 64-byte aligned, as all of an arena */
mert_element *mert_arena_elements(mert_arena *a, int64_t n);
/* x [n] as elements: x itself if elements are float32, otherwise a rounded copy. */
const mert_element *mert_arena_rounded(mert_arena *a, const float *x, int64_t n);
mert_arena_mark mert_arena_here(const mert_arena *a);
void mert_arena_back(mert_arena *a, mert_arena_mark m); /* frees what was allocated since the mark */
void mert_arena_reset(mert_arena *a);
void mert_arena_close(mert_arena *a);

#endif
