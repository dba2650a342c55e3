#include "formats/json.h"
#include "libcommon/train/data/mask.h"
#include "tests/test.h"

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
    /* The standard error of a standard deviation: std / sqrt(2 n) for a nearly normal distribution. */
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
    mert_json_iterator w = {j, NULL};
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

/* Results of fairseq's compute_mask_indices for (B, C), no padding mask, min_masks 0, over many batches, as MERT's
 * apply_mask calls it for channels. In the last case a count per row would give 3.2 channels per row. */
static const struct {
    int64_t B, C;
    double prob;
    int64_t length;
    double batches, mean, std, first, middle;
} channel_reference[] = {{8, 768, 0.3, 10, 5000, 186.251, 7.6675, 0.027125, 0.243925},
                         {4, 64, 0.5, 4, 20000, 24.151, 1.98025, 0.118025, 0.3994125},
                         {8, 768, 0.005, 3, 20000, 3.8215, 1.329074, 0.0016875, 0.00511875}};

TEST(channel_masks_are_distributed_as_fairseq_s)
{
    for (size_t i = 0; i < sizeof channel_reference / sizeof *channel_reference; i++) {
        int64_t B = channel_reference[i].B, C = channel_reference[i].C, items[8];
        mert_mask_config c = {.prob = channel_reference[i].prob, .length = channel_reference[i].length};
        uint8_t channels[8 * 768];
        tally t = {0};
        double n = BATCHES, rows = n * (double)B, mean, p;
        for (int64_t b = 0; b < B; b++)
            items[b] = 5 * b;
        for (uint64_t update = 0; update < BATCHES; update++) {
            CHECK(!mert_mask_channels(&c, 1, update, 0, items, B, C, channels, NULL));
            count(channels, B, C, &t);
        }
        mean = t.sum / n;
        CHECK(!t.uneven && t.last == 0);
        CHECK(near("mean", mean, channel_reference[i].mean, channel_reference[i].std, n));
        CHECK(near("std", sqrt(t.squares / n - mean * mean), channel_reference[i].std,
                   channel_reference[i].std / sqrt(2), n));
        p = channel_reference[i].first;
        CHECK(near("first channel", t.first / rows, p, sqrt(p * (1 - p)), rows));
        p = channel_reference[i].middle;
        CHECK(near("middle channel", t.middle / rows, p, sqrt(p * (1 - p)), rows));
    }
}

TEST(channel_masks_differ_between_items_and_may_be_empty)
{
    mert_mask_config c = {.prob = 0.2, .length = 4}, none = {.prob = 1e-9, .length = 4};
    int64_t items[2] = {7, 9};
    uint8_t a[2 * 64], b[2 * 64];
    CHECK(!mert_mask_channels(&c, 1, 5, 3, items, 2, 64, a, NULL) && memcmp(a, a + 64, 64));
    CHECK(!mert_mask_channels(&c, 1, 5, 3, items, 2, 64, b, NULL) && !memcmp(a, b, sizeof a));
    CHECK(!mert_mask_channels(&c, 1, 5, 4, items, 2, 64, b, NULL) && memcmp(a, b, sizeof a));
    CHECK(!mert_mask_make(&c, 1, 5, 3, items, 2, 64, b, NULL) && memcmp(a, b, sizeof a)); /* not those of frames */
    CHECK(!mert_mask_channels(&none, 1, 5, 3, items, 2, 64, a, NULL));
    for (int i = 0; i < 2 * 64; i++)
        CHECK(!a[i]);
}

/* ---- replacement of masked frames ---- */

enum { RB = 3, RT = 60 };

static const int64_t replaced_items[RB] = {4, 2, 11};

/* Replaced frames of rows [first, first + n): their sources are in these rows, ascending, each at most once. */
static int in_order(const int32_t *source, const uint8_t *mask, int64_t first, int64_t n)
{
    int32_t last = -1;
    for (int64_t i = first; i < first + n; i++) {
        if (!mask[i] || source[i] == -1 || source[i] == i)
            continue;
        if (source[i] < first || source[i] >= first + n || source[i] <= last)
            return 0;
        last = source[i];
    }
    return 1;
}

typedef struct replaced {
    double masked, embedded, itself, other, other_row, from_masked, sources[RB * RT];
} replaced;

