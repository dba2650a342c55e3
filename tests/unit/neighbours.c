/* The predictor from the two nearest unmasked labels: values by hand, sums of probabilities, and sequences with known
 * answers. */
#include "libcommon/train/data/neighbours.h"
#include "tests/test.h"

static const int64_t classes[] = {3, 4};

/* One frame between 0 and 2, counted once as 1: unigram (1 + 1/3) / 2, each side alone the same with its own count,
 * ... */
TEST(one_count_by_hand)
{
    mert_neighbours *n = mert_neighbours_new(1, classes);
    mert_error e;
    int32_t labels[] = {0, 1, 2};
    uint8_t mask[] = {0, 1, 0};
    int64_t frames = 0;
    double p = (1 + 1 / 3.0) / 2, side = (1 + p) / 2, both = (1 + side) / 2, nearer = (1 + both) / 2;
    CHECK(n && !mert_neighbours_learn(n, 0, labels, mask, 3, &e));
    CHECK_NEAR(mert_neighbours_cost(n, 0, labels, mask, 3, &frames), -log(nearer), 1e-12);
    CHECK(frames == 1);
    mert_neighbours_free(n);
}

/* The probabilities of all labels of a frame add up to 1, in known and unknown contexts, and at the ends. */
TEST(probabilities_sum_to_one)
{
    mert_neighbours *n = mert_neighbours_new(2, classes);
    mert_error e;
    int32_t labels[400];
    uint8_t mask[400];
    uint32_t s = 1;
    for (int i = 0; i < 400; i++) {
        s = s * 1664525u + 1013904223u;
        labels[i] = (int32_t)(s >> 20) % 4;
        mask[i] = (s >> 10) % 3 != 0;
    }
    CHECK(!mert_neighbours_learn(n, 1, labels, mask, 400, &e));
    for (int a = 0; a < 4; a++)
        for (int at = 0; at < 4; at++) {
            double sum = 0;
            for (int x = 0; x < 4; x++) {
                int32_t few[4] = {a, 3 - a, a, 2};
                uint8_t one[4] = {0};
                int64_t frames = 0;
                few[at] = x;
                one[at] = 1;
                sum += exp(-mert_neighbours_cost(n, 1, few, one, 4, &frames));
            }
            CHECK_NEAR(sum, 1, 1e-9);
        }
    mert_neighbours_free(n);
}

/* A label is the sum of the previous and the next one, modulo 3: it depends on both. And codebooks are independent. */
TEST(learns_what_both_sides_tell)
{
    mert_neighbours *n = mert_neighbours_new(2, classes);
    mert_error e;
    double bits[2];
    for (uint32_t s = 1, i = 0; i < 3000; i++) {
        s = s * 1664525u + 1013904223u;
        int32_t a = (int32_t)(s >> 8) % 3, b = (int32_t)(s >> 20) % 3, labels[] = {a, (a + b) % 3, b};
        uint8_t mask[] = {0, 1, 0};
        CHECK(!mert_neighbours_learn(n, 0, labels, mask, 3, &e));
    }
    for (int k = 0; k < 2; k++) {
        int64_t frames = 0;
        bits[k] = 0;
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++) {
                int32_t labels[] = {a, (a + b) % 3, b};
                uint8_t mask[] = {0, 1, 0};
                bits[k] += mert_neighbours_cost(n, k, labels, mask, 3, &frames) / log(2.0) / 9;
            }
        CHECK(frames == 9);
    }
    CHECK(bits[0] < 0.02);
    CHECK_NEAR(bits[1], 2, 1e-9);
    mert_neighbours_free(n);
}

int main(void)
{
    RUN(one_count_by_hand);
    RUN(probabilities_sum_to_one);
    RUN(learns_what_both_sides_tell);
    return test_done();
}
