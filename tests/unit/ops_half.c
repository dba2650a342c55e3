/* Products in bfloat16 (nn/cpu/rows_half.h) compared with nn/reference on the same rounded numbers, on shapes that are
 * not multiples of panels and tiles, on both backends, with 1 and 3 threads. A1: a row's bits do not depend on its
 * position. And each instruction set adds in the order that the header states. */
#include "tests/unit/nn.h"

#include "formats/half.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/reference.h"

#define SUM 3e-6

/* The rounded numbers, which the products use. */
static double *rounded(const float *x, int64_t n)
{
    double *y = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)mert_to_bf16(x[i]) << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        y[i] = value;
    }
    return y;
}

static float *packed(const float *w, int64_t n, int64_t k, int64_t count)
{
    int64_t size = mert_half_floats(n, k);
    float *to = room(count * size);
    mert_pack(ops, .to = to, .w = put(w, count * n * k), .ldw = k, .n = n, .k = k, .count = count, .to_step = size,
              .w_step = n * k, .as = MERT_PACKED_BF16);
    return to;
}

/* how: add, gelu, bias, pre, residual, three products at once, and these with different rows. */
static void one_product(int64_t M, int64_t N, int64_t K, int64_t lda, int how)
{
    int add = how & 1, gelu = how >> 1 & 1, bias = how >> 2 & 1, pre = how >> 3 & 1, residual = how >> 4 & 1;
    int64_t batch = how >> 5 & 1 ? 3 : 0, many = batch ? 3 : 1, ldc = many * N + 2, na = lda * (M - 1) + K,
            nc = ldc * M;
    int64_t a_step = how >> 6 & 1 ? na : 0;
    float *a = numbers(na * many, 1), *b = numbers(N * K * many, 2), *c = numbers(nc, 3), *f = numbers(N * many, 4),
          *s = numbers(nc, 5);
    float *kept = numbers(nc, 6), *dc = put(c, nc), *dkept = put(kept, nc), *db = packed(b, N, K, many);
    double *wc = wide(c, nc), *wkept = wide(kept, nc);
    for (int64_t i = 0; i < many; i++) { /* the reference has no step of its own for the bias */
        mert_reference_gemm_args exact = {
            .M = M, .N = N, .K = K, .a = rounded(a + i * a_step, na), .b = rounded(b + i * N * K, N * K),
            .c = wc + i * N, .lda = lda, .ldb = K, .ldc = ldc, .tb = 1, .add = add, .alpha = 0.5,
            .bias = bias ? wide(f + i * N, N) : NULL, .residual = residual ? wide(s, nc) + i * N : NULL,
            .pre = pre ? wkept + i * N : NULL, .gelu = gelu};
        mert_reference_gemm(&exact);
    }
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(a, na * many), .lda = lda, .a_step = a_step, .b = db,
              .b_step = mert_half_floats(N, K), .packed = MERT_PACKED_BF16, .c = dc, .ldc = ldc, .c_step = N,
              .add = add, .alpha = 0.5f, .batch = batch, .bias = bias ? put(f, N * many) : NULL, .bias_step = N,
              .residual = residual ? put(s, nc) : NULL, .pre = pre ? dkept : NULL, .gelu = gelu);
    CHECK_APART(get(dc, nc), wc, nc, SUM);
    CHECK_APART(get(dkept, nc), wkept, nc, SUM);
}

TEST(gemm)
{
    /* M, N, K, distance of rows: one tile and several, in both directions, with a rest; overlapping rows, with padding
     * and without; more rows than fit in one block (2^19 numbers) */
    static const int64_t shapes[][4] = {
        {1, 1, 1, 1},         {1, 200, 9, 10},     {5, 31, 3, 3},      {33, 17, 64, 64}, {16, 16, 32, 32},
        {17, 48, 40, 40},     {31, 33, 31, 35},    {70, 96, 96, 32},   {45, 20, 50, 20}, {300, 70, 128, 64},
        {1200, 18, 600, 600}, {4200, 5, 128, 128}, {4200, 5, 256, 128}};
    for (int i = 0; i < 13 && !test_bad; i++)
        for (int how = 0; how < 128 && !test_bad; how += i < 8 ? 9 : 25) {
            one_product(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], how);
            if (test_bad)
                printf("# %d x %d x %d, flags %#x\n", (int)shapes[i][0], (int)shapes[i][1], (int)shapes[i][2], how);
            forget();
        }
}

