/* Quantisers with projections, trained and random, compared with the definition in double; their file; stacked frames.
 */
#include "tests/test.h"

#include "libcommon/base/random.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/rvq/projected.h"
#include "tests/unit/near_plane.h"
#include "tests/unit/threads.h"

enum { N = 1500, W = 6, STACK = 2, S = W * STACK, D = 4, K = 3, V = 24 };

static float *rows(void)
{
    return rows_near_plane(N, S, 5);
}

static mert_codebook sized(const char *type)
{
    mert_codebook b = {.count = K, .classes = V, .width = D, .stack = STACK};
    snprintf(b.type, sizeof b.type, "%s", type);
    b.features.width = W;
    return b;
}

static mert_rvq_options options(void)
{
    mert_rvq_options o = mert_rvq_defaults;
    o.batch = 400;
    o.passes = 4;
    o.seed = 3;
    return o;
}

/* The formulas of projected.h, in double. Returns 0 if a code is not a nearest one (1e-5 apart). */
static int by_definition(const mert_codebook *b, const float *x, const int32_t *codes)
{
    for (int i = 0; i < N; i++) {
        double r[S];
        for (int j = 0; j < S; j++)
            r[j] = x[i * S + j];
        for (int k = 0; k < K; k++) {
            double u[D], length = 0, least = INFINITY, chosen = 0;
            const float *c = b->codewords + k * V * D, *mine = c + codes[i * K + k] * D;
            for (int d = 0; d < D; d++) {
                u[d] = b->project_bias[k * D + d];
                for (int j = 0; j < S; j++)
                    u[d] += b->project[(k * D + d) * S + j] * r[j];
                length += u[d] * u[d];
            }
            for (int v = 0; v < V; v++) {
                double distance2 = 0;
                for (int d = 0; d < D; d++)
                    distance2 += pow(u[d] / sqrt(length) - c[v * D + d], 2);
                least = fmin(least, distance2);
                if (v == codes[i * K + k])
                    chosen = distance2;
            }
            if (chosen > least + 1e-5)
                return 0;
            for (int j = 0; b->out && j < S; j++) {
                r[j] -= b->out_bias[k * S + j];
                for (int d = 0; d < D; d++)
                    r[j] -= b->out[(k * S + j) * D + d] * mine[d];
            }
        }
    }
    return 1;
}

static int unit_words(const mert_codebook *b)
{
    for (int i = 0; i < K * V; i++) {
        double s = 0;
        for (int d = 0; d < D; d++)
            s += pow(b->codewords[i * D + d], 2);
        if (fabs(s - 1) > 1e-6)
            return 0;
    }
    return 1;
}

TEST(mel_rvq_learns_and_codes_are_those_of_the_definition)
{
    mert_codebook b[2] = {sized("melrvq"), sized("melrvq")}, back;
    mert_rvq_options o = options();
    mert_rvq_result r;
    mert_error e;
    float *x = rows(), *z = rows(), *decoded = malloc(N * S * sizeof *decoded);
    int32_t codes[N * K], one[K], few[N];
    int64_t bad;
    double last = INFINITY;
    mert_projected *q;
    for (int t = 0; t < 2; t++) {
        use_threads(1 + t);
        memcpy(z, x, N * S * sizeof *z);
        CHECK(!mert_projected_train(&b[t], &o, z, N, &r, &e) && unit_words(&b[t]));
        CHECK(!mert_codebook_write(&b[t], test_tmp(t ? "two" : "one"), &e));
    }
    CHECK(b[0].hash == b[1].hash && b[0].hash);
    CHECK(!mert_codebook_read(&back, test_tmp("one"), &e));
    CHECK(back.hash == b[0].hash && back.stack == STACK && back.features.width == W && back.width == D && back.out);
    q = mert_projected_new(&back, &e);
    CHECK(q && !mert_projected_encode(q, x, N, K, codes, &bad, &e) && by_definition(&b[0], x, codes));
    for (int i = 0; i < N; i += 7) { /* a row alone */
        CHECK(!mert_projected_encode(q, x + i * S, 1, K, one, &bad, &e));
        CHECK(!memcmp(one, codes + i * K, sizeof one));
    }
    for (int k = 1; k <= K; k++) { /* each codebook reduces the error, as reported by training */
        double error = 0;
        int32_t *some = malloc((size_t)(N * k) * sizeof *some);
        CHECK(!mert_projected_encode(q, x, N, k, some, &bad, &e));
        mert_projected_decode(q, some, N, k, decoded);
        for (int i = 0; i < N * S; i++)
            error += pow(x[i] - decoded[i], 2) / N;
        CHECK(error < 0.75 * last);
        last = error;
        free(some);
    }
    CHECK_NEAR(last, r.error, 1e-3 * r.error);
    CHECK(r.error < 0.25 * r.power);
    CHECK(!mert_projected_encode(q, x, N, 1, few, &bad, &e));
    for (int i = 0; i < N; i++)
        CHECK(few[i] == codes[i * K]);
    x[77 * S + 3] = NAN;
    CHECK(mert_projected_encode(q, x, N, K, codes, &bad, &e) == -1 && bad == 77);
    mert_projected_free(q);
    mert_codebook_free(&back), mert_codebook_free(&b[0]), mert_codebook_free(&b[1]);
    free(x), free(z), free(decoded);
}

