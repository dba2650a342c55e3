/* base/random.h on a device: the same numbers, bit for bit. */
#ifndef MERT_CUDA_RANDOM_H
#define MERT_CUDA_RANDOM_H

extern "C" {
#include "libcommon/base/random.h"
}
#include "libcommon/nn/ops.h"
#include "portable.h"

/* A dropout of one operation. Its rows' keys differ in one word of the counter. */
struct dropout {
    uint32_t key[2], place, site;
    uint32_t limit; /* numbers below it drop */
    float factor;   /* of what is kept */
};

/* Four words of block i of `row`. */
__device__ __forceinline__ void random_block(const dropout &r, uint32_t row, uint32_t i, uint32_t c[4])
{
    uint32_t k0 = r.key[0], k1 = r.key[1];
    c[0] = i;
    c[1] = r.place;
    c[2] = row;
    c[3] = r.site;
    for (int round = 0; round < 10; round++) { /* Philox4x32-10 */
        uint32_t h0 = __umulhi(0xD2511F53u, c[0]), l0 = 0xD2511F53u * c[0];
        uint32_t h1 = __umulhi(0xCD9E8D57u, c[2]), l1 = 0xCD9E8D57u * c[2];
        c[0] = h1 ^ c[1] ^ k0;
        c[1] = l1;
        c[2] = h0 ^ c[3] ^ k1;
        c[3] = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* 0, or what a number that is kept is multiplied by: of element i of `row`. */
__device__ __forceinline__ float dropout_factor(const dropout &r, uint32_t row, uint32_t i)
{
    uint32_t c[4];
    random_block(r, row, i / 4, c);
    return (i % 4 == 0 ? c[0] : i % 4 == 1 ? c[1] : i % 4 == 2 ? c[2] : c[3]) < r.limit ? 0.0f : r.factor;
}

dropout make_dropout(const mert_dropout_key *key, double p); /* p 0: keeps all */

#endif
