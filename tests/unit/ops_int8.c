/* Products in 8-bit integers (nn/cpu/rows_int8.h) compared with their definition in float64, on shapes that are not
 * multiples of panels and tiles, on both backends, with 1 and 3 threads. A1: a row's bits do not depend on its
 * position. All instruction sets give the same bytes. The error against products that are not rounded is what the
 * number of bits says. */
#include "libcommon/nn/cpu/rows_int8.h"

#include "tests/unit/packed_products.h"

#define SUM 2e-6

/* ---- the definition ---- */

/* The weights [n, k] as the products see them. */
static double *rounded_weights(const float *w, int64_t n, int64_t k)
{
    double *y = zeros(n * k);
    for (int64_t j = 0; j < n; j++) {
        float most = 0, scale;
        for (int64_t i = 0; i < k; i++)
            most = fmaxf(most, fabsf(w[j * k + i]));
        scale = most / 63;
        for (int64_t i = 0; i < k && scale > 0; i++)
            y[j * k + i] = scale * (double)rintf(w[j * k + i] * (1 / scale));
    }
    return y;
}

/* Rows of k numbers, ld apart; the copy has no overlap: its rows are k apart. */
static double *rounded_rows(const float *x, int64_t m, int64_t k, int64_t ld)
{
    double *y = zeros(m * k);
    for (int64_t r = 0; r < m; r++) {
        const float *v = x + r * ld;
        float low = 0, high = 0, step;
        for (int64_t i = 0; i < k; i++) {
            low = fminf(low, v[i]);
            high = fmaxf(high, v[i]);
        }
        step = high / 254 - low / 254;
        for (int64_t i = 0; i < k && step > 0; i++) {
            double b = rintf(v[i] * (1 / step)) + (double)rintf(-low * (1 / step));
            y[r * k + i] = b < 0 || b > 255 ? NAN : step * (b - rintf(-low * (1 / step)));
        }
    }
    return y;
}

static void one_number(float *row, int64_t k, int i)
{
    (void)k;
    row[3] = i % 2 ? NAN : -INFINITY; /* one number of the row is enough */
}

static const packed_kind kind = {MERT_PACKED_INT8, mert_int8_floats, rounded_rows, rounded_weights, one_number, SUM};

TEST(gemm)
{
    /* M, N, K, distance of rows: one tile and several, in both directions, with a rest; overlapping rows; more rows
     * than fit in one block (2^20 bytes) */
    static const int64_t shapes[][4] = {{1, 1, 1, 1},         {1, 200, 9, 10},    {5, 31, 3, 3},   {33, 17, 64, 64},
                                        {16, 16, 32, 32},     {17, 48, 40, 40},   {31, 33, 31, 35}, {70, 96, 96, 32},
                                        {45, 20, 50, 20},     {300, 70, 128, 64}, {1200, 18, 600, 600},
                                        {6000, 5, 128, 128}};
    packed_products(shapes, 12);
}

TEST(rows_do_not_see_each_other)
{
    packed_rows_alone();
}

/* Zeros, a constant, one sign only, huge and tiny numbers; weights of zeros, and weights that are not finite. */
TEST(unusual_numbers)
{
    enum { M = 7, K = 100, N = 20 };
    float x[M * K], w[N * K], *y, *c = room(M * N), *random = numbers(M * K, 3), *weights = numbers(N * K, 4);
    double *exact = zeros(M * N);
    for (int i = 0; i < K; i++) {
        x[i] = 0;
        x[K + i] = -2.5f;
        x[2 * K + i] = fabsf(random[i]);
        x[3 * K + i] = -1000 - random[i]; /* all far from zero: steps are of their distance from zero */
        x[4 * K + i] = random[i] * 1e37f;
        x[5 * K + i] = random[i] * 1e-33f;
        x[6 * K + i] = i == 50 ? 127 : random[i] / 64;
    }
    memcpy(w, weights, sizeof w);
    memset(w + 3 * K, 0, K * sizeof *w);
    mert_reference_gemm(&(mert_reference_gemm_args){.M = M, .N = N, .K = K, .a = rounded_rows(x, M, K, K),
                                                    .b = rounded_weights(w, N, K), .c = exact, .lda = K, .ldb = K,
                                                    .ldc = N, .tb = 1, .alpha = 1});
    for (int j = 0; j < N; j++)
        exact[5 * N + j] = 0; /* below 1e-30: zeros */
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(x, M * K), .lda = K, .b = packed(w, N, K, 1),
              .packed = MERT_PACKED_INT8, .c = c, .ldc = N);
    y = get(c, M * N);
    for (int r = 0; r < M; r++)
        CHECK_APART(y + r * N, exact + r * N, N, SUM);
    w[7 * K + 99] = NAN;
    w[8 * K] = INFINITY;
    mert_gemm(ops, .M = 1, .N = N, .K = K, .a = put(x + 2 * K, K), .lda = K, .b = packed(w, N, K, 1),
              .packed = MERT_PACKED_INT8, .c = c, .ldc = N);
    y = keep(N * sizeof *y);
    ops->download(ops, y, c, N * sizeof *y);
    CHECK(!ops->wait(ops, NULL));
    for (int j = 0; j < N; j++)
        CHECK(!isfinite(y[j]) == (j == 7 || j == 8));
}

