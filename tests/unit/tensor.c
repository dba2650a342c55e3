/* The modules of mert-tensor: moments, counts, sets of rows, comparison, file names. */
#include "libcommon/tensor/compare.h"
#include "libcommon/tensor/npy_record.h"
#include "libcommon/tensor/statistics.h"
#include "libcommon/tensor/values.h"
#include "tests/unit/stream.h"

#include <sys/wait.h>

TEST(moments_of_numbers_far_from_zero)
{
    enum { N = 10000 };
    static double x[N];
    mert_moments m, parts[2];
    for (int i = 0; i < N; i++)
        x[i] = 1e9 + i % 5; /* mean 1e9 + 2, variance 2 */
    mert_moments_begin(&m);
    mert_moments_begin(&parts[0]);
    mert_moments_begin(&parts[1]);
    for (int at = 0; at < N; at += 1000)
        mert_moments_add(&m, x + at, 1000);
    CHECK(m.n == N && m.min == 1e9 && m.max == 1e9 + 4);
    CHECK_NEAR(m.mean, 1e9 + 2, 1e-6);
    CHECK_NEAR(mert_moments_std(&m), sqrt(2), 1e-9);
    mert_moments_add(&parts[0], x, 7777);
    mert_moments_add(&parts[1], x + 7777, N - 7777);
    mert_moments_merge(&parts[0], &parts[1]);
    CHECK(parts[0].n == N);
    CHECK_NEAR(mert_moments_std(&parts[0]), sqrt(2), 1e-9);
    double odd[] = {NAN, 1, INFINITY, 3, -INFINITY, NAN};
    mert_moments_begin(&m);
    mert_moments_add(&m, odd, 6);
    CHECK(m.n == 2 && m.nan == 2 && m.inf == 2 && m.mean == 2 && mert_moments_std(&m) == 1);
    mert_moments_begin(&m);
    mert_moments_add(&m, odd, 1);
    CHECK(m.n == 0 && isnan(mert_moments_std(&m)));
}

static mts_record codes_record(int64_t classes0, int64_t classes1)
{
    mts_record r = {.kind = "codes",
                    .key = "x",
                    .row = 0,
                    .dtype = MTS_I32,
                    .ndim = 2,
                    .shape = {-1, 2},
                    .frame_rate_den = 1,
                    .ncodebooks = 2,
                    .classes = {classes0, classes1}};
    return r;
}

TEST(code_counts)
{
    mts_record r = codes_record(4, 100000);
    mert_code_counts c;
    mert_error e;
    double x[] = {0, 99999, 1, 5, 2, 5, 3, 5};
    CHECK(!mert_code_counts_begin(&c, &r, &e) && !mert_code_counts_add(&c, x, 4, 0, &e));
    mert_code_use even = mert_code_counts_use(&c, 0), uneven = mert_code_counts_use(&c, 1);
    CHECK(even.used == 4 && even.largest == 0.25 && uneven.used == 2 && uneven.largest == 0.75 && c.frames == 4);
    CHECK_NEAR(even.entropy, 2, 1e-12); /* bits */
    CHECK_NEAR(uneven.entropy, -0.25 * log2(0.25) - 0.75 * log2(0.75), 1e-12);
    CHECK(even.run == 1 && uneven.run == 2 && uneven.commonest == 5);
    CHECK(!mert_code_counts_add(&c, x + 6, 1, 4, &e)); /* continues the record: no new run */
    CHECK_NEAR(mert_code_counts_use(&c, 1).run, 5 / 2., 1e-12);
    CHECK(!mert_code_counts_add(&c, x + 6, 1, 0, &e)); /* another record: a new run */
    CHECK_NEAR(mert_code_counts_use(&c, 1).run, 6 / 3., 1e-12);
    x[4] = 4; /* frame 2 */
    CHECK(mert_code_counts_add(&c, x, 4, 100, &e) == -1
          && !strcmp(e.text, "frame 102: code 4 of codebook 0 is outside its 4 classes"));
    CHECK(c.frames == 6 && mert_code_counts_use(&c, 0).largest == 0.5); /* nothing of a bad block is counted */
    mts_record other = codes_record(4, 5), huge = codes_record(4, INT32_MAX);
    CHECK(mert_code_counts_fit(&c, &r) && !mert_code_counts_fit(&c, &other));
    mert_code_counts_free(&c);
    CHECK(mert_code_counts_begin(&c, &huge, &e) == -1);
}

