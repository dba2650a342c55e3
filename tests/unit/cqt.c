#include "tests/unit/signal.h"

#include "libcommon/dsp/cqt.h"
#include "tests/unit/threads.h"

static mert_error e;

static float *whole(const mert_cqt_config *c, const float *x, int64_t n)
{
    mert_cqt_plan *plan = mert_cqt_plan_new(c, &e);
    mert_cqt *q = plan ? mert_cqt_new(plan, 1, &e) : NULL;
    float *out = calloc((size_t)(mert_cqt_frames(c, n) * mert_cqt_width(c)), sizeof *out);
    if (!q || mert_cqt_whole(q, x, n, out, &e)) {
        printf("# %s\n", e.text);
        free(out);
        out = NULL;
    }
    mert_cqt_free(q);
    mert_cqt_plan_free(plan);
    return out;
}

static int gather(void *to, const float *data, int64_t n, mert_error *err)
{
    rows *r = to;
    (void)err;
    r->data = realloc(r->data, (size_t)((r->n + n) * r->width) * sizeof *data);
    memcpy(r->data + r->n * r->width, data, (size_t)(n * r->width) * sizeof *data);
    r->n += n;
    return 0;
}

static double golden_difference(const mert_cqt_config *c, const char *audio, const char *expected)
{
    int64_t n[2], t[2];
    float *x = signal_npy(test_golden(audio), n), *want = signal_npy(test_golden(expected), t);
    float *got = whole(c, x, n[0]);
    double difference = INFINITY;
    if (got && t[0] == mert_cqt_frames(c, n[0]) && t[1] == c->bins)
        difference = signal_difference(got, want, t[0] * t[1]);
    free(x);
    free(want);
    free(got);
    return difference;
}

TEST(equals_the_reference)
{
    mert_cqt_config c = mert_cqt_default;
    CHECK_NEAR(golden_difference(&c, "cqt/audio_24k.npy", "cqt/cqt336_sr24000_hop320.npy"), 0, 1e-5);
    c.bins = 84;
    c.bins_per_octave = 12;
    CHECK_NEAR(golden_difference(&c, "cqt/audio_24k.npy", "cqt/cqt84_sr24000_hop320.npy"), 0, 1e-5);
    c.sample_rate = 16000;
    CHECK_NEAR(golden_difference(&c, "cqt/audio_16k.npy", "cqt/cqt84_sr16000_hop320.npy"), 0, 1e-5);
    c.precise = 1;
    CHECK_NEAR(golden_difference(&c, "cqt/audio_16k.npy", "cqt/cqt84_sr16000_hop320.npy"), 0, 2e-6);
}

/* Up to three frames at the start, in the middle and at the end. */
static double oracle_difference(const mert_cqt_config *c, int64_t n)
{
    int64_t frames = mert_cqt_frames(c, n), width = mert_cqt_width(c), count = frames < 3 ? frames : 3;
    float *x = signal_music(n, c->sample_rate), *got = whole(c, x, n);
    float *want = calloc((size_t)(3 * width), sizeof *want);
    double most = got ? 0 : INFINITY, largest = 0, difference;
    for (int part = 0; got && part < 3; part++) {
        int64_t first = part == 0 ? 0 : part == 1 ? (frames - count) / 2 : frames - count;
        if (part && frames <= 3)
            break;
        if (mert_cqt_direct(c, x, n, first, count, want, &e))
            most = INFINITY;
        for (int64_t i = 0; i < count * width; i++) {
            difference = fabs((double)got[first * width + i] - want[i]);
            most = difference <= most ? most : difference;
            largest = fabs(want[i]) > largest ? fabs(want[i]) : largest;
        }
    }
    free(x);
    free(got);
    free(want);
    return largest > 0 ? most / largest : most;
}

