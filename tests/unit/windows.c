/* Windows, pooling and durations, compared with plain versions of the definitions in their headers. */
#include "libcommon/base/fraction.h"
#include "libcommon/models/inference/layers.h"
#include "libcommon/models/inference/windows.h"
#include "tests/test.h"

/* ---- durations ---- */

TEST(fractions_are_exact)
{
    static const struct { const char *text; int64_t num, den;
    } good[] = {{"5", 5, 1},    {"2.50", 5, 2}, {"8/75", 8, 75},
                {"0.1", 1, 10}, {"10/4", 5, 2}, {"999999.000001", 999999000001, 1000000}};
    static const char *const bad[] = {"",    "0",  "0.0",     "-1",        "1.", ".5",    "1e3", "5s",
                                      "1/0", "1/", "1234567", "1.1234567", " 1", "1.5/2", "nan"};
    mert_fraction f;
    char text[48];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(!mert_fraction_parse(&f, good[i].text) && f.num == good[i].num && f.den == good[i].den);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(mert_fraction_parse(&f, bad[i]));
    CHECK(!mert_fraction_parse(&f, "0.1"));
    f = mert_fraction_times(f, 24000, 320);
    CHECK(f.num == 15 && f.den == 2 && !strcmp(mert_fraction_print(text, f), "15/2"));
    CHECK(!strcmp(mert_fraction_print(text, (mert_fraction){7, 1}), "7"));
}

/* ---- cutting ---- */

enum { STRIDE = 4, FIELD = 7, LONGEST = 400 };

static int64_t frames_of(int64_t samples)
{
    return samples < FIELD ? 0 : (samples - FIELD) / STRIDE + 1;
}

/* Sample i of every clip is i, so the contents of a window give its position. */
static int is_window(const mert_window *w, int64_t first, int64_t n)
{
    if (w->first != first || w->n != n)
        return 0;
    for (int64_t i = 0; i < n; i++)
        if (w->pcm[i] != (float)(first * STRIDE + i))
            return 0;
    return 1;
}

/* Feeds L samples, `step` at a time, and checks each window by the rule in the header. */
static int cut(mert_chunker *c, int64_t W, int64_t H, int64_t L, int64_t step)
{
    int64_t T = frames_of(L), next = 0, given_to = 0, whole = (W - 1) * STRIDE + FIELD;
    mert_window w;
    mert_chunker_begin(c);
    for (int64_t at = 0; at < L;) {
        float x[LONGEST];
        int64_t n = L - at < step ? L - at : step;
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)(at + i);
        n = mert_chunker_add(c, x, n);
        if (n < 1)
            return 0;
        at += n;
        while (mert_chunker_next(c, 0, &w)) {
            if (next + W > T || T <= W || !is_window(&w, next, whole))
                return 0;
            given_to = next + W;
            next += H;
        }
        if (at >= (next + W) * STRIDE + FIELD) /* a complete window was not returned */
            return 0;
    }
    if (mert_chunker_samples(c) != L)
        return 0;
    if (mert_chunker_next(c, 1, &w)) {
        if (T <= W ? !is_window(&w, 0, L) : given_to >= T || !is_window(&w, T - W, whole))
            return 0;
        given_to = T;
    }
    return given_to == T && !mert_chunker_next(c, 1, &w);
}

TEST(windows_are_cut_as_the_rule_says_however_samples_come)
{
    mert_error e;
    for (int64_t W = 1; W <= 9; W++)
        for (int64_t H = 1; H <= W; H++) {
            mert_chunker *c = mert_chunker_new(W, H, STRIDE, FIELD, &e);
            CHECK(c);
            for (int64_t L = 0; L < 120; L++)
                CHECK(cut(c, W, H, L, 1) && cut(c, W, H, L, 5) && cut(c, W, H, L, 31) && cut(c, W, H, L, LONGEST));
            mert_chunker_free(c);
        }
}

/* ---- joining ---- */

typedef struct taken {
    float x[2 * LONGEST];
    int64_t n, calls;
} taken;

static int take(void *self, const float *rows, int64_t n, mert_error *e)
{
    taken *t = self;
    (void)e;
    memcpy(t->x + 2 * t->n, rows, (size_t)(2 * n) * sizeof *rows);
    t->n += n;
    t->calls++;
    return 0;
}

