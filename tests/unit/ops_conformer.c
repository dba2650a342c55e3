/* The operations of Conformer blocks and of the subsampler before them: against nn/reference, their backward passes
 * against its differences, and contract A1 (the same bytes alone, in a batch, and in any blocks of time). */
#include "tests/unit/gradients.h"

#include "libcommon/nn/reference.h"

#define SUM 3e-6

static struct {
    double *x, *w, *b, *y, *dy;
    int64_t n, B, T, C, kernel, pad;
} f;

static double projected(void)
{
    return dot(f.y, f.dy, f.n);
}

/* ---- depthwise convolution ---- */

typedef struct conv { int64_t B, T, C, kernel, pad; } conv;

/* Of 1; more channels than a stripe (64), more frames than a block (60), kernels beyond the clip, of the models, even
 * ones; padding at one side alone; more taps, and more frames, than a device has at once. */
static const conv convs[] = {{1, 1, 1, 1, 0},   {2, 3, 5, 7, 3},   {3, 130, 67, 31, 15},
                             {1, 61, 3, 4, 1},  {2, 9, 70, 31, 15}, {1, 40, 2, 3, 0}, {2, 20, 4, 5, 4},
                             {1, 70, 3, 40, 20}, {1, 300, 2, 3, 1}};
enum { CONVS = sizeof convs / sizeof *convs };

TEST(depthwise_conv)
{
    for (int i = 0; i < CONVS; i++) {
        conv s = convs[i];
        int64_t n = s.B * s.T * s.C, nw = s.C * s.kernel;
        float *x = numbers(n, 1), *w = numbers(nw, 2), *b = numbers(s.C, 3), *y = room(n), *plain = room(n);
        float *dx = put(x, n), *dw = put(w, nw);
        double *exact = zeros(n);
        mert_depthwise_conv(ops, .y = y, .x = dx, .w = dw, .bias = put(b, s.C), .B = s.B, .T = s.T, .C = s.C,
                            .kernel = s.kernel, .pad = s.pad);
        mert_depthwise_conv(ops, .y = plain, .x = dx, .w = dw, .B = s.B, .T = s.T, .C = s.C, .kernel = s.kernel,
                            .pad = s.pad);
        mert_reference_depthwise_conv(exact, wide(x, n), wide(w, nw), wide(b, s.C), s.B, s.T, s.C, s.kernel, s.pad,
                                      s.T);
        CHECK_APART(get(y, n), exact, n, SUM);
        mert_reference_depthwise_conv(exact, wide(x, n), wide(w, nw), NULL, s.B, s.T, s.C, s.kernel, s.pad, s.T);
        CHECK_APART(get(plain, n), exact, n, SUM);
    }
}

/* More frames than the input has, fewer, and pads below 0 and above the kernel. */
TEST(depthwise_conv_of_some_frames)
{
    static const int64_t shapes[][2] = {{3, 100}, {-20, 12}, {-45, 20}, {70, 61}, {200, 5}};
    for (int i = 0; i < 5; i++) {
        int64_t T = 50, C = 66, kernel = 7, pad = shapes[i][0], frames = shapes[i][1];
        float *x = numbers(2 * T * C, 1), *w = numbers(C * kernel, 2), *y = room(2 * frames * C);
        double *exact = zeros(2 * frames * C);
        mert_depthwise_conv(ops, .y = y, .x = put(x, 2 * T * C), .w = put(w, C * kernel), .B = 2, .T = T, .C = C,
                            .kernel = kernel, .pad = pad, .frames = frames);
        mert_reference_depthwise_conv(exact, wide(x, 2 * T * C), wide(w, C * kernel), NULL, 2, T, C, kernel, pad,
                                      frames);
        CHECK_APART(get(y, 2 * frames * C), exact, 2 * frames * C, SUM);
    }
}

static double depthwise_loss(void)
{
    mert_reference_depthwise_conv(f.y, f.x, f.w, NULL, f.B, f.T, f.C, f.kernel, f.pad, f.T);
    return projected();
}