TEST(random_projections_are_the_seed_s)
{
    mert_codebook a = sized("random"), b = sized("random"), other = sized("random"), back;
    mert_error e;
    float *x = rows();
    int32_t codes[N * K];
    int64_t bad;
    int used[V] = {0}, classes = 0;
    mert_projected *q;
    CHECK(x && !mert_projected_random(&a, 5, &e) && !mert_projected_random(&b, 5, &e) &&
          !mert_projected_random(&other, 6, &e));
    CHECK(unit_words(&a) && !a.out && !mert_codebook_write(&a, test_tmp("random"), &e));
    CHECK(!mert_codebook_write(&b, test_tmp("b"), &e) && !mert_codebook_write(&other, test_tmp("other"), &e));
    CHECK(a.hash == b.hash && a.hash != other.hash && !mert_codebook_read(&back, test_tmp("random"), &e));
    CHECK(back.hash == a.hash && !back.out && back.features.width == W);
    q = mert_projected_new(&back, &e);
    CHECK(q && !mert_projected_encode(q, x, N, K, codes, &bad, &e) && by_definition(&a, x, codes));
    for (int i = 0; i < N; i++)
        used[codes[i * K + 1]]++;
    for (int v = 0; v < V; v++)
        classes += used[v] > 0;
    CHECK(classes > V / 2);
    mert_projected_free(q);
    mert_codebook_free(&a), mert_codebook_free(&b), mert_codebook_free(&other), mert_codebook_free(&back);
    free(x);
}

TEST(frames_side_by_side_however_they_come)
{
    float x[101 * 3], got[101 * 3];
    mert_error e;
    for (int i = 0; i < 101 * 3; i++)
        x[i] = (float)i;
    for (int64_t n = 1; n <= 7; n++)
        for (int64_t chunk = 1; chunk <= 101; chunk += 9) {
            mert_stack s = {.n = n, .width = 3};
            int64_t at = 0, rows_given;
            for (int twice = 0; twice < 2; twice++) { /* the second item does not depend on the first */
                at = 0;
                mert_stack_reset(&s);
                for (int64_t f = 0; f < 101; f += chunk) {
                    const float *y = mert_stack_add(&s, x + f * 3, 101 - f < chunk ? 101 - f : chunk, &rows_given, &e);
                    CHECK(y && (at + rows_given) * n <= 101);
                    memcpy(got + at * n * 3, y, (size_t)(rows_given * n * 3) * sizeof *y);
                    at += rows_given;
                }
                CHECK(at == 101 / n && !memcmp(got, x, (size_t)(at * n * 3) * sizeof *x));
            }
            mert_stack_free(&s);
        }
}

int main(void)
{
    RUN(mel_rvq_learns_and_codes_are_those_of_the_definition);
    RUN(random_projections_are_the_seed_s);
    RUN(frames_side_by_side_however_they_come);
    return test_done();
}
