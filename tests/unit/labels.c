#include "formats/file.h"
#include "formats/labels/labels.h"
#include "tests/unit/labels.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static int exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static mts_begin begin_of(int64_t first, int64_t end, int64_t total)
{
    mts_begin b = {.manifest = 0xfeed, .row_first = first, .row_end = end, .rows_total = total};
    return b;
}

static mts_record codes_of(int64_t row, const char *key, int K)
{
    mts_record r = {.kind = "codes", .row = row, .dtype = MTS_U16, .ndim = 2, .shape = {-1, K}, .sample_rate = 24000,
                    .frame_rate_num = 24000, .frame_rate_den = 320, .ncodebooks = K, .model = 0xc0de};
    snprintf(r.key, sizeof r.key, "%s", key);
    for (int k = 0; k < K; k++)
        r.classes[k] = 1024;
    return r;
}

static int put_row(mert_labels_writer *w, int64_t row, int K, const uint16_t *codes, int64_t frames)
{
    mts_record r = codes_of(row, "item", K);
    return mert_labels_record(w, &r, &err) || mert_labels_frames(w, codes, frames, &err) || mert_labels_end(w, &err);
}

static const uint16_t some[] = {0, 1, 2, 3, 1023, 7, 100, 10};

TEST(writes_one_file_per_codebook)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("a.encodec_%d"), &err);
    mts_begin b = begin_of(0, 3, 3);
    mts_record r = codes_of(0, "x", 2);
    CHECK(w && !mert_labels_stream(w, &b, &err));
    CHECK(!mert_labels_record(w, &r, &err) && !mert_labels_frames(w, some, 1, &err) &&
          !mert_labels_frames(w, some + 2, 3, &err));
    CHECK(!mert_labels_end(w, &err));
    CHECK(!mert_labels_failed(w, "bad", 1, &err));
    CHECK(!put_row(w, 2, 2, some + 4, 2));
    CHECK(!exists(test_tmp("a.encodec_0")));
    CHECK(!mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("a.encodec_0"), "0 2 1023 100\n\n1023 100\n"));
    CHECK(holds(test_tmp("a.encodec_1"), "1 3 7 10\n\n7 10\n"));
    static const char lines[] = "classes=1024\nframe_rate=24000/320\ncodebook=000000000000c0de\ncodebook_index=1\n"
                                "manifest=000000000000feed\nrows=3\nfailed_rows=1\n";
    char meta[300];
    snprintf(meta, sizeof meta, "meta=%016llx\n%shash=%016llx\n",
             (unsigned long long)mts_xxh64(lines, sizeof lines - 1, 0), lines,
             (unsigned long long)mts_xxh64("1 3 7 10\n\n7 10\n", 15, 0));
    CHECK(holds(test_tmp("a.encodec_1.meta"), meta));
}

TEST(reads_what_it_wrote)
{
    mert_labels l;
    int32_t v[4];
    CHECK(!mert_labels_open(&l, test_tmp("a.encodec_0"), &err));
    CHECK(l.verified && l.rows == 3 && l.meta.classes == 1024 && l.meta.frame_rate_num == 24000 &&
          l.meta.frame_rate_den == 320);
    CHECK(l.meta.codebook == 0xc0de && l.meta.manifest == 0xfeed && l.meta.codebook_index == 0 &&
          l.meta.failed_rows == 1);
    CHECK(mert_labels_count(&l, 0) == 4 && mert_labels_count(&l, 1) == 0 && mert_labels_count(&l, 2) == 2 &&
          mert_labels_count(&l, 3) == 0);
    CHECK(!mert_labels_read(&l, 0, 1, 2, v, &err) && v[0] == 2 && v[1] == 1023);
    CHECK(!mert_labels_read(&l, 2, 0, 2, v, &err) && v[0] == 1023 && v[1] == 100);
    CHECK(mert_labels_read(&l, 0, 3, 2, v, &err) && says("encodec_0:1: has 4 labels, 3 to 4 were wanted"));
    CHECK(mert_labels_read(&l, 3, 0, 1, v, &err) && says("there is no row 3"));
    mert_labels_close(&l);
}