TEST(depthwise_conv_gradient)
{
    for (int i = 0; i < 2 * CONVS; i++) {
        conv s = convs[i / 2];
        int64_t n = s.B * s.T * s.C, nw = s.C * s.kernel;
        float *x = numbers(n, 1), *w = numbers(nw, 2), *dy = numbers(n, 3), *before = numbers(n, 4);
        float *before_w = numbers(nw, 5), *dx = put(before, n), *dw = put(before_w, nw);
        f.x = wide(x, n), f.w = wide(w, nw), f.dy = wide(dy, n), f.y = zeros(n), f.n = n;
        f.B = s.B, f.T = s.T, f.C = s.C, f.kernel = s.kernel, f.pad = s.pad;
        mert_depthwise_conv_backward(ops, .dx = dx, .dw = dw, .dy = put(dy, n), .x = put(x, n), .w = put(w, nw),
                                     .B = s.B, .T = s.T, .C = s.C, .kernel = s.kernel, .pad = s.pad, .add = i % 2);
        CHECK_GRADIENT(depthwise_loss, f.x, get(dx, n), i % 2 ? before : NULL, n);
        CHECK_GRADIENT(depthwise_loss, f.w, get(dw, nw), before_w, nw);
    }
}

/* ---- the norm of responses ---- */

static const int64_t responses[][3] = {{1, 1, 1}, {2, 3, 5}, {3, 270, 67}, {1, 40, 130}};

static float *responses_of(int64_t B, int64_t T, int64_t C)
{
    float *x = numbers(B * T * C, 1);
    for (int64_t i = 0; i < B * T * C; i++)
        x[i] *= (float)(1 + i % C) / (float)C; /* channels of different strength ... */
    for (int64_t t = 0; C > 4 && t < T; t++)
        x[t * C + 2] = 0; /* ... and one of none, in one item */
    return x;
}

TEST(response_norm)
{
    for (int i = 0; i < 4; i++) {
        int64_t B = responses[i][0], T = responses[i][1], C = responses[i][2], n = B * T * C;
        float *x = responses_of(B, T, C), *w = numbers(C, 2), *b = numbers(C, 4), *dx = put(x, n), *y = room(n);
        float *dw = put(w, C), *db = put(b, C);
        double *squares = zeros(B * C), *exact = zeros(n), *wx = wide(x, n), *got;
        void *dsquares = put_bytes(zeros(B * C), (size_t)(B * C) * sizeof *squares);
        mert_time_squares(ops, .squares = dsquares, .x = dx, .B = B, .T = T, .C = C);
        mert_response_norm(ops, .y = y, .x = dx, .squares = dsquares, .w = dw, .b = db, .B = B, .T = T, .C = C,
                           .eps = 1e-6);
        mert_response_norm(ops, .y = dx, .x = dx, .squares = dsquares, .w = dw, .b = db, .B = B, .T = T, .C = C,
                           .eps = 1e-6);
        mert_reference_time_squares(squares, wx, B, T, C);
        mert_reference_response_norm(exact, wx, squares, wide(w, C), wide(b, C), B, T, C, 1e-6);
        got = get_bytes(dsquares, (size_t)(B * C) * sizeof *squares);
        for (int64_t k = 0; k < B * C; k++)
            CHECK_NEAR(got[k], squares[k], 1e-14 * squares[k]);
        CHECK_APART(get(y, n), exact, n, SUM);
        CHECK(!memcmp(get(dx, n), get(y, n), (size_t)n * sizeof *x)); /* y may be x */
    }
}

static double response_loss(void)
{
    double *squares = calloc((size_t)(f.B * f.C), sizeof *squares);
    if (!squares)
        abort();
    mert_reference_time_squares(squares, f.x, f.B, f.T, f.C);
    mert_reference_response_norm(f.y, f.x, squares, f.w, f.b, f.B, f.T, f.C, 1e-6);
    free(squares);
    return projected();
}

