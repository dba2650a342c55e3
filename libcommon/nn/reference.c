#include "libcommon/nn/reference.h"

#include "libcommon/base/random.h"

#include <math.h>

/* ---- elementwise, and sums over rows ---- */

double mert_reference_gelu(double x)
{
    return x / 2 * (1 + erf(x / sqrt(2)));
}

double mert_reference_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

void mert_reference_gelu_all(double *y, const double *x, const double *residual, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = mert_reference_gelu(x[i]) + (residual ? residual[i] : 0);
}

void mert_reference_copy_2d(double *to, int64_t ldto, const double *from, int64_t ldfrom, int64_t rows, int64_t columns,
                            int add, double scale)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[r * ldto + c] = (add ? to[r * ldto + c] : 0) + scale * from[r * ldfrom + c];
}

void mert_reference_swap_axes(double *to, const double *from, int64_t n, int64_t a, int64_t b, int add)
{
    for (int64_t m = 0; m < n; m++)
        for (int64_t i = 0; i < a; i++)
            for (int64_t j = 0; j < b; j++) {
                double *t = &to[(m * b + j) * a + i];
                *t = (add ? *t : 0) + from[(m * a + i) * b + j];
            }
}

double mert_reference_narrow(double x)
{
    int exponent;
    double rounded;
    if (!isfinite(x) || x == 0)
        return x;
    frexp(x, &exponent); /* |x| in [2^(exponent - 1), 2^exponent) */
    exponent = exponent < -125 ? -125 : exponent;
    rounded = ldexp(rint(ldexp(x, 8 - exponent)), exponent - 8);
    return fabs(rounded) >= 0x1p128 ? copysign(INFINITY, x) : rounded;
}

void mert_reference_column_sum(double *sums, const double *x, int64_t rows, int64_t columns, int64_t ldx)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            sums[c] += x[r * ldx + c];
}

/* The factor of element i of row b: 0 with probability p, otherwise 1 / (1 - p). It follows from random number i of the
 * key (base/random.h). */
static double dropout_factor(const mert_dropout_key *key, double p, uint32_t b, uint32_t i)
{
    mert_random r = mert_random_key(key->seed, MERT_FOR_DROPOUT, key->place, b, key->site);
    return mert_random_u32(&r, i) < (uint32_t)(p * 4294967296.0) ? 0 : 1 / (1 - p);
}

void mert_reference_dropout(double *x, int64_t B, int64_t n, double p, const mert_dropout_key *key)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < n; i++)
            x[b * n + i] *= dropout_factor(key, p, (uint32_t)b, (uint32_t)i);
}

/* ---- products ---- */

/* Row r of op(a) times column c of op(b), of product n of the batch. */
static double row_times_column(const mert_reference_gemm_args *g, int64_t n, int64_t r, int64_t c)
{
    const double *a = g->a + n * g->a_step, *b = g->b + n * g->b_step;
    double sum = 0;
    for (int64_t k = 0; k < g->K; k++)
        sum += (g->ta ? a[k * g->lda + r] : a[r * g->lda + k]) * (g->tb ? b[c * g->ldb + k] : b[k * g->ldb + c]);
    return sum;
}

void mert_reference_gemm(const mert_reference_gemm_args *g)
{
    int64_t products = g->batch > 0 ? g->batch : 1, results = g->sum ? 1 : products;
    for (int64_t n = 0; n < results; n++)
        for (int64_t r = 0; r < g->M; r++)
            for (int64_t c = 0; c < g->N; c++) {
                int64_t at = n * g->c_step + r * g->ldc + c;
                double y = g->add ? g->c[at] : 0;
                for (int64_t i = g->sum ? 0 : n; i < (g->sum ? products : n + 1); i++)
                    y += g->alpha * row_times_column(g, i, r, c);
                if (g->bias)
                    y += g->bias[c];
                if (g->pre)
                    g->pre[at] = y;
                if (g->gelu)
                    y = mert_reference_gelu(y);
                if (g->residual)
                    y += g->residual[at];
                g->c[at] = y;
            }
}

void mert_reference_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *w, const double *bias,
                           double *pre, int gelu, const double *residual, double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += x[r * in + i] * w[o * in + i];
            if (pre)
                pre[r * out + o] = sum;
            y[r * out + o] = (gelu ? mert_reference_gelu(sum) : sum) + (residual ? residual[r * out + o] : 0);
        }
}