TEST(one_codebook_needs_no_number)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("b.km"), &err);
    CHECK(w && !put_row(w, 0, 1, some, 8) && !mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("b.km"), "0 1 2 3 1023 7 100 10\n"));
    w = mert_labels_create(test_tmp("c.km"), &err);
    CHECK(w && put_row(w, 0, 2, some, 4) && says("needs a %d"));
    mert_labels_abandon(w);
    CHECK(!mert_labels_create("a%d.%d", &err) && says("at most one %d"));
}

TEST(rows_that_fail_first_and_last)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("d.km"), &err);
    mts_begin b = begin_of(0, 4, 4);
    CHECK(w && !mert_labels_stream(w, &b, &err));
    CHECK(!mert_labels_failed(w, "a", 0, &err) && !mert_labels_failed(w, "b", 1, &err));
    CHECK(!put_row(w, 2, 1, some, 1) && !mert_labels_failed(w, "d", 3, &err) && !mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("d.km"), "\n\n0\n\n"));
}

TEST(a_row_that_fails_half_way_is_taken_back)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("e.%d"), &err);
    mts_record r = codes_of(1, "b", 2);
    static uint16_t many[20000];
    CHECK(w && !put_row(w, 0, 2, some, 2));
    CHECK(!mert_labels_record(w, &r, &err) && !mert_labels_frames(w, many, 10000, &err) &&
          !mert_labels_failed(w, "b", 1, &err));
    CHECK(!put_row(w, 2, 2, some + 4, 1) && !mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("e.0"), "0 2\n\n1023\n") && holds(test_tmp("e.1"), "1 3\n\n7\n"));
}

TEST(gaps_and_repeats_are_refused)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("f.km"), &err);
    mts_begin b = begin_of(0, 9, 9), later = begin_of(8, 9, 9);
    CHECK(w && !mert_labels_stream(w, &b, &err) && !put_row(w, 0, 1, some, 1));
    CHECK(put_row(w, 2, 1, some, 1) && says("row 1 is missing before row 2 (item)"));
    CHECK(put_row(w, 5, 1, some, 1) && says("rows 1 to 4 are missing"));
    CHECK(put_row(w, 0, 1, some, 1) && says("row 0 (item) comes after row 0: twice, or out of order"));
    CHECK(put_row(w, 9, 1, some, 1) && says("beyond the manifest's 9 rows"));
    CHECK(mert_labels_failed(w, "x", 4, &err) && says("rows 1 to 3 are missing before row 4 (x)"));
    CHECK(mert_labels_stream(w, &later, &err) && says("rows 1 to 7 are missing before the stream that now begins"));
    CHECK(mert_labels_commit(w, &err) && says("rows 1 to 8 are missing before the end"));
    CHECK(!exists(test_tmp("f.km")) && !exists(test_tmp("f.km.meta")));
}

TEST(a_failure_without_a_row_stands_for_the_missing_one)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("g.km"), &err);
    mts_begin b = begin_of(0, 4, 4);
    CHECK(w && !mert_labels_stream(w, &b, &err) && !put_row(w, 0, 1, some, 1));
    CHECK(!mert_labels_failed(w, "", -1, &err) && !put_row(w, 2, 1, some, 2));
    CHECK(!mert_labels_failed(w, "", -1, &err) && !mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("g.km"), "0\n\n0 1\n\n"));
    w = mert_labels_create(test_tmp("h.km"), &err);
    CHECK(w && !mert_labels_stream(w, &b, &err) && !put_row(w, 0, 1, some, 1) && !mert_labels_failed(w, "", -1, &err));
    CHECK(put_row(w, 3, 1, some, 1) && says("rows 1 to 2 are missing"));
    mert_labels_abandon(w);
}