TEST(response_norm_gradient)
{
    for (int i = 0; i < 8; i++) {
        int64_t B = f.B = responses[i / 2][0], T = f.T = responses[i / 2][1], C = f.C = responses[i / 2][2];
        int64_t n = f.n = B * T * C;
        float *x = numbers(n, 1), *w = numbers(C, 2), *b = numbers(C, 3), *dy = numbers(n, 4), *ddy = put(dy, n);
        float *before = numbers(n, 5), *before_w = numbers(C, 6), *before_b = numbers(C, 7), *dx = put(before, n);
        float *dw = put(before_w, C), *db = put(before_b, C), *g, *fx = put(x, n);
        void *squares = put_bytes(zeros(B * C), (size_t)(B * C) * sizeof(double));
        mert_response_norm_backward_args a;
        f.x = wide(x, n), f.w = wide(w, C), f.b = wide(b, C), f.dy = wide(dy, n), f.y = zeros(n);
        mert_time_squares(ops, .squares = squares, .x = fx, .B = B, .T = T, .C = C);
        a = (mert_response_norm_backward_args){.dx = dx, .dw = dw, .db = db, .dy = ddy, .x = fx, .squares = squares,
                                               .w = put(w, C), .B = B, .T = T, .C = C, .eps = 1e-6, .add = i % 2};
        ops->run(ops, MERT_OP_RESPONSE_NORM_BACKWARD, &a, sizeof a);
        g = get(dx, n);
        CHECK_GRADIENT(response_loss, f.x, g, i % 2 ? before : NULL, n);
        CHECK_GRADIENT(response_loss, f.w, get(dw, C), before_w, C);
        CHECK_GRADIENT(response_loss, f.b, get(db, C), before_b, C);
        a.dx = i % 2 ? ddy : fx; /* dx may be dy, or (without add) x */
        ops->run(ops, MERT_OP_RESPONSE_NORM_BACKWARD, &a, sizeof a);
        if (i % 2)
            CHECK_GRADIENT(response_loss, f.x, get(ddy, n), dy, n);
        else
            CHECK(!memcmp(get(fx, n), g, (size_t)n * sizeof *g));
    }
}

/* A channel that is 0 at all times: a gradient of no norm, and no division by it. */
TEST(response_norm_gradient_of_silence)
{
    int64_t T = 4, C = 3, n = T * C;
    float zero[12] = {0}, *w = numbers(C, 2), *dy = numbers(n, 4), *dx = room(n), *g, *into = room(C);
    void *squares = put_bytes(zeros(C), (size_t)C * sizeof(double));
    mert_clear(ops, .to = into, .bytes = (size_t)C * sizeof(float));
    mert_response_norm_backward(ops, .dx = dx, .dw = into, .db = into, .dy = put(dy, n), .x = put(zero, n),
                                .squares = squares, .w = put(w, C), .B = 1, .T = T, .C = C, .eps = 1e-6);
    g = get(dx, n);
    for (int64_t i = 0; i < n; i++)
        CHECK(g[i] == dy[i]);
}

/* ---- rotary positions ---- */

TEST(rotary)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 2}, {2, 3, 2, 6}, {2, 40, 3, 64}};
    for (int i = 0; i < 3; i++) {
        int64_t B = shapes[i][0], T = shapes[i][1], H = shapes[i][2], dh = shapes[i][3], ld = H * dh + i * 5;
        int64_t n = B * T * ld, table = T * dh / 2;
        float *x = numbers(n, 1), *c = numbers(table, 2), *s = keep((size_t)table * sizeof *s), *there, *back;
        float *dx = put(x, n), *dc, *ds;
        double *exact = wide(x, n);
        for (int64_t k = 0; k < table; k++) {
            s[k] = (float)sin(c[k]);
            c[k] = (float)cos(c[k]);
        }
        dc = put(c, table), ds = put(s, table);
        mert_reference_rotary(exact, wide(c, table), wide(s, table), B, T, H, dh, ld, 0);
        mert_rotary(ops, .x = dx, .cosines = dc, .sines = ds, .B = B, .T = T, .H = H, .dh = dh, .ld = ld);
        there = get(dx, n);
        CHECK_APART(there, exact, n, SUM);
        /* A rotation's transpose is its inverse, so its way back is the gradient's. */
        mert_reference_rotary(exact, wide(c, table), wide(s, table), B, T, H, dh, ld, 1);
        CHECK_APART(x, exact, n, SUM);
        mert_rotary(ops, .x = dx, .cosines = dc, .sines = ds, .B = B, .T = T, .H = H, .dh = dh, .ld = ld,
                    .inverse = 1);
        back = get(dx, n);
        CHECK_APART(back, exact, n, SUM);
        for (int64_t r = 0; r < B * T; r++) /* between the rows nothing is written */
            CHECK(!memcmp(there + r * ld + H * dh, x + r * ld + H * dh, (size_t)(ld - H * dh) * sizeof *x));
    }
}

