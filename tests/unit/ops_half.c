/* Products in bfloat16 (nn/cpu/rows_half.h) compared with nn/reference on the same rounded numbers, on shapes that are
 * not multiples of panels and tiles, on both backends, with 1 and 3 threads. A1: a row's bits do not depend on its
 * position. And each instruction set adds in the order that the header states. */
#include "libcommon/nn/cpu/rows_half.h"

#include "formats/half.h"
#include "tests/unit/packed_products.h"

#define SUM 3e-6

/* m rows of k numbers, ld apart, rounded: what the products use. */
static double *rounded_rows(const float *x, int64_t m, int64_t k, int64_t ld)
{
    double *y = zeros(m * k);
    for (int64_t i = 0; i < m * k; i++) {
        uint32_t bits = (uint32_t)mert_to_bf16(x[i / k * ld + i % k]) << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        y[i] = value;
    }
    return y;
}

static double *rounded(const float *x, int64_t n)
{
    return rounded_rows(x, 1, n, n);
}

static double *rounded_weights(const float *w, int64_t n, int64_t k)
{
    return rounded(w, n * k);
}

static void whole_row(float *row, int64_t k, int i)
{
    (void)i;
    for (int64_t j = 0; j < k; j++)
        row[j] = j % 2 ? NAN : INFINITY;
}

static const packed_kind kind = {MERT_PACKED_BF16, mert_half_floats, rounded_rows, rounded_weights, whole_row, SUM};

TEST(gemm)
{
    /* M, N, K, distance of rows: one tile and several, in both directions, with a rest; overlapping rows, with padding
     * and without; more rows than fit in one block (2^19 numbers) */
    static const int64_t shapes[][4] = {
        {1, 1, 1, 1},         {1, 200, 9, 10},     {5, 31, 3, 3},      {33, 17, 64, 64}, {16, 16, 32, 32},
        {17, 48, 40, 40},     {31, 33, 31, 35},    {70, 96, 96, 32},   {45, 20, 50, 20}, {300, 70, 128, 64},
        {1200, 18, 600, 600}, {4200, 5, 128, 128}, {4200, 5, 256, 128}};
    packed_products(shapes, 13);
}

TEST(rows_do_not_see_each_other)
{
    packed_rows_alone();
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