/* Against products that are not rounded: off by 2 percent of their size, as 7 bits for weights and 8 for rows say. */
TEST(error)
{
    enum { M = 64, K = 768, N = 96 };
    float *x = numbers(M * K, 1), *w = numbers(N * K, 2), *c = room(M * N), *y;
    double *exact = zeros(M * N), off = 0, size = 0;
    mert_reference_gemm(&(mert_reference_gemm_args){.M = M, .N = N, .K = K, .a = wide(x, M * K), .b = wide(w, N * K),
                                                    .c = exact, .lda = K, .ldb = K, .ldc = N, .tb = 1, .alpha = 1});
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(x, M * K), .lda = K, .b = packed(w, N, K, 1),
              .packed = MERT_PACKED_INT8, .c = c, .ldc = N);
    y = get(c, M * N);
    for (int i = 0; i < M * N; i++) {
        off += (y[i] - exact[i]) * (y[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    off = sqrt(off / size);
    printf("# off by %.3f%%\n", 100 * off);
    CHECK(off > 0.001 && off < 0.03);
}

/* ---- one instruction set against another ---- */

static float *by(const mert_int8_kernels *k, int64_t M, int64_t N, int64_t K)
{
    int64_t stride = mert_int8_stride(K);
    float *x = numbers(M * K, 1), *w = numbers(N * K, 2),
          *panels = keep((size_t)mert_int8_floats(N, K) * sizeof *panels);
    float *y = keep((size_t)(M * N) * sizeof *y);
    uint8_t *to = keep((size_t)(M * stride));
    mert_panel_product p = {.panels = panels, .n = N, .k = K, .y = y, .ldy = N, .m = M};
    for (int64_t r = 0; r < M; r++) /* the largest sums that there can be, in every third row */
        for (int64_t i = 0; i < K && r % 3 == 0; i++)
            x[r * K + i] = 1;
    for (int64_t i = 0; i < K; i++)
        w[i] = i % 2 ? 1 : -1;
    for (int64_t i = 0; N > 1 && i < K; i++)
        w[K + i] = 1;
    mert_int8_pack(panels, w, K, N, K, 0, mert_int8_panels(N));
    for (int64_t r = 0; r < M; r++)
        k->round(to + r * stride, x + r * K, K);
    k->part(&p, to, 0, M, 0, mert_int8_panels(N));
    return y;
}

TEST(instruction_sets_agree)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {50, 50, 50}, {13, 40, 700}, {3, 2, MERT_INT8_DEPTH}};
    const mert_int8_kernels *have[4] = {&mert_int8_kernels_generic};
    int n = 1;
#ifdef MERT_HAVE_AVX2
    if (mert_cpu_isa() >= MERT_ISA_AVX2)
        have[n++] = &mert_int8_kernels_avx2;
#endif
#ifdef MERT_HAVE_AVX512
    if (mert_cpu_isa() >= MERT_ISA_AVX512)
        have[n++] = &mert_int8_kernels_avx512;
#endif
#ifdef MERT_HAVE_VNNI
    if (mert_cpu_vnni())
        have[n++] = &mert_int8_kernels_vnni;
#endif
    printf("# %d tables, the best is %s\n", n, have[n - 1]->name);
    for (int i = 0; i < 4; i++)
        for (int j = 1; j < n; j++)
            CHECK(!memcmp(by(have[0], shapes[i][0], shapes[i][1], shapes[i][2]),
                          by(have[j], shapes[i][0], shapes[i][1], shapes[i][2]),
                          (size_t)(shapes[i][0] * shapes[i][1]) * sizeof(float)));
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(gemm), NN_TEST(rows_do_not_see_each_other), NN_TEST(unusual_numbers),
                                    NN_TEST(error), NN_TEST(instruction_sets_agree)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