TEST(streams_in_order_are_one_run)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("i.km"), &err);
    mts_begin a = begin_of(0, 1, 2), b = begin_of(1, 2, 2), other = begin_of(1, 2, 2);
    other.manifest = 5;
    CHECK(w && !mert_labels_stream(w, &a, &err) && !put_row(w, 0, 1, some, 1));
    CHECK(mert_labels_stream(w, &other, &err) &&
          says("streams of two manifests: 000000000000feed and 0000000000000005"));
    CHECK(!mert_labels_stream(w, &b, &err) && !put_row(w, 1, 1, some + 1, 1) && !mert_labels_commit(w, &err));
    CHECK(holds(test_tmp("i.km"), "0\n1\n"));
}

TEST(records_that_differ_are_refused)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("j.%d"), &err);
    mts_record r = codes_of(1, "b", 2);
    const uint16_t beyond[] = {3, 1024};
    CHECK(w && !put_row(w, 0, 2, some, 2));
    r.classes[1] = 500;
    CHECK(mert_labels_record(w, &r, &err) && says("b: 500 classes in codebook 1, but item has 1024"));
    r = codes_of(1, "b", 3);
    CHECK(mert_labels_record(w, &r, &err) && says("3 codebooks, but item has 2"));
    r = codes_of(1, "b", 2);
    r.model = 1;
    CHECK(mert_labels_record(w, &r, &err) && says("made by codebook 0000000000000001, but item by 000000000000c0de"));
    r.model = 0xc0de, r.frame_rate_den = 480;
    CHECK(mert_labels_record(w, &r, &err) && says("frame rate 24000/480, but item has 24000/320"));
    r.frame_rate_den = 320, r.dtype = MTS_F32;
    CHECK(mert_labels_record(w, &r, &err) && says("type f32 cannot be labels"));
    r.dtype = MTS_U16, r.row = -1;
    CHECK(mert_labels_record(w, &r, &err) && says("has no row"));
    snprintf(r.kind, sizeof r.kind, "pcm");
    CHECK(mert_labels_record(w, &r, &err) && says("made of codes [T, K], this is pcm"));
    CHECK(put_row(w, 1, 2, beyond, 1) && says("code 1024 of codebook 1 is outside 0 to 1023"));
    CHECK(mert_labels_commit(w, &err) && says("item has not ended"));
    w = mert_labels_create(test_tmp("k.km"), &err);
    CHECK(w && !mert_labels_failed(w, "a", 0, &err) && mert_labels_commit(w, &err) && says("all items failed"));
}

TEST(reads_other_integer_types)
{
    mert_labels_writer *w = mert_labels_create(test_tmp("l.km"), &err);
    mts_record r = codes_of(0, "a", 1);
    const int32_t wide[] = {70000, 0};
    r.dtype = MTS_I32, r.classes[0] = 70001;
    CHECK(w && !mert_labels_record(w, &r, &err) && !mert_labels_frames(w, wide, 2, &err) && !mert_labels_end(w, &err));
    CHECK(!mert_labels_commit(w, &err) && holds(test_tmp("l.km"), "70000 0\n"));
    w = mert_labels_create(test_tmp("l.km"), &err);
    r.row = 0, r.classes[0] = 70000;
    CHECK(w && !mert_labels_record(w, &r, &err) && mert_labels_frames(w, wide, 2, &err) && says("code 70000"));
    mert_labels_abandon(w);
    CHECK(holds(test_tmp("l.km"), "70000 0\n"));
}

TEST(reads_on_from_where_it_stopped)
{
    enum { N = 5000 };
    static char text[N * 8];
    int32_t v[700];
    mert_labels_cursor c = {.row = 1};
    mert_labels l;
    size_t at = (size_t)sprintf(text, "9 9\n");
    for (int i = 0; i < N; i++)
        at += (size_t)sprintf(text + at, i % 3 ? " %d" : "\t %d", i);
    put_file(test_tmp("on.km"), text);
    CHECK(!mert_labels_open(&l, test_tmp("on.km"), &err));
    for (int i = 0, n; i < N; i += n) {
        n = N - i < 700 ? N - i : i % 200 + 1;
        CHECK(!mert_labels_read_on(&l, &c, n, i % 5 ? v : NULL, &err) && c.index == i + n);
        for (int k = 0; i % 5 && k < n; k++)
            CHECK(v[k] == i + k);
    }
    CHECK(mert_labels_read_on(&l, &c, 1, v, &err) && says("on.km:2: has 5000 labels, 5000 to 5000 were wanted"));
    CHECK(mert_labels_read(&l, 1, 6000, 1, v, &err) && says("on.km:2: has 5000 labels, 6000 to 6000 were wanted"));
    c = (mert_labels_cursor){.row = 2};
    CHECK(mert_labels_read_on(&l, &c, 1, v, &err) && says("there is no row 2"));
    mert_labels_close(&l);
}

