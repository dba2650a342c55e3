/* The readable version of every operation of operations.h that has a formula. Forward only, in double precision, one
 * plain loop per sum, no tiles and no threads. Tests compare the backends with it: the fast forward operations
 * directly, the backward operations with its finite differences. It is also the place to read what an operation
 * computes.
 *
 * Letters: B items, T frames, D or C channels, H heads of dh channels, O outputs, V classes. Arrays are row major and
 * of type double. Names and meanings are those of the operation's arguments in operations.h, including the meaning of
 * NULL. */
#ifndef MERT_REFERENCE_H
#define MERT_REFERENCE_H

#include "libcommon/nn/conv.h"
#include "libcommon/nn/ops.h"

/* ---- elementwise, and sums over rows ---- */

double mert_reference_gelu(double x);    /* x Phi(x), Phi: distribution function of the normal distribution: x/2 (1 +
                                            erf(x / sqrt 2)) */
double mert_reference_sigmoid(double x); /* 1 / (1 + e^-x) */
/* y[i] = (residual[i] +) gelu(x[i]) */
void mert_reference_gelu_all(double *y, const double *x, const double *residual, int64_t n);
/* to[r, c] = (add: to[r, c] +) scale from[r, c]; with one row it is copy (add 0) or axpy (add 1) */
void mert_reference_copy_2d(double *to, int64_t ldto, const double *from, int64_t ldfrom, int64_t rows, int64_t columns,
                            int add, double scale);
/* to[n, b, a] = (add: +=) from[n, a, b] */
void mert_reference_swap_axes(double *to, const double *from, int64_t n, int64_t a, int64_t b, int add);
/* x rounded to bfloat16: 8 significant bits and float32's exponents, to nearest, ties to even; infinite from halfway
 * between the largest number and the next one on. */
double mert_reference_narrow(double x);
/* sums[c] += sum over r of x[r, c] */
void mert_reference_column_sum(double *sums, const double *x, int64_t rows, int64_t columns, int64_t ldx);
void mert_reference_dropout(double *x, int64_t B, int64_t n, double p, const mert_dropout_key *key);

/* ---- products ---- */

/* As mert_gemm_args, but alpha 0 means 0. */
typedef struct mert_reference_gemm_args {
    int64_t M, N, K;
    const double *a, *b;
    double *c;
    int64_t lda, ldb, ldc;
    int ta, tb, add;
    double alpha;
    int64_t batch, a_step, b_step, c_step;
    int sum;
    const double *bias, *residual;
    double *pre;
    int gelu;
} mert_reference_gemm_args;

void mert_reference_gemm(const mert_reference_gemm_args *g);
/* y[r, o] = sum over i of x[r, i] w[o, i] + bias[o], which is copied to pre; then GELU; then + residual[r, o] */
void mert_reference_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *w, const double *bias,
                           double *pre, int gelu, const double *residual, double *y);

/* ---- convolution over time, without padding ---- */

/* y[b, t, o] = bias[o] + sum over k, c of w[o, k, c] x[b, t stride + k, c]; then GELU. */
void mert_reference_conv(const mert_conv_shape *s, const double *x, const double *w, const double *bias, int gelu,
                         double *y);
/* y = gelu(norm(conv(x))), the norm over time (mert_reference_time_norm) or channels (mert_reference_layer_norm) */
void mert_reference_first_layer(const mert_conv_shape *s, const double *x, const double *w, const double *bias,
                                const double *norm_w, const double *norm_b, double eps, int over_channels, double *y);

/* ---- norms ---- */

/* y[r, c] = (x[r, c] - m) rstd w[c] + b[c], rstd = 1 / sqrt(v + eps), with the mean m and the variance v (divided by n,
 * not n - 1) of the row; then GELU */
void mert_reference_layer_norm(double *y, const double *x, const double *w, const double *b, double *mean, double *rstd,
                               int64_t rows, int64_t columns, double eps, int gelu);
