#include "libcommon/base/random.h"

#include <math.h>

static uint32_t multiply(uint32_t a, uint32_t b, uint32_t *high)
{
    uint64_t p = (uint64_t)a * b;
    *high = (uint32_t)(p >> 32);
    return (uint32_t)p;
}

/* Philox4x32-10, constants of the paper's table 2. */
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint32_t h0, h1, l0 = multiply(0xD2511F53u, c[0], &h0), l1 = multiply(0xCD9E8D57u, c[2], &h1);
        uint32_t n0 = h1 ^ c[1] ^ k0, n2 = h0 ^ c[3] ^ k1;
        c[0] = n0;
        c[1] = l1;
        c[2] = n2;
        c[3] = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

mert_random mert_random_key(uint64_t seed, mert_purpose purpose, uint64_t a, uint32_t b, uint32_t c)
{
    mert_random r;
    /* The position has more words than fit beside the index, so seed, purpose and a part of a are hashed into the key
     * by the cipher itself. */
    uint32_t fold[4] = {(uint32_t)seed, (uint32_t)(seed >> 32), (uint32_t)purpose, (uint32_t)(a >> 32)};
    philox(fold, 0x6D657274u, (uint32_t)purpose);
    r.key[0] = fold[0];
    r.key[1] = fold[1];
    r.counter[0] = (uint32_t)a;
    r.counter[1] = b;
    r.counter[2] = c;
    return r;
}

void mert_random_block(const mert_random *r, uint32_t i, uint32_t out[4])
{
    out[0] = i;
    out[1] = r->counter[0];
    out[2] = r->counter[1];
    out[3] = r->counter[2];
    philox(out, r->key[0], r->key[1]);
}

uint32_t mert_random_u32(const mert_random *r, uint32_t i)
{
    uint32_t block[4];
    mert_random_block(r, i >> 2, block);
    return block[i & 3];
}

/* A double or normal number takes one block of its own; bit 31 of the index separates these blocks from those of
 * _u32. */
static void wide(const mert_random *r, uint32_t i, uint32_t out[4])
{
    mert_random_block(r, i | 0x80000000u, out);
}

double mert_random_uniform(const mert_random *r, uint32_t i)
{
    uint32_t w[4];
    wide(r, i, w);
    return (double)(((uint64_t)w[0] << 32 | w[1]) >> 11) * 0x1p-53;
}

double mert_random_normal(const mert_random *r, uint32_t i)
{
    uint32_t w[4];
    double u, v;
    wide(r, i, w);
    u = ((double)(((uint64_t)w[0] << 32 | w[1]) >> 11) + 1) * 0x1p-53; /* (0, 1] */
    v = (double)w[2] * 0x1p-32 + (double)w[3] * 0x1p-64;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v);
}

uint32_t mert_random_below(const mert_random *r, uint32_t i, uint32_t n)
{
    uint32_t w[4];
    wide(r, i, w);
    return (uint32_t)(((unsigned __int128)((uint64_t)w[0] << 32 | w[1]) * n) >> 64);
}
