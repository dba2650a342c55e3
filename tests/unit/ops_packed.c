/* Operations on packed weights, and GroupNorm folded into the convolution before it: compared with nn/reference, on
 * shapes that are not multiples of the panels (32 and 48 outputs), on both backends, with 1 and 3 threads, with every
 * instruction set. And A1: a row's bits do not depend on its position. */
#include "tests/unit/nn.h"

#include "libcommon/nn/cpu/rows.h"
#include "libcommon/nn/reference.h"

#define SUM 3e-6

static float *packed(const float *w, int64_t n, int64_t k, int64_t count)
{
    int64_t size = mert_packed_floats(n, k);
    float *to = room(count * size);
    mert_pack(ops, .to = to, .w = put(w, count * n * k), .ldw = k, .n = n, .k = k, .count = count, .to_step = size,
              .w_step = n * k);
    return to;
}

static void one_product(int64_t M, int64_t N, int64_t K, int how)
{
    int add = how & 1, gelu = how >> 1 & 1, bias = how >> 2 & 1, pre = how >> 3 & 1, residual = how >> 4 & 1;
    int64_t batch = how >> 5 & 1 ? 3 : 0, many = batch ? 3 : 1, lda = K + 1, ldc = (batch ? 3 : 1) * N + 2,
            na = lda * M + 5, nc = ldc * M;
    float *a = numbers(na * many, 1), *b = numbers(N * K * many, 2), *c = numbers(nc, 3), *f = numbers(N * many, 4),
          *s = numbers(nc, 5);
    float *kept = numbers(nc, 6), *dc = put(c, nc), *dkept = put(kept, nc), *db = packed(b, N, K, many);
    double *wc = wide(c, nc), *wkept = wide(kept, nc);
    for (int64_t i = 0; i < many; i++) { /* the reference has no step of its own for the bias */
        mert_reference_gemm_args exact = {M,
                                          N,
                                          K,
                                          wide(a + i * na, na),
                                          wide(b + i * N * K, N * K),
                                          wc + i * N,
                                          lda,
                                          K,
                                          ldc,
                                          0,
                                          1,
                                          add,
                                          0.5,
                                          0,
                                          0,
                                          0,
                                          0,
                                          0,
                                          bias ? wide(f + i * N, N) : NULL,
                                          residual ? wide(s, nc) + i * N : NULL,
                                          pre ? wkept + i * N : NULL,
                                          gelu};
        mert_reference_gemm(&exact);
    }
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(a, na * many), .lda = lda, .a_step = na, .b = db,
              .b_step = mert_packed_floats(N, K), .packed = 1, .c = dc, .ldc = ldc, .c_step = N, .add = add,
              .alpha = 0.5f, .batch = batch, .bias = bias ? put(f, N * many) : NULL, .bias_step = N,
              .residual = residual ? put(s, nc) : NULL, .pre = pre ? dkept : NULL, .gelu = gelu);
    CHECK_APART(get(dc, nc), wc, nc, SUM);
    CHECK_APART(get(dkept, nc), wkept, nc, SUM);
}

TEST(gemm)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 200, 9}, {5, 31, 3},   {13, 32, 17},  {12, 33, 1},
                                        {30, 48, 40}, {9, 47, 5},  {25, 144, 7}, {500, 70, 11}, {300, 96, 33}};
    for (int i = 0; i < 10 && !test_bad; i++)
        for (int how = 0; how < 64 && !test_bad; how += i < 8 ? 5 : 13) {
            one_product(shapes[i][0], shapes[i][1], shapes[i][2], how);
            if (test_bad)
                printf("# %d x %d x %d, flags %#x\n", (int)shapes[i][0], (int)shapes[i][1], (int)shapes[i][2], how);
            forget();
        }
}