/* ---- convolution over time ---- */

void mert_reference_conv(const mert_conv_shape *s, const double *x, const double *w, const double *bias, int gelu,
                         double *y)
{
    for (int64_t b = 0; b < s->B; b++)
        for (int64_t t = 0; t < s->T_out; t++)
            for (int64_t o = 0; o < s->O; o++) {
                int64_t at = (b * s->T_out + t) * s->O + o;
                double sum = bias ? bias[o] : 0;
                for (int64_t k = 0; k < s->kernel; k++)
                    for (int64_t c = 0; c < s->C; c++)
                        sum += w[(o * s->kernel + k) * s->C + c] * x[(b * s->T_in + t * s->stride + k) * s->C + c];
                y[at] = gelu ? mert_reference_gelu(sum) : sum;
            }
}

void mert_reference_first_layer(const mert_conv_shape *s, const double *x, const double *w, const double *bias,
                                const double *norm_w, const double *norm_b, double eps, int over_channels, double *y)
{
    int64_t rows = s->B * s->T_out;
    mert_reference_conv(s, x, w, bias, 0, y);
    if (over_channels)
        mert_reference_layer_norm(y, y, norm_w, norm_b, NULL, NULL, rows, s->O, eps, 1);
    else
        mert_reference_time_norm(y, y, norm_w, norm_b, NULL, NULL, NULL, s->B, s->T_out, s->O, eps, 1);
}

/* ---- norms ---- */

/* Mean, and 1 / sqrt(variance + eps), of n numbers `step` apart. */
static void statistics(const double *x, int64_t n, int64_t step, double eps, double *mean, double *rstd)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i * step];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i * step] - *mean) * (x[i * step] - *mean);
    *rstd = 1 / sqrt(squares / (double)n + eps);
}

void mert_reference_layer_norm(double *y, const double *x, const double *w, const double *b, double *mean, double *rstd,
                               int64_t rows, int64_t columns, double eps, int gelu)
{
    for (int64_t r = 0; r < rows; r++) {
        double m, s;
        statistics(x + r * columns, columns, 1, eps, &m, &s);
        for (int64_t c = 0; c < columns; c++) {
            double normal = (x[r * columns + c] - m) * s * w[c] + b[c];
            y[r * columns + c] = gelu ? mert_reference_gelu(normal) : normal;
        }
        if (mean)
            mean[r] = m;
        if (rstd)
            rstd[r] = s;
    }
}

void mert_reference_add_norm(double *s, double *y, const double *x, const double *residual, const double *w,
                             const double *b, double *mean, double *rstd, int64_t B, int64_t T, int64_t D,
                             double scale, double eps, double p, const mert_dropout_key *key)
{
    for (int64_t i = 0; i < B * T * D; i++)
        s[i] = x[i];
    if (p > 0)
        mert_reference_dropout(s, B, T * D, p, key);
    for (int64_t i = 0; i < B * T * D; i++)
        s[i] += scale * residual[i];
    if (y)
        mert_reference_layer_norm(y, s, w, b, mean, rstd, B * T, D, eps, 0);
}

void mert_reference_time_norm(double *y, const double *x, const double *w, const double *b, double *mean, double *rstd,
                              double *pre, int64_t B, int64_t T, int64_t C, double eps, int gelu)
{
    for (int64_t n = 0; n < B; n++)
        for (int64_t c = 0; c < C; c++) {
            double m, s;
            statistics(x + n * T * C + c, T, C, eps, &m, &s);
            for (int64_t t = 0; t < T; t++) {
                int64_t at = (n * T + t) * C + c;
                double normal = (x[at] - m) * s * w[c] + b[c];
                if (pre)
                    pre[at] = normal;
                y[at] = gelu ? mert_reference_gelu(normal) : normal;
            }
            if (mean)
                mean[n * C + c] = m;
            if (rstd)
                rstd[n * C + c] = s;
        }
}