TEST(equals_the_definition_at_any_setting)
{
    static const struct { int rate, hop, bins, per_octave; double fmin; int64_t n; } cases[] = {
        {24000, 320, 12, 12, 2, 60000}, {24000, 320, 20, 1024, 500, 60000}, {48000, 48000, 84, 12, 32.7, 200000},
        {24000, 320, 336, 48, 32.7, 120000}, {24000, 320, 336, 48, 32.7, 1}, {24000, 320, 84, 12, 32.7, 319},
        {24000, 320, 84, 12, 32.7, 320}, {24000, 320, 84, 12, 32.7, 321}, {24000, 256, 84, 12, 32.7, 5000},
        {16000, 320, 84, 12, 32.7, 40000}, {16000, 512, 264, 36, 32.7, 30000}, {22050, 441, 84, 12, 32.7, 50000},
        {22050, 512, 84, 12, 32.7, 2}, {44100, 441, 84, 12, 32.7, 120000}, {44100, 512, 264, 36, 27.5, 60000},
        {16000, 1, 12, 12, 440, 3000}, {16000, 4001, 60, 12, 55, 90000}, {48000, 1023, 60, 12, 55, 50000},
        {8000, 65521, 40, 12, 110, 200000}, {24000, 317, 3, 12, 9000, 5000}, {24000, 320, 8, 1, 32.7, 5000},
        {24000, 320, 24, 24, 20, 48000}, {24000, 100, 300, 100, 200, 20000}, {24000, 320, 1, 12, 11999, 2000},
        {24000, 320, 84, 12, 32.7, 500000}, {11025, 160, 70, 12, 65.4, 30000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mert_cqt_config c = {.sample_rate = cases[i].rate, .hop = cases[i].hop, .bins = cases[i].bins,
                             .bins_per_octave = cases[i].per_octave, .fmin = cases[i].fmin};
        double d = oracle_difference(&c, cases[i].n);
        if (!(d <= 1e-5))
            printf("# case %zu: %g\n", i, d);
        CHECK(d <= 1e-5);
    }
}

TEST(complex_and_log_forms)
{
    mert_cqt_config c = {22050, 320, 90, 24, 60, MERT_CQT_COMPLEX, 1e-5, 0};
    CHECK_NEAR(oracle_difference(&c, 20000), 0, 1e-5);
    c.form = MERT_CQT_LOG;
    c.log_floor = 0.1; /* high enough that the logarithm does not magnify what is small */
    CHECK_NEAR(oracle_difference(&c, 20000), 0, 2e-5);
}

/* The largest difference for sounds with loud and almost empty bins, whose errors a logarithm magnifies. largest: the
 * largest value, or NULL. */
static double tone_difference(const mert_cqt_config *c, int sound, int64_t n, double *largest)
{
    int64_t frames = mert_cqt_frames(c, n), step = frames / 3;
    float *x = calloc((size_t)n, sizeof *x), *got, *want = calloc((size_t)c->bins, sizeof *want);
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double at = 2 * 3.141592653589793 * (double)i / c->sample_rate;
        switch (sound) {
        case 0: x[i] = i < n * 2 / 3 ? (float)(0.9 * sin(440 * at)) : 0; break; /* a tone that stops */
        case 1: x[i] = (float)(0.3 * (sin(261.6 * at) + sin(329.6 * at) + sin(392 * at))); break;
        case 2: x[i] = 0.5f; break;
        case 3: x[i] = (float)(0.5 * sin(11500 * at)); break; /* above all bins: shows the rounding of the FFT */
        case 4: x[i] = i > n / 2 ? (float)(0.9 * sin(55 * at)) : 0; break;
        case 5: x[i] = (float)(0.9 * sin(3520.7 * at)); break;
        case 6: x[i] = (float)(0.9 * sin(20 * at)); break;                      /* below all bins */
        case 7: x[i] = (float)(0.9 * sin(6000 * at)); break;
        default: x[i] = (float)(0.5 + 0.1 * sin(440 * at)); break;
        }
    }
    got = whole(c, x, n);
    for (int64_t t = 0; got && t < frames; t += step) {
        most = mert_cqt_direct(c, x, n, t, 1, want, &e) ? INFINITY : most;
        for (int k = 0; k < c->bins; k++) {
            most = fmax(most, fabs((double)got[t * c->bins + k] - want[k]));
            if (largest)
                *largest = fmax(*largest, want[k]);
        }
    }
    free(x);
    free(want);
    free(got);
    return got ? most : INFINITY;
}

TEST(logarithms_of_tones_are_those_of_the_definition)
{
    for (int sound = 0; sound < 6; sound++)
        for (int form = 0; form < 3; form++) {
            mert_cqt_config c = mert_cqt_default;
            double d;
            c.form = MERT_CQT_LOG;
            c.log_floor = 1e-5;
            c.hop = form % 2 ? 1600 : 320;
            if (form < 2) {
                c.bins = 84;
                c.bins_per_octave = 12;
            }
            d = tone_difference(&c, sound, 40000, NULL);
            if (!(d <= 0.1))
                printf("# sound %d, hop %d, %d bins: %g\n", sound, c.hop, c.bins, d);
            CHECK(d <= 0.1);
        }
}