/* The value of window k at frame t. */
static float said(int64_t k, int64_t t, int64_t d)
{
    return (float)(100 * k + t) + 0.25f * (float)d;
}

static int join(mert_join how, int64_t W, int64_t H, int64_t T)
{
    mert_error e;
    mert_overlap *j = mert_overlap_new(how, W, 2, &e);
    taken got = {.n = 0};
    float want[LONGEST][2], window[64];
    int64_t end = 0, k = 0;
    int good = j != NULL;
    mert_overlap_begin(j);
    for (int64_t first = 0; good && end < T; first += H, k++) {
        int64_t n = T < W ? T : W;
        if (first + W > T)
            first = T < W ? 0 : T - W;
        for (int64_t i = 0; i < 2 * n; i++)
            window[i] = said(k, first + i / 2, i % 2);
        for (int64_t t = first; t < first + n; t++)
            for (int d = 0; d < 2; d++) {
                double a = t >= end ? 1 : how == MERT_JOIN_FADE ? (double)(t - first + 1) / (double)(end - first + 1)
                                                                : 2 * (t - first) >= end - first;
                want[t][d] = (float)((a < 1 ? (1 - a) * want[t][d] : 0) + a * said(k, t, d));
            }
        good = !mert_overlap_add(j, first, window, n, take, &got, &e) && got.n == (k ? first : 0);
        end = first + n;
    }
    good = good && !mert_overlap_end(j, take, &got, &e) && got.n == T;
    for (int64_t i = 0; good && i < 2 * T; i++)
        good = fabsf(got.x[i] - want[i / 2][i % 2]) <= (how == MERT_JOIN_FADE ? 5e-3f : 0);
    mert_overlap_free(j);
    return good;
}

TEST(windows_are_joined_as_the_rule_says)
{
    for (int64_t W = 1; W <= 9; W++)
        for (int64_t H = 1; H <= W; H++)
            for (int64_t T = 1; T < 40; T++)
                CHECK(join(MERT_JOIN_CENTRE, W, H, T) && join(MERT_JOIN_FADE, W, H, T));
}

/* ---- pooling ---- */

static int pooled(mert_pooling_how how, int64_t num, int64_t den, int64_t T)
{
    mert_error e;
    mert_pooling_plan plan = {.how = how, .num = num, .den = den};
    mert_pooling *p = mert_pooling_new(&plan, 2, &e);
    taken got = {.n = 0};
    int64_t j = 0;
    int32_t first[61];
    int good = p != NULL;
    mert_pooling_spans(&plan, T, first);
    mert_pooling_begin(p);
    for (int64_t t = 0; good && t < T; t += 3) { /* some at a time */
        float x[6];
        for (int i = 0; i < 6; i++)
            x[i] = sinf((float)(2 * t + i));
        good = !mert_pooling_add(p, x, T - t < 3 ? T - t : 3, take, &got, &e);
    }
    good = good && !mert_pooling_end(p, take, &got, &e) && got.n == mert_pooling_rows(&plan, T);
    for (int64_t from = 0, to; good && from < T; from = to, j++) {
        double sum[2] = {0, 0}, top[2] = {-9, -9};
        good = first[j] == from;
        for (to = from; to < T && (!num || to * den < (j + 1) * num); to++)
            for (int d = 0; d < 2; d++) {
                double v = (double)sinf((float)(2 * to + d));
                sum[d] += v;
                top[d] = v > top[d] ? v : top[d];
            }
        for (int d = 0; d < 2; d++)
            good = good &&
                   got.x[2 * j + d] == (float)(how == MERT_POOLING_MEAN ? sum[d] / (double)(to - from) : top[d]);
    }
    mert_pooling_free(p);
    return good && j == got.n && first[j] == T;
}

TEST(spans_hold_the_frames_that_begin_in_them)
{
    static const int64_t spans[][2] = {{0, 0}, {1, 1}, {2, 1}, {15, 2}, {4, 3}, {1000, 999}, {7, 1}, {100, 1}};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        for (int64_t T = 1; T < 60; T++)
            CHECK(pooled(MERT_POOLING_MEAN, spans[i][0], spans[i][1], T) &&
                  pooled(MERT_POOLING_MAX, spans[i][0], spans[i][1], T));
}

