/* The operations, each with the struct of its arguments. ops.h has the rules that hold for all of them, and the
 * calls. */
#ifndef MERT_OPERATIONS_H
#define MERT_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an element is, of all operations of one open backend. Its users never see the numbers: the type is incomplete,
 * so that a compiler finds an array of floats in its place. Files that know what it is, a backend's and those of tests,
 * define MERT_ELEMENT (float) before they include this; the structs below are the same to both. */
#ifdef MERT_ELEMENT
typedef MERT_ELEMENT mert_element;
#else
typedef struct mert_element mert_element;
#endif
typedef enum mert_element_type { MERT_ELEMENT_F32, MERT_ELEMENT_BF16, MERT_ELEMENT_F16 } mert_element_type;

typedef enum mert_op {
    MERT_OP_COPY,
    MERT_OP_CLEAR,
    MERT_OP_FILL,
    MERT_OP_COPY_2D,
    MERT_OP_AXPY,
    MERT_OP_ADD,
    MERT_OP_SWAP_AXES,
    MERT_OP_GEMM,
    MERT_OP_GELU,
    MERT_OP_GELU_BACKWARD,
    MERT_OP_COLUMN_SUM,
    MERT_OP_LAYER_NORM,
    MERT_OP_LAYER_NORM_BACKWARD,
    MERT_OP_TIME_NORM,
    MERT_OP_TIME_NORM_BACKWARD,
    MERT_OP_WEIGHT_NORM,
    MERT_OP_WEIGHT_NORM_BACKWARD,
    MERT_OP_GROUPED_CONV,
    MERT_OP_GROUPED_CONV_BACKWARD,
    MERT_OP_ATTENTION,
    MERT_OP_ATTENTION_BACKWARD,
    MERT_OP_DROPOUT,
    MERT_OP_MASK,
    MERT_OP_MASK_BACKWARD,
    MERT_OP_ZERO,
    MERT_OP_GATHER,
    MERT_OP_SCATTER_ADD,
    MERT_OP_NORMALIZE,
    MERT_OP_NORMALIZE_BACKWARD,
    MERT_OP_CROSS_ENTROPY,
    MERT_OP_SQUARED_ERROR,
    MERT_OP_GLU,
    MERT_OP_GLU_BACKWARD,
    MERT_OP_PACK,
    MERT_OP_WINDOW_MOMENTS,
    MERT_OP_FOLD_NORM,
    MERT_OP_SUM_SQUARES,
    MERT_OP_ADAM,
    MERT_OP_NARROW,
    MERT_OP_WIDEN,
    MERT_OP_TO_ELEMENTS,
    MERT_OP_TO_FLOATS,
    MERT_OP_DEPTHWISE_CONV,
    MERT_OP_DEPTHWISE_CONV_BACKWARD,
    MERT_OP_TIME_SQUARES,
    MERT_OP_RESPONSE_NORM,
    MERT_OP_RESPONSE_NORM_BACKWARD,
    MERT_OP_ROTARY,
    MERT_OP_CONV,
    MERT_OP_CONV_BACKWARD,
    MERT_OP_FIRST_LAYER,
    MERT_OP_FIRST_LAYER_BACKWARD,
    MERT_OP_ADD_NORM,
    MERT_OP_ADD_NORM_BACKWARD,
    MERT_OP_POOL_SPANS,
    MERT_OP_CORRUPT,
    MERT_OP_CORRUPT_BACKWARD,
    MERT_OP_CLIP,
    MERT_OPS_COUNT
} mert_op;

/* What weights are packed as; 0: they are not. */
typedef enum mert_packing { MERT_PACKED_F32 = 1, MERT_PACKED_BF16 } mert_packing;

/* ---- memory ---- */

/* Of whatever it is. */
typedef struct { void *to; const void *from; size_t bytes; } mert_copy_args;
typedef struct { void *to; size_t bytes; } mert_clear_args; /* all bits 0 */
typedef struct { float *to; float value; int64_t n; } mert_fill_args;
/* to[r, 0..columns) = (add: +=) from[r, 0..columns) * (scale, 0: 1) */
typedef struct {
    mert_element *to;
    int64_t ldto;
    const mert_element *from;
    int64_t ldfrom, rows, columns;
    int add;
    float scale;
} mert_copy_2d_args;
/* to += alpha * from (alpha 0: 1) */
typedef struct { mert_element *to; const mert_element *from; float alpha; int64_t n; } mert_axpy_args;
typedef struct { float *to; const float *from; int64_t n; } mert_add_args; /* to += from: gradients */
/* [n, a, b] -> [n, b, a]; add: += . Conv weights [out, in, k] <-> [out, k, in]. */
typedef struct { float *to; const float *from; int64_t n, a, b; int add; } mert_swap_axes_args;