TEST(reads_files_of_others)
{
    mert_labels l;
    int32_t v[3];
    const char *path = test_tmp("others.km");
    put_file(path, "5  6\t7 \r\n\r\n1 x3 2147483648\n3 4");
    CHECK(!mert_labels_open(&l, path, &err) && !l.verified && l.rows == 4 && l.meta.classes == 0 && l.meta.rows == 4);
    CHECK(mert_labels_count(&l, 0) == 3 && mert_labels_count(&l, 1) == 0 && mert_labels_count(&l, 3) == 2);
    CHECK(!mert_labels_read(&l, 0, 0, 3, v, &err) && v[0] == 5 && v[1] == 6 && v[2] == 7);
    CHECK(!mert_labels_read(&l, 3, 1, 1, v, &err) && v[0] == 4);
    CHECK(mert_labels_read(&l, 2, 0, 2, v, &err) && says("others.km:3:3: 'x3' is no label"));
    CHECK(mert_labels_read(&l, 2, 2, 1, v, &err) && says("others.km:3:6: '2147483648' is no label"));
    mert_labels_close(&l);
    put_file(path, "");
    CHECK(!mert_labels_open(&l, path, &err) && l.rows == 0);
    mert_labels_close(&l);
    CHECK(mert_labels_open(&l, test_tmp("absent"), &err) && says("absent: No such file"));
}

static int open_with_meta(const char *text, const char *meta)
{
    mert_labels l;
    char beside[1200];
    const char *path = test_tmp("m.km");
    int bad;
    put_file(path, text);
    snprintf(beside, sizeof beside, "%s.meta", path);
    put_file(beside, meta);
    bad = mert_labels_open(&l, path, &err);
    if (!bad)
        mert_labels_close(&l);
    return bad;
}

TEST(a_meta_that_does_not_fit_is_refused)
{
    CHECK(!open_with_meta("1 2\n3\n", "classes=4\nrows=2\nnew_key=whatever\n"));
    CHECK(!open_with_meta("1 2\r\n3\r\n", "classes=4\r\nframe_rate=75/1\r\nrows=2\r\n"));
    CHECK(open_with_meta("1 2\n3\n", "classes=3\nrows=2\n") && says("m.km:2:1: '3' is no label (0 to 2)"));
    CHECK(open_with_meta("1 2\n3\n", "classes=4\nrows=3\n") && says("has 2 lines, but its .meta says 3 rows"));
    CHECK(open_with_meta("1 2\n\n", "classes=4\nrows=2\nfailed_rows=2\n") &&
          says("1 empty lines, but its .meta says that 2"));
    CHECK(open_with_meta("1\n", "rows=1\n") && says("says nothing about classes"));
    CHECK(open_with_meta("1\n", "classes=4\n") && says("says nothing about rows"));
    CHECK(open_with_meta("1\n", "classes=4\nrows=1\nclasses=5\n") && says("m.km.meta:3: classes for the second time"));
    CHECK(open_with_meta("1\n", "classes=0\nrows=1\n") && says("m.km.meta:1: '0' cannot be the value of classes"));
    CHECK(open_with_meta("1\n", "classes=4\nrows=1\nframe_rate=75\n") &&
          says("'75' cannot be the value of frame_rate"));
    CHECK(open_with_meta("1\n", "classes=4\nrows=1\nmanifest=xyz\n") && says("cannot be the value of manifest"));
    CHECK(open_with_meta("1\n", "hello\n") && says("m.km.meta:1: not key=value: 'hello'"));
}