/* Rows alone, in pairs, from the middle have the same bits as all at once. */
TEST(rows_do_not_see_each_other)
{
    static const int64_t widths[] = {5, 48, 160};
    for (int i = 0; i < 3; i++) {
        int64_t M = 131, N = widths[i], K = 77;
        float *a = put(numbers(M * K, 1), M * K), *b = packed(numbers(N * K, 2), N, K, 1), *c = room(M * N),
              *one = room(M * N), *all, *part;
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = 1, .c = c, .ldc = N, .gelu = 1);
        for (int64_t r = 0, n = 1; r < M; r += n, n = n % 17 + 1)
            mert_gemm(ops, .M = r + n > M ? M - r : n, .N = N, .K = K, .a = a + r * K, .lda = K, .b = b, .packed = 1,
                      .c = one + r * N, .ldc = N, .gelu = 1);
        all = get(c, M * N);
        part = get(one, M * N);
        CHECK(!memcmp(all, part, (size_t)(M * N) * sizeof(float)));
    }
}

/* Panels by their definition, for numbers of outputs and inputs around the squares that are packed at once. */
TEST(packing_is_a_transposition)
{
    static const int64_t outputs[] = {1, 15, 16, 17, 32, 40, 48, 49, 80, 144}, inputs[] = {1, 7, 16, 31, 32, 33, 64};
    for (int i = 0; i < 70; i++) {
        int64_t N = outputs[i / 7], K = inputs[i % 7], W = mert_panel_width(N), size = mert_packed_floats(N, K);
        float *w = numbers(N * K, 1), *to = get(packed(w, N, K, 1), size);
        for (int64_t j = 0; j < size; j++) {
            int64_t n = j / (W * K) * W + j % W, k = j / W % K;
            CHECK(to[j] == (n < N ? w[n * K + k] : 0));
        }
        forget();
    }
}

/* A product that is only scaled or added is stored by other instructions than one with steps behind it. */
TEST(plain_products_have_the_bits_of_others)
{
    static const int64_t widths[] = {16, 32, 48, 50, 96, 160};
    for (int i = 0; i < 24; i++) {
        int64_t M = (int[]){1, 2, 7, 29}[i % 4], N = widths[i / 4], K = 21, n = M * N;
        float *a = put(numbers(M * K, 1), M * K), *b = packed(numbers(N * K, 2), N, K, 1), *r = numbers(n, 3);
        float *plain = room(n), *kept = room(n), *other = room(n), *added = put(r, n), *behind = room(n);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = 1, .c = plain, .ldc = N,
                  .alpha = 0.7f);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = 1, .c = other, .ldc = N,
                  .alpha = 0.7f, .pre = kept, .gelu = 1);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = 1, .c = added, .ldc = N, .add = 1);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = 1, .c = behind, .ldc = N,
                  .residual = put(r, n));
        CHECK(!memcmp(get(plain, n), get(kept, n), (size_t)n * sizeof(float)));
        CHECK(!memcmp(get(added, n), get(behind, n), (size_t)n * sizeof(float)));
        forget();
    }
}

TEST(grouped_conv)
{
    /* B, T, D, groups, kernel, pad: one run of taps and several (1024 / channels of a group) */
    static const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 0},
                                        {2, 5, 6, 2, 4, 2},
                                        {1, 30, 96, 2, 33, 16},
                                        {2, 150, 64, 1, 40, 20},
                                        {1, 4, 6, 2, 128, 64}};
    for (int i = 0; i < 5; i++) {
        const int64_t *s = shapes[i];
        int64_t n = s[0] * s[1] * s[2], Cg = s[2] / s[3], nw = s[2] * s[4] * Cg;
        float *x = numbers(n, 1), *w = numbers(nw, 2), *b = numbers(s[2], 3), *r = numbers(n, 4), *y = room(n);
        double *exact = zeros(n);
        mert_grouped_conv(ops, .y = y, .x = put(x, n), .w = packed(w, Cg, s[4] * Cg, s[3]), .packed = 1,
                          .bias = put(b, s[2]), .gelu = i % 2, .residual = i > 1 ? put(r, n) : NULL, .B = s[0],
                          .T = s[1], .D = s[2], .groups = s[3], .kernel = s[4], .pad = s[5]);
        mert_reference_grouped_conv(exact, wide(x, n), wide(w, nw), wide(b, s[2]), s[0], s[1], s[2], s[3], s[4], s[5]);
        for (int64_t j = 0; j < n; j++) {
            exact[j] = i % 2 ? exact[j] / 2 * (1 + erf(exact[j] / sqrt(2.0))) : exact[j];
            exact[j] += i > 1 ? r[j] : 0;
        }
        CHECK_APART(get(y, n), exact, n, SUM);
    }
}