void mert_reference_weight_norm(double *w, double *norm, const double *g, const double *v, int64_t out, int64_t in,
                                int64_t kernel)
{
    for (int64_t k = 0; k < kernel; k++) {
        double squares = 0;
        for (int64_t oi = 0; oi < out * in; oi++)
            squares += v[oi * kernel + k] * v[oi * kernel + k];
        norm[k] = sqrt(squares);
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++)
                w[(o * kernel + k) * in + i] = g[k] * v[(o * in + i) * kernel + k] / norm[k];
    }
}

/* ---- positional convolution ---- */

void mert_reference_grouped_conv(double *y, const double *x, const double *w, const double *bias, int64_t B, int64_t T,
                                 int64_t D, int64_t groups, int64_t kernel, int64_t pad)
{
    int64_t width = D / groups;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t o = 0; o < D; o++) {
                double sum = bias ? bias[o] : 0;
                for (int64_t k = 0; k < kernel; k++) {
                    int64_t from = t + k - pad;
                    if (from < 0 || from >= T)
                        continue;
                    for (int64_t i = 0; i < width; i++)
                        sum += w[(o * kernel + k) * width + i] * x[(b * T + from) * D + o / width * width + i];
                }
                y[(b * T + t) * D + o] = sum;
            }
}

/* ---- attention ---- */

static double score(const mert_reference_attention_args *a, int64_t at, int64_t t, int64_t u)
{
    double sum = 0;
    for (int64_t i = 0; i < a->dh; i++)
        sum += a->q[at + t * a->ld + i] * a->k[at + u * a->ld + i];
    return a->scale * sum;
}

/* log sum over u of e^score; the largest score is subtracted first, so that nothing overflows */
static double log_sum(const mert_reference_attention_args *a, int64_t at, int64_t t)
{
    double top = -INFINITY, sum = 0;
    for (int64_t u = 0; u < a->T; u++)
        top = fmax(top, score(a, at, t, u));
    for (int64_t u = 0; u < a->T; u++)
        sum += exp(score(a, at, t, u) - top);
    return top + log(sum);
}

void mert_reference_attention(const mert_reference_attention_args *a)
{
    int64_t padded = (a->T + 3) / 4 * 4;
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t h = 0; h < a->H; h++)
            for (int64_t t = 0; t < a->T; t++) {
                int64_t at = b * a->T * a->ld + h * a->dh;
                double *out = a->out + at + t * a->ld, lse = log_sum(a, at, t);
                for (int64_t i = 0; i < a->dh; i++)
                    out[i] = 0;
                for (int64_t u = 0; u < a->T; u++) {
                    double p = exp(score(a, at, t, u) - lse);
                    if (a->p > 0)
                        p *= dropout_factor(&a->key, a->p, (uint32_t)(b * a->H + h),
                                                           (uint32_t)(t * padded + u));
                    for (int64_t i = 0; i < a->dh; i++)
                        out[i] += p * a->v[at + u * a->ld + i];
                }
                if (a->lse)
                    a->lse[(b * a->H + h) * a->T + t] = lse;
            }
}

void mert_reference_rotary(double *x, const double *cosines, const double *sines, int64_t B, int64_t T, int64_t H,
                           int64_t dh, int64_t ld, int inverse)
{
    for (int64_t r = 0; r < B * T; r++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < dh / 2; i++) {
                double *x1 = &x[r * ld + h * dh + i], *x2 = x1 + dh / 2, first = *x1;
                double c = cosines[r % T * (dh / 2) + i], s = sines[r % T * (dh / 2) + i] * (inverse ? -1 : 1);
                *x1 = first * c - *x2 * s;
                *x2 = *x2 * c + first * s;
            }
}

/* ---- depthwise convolution and global response norm ---- */

void mert_reference_depthwise_conv(double *y, const double *x, const double *w, const double *bias, int64_t B,
                                   int64_t T, int64_t C, int64_t kernel, int64_t pad, int64_t frames)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < frames; t++)
            for (int64_t c = 0; c < C; c++) {
                double sum = bias ? bias[c] : 0;
                for (int64_t k = 0; k < kernel; k++)
                    if (t + k - pad >= 0 && t + k - pad < T)
                        sum += w[c * kernel + k] * x[(b * T + t + k - pad) * C + c];
                y[(b * frames + t) * C + c] = sum;
            }
}

