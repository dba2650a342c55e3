#include "libcommon/teachers/codes.h"

#include <math.h>
#include <string.h>

static float centred(float *z, const float *x, const float *centre, int64_t n)
{
    float lane[16] = {0}, s = 0;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) {
            float d = x[i + l] - centre[i + l];
            z[i + l] = d;
            lane[l] += d * d;
        }
    for (int l = 0; i < n; i++, l++) {
        float d = x[i] - centre[i];
        z[i] = d;
        lane[l] += d * d;
    }
    for (int l = 0; l < 16; l++)
        s += lane[l];
    return s;
}

/* The largest score of each of LANES columns, 4 vectors at a time, because a single chain would be limited by latency.
 * Written with vector comparisons, because compilers do not vectorise a loop that keeps its maxima in an array. A
 * vector is a register: of a wider one compilers compare element by element. */
#if defined(__AVX512F__)
enum { LANES = 16, VECTORS = 4 };
#elif defined(__AVX__)
enum { LANES = 8, VECTORS = 4 };
#else
enum { LANES = 4, VECTORS = 4 };
#endif
typedef float vec __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4), aligned(4)));

static inline void take_larger(vec *a, const vec *b)
{
    mask m = *b > *a;
    *a = (vec)(((mask)*b & m) | ((mask)*a & ~m));
}

static void column_most(const float *x, int64_t n, float most[LANES])
{
    vec v[VECTORS];
    int64_t i = 0;
    for (int j = 0; j < VECTORS; j++)
        for (int l = 0; l < LANES; l++)
            v[j][l] = -INFINITY;
    for (; i + VECTORS * LANES <= n; i += VECTORS * LANES)
        for (int j = 0; j < VECTORS; j++)
            take_larger(&v[j], (const vec *)(x + i + j * LANES));
    for (int j = 1; j < VECTORS; j++)
        take_larger(&v[0], &v[j]);
    memcpy(most, &v[0], sizeof v[0]);
    for (; i < n; i++)
        most[i % LANES] = x[i] > most[i % LANES] ? x[i] : most[i % LANES];
}

/* Inserts into index[0..n), ascending; if it is full, the largest index is dropped. */
static void insert(int32_t *index, int64_t n, int64_t max, int32_t what)
{
    int64_t at = n < max ? n : max;
    for (; at > 0 && index[at - 1] > what; at--)
        if (at < max)
            index[at] = index[at - 1];
    if (at < max)
        index[at] = what;
}

/* Searches again only in columns whose largest score reaches the limit, usually one. */
static int64_t best(const float *score, int64_t n, double slack, int32_t *index, int64_t max)
{
    float column[LANES], most = -INFINITY, limit;
    int64_t found = 0;
    column_most(score, n, column);
    for (int l = 0; l < LANES; l++)
        most = column[l] > most ? column[l] : most;
    limit = nextafterf((float)((double)most - slack), -INFINITY);
    for (int l = 0; l < LANES; l++)
        for (int64_t i = l; column[l] >= limit && i < n; i += LANES)
            if (score[i] >= limit)
                insert(index, found++, max, (int32_t)i);
    return found;
}

static int64_t beyond(const float *x, int64_t n, float limit)
{
    enum { PIECE = 1024 };
    uint32_t bits, most;
    memcpy(&most, &limit, sizeof most);
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t end = at + PIECE < n ? at + PIECE : n;
        uint32_t any = 0;
        for (int64_t i = at; i < end; i++) {
            memcpy(&bits, x + i, sizeof bits);
            any |= (bits & 0x7fffffffu) >= most;
        }
        for (int64_t i = at; any && i < end; i++)
            if (!(fabsf(x[i]) < limit))
                return i;
    }
    return n;
}

static double distance2(const float *x, const float *y, int64_t n)
{
    double lane[8] = {0}, s = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) {
            double d = (double)x[i + l] - (double)y[i + l];
            lane[l] += d * d;
        }
    for (int l = 0; i < n; i++, l++) {
        double d = (double)x[i] - (double)y[i];
        lane[l] += d * d;
    }
    for (int l = 0; l < 8; l++)
        s += lane[l];
    return s;
}

static void add_nearer(float *restrict pot, const float *restrict dot, float x2, const float *restrict c2,
                       const float *restrict closest, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float d = x2 + c2[i] - 2 * dot[i];
        d = d > 0 ? d : 0;
        pot[i] += d < closest[i] ? d : closest[i];
    }
}

/* 2^e as a double; e in [-1022, 1023]. */
static inline double power_of_two(int e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* From the top digit down: the rest of x is divided into the nearest whole number of units and a new rest, exactly, in
 * double precision. Added to 1.5 * 2^52, a number of units is a whole number in the last bits of the sum. (AVX2 has no
 * conversion to 64 bits.) */
static void add_digits(int64_t *const plane[], int lo, int top, int unit, int64_t at, const float *x, int64_t n)
{
    enum { BLOCK = 64 };
    const double whole = 0x1.8p52;
    double rest[BLOCK];
    int64_t zero;
    memcpy(&zero, &whole, sizeof zero);
    for (int64_t b = 0; b < n; b += BLOCK) {
        int m = n - b < BLOCK ? (int)(n - b) : BLOCK;
        for (int i = 0; i < m; i++)
            rest[i] = (double)x[b + i];
        for (int p = top - 1; p >= lo; p--) {
            double one = power_of_two(unit + 32 * p), units = power_of_two(-unit - 32 * p);
            int64_t *to = plane[p] + at + b;
            for (int i = 0; i < m; i++) {
                double sum = rest[i] * units + whole;
                int64_t bits;
                memcpy(&bits, &sum, sizeof bits);
                to[i] += bits - zero;
                rest[i] -= (sum - whole) * one;
            }
        }
    }
}

const mert_codes_kernels MERT_KERNEL(mert_codes_kernels) = {centred,   best,       beyond,
                                                            distance2, add_nearer, add_digits};