/* s = scale residual + dropout(x); then, if y is not NULL, y is the norm of s */
void mert_reference_add_norm(double *s, double *y, const double *x, const double *residual, const double *w,
                             const double *b, double *mean, double *rstd, int64_t B, int64_t T, int64_t D,
                             double scale, double eps, double p, const mert_dropout_key *key);
/* mert_reference_layer_norm for x [B, T, C], with mean and variance of each channel over the time of its item; pre gets
 * y before the GELU. */
void mert_reference_time_norm(double *y, const double *x, const double *w, const double *b, double *mean, double *rstd,
                              double *pre, int64_t B, int64_t T, int64_t C, double eps, int gelu);
/* w[o, k, i] = g[k] v[o, i, k] / norm[k], norm[k]^2 = sum over o, i of v[o, i, k]^2 */
void mert_reference_weight_norm(double *w, double *norm, const double *g, const double *v, int64_t out, int64_t in,
                                int64_t kernel);

/* ---- positional convolution ---- */

/* y[b, t, o] = bias[o] + sum over k, i of w[o, k, i] x[b, t + k - pad, first channel of o's group + i]; x is 0 before
 * its start and after its end */
void mert_reference_grouped_conv(double *y, const double *x, const double *w, const double *bias, int64_t B, int64_t T,
                                 int64_t D, int64_t groups, int64_t kernel, int64_t pad);

/* ---- attention ---- */

typedef struct mert_reference_attention_args {
    double *out, *lse;
    const double *q, *k, *v;
    int64_t B, T, H, dh, ld;
    double scale, p;
    mert_dropout_key key;
} mert_reference_attention_args;

/* For item b, head h, query t:
 *
 *     s[u] = scale <q[t], k[u]>, lse = log sum over u of e^s[u]
 *     out[t] = sum over u of m[u] e^(s[u] - lse) v[u]
 *
 * m are the dropout's factors: row b H + h, element t T' + u, with T' = T rounded up to a multiple of 4. */
void mert_reference_attention(const mert_reference_attention_args *a);

/* x [B * T rows of stride ld]: x1 = x1 c - x2 s, x2 = x2 c + x1 s for the halves of each head; inverse: s is negated */
void mert_reference_rotary(double *x, const double *cosines, const double *sines, int64_t B, int64_t T, int64_t H,
                           int64_t dh, int64_t ld, int inverse);

/* ---- depthwise convolution and global response norm ---- */

/* y[b, t, c] = bias[c] + sum over k of w[c, k] x[b, t + k - pad, c], t < frames; x [B, T, C] is 0 before its start and
 * after its end */
void mert_reference_depthwise_conv(double *y, const double *x, const double *w, const double *bias, int64_t B,
                                   int64_t T, int64_t C, int64_t kernel, int64_t pad, int64_t frames);
/* squares[b, c] += sum over t of x[b, t, c]^2 */
void mert_reference_time_squares(double *squares, const double *x, int64_t B, int64_t T, int64_t C);
/* y = w (x n) + b + x, n[b, c] = m / (mean over c of m + eps), m[b, c] = sqrt(squares[b, c]) */
void mert_reference_response_norm(double *y, const double *x, const double *squares, const double *w, const double *b,
                                  int64_t B, int64_t T, int64_t C, double eps);

/* ---- masking, and choosing rows ---- */

/* x[r] = e where mask[r] */
void mert_reference_mask(double *x, const double *e, const float *mask, int64_t rows, int64_t D);
/* x[b,t,d] = 0 where rows[b,t] or channels[b,d]; either may be NULL */
void mert_reference_zero(double *x, const float *rows, const float *channels, int64_t B, int64_t T, int64_t D);
/* to[i] = from[index[i]] */
void mert_reference_gather(double *to, const double *from, const int32_t *index, int64_t n, int64_t D);
/* to[index[i]] += from[i] */
void mert_reference_scatter_add(double *to, const double *from, const int32_t *index, int64_t n, int64_t D);

/* Row r of y is row s of dropout(x), or e if mask[s] is set, where s = from[i] if r is to[i], and otherwise s = r. Then
 * the channels that are set for r's item become 0. */