TEST(row_sets_hold_what_was_added)
{
    enum { N = 500 };
    mert_row_set s = {0};
    int there[N] = {0};
    unsigned seed = 1;
    for (int k = 0; k < 1500; k++) {
        seed = seed * 1664525u + 1013904223u;
        int row = (int)(seed >> 16) % N;
        CHECK(mert_row_set_add(&s, row) == !there[row]);
        there[row] = 1;
        for (int64_t i = 0; i < s.n; i++) /* sorted, not adjacent */
            CHECK(s.span[i][0] < s.span[i][1] && (i == 0 || s.span[i - 1][1] < s.span[i][0]));
    }
    for (int64_t i = 0, row = 0; row < N; row++) {
        while (i < s.n && s.span[i][1] <= row)
            i++;
        CHECK(there[row] == (i < s.n && s.span[i][0] <= row));
    }
    mert_row_set_free(&s);
    for (int row = 0; row < 100000; row++)
        CHECK(mert_row_set_add(&s, row) == 1);
    CHECK(s.n == 1 && s.room == 16);
    mert_row_set_free(&s);
}

TEST(values_of_every_type)
{
    static const int16_t i16[] = {0, -1, 32767, -32768};
    static const uint16_t u16[] = {0, 1, 65535, 32768}, f16[] = {0, 0x3c00, 0xfbff, 1}, bf16[] = {0, 0x3f80, 0xff7f, 1};
    static const int32_t i32[] = {0, -1, INT32_MAX, INT32_MIN};
    double x[4];
    mert_values_read(MTS_I16, i16, 4, x);
    CHECK(x[0] == 0 && x[1] == -1 && x[2] == 32767 && x[3] == -32768);
    mert_values_read(MTS_U16, u16, 4, x);
    CHECK(x[1] == 1 && x[2] == 65535 && x[3] == 32768);
    mert_values_read(MTS_I32, i32, 4, x);
    CHECK(x[1] == -1 && x[2] == INT32_MAX && x[3] == INT32_MIN);
    mert_values_read(MTS_F16, f16, 4, x);
    CHECK(x[0] == 0 && x[1] == 1 && x[2] == -65504 && x[3] == 0x1p-24);
    mert_values_read(MTS_BF16, bf16, 4, x);
    CHECK(x[0] == 0 && x[1] == 1 && x[2] == -0x1.fep127 && x[3] == 0x1p-133);
}

/* Printed values are the same when they are read back: every half, every bfloat16, some floats. */
TEST(text_brings_back_the_number)
{
    char text[40];
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t narrow = (uint16_t)bits;
        uint32_t wide = bits * 65537u ^ bits << 7;
        for (int type = 0; type < 3; type++) {
            double x, back;
            float f;
            mts_dtype t = type == 0 ? MTS_F16 : type == 1 ? MTS_BF16 : MTS_F32;
            mert_values_read(t, t == MTS_F32 ? (void *)&wide : (void *)&narrow, 1, &x);
            if (!isfinite(x))
                continue;
            mert_value_print(text, sizeof text, t, x);
            f = strtof(text, NULL);
            if (t == MTS_F32) {
                CHECK(f == (float)x);
                continue;
            }
            /* nearest number of the type: round to its bits by way of the next ones above and below */
            back = f;
            double apart = fabs(back - x),
                   step = t == MTS_F16 ? fmax(fabs(x) * 0x1p-11, 0x1p-24) : fmax(fabs(x) * 0x1p-8, 0x1p-133);
            CHECK(apart < step / 2);
        }
    }
}

/* Chunks have 1 MiB, so f16 and f32 of the same values have chunks of different lengths. */
static FILE *numbers(mts_dtype t, int64_t frames, int64_t width, int64_t wrong)
{
    FILE *f = tmpfile();
    mts_begin begin = plain_begin();
    mts_record r = plain_record("k", 0, frames, width);
    r.dtype = t;
    mts_writer *w = mts_writer_open(f, "tmp", &begin, MTS_LEVEL_DEFAULT);
    mts_write_record(w, &r);
    for (int64_t i = 0; i < frames; i++) {
        float wide[8];
        uint16_t narrow[8];
        for (int64_t k = 0; k < width; k++) {
            uint32_t exponent = (uint32_t)((i + k) % 20); /* 2^(exponent - 10): exact in both */
            wide[k] = ldexpf(1, (int)exponent - 10) + (i * width + k == wrong ? 0.25f : 0);
            narrow[k] = (uint16_t)((exponent + 5) << 10);
        }
        mts_write_frames(w, t == MTS_F32 ? (void *)wide : (void *)narrow, 1);
    }
    mts_write_record_end(w);
    mts_writer_close(w, 1, NULL, 0);
    rewind(f);
    return f;
}