static double rotary_loss(void)
{
    memcpy(f.y, f.x, (size_t)f.n * sizeof *f.y);
    mert_reference_rotary(f.y, f.w, f.b, f.B, f.T, 2, f.C / 2, f.C, 0);
    return projected();
}

TEST(rotary_gradient)
{
    int64_t B = f.B = 2, T = f.T = 5, C = f.C = 8, n = f.n = B * T * C, table = T * C / 4;
    float *c = numbers(table, 1), *s = numbers(table, 2), *dy = numbers(n, 3), *dx = put(dy, n);
    for (int64_t k = 0; k < table; k++) {
        s[k] = (float)sin(c[k]);
        c[k] = (float)cos(c[k]);
    }
    f.x = wide(numbers(n, 4), n), f.w = wide(c, table), f.b = wide(s, table), f.dy = wide(dy, n), f.y = zeros(n);
    mert_rotary(ops, .x = dx, .cosines = put(c, table), .sines = put(s, table), .B = B, .T = T, .H = 2, .dh = C / 2,
                .ld = C, .inverse = 1);
    CHECK_GRADIENT(rotary_loss, f.x, get(dx, n), NULL, n);
}

/* ---- contract A1 ---- */

enum { ITEMS = 3 };

TEST(alone_in_a_batch_and_in_blocks)
{
    static const int64_t cuts[] = {0, 1, 60, 97, 200};
    int64_t T = 200, C = 70, kernel = 7, pad = 3, n = T * C;
    float *x = numbers(ITEMS * n, 1), *w = numbers(C * kernel, 2), *g = numbers(C, 3), *dx = put(x, ITEMS * n);
    float *dw = put(w, C * kernel), *dg = put(g, C), *y = room(ITEMS * n), *z = room(ITEMS * n), *ty, *tz;
    double *squares = put_bytes(zeros(ITEMS * C), ITEMS * (size_t)C * sizeof(double));
    mert_depthwise_conv(ops, .y = y, .x = dx, .w = dw, .bias = dg, .B = ITEMS, .T = T, .C = C, .kernel = kernel,
                        .pad = pad);
    mert_time_squares(ops, .squares = squares, .x = dx, .B = ITEMS, .T = T, .C = C);
    mert_response_norm(ops, .y = z, .x = dx, .squares = squares, .w = dg, .b = dg, .B = ITEMS, .T = T, .C = C,
                       .eps = 1e-6);
    ty = get(y, ITEMS * n);
    tz = get(z, ITEMS * n);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *one = room(n + 3) + 3, *alone = room(n);
        double *own = put_bytes(zeros(C), (size_t)C * sizeof(double));
        ops->upload(ops, one, x + i * n, (size_t)n * sizeof *x);
        for (int k = 0; k < 4; k++)
            mert_depthwise_conv(ops, .y = alone + cuts[k] * C, .x = one, .w = dw, .bias = dg, .B = 1, .T = T, .C = C,
                                .kernel = kernel, .pad = pad - cuts[k], .frames = cuts[k + 1] - cuts[k]);
        CHECK(!memcmp(get(alone, n), ty + i * n, (size_t)n * sizeof *x));
        for (int k = 0; k < 4; k++)
            mert_time_squares(ops, .squares = own, .x = one + cuts[k] * C, .B = 1, .T = cuts[k + 1] - cuts[k], .C = C);
        for (int k = 0; k < 4; k++)
            mert_response_norm(ops, .y = alone + cuts[k] * C, .x = one + cuts[k] * C, .squares = own, .w = dg, .b = dg,
                               .B = 1, .T = cuts[k + 1] - cuts[k], .C = C, .eps = 1e-6);
        CHECK(!memcmp(get(alone, n), tz + i * n, (size_t)n * sizeof *x));
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(depthwise_conv), NN_TEST(depthwise_conv_of_some_frames), NN_TEST(depthwise_conv_gradient),
        NN_TEST(response_norm), NN_TEST(response_norm_gradient), NN_TEST(response_norm_gradient_of_silence),
        NN_TEST(rotary), NN_TEST(rotary_gradient), NN_TEST(alone_in_a_batch_and_in_blocks)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
