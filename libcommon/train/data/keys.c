#include "libcommon/train/data/keys.h"

#include "formats/array.h"

#include <stdlib.h>

int mert_keys_begin(mert_keys *k, int64_t n, mert_error *e)
{
    *k = (mert_keys){.room = 16};
    while (k->room < 2 * (size_t)n)
        k->room *= 2;
    k->hash = mert_array(n, sizeof *k->hash);
    k->table = n < UINT32_MAX ? calloc(k->room, sizeof *k->table) : NULL;
    if (k->hash && k->table)
        return 0;
    mert_keys_free(k);
    return mert_fail(e, "out of memory for the keys of %lld rows", (long long)n);
}

/* The place of the hash in the table, or the free place for it. */
static size_t place_of(const mert_keys *k, uint64_t hash)
{
    size_t at = (size_t)hash & (k->room - 1);
    while (k->table[at] && k->hash[k->table[at] - 1] != hash)
        at = (at + 1) & (k->room - 1);
    return at;
}

int64_t mert_keys_add(mert_keys *k, uint64_t hash)
{
    size_t at = place_of(k, hash);
    int64_t there = (int64_t)k->table[at] - 1;
    k->hash[k->n++] = hash;
    if (there < 0)
        k->table[at] = (uint32_t)k->n;
    return there;
}

int64_t mert_keys_find(const mert_keys *k, uint64_t hash)
{
    return (int64_t)k->table[place_of(k, hash)] - 1;
}

void mert_keys_free(mert_keys *k)
{
    free(k->hash);
    free(k->table);
    *k = (mert_keys){0};
}