void mert_reference_corrupt(double *y, const double *x, const double *e, const float *mask, const int32_t *to,
                            const int32_t *from, int64_t replaced, const float *channels, int64_t B, int64_t T,
                            int64_t D, double p, const mert_dropout_key *key);
/* y[j] = the mean, or the largest, of x[first[j]] to x[first[j + 1] - 1] */
void mert_reference_pool_spans(double *y, int64_t ldy, const double *x, const int32_t *first, int64_t spans, int64_t D,
                               int largest);

/* ---- losses ---- */

/* y[r] = x[r] / norm[r], norm[r] = max(|x[r]|, 1e-8) */
void mert_reference_normalize(double *y, double *norm, const double *x, int64_t rows, int64_t D, int64_t ld);
/* Returns the sum over r of log(sum over v of e^(s cosine[r, v])) - s cosine[r, target[r]], with s = scale, or
 * min(e^*log_temperature, 100) if that is not NULL. *correct (NULL: not wanted): the number of rows in which the
 * target's cosine is above all others. */
double mert_reference_cross_entropy(const double *cosine, const int32_t *target, const double *log_temperature,
                                    double scale, int64_t rows, int64_t V, int64_t *correct);
double mert_reference_squared_error(const double *x, const double *y, int64_t n); /* sum of (x - y)^2 */
double mert_reference_sum_squares(const double *x, int64_t n);
/* y[r, d] = x[r, d] sigmoid(x[r, D + d]); x [rows, 2 D] */
void mert_reference_glu(double *y, const double *x, int64_t rows, int64_t D);

/* ---- an audio codec ---- */

double mert_reference_elu(double x); /* x > 0 ? x : e^x - 1 */
/* One span by itself, of r rows x [r, C]: y [left + r + right, C] with right = what r lacks to a multiple of stride. x
 * is extended by zeros until it is longer than left and right; y[left + t] = x[t], and at both ends y goes back over
 * the same numbers. begins 0: there are zeros before it instead. */
void mert_reference_pad(double *y, const double *x, int64_t r, int64_t C, int64_t left, int64_t stride, int begins);
/* y [T, W] from gates [T, 4 W], w [W, 4 W]; state: h, then c */
void mert_reference_lstm(double *y, double *state, const double *gates, const double *w, int64_t T, int64_t W);
/* The index of the row of words [V, D] that is nearest to x [D], the lowest of several; x becomes the difference. */
int32_t mert_reference_nearest(double *x, const double *words, int64_t V, int64_t D);

/* ---- the CQT target ---- */

/* A quarter of the rate: x [n], y [N], h [half + 1]; as mert_decimate_args. */
void mert_reference_decimate(double *y, const double *x, const double *h, int64_t n, int64_t N, int64_t shift,
                             int64_t half);
/* |Y| of one bin at one frame, whose window begins with sample `at`: x [n]; taps [count][MERT_CQT_LANES][2] at the
 * bin's lane. */
double mert_reference_cqt(const double *x, int64_t n, int64_t at, const float *taps, int64_t count);

/* ---- the update ---- */

/* Returns the factor for gradients whose sum of squares is `squares`: scale, and less if their norm would be above
 * clip_norm (0: no limit). *norm: the norm before clipping. slack: 1e-6 as in torch's clip_grad_norm_, 0 as in
 * fairseq's FP16Optimizer. */
double mert_reference_clip(double squares, double scale, double clip_norm, double slack, double *norm);
/* Adam (Kingma & Ba 2015) with decoupled weight decay, as in fairseq: d = gradient_scale g; m = beta1 m + (1 - beta1)
 * d; v = beta2 v + (1 - beta2) d^2; w = w - weight_decay lr w - step m / (sqrt(v) + eps) */
typedef struct mert_reference_adam_args {
    double *w, *m, *v;
    const double *g;
    int64_t n;
    double gradient_scale, lr, step, beta1, beta2, eps, weight_decay;
} mert_reference_adam_args;

void mert_reference_adam(const mert_reference_adam_args *a);

#endif
