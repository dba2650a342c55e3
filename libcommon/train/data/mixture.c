#include "libcommon/train/data/mixture.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/random.h"

#include <string.h>

/* Uniform over [0, n); one random number for n up to 2^32, two for larger n. */
static int64_t below(const mert_random *r, uint32_t *i, int64_t n)
{
    uint64_t wide;
    if (n <= UINT32_MAX)
        return mert_random_below(r, (*i)++, (uint32_t)n);
    wide = (uint64_t)(mert_random_uniform(r, (*i)++) * (double)n);
    return mert_smaller((int64_t)wide, n - 1);
}

/* audio[0..n) += volume * pool[from..from+n); the pool is all items except b, concatenated. */
static void add_piece(const float *clean, int64_t b, int64_t L, int64_t from, int64_t n, float volume, float *audio)
{
    for (int64_t i = 0; i < n;) {
        int64_t item = (from + i) / L, at = (from + i) % L, run = mert_smaller(n - i, L - at);
        const float *source = clean + (item + (item >= b)) * L + at;
        for (int64_t j = 0; j < run; j++)
            audio[i + j] += volume * source[j];
        i += run;
    }
}

int64_t mert_mixture_make(const mert_mixture_config *c, uint64_t seed, uint64_t update, uint32_t micro_batch,
                          const int64_t *items, int64_t B, int64_t L, const float *clean, float *audio)
{
    int64_t mixed = 0, pool = (B - 1) * L, limit = mert_smaller(pool, L);
    int64_t shortest = mert_smaller(c->length[0], limit), longest = mert_smaller(c->length[1], limit);
    memcpy(audio, clean, (size_t)(B * L) * sizeof *audio);
    if (B < 2 || L < 1 || !(c->prob > 0))
        return 0;
    for (int64_t b = 0; b < B; b++) {
        mert_random r = mert_random_key(seed, MERT_FOR_MIXTURE, update, micro_batch, (uint32_t)items[b]);
        uint32_t i = 0;
        int64_t pieces;
        if (mert_random_uniform(&r, i++) >= c->prob)
            continue;
        pieces = c->number[0] + below(&r, &i, c->number[1] - c->number[0] + 1);
        for (int64_t p = 0; p < pieces; p++) {
            int64_t n = shortest + below(&r, &i, longest - shortest + 1);
            int64_t from = below(&r, &i, pool - longest + 1), to = below(&r, &i, L - n + 1);
            add_piece(clean, b, L, from, n, (float)c->volume, audio + b * L + to);
        }
        mixed++;
    }
    return mixed;
}
