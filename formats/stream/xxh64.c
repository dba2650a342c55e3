/* XXH64 as its specification describes it (github.com/Cyan4973/xxHash, doc/xxhash_spec.md): four lanes over 32-byte
 * stripes, merged, then the rest in words of 8, 4 and 1 bytes, then an avalanche. Little endian by construction. */
#include "mts.h"

#include <string.h>

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t load(const unsigned char *p, int bytes)
{
    uint64_t x = 0;
    if (bytes == 8) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        memcpy(&x, p, 8);
        return x;
#endif
    }
    for (int i = 0; i < bytes; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static inline uint64_t round_lane(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

static size_t take_stripes(uint64_t acc[4], const unsigned char *p, size_t size)
{
    uint64_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];
    size_t done = 0;
    for (; size - done >= 32; done += 32) {
        a = round_lane(a, load(p + done, 8));
        b = round_lane(b, load(p + done + 8, 8));
        c = round_lane(c, load(p + done + 16, 8));
        d = round_lane(d, load(p + done + 24, 8));
    }
    acc[0] = a, acc[1] = b, acc[2] = c, acc[3] = d;
    return done;
}

void mts_xxh64_begin(mts_xxh64_state *s, uint64_t seed)
{
    s->total = 0;
    s->acc[0] = seed + PRIME_1 + PRIME_2;
    s->acc[1] = seed + PRIME_2;
    s->acc[2] = seed;
    s->acc[3] = seed - PRIME_1;
}

void mts_xxh64_add(mts_xxh64_state *s, const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t held = s->total % 32;
    if (!size)
        return;
    s->total += size;
    if (held) {
        size_t n = size < 32 - held ? size : 32 - held;
        memcpy(s->held + held, p, n);
        if (held + n < 32)
            return;
        take_stripes(s->acc, s->held, 32);
        p += n;
        size -= n;
    }
    size_t done = take_stripes(s->acc, p, size);
    memcpy(s->held, p + done, size - done);
}

uint64_t mts_xxh64_end(const mts_xxh64_state *s, uint64_t seed)
{
    const unsigned char *p = s->held;
    size_t left = s->total % 32;
    uint64_t h;
    if (s->total >= 32) {
        h = rotate(s->acc[0], 1) + rotate(s->acc[1], 7) + rotate(s->acc[2], 12) + rotate(s->acc[3], 18);
        for (int i = 0; i < 4; i++)
            h = (h ^ round_lane(0, s->acc[i])) * PRIME_1 + PRIME_4;
    } else {
        h = seed + PRIME_5;
    }
    h += s->total;
    for (; left >= 8; left -= 8, p += 8)
        h = rotate(h ^ round_lane(0, load(p, 8)), 27) * PRIME_1 + PRIME_4;
    for (; left >= 4; left -= 4, p += 4)
        h = rotate(h ^ load(p, 4) * PRIME_1, 23) * PRIME_2 + PRIME_3;
    for (; left; left--, p++)
        h = rotate(h ^ *p * PRIME_5, 11) * PRIME_1;
    h = (h ^ h >> 33) * PRIME_2;
    h = (h ^ h >> 29) * PRIME_3;
    return h ^ h >> 32;
}

uint64_t mts_xxh64(const void *data, size_t size, uint64_t seed)
{
    mts_xxh64_state s;
    mts_xxh64_begin(&s, seed);
    mts_xxh64_add(&s, data, size);
    return mts_xxh64_end(&s, seed);
}