static int take_twelve(void *self, const float *rows, int64_t n, mert_error *e)
{
    taken *t = self;
    (void)e;
    memcpy(t->x + 12 * t->n, rows, (size_t)(12 * n) * sizeof *rows);
    t->n += n;
    return 0;
}

/* Two layers of two numbers, all three statistics, against their definitions; the level is far from 0, as of a state
 * whose deviation is small beside its mean. */
static int statistics(const char *list, int64_t num, int64_t T)
{
    mert_error e;
    mert_pooling_plan plan = {.num = num, .den = num ? 1 : 0, .part = 2};
    char text[48];
    taken got = {.n = 0};
    mert_pooling *p = mert_pooling_parse(&plan, list, &e) ? NULL : mert_pooling_new(&plan, 4, &e);
    float x[4 * 16];
    int good = p && mert_pooling_statistics(&plan) == 3;
    mert_pooling_print(&plan, text, sizeof text);
    for (int i = 0; i < 64; i++)
        x[i] = 100 + sinf((float)(7 * i + i * i));
    good = good && !mert_pooling_add(p, x, T, take_twelve, &got, &e) &&
           !mert_pooling_end(p, take_twelve, &got, &e) && got.n == mert_pooling_rows(&plan, T) && !strcmp(text, list);
    for (int64_t j = 0; good && j < got.n; j++)
        for (int d = 0; d < 4; d++) {
            double sum = 0, square = 0, top = 0;
            int64_t from = j * num, to = num && from + num < T ? from + num : T;
            for (int64_t t = from; t < to; t++) {
                sum += (double)x[4 * t + d];
                top = (double)x[4 * t + d] > top ? (double)x[4 * t + d] : top;
            }
            for (int64_t t = from; t < to; t++)
                square += pow((double)x[4 * t + d] - sum / (double)(to - from), 2);
            const float *y = got.x + 12 * j + d / 2 * 6 + d % 2; /* of this layer */
            int at = 0;
            for (const char *word = list; word; word = strchr(word, ','), at += 2) {
                word += *word == ',';
                double wanted = *word == 's' ? sqrt(square / (double)(to - from))
                                : word[1] == 'e' ? sum / (double)(to - from) : top;
                good = good && fabs((double)y[at] - wanted) < 1e-6 * (1 + fabs(wanted));
            }
        }
    mert_pooling_free(p);
    return good;
}

TEST(several_statistics_of_each_layer)
{
    mert_pooling_plan plan = {0};
    mert_error e;
    for (int64_t T = 1; T <= 16; T++)
        CHECK(statistics("mean,std,max", 0, T) && statistics("max,mean,std", 0, T) && statistics("std,max,mean", 5, T));
    CHECK(!mert_pooling_parse(&plan, "none", &e) && !mert_pooling_statistics(&plan));
    CHECK(mert_pooling_parse(&plan, "mean,mean", &e) && strstr(e.text, "mean is there twice"));
    CHECK(mert_pooling_parse(&plan, "mean,none", &e) && strstr(e.text, "'mean,none' is neither none nor a list"));
    CHECK(mert_pooling_parse(&plan, "mean,", &e) && mert_pooling_parse(&plan, "", &e));
    CHECK(mert_pooling_parse(&plan, "meanstd", &e) && mert_pooling_parse(&plan, "mea", &e));
}

/* ---- which layers ---- */

static int says(int bad, const mert_error *e, const char *text)
{
    return bad && strstr(e->text, text);
}

