/* Components of all quantisers: products whose rows are independent, nonlinearities, nearest codewords, residual
 * quantisation. */
#include "tests/test.h"

#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/nn/cpu/vector.h"
#include "libcommon/teachers/codes.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/rvq/rvq.h"
#include "tests/unit/threads.h"

#include <float.h>

static float *normal(uint64_t seed, int64_t n, double scale)
{
    mert_random key = mert_random_key(seed, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc((size_t)n * sizeof *x + 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(scale * mert_random_normal(&key, (uint32_t)i));
    return x;
}

TEST(products_are_those_of_the_plain_version)
{
    static const int sizes[][3] = {{1, 1, 1},   {1, 70, 33},    {5, 31, 7},    {13, 32, 64},
                                   {30, 33, 100}, {100, 100, 39}, {7, 256, 512}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        float *x = normal(1, m * k, 1), *w = normal(2, n * k, 1), *bias = normal(3, n, 1);
        float *y = normal(4, m * n, 1), *plain = malloc((size_t)(m * n) * sizeof *plain);
        mert_rows *rows = mert_rows_new(w, k, n, k, bias);
        CHECK(rows);
        for (int flags = 0; flags < 4; flags++) {
            memcpy(plain, y, (size_t)(m * n) * sizeof *y);
            mert_rows_apply(rows, x, k, m, y, n, flags);
            mert_rows_plain(rows, x, k, m, plain, n, flags);
            for (int64_t i = 0; i < m * n; i++)
                CHECK_NEAR(y[i], plain[i], 1e-6 * (10 + (double)k));
        }
        mert_rows_free(rows);
        free(x), free(w), free(bias), free(y), free(plain);
    }
}

/* A row's bits must not depend on the number of rows, its position, or the thread. */
TEST(a_row_is_the_same_alone_in_a_batch_and_by_the_pool)
{
    enum { M = 117, N = 75, K = 130 };
    float *x = normal(1, M * K, 1), *w = normal(2, N * K, 1), *all = malloc(M * N * sizeof *all),
        *some = malloc(M * N * sizeof *some);
    mert_rows *rows = mert_rows_new(w, K, N, K, NULL);
    CHECK(rows);
    mert_rows_apply(rows, x, K, M, all, N, 0);
    for (int step = 1; step < 30; step += 4) {
        for (int at = 0; at < M; at += step)
            mert_rows_apply(rows, x + at * K, K, M - at < step ? M - at : step, some + at * N, N, 0);
        CHECK(!memcmp(all, some, M * N * sizeof *all));
    }
    for (int threads = 1; threads <= 3; threads++) {
        use_threads(threads);
        memset(some, 0, M * N * sizeof *some);
        mert_rows_pool(rows, x, K, M, some, N, 0);
        CHECK(!memcmp(all, some, M * N * sizeof *all));
    }
    mert_rows_free(rows);
    free(x), free(w), free(all), free(some);
}

TEST(rows_may_overlap_and_be_dilated)
{
    enum { T = 50, C = 3, KERNEL = 5, N = 4, DILATION = 3 };
    float *x = normal(1, T * C, 1), *w = normal(2, N * KERNEL * C, 1), y[T * N];
    mert_rows *rows = mert_rows_new(w, KERNEL * C, N, KERNEL * C, NULL);
    CHECK(rows);
    rows->taps = KERNEL;
    rows->tap_stride = DILATION * C;
    int64_t steps = (T - (KERNEL - 1) * DILATION - 1) / 2 + 1;
    mert_rows_apply(rows, x, 2 * C, steps, y, N, 0);
    for (int64_t t = 0; t < steps; t++)
        for (int o = 0; o < N; o++) {
            double s = 0;
            for (int k = 0; k < KERNEL; k++)
                for (int c = 0; c < C; c++)
                    s += (double)x[(2 * t + k * DILATION) * C + c] * w[(o * KERNEL + k) * C + c];
            CHECK_NEAR(y[t * N + o], s, 1e-5);
        }
    mert_rows_free(rows);
    free(x), free(w);
}

static double ulps(float got, double want)
{
    double unit = ldexp(1, ilogb(fabs(want) > FLT_MIN ? want : FLT_MIN) - 23);
    return fabs((double)got - want) / unit;
}

TEST(nonlinearities_are_within_a_few_ulp)
{
    double worst_elu = 0, worst_tanh = 0, worst_sigmoid = 0;
    for (int i = -40000; i <= 40000; i++) {
        float x = (float)i * 0.0005f, y, gates[4] = {60, 0, 0, 60}, c, out;
        MERT_VECTOR->elu(&y, &x, 1);
        worst_elu = fmax(worst_elu, ulps(y, x > 0 ? x : expm1(x)));
        /* i = o = 1 and c = 0 before: c = tanh(g). */
        gates[2] = x;
        c = 0;
        MERT_VECTOR->lstm_gates(gates, 1, &c, &out, 1);
        worst_tanh = fmax(worst_tanh, ulps(c, tanh(x)));
        /* i = 0: c = sigmoid(f) * 1 */
        gates[0] = -200;
        gates[1] = x;
        c = 1;
        MERT_VECTOR->lstm_gates(gates, 1, &c, &out, 1);
        worst_sigmoid = fmax(worst_sigmoid, ulps(c, 1 / (1 + exp(-(double)x))));
    }
    CHECK_NEAR(worst_elu, 0, 3);
    CHECK_NEAR(worst_tanh, 0, 4);
    CHECK_NEAR(worst_sigmoid, 0, 4);
}

/* Cases in which single precision is wrong: offsets far from zero, equal codewords, points half way between two
 * codewords. */
/* Compared with a linear search: few and many scores, fewer and more than a block, equal ones, all of them. */
TEST(best_scores_and_values_beyond_a_limit_are_found)
{
    enum { N = 40000, MAX = 64 };
    static const int64_t sizes[] = {1, 15, 63, 64, 65, 500, 1024, 16384, 16448, N};
    float *x = normal(5, N, 1);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (double slack = 0; slack < 100; slack = 4 * slack + 0.001) {
            int64_t n = sizes[s], found = 0, got;
            int32_t index[MAX], wanted[MAX];
            float most = -INFINITY, kept = x[n / 2];
            x[n / 2] = x[n / 3];
            for (int64_t i = 0; i < n; i++)
                most = fmaxf(most, x[i]);
            for (int64_t i = 0; i < n; i++)
                if (x[i] >= nextafterf((float)(most - slack), -INFINITY) && found++ < MAX)
                    wanted[found - 1] = (int32_t)i;
            got = MERT_CODES_KERNELS->best(x, n, slack, index, MAX);
            CHECK(got == found && !memcmp(index, wanted, (size_t)(found < MAX ? found : MAX) * sizeof *index));
            CHECK(MERT_CODES_KERNELS->beyond(x, n, INFINITY) == n);
            x[n / 2] = s % 3 == 0 ? NAN : s % 3 == 1 ? -INFINITY : 1e18f;
            CHECK(MERT_CODES_KERNELS->beyond(x, n, 1e18f) == n / 2);
            x[n / 2] = kept;
        }
    free(x);
}

TEST(nearest_is_exact)
{
    static const struct { int64_t k, d; double offset, spread; } cases[] = {
        {1, 1, 0, 1}, {2, 1, 0, 1}, {40, 12, 0, 1}, {500, 39, 1000, 0.01}, {1030, 16, -50, 1}, {64, 768, 3, 1}};
    for (size_t s = 0; s < sizeof cases / sizeof *cases; s++) {
        int64_t k = cases[s].k, d = cases[s].d, rows = 203;
        float *c = normal(1, k * d, cases[s].spread), *x = normal(2, rows * d, cases[s].spread);
        int32_t *label = malloc((size_t)rows * sizeof *label), *plain = malloc((size_t)rows * sizeof *plain);
        double *d2 = malloc((size_t)rows * sizeof *d2), *plain2 = malloc((size_t)rows * sizeof *plain2);
        for (int64_t i = 0; i < k * d; i++)
            c[i] += (float)cases[s].offset;
        for (int64_t i = 0; i < rows * d; i++)
            x[i] += (float)cases[s].offset;
        if (k > 30) {
            memcpy(c + 30 * d, c + 3 * d, (size_t)d * sizeof *c);
            memcpy(x, c + 30 * d, (size_t)d * sizeof *c);
            for (int64_t i = 0; i < d; i++)
                x[d + i] = 0.5f * (c[5 * d + i] + c[6 * d + i]);
        }
        mert_nearest *n = mert_nearest_new(c, k, d);
        CHECK(n);
        mert_nearest_plain(c, k, d, x, rows, plain, plain2);
        for (int threads = 1; threads <= 2; threads++) {
            use_threads(threads);
            CHECK(mert_nearest_find(n, x, d, rows, label, d2) == -1);
            CHECK(!memcmp(label, plain, (size_t)rows * sizeof *label));
            for (int64_t r = 0; r < rows; r++)
                CHECK_NEAR(d2[r], plain2[r], 1e-12 * plain2[r]);
        }
        CHECK(k <= 30 || label[0] == 3); /* equal: the lowest index */
        x[77 * d] = NAN;
        x[100 * d] = INFINITY;
        CHECK(mert_nearest_find(n, x, d, rows, label, NULL) == 77);
        x[76 * d + d - 1] = -1e18f;
        CHECK(mert_nearest_find(n, x, d, rows, label, NULL) == 76);
        mert_nearest_free(n);
        free(c), free(x), free(label), free(plain), free(d2), free(plain2);
    }
}

TEST(codes_are_residuals_and_decode_to_their_sum)
{
    enum { K = 3, V = 50, D = 8, N = 70 };
    float *c = normal(1, K * V * D, 1), *x = normal(2, N * D, 2), *back = malloc(N * D * sizeof *back);
    float *z = malloc(N * D * sizeof *z);
    int32_t codes[N * K], few[N * 2], label[N];
    int64_t bad;
    mert_error e;
    mert_rvq *q = mert_rvq_new(c, K, V, D);
    CHECK(q && !mert_rvq_encode(q, x, N, K, codes, &bad, &e) && !mert_rvq_encode(q, x, N, 2, few, &bad, &e));
    memcpy(z, x, N * D * sizeof *z);
    for (int k = 0; k < K; k++) {
        mert_nearest_plain(c + k * V * D, V, D, z, N, label, NULL);
        for (int i = 0; i < N; i++) {
            CHECK(codes[i * K + k] == label[i]);
            CHECK(k == 2 || few[i * 2 + k] == label[i]);
            for (int j = 0; j < D; j++)
                z[i * D + j] -= c[(k * V + label[i]) * D + j];
        }
    }
    mert_rvq_decode(q, codes, N, K, back);
    for (int i = 0; i < N * D; i++)
        CHECK_NEAR(back[i] + z[i], x[i], 1e-5);
    x[40 * D + 3] = NAN;
    CHECK(mert_rvq_encode(q, x, N, K, codes, &bad, &e) == -1 && bad == 40);
    mert_rvq_free(q);
    free(c), free(x), free(back), free(z);
}

/* Training: every codebook reduces the error; threads do not change the result, another seed does. */
TEST(training_lowers_the_error_and_repeats)
{
    enum { N = 3000, D = 6, K = 3, V = 32 };
    float *x = malloc(N * D * sizeof *x), *base = normal(5, N * D, 1), *words[3];
    mert_rvq_options o = mert_rvq_defaults;
    mert_rvq_result r[4];
    mert_error e;
    o.classes = V;
    o.batch = 500;
    o.passes = 2;
    for (int run = 0; run < 3; run++) {
        words[run] = malloc(K * V * D * sizeof *words[run]);
        use_threads(1 + run % 2);
        o.seed = run == 2 ? 8 : 7;
        o.count = K;
        memcpy(x, base, N * D * sizeof *x);
        CHECK(!mert_rvq_train(&o, x, N, D, words[run], &r[run], &e));
    }
    CHECK(!memcmp(words[0], words[1], K * V * D * sizeof *words[0]));
    CHECK(memcmp(words[0], words[2], K * V * D * sizeof *words[0]));
    o.seed = 7;
    o.count = 1;
    memcpy(x, base, N * D * sizeof *x);
    CHECK(!mert_rvq_train(&o, x, N, D, words[2], &r[3], &e));
    CHECK(!memcmp(words[0], words[2], V * D * sizeof *words[0]));
    CHECK(r[3].error < 0.55 * r[3].power);
    CHECK(r[0].error < 0.5 * r[3].error);
    o.classes = N + 1;
    CHECK(mert_rvq_train(&o, x, N, D, words[2], &r[3], &e) == -1 && strstr(e.text, "3001") && strstr(e.text, "3000"));
    for (int run = 0; run < 3; run++)
        free(words[run]);
    free(x), free(base);
}

int main(void)
{
    RUN(products_are_those_of_the_plain_version);
    RUN(a_row_is_the_same_alone_in_a_batch_and_by_the_pool);
    RUN(rows_may_overlap_and_be_dilated);
    RUN(nonlinearities_are_within_a_few_ulp);
    RUN(best_scores_and_values_beyond_a_limit_are_found);
    RUN(nearest_is_exact);
    RUN(codes_are_residuals_and_decode_to_their_sum);
    RUN(training_lowers_the_error_and_repeats);
    return test_done();
}
