#include "../../libcommon/train/mask.h"
#include "../../formats/json.h"
#include "../test.h"

enum { BATCHES = 3000 };

typedef struct tally {
    double sum, squares, first, middle, last;
    int uneven;
} tally;

static void count(const uint8_t *mask, int64_t B, int64_t T, tally *t)
{
    int64_t per_row = -1;
    for (int64_t b = 0; b < B; b++) {
        int64_t n = 0;
        for (int64_t i = 0; i < T; i++)
            n += mask[b * T + i];
        t->uneven |= per_row >= 0 && n != per_row;
        per_row = n;
        t->first += mask[b * T];
        t->middle += mask[b * T + T / 2];
        t->last += mask[b * T + T - 1];
    }
    t->sum += (double)per_row;
    t->squares += (double)per_row * (double)per_row;
}

static tally draw(const mert_mask_config *c, int64_t B, int64_t T)
{
    tally t = {0};
    uint8_t mask[16 * 400];
    int64_t items[16];
    for (int64_t b = 0; b < B; b++)
        items[b] = 3 * b;
    for (uint64_t update = 0; update < BATCHES; update++) {
        if (mert_mask_make(c, 1, update, 0, items, B, T, mask, NULL))
            abort();
        count(mask, B, T, &t);
    }
    return t;
}

/* Both sides are samples of BATCHES batches; five standard errors of their difference. */
static int near(const char *what, double ours, double reference, double std, double n)
{
    double allowed = 5 * std * sqrt(2 / n);
    if (fabs(ours - reference) <= allowed)
        return 1;
    printf("# %s: %.5f, the reference has %.5f, allowed +-%.5f\n", what, ours, reference, allowed);
    return 0;
}

static double field(const mert_json *j, const char *name)
{
    double x = NAN;
    mert_json_double(j, name, &x);
    return x;
}

static int compare(const char *name, const mert_json *reference)
{
    int B, T, length, good;
    mert_mask_config c = {.min_spans = 2};
    tally t;
    double n = BATCHES, rows, mean, std, reference_std = field(reference, "std"), p;
    if (sscanf(name, "B%d_T%d_prob%lf_len%d", &B, &T, &c.prob, &length) != 4 || field(reference, "batches") != BATCHES)
        return 0;
    c.length = length;
    t = draw(&c, B, T);
    rows = n * B;
    mean = t.sum / n;
    std = sqrt(t.squares / n - mean * mean);
    good = !t.uneven && near("mean", mean, field(reference, "mean_masked_frames_per_row"), reference_std, n);
    /* The spread of a spread: std / sqrt(2 n) for a distribution about as round as this one. */
    good &= near("std", std, reference_std, reference_std / sqrt(2), n);
    p = field(reference, "mean_at_first_frame");
    good &= near("first frame", t.first / rows, p, sqrt(p * (1 - p)), rows);
    p = field(reference, "mean_at_middle");
    good &= near("middle frame", t.middle / rows, p, sqrt(p * (1 - p)), rows);
    return good && t.last == 0 && field(reference, "mean_at_last_frame") == 0;
}

TEST(masks_are_distributed_as_the_reference_s)
{
    mert_error e;
    mert_json *j = mert_json_read(test_golden("mask/stats.json"), &e);
    mert_json_walk w = {j, NULL};
    const mert_json *value;
    const char *name;
    int cases = 0;
    CHECK(j);
    while ((name = mert_json_next(&w, &value))) {
        int good = compare(name, value);
        if (!good)
            printf("# in %s\n", name);
        CHECK(good);
        cases++;
    }
    CHECK(cases == 5);
    mert_json_free(j);
}

TEST(a_mask_depends_on_its_keys_alone)
{
    mert_mask_config c = {0.8, 5, 2};
    int64_t items[2] = {7, 9};
    uint8_t a[2 * 200], b[2 * 200];
    CHECK(!mert_mask_make(&c, 1, 5, 3, items, 2, 200, a, NULL) && !mert_mask_make(&c, 1, 5, 3, items, 2, 200, b, NULL));
    CHECK(!memcmp(a, b, sizeof a) && memcmp(a, a + 200, 200));
    CHECK(!mert_mask_make(&c, 2, 5, 3, items, 2, 200, b, NULL) && memcmp(a, b, sizeof a));
    CHECK(!mert_mask_make(&c, 1, 6, 3, items, 2, 200, b, NULL) && memcmp(a, b, sizeof a));
    CHECK(!mert_mask_make(&c, 1, 5, 4, items, 2, 200, b, NULL) && memcmp(a, b, sizeof a));
    items[0] = 8;
    CHECK(!mert_mask_make(&c, 1, 5, 3, items, 2, 200, b, NULL) && memcmp(a, b, 200));
}

TEST(short_rows_are_masked_too)
{
    mert_mask_config c = {0.8, 5, 2};
    int64_t items[3] = {0, 1, 2};
    for (int64_t T = 2; T < 12; T++)
        for (uint64_t update = 0; update < 50; update++) {
            uint8_t mask[3 * 12];
            tally t = {0};
            CHECK(!mert_mask_make(&c, 1, update, 0, items, 3, T, mask, NULL));
            count(mask, 3, T, &t);
            CHECK(!t.uneven && t.sum > 0 && t.sum <= (double)T);
        }
}

int main(void)
{
    RUN(masks_are_distributed_as_the_reference_s);
    RUN(a_mask_depends_on_its_keys_alone);
    RUN(short_rows_are_masked_too);
    return test_done();
}