static int tally_replaced(const mert_replace_config *c, replaced *r)
{
    mert_mask_config m = {.prob = 0.5, .length = 5, .min_spans = 2};
    uint8_t mask[RB * RT];
    int32_t source[RB * RT];
    *r = (replaced){0};
    for (uint64_t update = 1; update <= BATCHES; update++) {
        if (mert_mask_make(&m, 1, update, 0, replaced_items, RB, RT, mask, NULL) ||
            mert_mask_replace(c, 1, update, 0, replaced_items, RB, RT, mask, source, NULL))
            return 0;
        for (int64_t b = 0; !c->in_batch && b < RB; b++)
            if (!in_order(source, mask, b * RT, RT))
                return 0;
        if (c->in_batch && !in_order(source, mask, 0, RB * RT))
            return 0;
        for (int i = 0; i < RB * RT; i++) {
            if (!mask[i] && source[i] != i)
                return 0;
            if (!mask[i])
                continue;
            r->masked++;
            r->embedded += source[i] == -1;
            r->itself += source[i] == i;
            if (source[i] == -1 || source[i] == i)
                continue;
            r->other++;
            r->other_row += source[i] / RT != i / RT;
            r->from_masked += mask[source[i]];
            r->sources[source[i]]++;
        }
    }
    return 1;
}

TEST(replaced_frames_get_frames_of_their_own_sample)
{
    mert_replace_config c = {.replace = 0.3, .origin = 0.2};
    replaced r;
    double least = 1e9, most = 0;
    CHECK(tally_replaced(&c, &r));
    /* a frame may be given itself, so that a few of the 0.3 count as kept; replacement comes first */
    CHECK(r.other / r.masked > 0.25 && r.other / r.masked < 0.3);
    CHECK_NEAR(r.embedded / r.masked, 0.7 * 0.8, 0.01);
    CHECK_NEAR((r.itself + r.other) / r.masked, 0.3 + 0.7 * 0.2, 0.01);
    CHECK(r.other_row == 0);
    CHECK_NEAR(r.from_masked / r.other, r.masked / (BATCHES * RB * RT), 0.04); /* masked or not */
    for (int i = 0; i < RB * RT; i++) {
        least = fmin(least, r.sources[i]);
        most = fmax(most, r.sources[i]);
    }
    CHECK(least > 0.5 * most); /* all frames are equally likely */
}

TEST(replaced_frames_get_frames_of_the_batch)
{
    mert_replace_config c = {.replace = 1, .in_batch = 1};
    replaced r;
    CHECK(tally_replaced(&c, &r));
    CHECK(r.embedded == 0 && r.other_row > 0 && r.other > 0.9 * r.masked);
    c = (mert_replace_config){.origin = 1}; /* all frames are unchanged */
    CHECK(tally_replaced(&c, &r) && r.itself == r.masked);
    c = (mert_replace_config){0};
    CHECK(tally_replaced(&c, &r) && r.embedded == r.masked);
}

TEST(a_replacement_depends_on_its_keys_alone)
{
    mert_replace_config c = {.replace = 0.5};
    uint8_t mask[RB * RT];
    int32_t a[RB * RT], b[RB * RT];
    memset(mask, 1, sizeof mask);
    for (int in_batch = 0; in_batch < 2; in_batch++) {
        c.in_batch = in_batch;
        CHECK(!mert_mask_replace(&c, 1, 5, 3, replaced_items, RB, RT, mask, a, NULL));
        CHECK(!mert_mask_replace(&c, 1, 5, 3, replaced_items, RB, RT, mask, b, NULL) && !memcmp(a, b, sizeof a));
        CHECK(!mert_mask_replace(&c, 1, 6, 3, replaced_items, RB, RT, mask, b, NULL) && memcmp(a, b, sizeof a));
        CHECK(!mert_mask_replace(&c, 2, 5, 3, replaced_items, RB, RT, mask, b, NULL) && memcmp(a, b, sizeof a));
    }
}

