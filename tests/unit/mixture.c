#include "libcommon/train/data/mixture.h"
#include "libcommon/train/recipe/schedule.h"
#include "tests/test.h"

enum { B = 6, L = 1000 };

static float clean[B * L], audio[B * L];
static const int64_t items[B] = {10, 11, 12, 13, 14, 15};

/* Every sample of the batch is a different integer, so that added samples can be identified. */
static void fill(void)
{
    for (int i = 0; i < B * L; i++)
        clean[i] = (float)(i + 1);
}

/* Checks that one segment of the pool (the other items, concatenated) was added to item b. Returns its length; -1:
 * wrong. */
static int64_t one_piece(int b, int64_t *from, int64_t *to)
{
    int64_t n = 0;
    *from = *to = -1;
    for (int64_t t = 0; t < L; t++) {
        float extra = audio[b * L + t] - clean[b * L + t];
        int64_t place;
        if (extra == 0)
            continue;
        place = (int64_t)extra - 1; /* in the batch */
        if (place / L == b || extra != floorf(extra))
            return -1;
        place -= place / L > b ? L : 0; /* in the pool */
        if (*to < 0) {
            *to = t;
            *from = place;
        } else if (t != *to + n || place != *from + n) {
            return -1;
        }
        n++;
    }
    return n;
}

TEST(a_piece_comes_whole_from_the_others)
{
    mert_mixture_config c = {.prob = 1, .length = {100, 300}, .number = {1, 1}, .volume = 1};
    int64_t shortest = L, longest = 0, first = B * L, last = 0, crossing = 0;
    fill();
    for (uint64_t update = 0; update < 300; update++) {
        CHECK(mert_mixture_make(&c, 1, update, 0, items, B, L, clean, audio) == B);
        for (int b = 0; b < B; b++) {
            int64_t from, to, n = one_piece(b, &from, &to);
            CHECK(n >= 100 && n <= 300);
            crossing += from / L != (from + n - 1) / L;
            shortest = n < shortest ? n : shortest;
            longest = n > longest ? n : longest;
            first = from < first ? from : first;
            last = from + n > last ? from + n : last;
        }
    }
    CHECK(shortest == 100 && longest == 300 && crossing > 0);
    CHECK(first < 50 && last > (B - 1) * L - 50);
}

TEST(probability_is_what_its_name_says)
{
    mert_mixture_config c = {.prob = 0.2, .length = {10, 10}, .number = {1, 1}, .volume = 1};
    int64_t mixed = 0, batches = 2000;
    double p = 0.2;
    fill();
    for (uint64_t update = 0; update < (uint64_t)batches; update++)
        mixed += mert_mixture_make(&c, 3, update, 1, items, B, L, clean, audio);
    CHECK_NEAR((double)mixed / (double)(batches * B), p, 5 * sqrt(p * (1 - p) / (double)(batches * B)));
}

TEST(number_and_volume)
{
    mert_mixture_config c = {.prob = 1, .length = {1, 1}, .number = {1, 3}, .volume = 0.5};
    int64_t seen[5] = {0};
    for (int i = 0; i < B * L; i++)
        clean[i] = 1;
    for (uint64_t update = 0; update < 400; update++) {
        mert_mixture_make(&c, 1, update, 0, items, B, L, clean, audio);
        for (int b = 0; b < B; b++) {
            double sum = 0;
            for (int64_t t = 0; t < L; t++)
                sum += audio[b * L + t] - 1;
            CHECK(sum == 0.5 || sum == 1 || sum == 1.5);
            seen[(int)(2 * sum)]++;
        }
    }
    for (int n = 1; n <= 3; n++)
        CHECK_NEAR((double)seen[n] / (400 * B), 1.0 / 3, 5 * sqrt(2.0 / 9 / (400 * B)));
}

TEST(alone_or_shorter_than_a_piece)
{
    mert_mixture_config c = {.prob = 1, .length = {5000, 9000}, .number = {3, 3}, .volume = 1};
    fill();
    CHECK(mert_mixture_make(&c, 1, 1, 0, items, 1, L, clean, audio) == 0 && !memcmp(audio, clean, L * sizeof *audio));
    CHECK(mert_mixture_make(&c, 1, 1, 0, items, 2, L, clean, audio) == 2);
    CHECK(audio[0] == clean[0] + 3 * clean[L]); /* the whole of the other, three times */
    c.prob = 0;
    CHECK(mert_mixture_make(&c, 1, 1, 0, items, B, L, clean, audio) == 0 && !memcmp(audio, clean, sizeof clean));
}

/* fairseq's polynomial_decay at the published 95M's settings, and the corners. */
TEST(learning_rate)
{
    CHECK(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 5e-4, 32000, 400000, 1) == 0);
    CHECK_NEAR(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 5e-4, 32000, 400000, 16001), 2.5e-4, 1e-12);
    CHECK_NEAR(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 5e-4, 32000, 400000, 32001), 5e-4, 1e-12);
    CHECK_NEAR(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 5e-4, 32000, 400000, 216001), 2.5e-4, 1e-12);
    CHECK(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 5e-4, 32000, 400000, 400001) == 0);
    CHECK_NEAR(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 1, 0, 10, 1), 1, 0);
    CHECK_NEAR(mert_schedule_rate(MERT_POLYNOMIAL_DECAY, 1, 0, 10, 10), 0.1, 1e-12);
}

/* fairseq's cosine and inverse_sqrt at the same settings. */
TEST(other_learning_rates)
{
    for (int kind = MERT_COSINE; kind <= MERT_INVERSE_SQRT; kind++) {
        CHECK(mert_schedule_rate(kind, 5e-4, 32000, 400000, 1) == 0);
        CHECK_NEAR(mert_schedule_rate(kind, 5e-4, 32000, 400000, 16001), 2.5e-4, 1e-12);
        CHECK_NEAR(mert_schedule_rate(kind, 5e-4, 32000, 400000, 32001), 5e-4, 1e-12);
    }
    CHECK_NEAR(mert_schedule_rate(MERT_COSINE, 5e-4, 32000, 400000, 216001), 2.5e-4, 1e-12);
    CHECK_NEAR(mert_schedule_rate(MERT_COSINE, 5e-4, 32000, 400000, 124001), 5e-4 * (2 + sqrt(2)) / 4, 1e-12);
    CHECK(mert_schedule_rate(MERT_COSINE, 5e-4, 32000, 400000, 400001) == 0);
    CHECK_NEAR(mert_schedule_rate(MERT_INVERSE_SQRT, 5e-4, 32000, 400000, 128001), 2.5e-4, 1e-12);
    CHECK_NEAR(mert_schedule_rate(MERT_INVERSE_SQRT, 5e-4, 32000, 400000, 800001), 1e-4, 1e-12);
    CHECK_NEAR(mert_schedule_rate(MERT_INVERSE_SQRT, 1, 0, 10, 1), 1, 0);
    CHECK_NEAR(mert_schedule_rate(MERT_INVERSE_SQRT, 1, 0, 10, 5), 0.5, 1e-12);
}

int main(void)
{
    RUN(a_piece_comes_whole_from_the_others);
    RUN(probability_is_what_its_name_says);
    RUN(number_and_volume);
    RUN(alone_or_shorter_than_a_piece);
    RUN(learning_rate);
    RUN(other_learning_rates);
    return test_done();
}
