#include "libcommon/nn/cpu/vector.h"

#include "formats/half.h"
#include "libcommon/nn/cpu/inline_math.h"

enum { LANES = 16 };

/* gelu'(x) = Phi(x) + x phi(x) */
static inline float gelu_slope_1(float x)
{
    return 0.5f * (1.0f + erf_1(x * 0.70710678118654752f)) + x * 0.39894228040143268f * exp_1(-0.5f * x * x);
}

static void gelu(float *y, const float *x, const float *residual, int64_t n)
{
    if (residual)
        for (int64_t i = 0; i < n; i++)
            y[i] = gelu_1(x[i]) + residual[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = gelu_1(x[i]);
}

static void gelu_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * gelu_slope_1(x[i]);
}

static void epilogue(float *c, const float *bias, float *pre, int gelu_too, const float *residual, int64_t n)
{
    if (bias)
        for (int64_t i = 0; i < n; i++)
            c[i] += bias[i];
    if (pre)
        memcpy(pre, c, (size_t)n * sizeof *c);
    if (gelu_too)
        for (int64_t i = 0; i < n; i++)
            c[i] = gelu_1(c[i]);
    if (residual)
        for (int64_t i = 0; i < n; i++)
            c[i] += residual[i];
}

static void axpy(float *y, const float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void scale(float *y, const float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i];
}

static inline double add_lanes(const float *lane)
{
    double s[LANES / 2];
    for (int l = 0; l < 8; l++)
        s[l] = (double)lane[l] + (double)lane[l + 8];
    for (int l = 0; l < 4; l++)
        s[l] += s[l + 4];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* Sums are added to a double every 4096 elements. */
#define REDUCE(n, term)                                                  \
    double total = 0;                                                    \
    for (int64_t at = 0; at < (n); at += 4096) {                         \
        int64_t end = at + 4096 < (n) ? at + 4096 : (n), i = at;         \
        float lane[LANES] = {0};                                         \
        for (; i + LANES <= end; i += LANES)                             \
            for (int l = 0; l < LANES; l++) {                            \
                int64_t j = i + l;                                       \
                lane[l] += (term);                                       \
            }                                                            \
        for (int l = 0; i < end; i++, l++) {                             \
            int64_t j = i;                                               \
            lane[l] += (term);                                           \
        }                                                                \
        total += add_lanes(lane);                                        \
    }

static double sum(const float *x, int64_t n)
{
    REDUCE(n, x[j])
    return total;
}

static double dot(const float *x, const float *y, int64_t n)
{
    REDUCE(n, x[j] * y[j])
    return total;
}

static double sum_square_about(const float *x, float mean, int64_t n)
{
    REDUCE(n, (x[j] - mean) * (x[j] - mean))
    return total;
}

static void apply_norm(float *y, const float *x, const float *w, const float *b, float mean, float rstd, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * rstd * w[i] + b[i];
}

static void layer_norm(float *y, const float *x, const float *w, const float *b, int64_t n, float eps, float *mean,
                       float *rstd)
{
    float m = (float)(sum(x, n) / (double)n);
    float r = (float)(1.0 / sqrt(sum_square_about(x, m, n) / (double)n + (double)eps));
    apply_norm(y, x, w, b, m, r, n);
    if (mean)
        *mean = m;
    if (rstd)
        *rstd = r;
}

/* dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy w */
static void layer_norm_backward(float *dx, const float *dy, const float *x, const float *w, float mean, float rstd,
                                int64_t n, int add)
{
    double g_sum, gx_sum;
    float a, c;
    {
        REDUCE(n, dy[j] * w[j])
        g_sum = total;
    }
    {
        REDUCE(n, dy[j] * w[j] * ((x[j] - mean) * rstd))
        gx_sum = total;
    }
    a = (float)(g_sum / (double)n);
    c = (float)(gx_sum / (double)n);
    if (add)
        for (int64_t i = 0; i < n; i++)
            dx[i] += rstd * (dy[i] * w[i] - a - (x[i] - mean) * rstd * c);
    else
        for (int64_t i = 0; i < n; i++)
            dx[i] = rstd * (dy[i] * w[i] - a - (x[i] - mean) * rstd * c);
}

static void norm_parameters(float *dw, float *db, const float *dy, const float *x, float mean, float rstd, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dw[i] += dy[i] * ((x[i] - mean) * rstd);
        db[i] += dy[i];
    }
}

static double exp_sum(float *x, float shift, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
#ifdef MERT_LIMIT_8
        float v[LANES];
        limit_8(v, _mm256_loadu_ps(x + i) - _mm256_set1_ps(shift), -87.0f, 88.0f);
        limit_8(v + 8, _mm256_loadu_ps(x + i + 8) - _mm256_set1_ps(shift), -87.0f, 88.0f);
        for (int l = 0; l < LANES; l++) {
            v[l] = exp_limited_1(v[l]);
            x[i + l] = v[l];
            lane[l] += v[l];
        }
#else
        for (int l = 0; l < LANES; l++) {
            float v = exp_1(x[i + l] - shift);
            x[i + l] = v;
            lane[l] += v;
        }
#endif
    }
    for (int l = 0; i < n; i++, l++) {
        float v = exp_1(x[i] - shift);
        x[i] = v;
        lane[l] += v;
    }
    return add_lanes(lane);
}