static int unheard(const mert_inputs *in, int event, const mert_error *e)
{
    (void)in;
    (void)event;
    (void)e;
    return 0;
}

static int compare_files(FILE *a, FILE *b, const mert_tolerance *t, mert_difference *d)
{
    char path[2][64], *files[2] = {path[0], path[1]};
    mert_inputs x, y;
    snprintf(path[0], sizeof path[0], "/proc/self/fd/%d", fileno(a));
    snprintf(path[1], sizeof path[1], "/proc/self/fd/%d", fileno(b));
    mert_inputs_open(&x, &files[0], 1);
    mert_inputs_open(&y, &files[1], 1);
    mert_comparison *c = mert_comparison_new(&x, &y, t, unheard);
    mert_difference end;
    int rc = mert_comparison_next(c, d) == 1 && mert_comparison_next(c, &end) == 0;
    mert_comparison_free(c);
    mert_inputs_close(&x);
    mert_inputs_close(&y);
    fclose(a);
    fclose(b);
    return rc;
}

TEST(comparing_over_chunks_of_other_lengths)
{
    enum { FRAMES = 200003, WIDTH = 3 };
    const mert_tolerance exact = {0, 0, 0}, wide = {0, 0.25, 0};
    mert_difference d;
    CHECK(compare_files(numbers(MTS_F16, FRAMES, WIDTH, -1), numbers(MTS_F32, FRAMES, WIDTH, -1), &exact, &d));
    CHECK(!d.beyond && !d.unequal && d.elements == FRAMES * WIDTH && !d.what[0] && d.peak == 512);
    CHECK(compare_files(numbers(MTS_F32, FRAMES, WIDTH, 500000), numbers(MTS_F16, FRAMES, WIDTH, -1), &exact, &d));
    CHECK(d.beyond && d.unequal == 1 && d.largest == 0.25 && d.at_frame == 500000 / WIDTH
          && d.at_element == 500000 % WIDTH);
    CHECK(compare_files(numbers(MTS_F16, FRAMES, WIDTH, -1), numbers(MTS_F32, FRAMES, WIDTH, 7), &wide, &d));
    CHECK(!d.beyond && d.unequal == 1);
    CHECK(compare_files(numbers(MTS_F16, 100, WIDTH, -1), numbers(MTS_F32, FRAMES, WIDTH, -1), &wide, &d));
    CHECK(d.beyond && d.elements == 300 && strstr(d.what, "lengths differ: 100 and 200003"));
    CHECK(compare_files(numbers(MTS_F16, FRAMES, WIDTH, -1), numbers(MTS_F32, 100, WIDTH, -1), &wide, &d));
    CHECK(d.beyond && strstr(d.what, "lengths differ: 200003 and 100"));
    CHECK(compare_files(numbers(MTS_F16, 0, WIDTH, -1), numbers(MTS_F32, 0, WIDTH, -1), &exact, &d));
    CHECK(!d.beyond && d.elements == 0);
}

/* Output of a faulty program: a valid stream, but with codes outside their classes. */
TEST(check_finds_codes_outside_their_classes)
{
    mts_record r = codes_record(10, 5);
    mts_begin begin = plain_begin();
    int32_t codes[] = {1, 2, 3, 7, 9, 4, 9, -1};
    char command[4096];
    FILE *f = fopen(test_tmp("codes.mts"), "wb");
    mts_writer *w = mts_writer_open(f, "codes.mts", &begin, MTS_LEVEL_DEFAULT);
    mts_write_record(w, &r);
    mts_write_frames(w, codes, 4);
    mts_write_record_end(w);
    CHECK(!mts_writer_close(w, 1, NULL, 0) && !fclose(f));
    snprintf(command, sizeof command, "mert-tensor check %s 2>&1 | grep -qx "
             "'mert-tensor: x: frame 1: code 7 of codebook 1 is outside its 5 classes'", test_tmp("codes.mts"));
    int rc = system(command);
    CHECK(WIFEXITED(rc) && WEXITSTATUS(rc) == 0);
    snprintf(command, sizeof command, "mert-tensor check -q %s 2> /dev/null", test_tmp("codes.mts"));
    rc = system(command);
    CHECK(WIFEXITED(rc) && WEXITSTATUS(rc) == 1);
}

