#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "tests/test.h"

#include <inttypes.h>

static const char *file_with(const char *text, size_t size)
{
    const char *path = test_tmp("m.tsv");
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, size, f) != size || fclose(f))
        abort();
    return path;
}

static int refused(const char *text, size_t size, const char *expected)
{
    mert_manifest m;
    mert_error e = {{0}};
    int bad = mert_manifest_read(&m, file_with(text, size), &e);
    if (!bad)
        mert_manifest_free(&m);
    if (!bad || !strstr(e.text, expected)) {
        printf("# '%s' lacks '%s'\n", e.text, expected);
        return 0;
    }
    return 1;
}
#define REFUSED(text, expected) CHECK(refused(text, sizeof text - 1, expected))

TEST(reads_root_rows_and_hash)
{
    static const char text[] = "/data/music\na.flac\t120000\nsub dir/\xc3\xa4 b.mp3\t0\n";
    mert_manifest m;
    mert_error e;
    CHECK(!mert_manifest_read(&m, file_with(text, sizeof text - 1), &e));
    CHECK(!strcmp(m.root, "/data/music") && m.n == 2);
    CHECK(!strcmp(m.rows[0].path, "a.flac") && m.rows[0].samples == 120000);
    CHECK(!strcmp(m.rows[1].path, "sub dir/\xc3\xa4 b.mp3") && m.rows[1].samples == 0);
    CHECK(m.hash == mts_xxh64(text, sizeof text - 1, 0));
    mert_manifest_free(&m);
}

TEST(reads_crlf_and_a_last_line_without_end)
{
    static const char text[] = "/data\r\na.wav\t5\r\nb..wav\t7";
    mert_manifest m;
    CHECK(!mert_manifest_read(&m, file_with(text, sizeof text - 1), NULL));
    CHECK(!strcmp(m.root, "/data") && m.n == 2 && m.rows[0].samples == 5 && m.rows[1].samples == 7);
    mert_manifest_free(&m);
}

TEST(a_byte_order_mark_is_no_part_of_the_root)
{
    static const char text[] = "\xef\xbb\xbf/data\r\na.wav\t 5 \r\n";
    mert_manifest m;
    CHECK(!mert_manifest_read(&m, file_with(text, sizeof text - 1), NULL));
    CHECK(!strcmp(m.root, "/data") && m.n == 1 && m.rows[0].samples == 5);
    mert_manifest_free(&m);
}

TEST(blanks_belong_to_paths)
{
    static const char text[] = " data \n a b .wav \t5\n";
    mert_manifest m, back;
    char *item;
    CHECK(!mert_manifest_read(&m, file_with(text, sizeof text - 1), NULL));
    CHECK(!strcmp(m.root, " data ") && !strcmp(m.rows[0].path, " a b .wav "));
    item = mert_manifest_item(&m, 0);
    CHECK(item && !strcmp(item, " data / a b .wav "));
    free(item);
    CHECK(!mert_manifest_write(&m, test_tmp("blanks.tsv"), NULL) && mert_manifest_is(&m, test_tmp("blanks.tsv")));
    CHECK(!mert_manifest_read(&back, test_tmp("blanks.tsv"), NULL) && back.hash == m.hash);
    mert_manifest_free(&back);
    mert_manifest_free(&m);
}

TEST(absolute_paths_stand_for_themselves)
{
    static const char text[] = "/\n/tmp/a.wav\t5\nb.wav\t6\n";
    mert_manifest m;
    char *a, *b;
    CHECK(!mert_manifest_read(&m, file_with(text, sizeof text - 1), NULL));
    a = mert_manifest_item(&m, 0);
    b = mert_manifest_item(&m, 1);
    CHECK(a && b && !strcmp(a, "/tmp/a.wav") && (!strcmp(b, "/b.wav") || !strcmp(b, "//b.wav")));
    free(a);
    free(b);
    mert_manifest_free(&m);
}

TEST(reads_a_manifest_without_rows)
{
    mert_manifest m;
    CHECK(!mert_manifest_read(&m, file_with("/data\n", 6), NULL));
    CHECK(m.n == 0);
    mert_manifest_free(&m);
}

TEST(refuses_what_is_no_manifest)
{
    mert_manifest m;
    mert_error e;
    REFUSED("", "begins with its root");
    REFUSED("\na\t5\n", ":1: the first line must be the root folder");
    REFUSED("a\t5\nb\t6\n", ":1: the first line must be the root folder");
    REFUSED("/data\na 5\n", ":2: no tab");
    REFUSED("/data\na\t5\n\n", ":3: no tab");
    REFUSED("/data\na\t5\nb\t5x\n", ":3: '5x' is no number of samples");
    REFUSED("/data\na\t-5\n", ":2: '-5' is no number");
    REFUSED("/data\na\t\n", ":2: '' is no number");
    REFUSED("/data\na\tb\t5\n", ":2: 'b\t5' is no number");
    REFUSED("/data\na\t9999999999999999999999\n", "is no number");
    REFUSED("/data\n\t5\n", ":2: the path '' is empty");
    REFUSED("/data\na\0b\t5\n", ":2: a NUL byte");
    REFUSED("/data\na\t5\nb\t6\na\t5\n", ":4: 'a' stands in line 2 already");
    REFUSED("/data\n/music/../etc/passwd\t5\n", ":2: the path '/music/../etc/passwd' leaves the root");
    REFUSED("/data\na\t5.0\n", ":2: '5.0' is no number");
    REFUSED("/da\rta\na\t5\n", ":1: a carriage return inside the line");
    REFUSED("/data\r\r\na\t5\n", ":1: a carriage return inside the line");
    REFUSED("\xff\xfe/\0d\0\n\0", "UTF-16");
    REFUSED("\xef\xbb\xbf", "begins with its root");
    REFUSED("/data\nx/../../y\t5\n", "leaves the root");
    REFUSED("/data\n..\t5\n", "leaves the root");
    CHECK(mert_manifest_read(&m, test_tmp("absent.tsv"), &e) && strstr(e.text, "absent.tsv: No such file"));
}

