/* Label files that are arrays [rows, T], each row padded with -1. */
#include "formats/labels/labels.h"
#include "tests/npy.h"
#include "tests/unit/labels.h"

#include <unistd.h>

static mts_record codes_of(int64_t row, int K, int64_t classes)
{
    mts_record r = {.kind = "codes", .key = "item", .row = row, .dtype = MTS_I32, .ndim = 2, .shape = {-1, K},
                    .frame_rate_num = 75, .frame_rate_den = 1, .ncodebooks = K, .model = 0xc0de};
    for (int k = 0; k < K; k++)
        r.classes[k] = classes;
    return r;
}

/* Rows of 3, no, 5 and 0 frames (the second failed half way), of K codebooks: code t * 10 + k. */
static int write_rows(const char *pattern, int K, int64_t classes, int type)
{
    static const int64_t lengths[] = {3, -1, 5, 0};
    mts_begin b = {.manifest = 7, .row_first = 0, .row_end = 5, .rows_total = 5};
    mert_labels_writer *w = mert_labels_create(pattern, &err);
    if (type >= 0)
        mert_labels_npy_type(w, (mert_npy_type)type);
    if (mert_labels_stream(w, &b, &err))
        abort();
    for (int64_t row = 0; row < 4; row++) {
        mts_record r = codes_of(row, K, classes);
        if (mert_labels_record(w, &r, &err))
            abort();
        for (int64_t t = 0; t < (lengths[row] < 0 ? 9 : lengths[row]); t++) {
            int32_t codes[4];
            for (int k = 0; k < K; k++)
                codes[k] = (int32_t)(t * 10 + k);
            if (mert_labels_frames(w, codes, 1, &err))
                abort();
        }
        if (lengths[row] < 0 ? mert_labels_failed(w, "item", row, &err) : mert_labels_end(w, &err))
            abort();
    }
    if (mert_labels_failed(w, "last", 4, &err))
        abort();
    return mert_labels_commit(w, &err);
}

static int row_is(const mert_npy *a, int64_t row, int64_t v0, int64_t v1, int64_t v2, int64_t v3, int64_t v4)
{
    int64_t v[5];
    return !mert_npy_to_ints(a, 5 * row, 5, v) && v[0] == v0 && v[1] == v1 && v[2] == v2 && v[3] == v3 && v[4] == v4;
}

TEST(rows_are_filled_up)
{
    mert_npy a;
    CHECK(!write_rows(test_tmp("a.q_%d.npy"), 2, 100, -1));
    CHECK(!mert_npy_open(&a, test_tmp("a.q_1.npy"), &err) && a.type == MERT_NPY_I16 && a.ndim == 2 && a.shape[0] == 5
          && a.shape[1] == 5);
    CHECK(row_is(&a, 0, 1, 11, 21, -1, -1) && row_is(&a, 1, -1, -1, -1, -1, -1) && row_is(&a, 2, 1, 11, 21, 31, 41)
          && row_is(&a, 3, -1, -1, -1, -1, -1) && row_is(&a, 4, -1, -1, -1, -1, -1));
    mert_npy_close(&a);
    CHECK(access(test_tmp("a.q_0.npy.rows"), F_OK)); /* the temporary file is removed */
}

TEST(types)
{
    mert_npy a;
    CHECK(!write_rows(test_tmp("b.npy"), 1, 32769, -1) && !mert_npy_open(&a, test_tmp("b.npy"), &err)
          && a.type == MERT_NPY_I32 && row_is(&a, 2, 0, 10, 20, 30, 40));
    mert_npy_close(&a);
    CHECK(!write_rows(test_tmp("b.npy"), 1, 32768, -1) && !mert_npy_open(&a, test_tmp("b.npy"), &err)
          && a.type == MERT_NPY_I16);
    mert_npy_close(&a);
    CHECK(!write_rows(test_tmp("b.npy"), 1, 100, MERT_NPY_I64) && !mert_npy_open(&a, test_tmp("b.npy"), &err)
          && a.type == MERT_NPY_I64 && row_is(&a, 0, 0, 10, 20, -1, -1));
    mert_npy_close(&a);
    CHECK(write_rows(test_tmp("c.npy"), 1, 40000, MERT_NPY_I16) && says("c.npy: 40000 classes do not fit int16"));
    CHECK(access(test_tmp("c.npy"), F_OK) && access(test_tmp("c.npy.meta"), F_OK));
}

TEST(reads_what_it_wrote)
{
    mert_labels l;
    int32_t v[5];
    CHECK(!mert_labels_open(&l, test_tmp("a.q_1.npy"), &err) && l.verified && l.rows == 5 && l.meta.classes == 100
          && l.meta.codebook == 0xc0de && l.meta.codebook_index == 1 && l.meta.failed_rows == 2
          && l.meta.manifest == 7);
    CHECK(mert_labels_count(&l, 0) == 3 && mert_labels_count(&l, 1) == 0 && mert_labels_count(&l, 2) == 5
          && mert_labels_count(&l, 3) == 0 && mert_labels_count(&l, 5) == 0);
    CHECK(!mert_labels_read(&l, 2, 1, 3, v, &err) && v[0] == 11 && v[1] == 21 && v[2] == 31);
    CHECK(mert_labels_read(&l, 0, 1, 3, v, &err) && says("a.q_1.npy: row 0: has 3 labels, 1 to 3 were wanted"));
    CHECK(mert_labels_read(&l, 5, 0, 1, v, &err) && says("there is no row 5"));
    mert_labels_close(&l);
}