TEST(file_names_stay_in_their_folder)
{
    static const char *const keys[][2] = {{"a b-c_1.flac", "a b-c_1.flac.npy"},
                                          {"../x", "%2E.%2Fx.npy"},
                                          {"/etc/x", "%2Fetc%2Fx.npy"},
                                          {"", "%.npy"},
                                          {".", "%2E.npy"},
                                          {"..", "%2E..npy"},
                                          {"%", "%25.npy"},
                                          {"\xc3\xa9", "%C3%A9.npy"}};
    char name[256], other[256], key[MTS_KEY_MAX];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        mert_npy_file_name(name, sizeof name, keys[i][0]);
        CHECK(!strcmp(name, keys[i][1]));
    }
    memset(key, '/', sizeof key - 1);
    key[sizeof key - 1] = 0;
    mert_npy_file_name(name, sizeof name, key);
    key[sizeof key - 2] = 'x'; /* keys that differ only after the cut have different names */
    mert_npy_file_name(other, sizeof other, key);
    CHECK(strlen(name) < 256 && !strchr(name, '/') && strcmp(name, other) && !strcmp(name + strlen(name) - 4, ".npy"));
}

TEST(names_of_a_tree_are_readable_and_stay_below_it)
{
    static const char *const keys[][2] = {{"Ab Cd/01 - x (1).flac", "Ab Cd/01 - x (1).flac.npy"},
                                          {"Bj\xc3\xb6rk/J\xc3\xb3ga.mp3", "Bj\xc3\xb6rk/J\xc3\xb3ga.mp3.npy"},
                                          {"\xe9\xb3\xa5/\xf0\x9f\x8e\xb5", "\xe9\xb3\xa5/\xf0\x9f\x8e\xb5.npy"},
                                          {"\xe9t\xc3", "%E9t%C3.npy"},                     /* no UTF-8 */
                                          {"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80", "%C0%AF%ED%A0%80%F4%90%80%80.npy"},
                                          {"a\tb\x7f\xc2\x85", "a%09b%7F%C2%85.npy"},     /* control characters */
                                          {"100%", "100%25.npy"},
                                          {"../x", "%2E%2E/x.npy"},
                                          {"a/./..", "a/%2E/%2E%2E.npy"},
                                          {".../.x", ".../.x.npy"},
                                          {"/etc/x", "%2Fetc/x.npy"},
                                          {"a//b", "a%2F/b.npy"},
                                          {"a/", "a%2F.npy"},
                                          {"//", "%2F%2F.npy"},
                                          {"", "%.npy"}};
    char key[MTS_KEY_MAX], *name, *other;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        CHECK((name = mert_npy_tree_name(keys[i][0])) && !strcmp(name, keys[i][1]));
        free(name);
    }
    memset(key, 'x', sizeof key - 1);
    key[sizeof key - 1] = 0;
    memcpy(key + 400, "/\xc3\xa9/", 4);
    for (size_t i = 500; i < 900; i += 2) /* 200 letters: cut between two of them */
        memcpy(key + i, "\xc3\xa9", 2);
    CHECK((name = mert_npy_tree_name(key)));
    key[sizeof key - 2] = 'y'; /* names that differ behind the cut differ */
    CHECK((other = mert_npy_tree_name(key)) && strcmp(name, other));
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        CHECK(strcspn(p, "/") < 256);
    }
    CHECK(strstr(name, "~") && strstr(name, "/\xc3\xa9/") && !strcmp(name + strlen(name) - 4, ".npy"));
    free(name);
    free(other);
    memset(key, 1, sizeof key - 1); /* each becomes three */
    for (size_t i = 76; i < sizeof key - 1; i += 77)
        key[i] = '/';
    CHECK((name = mert_npy_tree_name(key)));
    free(name);
}

int main(void)
{
    RUN(moments_of_numbers_far_from_zero);
    RUN(code_counts);
    RUN(row_sets_hold_what_was_added);
    RUN(values_of_every_type);
    RUN(text_brings_back_the_number);
    RUN(comparing_over_chunks_of_other_lengths);
    RUN(check_finds_codes_outside_their_classes);
    RUN(file_names_stay_in_their_folder);
    RUN(names_of_a_tree_are_readable_and_stay_below_it);
    return test_done();
}