/* Every bit flipped, every length cut. */
TEST(a_damaged_file_is_found)
{
    static const char good[] = "\n12 3 1\n7\n";
    const size_t size = sizeof good - 1;
    char text[sizeof good], meta[200];
    mert_labels l;
    int found = 0;
    snprintf(meta, sizeof meta, "classes=1024\nrows=3\nhash=%016llx\n", (unsigned long long)mts_xxh64(good, size, 0));
    CHECK(!open_with_meta(good, meta));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(text, good, sizeof text);
        text[bit / 8] ^= (char)(1 << bit % 8);
        found += open_with_meta(text, meta) != 0;
    }
    CHECK(found == (int)(8 * size));
    memcpy(text, good, sizeof text);
    text[1] = '9';
    CHECK(open_with_meta(text, meta) && says("m.km: damaged or changed since") && says("m.km.meta says"));
    for (size_t n = 0; n < size; n++) {
        memcpy(text, good, n);
        text[n] = 0;
        CHECK(open_with_meta(text, meta));
    }
    /* As 0.1 wrote them. */
    CHECK(open_with_meta("1 2\n3", "classes=4\nrows=2\n") && says("m.km:2: the last line has no end"));
    CHECK(!open_with_meta("1 2\n3\n", "classes=4\nrows=2\nhash=0000000000000000\n"));
    put_file(test_tmp("none.km"), "1 2\n3");
    CHECK(!mert_labels_open(&l, test_tmp("none.km"), &err) && l.cut && l.rows == 2);
    mert_labels_close(&l);
}

/* Refused, or equal to the undamaged one: the same values, with the labels' hash. */
static int meta_found(const char *meta, const mert_labels_meta *whole)
{
    mert_labels l;
    int same;
    put_file(test_tmp("d.km"), "1 3\n\n7 3\n");
    put_file(test_tmp("d.km.meta"), meta);
    if (mert_labels_open(&l, test_tmp("d.km"), &err))
        return strstr(err.text, "d.km") != NULL;
    same = !memcmp(&l.meta, whole, sizeof *whole);
    mert_labels_close(&l);
    return same;
}

/* Every bit of a .meta flipped, every ten bytes of it lost. */
TEST(a_damaged_meta_is_found)
{
    static const char lines[] = "classes=16\nframe_rate=24000/320\ncodebook=000000000000c0de\ncodebook_index=1\n"
                                "manifest=000000000000feed\nrows=3\nfailed_rows=1\n";
    char good[300], text[300];
    mert_labels l;
    mert_labels_meta whole;
    const size_t size = (size_t)snprintf(
        good, sizeof good, "meta=%016llx\n%shash=%016llx\n",
        (unsigned long long)mts_xxh64(lines, sizeof lines - 1, 0), lines,
        (unsigned long long)mts_xxh64("1 3\n\n7 3\n", 9, 0));
    CHECK(!open_with_meta("1 3\n\n7 3\n", good));
    CHECK(!mert_labels_open(&l, test_tmp("m.km"), &err));
    whole = l.meta;
    mert_labels_close(&l);
    size_t found = 0;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(text, good, size + 1);
        text[bit / 8] ^= (char)(1 << bit % 8);
        found += (size_t)meta_found(text, &whole);
    }
    CHECK(found == 8 * size);
    found = 0;
    for (size_t at = 0; at + 10 <= size; at++) {
        memcpy(text, good, at);
        strcpy(text + at, good + at + 10);
        found += (size_t)meta_found(text, &whole);
    }
    CHECK(found == size - 9);
    CHECK(open_with_meta("1\n", "classes=4\nrows=1\nmeta=0123456789abcdef\n"));
    CHECK(says("m.km.meta: damaged: the hash of its lines is") && says("take the line meta= out"));
    /* mert(7) tells users to remove hash=; meta= must allow that. */
    *strstr(good, "hash=") = 0;
    CHECK(!open_with_meta("2 4\n\n7 3\n", good));
}