/* For what waits for its use (float32 elements alone): to bfloat16 (the upper half of a float32: 8 significant bits,
 * the same range), to nearest, ties to even; and back, exactly. A NaN stays one. */
typedef struct { uint16_t *to; const mert_element *from; int64_t n; } mert_narrow_args;
typedef struct { mert_element *to; const uint16_t *from; int64_t n; } mert_widen_args;
/* Between float32 and elements. */
typedef struct { mert_element *to; const float *from; int64_t n; } mert_to_elements_args;
typedef struct { float *to; const mert_element *from; int64_t n; } mert_to_floats_args;

/* ---- products ---- */

/* c[M,N] = (add: c +) alpha * op(a) op(b), then, in this order: + bias[N]; pre[M,N] = that; GELU; + residual[M,N].
 * op(a) is a[M,K] or (ta) the transpose of a[K,M]; op(b) is b[K,N] or (tb) the transpose of b[N,K]. alpha 0 means 1.
 * batch > 0: so many products, `*_step` elements apart (pre and residual move like c); sum: their sum goes into one c.
 * pre and residual have c's row stride; residual is not c. gradient: takes c's place where the result is a parameter's
 * gradient.
 * Rows do not overlap: lda >= K, or (ta) M, and so for b and c.
 * packed: b is what mert_pack made of the weights [N,K] (op(b) is their transpose; ldb, tb and ta do not count, there
 * is no sum; b_step is in units of 4 bytes). Then every output is one sum in the order of K: a row's result does not
 * depend on M or on where in `a` it stands (contract A1). With MERT_PACKED_BF16 the numbers of a and b are
 * rounded to bfloat16, and nothing else is. */
typedef struct {
    int64_t M, N, K;
    const mert_element *a, *b;
    mert_element *c;
    float *gradient;
    int64_t lda, ldb, ldc;
    int ta, tb, add;
    mert_packing packed;
    float alpha;
    int64_t batch, a_step, b_step, c_step, bias_step;
    int sum;
    const float *bias;
    const mert_element *residual;
    mert_element *pre;
    int gelu;
} mert_gemm_args;
/* Weights in the order in which the backend's products read them best; opaque, packed_bytes of the backend long. w:
 * `count` matrices [n, k] with row stride ldw, w_step apart, which are rounded to elements -> to, to_step apart, in
 * units of 4 bytes. as 0: f32. */
typedef struct {
    mert_element *to;
    const float *w;
    int64_t ldw, n, k, count, to_step, w_step;
    mert_packing as;
} mert_pack_args;

/* ---- elementwise, and sums over rows ---- */

/* sums[columns] += sum over rows of x[rows, columns]; count > 0: of so many groups of columns, one beside the other,
 * whose sums are sums_step apart */
typedef struct {
    float *sums;
    const mert_element *x;
    int64_t rows, columns, ldx, count, sums_step;
} mert_column_sum_args;
/* x *= 0 or 1/(1-p), keyed; the same call is its own backward pass. Item b of B has n elements.
 * The key: seed, place (update and micro-batch), row b, site (which dropout of which layer). */
typedef struct { uint64_t seed, place; uint32_t site; } mert_dropout_key;
typedef struct { mert_element *x; int64_t B, n; double p; mert_dropout_key key; } mert_dropout_args;
/* y = (residual +) dropout(gelu(x)), gelu exact: x/2 (1 + erf(x / sqrt 2)). p 0: no dropout; else as mert_dropout has
 * it, of B items (0: 1) of n / B elements. */
typedef struct {
    mert_element *y;
    const mert_element *x, *residual;
    int64_t n, B;
    double p;
    mert_dropout_key key;
} mert_gelu_args;
/* dx = dropout(dy) * gelu'(x); dx may be dy, or x. sums [columns] (NULL: not wanted): += column sums of dx as rows of
 * columns, before it is rounded. */