TEST(layers_and_their_factors)
{
    mert_layers l;
    mert_error e;
    char *text;
    CHECK(!mert_layers_parse(&l, "0,1,2,3", 3, &e) && (text = mert_layers_print(&l, 3)) && !strcmp(text, "layers=all"));
    free(text);
    CHECK(!mert_layers_parse(&l, "last", 3, &e) && l.n == 1 && l.index[0] == 3);
    CHECK(!mert_layers_parse(&l, "2,0", 3, &e) && l.n == 2 && l.index[0] == 2 && l.index[1] == 0);
    CHECK(!mert_layers_weigh(&l, "0.5,-1e-3", &e) && l.weighted && l.factors[0] == 0.5f && l.factors[1] == -1e-3f);
    CHECK((text = mert_layers_print(&l, 3)) && !strcmp(text, "layers=2,0 weights=0.5,-0.00100000005"));
    free(text);
    CHECK(says(mert_layers_weigh(&l, "0.5", &e), &e, "1 number for 2 layers"));
    CHECK(says(mert_layers_weigh(&l, "1,2,3", &e), &e, "3 numbers for 2 layers"));
    CHECK(says(mert_layers_weigh(&l, "1,nan", &e), &e, "neither a list of numbers nor a file"));
    CHECK(says(mert_layers_weigh(&l, "1,2x", &e), &e, "1,2x"));
    CHECK(says(mert_layers_parse(&l, "4", 3, &e), &e, "4 is outside 0 to 3"));
    CHECK(says(mert_layers_parse(&l, "-1", 3, &e), &e, "'-1' is neither"));
    CHECK(says(mert_layers_parse(&l, "1,1", 3, &e), &e, "1 is there twice"));
    CHECK(says(mert_layers_parse(&l, "1,", 3, &e), &e, "'1,' is neither"));
    CHECK(says(mert_layers_parse(&l, "some", 3, &e), &e, "'some' is neither"));
    CHECK(says(mert_layers_parse(&l, "", 3, &e), &e, "'' is neither"));
}

static int layers_are(const char *list, const char *wanted)
{
    mert_layers l;
    mert_error e;
    int bad = mert_layers_parse(&l, list, 12, &e);
    char *text = bad ? NULL : mert_layers_print(&l, 12);
    int good = text && !strcmp(text, wanted);
    free(text);
    return good;
}

TEST(layers_by_range)
{
    mert_layers l;
    mert_error e;
    CHECK(layers_are("1-4,12", "layers=1,2,3,4,12") && layers_are("12,3-3", "layers=12,3"));
    CHECK(layers_are("0-12", "layers=all") && layers_are("10-last", "layers=10,11,12"));
    CHECK(layers_are("0-last,last-raw", "layers=0,1,2,3,4,5,6,7,8,9,10,11,12,last-raw"));
    CHECK(says(mert_layers_parse(&l, "4-1", 12, &e), &e, "4-1 runs backwards"));
    CHECK(says(mert_layers_parse(&l, "1-13", 12, &e), &e, "13 is outside 0 to 12"));
    CHECK(says(mert_layers_parse(&l, "99999999999999999999", 12, &e), &e, "is outside 0 to 12"));
    CHECK(says(mert_layers_parse(&l, "1-4,3", 12, &e), &e, "3 is there twice"));
    CHECK(says(mert_layers_parse(&l, "1-", 12, &e), &e, "'1-' is neither"));
    CHECK(says(mert_layers_parse(&l, "1-2-3", 12, &e), &e, "'1-2-3' is neither"));
    CHECK(says(mert_layers_parse(&l, "lastly", 12, &e), &e, "'lastly' is neither"));
    CHECK(says(mert_layers_parse(&l, "last-rawer", 12, &e), &e, "'last-rawer' is neither"));
    CHECK(says(mert_layers_parse(&l, "+1", 12, &e), &e, "'+1' is neither"));
}

TEST(factors_from_a_file)
{
    mert_layers l;
    mert_error e;
    const char *path = test_tmp("factors");
    FILE *f = fopen(path, "w");
    CHECK(f && fputs("0.25 0.5\n0.125,\n", f) >= 0 && !fclose(f));
    CHECK(!mert_layers_parse(&l, "0,1,2", 3, &e) && !mert_layers_weigh(&l, path, &e));
    CHECK(l.factors[0] == 0.25f && l.factors[1] == 0.5f && l.factors[2] == 0.125f);
    CHECK((f = fopen(path, "w")) && fputs("0.25 half 1\n", f) >= 0 && !fclose(f));
    CHECK(says(mert_layers_weigh(&l, path, &e), &e, "not a list of numbers"));
}

int main(void)
{
    RUN(fractions_are_exact);
    RUN(windows_are_cut_as_the_rule_says_however_samples_come);
    RUN(windows_are_joined_as_the_rule_says);
    RUN(spans_hold_the_frames_that_begin_in_them);
    RUN(several_statistics_of_each_layer);
    RUN(layers_and_their_factors);
    RUN(layers_by_range);
    RUN(factors_from_a_file);
    return test_done();
}
