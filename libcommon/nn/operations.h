/* The operations, each with the struct of its arguments; those of an audio codec are in operations_codec.h, those of
 * the CQT target in operations_cqt.h. The rules for all of them are in ops.h, which also has the macros that queue
 * them. */
#ifndef MERT_OPERATIONS_H
#define MERT_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An element: the type of activations and weights of one open backend. The type is incomplete, so that models cannot
 * read elements and the compiler reports an array of floats that is passed instead. Files that know the type (backends,
 * and tests) define MERT_ELEMENT (float) before they include this header; the layout of the structs is the same for
 * both. */
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
    MERT_OP_ELU,
    MERT_OP_PAD,
    MERT_OP_LSTM,
    MERT_OP_NEAREST,
    MERT_OP_DECIMATE,
    MERT_OP_CQT,
    MERT_OPS_COUNT
} mert_op;

/* The formats of packed weights; 0: not packed. */
typedef enum mert_packing { MERT_PACKED_F32 = 1, MERT_PACKED_BF16, MERT_PACKED_INT8 } mert_packing;

/* ---- memory ---- */

/* `bytes` bytes of any type. */
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

/* bfloat16 is the upper half of a float32: 8 significant bits, the same range. narrow rounds to nearest, ties to even;
 * widen is exact; a NaN stays a NaN. For activations that are kept until the backward pass. Only for backends with
 * float32 elements. */
typedef struct { uint16_t *to; const mert_element *from; int64_t n; } mert_narrow_args;
typedef struct { mert_element *to; const uint16_t *from; int64_t n; } mert_widen_args;
/* Conversions between float32 and elements. */
typedef struct { mert_element *to; const float *from; int64_t n; } mert_to_elements_args;
typedef struct { float *to; const mert_element *from; int64_t n; } mert_to_floats_args;

/* ---- products ---- */

/* c[M,N] = (add: c +) alpha * op(a) op(b). Then, in this order: + bias[N]; a copy of this to pre[M,N]; GELU; +
 * residual[M,N]. op(a) is a[M,K], or with ta the transpose of a[K,M]; op(b) is b[K,N], or with tb the transpose of
 * b[N,K]. alpha 0 means 1.
 *
 * batch > 0: that many products, `*_step` elements apart (pre and residual have the steps of c). sum: all products of
 * the batch are added into one c.
 *
 * pre and residual have c's row stride; residual is not c. gradient: used in place of c if the result is the gradient
 * of a parameter.
 *
 * Rows of a matrix do not overlap: lda >= K (with ta: >= M); the same holds for b and c.
 *
 * packed: b is what mert_pack made of weights [N,K], and op(b) is their transpose. ldb and tb are ignored, ta and sum
 * must be 0, and b_step is in units of 4 bytes. Then every output is one sum in the order of K, so a row's result does
 * not depend on M or on its position in `a` (contract A1). With MERT_PACKED_BF16 the numbers of a and b are rounded to
 * bfloat16, and nothing else is. With MERT_PACKED_INT8 they are rounded to 8-bit integers, with a scale for each row of
 * a and each output (nn/cpu/rows_int8.h). */
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
/* Packs weights into the order in which the backend's products read them fastest. The result is opaque; its size is
 * packed_bytes of the backend. w: `count` matrices [n, k] with row stride ldw, w_step apart; they are rounded to
 * elements. to: the results, to_step apart, in units of 4 bytes. as 0: MERT_PACKED_F32. */
typedef struct {
    mert_element *to;
    const float *w;
    int64_t ldw, n, k, count, to_step, w_step;
    mert_packing as;
} mert_pack_args;

/* ---- elementwise, and sums over rows ---- */

/* sums[columns] += sum over rows of x[rows, columns]. count > 0: the same for `count` adjacent groups of columns, whose
 * sums are sums_step apart. */
typedef struct {
    float *sums;
    const mert_element *x;
    int64_t rows, columns, ldx, count, sums_step;
} mert_column_sum_args;
/* x *= 0 or 1/(1-p). The random numbers depend on the key and the position only, so the same call is also the backward
 * pass. There are B items of n elements.
 *
 * The key: seed, place (update and micro-batch), the item's row b, site (which dropout of which layer). */