typedef struct {
    mert_element *dx;
    const mert_element *dy, *x;
    float *sums;
    int64_t n, columns, B;
    double p;
    mert_dropout_key key;
} mert_gelu_backward_args;

/* ---- norms ---- */

/* y = (x - mean) * rstd * w + b over the last axis, then GELU; mean and rstd [rows] are kept where not NULL. y may be
 * x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *b;
    float *mean, *rstd;
    int64_t rows, columns;
    float eps;
    int gelu;
} mert_layer_norm_args;
/* dx (add: +=), dw += , db += ; dx may be dy, or (without add) x. gelu: through the GELU, too, whose argument follows
 * from x and b (not read otherwise); then dy, where it is not dx, has any contents afterwards. */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    mert_element *dy;
    const mert_element *x;
    const float *w, *b, *mean, *rstd;
    int64_t rows, columns;
    int add, gelu;
} mert_layer_norm_backward_args;
/* The end of a branch: s = (scale, 0: 1) * residual + dropout(x), then (y not NULL) y, mean, rstd = the LayerNorm of s
 * as it is stored. x, residual, s, y [B, T, D]; s may be x. p 0: no dropout; else as mert_dropout has it, of B items of
 * T * D elements. */
typedef struct {
    mert_element *s, *y;
    const mert_element *x, *residual;
    const float *w, *b;
    float *mean, *rstd;
    int64_t B, T, D;
    float scale, eps;
    double p;
    mert_dropout_key key;
} mert_add_norm_args;
/* With g = (add: dresidual +) the gradient by s that dy is behind the norm (w NULL: there is none, g comes of dy
 * itself): dresidual = scale * g, dx = dropout(g), dw and db += the norm's, sums [D] (NULL: not wanted) += column sums
 * of dx before it is rounded: the gradient of a bias that x ends with. dx NULL: it would be g, and is not wanted.
 * dresidual and dx are two arrays, and either may be dy. */
typedef struct {
    mert_element *dresidual, *dx;
    float *dw, *db, *sums;
    const mert_element *dy, *s;
    const float *w, *mean, *rstd;
    int64_t B, T, D;
    float scale;
    int add;
    double p;
    mert_dropout_key key;
} mert_add_norm_backward_args;
/* GroupNorm with one group per channel: each channel over the time of its item. x [B, T, C]; mean, rstd [B, C]. Sums
 * run in blocks of fixed absolute position. gelu: y = gelu of it (pre, where not NULL, keeps the argument). y may be x.
 */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *b;
    float *mean, *rstd;
    mert_element *pre;
    int64_t B, T, C;
    float eps;
    int gelu;
} mert_time_norm_args;
/* As mert_layer_norm_backward_args, without add; dx may be dy. The gelu's own backward pass comes before, by `pre`. */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    const mert_element *dy, *x;
    const float *w, *mean, *rstd;
    int64_t B, T, C;
} mert_time_norm_backward_args;

/* What the first convolution (one channel in) needs to know of a clip for the GroupNorm behind it, without computing
 * its outputs: with windows x[stride t .. stride t + kernel), sums[k] = sum over t < T of x[stride t + k] and
 * products[k][l] = sum over t of x[stride t + k] x[stride t + l], in double, in blocks of fixed position. */
typedef struct { double *sums, *products; const mert_element *x; int64_t T, kernel, stride; } mert_window_moments_args;
/* That GroupNorm folded into the convolution's weights: with mean = v.sums/T (+ the conv's own bias, which cancels) and
 * variance v^T (products/T - sums sums^T/T^2) v for row v of weights [out, kernel]: w = gain v, b = norm_b - gain mean,
 * gain = norm_w / sqrt(variance + eps). conv(x; w) + b is then the normalised output. */
typedef struct {
    float *w, *b;
    const double *sums, *products;
    const float *v, *norm_w, *norm_b;
    int64_t out, kernel, T;
    float eps;
} mert_fold_norm_args;

/* ---- convolution over time, without padding ---- */

/* x [B, T_in, C], y [B, T_out, O], T_out = (T_in - kernel) / stride + 1; weights [O, kernel, C], tap before channel
 * (mert_swap_axes of the official [O, C, kernel]). */
