/* Contract A1 on the operations between pcm and codes or hidden states: an item has the same bytes alone, in a batch,
 * and at another address. (run_everywhere tests that results do not depend on threads.) And the arena, from which
 * models allocate memory. */
#include "tests/unit/nn.h"

#include "libcommon/nn/arena.h"
#include "libcommon/nn/conv.h"

enum { ITEMS = 3, AT = 3 }; /* AT: offset of the second placement from an aligned address, in floats */

/* Whether y, of all items together, has item b's n floats where it should. */
static int same_item(const float *together, const float *alone, int64_t b, int64_t n)
{
    return !memcmp(together + b * n, alone, (size_t)n * sizeof *alone);
}

static float *shifted(const float *x, int64_t n)
{
    float *p = room(n + AT);
    ops->upload(ops, p + AT, x, (size_t)n * sizeof *x);
    return p + AT;
}

TEST(gemm_alone_and_in_a_batch)
{
    int64_t M = 77, N = 150, K = 33;
    float *a = numbers(ITEMS * M * K, 1), *b = numbers(N * K, 2), *f = numbers(N, 3), *c = room(ITEMS * M * N);
    float *together;
    float *db = put(b, N * K), *df = put(f, N);
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(a, ITEMS * M * K), .lda = K, .a_step = M * K, .b = db, .ldb = K,
              .tb = 1, .c = c, .ldc = N, .c_step = M * N, .batch = ITEMS, .bias = df, .gelu = 1);
    together = get(c, ITEMS * M * N);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *y = room(M * N + AT) + AT;
        mert_linear(ops, M, K, N, shifted(a + i * M * K, M * K), shifted(b, N * K), df, NULL, 1, NULL, y);
        CHECK(same_item(together, get(y, M * N), i, M * N));
    }
}

TEST(conv_alone_and_in_a_batch)
{
    mert_conv_shape s = {ITEMS, 1301, 650, 5, 37, 3, 2}, one = s;
    int64_t nx = s.T_in * s.C, nw = s.O * s.kernel * s.C, ny = s.T_out * s.O;
    float *x = numbers(ITEMS * nx, 1), *w = numbers(nw, 2), *y = room(ITEMS * ny), *together;
    one.B = 1;
    mert_conv(ops, .y = y, .x = put(x, ITEMS * nx), .w = put(w, nw), .shape = s, .gelu = 1);
    together = get(y, ITEMS * ny);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *alone = room(ny + AT) + AT;
        mert_conv(ops, .y = alone, .x = shifted(x + i * nx, nx), .w = shifted(w, nw), .shape = one, .gelu = 1);
        CHECK(same_item(together, get(alone, ny), i, ny));
    }
}

TEST(first_layer_alone_and_in_a_batch)
{
    mert_conv_shape s = {ITEMS, 1507, 300, 1, 37, 10, 5}, one = s;
    int64_t nw = s.O * s.kernel, ny = s.T_out * s.O;
    float *x = numbers(ITEMS * s.T_in, 1), *w = put(numbers(nw, 2), nw), *n = put(numbers(s.O, 3), s.O), *together;
    one.B = 1;
    for (int kind = 0; kind < 2; kind++) {
        float *y = room(ITEMS * ny);
        mert_first_layer(ops, .y = y, .x = put(x, ITEMS * s.T_in), .w = w, .bias = n, .norm_w = n, .norm_b = n,
                         .shape = s, .eps = 1e-5f, .over_channels = kind);
        together = get(y, ITEMS * ny);
        for (int64_t i = 0; i < ITEMS; i++) {
            float *alone = room(ny + AT) + AT;
            mert_first_layer(ops, .y = alone, .x = shifted(x + i * s.T_in, s.T_in), .w = w, .bias = n, .norm_w = n,
                             .norm_b = n, .shape = one, .eps = 1e-5f, .over_channels = kind);
            CHECK(same_item(together, get(alone, ny), i, ny));
        }
    }
}

TEST(pooling_and_norm_with_gelu_alone_and_in_a_batch)
{
    static const int32_t first[] = {0, 1, 60, 199, 200, 399, 400, 600}; /* each item: 200 frames */
    int64_t T = 200, D = 67, n = T * D;
    float *x = numbers(ITEMS * n, 1), *w = numbers(D, 2), *dw = put(w, D), *dx = put(x, ITEMS * n), *y = room(7 * D);
    float *h = room(ITEMS * n), *pooled, *together;
    int32_t *spans = put_bytes(first, sizeof first), whole[2] = {0, 200};
    mert_pool_spans(ops, .y = y, .x = dx, .first = spans, .spans = 7, .D = D, .ldy = D);
    mert_layer_norm(ops, .y = h, .x = dx, .w = dw, .b = dw, .rows = ITEMS * T, .columns = D, .eps = 1e-5f, .gelu = 1);
    pooled = get(y, 7 * D), together = get(h, ITEMS * n);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *one = shifted(x + i * n, n), *alone = room(n + AT) + AT, *w1 = shifted(w, D);
        mert_layer_norm(ops, .y = alone, .x = one, .w = w1, .b = w1, .rows = T, .columns = D, .eps = 1e-5f, .gelu = 1);
        CHECK(same_item(together, get(alone, n), i, n));
        mert_pool_spans(ops, .y = alone, .x = one, .first = put_bytes(whole, sizeof whole), .spans = 1, .D = D,
                        .ldy = D);
        if (i == 2) /* 400 .. 600 is a span */
            CHECK(same_item(pooled, get(alone, D), 6, D));
    }
}