typedef struct { uint64_t seed, place; uint32_t site; } mert_dropout_key;
typedef struct { mert_element *x; int64_t B, n; double p; mert_dropout_key key; } mert_dropout_args;
/* y = (residual +) dropout(gelu(x)), with the exact GELU: x/2 (1 + erf(x / sqrt 2)). p 0: no dropout; otherwise as
 * mert_dropout, on B items (0: 1) of n / B elements. */
typedef struct {
    mert_element *y;
    const mert_element *x, *residual;
    int64_t n, B;
    double p;
    mert_dropout_key key;
} mert_gelu_args;
/* dx = dropout(dy) * gelu'(x); dx may be dy, or x. sums [columns] (NULL: not wanted) += the column sums of dx, as rows
 * of `columns` numbers, before dx is rounded. */
typedef struct {
    mert_element *dx;
    const mert_element *dy, *x;
    float *sums;
    int64_t n, columns, B;
    double p;
    mert_dropout_key key;
} mert_gelu_backward_args;

/* ---- norms ---- */

/* y = (x - mean) * rstd * w + b over the last axis, then GELU (gelu 1). mean and rstd [rows] are stored if not NULL. y
 * may be x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *b;
    float *mean, *rstd;
    int64_t rows, columns;
    float eps;
    int gelu;
} mert_layer_norm_args;
/* dx (add: +=), dw +=, db +=. dx may be dy, or (without add) x. gelu 1: the forward pass had a GELU, whose argument is
 * computed again from x and b (b is not read otherwise). Then dy is overwritten; if it is not dx, its contents are
 * undefined afterwards. */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    mert_element *dy;
    const mert_element *x;
    const float *w, *b, *mean, *rstd;
    int64_t rows, columns;
    int add, gelu;
} mert_layer_norm_backward_args;
/* The end of a residual branch: s = (scale, 0: 1) * residual + dropout(x). Then, if y is not NULL, y, mean and rstd are
 * the LayerNorm of s as it was stored. x, residual, s, y [B, T, D]; s may be x. p 0: no dropout; otherwise as
 * mert_dropout, on B items of T * D elements. */
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
/* dy is the gradient by y, and g = (add: dresidual +) the gradient by s, computed through the norm. w NULL: there was
 * no norm, and dy is the gradient by s. Results: dresidual = scale * g; dx = dropout(g); dw and db += those of the
 * norm; sums [D] (NULL: not wanted) += the column sums of dx before it is rounded, which are the gradient of a bias
 * that was added to x last. dx NULL: not wanted, because it equals g (p is 0 then). dresidual and dx are different
 * arrays; either may be dy. */
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
/* GroupNorm with one group per channel: each channel is normalised over the time of its item. x [B, T, C]; mean, rstd
 * [B, C]. Sums run in blocks of fixed absolute position. gelu 1: a GELU follows; pre, if not NULL, gets its argument. y
 * may be x. */
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
/* As mert_layer_norm_backward_args, without add; dx may be dy. If there was a GELU, its backward pass (with `pre`) is
 * another operation, which comes before this one. */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    const mert_element *dy, *x;
    const float *w, *mean, *rstd;
    int64_t B, T, C;
} mert_time_norm_backward_args;

/* The moments of a clip from which fold_norm computes the GroupNorm after the first convolution (one input channel),
 * without the convolution's outputs. For the windows x[stride t .. stride t + kernel): sums[k] = sum over t < T of
 * x[stride t + k] and products[k][l] = sum over t of x[stride t + k] x[stride t + l], in double, in blocks of fixed
 * position. */
typedef struct { double *sums, *products; const mert_element *x; int64_t T, kernel, stride; } mert_window_moments_args;
/* Folds this GroupNorm into the convolution's weights. For row v of the weights [out, kernel]: mean = v.sums/T (a bias
 * of the convolution cancels), variance = v^T (products/T - sums sums^T/T^2) v, gain = norm_w / sqrt(variance + eps).
 * Results: w = gain v, b = norm_b - gain mean, so that conv(x; w) + b is the normalised output. */