TEST(a_byte_order_mark_is_no_label)
{
    CHECK(!open_with_meta("\xef\xbb\xbf" "1 2 \r\n3\n", "\xef\xbb\xbf" "classes = 4 \r\nrows=2\r\n"));
    CHECK(open_with_meta("\xff\xfe" "1 2\n", "classes=4\nrows=1\n") && says("m.km: a text in UTF-16"));
    CHECK(open_with_meta("1\r2\n", "classes=4\nrows=1\n") && says("m.km:1:1:"));
    CHECK(open_with_meta("1\n", "classes=4\rrows=1\n") && says("m.km.meta:1: a carriage return"));
}

TEST(labels_and_manifest_are_matched)
{
    mert_manifest_row rows[3] = {{"a", 24000}, {"b", 960}, {"c", 1600}};
    mert_manifest m = {.rows = rows, .n = 3, .hash = 0xfeed};
    mert_labels l;
    char text[1000] = "";
    for (int i = 0; i < 74; i++)
        strcat(text, "1 ");
    strcat(text, "\n\n1 2 3 4 5\n");
    put_file(test_tmp("n.km"), text);
    put_file(test_tmp("n.km.meta"), "classes=9\nrows=3\nframe_rate=24000/320\nmanifest=000000000000feed\n");
    CHECK(!mert_labels_open(&l, test_tmp("n.km"), &err));
    CHECK(!mert_labels_match(&l, &m, 24000, 0, 1, 2, &err));
    CHECK(mert_labels_match(&l, &m, 24000, 0, 1, 0, &err) &&
          says("n.km:1: a has 74 labels, but its 24000 samples make 75"));
    CHECK(mert_labels_match(&l, &m, 24000, 50, 1, 2, &err) && says("make 50 at 50/1"));
    rows[2].samples = 3000;
    CHECK(mert_labels_match(&l, &m, 24000, 0, 1, 2, &err) &&
          says("n.km:3: c has 5 labels, but its 3000 samples make 9"));
    m.hash = 7;
    CHECK(mert_labels_match(&l, &m, 24000, 0, 1, 2, &err) &&
          says("belongs to the manifest 000000000000feed, this one is 0000000000000007"));
    m.n = 2;
    CHECK(mert_labels_match(&l, &m, 24000, 0, 1, 2, &err) && says("has 3 rows, but the manifest has 2"));
    mert_labels_close(&l);
}

TEST(a_full_disk_is_an_error)
{
    mert_labels_writer *w;
    mts_record r = codes_of(0, "a", 1);
    static uint16_t many[100000];
    struct rlimit was, tight;
    const char *name = test_tmp("full.km");
    CHECK(!getrlimit(RLIMIT_FSIZE, &was));
    tight = was;
    tight.rlim_cur = 20000; /* of 200,000 bytes */
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!setrlimit(RLIMIT_FSIZE, &tight));
    w = mert_labels_create(name, &err);
    int bad = !w || mert_labels_record(w, &r, &err) || mert_labels_frames(w, many, 100000, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK(w && bad && says("cannot write: File too large"));
    mert_labels_abandon(w);
    CHECK(!exists(name));
}

int main(void)
{
    RUN(writes_one_file_per_codebook);
    RUN(reads_what_it_wrote);
    RUN(one_codebook_needs_no_number);
    RUN(rows_that_fail_first_and_last);
    RUN(a_row_that_fails_half_way_is_taken_back);
    RUN(gaps_and_repeats_are_refused);
    RUN(a_failure_without_a_row_stands_for_the_missing_one);
    RUN(streams_in_order_are_one_run);
    RUN(records_that_differ_are_refused);
    RUN(reads_other_integer_types);
    RUN(reads_on_from_where_it_stopped);
    RUN(reads_files_of_others);
    RUN(a_meta_that_does_not_fit_is_refused);
    RUN(a_damaged_file_is_found);
    RUN(a_damaged_meta_is_found);
    RUN(a_byte_order_mark_is_no_label);
    RUN(labels_and_manifest_are_matched);
    RUN(a_full_disk_is_an_error);
    return test_done();
}