TEST(refuses_a_path_too_long_for_a_key)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "/data\n%01023d\t5\n", 0);
    mert_manifest m;
    CHECK(!mert_manifest_read(&m, file_with(text, (size_t)n), NULL));
    mert_manifest_free(&m);
    n = snprintf(text, sizeof text, "/data\n%01024d\t5\n", 0);
    CHECK(refused(text, (size_t)n, "longer than the 1023 bytes"));
}

TEST(finds_duplicates_among_many)
{
    size_t room = 2000 * 24, n = 0;
    char *text = malloc(room);
    CHECK(text);
    n += (size_t)snprintf(text, room, "/data\n");
    for (int i = 0; i < 1999; i++)
        n += (size_t)snprintf(text + n, room - n, "f%d\t1\n", i);
    n += (size_t)snprintf(text + n, room - n, "f77\t1\n");
    CHECK(refused(text, n, ":2001: 'f77' stands in line 79 already"));
    free(text);
}

TEST(writes_what_it_reads)
{
    mert_manifest_row rows[2] = {{"b/a.flac", 7}, {"c.mp3", 123456789012}};
    mert_manifest m = {.root = "/some where", .rows = rows, .n = 2}, back;
    const char *path = test_tmp("w.tsv");
    mert_error e;
    CHECK(!mert_manifest_write(&m, path, NULL) && !mert_manifest_read(&back, path, NULL));
    CHECK(back.n == 2 && !strcmp(back.root, m.root) && !strcmp(back.rows[1].path, "c.mp3") &&
          back.rows[1].samples == 123456789012);
    mert_manifest_free(&back);
    rows[1].path = "a\tb";
    CHECK(mert_manifest_write(&m, path, &e) && strstr(e.text, "has a tab"));
    rows[1].path = "a\nb";
    CHECK(mert_manifest_write(&m, path, &e) && strstr(e.text, "line end"));
    rows[1].path = "c.mp3";
    m.root = "\xef\xbb\xbf/odd";
    CHECK(mert_manifest_write(&m, path, &e) && strstr(e.text, "begins like a byte order mark"));
    CHECK(!mert_manifest_read(&back, path, NULL) && back.n == 2);
    mert_manifest_free(&back);
}

/* Expected values are Python's: round(n/k*r) for r in 0..k. */
TEST(cuts_shards_as_python_rounds)
{
    static const struct { int64_t rows; int shards; int64_t edges[8]; } cases[] = {
        {10, 4, {0, 2, 5, 8, 10}}, {7, 2, {0, 4, 7}}, {5, 2, {0, 2, 5}}, {1, 4, {0, 0, 0, 1, 1}},
        {0, 3, {0, 0, 0, 0}}, {100, 7, {0, 14, 29, 43, 57, 71, 86, 100}}, {3, 6, {0, 0, 1, 2, 2, 2, 3}}};
    int64_t first, end;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int r = 0; r < cases[c].shards; r++) {
            mert_shard_rows(cases[c].rows, r, cases[c].shards, &first, &end);
            if (first != cases[c].edges[r] || end != cases[c].edges[r + 1])
                printf("# %" PRId64 " rows, shard %d/%d: %" PRId64 "..%" PRId64 "\n", cases[c].rows, r, cases[c].shards,
                       first, end);
            CHECK(first == cases[c].edges[r] && end == cases[c].edges[r + 1]);
        }
}

TEST(shards_cover_every_row_once)
{
    int64_t first, end, last;
    for (int64_t rows = 0; rows < 200; rows++)
        for (int n = 1; n < 40; n++) {
            last = 0;
            for (int r = 0; r < n; r++) {
                mert_shard_rows(rows, r, n, &first, &end);
                CHECK(first == last && end >= first);
                last = end;
            }
            CHECK(last == rows);
        }
}

int main(void)
{
    RUN(reads_root_rows_and_hash);
    RUN(reads_crlf_and_a_last_line_without_end);
    RUN(a_byte_order_mark_is_no_part_of_the_root);
    RUN(blanks_belong_to_paths);
    RUN(absolute_paths_stand_for_themselves);
    RUN(reads_a_manifest_without_rows);
    RUN(refuses_what_is_no_manifest);
    RUN(refuses_a_path_too_long_for_a_key);
    RUN(finds_duplicates_among_many);
    RUN(writes_what_it_reads);
    RUN(cuts_shards_as_python_rounds);
    RUN(shards_cover_every_row_once);
    return test_done();
}