typedef struct {
    float *w, *b;
    const double *sums, *products;
    const float *v, *norm_w, *norm_b;
    int64_t out, kernel, T;
    float eps;
} mert_fold_norm_args;

/* ---- convolution over time, without padding ---- */

/* x [B, T_in, C], y [B, T_out, O], T_out = (T_in - kernel) / stride + 1; weights [O, kernel, C], tap before channel
 * (the official order [O, C, kernel] after mert_swap_axes). */
typedef struct mert_conv_shape { int64_t B, T_in, T_out, C, O, kernel, stride; } mert_conv_shape;
/* y[b,t,o] = bias[o] + sum over k, c of w[o][k][c] x[b, stride t + k, c]; then GELU (gelu 1). packed: w is what
 * mert_pack made of the weights as rows [O, kernel * C]; then contract A1 holds as for products. Only the whole sum is
 * rounded. */
typedef struct {
    mert_element *y;
    const mert_element *x, *w;
    const float *bias;
    mert_conv_shape shape;
    mert_packing packed;
    int gelu;
} mert_conv_args;
/* dx (NULL: not wanted) is overwritten, all its T_in frames; dw [O, kernel, C] +=; db += (NULL: no bias) */
typedef struct {
    mert_element *dx;
    float *dw, *db;
    const mert_element *dy, *x, *w;
    mert_conv_shape shape;
} mert_conv_backward_args;
/* The first layer of the extractor, with one input channel: y = gelu(norm(conv(x; w) + bias)). A backend needs no
 * memory besides y for the outputs before the norm. The norm is over the time of each channel of an item
 * (mert_time_norm), or with over_channels over the channels of each frame (mert_layer_norm). shape.C is 1; w [O,
 * kernel]. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *bias, *norm_w, *norm_b;
    mert_conv_shape shape;
    float eps;
    int over_channels;
} mert_first_layer_args;
/* dw, db (NULL: no bias), dnorm_w, dnorm_b +=. dy is overwritten; room [B, T_out, O] is scratch memory; the contents of
 * both are undefined afterwards. With the norm over time, a device can do this in one pass over dy: the statistics of
 * the outputs and all four gradients follow from the moments of the windows and from the sums over t of g and g
 * x[stride t + k], g = dy gelu'. */
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

/* w[o][k][i] = g[k] * v[o][i][k] / norm[k], norm[k] = |v[.][.][k]|: weight norm over dimension 2. The result has taps
 * before channels, as the convolution reads it. v [out, in, kernel]; norm [kernel] is stored for the backward pass. */
typedef struct { float *w, *norm; const float *g, *v; int64_t out, in, kernel; } mert_weight_norm_args;
typedef struct {
    float *dg, *dv;
    const float *dw, *g, *v, *norm;
    int64_t out, in, kernel;
} mert_weight_norm_backward_args;
/* y[b,t,o] = bias[o] + sum over k, i of w[o][k][i] * x[b, t + k - pad, group(o) * D/groups + i], with zeros before the
 * start and after the end; then GELU (gelu 1); then + residual. x, y, residual [B, T, D]; w [D, kernel, D/groups], or
 * packed: one mert_pack per group, [D/groups, kernel * D/groups]. y may be neither x nor residual. */
typedef struct {
    mert_element *y;
    const mert_element *x, *w;
    const float *bias;
    const mert_element *residual;
    int64_t B, T, D, groups, kernel, pad;
    mert_packing packed;
    int gelu;
} mert_grouped_conv_args;
/* dx +=, dw += (the gradient of the bias is a column sum) */
typedef struct {
    mert_element *dx;
    float *dw;
    const mert_element *dy, *x, *w;
    int64_t B, T, D, groups, kernel, pad;
} mert_grouped_conv_backward_args;

/* ---- attention ---- */