TEST(a_mask_depends_on_its_keys_alone)
{
    mert_mask_config c = {.prob = 0.8, .length = 5, .min_spans = 2};
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
    mert_mask_config c = {.prob = 0.8, .length = 5, .min_spans = 2};
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

/* MusicFM and MuQ: 0.4 s on a grid, each with probability 0.6. */
TEST(masks_on_a_grid)
{
    enum { ROWS = 4, FRAMES = 47, LENGTH = 10, SPANS = 5, DRAWS = 5000 };
    mert_mask_config c = {.prob = 0.6, .length = LENGTH, .grid = 1};
    int64_t items[ROWS] = {0, 1, 2, 5}, masked[SPANS] = {0}, both = 0, all = 0;
    uint8_t mask[ROWS * FRAMES], again[ROWS * FRAMES];
    for (uint64_t update = 0; update < DRAWS; update++) {
        CHECK(!mert_mask_make(&c, 1, update, 0, items, ROWS, FRAMES, mask, NULL));
        CHECK(!mert_mask_make(&c, 1, update, 0, items + 1, 1, FRAMES, again, NULL) &&
              !memcmp(again, mask + FRAMES, FRAMES)); /* a row does not depend on others */
        for (int b = 0; b < ROWS; b++) {
            const uint8_t *row = mask + b * FRAMES;
            for (int t = 0; t < FRAMES; t++)
                CHECK(row[t] == row[t / LENGTH * LENGTH] && row[t] <= 1);
            for (int i = 0; i < SPANS; i++)
                masked[i] += row[i * LENGTH];
            both += row[0] && row[LENGTH];
            all += memchr(row, 1, FRAMES) != NULL;
        }
    }
    CHECK(all == ROWS * DRAWS); /* 1 % of the rows would have none */
    for (int i = 0; i < SPANS; i++) /* four standard errors, and a fifth of those rows */
        CHECK_NEAR((double)masked[i] / (ROWS * DRAWS), 0.6 + 0.01024 / SPANS, 4 * sqrt(0.24 / (ROWS * DRAWS)));
    CHECK_NEAR((double)both / (ROWS * DRAWS), 0.36, 4 * sqrt(0.2304 / (ROWS * DRAWS)));
}

TEST(noise_takes_the_place_of_masked_frames)
{
    enum { ROWS = 2, FRAMES = 100, STRIDE = 30, LENGTH = FRAMES * STRIDE - 7 };
    static float audio[ROWS * LENGTH], again[ROWS * LENGTH];
    static uint8_t mask[ROWS * FRAMES];
    int64_t items[ROWS] = {3, 8}, n = 0;
    double sum = 0, squares = 0, next = 0, rows = 0;
    for (int i = 0; i < ROWS * FRAMES; i++)
        mask[i] = i % 3 > 0;
    for (int i = 0; i < ROWS * LENGTH; i++)
        audio[i] = again[i] = 5;
    mert_mask_noise(0.1, 1, 2, 3, items, ROWS, FRAMES, mask, STRIDE, LENGTH, audio);
    mert_mask_noise(0.1, 1, 2, 3, items + 1, 1, FRAMES, mask + FRAMES, STRIDE, LENGTH, again);
    for (int b = 0; b < ROWS; b++)
        for (int i = 0; i < LENGTH; i++) {
            double x = audio[b * LENGTH + i];
            CHECK(mask[b * FRAMES + i / STRIDE] ? x != 5 && fabs(x) < 0.7 : x == 5);
            if (x == 5)
                continue;
            sum += x, squares += x * x, n++;
            next += i && audio[b * LENGTH + i - 1] != 5 ? x * audio[b * LENGTH + i - 1] : 0;
            rows += b && audio[i] != 5 ? x * audio[i] : 0;
        }
    CHECK_NEAR(sum / (double)n, 0, 4 * 0.1 / sqrt((double)n));
    CHECK_NEAR(squares / (double)n, 0.01, 4 * 0.01 * sqrt(2 / (double)n));
    CHECK_NEAR(next / (double)n, 0, 4 * 0.01 / sqrt((double)n));
    CHECK_NEAR(rows / (double)n, 0, 4 * 0.01 / sqrt((double)n));
    CHECK(!memcmp(again, audio + LENGTH, LENGTH * sizeof *audio)); /* a row does not depend on others */
    mert_mask_noise(0.1, 1, 3, 3, items, ROWS, FRAMES, mask, STRIDE, LENGTH, again);
    CHECK(memcmp(again, audio, LENGTH * sizeof *audio));
}

int main(void)
{
    RUN(masks_are_distributed_as_the_reference_s);
    RUN(channel_masks_are_distributed_as_fairseq_s);
    RUN(channel_masks_differ_between_items_and_may_be_empty);
    RUN(replaced_frames_get_frames_of_their_own_sample);
    RUN(replaced_frames_get_frames_of_the_batch);
    RUN(a_replacement_depends_on_its_keys_alone);
    RUN(a_mask_depends_on_its_keys_alone);
    RUN(short_rows_are_masked_too);
    RUN(masks_on_a_grid);
    RUN(noise_takes_the_place_of_masked_frames);
    return test_done();
}