/* Within 2e-5 of the largest value, except for tones far above all bins. */
TEST(magnitudes_beside_an_offset_and_tones_outside)
{
    for (int sound = 2; sound < 9; sound++) {
        double largest = 0, d = tone_difference(&mert_cqt_default, sound, 40000, &largest), allowed = 2e-5 * largest;
        if (sound == 3 || sound == 7)
            allowed += 4e-6 * 0.9;
        if (!(d <= allowed))
            printf("# sound %d: %g of %g\n", sound, d, largest);
        CHECK(d <= allowed);
    }
}

/* An impulse at sample p shows each kernel's window: |Y[t, k]| = hann(l_k)[p - t hop + ceil(l_k / 2)] * 2 /
 * sqrt(l_k). */
TEST(impulses_show_the_windows)
{
    mert_cqt_config c = mert_cqt_default;
    mert_cqt_plan *plan = mert_cqt_plan_new(&c, &e);
    mert_cqt *q = mert_cqt_new(plan, 1, &e);
    enum { N = 6000, T = N / 320 + 1 };
    static float x[N], got[T * 336], want[T * 336];
    double most = 0;
    for (int p = 2900; p < 3300; p += 13) {
        x[p] = 1;
        CHECK(!mert_cqt_whole(q, x, N, got, &e));
        x[p] = 0;
        for (int k = 0; k < 336; k++) {
            int64_t l = mert_cqt_length(&c, k);
            for (int t = 0; t < T; t++) {
                int64_t at = p - t * 320 + (l + 1) / 2;
                want[t * 336 + k] = at < 0 || at >= l ? 0 :
                    (float)((1 - cos(2 * 3.141592653589793 * (double)at / (double)l)) / sqrt((double)l));
            }
        }
        most = fmax(most, signal_difference(got, want, T * 336));
    }
    CHECK_NEAR(most, 0, 1e-5);
    mert_cqt_free(q);
    mert_cqt_plan_free(plan);
}

TEST(a_sine_peaks_at_its_bin)
{
    mert_cqt_config c = mert_cqt_default;
    enum { N = 120000 };
    static float x[N];
    for (int k = 0; k < 336; k += 67) {
        double f = mert_cqt_frequency(&c, k);
        float *got;
        for (int i = 0; i < N; i++)
            x[i] = (float)(0.5 * sin(2 * 3.141592653589793 * f * i / 24000));
        got = whole(&c, x, N);
        CHECK(got);
        /* A quarter of sqrt(l) (amplitude 0.5, half of it at +f); the negative frequency adds almost nothing. */
        CHECK_NEAR(got[187 * 336 + k], 0.25 * sqrt((double)mert_cqt_length(&c, k)), 1e-3);
        for (int j = 0; j < 336; j++)
            CHECK(got[187 * 336 + j] <= got[187 * 336 + k]);
        free(got);
    }
}

TEST(same_bytes_however_cut_and_by_any_number_of_threads)
{
    mert_cqt_config c = mert_cqt_default;
    static const int64_t pieces[] = {1, 7, 1000, 65537, 1000000};
    int64_t n = 200001, frames = mert_cqt_frames(&c, n);
    float *x = signal_music(n, 24000), *first = NULL;
    mert_cqt_plan *plan = mert_cqt_plan_new(&c, &e);
    for (int threads = 1; threads <= 3; threads++) {
        mert_cqt *q[2];
        use_threads(threads);
        q[0] = mert_cqt_new(plan, 0, &e);
        q[1] = mert_cqt_new(plan, 1, &e);
        for (size_t i = 0; i < 2 * sizeof pieces / sizeof *pieces; i++) {
            int64_t step = pieces[i / 2];
            rows r = {.width = 336};
            for (int64_t at = 0; at < n; at += step)
                CHECK(!mert_cqt_push(q[i % 2], x + at, n - at < step ? n - at : step, gather, &r, &e));
            CHECK(!mert_cqt_finish(q[i % 2], gather, &r, &e));
            CHECK(r.n == frames);
            if (!first)
                first = r.data;
            CHECK(!memcmp(first, r.data, (size_t)(frames * 336) * sizeof *first));
            if (first != r.data)
                free(r.data);
        }
        mert_cqt_free(q[0]);
        mert_cqt_free(q[1]);
    }
    use_threads(1);
    mert_cqt_plan_free(plan);
    free(first);
    free(x);
}