typedef struct mert_conv_shape { int64_t B, T_in, T_out, C, O, kernel, stride; } mert_conv_shape;
/* y[b,t,o] = bias[o] + sum over k, c of w[o][k][c] x[b, stride t + k, c]; then GELU. packed: w is what mert_pack made
 * of the weights as rows [O, kernel * C]; then contract A1 holds as for products. The sum is rounded once. */
typedef struct {
    mert_element *y;
    const mert_element *x, *w;
    const float *bias;
    mert_conv_shape shape;
    mert_packing packed;
    int gelu;
} mert_conv_args;
/* dx (NULL: not wanted) is overwritten, all T_in frames of it; dw [O, kernel, C] +=; db += (NULL: no bias) */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    const mert_element *dy, *x, *w;
    mert_conv_shape shape;
} mert_conv_backward_args;
/* The extractor's first layer, from one channel: y = gelu(norm(conv(x; w) + bias)), without its outputs before the norm
 * in memory. The norm is over the time of each channel of an item (mert_time_norm), or (over_channels) over the
 * channels of each frame (mert_layer_norm). shape.C is 1; w [O, kernel]. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *bias, *norm_w, *norm_b;
    mert_conv_shape shape;
    float eps;
    int over_channels;
} mert_first_layer_args;
/* dw, db (NULL: no bias), dnorm_w, dnorm_b +=. dy and room [B, T_out, O], elements to work in, have any contents
 * afterwards. Over time one pass over dy will do: the outputs' statistics and all four sums follow from the windows'
 * moments and from the sums over t of g and g x[stride t + k], g = dy gelu'. */
typedef struct {
    float *dw, *db, *dnorm_w, *dnorm_b;
    mert_element *dy, *room;
    const mert_element *x;
    const float *w, *bias, *norm_w, *norm_b;
    mert_conv_shape shape;
    float eps;
    int over_channels;
} mert_first_layer_backward_args;

/* ---- positional convolution ---- */

/* w[o][k][i] = g[k] * v[o][i][k] / norm[k], norm[k] = |v[.][.][k]|: weight norm over dim 2, stored tap before channel
 * for the product. v [out, in, kernel]; norm [kernel] is kept. */
typedef struct { float *w, *norm; const float *g, *v; int64_t out, in, kernel; } mert_weight_norm_args;
typedef struct {
    float *dg, *dv;
    const float *dw, *g, *v, *norm;
    int64_t out, in, kernel;
} mert_weight_norm_backward_args;
/* y[b,t,o] = bias[o] + sum over k, i of w[o][k][i] * x[b, t + k - pad, group(o) * D/groups + i], zeros beyond the ends;
 * then GELU; then + residual. x, y, residual [B, T, D]; w [D, kernel, D/groups], or packed: one mert_pack per group,
 * [D/groups, kernel * D/groups]. y may be neither x nor residual. */
typedef struct {
    mert_element *y;
    const mert_element *x, *w;
    const float *bias;
    const mert_element *residual;
    int64_t B, T, D, groups, kernel, pad;
    mert_packing packed;
    int gelu;
} mert_grouped_conv_args;
/* dx += , dw += ; (the bias's gradient is a column sum) */
typedef struct {
    mert_element *dx;
    float *dw;
    const mert_element *dy, *x, *w;
    int64_t B, T, D, groups, kernel, pad;
} mert_grouped_conv_backward_args;

/* ---- attention ---- */

/* out[b,t,h] = softmax(scale * q k^T) v over all T keys of the item, in tiles with a running softmax (contract A2):
 * memory does not grow with T^2. q, k, v [B, T, H * dh] with row stride ld, out with ldout (0: ld); lse [B, H, T]: log
 * of the softmax's denominator, kept for the backward pass. p > 0: dropout on the probabilities. largest: where not
 * NULL, becomes the largest scale * q k of the call if that is larger. */
typedef struct {
    mert_element *out;
    float *lse, *largest;
    const mert_element *q, *k, *v;
    int64_t B, T, H, dh, ld, ldout;
    float scale;
    double p;
    mert_dropout_key key;
} mert_attention_args;
/* dq, dk, dv are overwritten; out and lse are the forward pass's. Row strides: of dout and out ldout (0: ld), of the
 * others ld. */
typedef struct {
    mert_element *dq, *dk, *dv;
    const mert_element *dout, *out;
    const float *lse;
    const mert_element *q, *k, *v;
    int64_t B, T, H, dh, ld, ldout;
    float scale;
    double p;
    mert_dropout_key key;
} mert_attention_backward_args;

