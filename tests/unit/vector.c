/* The vectorised loops of every instruction set of this machine, compared with double precision; the accuracy of gelu,
 * exp and the sigmoid. */
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/vector.h"
#include "libcommon/nn/reference.h"
#include "tests/test.h"

static const mert_vector *vector; /* the table under test */
static const char *set;

enum { N = 200001 };
static float x[N], y[N], z[N];

/* x from -reach to reach in even steps */
static void ramp(double low, double high)
{
    for (int i = 0; i < N; i++)
        x[i] = (float)(low + (high - low) * i / (N - 1));
}

TEST(gelu_is_exact)
{
    double worst = 0, slope_worst = 0, far[] = {-1e30, -1e4, -50, 50, 1e4, 1e30};
    ramp(-10, 10);
    for (int i = 0; i < N; i++)
        z[i] = 1;
    vector->gelu(y, x, NULL, N);
    vector->gelu_backward(z, z, x, N);
    for (int i = 0; i < N; i++) {
        double v = x[i], exact = mert_reference_gelu(v);
        double slope = (1 + erf(v / sqrt(2))) / 2 + v * exp(-v * v / 2) / sqrt(2 * acos(-1));
        worst = fmax(worst, fabs(y[i] - exact) / fmax(1, fabs(v)));
        slope_worst = fmax(slope_worst, fabs(z[i] - slope));
    }
    printf("# %s: gelu within %.2g of max(1, |x|), its slope within %.2g\n", set, worst, slope_worst);
    CHECK(worst < 2.5e-7); /* two units in the last place, between 4 and 5.5 */
    CHECK(slope_worst < 4e-7);
    for (int i = 0; i < 6; i++) {
        float v = (float)far[i], got, slope = 1;
        vector->gelu(&got, &v, NULL, 1);
        vector->gelu_backward(&slope, &slope, &v, 1);
        CHECK_NEAR(got, v > 0 ? v : 0, 1e-7 * fabs(v)); /* erf ends 1.5e-8 below 1 */
        CHECK_NEAR(slope, v > 0, 1e-7);
    }
}

TEST(exp_is_exact)
{
    double worst = 0, sum, exact_sum = 0;
    float small[3] = {-200, -1e30f, -INFINITY};
    ramp(-87, 88); /* beyond, it is cut off */
    memcpy(y, x, sizeof y);
    vector->exp_sum(y, 0, N);
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs(y[i] - exp((double)x[i])) / exp((double)x[i]));
    printf("# %s: exp within %.2g of itself\n", set, worst);
    CHECK(worst < 2e-7);
    CHECK(vector->exp_sum(small, 0, 3) < 1e-37);
    small[1] = NAN;
    CHECK(isnan(vector->exp_sum(small, 0, 3)) && isnan(small[1]));
    memcpy(y, x, sizeof y);
    vector->exp_sum(y, 2.5f, N);
    for (int i = 0; i < N; i++)
        z[i] = fmaxf(x[i] - 2.5f, -87);
    vector->exp_sum(z, 0, N);
    CHECK(!memcmp(y, z, sizeof y)); /* the shift is a float subtraction */
    for (int n = 1; n < 70; n += 3) { /* sums of all lengths around the lanes */
        ramp(-5, 5);
        exact_sum = 0;
        for (int i = 0; i < n; i++)
            exact_sum += exp((double)x[i] + 4);
        memcpy(y, x, sizeof y);
        sum = vector->exp_sum(y, -4, n);
        CHECK_NEAR(sum, exact_sum, 1e-6 * exact_sum);
        CHECK(y[n] == x[n]);
    }
}

TEST(sigmoid_is_exact)
{
    double worst = 0, slope_worst = 0;
    float one = 1, far = 1e4f, got;
    static float da[N], dg[N];
    ramp(-30, 30);
    for (int i = 0; i < N; i++)
        z[i] = 1;
    vector->glu(y, z, x, N);
    vector->glu_backward(da, dg, z, z, x, N);
    for (int i = 0; i < N; i++) {
        double s = mert_reference_sigmoid(x[i]);
        worst = fmax(worst, fabs(y[i] - s));
        slope_worst = fmax(slope_worst, fmax(fabs(da[i] - s), fabs(dg[i] - s * (1 - s))));
    }
    printf("# %s: sigmoid within %.2g, its slope within %.2g\n", set, worst, slope_worst);
    CHECK(worst < 2e-7 && slope_worst < 2e-7);
    vector->glu(&got, &one, &far, 1);
    CHECK(got == 1);
    far = -far;
    vector->glu(&got, &one, &far, 1);
    CHECK(got >= 0 && got < 1e-30);
}

/* Lengths around the lanes (16) and the blocks (4096). */
static const int lengths[] = {1, 2, 15, 16, 17, 33, 4095, 4096, 4097, 4113, 70001};

