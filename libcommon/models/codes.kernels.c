#include "codes.h"

#include "../nn/inline_math.h"

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

/* 64 scores at a time, of which the largest is remembered: only where that comes up to the limit are they looked at
 * again. The comparisons are between whole vectors, which no compiler makes of a loop that keeps its least in an
 * array. */
typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t mask __attribute__((vector_size(64), aligned(4)));

static float most_of(const float *x, int64_t n)
{
    float most = -INFINITY, lane[16];
    if (n == 64) {
        vec v = *(const vec *)x;
        for (int i = 16; i < 64; i += 16) {
            vec w = *(const vec *)(x + i);
            mask m = v > w;
            v = (vec)(((mask)v & m) | ((mask)w & ~m));
        }
        memcpy(lane, &v, sizeof lane);
        for (int step = 8; step; step /= 2)
            for (int i = 0; i < step; i++)
                lane[i] = lane[i] > lane[i + step] ? lane[i] : lane[i + step];
        return lane[0];
    }
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static int64_t best(const float *score, int64_t n, double slack, int32_t *index, int64_t max)
{
    enum { KEPT = 256 };
    float of[KEPT], most = -INFINITY, limit;
    int64_t found = 0, blocks = (n + 63) / 64;
    for (int64_t b = 0; b < blocks; b++) {
        float m = most_of(score + b * 64, n - b * 64 < 64 ? n - b * 64 : 64);
        if (b < KEPT)
            of[b] = m;
        most = m > most ? m : most;
    }
    limit = nextafterf((float)((double)most - slack), -INFINITY);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t i = b * 64; (b >= KEPT || of[b] >= limit) && i < n && i < b * 64 + 64; i++)
            if (score[i] >= limit && found++ < max)
                index[found - 1] = (int32_t)i;
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

/* From the top down, what is left of x is a whole number of units and a rest: exact in double precision. */
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
