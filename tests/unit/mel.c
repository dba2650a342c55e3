#include "tests/unit/signal.h"

#include "libcommon/dsp/mel.h"
#include "tests/unit/threads.h"

static mert_error e;

/* 1: the result for `sound` is `expected`, both golden vectors. Frees m. */
static int equals(mert_mel *m, const char *sound, const char *expected)
{
    int64_t n[2], t[2];
    float *x = signal_npy(test_golden(sound), n), *want = signal_npy(test_golden(expected), t);
    float *got = calloc((size_t)(t[0] * t[1]), sizeof *got);
    int same = m && mert_mel_width(m) == t[1] && mert_mel_frames(m, n[0]) == t[0] &&
               !mert_mel_whole(m, x, n[0], got, &e) && signal_difference(got, want, t[0] * t[1]) <= 1e-5;
    mert_mel_free(m);
    free(x);
    free(want);
    free(got);
    return same;
}

TEST(mel_equals_the_reference)
{
    mert_mel *m = mert_mel_new(&mert_mel_default, 1, &e);
    CHECK(m && mert_mel_width(m) == 229);
    CHECK(equals(m, "features/audio_24k.npy", "features/mel229_power_24k.npy"));
}

TEST(mfcc_equals_the_reference)
{
    mert_mel *m = mert_mfcc_new(&mert_mfcc_default, 1, &e);
    CHECK(m && mert_mel_width(m) == 39);
    CHECK(equals(m, "features/audio_16k.npy", "features/mfcc39_16k.npy"));
}

/* The definition in mel.h, sum by sum, in double precision. */
static void mel_direct(const mert_mel_config *c, const float *x, int64_t n, int64_t t, double *row)
{
    double pi = 3.141592653589793, energy = 0;
    double low = 2595 * log10(1 + c->f_min / 700), high = 2595 * log10(1 + c->f_max / 700);
    for (int i = 0; i < c->n_fft; i++)
        energy += pow(0.5 - 0.5 * cos(2 * pi * i / c->n_fft), 2);
    memset(row, 0, (size_t)c->mels * sizeof *row);
    for (int j = 0; j <= c->n_fft / 2; j++) {
        double re = 0, im = 0, f = (double)j * (c->sample_rate / 2) / (c->n_fft / 2), power; /* sr // 2 */
        for (int i = 0; i < c->n_fft; i++) {
            int64_t at = t * c->hop - c->n_fft / 2 + i;
            double w = 0.5 - 0.5 * cos(2 * pi * i / c->n_fft), v = at < 0 || at >= n ? 0 : x[at] * w;
            re += v * cos(2 * pi * i * j / c->n_fft);
            im -= v * sin(2 * pi * i * j / c->n_fft);
        }
        power = (re * re + im * im) / (c->normalized ? energy : 1);
        for (int m = 0; m < c->mels; m++) {
            double edge[3];
            for (int i = 0; i < 3; i++)
                edge[i] = 700 * (pow(10, (low + (high - low) * (m + i) / (c->mels + 1)) / 2595) - 1);
            row[m] += power * fmax(0, fmin((f - edge[0]) / (edge[1] - edge[0]), (edge[2] - f) / (edge[2] - edge[1])));
        }
    }
    for (int m = 0; c->log && m < c->mels; m++)
        row[m] = log(row[m] + c->log_floor);
}

TEST(mel_equals_the_definition_at_any_setting)
{
    static const mert_mel_config cases[] = {
        {8000, 256, 100, 20, 50, 4000, 0, 0, 0}, {24000, 512, 320, 40, 32.7, 12000, 1, 0, 0},
        {16000, 400, 160, 30, 0, 7000, 0, 1, 1e-5}, {11025, 128, 441, 8, 100, 5000, 0, 0, 0},
    };
    static const int64_t lengths[] = {1, 319, 2000};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            const mert_mel_config *c = &cases[i];
            int64_t n = lengths[j], frames;
            float *x = signal_music(n, c->sample_rate), *got;
            mert_mel *m = mert_mel_new(c, 1, &e);
            double row[64], most = 0, largest = 0;
            CHECK(m);
            frames = mert_mel_frames(m, n);
            CHECK(frames == n / c->hop + 1);
            got = calloc((size_t)(frames * c->mels), sizeof *got);
            CHECK(!mert_mel_whole(m, x, n, got, &e));
            for (int64_t t = 0; t < frames; t++) {
                mel_direct(c, x, n, t, row);
                for (int k = 0; k < c->mels; k++) {
                    most = fmax(most, fabs(got[t * c->mels + k] - row[k]));
                    largest = fmax(largest, fabs(row[k]));
                }
            }
            CHECK_NEAR(most, 0, 2e-6 * largest);
            mert_mel_free(m);
            free(x);
            free(got);
        }
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