/* out[b,t,h] = softmax(scale * q k^T) v over all T keys of the item. It is computed in tiles with a running softmax
 * (contract A2), so memory does not grow with T^2. q, k, v [B, T, H * dh] with row stride ld, out with row stride ldout
 * (0: ld). lse [B, H, T] (NULL: not wanted): the log of the softmax's denominator, for the backward pass. p > 0:
 * dropout on the probabilities. largest (NULL: not wanted): becomes the largest scale * q k of this call, if that is
 * larger. */
typedef struct {
    mert_element *out;
    float *lse, *largest;
    const mert_element *q, *k, *v;
    int64_t B, T, H, dh, ld, ldout;
    float scale;
    double p;
    mert_dropout_key key;
} mert_attention_args;
/* dq, dk, dv are overwritten. out and lse are the results of the forward pass. The row stride of dout and out is ldout
 * (0: ld), that of the other arrays ld. */
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

/* Rotary positions, in place. In row t of an item, the dh numbers of each head have a first half x1 and a second half
 * x2; they become x1 c - x2 s and x2 c + x1 s, with c and s of row t of the tables [T, dh / 2]. x: rows of [B, T] with
 * stride ld. inverse 1: the inverse rotation, which is the backward pass. dh is even. */
typedef struct {
    mert_element *x;
    const float *cosines, *sines;
    int64_t B, T, H, dh, ld;
    int inverse;
} mert_rotary_args;

/* ---- depthwise convolution and global response norm ---- */

/* y[b, t, c] = (bias[c] +) sum over k of w[c, k] x[b, t + k - pad, c], t < frames (0: T). x [B, T, C] is 0 before its
 * start and after its end; y [B, frames, C]. w [C, kernel] in torch's order, float32 like the weights of a norm. To
 * compute the frames of a longer clip from t0 on, pass pad - t0 as pad: the bits are the same. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *w, *bias;
    int64_t B, T, C, kernel, pad, frames;
} mert_depthwise_conv_args;
/* dx (add: +=), dw +=, for a forward pass with frames = T. The gradient of the bias is a column sum. dx is neither dy
 * nor x. */
typedef struct {
    mert_element *dx;
    float *dw;
    const mert_element *dy, *x;
    const float *w;
    int64_t B, T, C, kernel, pad;
    int add;
} mert_depthwise_conv_backward_args;

/* squares[b, c] += sum over t of x[b, t, c]^2, in double, frame by frame, so that the result does not depend on how a
 * clip is divided into calls. x [B, T, C] */
typedef struct { double *squares; const mert_element *x; int64_t B, T, C; } mert_time_squares_args;
/* Global response norm over the time of each item (Woo et al. 2023). squares are those of the whole clip; m =
 * sqrt(squares[b, c]), n = m / (mean over c of m + eps), y = w[c] (x n) + b[c] + x. x [B, T, C] may be a part of the
 * clip's frames; y may be x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const double *squares;
    const float *w, *b;
    int64_t B, T, C;
    double eps;
} mert_response_norm_args;
/* dx (add: +=), dw +=, db +=, for whole clips; m is differentiated, too. dx may be dy, or (without add) x. For a
 * channel that is always 0, m has no derivative; 0 is used. */
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
/* de += the sum of the masked rows of dx, which then become 0 */
typedef struct { mert_element *dx; float *de; const float *mask; int64_t rows, D; } mert_mask_backward_args;
/* x[b,t,d] = 0 where rows[b,t] != 0 or channels[b,d] != 0 (either may be NULL). x [B, T, D], rows [B, T], channels
 * [B, D]. The same call on the gradient is its backward pass. */
typedef struct { mert_element *x; const float *rows, *channels; int64_t B, T, D; } mert_zero_args;
/* What training does to the frames x [B, T, D] before the transformer, in this order. 1. Dropout (p 0: none; otherwise
 * as mert_dropout, on B items of T * D elements). 2. Rows with mask [B, T] != 0 (NULL: none) become e. 3. For each i <
 * replaced, row to[i] becomes a copy of row from[i] as it is after step 2; each of the B * T rows is at most once in
 * either list. 4. Channels with channels [B, D] != 0 (NULL: none) become 0. y may not be x. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const float *e, *mask, *channels;
    const int32_t *to, *from;
    int64_t replaced, B, T, D;
    double p;
    mert_dropout_key key;
} mert_corrupt_args;
/* dx is overwritten and may not be dy; de +=. replaced_rows [B, T] (used if replaced > 0): 1 for the rows in `to`,
 * otherwise 0. */
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