/* Rotary positions, in place: of each head's dh numbers in row t of an item, the first half x1 and the second x2 become
 * x1 c - x2 s and x2 c + x1 s, with c and s of row t of the tables [T, dh / 2]. x: rows of [B, T] with stride ld.
 * inverse: the rotation back, which is the backward pass. dh is even. */
typedef struct {
    mert_element *x;
    const float *cosines, *sines;
    int64_t B, T, H, dh, ld;
    int inverse;
} mert_rotary_args;

/* ---- depthwise convolution, and the norm of responses ---- */

/* y[b, t, c] = (bias[c] +) sum over k of w[c, k] x[b, t + k - pad, c], t < frames (0: T), x [B, T, C] being 0 beyond
 * its ends; y [B, frames, C]. w [C, kernel] as torch stores it: float32, like a norm's. The frames from t0 on of a
 * longer clip are those with pad - t0 in pad's place, with the same bits. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *bias;
    int64_t B, T, C, kernel, pad, frames;
} mert_depthwise_conv_args;
/* dx (add: +=), dw +=, of as many frames as x has; the bias's gradient is a column sum. dx is neither dy nor x. */
typedef struct {
    mert_element *dx;
    float *dw;
    const mert_element *dy, *x;
    const float *w;
    int64_t B, T, C, kernel, pad;
    int add;
} mert_depthwise_conv_backward_args;

/* squares[b, c] += sum over t of x[b, t, c]^2, in double, one frame after the other: a clip's squares are the same
 * however it is cut into calls. x [B, T, C] */
typedef struct { double *squares; const mert_element *x; int64_t B, T, C; } mert_time_squares_args;
/* Global response norm over the time of each item (Woo et al. 2023): with m = sqrt(squares[b, c]) of the whole clip,
 * n = m / (mean over c of m + eps), y = w[c] (x n) + b[c] + x. x [B, T, C], which may be some frames of the clip; y may
 * be x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const double *squares;
    const float *w, *b;
    int64_t B, T, C;
    double eps;
} mert_response_norm_args;
/* dx (add: +=), dw +=, db +=, of whole clips, through m as well; dx may be dy, or (without add) x. Where a channel is 0
 * at all times m has no derivative, and 0 counts. */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    const mert_element *dy, *x;
    const double *squares;
    const float *w;
    int64_t B, T, C;
    double eps;
    int add;
} mert_response_norm_backward_args;

/* ---- masking, and choosing rows ---- */

/* x[row] = e where mask[row] != 0. x [rows, D] */
typedef struct { mert_element *x; const float *e, *mask; int64_t rows, D; } mert_mask_args;
/* de += sum of dx over masked rows, which then become 0 */
typedef struct { mert_element *dx; float *de; const float *mask; int64_t rows, D; } mert_mask_backward_args;
/* x[b,t,d] = 0 where rows[b,t] != 0 or channels[b,d] != 0 (either may be NULL). x [B, T, D], rows [B, T], channels
 * [B, D]. The same call on the gradient is its backward pass. */
typedef struct { mert_element *x; const float *rows, *channels; int64_t B, T, D; } mert_zero_args;
/* What training does to frames x [B, T, D] before the transformer sees them, in this order: dropout (p 0: none; as
 * mert_dropout, of B items of T * D elements); rows where mask [B, T] (NULL: none) is not 0 become e; row to[i] becomes
 * what row from[i] is until now, i < replaced, each of B * T rows at most once in its list; channels where channels
 * [B, D] (NULL: none) is not 0 become 0. y may not be x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *e, *mask, *channels;
    const int32_t *to, *from;
    int64_t replaced, B, T, D;
    double p;
    mert_dropout_key key;
} mert_corrupt_args;
/* dx, which may not be dy; de += . replaced_rows [B, T] (with `replaced` alone): 1 for the rows of `to`, else 0. */
typedef struct {
    mert_element *dx;
    float *de;
    const mert_element *dy;
    const float *mask, *channels, *replaced_rows;
    const int32_t *to, *from;
    int64_t replaced, B, T, D;
    double p;
    mert_dropout_key key;
} mert_corrupt_backward_args;
/* to[i] = from[index[i]], rows of D */
typedef struct { mert_element *to; const mert_element *from; const int32_t *index; int64_t n, D; } mert_gather_args;
/* to[index[i]] += from[i]; indices are distinct */
typedef struct {
    mert_element *to;
    const mert_element *from;
    const int32_t *index;
    int64_t n, D;
} mert_scatter_add_args;

