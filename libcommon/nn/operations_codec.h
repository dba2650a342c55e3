/* The operations of an audio codec (operations.h): ELU, padding, an LSTM, nearest codewords. */
#ifndef MERT_OPERATIONS_CODEC_H
#define MERT_OPERATIONS_CODEC_H

#include "libcommon/nn/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = x > 0 ? x : exp(x) - 1; y may be x. */
typedef struct { mert_element *y; const mert_element *x; int64_t n; } mert_elu_args;
/* Consecutive rows of one item among those of others: row `at` and the next ones, `rows` in all. begins: the first of
 * them is the item's first; otherwise rows before it exist elsewhere. state: where an LSTM keeps the item's state. */
typedef struct mert_span { int64_t at, rows, begins, state; } mert_span;
/* Pads spans for a convolution, as EnCodec does. `spans` has n of them, in the order of `at`. They are counted in rows
 * of which `scale` become one row of x, so that one table is enough for all layers: a span has the r = ceil(rows /
 * scale) rows of x [T, C] from a = at / scale on. at is a multiple of scale * stride.
 *
 * y [T + left, C]: rows a + left to a + left + r - 1 are those of the span. The rows after it that complete the last
 * step of `stride` rows are its mirror image, which does not repeat the last row. So are the `left` rows before it if
 * the item begins there. An item with too few rows for that is first extended by zeros, so that it has one row more
 * than either mirror image. All other rows of y are 0. The spans are so far apart that these rows do not meet. elu 1:
 * y is the ELU of all this. */
typedef struct {
    mert_element *y;
    const mert_element *x;
    const mert_span *spans;
    int64_t n, T, C, scale, left, stride;
    int elu;
} mert_pad_args;
/* One layer of an LSTM over n spans of rows of y, each for itself. For the rows t of a span, one after the other: g =
 * gates[t] + h w, of four parts of W numbers; i, f, o = sigmoid of parts 0, 1 and 3, and u = tanh of part 2; c = f c +
 * i u; h = o tanh(c); y[t] = h. gates [T, 4 W] are the products of the input, with the biases; w [W, 4 W] is the
 * transpose of torch's weight_hh. y [T, W]: other rows are not written. The h and c of a span, [2, W] from state +
 * span.state * 2 W on, are read, and replaced by the last ones. longest: the largest number of rows of a span. */
typedef struct {
    mert_element *y;
    float *state;
    const mert_element *gates, *w;
    const mert_span *spans;
    int64_t n, longest, T, W;
} mert_lstm_args;
/* label[r * ldlabel] = the index of the row of words [V, D] that is nearest to x[r] by |x - w|^2, computed in double;
 * the lowest of several. Then x[r] -= this row, in float32. A row with a number that is not finite, or 1e18 or more,
 * has the label -1 and is not changed. scores [rows, V]: x w - |w|^2 / 2, a product with a bias; only those words are
 * compared whose score is less than the largest by no more than the rounding error of such a product. reach: at least
 * the largest |w|. Only for backends with float32 elements. */
typedef struct {
    int32_t *label;
    mert_element *x;
    const mert_element *scores;
    const float *words;
    int64_t rows, V, D, ldlabel;
    float reach;
} mert_nearest_args;
/* Words are compared if their score is above the largest one minus this value. far: |x|. The error of a sum of D
 * products in float32 is at most D 2^-24 |x| |w|, in any order (Higham, Accuracy and Stability of Numerical Algorithms,
 * section 3.1); that of |w|^2 / 2, and of adding it, is below 2^-24 (|w|^2 + |x| |w|). */
#define MERT_NEAREST_SLACK(D, far, reach) \
    (1.01 * 0x1p-23 * (((double)(D) + 4) * (far) + 2 * (double)(reach)) * (double)(reach))

#ifdef __cplusplus
}
#endif

#endif