/* Four vectors at a time, to hide the latency of the comparisons. */
static float max(const float *x, int64_t n)
{
    enum { WIDE = 4 * LANES };
    float lane[WIDE], m = -INFINITY;
    int64_t i = 0;
    for (int l = 0; l < WIDE; l++)
        lane[l] = -INFINITY;
    for (; i + WIDE <= n; i += WIDE)
        for (int l = 0; l < WIDE; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    for (int half = WIDE / 2; half >= 4; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l + half] > lane[l] ? lane[l + half] : lane[l];
    for (int l = 0; l < 4; l++)
        m = lane[l] > m ? lane[l] : m;
    return m;
}

static void softmax_backward(float *ds, const float *p, float d, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ds[i] = p[i] * (ds[i] - d);
}

/* Philox4x32-10 (base/random.c has the readable version) for 16 blocks at a time: 64 numbers. */
static void dropout(float *x, const uint32_t key[2], const uint32_t counter[3], uint32_t first, uint32_t limit,
                    float factor, int64_t n)
{
    for (int64_t at = 0; at < n; at += 4 * LANES) {
        uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = key[0], k1 = key[1];
        float f[4 * LANES];
        int64_t m = n - at < 4 * LANES ? n - at : 4 * LANES;
        for (int l = 0; l < LANES; l++) {
            c0[l] = (first + (uint32_t)at) / 4 + (uint32_t)l;
            c1[l] = counter[0];
            c2[l] = counter[1];
            c3[l] = counter[2];
        }
        for (int round = 0; round < 10; round++) {
            for (int l = 0; l < LANES; l++) {
                uint64_t a = (uint64_t)c0[l] * 0xD2511F53u, b = (uint64_t)c2[l] * 0xCD9E8D57u;
                c0[l] = (uint32_t)(b >> 32) ^ c1[l] ^ k0;
                c2[l] = (uint32_t)(a >> 32) ^ c3[l] ^ k1;
                c1[l] = (uint32_t)b;
                c3[l] = (uint32_t)a;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int l = 0; l < LANES; l++) {
            f[4 * l] = c0[l] < limit ? 0.0f : factor;
            f[4 * l + 1] = c1[l] < limit ? 0.0f : factor;
            f[4 * l + 2] = c2[l] < limit ? 0.0f : factor;
            f[4 * l + 3] = c3[l] < limit ? 0.0f : factor;
        }
        for (int64_t i = 0; i < m; i++)
            x[at + i] *= f[i];
    }
}

static void adam(float *w, float *m, float *v, const float *g, int64_t n, float gscale, float decay, float step,
                 const float beta[4], float eps)
{
    float b1 = beta[0], c1 = beta[1], b2 = beta[2], c2 = beta[3];
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * gscale;
        float mi = b1 * m[i] + c1 * d;
        float vi = b2 * v[i] + c2 * d * d;
        m[i] = mi;
        v[i] = vi;
        w[i] -= decay * w[i] + step * mi / (sqrtf(vi) + eps);
    }
}

static void add_squares(float *s, const float *x, const float *mean, int64_t n)
{
    if (mean)
        for (int64_t i = 0; i < n; i++)
            s[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
    else
        for (int64_t i = 0; i < n; i++)
            s[i] += x[i];
}

static void affine(float *y, const float *x, const float *mean, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] * (x[i] - mean[i]) + b[i];
}

static void glu(float *y, const float *a, const float *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] * sigmoid_1(g[i]);
}

static void glu_backward(float *da, float *dg, const float *dy, const float *a, const float *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float s = sigmoid_1(g[i]), value = a[i], d = dy[i]; /* da may be a, dg may be g */
        da[i] = d * s;
        dg[i] = d * value * s * (1.0f - s);
    }
}

static void narrow(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = mert_to_bf16(x[i]);
}

static void widen(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t b = (uint32_t)x[i] << 16;
        memcpy(y + i, &b, sizeof b);
    }
}

static void add_products(double *s, const float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        s[i] += (double)x[i] * (double)y[i];
}

static void scale_shift(float *y, const float *x, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] * x[i] + b[i];
}

static void combine(float *z, const float *x, const float *a, const float *y, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        z[i] = a[i] * x[i] + b[i] * y[i];
}

static void rotate(float *x1, float *x2, const float *c, const float *s, float sign, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float a = x1[i], b = x2[i], turn = sign * s[i];
        x1[i] = a * c[i] - b * turn;
        x2[i] = b * c[i] + a * turn;
    }
}

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

const mert_vector MERT_KERNEL(mert_vector) = {gelu,
                                              gelu_backward,
                                              epilogue,
                                              axpy,
                                              scale,
                                              sum,
                                              dot,
                                              layer_norm,
                                              apply_norm,
                                              layer_norm_backward,
                                              norm_parameters,
                                              exp_sum,
                                              max,
                                              softmax_backward,
                                              dropout,
                                              adam,
                                              add_squares,
                                              affine,
                                              glu,
                                              glu_backward,
                                              narrow,
                                              widen,
                                              add_products,
                                              scale_shift,
                                              combine,
                                              rotate,
                                              elu,
                                              lstm_gates};
