/* The operations of the CQT target against nn/reference: decimation with and without samples around the clip, products
 * of windows that go beyond both ends of a clip, at three levels, with rows in any order. */
#include "tests/unit/nn.h"

#include "libcommon/nn/reference.h"

static void decimation(int64_t B, int64_t n, int64_t N, int64_t shift, int64_t half)
{
    float *x = numbers(B * n, 1), *h = numbers(half + 1, 2), *y = room(B * N);
    double *exact = zeros(B * N), *wide_x = wide(x, B * n), *wide_h = wide(h, half + 1);
    for (int64_t b = 0; b < B; b++)
        mert_reference_decimate(exact + b * N, wide_x + b * n, wide_h, n, N, shift, half);
    mert_decimate(ops, .y = y, .x = put(x, B * n), .h = put(h, half + 1), .B = B, .n = n, .N = N, .shift = shift,
                  .half = half);
    CHECK_APART(get(y, B * N), exact, B * N, 1e-7);
}

TEST(decimate)
{
    decimation(3, 517, 160, 60, 62);
    decimation(2, 517, 129, 0, 62);
    decimation(2, 1, 33, 64, 62);
    decimation(1, 40, 5, -3, 2);
    decimation(2, 300, 9, -1, 0);
}

/* ---- products ---- */

enum { CLIPS = 3, FRAMES = 31, HOP = 48, S = 77, BINS = 37, LEVELS = 3 };
static const int64_t lengths[LEVELS] = {1400, 361, 103}, firsts[LEVELS] = {0, -5, -7};
/* Windows that begin before the clip and end behind it; the last group does not fill its lanes. */
static const mert_cqt_group groups[] = {{0, 1, -250, 480, 16, 16}, {16000, 0, -20, 64, 0, 16},
                                        {20000, 2, -16, 32, 32, 5}};
enum { GROUPS = sizeof groups / sizeof *groups, TABLE = 22000 };

static void products(mert_cqt_log form, double floor, double mean, double scale, double tolerance)
{
    float *taps = numbers(TABLE, 3), *y = room(S * BINS), *x[LEVELS];
    double *wide_x[LEVELS], *exact = zeros(S * BINS);
    int32_t rows[S];
    mert_cqt_args a = {.y = y, .n = GROUPS, .S = S, .T = FRAMES, .hop = HOP, .bins = BINS, .form = form,
                       .floor = (float)floor, .mean = (float)mean, .scale = (float)scale};
    for (int v = 0; v < LEVELS; v++) {
        x[v] = numbers(CLIPS * lengths[v], 10 + (uint32_t)v);
        wide_x[v] = wide(x[v], CLIPS * lengths[v]);
        a.signal[v] = (mert_cqt_signal){put(x[v], CLIPS * lengths[v]), lengths[v], firsts[v]};
    }
    for (int s = 0; s < S; s++)
        rows[s] = s * 59 % (CLIPS * FRAMES);
    for (int s = 0; s < S; s++)
        for (int k = 0; k < GROUPS; k++)
            for (int l = 0; l < groups[k].bins; l++) {
                int v = groups[k].level;
                int64_t at = rows[s] % FRAMES * (HOP >> 2 * v) + groups[k].first - firsts[v];
                double m = mert_reference_cqt(wide_x[v] + rows[s] / FRAMES * lengths[v], lengths[v], at,
                                              taps + groups[k].at + 2 * l, groups[k].taps);
                m = form == MERT_CQT_LN ? log(m + floor) : form == MERT_CQT_LOG10 ? log10(1 + 1e4 * m * m) : m;
                exact[s * BINS + groups[k].bin + l] = (m - mean) * scale;
            }
    a.groups = put_bytes(groups, sizeof groups);
    a.taps = put(taps, TABLE);
    a.rows = put_bytes(rows, sizeof rows);
    ops->run(ops, MERT_OP_CQT, &a, sizeof a);
    CHECK_APART(get(y, S * BINS), exact, S * BINS, tolerance);
}

TEST(products_plain) { products(MERT_CQT_PLAIN, 0, 0, 1, 5e-7); }
TEST(products_standardised) { products(MERT_CQT_PLAIN, 0, 0.4, 1 / 1.7, 5e-7); }
TEST(products_ln) { products(MERT_CQT_LN, 1e-5, -4.2, 0.4, 3e-7); }
TEST(products_log10) { products(MERT_CQT_LOG10, 0, 2.1, 0.7, 1e-6); }

/* A window whose products cancel: the logarithm shows what single precision leaves of them, about 1e-6 here. */
TEST(products_ln_of_what_cancels)
{
    enum { N = 1400 };
    mert_cqt_group g = groups[0];
    float *x = keep(N * sizeof *x), *taps = numbers(TABLE, 3), *y = room(BINS), *got;
    int32_t row = 30;
    mert_cqt_signal signal = {NULL, N, 0};
    for (int i = 0; i < N; i++)
        x[i] = 0.9f;
    for (int i = 0; i < g.taps / 2; i++) /* the second half is the first one with the other sign, from its end on */
        for (int l = 0; l < 2 * MERT_CQT_LANES; l++)
            taps[(g.taps - 1 - i) * 2 * MERT_CQT_LANES + l] = -taps[i * 2 * MERT_CQT_LANES + l];
    signal.x = put(x, N);
    mert_cqt_of_rows(ops, .y = y, .signal = {signal, signal, signal}, .groups = put_bytes(&g, sizeof g),
                     .taps = put(taps, TABLE), .rows = put_bytes(&row, sizeof row), .n = 1, .S = 1, .T = FRAMES,
                     .hop = HOP, .bins = BINS, .form = MERT_CQT_LN, .floor = 1e-5f, .scale = 1);
    got = get(y + g.bin, g.bins);
    for (int l = 0; l < g.bins; l++)
        CHECK_NEAR(got[l], log(1e-5), 1e-4);
}

/* Silence has the logarithm of the floor, and clips without rows are no work. */
TEST(products_of_silence)
{
    float *y = room(BINS), *x = put(keep(1400 * sizeof(float)), 1400), *taps = put(numbers(TABLE, 3), TABLE), *got;
    const mert_cqt_group *g = put_bytes(groups, sizeof groups);
    int32_t *rows = put_bytes(&(int32_t){2}, sizeof(int32_t));
    mert_cqt_signal signal = {x, 100, 0};
    for (int none = 0; none < 2; none++)
        mert_cqt_of_rows(ops, .y = y, .signal = {signal, signal, signal}, .groups = g, .taps = taps, .rows = rows,
                         .n = GROUPS, .S = !none, .T = FRAMES, .hop = HOP, .bins = BINS, .form = MERT_CQT_LN,
                         .floor = 1e-5f, .scale = 1);
    got = get(y, BINS);
    for (int k = 0; k < BINS; k++)
        CHECK_NEAR(got[k], log(1e-5), 1e-5);
}

int main(void)
{
    static const nn_test tests[] = {NN_TEST(decimate),        NN_TEST(products_plain), NN_TEST(products_standardised),
                                    NN_TEST(products_ln),     NN_TEST(products_log10), NN_TEST(products_of_silence),
                                    NN_TEST(products_ln_of_what_cancels)};
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
