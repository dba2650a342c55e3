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

static float distances(float *score, const float *c2, int64_t n)
{
    float lane[16], least = INFINITY;
    int64_t i = 0;
    for (int l = 0; l < 16; l++)
        lane[l] = INFINITY;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) {
            float d = c2[i + l] - 2 * score[i + l];
            score[i + l] = d;
            lane[l] = d < lane[l] ? d : lane[l];
        }
    for (int l = 0; i < n; i++, l++) {
        float d = c2[i] - 2 * score[i];
        score[i] = d;
        lane[l] = d < lane[l] ? d : lane[l];
    }
    for (int l = 0; l < 16; l++)
        least = lane[l] < least ? lane[l] : least;
    return least;
}

static int64_t within(const float *score, int64_t n, float limit, int32_t *index, int64_t max)
{
    int64_t found = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        int any = 0;
        for (int l = 0; l < 16; l++)
            any += score[i + l] <= limit;
        for (int l = 0; any && l < 16; l++)
            if (score[i + l] <= limit && found++ < max)
                index[found - 1] = (int32_t)(i + l);
    }
    for (; i < n; i++)
        if (score[i] <= limit && found++ < max)
            index[found - 1] = (int32_t)i;
    return found;
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

const mert_codes_kernels MERT_KERNEL(mert_codes_kernels) = {elu,       lstm_gates, centred,    distances,
                                                            within,    distance2,  add_nearer, add_digits};
