/* The log-mel spectrum of MERT-v2: against its definition, sum by sum, at lengths around every edge; however the samples
 * come; what a table of its own does. */
#include "tests/unit/signal.h"

#include "libcommon/dsp/log_mel.h"

static mert_error e;

enum { RATE = 8000, N_FFT = 64, WINDOW = 48, HOP = 20, MELS = 6, BINS = N_FFT / 2 + 1, LONGEST = 24000 };

static float window[WINDOW], fb[BINS * MELS], mean[MELS], deviation[MELS], x[LONGEST];

static void make_tables(void)
{
    mert_log_mel_window(window, WINDOW);
    CHECK(!mert_log_mel_filters(fb, RATE, N_FFT, MELS, &e));
    for (int m = 0; m < MELS; m++) {
        mean[m] = (float)(-30 + m);
        deviation[m] = m ? 10 + (float)m : 0; /* 0 counts as 1e-5 */
    }
    for (int i = 0; i < LONGEST; i++)
        x[i] = (float)(0.4 * sin(0.3 * i) + 0.001 * sin(1.7 * i + 0.0001 * i * i));
}

/* Sample `at` of the signal, mirrored beyond its ends. */
static double mirrored(int64_t at, int64_t n)
{
    at = at < 0 ? -at : at;
    return x[at >= n ? 2 * (n - 1) - at : at];
}

static double direct(int64_t n, int64_t t, int m)
{
    double pi = 3.141592653589793, sum = 0;
    for (int j = 0; j < BINS; j++) {
        double re = 0, im = 0;
        for (int i = 0; i < WINDOW; i++) {
            int at = i + (N_FFT - WINDOW) / 2;
            double v = window[i] * mirrored(t * HOP - N_FFT / 2 + at, n);
            re += v * cos(2 * pi * at * j / N_FFT);
            im -= v * sin(2 * pi * at * j / N_FFT);
        }
        sum += fb[j * MELS + m] * (re * re + im * im);
    }
    return (10 * log10(fmax(sum, 1e-10)) - mean[m]) / fmax(deviation[m], 1e-5f);
}

static mert_mel *make(void)
{
    mert_log_mel_config c = {N_FFT, WINDOW, HOP, MELS};
    return mert_log_mel_new(&c, window, fb, mean, deviation, 1, &e);
}

TEST(equals_its_definition)
{
    static const int64_t lengths[] = {33, 39, 40, 41, 64, 99, 100, 101, 777};
    static float got[64 * MELS];
    mert_mel *m = make();
    CHECK(m && mert_mel_width(m) == MELS && mert_mel_hop(m) == HOP);
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        int64_t n = lengths[k], T = mert_mel_frames(m, n);
        CHECK(T == n / HOP);
        CHECK(!mert_mel_whole(m, x, n, got, &e));
        for (int64_t t = 0; t < T; t++)
            for (int f = 0; f < MELS; f++) {
                double want = direct(n, t, f);
                CHECK(fabs(got[t * MELS + f] - want) <= 2e-6 * fmax(1, fabs(want)));
            }
    }
    mert_mel_free(m);
}

TEST(too_few_samples_for_the_mirror_give_no_frame)
{
    mert_mel *m = make();
    CHECK(m && mert_mel_frames(m, N_FFT / 2) == 0 && mert_mel_frames(m, N_FFT / 2 + 1) == 1);
    mert_mel_free(m);
}

typedef struct kept { float at[LONGEST / HOP * MELS]; int64_t n; } kept;

static int keep(void *to, const float *r, int64_t n, mert_error *why)
{
    kept *k = to;
    (void)why;
    memcpy(k->at + k->n * MELS, r, (size_t)(n * MELS) * sizeof *r);
    k->n += n;
    return 0;
}

/* Lengths that end around the object's own blocks of 512 rows, too. */
TEST(the_same_bytes_however_samples_come)
{
    static const int64_t lengths[] = {33, 1000, 10239, 10240, 10304, 10305, 20481, LONGEST}, steps[] = {1, 7, 1000, 9999};
    static kept whole, pieces;
    mert_mel *m = make();
    CHECK(m);
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            int64_t n = lengths[k];
            whole.n = pieces.n = 0;
            CHECK(!mert_mel_push(m, x, n, keep, &whole, &e) && !mert_mel_finish(m, keep, &whole, &e));
            for (int64_t at = 0; at < n; at += steps[s])
                CHECK(!mert_mel_push(m, x + at, n - at < steps[s] ? n - at : steps[s], keep, &pieces, &e));
            CHECK(!mert_mel_finish(m, keep, &pieces, &e));
            CHECK(whole.n == n / HOP && pieces.n == whole.n);
            CHECK(!memcmp(whole.at, pieces.at, (size_t)(whole.n * MELS) * sizeof *whole.at));
        }
    mert_mel_free(m);
}

TEST(a_last_row_equals_its_definition_behind_many_blocks)
{
    static float got[LONGEST / HOP * MELS];
    mert_mel *m = make();
    CHECK(m);
    for (int64_t n = 20460; n <= 20500; n += 4) {
        int64_t T = mert_mel_frames(m, n);
        CHECK(!mert_mel_whole(m, x, n, got, &e));
        for (int64_t t = T - 3; t < T; t++)
            for (int f = 0; f < MELS; f++) {
                double want = direct(n, t, f);
                CHECK(fabs(got[t * MELS + f] - want) <= 2e-6 * fmax(1, fabs(want)));
            }
    }
    mert_mel_free(m);
}

int main(void)
{
    make_tables();
    RUN(equals_its_definition);
    RUN(too_few_samples_for_the_mirror_give_no_frame);
    RUN(the_same_bytes_however_samples_come);
    RUN(a_last_row_equals_its_definition_behind_many_blocks);
    return test_done();
}
