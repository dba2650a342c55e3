/* A set of 64-bit numbers that are spread well (hashes), to find out what came before. Zeroed before the first use. */
#ifndef MERT_SET_H
#define MERT_SET_H

#include <stddef.h>
#include <stdint.h>

typedef struct mert_set {
    uint64_t *slot; /* [room], 0: empty */
    size_t n, room; /* room: a power of two, at most half full */
    int has_zero;
} mert_set;

/* 1: x was not in it, and is now; 0: it was; -1: out of memory. */
int mert_set_add(mert_set *s, uint64_t x);
void mert_set_free(mert_set *s);

#endif