TEST(attention_alone_and_in_a_batch)
{
    int64_t T = 270, H = 2, dh = 9, n = T * H * dh;
    float *q = numbers(ITEMS * n, 1), *k = numbers(ITEMS * n, 2), *v = numbers(ITEMS * n, 3), *out = room(ITEMS * n);
    float *together;
    mert_attention(ops, .out = out, .q = put(q, ITEMS * n), .k = put(k, ITEMS * n), .v = put(v, ITEMS * n), .B = ITEMS,
                   .T = T, .H = H, .dh = dh, .ld = H * dh, .scale = 0.3f);
    together = get(out, ITEMS * n);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *alone = room(n + AT) + AT;
        mert_attention(ops, .out = alone, .q = shifted(q + i * n, n), .k = shifted(k + i * n, n),
                       .v = shifted(v + i * n, n), .B = 1, .T = T, .H = H, .dh = dh, .ld = H * dh, .scale = 0.3f);
        CHECK(same_item(together, get(alone, n), i, n));
    }
}

TEST(norms_alone_and_in_a_batch)
{
    int64_t T = 300, C = 67, n = T * C, kernel = 8, groups = 1, nw = C * kernel * C;
    float *x = numbers(ITEMS * n, 1), *w = numbers(C, 2), *taps = numbers(nw, 3), *dx = put(x, ITEMS * n);
    float *dw = put(w, C), *dtaps = put(taps, nw);
    float *y[3] = {room(ITEMS * n), room(ITEMS * n), room(ITEMS * n)}, *together[3];
    mert_layer_norm(ops, .y = y[0], .x = dx, .w = dw, .b = dw, .rows = ITEMS * T, .columns = C, .eps = 1e-5f);
    mert_time_norm(ops, .y = y[1], .x = dx, .w = dw, .b = dw, .B = ITEMS, .T = T, .C = C, .eps = 1e-5f, .gelu = 1);
    mert_grouped_conv(ops, .y = y[2], .x = dx, .w = dtaps, .bias = dw, .B = ITEMS, .T = T, .D = C, .groups = groups,
                      .kernel = kernel, .pad = 4);
    for (int k = 0; k < 3; k++)
        together[k] = get(y[k], ITEMS * n);
    for (int64_t i = 0; i < ITEMS; i++) {
        float *one = shifted(x + i * n, n), *alone = room(n + AT) + AT, *w1 = shifted(w, C);
        mert_layer_norm(ops, .y = alone, .x = one, .w = w1, .b = w1, .rows = T, .columns = C, .eps = 1e-5f);
        CHECK(same_item(together[0], get(alone, n), i, n));
        mert_time_norm(ops, .y = alone, .x = one, .w = w1, .b = w1, .B = 1, .T = T, .C = C, .eps = 1e-5f, .gelu = 1);
        CHECK(same_item(together[1], get(alone, n), i, n));
        mert_grouped_conv(ops, .y = alone, .x = one, .w = shifted(taps, nw), .bias = w1, .B = 1, .T = T, .D = C,
                          .groups = groups, .kernel = kernel, .pad = 4);
        CHECK(same_item(together[2], get(alone, n), i, n));
    }
}

TEST(arena)
{
    mert_arena a;
    mert_arena_mark mark;
    float *p[3000];
    int again = 1, aligned = 1;
    mert_arena_open(&a, mert_ops_cpu()); /* its memory is not committed until it is used */
    p[0] = mert_arena_floats(&a, 5);
    mark = mert_arena_here(&a);
    p[1] = mert_arena_floats(&a, 100);
    p[2] = mert_arena_floats(&a, 3 << 20); /* more than a block */
    CHECK(p[0] && p[1] == p[0] + 16 && p[2] && !a.failed);
    mert_arena_back(&a, mark);
    CHECK(mert_arena_floats(&a, 1) == p[1]);
    CHECK(mert_arena_floats(&a, 3 << 20) == p[2]);
    mert_arena_close(&a);
    mert_arena_open(&a, mert_ops_cpu());
    /* a training step of many small activations: far more than 64 of the smallest blocks */
    for (int i = 0; i < 3000; i++) {
        p[i] = mert_arena_floats(&a, 60000);
        aligned &= p[i] && (uintptr_t)p[i] % 64 == 0;
    }
    CHECK(aligned && !a.failed);
    mert_arena_reset(&a);
    for (int i = 0; i < 3000; i++)
        again &= mert_arena_floats(&a, 60000) == p[i];
    CHECK(again); /* the second batch of a shape uses the memory of the first */
    CHECK(!mert_arena_floats(&a, INT64_MAX / 2) && a.failed);
    CHECK(!mert_arena_floats(&a, 1)); /* fails until the reset */
    mert_arena_reset(&a);
    CHECK(mert_arena_floats(&a, 1) == p[0]);
    mert_arena_close(&a);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(gemm_alone_and_in_a_batch), NN_TEST(conv_alone_and_in_a_batch),
        NN_TEST(first_layer_alone_and_in_a_batch), NN_TEST(pooling_and_norm_with_gelu_alone_and_in_a_batch),
        NN_TEST(attention_alone_and_in_a_batch), NN_TEST(norms_alone_and_in_a_batch)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    RUN(arena);
    run_lesser_sets(argv);
    return test_done();
}