/* Pooling over time: row j of y (row stride ldy) is the mean of rows first[j] to first[j + 1] - 1 of x [.., D], or
 * (largest) the largest number of each channel. Sums are double, row after row. No span is empty. */
typedef struct {
    float *y;
    const mert_element *x;
    const int32_t *first; /* [spans + 1] */
    int64_t spans, D, ldy;
    int largest;
} mert_pool_spans_args;

/* ---- losses ---- */

/* y = x / max(|x|, 1e-8) by rows of D (stride ld both); norm [rows] is kept. y may be x. */
typedef struct { mert_element *y; float *norm; const mert_element *x; int64_t rows, D, ld; } mert_normalize_args;
/* dx (add: +=) from dy, y and norm; dx has stride ld as y, dy has stride D; where ld is D, dx may be dy. gradient:
 * takes dx's place, where x is a parameter. */
typedef struct {
    mert_element *dx;
    float *gradient;
    const mert_element *dy, *y;
    const float *norm;
    int64_t rows, D, ld;
    int add;
} mert_normalize_backward_args;
/* HuBERT's criterion for `count` codebooks (0: 1): of each, logits[rows, V] (row stride ld, 0: V; one codebook's rows
 * after the other's) come as cosines and leave (grad) as the loss's gradient by the cosines; the loss is the cross
 * entropy of softmax(s * cosine) against target[rows]. log_temperature NULL: s = scale; otherwise the learnable one, s
 * = min(exp(*log_temperature), 100), and dtemperature (where not NULL) += the loss's gradient by it. sums[0] += -log p
 * of targets (nats), sums[1] += rows where the target has the largest logit alone. Targets, temperatures and pairs of
 * sums lie one codebook's after the other's. grad 0: the logits are left as the cosines. weight (0: 1): of the
 * gradients. */
typedef struct {
    mert_element *logits;
    const int32_t *target;
    double *sums;
    const float *log_temperature;
    float *dtemperature;
    int64_t rows, V, ld, count;
    float scale, weight;
    int grad;
} mert_cross_entropy_args;
/* sum[0] += sum (x - y)^2; dx = factor * (x - y) where not NULL. dx may be x. */
typedef struct {
    mert_element *dx;
    double *sum;
    const mert_element *x;
    const float *y;
    int64_t n;
    float factor;
} mert_squared_error_args;
/* y[rows, D] = x[:, 0..D) * sigmoid(x[:, D..2D)) */
typedef struct { mert_element *y; const mert_element *x; int64_t rows, D; } mert_glu_args;
typedef struct { mert_element *dx; const mert_element *dy, *x; int64_t rows, D; } mert_glu_backward_args;

/* ---- the update ---- */

/* sum[0] += sum of squares of x, or of elements, in double, in blocks of fixed position */
typedef struct { double *sum; const float *x; const mert_element *elements; int64_t n; } mert_sum_squares_args;
/* What an update does with its gradients, on the device. */
typedef struct mert_clipping {
    double norm, factor; /* of the gradients divided and before clipping; what Adam multiplies them by */
    int64_t finite;      /* 0: the norm is not, or another number that has to be: there is no update */
} mert_clipping;
/* norm = sqrt(*squares) * scale; factor = scale, or where norm + slack > clip_norm > 0, scale * clip_norm / (norm +
 * slack). also [n], where not NULL: other numbers that must be finite. */
typedef struct {
    mert_clipping *to;
    const double *squares, *also;
    int64_t n;
    double scale, clip_norm, slack;
} mert_clip_args;
/* g *= gradient_scale; m, v, then w -= weight_decay * lr * w; w -= step * m / (sqrt(v) + eps), step = lr
 * sqrt(1-b2^t)/(1-b1^t) (man/model.md 6.2). clipping, where not NULL: its factor is the gradient_scale, and where it is
 * not finite nothing changes. */
typedef struct {
    float *w, *m, *v;
    const float *g;
    int64_t n;
    double gradient_scale, lr, step, beta1, beta2, eps, weight_decay;
    const mert_clipping *clipping;
} mert_adam_args;

#ifdef __cplusplus
}
#endif

#endif
