#include "libcommon/teachers/codes.h"

#include "libcommon/nn/cpu/inline_math.h"

#include <math.h>

static void elu(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = elu_1(x[i]);
}

static void lstm_gates(const float *gates, int64_t h, float *c, float *out, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        float i = sigmoid_1(gates[j]), f = sigmoid_1(gates[h + j]);
        float g = tanh_1(gates[2 * h + j]), o = sigmoid_1(gates[3 * h + j]);
        float v = f * c[j] + i * g;
        c[j] = v;
        out[j] = o * tanh_1(v);
    }
}

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
 * Written with vector comparisons, because compilers do not vectorise a loop that keeps its maxima in an array. */
enum { LANES = 16, VECTORS = 4 };
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

/* From the top digit down: the rest of x is divided into a whole number of units and a new rest, exactly, in double
 * precision. */
static void add_digits(int64_t *const plane[], int lo, int top, int unit, int64_t at, const float *x, int64_t n)
{
    enum { BLOCK = 64 };
    double rest[BLOCK];
    for (int64_t b = 0; b < n; b += BLOCK) {
        int m = n - b < BLOCK ? (int)(n - b) : BLOCK;
        for (int i = 0; i < m; i++)
            rest[i] = (double)x[b + i];
        for (int p = top - 1; p >= lo; p--) {
            double one = ldexp(1, unit + 32 * p), units = 1 / one;
            int64_t *to = plane[p] + at + b;
            for (int i = 0; i < m; i++) {
                int64_t digit = (int64_t)(rest[i] * units);
                to[i] += digit;
                rest[i] -= (double)digit * one;
            }
        }
    }
}

const mert_codes_kernels MERT_KERNEL(mert_codes_kernels) = {elu,    lstm_gates, centred,    best,
                                                            beyond, distance2,  add_nearer, add_digits};