void mert_reference_time_squares(double *squares, const double *x, int64_t B, int64_t T, int64_t C)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++)
                squares[b * C + c] += x[(b * T + t) * C + c] * x[(b * T + t) * C + c];
}

void mert_reference_response_norm(double *y, const double *x, const double *squares, const double *w, const double *b,
                                  int64_t B, int64_t T, int64_t C, double eps)
{
    for (int64_t i = 0; i < B; i++) {
        double mean = 0;
        for (int64_t c = 0; c < C; c++)
            mean += sqrt(squares[i * C + c]) / (double)C;
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++) {
                int64_t at = (i * T + t) * C + c;
                double n = sqrt(squares[i * C + c]) / (mean + eps);
                y[at] = w[c] * (x[at] * n) + b[c] + x[at];
            }
    }
}

/* ---- masking, and choosing rows ---- */

void mert_reference_mask(double *x, const double *e, const float *mask, int64_t rows, int64_t D)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < D && mask[r] != 0; d++)
            x[r * D + d] = e[d];
}

void mert_reference_zero(double *x, const float *rows, const float *channels, int64_t B, int64_t T, int64_t D)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t d = 0; d < D; d++)
                if ((rows && rows[b * T + t] != 0) || (channels && channels[b * D + d] != 0))
                    x[(b * T + t) * D + d] = 0;
}

void mert_reference_gather(double *to, const double *from, const int32_t *index, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < D; d++)
            to[i * D + d] = from[index[i] * D + d];
}

void mert_reference_scatter_add(double *to, const double *from, const int32_t *index, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < D; d++)
            to[index[i] * D + d] += from[i * D + d];
}

void mert_reference_corrupt(double *y, const double *x, const double *e, const float *mask, const int32_t *to,
                            const int32_t *from, int64_t replaced, const float *channels, int64_t B, int64_t T,
                            int64_t D, double p, const mert_dropout_key *key)
{
    for (int64_t r = 0; r < B * T; r++) {
        int64_t source = r;
        for (int64_t i = 0; i < replaced; i++)
            if (to[i] == r)
                source = from[i];
        for (int64_t d = 0; d < D; d++) {
            double factor = p > 0 ? dropout_factor(key, p, (uint32_t)(source / T), (uint32_t)(source % T * D + d)) : 1;
            y[r * D + d] = mask && mask[source] != 0 ? e[d] : factor * x[source * D + d];
            if (channels && channels[r / T * D + d] != 0)
                y[r * D + d] = 0;
        }
    }
}

void mert_reference_pool_spans(double *y, int64_t ldy, const double *x, const int32_t *first, int64_t spans, int64_t D,
                               int largest)
{
    for (int64_t j = 0; j < spans; j++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0, top = -INFINITY;
            for (int64_t t = first[j]; t < first[j + 1]; t++) {
                sum += x[t * D + d];
                top = fmax(top, x[t * D + d]);
            }
            y[j * ldy + d] = largest ? top : sum / (double)(first[j + 1] - first[j]);
        }
}

/* ---- losses ---- */

void mert_reference_normalize(double *y, double *norm, const double *x, int64_t rows, int64_t D, int64_t ld)
{
    for (int64_t r = 0; r < rows; r++) {
        double length = fmax(sqrt(mert_reference_sum_squares(x + r * ld, D)), 1e-8);
        for (int64_t d = 0; d < D; d++)
            y[r * ld + d] = x[r * ld + d] / length;
        if (norm)
            norm[r] = length;
    }
}

double mert_reference_cross_entropy(const double *cosine, const int32_t *target, const double *log_temperature,
                                    double scale, int64_t rows, int64_t V, int64_t *correct)
{
    double s = log_temperature ? fmin(exp(*log_temperature), 100) : scale, loss = 0;
    int64_t right = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double *c = cosine + r * V, mine = c[target[r]];
        double sum = 0;
        int64_t reach = 0; /* number of classes with at least the target's cosine, including the target */
        for (int64_t v = 0; v < V; v++) {
            sum += exp(s * (c[v] - mine));
            reach += c[v] >= mine;
        }
        loss += log(sum);
        right += reach == 1;
    }
    if (correct)
        *correct = right;
    return loss;
}

double mert_reference_squared_error(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sum;
}