/* The reference runs conv, then GroupNorm over time; the operation under test uses the waveform's moments and one
 * convolution. */
TEST(fold_norm)
{
    static const int64_t shapes[][4] = {{7, 3, 3, 1},
                                        {2000, 10, 5, 33},
                                        {45003, 10, 5, 12},
                                        {600, 1, 1, 2},
                                        {40, 4, 7, 5}}; /* L, K, stride, O */
    for (int i = 0; i < 5; i++) {
        int64_t L = shapes[i][0], K = shapes[i][1], S = shapes[i][2], O = shapes[i][3], T = (L - K) / S + 1, n = T * O;
        float *x = numbers(L, 1), *v = numbers(O * K, 2), *nw = numbers(O, 3), *nb = numbers(O, 4), *y = room(n),
              *w = room(O * K), *b = room(O);
        float *dx = put(x, L), *dw = room(mert_packed_floats(O, K));
        double *sums = room_bytes((size_t)K * sizeof *sums), *products = room_bytes((size_t)(K * K) * sizeof *products);
        double *conv = zeros(n), *exact = zeros(n), *mean = zeros(O), *rstd = zeros(O);
        mert_conv_shape s = {1, L, T, 1, O, K, S};
        mert_reference_conv(&s, wide(x, L), wide(v, O * K), NULL, 0, conv);
        mert_reference_time_norm(exact, conv, wide(nw, O), wide(nb, O), mean, rstd, NULL, 1, T, O, 1e-5, 0);
        mert_window_moments(ops, .sums = sums, .products = products, .x = dx, .T = T, .kernel = K, .stride = S);
        mert_fold_norm(ops, .w = w, .b = b, .sums = sums, .products = products, .v = put(v, O * K),
                       .norm_w = put(nw, O), .norm_b = put(nb, O), .out = O, .kernel = K, .T = T, .eps = 1e-5f);
        mert_pack(ops, .to = dw, .w = w, .ldw = K, .n = O, .k = K);
        mert_gemm(ops, .M = T, .N = O, .K = K, .a = dx, .lda = S, .b = dw, .packed = 1, .c = y, .ldc = O, .bias = b);
        CHECK_APART(get(y, n), exact, n, SUM);
    }
}

/* Queries, keys and values are side by side in rows; the output has rows of another length. */
TEST(attention_of_joined_rows)
{
    int64_t T = 150, H = 3, dh = 20, D = H * dh, n = T * D;
    float *x = numbers(3 * n, 1), *d = put(x, 3 * n), *out = room(n);
    double *q = zeros(n), *k = zeros(n), *v = zeros(n), *exact = zeros(n);
    mert_reference_attention_args a = {exact, NULL, q, k, v, 1, T, H, dh, D, 0.3, 0, {0, 0, 0}};
    for (int64_t i = 0; i < n; i++) {
        q[i] = x[i / D * 3 * D + i % D];
        k[i] = x[i / D * 3 * D + D + i % D];
        v[i] = x[i / D * 3 * D + 2 * D + i % D];
    }
    mert_reference_attention(&a);
    mert_attention(ops, .out = out, .ldout = D, .q = d, .k = d + D, .v = d + 2 * D, .B = 1, .T = T, .H = H, .dh = dh,
                   .ld = 3 * D, .scale = 0.3f);
    CHECK_APART(get(out, n), exact, n, SUM);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(gemm), NN_TEST(rows_do_not_see_each_other),
                                    NN_TEST(packing_is_a_transposition),
                                    NN_TEST(plain_products_have_the_bits_of_others), NN_TEST(grouped_conv),
                                    NN_TEST(fold_norm), NN_TEST(attention_of_joined_rows)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
