/* A set of 64-bit hashes (the numbers must be evenly distributed). Zero the structure before the first use. */
#ifndef MERT_SET_H
#define MERT_SET_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_set {
    uint64_t *slot; /* [room], 0: empty */
    size_t n, room; /* room: a power of two, at most half full */
    int has_zero;
} mert_set;

/* 1: x is new and was added; 0: it was in the set already; -1: out of memory. */
int mert_set_add(mert_set *s, uint64_t x);
void mert_set_free(mert_set *s);

#endif