/* Pooling over time: row j of y (row stride ldy) is the mean of the rows first[j] to first[j + 1] - 1 of x [.., D], or
 * with `largest` the largest number of each channel. Means are summed in double, row by row. No span is empty. */
typedef struct {
    float *y;
    const mert_element *x;
    const int32_t *first; /* [spans + 1] */
    int64_t spans, D, ldy;
    int largest;
} mert_pool_spans_args;

/* ---- losses ---- */

/* y = x / max(|x|, 1e-8), by rows of D (row stride ld for both); norm [rows] is stored. y may be x. */
typedef struct { mert_element *y; float *norm; const mert_element *x; int64_t rows, D, ld; } mert_normalize_args;
/* dx (add: +=) from dy, y and norm. dx has row stride ld as y, dy has row stride D; if ld is D, dx may be dy. gradient:
 * used in place of dx if x is a parameter. */
typedef struct {
    mert_element *dx;
    float *gradient;
    const mert_element *dy, *y;
    const float *norm;
    int64_t rows, D, ld;
    int add;
} mert_normalize_backward_args;
/* The loss of HuBERT for `count` codebooks (0: 1): the cross entropy of softmax(s * cosine) against target[rows].
 * logits [rows, V] (row stride ld, 0: V) contains the cosines. grad 1: they are replaced by the gradient of the loss by
 * the cosines; grad 0: they are not changed. log_temperature NULL: s = scale; otherwise s = min(exp(*log_temperature),
 * 100) is learned, and dtemperature (if not NULL) += the gradient of the loss by *log_temperature. sums[0] += -log p of
 * the targets (nats); sums[1] += the number of rows in which the target has the largest logit, and no other class has
 * the same. The rows, targets, temperatures and pairs of sums of a codebook follow those of the codebook before it.
 * weight (0: 1): a factor of the gradients. predicted [count, V] (NULL: not wanted): [v] += the number of rows in which
 * class v has the largest logit, and no other class has the same. */
typedef struct {
    mert_element *logits;
    const int32_t *target;
    double *sums;
    int64_t *predicted;
    const float *log_temperature;
    float *dtemperature;
    int64_t rows, V, ld, count;
    float scale, weight;
    int grad;
} mert_cross_entropy_args;
/* sum[0] += sum of (x - y)^2; dx (NULL: not wanted) = factor * (x - y). dx may be x. */
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

/* sum[0] += the sum of squares of x, or of elements, in double, in blocks of fixed position */
typedef struct { double *sum; const float *x; const mert_element *elements; int64_t n; } mert_sum_squares_args;
/* The factor of an update's gradients, which is computed and used on the device. */
typedef struct mert_clipping {
    double norm, factor; /* norm of the gradients, divided but not clipped; the factor that Adam applies to them */
    int64_t finite;      /* 0: the norm, or another number that must be finite, is not finite, and Adam changes
                            nothing */
} mert_clipping;
/* norm = sqrt(*squares) * scale; factor = scale, or scale * clip_norm / (norm + slack) if clip_norm > 0 and norm +
 * slack > clip_norm. also [n] (NULL: none): other numbers that must be finite. */
typedef struct {
    mert_clipping *to;
    const double *squares, *also;
    int64_t n;
    double scale, clip_norm, slack;
} mert_clip_args;
/* g *= gradient_scale; update of m and v; w -= weight_decay * lr * w; w -= step * m / (sqrt(v) + eps), step = lr
 * sqrt(1-b2^t)/(1-b1^t) (man/model.md 6.2). clipping (NULL: none): its factor replaces gradient_scale, and if it is not
 * finite nothing changes. */
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

#include "libcommon/nn/operations_codec.h"
#include "libcommon/nn/operations_cqt.h"

#endif