/* Rows alone, in pairs, from the middle have the same bits as all at once, even beside a row of NaN. */
TEST(rows_do_not_see_each_other)
{
    static const int64_t widths[] = {5, 48, 160};
    for (int i = 0; i < 3; i++) {
        int64_t M = 131, N = widths[i], K = 77;
        float *x = numbers(M * K, 1), *a = put(x, M * K), *b = packed(numbers(N * K, 2), N, K, 1), *c = room(M * N),
              *one = room(M * N), *d = room(M * N);
        float *all, *part, *beside;
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = MERT_PACKED_BF16, .c = c, .ldc = N,
                  .gelu = 1);
        for (int64_t r = 0, n = 1; r < M; r += n, n = n % 17 + 1)
            mert_gemm(ops, .M = r + n > M ? M - r : n, .N = N, .K = K, .a = a + r * K, .lda = K, .b = b,
                      .packed = MERT_PACKED_BF16, .c = one + r * N, .ldc = N, .gelu = 1);
        all = get(c, M * N);
        part = get(one, M * N);
        CHECK(!memcmp(all, part, (size_t)(M * N) * sizeof(float)));
        for (int64_t k = 0; k < K; k++)
            x[40 * K + k] = k % 2 ? NAN : INFINITY;
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(x, M * K), .lda = K, .b = b, .packed = MERT_PACKED_BF16, .c = d,
                  .ldc = N, .gelu = 1);
        beside = keep((size_t)(M * N) * sizeof *beside);
        ops->download(ops, beside, d, (size_t)(M * N) * sizeof *beside);
        CHECK(!ops->wait(ops, NULL));
        CHECK(isnan(beside[40 * N]) && isnan(beside[41 * N - 1]));
        CHECK(!memcmp(all, beside, (size_t)(40 * N) * sizeof(float)));
        CHECK(!memcmp(all + 41 * N, beside + 41 * N, (size_t)((M - 41) * N) * sizeof(float)));
    }
}

TEST(grouped_conv)
{
    /* B, T, D, groups, kernel, pad: rows that overlap (kernel times channels a multiple of 32) and copied ones, one
     * block of frames (512) and several */
    static const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 0},
                                        {2, 5, 6, 2, 4, 2},
                                        {1, 30, 96, 2, 32, 16},
                                        {2, 150, 64, 1, 40, 20},
                                        {1, 1100, 6, 2, 128, 64}};
    for (int i = 0; i < 5; i++) {
        const int64_t *s = shapes[i];
        int64_t n = s[0] * s[1] * s[2], Cg = s[2] / s[3], nw = s[2] * s[4] * Cg;
        float *x = numbers(n, 1), *w = numbers(nw, 2), *b = numbers(s[2], 3), *r = numbers(n, 4), *y = room(n);
        double *exact = zeros(n);
        mert_grouped_conv(ops, .y = y, .x = put(x, n), .w = packed(w, Cg, s[4] * Cg, s[3]), .packed = MERT_PACKED_BF16,
                          .bias = put(b, s[2]), .gelu = i % 2, .residual = i > 1 ? put(r, n) : NULL, .B = s[0],
                          .T = s[1], .D = s[2], .groups = s[3], .kernel = s[4], .pad = s[5]);
        mert_reference_grouped_conv(exact, rounded(x, n), rounded(w, nw), wide(b, s[2]), s[0], s[1], s[2], s[3], s[4],
                                    s[5]);
        for (int64_t j = 0; j < n; j++) {
            exact[j] = i % 2 ? exact[j] / 2 * (1 + erf(exact[j] / sqrt(2.0))) : exact[j];
            exact[j] += i > 1 ? r[j] : 0;
        }
        CHECK_APART(get(y, n), exact, n, SUM);
    }
}

/* ---- the order of sums ---- */

