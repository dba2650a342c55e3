/* NaN and infinity are found at any position, in every type of a stream. */
#include "formats/finite.h"
#include "formats/half.h"
#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { N = 9000 };

static float x[N];
static uint16_t half[N];

TEST(finite_numbers_are_finite)
{
    const float edges[] = {0, -0.0f, FLT_MAX, -FLT_MAX, FLT_MIN, FLT_TRUE_MIN, -FLT_TRUE_MIN, 65504, 1e-8f};
    const uint16_t f16[] = {0, 0x8000, 0x7bff, 0xfbff, 1, 0x8001, 0x0400}, bf16[] = {0, 0x8000, 0x7f7f, 0xff7f, 1};
    CHECK(mert_not_finite(MTS_F32, edges, sizeof edges / sizeof *edges) == -1);
    CHECK(mert_not_finite(MTS_F16, f16, sizeof f16 / sizeof *f16) == -1);
    CHECK(mert_not_finite(MTS_BF16, bf16, sizeof bf16 / sizeof *bf16) == -1);
    memset(half, 0xff, sizeof half);
    CHECK(mert_not_finite(MTS_I16, half, N) == -1 && mert_not_finite(MTS_U16, half, N) == -1);
    CHECK(mert_not_finite(MTS_I32, half, N / 2) == -1 && mert_not_finite(MTS_F32, x, 0) == -1);
}

TEST(the_first_of_them_is_found_everywhere)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    memset(half, 0, sizeof half);
    for (int i = 0; i < N; i += i < 70 || (i > 4000 && i < 4200) ? 1 : 97)
        for (int b = 0; b < 3; b++) {
            x[i] = x[N - 1] = bad[b];
            CHECK(mert_not_finite(MTS_F32, x, N) == i);
            half[i] = half[N - 1] = mert_to_f16(bad[b]);
            CHECK(mert_not_finite(MTS_F16, half, N) == i);
            half[i] = half[N - 1] = mert_to_bf16(bad[b]);
            CHECK(mert_not_finite(MTS_BF16, half, N) == i);
            x[i] = x[N - 1] = 0;
            half[i] = half[N - 1] = 0;
        }
}

TEST(it_is_said_by_frame_and_value)
{
    mert_error e = {{0}};
    CHECK(!mert_finite_check(MTS_F32, x, N / 3, 3, 0, &e));
    x[3 * 7 + 2] = -INFINITY;
    CHECK(mert_finite_check(MTS_F32, x, N / 3, 3, 100, &e) && !strcmp(e.text, "frame 107, value 2 of 3 is -inf"));
    x[3 * 7 + 2] = 0;
    half[3] = mert_to_bf16(NAN);
    CHECK(mert_finite_check(MTS_BF16, half, N / 3, 3, 0, &e) && !strcmp(e.text, "frame 1, value 0 of 3 is nan"));
    half[3] = mert_to_f16(65520); /* rounds beyond the largest */
    CHECK(mert_finite_check(MTS_F16, half, N / 3, 3, 0, &e) && strstr(e.text, "is inf (f16 holds"));
    half[3] = mert_to_f16(65519);
    CHECK(!mert_finite_check(MTS_F16, half, N / 3, 3, 0, &e));
}

int main(void)
{
    RUN(finite_numbers_are_finite);
    RUN(the_first_of_them_is_found_everywhere);
    RUN(it_is_said_by_frame_and_value);
    return test_done();
}
