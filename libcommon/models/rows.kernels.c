#include "rows.h"

#include <math.h>
#include <string.h>

/* The register tile: ROWS rows by PANEL outputs, as many accumulators as the instruction set has registers for. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 12 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 3 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 2 };
#else
enum { LANES = 4, ROWS = 1 };
#endif
enum { PANEL = MERT_ROWS_PANEL, COLUMNS = PANEL / LANES };

/* Loops with constant bounds that must vanish, so that their arrays become registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

static inline float bits_to_float(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* exp(x) - 1 with x = k ln 2 + r, |r| <= ln 2 / 2: 2^k (e^r - 1) + (2^k - 1), which keeps small x exact to rounding.
 * Taylor series of e^r - 1 to r^7: the rest is below 1.5e-8 of it. */
static inline float expm1_1(float x)
{
    float k, r, p, two_k;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    k = rintf(x * 1.44269504088896f);
    r = x - k * 0.693359375f + k * 2.12194440054690583e-4f;
    p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r;
    two_k = bits_to_float(((int32_t)k + 127) << 23);
    return two_k * p + (two_k - 1.0f);
}

static inline float elu_1(float x)
{
    float e = expm1_1(x);
    return x > 0 ? x : e;
}

static inline float sigmoid_1(float x)
{
    return 1.0f / (2.0f + expm1_1(-x));
}

/* tanh(x) = e / (e + 2) with e = exp(2x) - 1; flat beyond 10 */
static inline float tanh_1(float x)
{
    float e;
    x = x > 10.0f ? 10.0f : x;
    x = x < -10.0f ? -10.0f : x;
    e = expm1_1(2 * x);
    return e / (e + 2.0f);
}

static inline void finish_row(float *y, const float *sum, const float *bias, int64_t n, int flags)
{
    float v[PANEL];
    memcpy(v, sum, sizeof v);
    if (bias)
        for (int64_t i = 0; i < n; i++)
            v[i] += bias[i];
    if (flags & MERT_ROWS_ADD)
        for (int64_t i = 0; i < n; i++)
            v[i] += y[i];
    if (flags & MERT_ROWS_ELU)
        for (int i = 0; i < PANEL; i++)
            v[i] = elu_1(v[i]);
    if (n == PANEL)
        memcpy(y, v, sizeof v);
    else
        memcpy(y, v, (size_t)n * sizeof *v);
}

/* R rows by P panels: a function for each pair, since only loops with literal bounds leave their sums in registers
 * under every compiler. The sums are read once, into `done`: whatever else touched them would keep them out of
 * registers, too. */
#define TILE(name, R, P)                                                                                       \
    static __attribute__((noinline)) void name(const mert_rows *w, int64_t panel, const float *x, int64_t ldx, \
                                               float *y, int64_t ldy, int flags)                               \
    {                                                                                                          \
        vec sum[(R) * (P)][COLUMNS];                                                                           \
        float done[(R) * (P)][PANEL];                                                                          \
        const float *b = w->panels + panel * w->k * PANEL;                                                     \
        int64_t width = w->k / w->taps, step = w->k * PANEL;                                                   \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                             \
            UNROLL for (int c = 0; c < COLUMNS; c++)                                                           \
                sum[r][c] = (vec){0};                                                                          \
        for (int64_t t = 0; t < w->taps; t++) {                                                                \
            const float *a = x + t * w->tap_stride;                                                            \
            for (int64_t i = 0; i < width; i++, b += PANEL)                                                    \
                UNROLL for (int p = 0; p < (P); p++)                                                           \
                    UNROLL for (int r = 0; r < (R); r++)                                                       \
                        UNROLL for (int c = 0; c < COLUMNS; c++)                                               \
                            sum[p * (R) + r][c] += a[r * ldx + i] * *(const vec *)(b + p * step + c * LANES);  \
        }                                                                                                      \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                             \
            UNROLL for (int c = 0; c < COLUMNS; c++)                                                           \
                *(vec *)(done[r] + c * LANES) = sum[r][c];                                                     \
        for (int p = 0; p < (P); p++) {                                                                        \
            int64_t at = (panel + p) * PANEL, n = w->n - at < PANEL ? w->n - at : PANEL;                       \
            for (int r = 0; r < (R); r++)                                                                      \
                finish_row(y + r * ldy + at, done[p * (R) + r], w->bias ? w->bias + at : NULL, n, flags);      \
        }                                                                                                      \
    }

TILE(full_tile, ROWS, 1)
TILE(row_tile, 1, 1)
#if defined(__AVX512F__)
TILE(four_rows, 4, 1)
#endif
#if defined(__AVX__)
/* A single row (an LSTM's step) has too few sums of its own to hide the adder's latency: several panels at once. */
enum { ROW_PANELS = LANES == 16 ? 4 : 2 };
TILE(wide_row, 1, ROW_PANELS)
#endif

static void apply(const mert_rows *w, int64_t first, int64_t end, const float *x, int64_t ldx, int64_t m, float *y,
                  int64_t ldy, int flags)
{
    int64_t r = 0, p = first;
#if defined(__AVX__)
    if (m == 1)
        for (; p + ROW_PANELS <= end; p += ROW_PANELS)
            wide_row(w, p, x, 0, y, 0, flags);
#endif
    for (; p < end; p++) {
        for (r = 0; r + ROWS <= m; r += ROWS)
            full_tile(w, p, x + r * ldx, ldx, y + r * ldy, ldy, flags);
#if defined(__AVX512F__)
        for (; r + 4 <= m; r += 4)
            four_rows(w, p, x + r * ldx, ldx, y + r * ldy, ldy, flags);
#endif
        for (; r < m; r++)
            row_tile(w, p, x + r * ldx, 0, y + r * ldy, 0, flags);
    }
}

static void elu(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = elu_1(x[i]);
}

static void lstm_gates(const float *gates, float *c, float *out, int64_t h)
{
    for (int64_t j = 0; j < h; j++) {
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

const mert_rows_kernels MERT_KERNEL(mert_rows_kernels) = {
    apply, elu, lstm_gates, centred, distances, within, distance2, add_nearer, add_digits};
