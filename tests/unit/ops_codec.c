/* The operations of an audio codec against nn/reference: padding at every length, an LSTM over spans, nearest codewords
 * that single precision cannot tell apart. */
#include "tests/unit/nn.h"

#include "libcommon/nn/reference.h"

TEST(elu)
{
    enum { N = 40009 };
    float *x = numbers(N, 1), *y = room(N);
    double *exact = zeros(N);
    for (int i = 0; i < N; i++)
        x[i] *= i % 3 ? 1 : 20;
    for (int i = 0; i < N; i++)
        exact[i] = mert_reference_elu(x[i]);
    mert_elu(ops, .y = y, .x = put(x, N), .n = N);
    CHECK_APART(get(y, N), exact, N, 1e-7);
    for (int i = 0; i < 100; i++) /* near 0, where 1 + x rounds x away */
        x[i] = -1e-6f * (float)(i + 1), exact[i] = mert_reference_elu(x[i]);
    mert_elu(ops, .y = y, .x = put(x, 100), .n = 100);
    CHECK_APART(get(y, 100), exact, 100, 3e-7);
}

/* ---- padding ---- */

typedef struct shape { int64_t left, stride, scale, C; } shape;

/* Spans of 1, 2, ... rows, with a row between their padded rows, those with a number divisible by 3 not at the item's
 * beginning. Their places are multiples of scale * stride. */
static void padded(shape s, int elu)
{
    enum { SPANS = 23 };
    mert_span spans[SPANS];
    int64_t at = s.scale * s.stride, T, n;
    float *x, *y;
    double *exact, *one, *row;
    for (int i = 0; i < SPANS; i++) {
        int64_t rows = (i + 1 + s.scale - 1) / s.scale + s.left + s.stride;
        spans[i] = (mert_span){at, i + 1, i % 3 != 0, 0};
        at += (rows + s.stride) / s.stride * s.stride * s.scale;
    }
    T = at / s.scale;
    n = (T + s.left) * s.C;
    x = numbers(T * s.C, 1);
    y = room(n);
    exact = zeros(n);
    one = wide(x, T * s.C);
    for (int i = 0; i < SPANS; i++) {
        int64_t first = spans[i].at / s.scale, r = (spans[i].rows + s.scale - 1) / s.scale;
        row = exact + first * s.C;
        mert_reference_pad(row, one + first * s.C, r, s.C, s.left, s.stride, (int)spans[i].begins);
    }
    for (int64_t i = 0; elu && i < n; i++)
        exact[i] = mert_reference_elu(exact[i]);
    mert_pad(ops, .y = y, .x = put(x, T * s.C), .spans = put_bytes(spans, sizeof spans), .n = SPANS, .T = T, .C = s.C,
             .scale = s.scale, .left = s.left, .stride = s.stride, .elu = elu);
    CHECK_APART(get(y, n), exact, n, elu ? 1e-7 : 0);
}

TEST(pad)
{
    static const shape shapes[] = {{6, 1, 1, 1}, {2, 1, 1, 20}, {2, 2, 1, 5}, {5, 5, 4, 9}, {8, 8, 1, 3}, {0, 1, 1, 7},
                                   {16, 1, 2, 1}, {1, 4, 1, 33}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int elu = 0; elu < 2; elu++)
            padded(shapes[i], elu);
}

TEST(pad_of_nothing_is_zeros)
{
    float *y = room(12);
    double *exact = zeros(12);
    mert_pad(ops, .y = y, .x = put(numbers(12, 1), 12), .spans = put_bytes(&(mert_span){0}, sizeof(mert_span)), .n = 1,
             .T = 12, .C = 1, .scale = 1, .stride = 1);
    CHECK_APART(get(y, 12), exact, 12, 0);
}

/* ---- LSTM ---- */