/* Earlier signals, complete or broken off, have no effect. */
TEST(an_object_serves_many_signals)
{
    mert_cqt_config c = {16000, 320, 84, 12, 32.7, MERT_CQT_MAGNITUDE, 0, 0};
    mert_cqt_plan *plan = mert_cqt_plan_new(&c, &e);
    mert_cqt *q = mert_cqt_new(plan, 1, &e);
    float *x = signal_music(300000, 16000), *a = calloc(1000 * 84, sizeof *a), *b = calloc(1000 * 84, sizeof *b);
    rows r = {.width = 84};
    CHECK(!mert_cqt_whole(q, x, 5000, a, &e));
    CHECK(!mert_cqt_push(q, x, 300000, gather, &r, &e));
    mert_cqt_reset(q);
    CHECK(!mert_cqt_whole(q, x, 0, b, &e));
    for (int k = 0; k < 84; k++)
        CHECK(b[k] == 0);
    CHECK(!mert_cqt_whole(q, x, 5000, b, &e));
    CHECK(!memcmp(a, b, 16 * 84 * sizeof *a));
    mert_cqt_free(q);
    mert_cqt_plan_free(plan);
    free(x);
    free(a);
    free(b);
    free(r.data);
}

static int count(void *to, const float *data, int64_t n, mert_error *err)
{
    (void)data, (void)err;
    *(int64_t *)to += n;
    return 0;
}

static int refuse(void *to, const float *data, int64_t n, mert_error *err)
{
    (void)to, (void)data, (void)n;
    return mert_fail(err, "no more");
}

TEST(rows_come_while_samples_go_in)
{
    mert_cqt_config c = mert_cqt_default;
    mert_cqt_plan *plan = mert_cqt_plan_new(&c, &e);
    mert_cqt *q = mert_cqt_new(plan, 1, &e);
    float *x = signal_music(24000, 24000);
    int64_t frames = 0;
    for (int second = 1; second <= 90; second++) {
        CHECK(!mert_cqt_push(q, x, 24000, count, &frames, &e));
        CHECK(frames > 75 * (second - 30) && frames <= 75 * second);
    }
    CHECK(!mert_cqt_finish(q, count, &frames, &e));
    CHECK(frames == 90 * 75 + 1);
    CHECK(!mert_cqt_push(q, x, 24000, refuse, NULL, &e));
    CHECK(mert_cqt_finish(q, refuse, NULL, &e) == -1 && !strcmp(e.text, "no more"));
    mert_cqt_free(q);
    mert_cqt_plan_free(plan);
    free(x);
}

TEST(refuses_what_cannot_be)
{
    mert_cqt_config c = mert_cqt_default;
    c.sample_rate = 8000;
    CHECK(!mert_cqt_plan_new(&c, &e) && strstr(e.text, "4125.6 Hz") && strstr(e.text, "8000 Hz"));
    c = mert_cqt_default;
    c.hop = 0;
    CHECK(!mert_cqt_plan_new(&c, &e) && strstr(e.text, "hop 0"));
    c = mert_cqt_default;
    c.fmin = 1e-9;
    CHECK(!mert_cqt_plan_new(&c, &e) && strstr(e.text, "at most 4194304"));
    c.fmin = NAN;
    CHECK(!mert_cqt_plan_new(&c, &e));
    c = mert_cqt_default;
    c.bins = 5000;
    CHECK(!mert_cqt_plan_new(&c, &e) && strstr(e.text, "5000 bins"));
}

TEST(chroma_folds_octaves)
{
    float m[2 * 7] = {1, 0, 2, 3, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}, out[2 * 3];
    mert_cqt_chroma(m, 2, 7, 3, out);
    CHECK(out[0] == 1 && out[1] == 0 && out[2] == 0.25f && out[3] == 0 && out[4] == 0 && out[5] == 0);
    mert_cqt_chroma(m, 2, 7, 3, m);
    CHECK(!memcmp(m, out, sizeof out));
}

int main(void)
{
    use_threads(1);
    RUN(equals_the_reference);
    RUN(magnitudes_beside_an_offset_and_tones_outside);
    RUN(equals_the_definition_at_any_setting);
    RUN(complex_and_log_forms);
    RUN(logarithms_of_tones_are_those_of_the_definition);
    RUN(impulses_show_the_windows);
    RUN(a_sine_peaks_at_its_bin);
    RUN(same_bytes_however_cut_and_by_any_number_of_threads);
    RUN(an_object_serves_many_signals);
    RUN(rows_come_while_samples_go_in);
    RUN(refuses_what_cannot_be);
    RUN(chroma_folds_octaves);
    return test_done();
}