static int open_array(mert_labels *l, mert_npy_type type, int64_t rows, int64_t width, const void *data,
                      const char *meta)
{
    const int64_t shape[] = {rows, width};
    FILE *f;
    if (put_npy(test_tmp("x.npy"), type, width ? 2 : 1, shape, data, &err))
        abort();
    unlink(test_tmp("x.npy.meta"));
    if (meta && (!(f = fopen(test_tmp("x.npy.meta"), "wb")) || fputs(meta, f) == EOF || fclose(f)))
        abort();
    return mert_labels_open(l, test_tmp("x.npy"), &err);
}

TEST(reads_arrays_of_others)
{
    static const int64_t wide[] = {5, 6, -1, 7, -1, -1};
    static const uint8_t small[] = {1, 2, 3, 4};
    mert_labels l;
    int32_t v[3];
    CHECK(!open_array(&l, MERT_NPY_I64, 2, 3, wide, NULL) && !l.verified && l.rows == 2 && l.meta.classes == 0);
    CHECK(mert_labels_count(&l, 0) == 2 && !mert_labels_read(&l, 0, 0, 2, v, &err) && v[1] == 6);
    mert_labels_close(&l);
    CHECK(!open_array(&l, MERT_NPY_U8, 2, 2, small, "classes=5\nrows=2\n") && mert_labels_count(&l, 1) == 2);
    mert_labels_close(&l);
}

TEST(what_cannot_be_is_refused)
{
    static const int16_t hole[] = {1, -1, 2, 3, 4, -2};
    static const float real[] = {1, 2};
    static const int64_t huge[] = {1, (int64_t)1 << 31};
    mert_labels l;
    int32_t v[3];
    CHECK(open_array(&l, MERT_NPY_F32, 1, 2, real, NULL)
          && says("x.npy: 2 axes of float32; labels are [rows, T] of integers"));
    CHECK(open_array(&l, MERT_NPY_I16, 6, 0, hole, NULL) && says("x.npy: 1 axes of int16"));
    CHECK(open_array(&l, MERT_NPY_I16, 2, 3, hole, "classes=9\nrows=2\n")
          && says("x.npy: row 0, place 1: -1 is no label (0 to 8)"));
    CHECK(open_array(&l, MERT_NPY_I16, 1, 2, hole, "classes=1\nrows=1\n")
          && says("row 0, place 0: 1 is no label (0 to 0)"));
    CHECK(open_array(&l, MERT_NPY_I16, 1, 2, hole, "classes=9\nrows=3\n")
          && says("x.npy: has 1 rows, but its .meta says 3 rows"));
    CHECK(open_array(&l, MERT_NPY_I16, 1, 2, hole, "classes=9\nrows=1\nfailed_rows=1\n")
          && says("has 0 empty rows, but"));
    CHECK(!open_array(&l, MERT_NPY_I64, 1, 2, huge, NULL) && mert_labels_read(&l, 0, 0, 2, v, &err)
          && says("row 0, place 1: 2147483648 is no label"));
    mert_labels_close(&l);
    CHECK(!open_array(&l, MERT_NPY_I16, 2, 3, hole, NULL) && mert_labels_read(&l, 1, 0, 3, v, &err)
          && says("row 1, place 2: -2 is"));
    mert_labels_close(&l);
}

/* The number of rows in a header without data cannot be checked, so such files are refused, and not written. */
TEST(arrays_without_a_label_are_refused)
{
    const int64_t shape[] = {(int64_t)1 << 40, 0};
    mert_labels l;
    mert_labels_writer *w = mert_labels_create(test_tmp("none.npy"), &err);
    mts_record r = codes_of(0, 1, 5);
    CHECK(!put_npy(test_tmp("claims.npy"), MERT_NPY_I16, 2, shape, "", &err));
    CHECK(mert_labels_open(&l, test_tmp("claims.npy"), &err) && says("claims.npy: no row has a label"));
    CHECK(!mert_labels_record(w, &r, &err) && !mert_labels_end(w, &err));
    CHECK(mert_labels_commit(w, &err) && says("none.npy: no row has a label") && access(test_tmp("none.npy"), F_OK));
}

TEST(long_rows_over_blocks)
{
    enum { N = 10000 };
    static int32_t codes[N], back[N];
    mert_labels_writer *w = mert_labels_create(test_tmp("long.npy"), &err);
    mert_labels l;
    for (int64_t row = 0; row < 2; row++) {
        mts_record r = codes_of(row, 1, 1 << 20);
        for (int t = 0; t < N; t++)
            codes[t] = (int32_t)(row * 500000 + 17 * t);
        CHECK(!mert_labels_record(w, &r, &err) && !mert_labels_frames(w, codes, row ? N : 1, &err)
              && !mert_labels_end(w, &err));
    }
    CHECK(!mert_labels_commit(w, &err) && !mert_labels_open(&l, test_tmp("long.npy"), &err));
    CHECK(mert_labels_count(&l, 0) == 1 && mert_labels_count(&l, 1) == N);
    CHECK(!mert_labels_read(&l, 1, 0, N, back, &err) && !memcmp(codes, back, sizeof back));
    mert_labels_close(&l);
}

int main(void)
{
    RUN(rows_are_filled_up);
    RUN(types);
    RUN(reads_what_it_wrote);
    RUN(reads_arrays_of_others);
    RUN(what_cannot_be_is_refused);
    RUN(arrays_without_a_label_are_refused);
    RUN(long_rows_over_blocks);
    return test_done();
}