static float bf16(float x) { return mert_from_bf16(mert_to_bf16(x)); }

/* Numbers whose magnitudes differ so much that their sum depends on its order. */
static float *uneven(int64_t n, int seed)
{
    float *x = numbers(n, seed);
    for (int64_t i = 0; i < n; i++)
        x[i] = ldexpf(x[i], (int)(i * 7919 % 41) - 20);
    return x;
}

/* y [M, N] = x [M, K] w^T with one table. */
static float *by(const mert_half_kernels *k, const float *x, const float *w, int64_t M, int64_t N, int64_t K)
{
    int64_t depth = mert_half_depth(K), rows = (M + 15) / 16 * 16;
    float *panels = keep((size_t)mert_half_floats(N, K) * sizeof *panels), *y = keep((size_t)(M * N) * sizeof *y);
    char *to = keep((size_t)(rows * depth) * k->size);
    mert_panel_product p = {.panels = panels, .n = N, .k = K, .y = y, .ldy = N, .m = M};
    mert_half_pack(panels, w, K, N, K, 0, mert_half_panels(N));
    for (int64_t r = 0; r < M; r++)
        k->round(to + (size_t)(r * depth) * k->size, x + r * K, K);
    k->part(&p, to, depth, 0, M, 0, mert_half_panels(N));
    return y;
}

/* The same by the header's words: in pairs, or as AMX does. The numbers beyond K are zeros. */
static float *by_words(int tiles, const float *x, const float *w, int64_t M, int64_t N, int64_t K)
{
    float *y = keep((size_t)(M * N) * sizeof *y);
    for (int64_t i = 0; i < M * N; i++) {
        const float *a = x + i / N * K, *b = w + i % N * K;
        float sum = 0, part[2] = {0};
        for (int64_t k = 0; k < K; k += 2)
            for (int odd = 1; odd >= 0; odd--) {
                float *to = tiles ? part + odd : &sum;
                if (k + odd < K)
                    *to = fmaf(bf16(a[k + odd]), bf16(b[k + odd]), *to);
                if (tiles && !odd && (k % MERT_HALF_STEP == MERT_HALF_STEP - 2 || k + 2 >= K)) {
                    sum += part[0] + part[1];
                    part[0] = part[1] = 0;
                }
            }
        y[i] = sum;
    }
    return y;
}

TEST(instruction_sets_agree)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {50, 50, 50}, {13, 40, 700}, {33, 17, 31}, {24, 32, 64}, {9, 33, 3}};
    const mert_half_kernels *have[5] = {&mert_half_kernels_generic};
    int n = 1;
#ifdef MERT_HAVE_AVX2
    if (mert_cpu_isa() >= MERT_ISA_AVX2)
        have[n++] = &mert_half_kernels_avx2;
#endif
#ifdef MERT_HAVE_AVX512
    if (mert_cpu_isa() >= MERT_ISA_AVX512)
        have[n++] = &mert_half_kernels_avx512;
#endif
#ifdef MERT_HAVE_BF16
    if (mert_cpu_bf16())
        have[n++] = &mert_half_kernels_dot;
#endif
#ifdef MERT_HAVE_AMX
    if (mert_cpu_amx())
        have[n++] = &mert_half_kernels_amx;
#endif
    printf("# %d tables, the best is %s\n", n, have[n - 1]->name);
    for (int i = 0; i < 6; i++) {
        int64_t M = shapes[i][0], N = shapes[i][1], K = shapes[i][2];
        size_t bytes = (size_t)(M * N) * sizeof(float);
        float *x = uneven(M * K, 1), *w = numbers(N * K, 2), *words[] = {by_words(0, x, w, M, N, K),
                                                                         by_words(1, x, w, M, N, K)};
        CHECK(K < 64 || memcmp(words[0], words[1], bytes)); /* the two orders can be told apart */
        for (int j = 0; j < n; j++)
            CHECK(!memcmp(by(have[j], x, w, M, N, K), words[!strcmp(have[j]->name, "amx")], bytes));
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(gemm), NN_TEST(rows_do_not_see_each_other), NN_TEST(grouped_conv),
                                    NN_TEST(instruction_sets_agree)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