double mert_reference_sum_squares(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

void mert_reference_glu(double *y, const double *x, int64_t rows, int64_t D)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < D; d++)
            y[r * D + d] = x[r * 2 * D + d] * mert_reference_sigmoid(x[r * 2 * D + D + d]);
}

/* ---- an audio codec ---- */

double mert_reference_elu(double x)
{
    return x > 0 ? x : expm1(x);
}

void mert_reference_pad(double *y, const double *x, int64_t r, int64_t C, int64_t left, int64_t stride, int begins)
{
    int64_t right = (stride - r % stride) % stride, longer = left > right ? left : right;
    int64_t extended = r > longer ? r : longer + 1;
    for (int64_t t = -left; t < r + right; t++)
        for (int64_t c = 0; c < C; c++) {
            int64_t from = t < 0 ? -t : t < extended ? t : 2 * (extended - 1) - t;
            y[(left + t) * C + c] = (t < 0 && !begins) || from >= r ? 0 : x[from * C + c];
        }
}

void mert_reference_lstm(double *y, double *state, const double *gates, const double *w, int64_t T, int64_t W)
{
    double *c = state + W;
    for (int64_t t = 0; t < T; t++) {
        const double *h = t ? y + (t - 1) * W : state;
        for (int64_t j = 0; j < W; j++) {
            double g[4];
            for (int64_t i = 0; i < 4; i++) {
                g[i] = gates[t * 4 * W + i * W + j];
                for (int64_t k = 0; k < W; k++)
                    g[i] += h[k] * w[k * 4 * W + i * W + j];
            }
            c[j] = mert_reference_sigmoid(g[1]) * c[j] + mert_reference_sigmoid(g[0]) * tanh(g[2]);
            y[t * W + j] = mert_reference_sigmoid(g[3]) * tanh(c[j]);
        }
    }
    for (int64_t j = 0; T > 0 && j < W; j++)
        state[j] = y[(T - 1) * W + j];
}

int32_t mert_reference_nearest(double *x, const double *words, int64_t V, int64_t D)
{
    double least = INFINITY;
    int32_t best = 0;
    for (int64_t v = 0; v < V; v++) {
        double d = 0;
        for (int64_t i = 0; i < D; i++)
            d += (x[i] - words[v * D + i]) * (x[i] - words[v * D + i]);
        best = d < least ? (int32_t)v : best;
        least = d < least ? d : least;
    }
    for (int64_t i = 0; i < D; i++)
        x[i] -= words[best * D + i];
    return best;
}

/* ---- the CQT target ---- */

void mert_reference_decimate(double *y, const double *x, const double *h, int64_t n, int64_t N, int64_t shift,
                             int64_t half)
{
    for (int64_t i = 0; i < N; i++) {
        y[i] = 0;
        for (int64_t j = -half; j <= half; j++) {
            int64_t at = 4 * i + j - shift;
            y[i] += at >= 0 && at < n ? h[j < 0 ? -j : j] * x[at] : 0;
        }
    }
}

double mert_reference_cqt(const double *x, int64_t n, int64_t at, const float *taps, int64_t count)
{
    double re = 0, im = 0;
    for (int64_t i = 0; i < count; i++, at++) {
        const float *tap = taps + 2 * i * MERT_CQT_LANES;
        re += at >= 0 && at < n ? x[at] * tap[0] : 0;
        im += at >= 0 && at < n ? x[at] * tap[1] : 0;
    }
    return sqrt(re * re + im * im);
}

/* ---- the update ---- */

double mert_reference_clip(double squares, double scale, double clip_norm, double slack, double *norm)
{
    *norm = sqrt(squares) * scale;
    return clip_norm > 0 ? scale * fmin(1, clip_norm / (*norm + slack)) : scale;
}

void mert_reference_adam(const mert_reference_adam_args *a)
{
    for (int64_t i = 0; i < a->n; i++) {
        double d = a->gradient_scale * a->g[i];
        a->m[i] = a->beta1 * a->m[i] + (1 - a->beta1) * d;
        a->v[i] = a->beta2 * a->v[i] + (1 - a->beta2) * d * d;
        a->w[i] = a->w[i] - a->weight_decay * a->lr * a->w[i] - a->step * a->m[i] / (sqrt(a->v[i]) + a->eps);
    }
}