TEST(sums_and_maxima)
{
    mert_random r = mert_random_key(1, MERT_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < 70001; i++) {
        x[i] = (float)mert_random_normal(&r, (uint32_t)i);
        y[i] = (float)mert_random_normal(&r, (uint32_t)(i + N));
    }
    for (int k = 0; k < 11; k++) {
        int n = lengths[k];
        double sum = 0, size = 0, dot = 0, dot_size = 0;
        for (int i = 0; i < n; i++) {
            sum += x[i];
            size += fabs(x[i]);
            dot += (double)x[i] * y[i];
            dot_size += fabs((double)x[i] * y[i]);
        }
        CHECK_NEAR(vector->sum(x, n), sum, 1e-6 * size);
        CHECK_NEAR(vector->dot(x, y, n), dot, 1e-6 * dot_size);
        for (int at = 0; at < n; at += n < 40 ? 1 : n / 7 + 1) { /* the largest at any position */
            float before = x[at];
            x[at] = 9;
            CHECK(vector->max(x, n) == 9);
            x[at] = before;
        }
    }
    for (int i = 0; i < 40; i++)
        z[i] = -INFINITY;
    CHECK(vector->max(z, 40) == -INFINITY);
    z[20] = -1e30f;
    CHECK(vector->max(z, 40) == -1e30f);
}

/* A sum has the same bits at all addresses. */
TEST(sums_do_not_depend_on_alignment)
{
    double first = 0, second = 0;
    for (int shift = 0; shift < 17; shift++) {
        double s, d, e;
        memcpy(y + shift, x, 5000 * sizeof *x);
        memcpy(z + 2 * shift, x, 5000 * sizeof *x);
        s = vector->sum(y + shift, 4999);
        d = vector->dot(y + shift, z + 2 * shift, 4999);
        e = vector->exp_sum(y + shift, 3, 4999);
        if (shift == 0) {
            first = s;
            second = d + e;
        }
        CHECK(s == first && d + e == second);
    }
}

/* The elementwise functions, by number: for n elements of x from element i on. */
enum { ELEMENTWISE = 8 };
static void elementwise(int which, float *to, int i, int n)
{
    memcpy(to, x + i + 500, (size_t)n * sizeof *to);
    switch (which) {
    case 0: vector->gelu(to, x + i, NULL, n); break;
    case 1: vector->gelu(to, x + i, x + i + 300, n); break;
    case 2: vector->epilogue(to, x + i, NULL, 1, x + i + 300, n); break;
    case 3: vector->axpy(to, x + i, 0.3f, n); break;
    case 4: vector->scale(to, x + i, 0.3f, n); break;
    case 5: vector->affine(to, x + i, x + i + 100, x + i + 200, x + i + 300, n); break;
    case 6: vector->glu(to, x + i, x + i + 300, n); break;
    case 7: vector->exp_sum(to, 1, n); break;
    }
}

/* An element's bits do not depend on its position in the vector, so not on the items before it (contract A1). */
TEST(elements_do_not_depend_on_place)
{
    float whole[200], part[200];
    for (int which = 0; which < ELEMENTWISE; which++) {
        elementwise(which, whole, 0, 200);
        for (int i = 0; i < 40; i++)
            for (int n = 1; n < 70; n++) {
                elementwise(which, part, i, n);
                if (memcmp(part, whole + i, (size_t)n * sizeof *part))
                    printf("# %d, %d elements from %d\n", which, n, i);
                CHECK(!memcmp(part, whole + i, (size_t)n * sizeof *part));
            }
    }
}

/* Among 40 numbers, what is beyond the limits of exp or not a number gives the same bits as alone. */
TEST(exp_of_any_number_is_the_same_among_others)
{
    const float any[] = {NAN, -NAN, INFINITY, -INFINITY, 87.9f, 88.1f, -86.9f, -87.1f, 200, -200, 0, -0.0f};
    for (int i = 0; i < 12; i++)
        for (int at = 0; at < 40; at++) {
            float among[40], alone = any[i];
            for (int j = 0; j < 40; j++)
                among[j] = j == at ? any[i] : 1;
            vector->exp_sum(among, 0.5f, 40);
            vector->exp_sum(&alone, 0.5f, 1);
            CHECK(isnan(any[i]) ? isnan(among[at]) : !memcmp(among + at, &alone, sizeof alone));
            CHECK(among[(at + 1) % 40] == among[(at + 2) % 40] && among[(at + 1) % 40] > 1.6f);
        }
}

TEST(dropout_is_philox)
{
    mert_random r = mert_random_key(3, MERT_FOR_DROPOUT, 5, 7, 11);
    static const int starts[] = {0, 4, 256, 1000};
    for (int s = 0; s < 4; s++)
        for (int n = 1; n < 300; n += 37) {
            for (int i = 0; i <= n; i++)
                x[i] = 1;
            vector->dropout(x, r.key, r.counter, (uint32_t)starts[s], 1u << 30, 1.5f, n);
            for (int i = 0; i < n; i++)
                CHECK(x[i] == (mert_random_u32(&r, (uint32_t)(starts[s] + i)) < 1u << 30 ? 0 : 1.5f));
            CHECK(x[n] == 1);
        }
}

static void run_all(const mert_vector *table, const char *name)
{
    vector = table;
    set = name;
    RUN(gelu_is_exact);
    RUN(exp_is_exact);
    RUN(sigmoid_is_exact);
    RUN(sums_and_maxima);
    RUN(sums_do_not_depend_on_alignment);
    RUN(elements_do_not_depend_on_place);
    RUN(exp_of_any_number_is_the_same_among_others);
    RUN(dropout_is_philox);
}

int main(void)
{
    run_all(&mert_vector_generic, "generic");
#ifdef MERT_HAVE_AVX2
    if (mert_cpu_isa() >= MERT_ISA_AVX2)
        run_all(&mert_vector_avx2, "avx2");
#endif
#ifdef MERT_HAVE_AVX512
    if (mert_cpu_isa() >= MERT_ISA_AVX512)
        run_all(&mert_vector_avx512, "avx512");
#endif
    return test_done();
}
