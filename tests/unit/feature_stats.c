#include "tests/test.h"

#include "libcommon/dsp/feature_stats.h"

#include <float.h>
#include <stdint.h>

static mert_error e;

static float number(uint32_t *state)
{
    union { uint32_t u; float f; } v;
    do {
        *state = *state * 1664525u + 1013904223u;
        v.u = *state ^ *state >> 13; /* any bits: denormals, tiny and huge numbers of both signs */
    } while (!isfinite(v.f));
    return v.f;
}

TEST(sums_are_exact)
{
    mert_feature_stats s;
    float huge[4] = {FLT_MAX, FLT_TRUE_MIN, -FLT_MAX, FLT_TRUE_MIN}, same[3] = {0.1f, 0.1f, 0.1f};
    double mean, std;
    CHECK(!mert_feature_stats_new(&s, 1, "x", &e));
    CHECK(!mert_feature_stats_add(&s, huge, 4, &e));
    mert_feature_stats_of(&s, 0, &mean, &std);
    CHECK(mean == (double)FLT_TRUE_MIN / 2); /* nothing was lost by adding huge numbers */
    CHECK_NEAR(std / ((double)FLT_MAX / sqrt(2)), 1, 1e-12);
    mert_feature_stats_clear(&s);
    CHECK(!mert_feature_stats_add(&s, same, 3, &e));
    mert_feature_stats_of(&s, 0, &mean, &std);
    CHECK(mean == (double)0.1f && std < 1e-9);
    CHECK(mert_feature_stats_add(&s, (float[]){NAN}, 1, &e) == -1);
    CHECK(strstr(e.text, "row 3: ") && strstr(e.text, "not a finite number"));
    CHECK(mert_feature_stats_add(&s, (float[]){-INFINITY}, 1, &e) == -1);
    mert_feature_stats_free(&s);
}

TEST(mean_and_deviation)
{
    mert_feature_stats s;
    float rows[4][2] = {{1, -5}, {2, -5}, {3, -6}, {6, -8}};
    double mean, std;
    CHECK(!mert_feature_stats_new(&s, 2, "x", &e));
    mert_feature_stats_of(&s, 0, &mean, &std);
    CHECK(mean == 0 && std == 0);
    CHECK(!mert_feature_stats_add(&s, rows[0], 4, &e));
    mert_feature_stats_of(&s, 0, &mean, &std);
    CHECK(mean == 3);
    CHECK_NEAR(std, sqrt(3.5), 1e-12);
    mert_feature_stats_of(&s, 1, &mean, &std);
    CHECK(mean == -6);
    CHECK_NEAR(std, sqrt(1.5), 1e-12);
    mert_feature_stats_free(&s);
}

/* Any split, any order, with a trip through a file in between. */
TEST(merging_is_associative)
{
    enum { N = 500, D = 3 };
    float x[N][D];
    char name[32];
    uint32_t state = 1;
    uint64_t hash;
    mert_feature_stats all, a, b, read;
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            x[i][d] = number(&state);
    CHECK(!mert_feature_stats_new(&all, D, "of these", &e) && !mert_feature_stats_add(&all, x[0], N, &e));
    hash = mert_feature_stats_hash(&all);
    for (int cut = 1; cut < N; cut += 83) {
        CHECK(!mert_feature_stats_new(&a, D, "of these", &e) && !mert_feature_stats_new(&b, D, "of these", &e));
        CHECK(!mert_feature_stats_add(&a, x[0], cut, &e) && !mert_feature_stats_add(&b, x[cut], N - cut, &e));
        snprintf(name, sizeof name, "b%d.stats", cut); /* does not overwrite a file that was read */
        CHECK(!mert_feature_stats_write(&b, test_tmp(name), &e));
        CHECK(!mert_feature_stats_read(&read, test_tmp(name), &e));
        CHECK(mert_feature_stats_write(&b, test_tmp(name), &e) && strstr(e.text, name));
        CHECK(mert_feature_stats_hash(&read) == mert_feature_stats_hash(&b));
        CHECK(!mert_feature_stats_merge(&a, &read, &e) && mert_feature_stats_hash(&a) == hash);
        mert_feature_stats_clear(&a);
        CHECK(!mert_feature_stats_add(&a, x[0], cut, &e) && !mert_feature_stats_merge(&b, &a, &e));
        CHECK(mert_feature_stats_hash(&b) == hash);
        mert_feature_stats_free(&a);
        mert_feature_stats_free(&b);
        mert_feature_stats_free(&read);
    }
    CHECK(!mert_feature_stats_new(&a, D, "of those", &e));
    CHECK(mert_feature_stats_merge(&a, &all, &e) == -1 && strstr(e.text, "'of these'") && strstr(e.text, "'of those'"));
    mert_feature_stats_free(&a);
    mert_feature_stats_free(&all);
}

/* A file cut or changed anywhere is refused or means the same; nothing else. */
TEST(damaged_files_are_refused)
{
    mert_feature_stats s, read;
    char text[4096];
    size_t size;
    int accepted = 0;
    FILE *f;
    CHECK(!mert_feature_stats_new(&s, 2, "x", &e) && !mert_feature_stats_add(&s, (float[]){1, 2, 3, -4}, 2, &e));
    CHECK(!mert_feature_stats_write(&s, test_tmp("whole"), &e));
    f = fopen(test_tmp("whole"), "rb");
    CHECK(f && (size = fread(text, 1, sizeof text, f)) > 100 && size < sizeof text);
    fclose(f);
    for (size_t cut = 0; cut < size; cut++) {
        f = fopen(test_tmp("cut"), "wb");
        CHECK(f && fwrite(text, 1, cut, f) == cut && !fclose(f));
        if (!mert_feature_stats_read(&read, test_tmp("cut"), &e)) {
            accepted++;
            mert_feature_stats_free(&read);
        }
    }
    CHECK(accepted == 0);
    CHECK(mert_feature_stats_read(&read, test_tmp("nowhere"), &e) == -1 && strstr(e.text, "nowhere"));
    mert_feature_stats_free(&s);
}

int main(void)
{
    RUN(sums_are_exact);
    RUN(mean_and_deviation);
    RUN(merging_is_associative);
    RUN(damaged_files_are_refused);
    return test_done();
}
