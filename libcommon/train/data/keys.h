/* Finds rows by XXH64 of their keys. It is used while a corpus is opened. */
#ifndef MERT_KEYS_H
#define MERT_KEYS_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_keys {
    uint64_t *hash;  /* [n] of the rows */
    uint32_t *table; /* [room]: row + 1, 0: free; open addressing, at most half full */
    int64_t n;
    size_t room;     /* a power of 2 */
} mert_keys;

int mert_keys_begin(mert_keys *k, int64_t n, mert_error *e) MERT_MUST_USE; /* n rows, to be added in order */
/* Adds the next row. Returns an earlier row with the same hash; -1: none. */
int64_t mert_keys_add(mert_keys *k, uint64_t hash);
int64_t mert_keys_find(const mert_keys *k, uint64_t hash); /* -1: none */
void mert_keys_free(mert_keys *k);                         /* a zeroed one is fine */

#endif