/* kind 0: mel, 1: MFCC, 2: windows with gaps between them. */
static mert_mel *make(int kind, int pooled)
{
    mert_mel_config c = mert_mel_default;
    if (kind == 1)
        return mert_mfcc_new(&mert_mfcc_default, pooled, &e);
    if (kind == 2) {
        c.n_fft = 256;
        c.hop = 1000;
        c.mels = 20;
    }
    return mert_mel_new(&c, pooled, &e);
}

TEST(same_bytes_however_cut_and_by_any_number_of_threads)
{
    static const int64_t pieces[] = {1, 7, 1000, 65537, 1000000};
    int64_t n = 200001;
    float *x = signal_music(n, 24000), *first[3] = {NULL, NULL, NULL};
    for (int threads = 1; threads <= 3; threads++) {
        use_threads(threads);
        for (int kind = 0; kind < 3; kind++) {
            mert_mel *m[2] = {make(kind, 0), make(kind, 1)};
            int width = mert_mel_width(m[0]);
            int64_t frames = mert_mel_frames(m[0], n);
            for (size_t i = 0; i < 2 * sizeof pieces / sizeof *pieces; i++) {
                int64_t step = pieces[i / 2];
                rows r = {.width = width};
                for (int64_t at = 0; at < n; at += step)
                    CHECK(!mert_mel_push(m[i % 2], x + at, n - at < step ? n - at : step, gather, &r, &e));
                CHECK(!mert_mel_finish(m[i % 2], gather, &r, &e));
                CHECK(r.n == frames);
                if (!first[kind])
                    first[kind] = r.data;
                CHECK(!memcmp(first[kind], r.data, (size_t)(frames * width) * sizeof *r.data));
                if (first[kind] != r.data)
                    free(r.data);
            }
            mert_mel_free(m[0]);
            mert_mel_free(m[1]);
        }
    }
    use_threads(1);
    for (int kind = 0; kind < 3; kind++)
        free(first[kind]);
    free(x);
}

/* For any number of rows, deltas use the first and last ones repeated. */
TEST(short_signals)
{
    float *x = signal_music(4000, 16000), got[20 * 39];
    mert_mel *m = make(1, 1);
    CHECK(mert_mel_frames(m, 399) == 0 && mert_mel_frames(m, 400) == 1);
    CHECK(mert_mel_frames(m, 559) == 1 && mert_mel_frames(m, 560) == 2);
    CHECK(!mert_mel_whole(m, x, 399, got, &e));
    for (int64_t frames = 1; frames <= 12; frames++) {
        double d[12];
        CHECK(!mert_mel_whole(m, x, 400 + 160 * (frames - 1), got, &e));
        for (int order = 1; order <= 2; order++)
            for (int64_t t = 0; t < frames; t++) {
                d[t] = 0;
                for (int64_t i = -2; i <= 2; i++) {
                    int64_t at = t + i < 0 ? 0 : t + i >= frames ? frames - 1 : t + i;
                    d[t] += (double)i * got[at * 39 + 13 * (order - 1) + 1] / 10;
                }
                CHECK_NEAR(got[t * 39 + 13 * order + 1], d[t], 1e-5);
            }
    }
    mert_mel_free(m);
    m = make(0, 1);
    CHECK(mert_mel_frames(m, 0) == 1);
    mert_mel_free(m);
    free(x);
}

TEST(refuses_what_cannot_be)
{
    mert_mel_config c = mert_mel_default;
    mert_mfcc_config f = mert_mfcc_default;
    c.f_max = 13000;
    CHECK(!mert_mel_new(&c, 1, &e) && strstr(e.text, "13000"));
    c = mert_mel_default;
    c.n_fft = 2047;
    CHECK(!mert_mel_new(&c, 1, &e) && strstr(e.text, "2047"));
    f.ceps = 24;
    CHECK(!mert_mfcc_new(&f, 1, &e) && strstr(e.text, "24"));
}

int main(void)
{
    use_threads(1);
    RUN(mel_equals_the_reference);
    RUN(mfcc_equals_the_reference);
    RUN(mel_equals_the_definition_at_any_setting);
    RUN(same_bytes_however_cut_and_by_any_number_of_threads);
    RUN(short_signals);
    RUN(refuses_what_cannot_be);
    return test_done();
}