/* Two calls, the second of which continues the spans of the first; a span with no rows keeps its state. */
TEST(lstm)
{
    enum { N = 11, T = 70 };
    static const int64_t widths[] = {1, 16, 37};
    static const int64_t rows[2][N] = {{5, 1, 0, 9, 2, 2, 3, 4, 1, 7, 6}, {1, 3, 2, 0, 4, 1, 9, 2, 2, 1, 3}};
    for (int v = 0; v < 3; v++) {
        int64_t W = widths[v];
        float *w = numbers(4 * W * W, 2), *state0 = numbers(N * 2 * W, 3), *state = put(state0, N * 2 * W);
        double *exact_state = wide(state0, N * 2 * W), *exact_w;
        for (int64_t i = 0; i < 4 * W * W; i++)
            w[i] *= 0.2f;
        exact_w = wide(w, 4 * W * W);
        for (int call = 0; call < 2; call++) {
            mert_span spans[N];
            float *gates = numbers(T * 4 * W, 5 + (uint32_t)call), *before = numbers(T * W, 9), *y = put(before, T * W);
            double *exact = wide(before, T * W), *exact_gates = wide(gates, T * 4 * W);
            int64_t at = 1, longest = 0;
            for (int i = 0; i < N; i++) {
                int64_t n = rows[call][i], own = (i + 4) % N;
                spans[i] = (mert_span){at, n, 0, own};
                mert_reference_lstm(exact + at * W, exact_state + own * 2 * W, exact_gates + at * 4 * W, exact_w, n, W);
                longest = n > longest ? n : longest;
                at += n + 1;
            }
            CHECK(at <= T);
            mert_lstm(ops, .y = y, .state = state, .gates = put(gates, T * 4 * W), .w = put(w, 4 * W * W),
                      .spans = put_bytes(spans, sizeof spans), .n = N, .longest = longest, .T = T, .W = W);
            CHECK_APART(get(y, T * W), exact, T * W, 2e-6);
            CHECK_APART(get(state, N * 2 * W), exact_state, N * 2 * W, 2e-6);
        }
    }
}

/* Contract A1: an item has the same bits alone. */
TEST(lstm_of_one_span_alone)
{
    enum { N = 10, W = 24, T = 80 };
    float *w = put(numbers(4 * W * W, 1), 4 * W * W), *gates = put(numbers(T * 4 * W, 2), T * 4 * W), *y = room(T * W),
          *alone = room(T * W), *state = put(numbers(N * 2 * W, 3), N * 2 * W),
          *other = put(numbers(N * 2 * W, 3), N * 2 * W);
    mert_span spans[N];
    for (int i = 0; i < N; i++)
        spans[i] = (mert_span){8 * i, 8 - i % 3, 0, i};
    mert_clear(ops, .to = y, .bytes = T * W * sizeof *y);
    mert_clear(ops, .to = alone, .bytes = T * W * sizeof *y);
    mert_lstm(ops, .y = y, .state = state, .gates = gates, .w = w, .spans = put_bytes(spans, sizeof spans), .n = N,
              .longest = 8, .T = T, .W = W);
    for (int i = 0; i < N; i++)
        mert_lstm(ops, .y = alone, .state = other, .gates = gates, .w = w,
                  .spans = put_bytes(&spans[i], sizeof *spans), .n = 1, .longest = spans[i].rows, .T = T, .W = W);
    CHECK(!memcmp(get(y, T * W), get(alone, T * W), T * W * sizeof *y));
    CHECK(!memcmp(get(state, N * 2 * W), get(other, N * 2 * W), N * 2 * W * sizeof *y));
}

/* ---- nearest codewords ---- */

/* Labels of x [rows, D], with scores from the device's own product; the differences are compared, too. */
static void labels_agree(const float *x, const float *words, int64_t rows, int64_t V, int64_t D)
{
    float *bias = keep((size_t)V * sizeof *bias), *scores = room(rows * V), *dx = put(x, rows * D),
          *dwords = put(words, V * D);
    double *exact = wide(x, rows * D), *w = wide(words, V * D), reach = 0;
    int32_t *label = room_bytes((size_t)(2 * rows) * sizeof *label), *got;
    for (int64_t v = 0; v < V; v++) {
        double s = 0;
        for (int64_t i = 0; i < D; i++)
            s += w[v * D + i] * w[v * D + i];
        bias[v] = -(float)(s / 2);
        reach = fmax(reach, sqrt(s));
    }
    mert_clear(ops, .to = label, .bytes = (size_t)(2 * rows) * sizeof *label);
    mert_gemm(ops, .M = rows, .N = V, .K = D, .a = dx, .lda = D, .b = dwords, .ldb = D, .tb = 1, .c = scores, .ldc = V,
              .bias = put(bias, V));
    mert_nearest(ops, .label = label + 1, .x = dx, .scores = scores, .words = dwords, .rows = rows, .V = V, .D = D,
                 .ldlabel = 2, .reach = (float)(reach * 1.000001));
    got = get_bytes(label, (size_t)(2 * rows) * sizeof *label);
    for (int64_t r = 0; r < rows; r++) {
        CHECK(got[2 * r] == 0);
        CHECK(got[2 * r + 1] == mert_reference_nearest(exact + r * D, w, V, D));
    }
    CHECK_APART(get(dx, rows * D), exact, rows * D, 1e-7);
}

TEST(nearest)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {70, 33, 5}, {9, 100, 128}, {131, 64, 16}, {5, 1025, 7}};
    for (int i = 0; i < 5; i++)
        labels_agree(numbers(shapes[i][0] * shapes[i][2], 1), numbers(shapes[i][1] * shapes[i][2], 2), shapes[i][0],
                     shapes[i][1], shapes[i][2]);
}

/* Words far from zero that lie close together, so that all scores are equal in single precision; words that are there
 * several times; points half way between two words. */
TEST(nearest_of_words_that_are_close)
{
    enum { V = 90, D = 8, ROWS = 60 };
    float *words = numbers(V * D, 1), *x = numbers(ROWS * D, 2);
    for (int i = 0; i < V * D; i++)
        words[i] = 1000 + 0.01f * words[i];
    memcpy(words + 40 * D, words, 20 * D * sizeof *words);
    for (int i = 0; i < ROWS * D; i++)
        x[i] = i < 20 * D ? words[i] : i < 40 * D ? (words[i] + words[i + D]) / 2 : 1000 + 0.01f * x[i];
    labels_agree(x, words, ROWS, V, D);
}

TEST(nearest_of_rows_that_are_not_finite)
{
    enum { V = 5, D = 40, ROWS = 6 };
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e18f, -2e20f};
    float *x = numbers(ROWS * D, 1), *dx, *scores = put(numbers(ROWS * V, 2), ROWS * V), *after;
    int32_t *label = room_bytes(ROWS * sizeof *label), *got;
    for (int r = 0; r < ROWS - 1; r++)
        x[r * D + 9 * r] = bad[r];
    dx = put(x, ROWS * D);
    mert_nearest(ops, .label = label, .x = dx, .scores = scores, .words = put(numbers(V * D, 3), V * D), .rows = ROWS,
                 .V = V, .D = D, .ldlabel = 1, .reach = 1e9f);
    got = get_bytes(label, ROWS * sizeof *label);
    after = get(dx, ROWS * D);
    for (int r = 0; r < ROWS; r++)
        CHECK(r < ROWS - 1 ? got[r] == -1 : got[r] >= 0 && got[r] < V);
    CHECK(!memcmp(after, x, (ROWS - 1) * D * sizeof *x));
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(elu), NN_TEST(pad), NN_TEST(pad_of_nothing_is_zeros), NN_TEST(lstm), NN_TEST(lstm_of_one_span_alone),
        NN_TEST(nearest), NN_TEST(nearest_of_words_that_are_close), NN_TEST(nearest_of_rows_that_are_not_finite)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
