/* Indexes beside label files and packed audio: what they say, when they are made again, and corpora that are opened by
 * them. */
#include "tests/unit/train_corpus.h"

#include "formats/labels/index.h"
#include "libcommon/train/data/keys.h"
#include "libcommon/train/data/records.h"
#include "tests/unit/threads.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 500, WIDE = 400 }; /* so many labels that their index is kept */

/* ---- a label file ---- */

/* Row 7 failed, row 9 has one label. */
static int64_t labels_of(int64_t row)
{
    return row == 7 ? 0 : row == 9 ? 1 : WIDE - row % 5;
}

static void write_text(const char *path, int64_t bad)
{
    FILE *f = fopen(path, "w");
    if (!f)
        abort();
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t i = 0; i < labels_of(row); i++)
            fprintf(f, "%s%d%s", i ? " " : "", (int)label_of(row, 0, i), row == bad && i == 3 ? "x" : "");
        fputc('\n', f);
    }
    if (fclose(f))
        abort();
}

static const char *index_of(const char *path)
{
    static char name[4096];
    snprintf(name, sizeof name, "%s.index", path);
    return name;
}

/* The file as it is: inode and time, which a new one does not have both. */
static struct stat state_of(const char *path)
{
    struct stat s = {0};
    if (stat(path, &s))
        s.st_size = -1;
    return s;
}

static int same_file(const char *path, const struct stat *was)
{
    struct stat is = state_of(path);
    return is.st_size >= 0 && is.st_ino == was->st_ino && is.st_mtim.tv_sec == was->st_mtim.tv_sec &&
           is.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

/* Facts, histogram and rows against the labels one by one; bad: a row that has one that is none; -1: none has. */
static int says_what_is_there(const mert_labels *l, int64_t bad)
{
    const mert_labels_facts *f = mert_labels_index_facts(l);
    int64_t counts[CLASSES] = {0}, total = 0, empty = 0;
    int32_t row_labels[WIDE], back[WIDE];
    mts_xxh64_state sum;
    mert_error unsaid;
    mts_xxh64_begin(&sum, 0);
    for (int64_t row = 0; row < ROWS; row++) {
        int64_t n = labels_of(row);
        if (l->known[row].count != n || mert_labels_count(l, row) != n)
            return 0;
        if (row == bad) {
            if (l->known[row].largest != MERT_LABELS_BAD || !mert_labels_read(l, row, 0, n, back, &unsaid))
                return 0;
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            counts[row_labels[i] = label_of(row, 0, i)]++;
        if (mert_labels_read(l, row, 0, n, back, &unsaid) || memcmp(back, row_labels, (size_t)n * sizeof *back))
            return 0;
        empty += !n;
        total += n;
        if (!n)
            continue;
        mts_xxh64_add(&sum, &n, sizeof n);
        mts_xxh64_add(&sum, row_labels, (size_t)n * sizeof *row_labels);
    }
    return f->rows == ROWS && f->total == total && f->empty == empty && f->bad == (bad >= 0) && f->bad_row == bad &&
           f->largest == CLASSES - 1 && f->classes == mts_xxh64_end(&sum, 0) &&
           !memcmp(mert_labels_index_counts(l), counts, sizeof counts);
}

static int opens(const char *path, int64_t bad)
{
    mert_labels l;
    int good;
    if (mert_labels_open_indexed(&l, path, MERT_INDEX_KEEP, &e))
        return 0;
    good = says_what_is_there(&l, bad);
    mert_labels_close(&l);
    return good;
}

TEST(an_index_says_what_is_in_the_labels)
{
    const char *path = test_tmp("train.km");
    struct stat first;
    write_text(path, -1);
    CHECK(opens(path, -1));
    first = state_of(index_of(path));
    CHECK(first.st_size > 0);
    CHECK(opens(path, -1) && same_file(index_of(path), &first)); /* from the index that is there */
}

TEST(a_row_that_makes_no_sense_is_known)
{
    const char *path = test_tmp("bad.km");
    write_text(path, 20);
    CHECK(opens(path, 20) && opens(path, 20));
}

TEST(arrays_have_the_same_index)
{
    const char *path = test_tmp("train.km.npy");
    int64_t shape[2] = {ROWS, WIDE};
    int32_t row_labels[WIDE];
    mert_npy_writer *w = mert_npy_create(path, MERT_NPY_I32, 2, shape, &e);
    CHECK(w);
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t i = 0; i < WIDE; i++)
            row_labels[i] = i < labels_of(row) ? label_of(row, 0, i) : -1;
        CHECK(!mert_npy_append(w, row_labels, WIDE, &e));
    }
    CHECK(!mert_npy_commit(w, &e));
    CHECK(opens(path, -1) && state_of(index_of(path)).st_size > 0 && opens(path, -1));
}

/* One digit changed in place, size and time of modification as they were. */
TEST(a_change_that_hides_is_found)
{
    const char *path = test_tmp("changed.km");
    struct stat was;
    struct timespec times[2];
    mert_labels l;
    int32_t label;
    int fd;
    write_text(path, -1);
    CHECK(opens(path, -1));
    was = state_of(path);
    times[0] = was.st_atim;
    times[1] = was.st_mtim;
    CHECK((fd = open(path, O_WRONLY)) >= 0 && pwrite(fd, "9", 1, 0) == 1 && !futimens(fd, times) && !close(fd));
    CHECK(state_of(path).st_size == was.st_size && state_of(path).st_mtim.tv_nsec == was.st_mtim.tv_nsec);
    CHECK(label_of(0, 0, 0) == 0 && !mert_labels_open_indexed(&l, path, MERT_INDEX_KEEP, &e));
    CHECK(!says_what_is_there(&l, -1) && !mert_labels_read(&l, 0, 0, 1, &label, &e) && label == 9);
    CHECK(mert_labels_index_counts(&l)[9] > 0);
    mert_labels_close(&l);
}

/* Any byte flipped, or cut anywhere: made again. */
TEST(a_damaged_index_is_made_again)
{
    const char *path = test_tmp("damaged.km");
    off_t size;
    write_text(path, -1);
    CHECK(opens(path, -1));
    size = state_of(index_of(path)).st_size;
    for (off_t at = 0; at < size; at = at < 200 ? at + 7 : at + size / 23) {
        unsigned char byte;
        int fd = open(index_of(path), O_RDWR);
        CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
        byte ^= 0x40;
        CHECK(pwrite(fd, &byte, 1, at) == 1 && !close(fd));
        CHECK(opens(path, -1));
    }
    for (off_t cut = 0; cut < size; cut += size / 9 + 1) {
        CHECK(!truncate(index_of(path), cut) && opens(path, -1));
        CHECK(state_of(index_of(path)).st_size == size);
    }
}

TEST(an_index_that_cannot_be_written_is_held)
{
    const char *path = test_tmp("blocked.km");
    write_text(path, -1);
    CHECK(!mkdir(index_of(path), 0777) && opens(path, -1) && opens(path, -1));
}

TEST(nothing_is_written_when_only_looking)
{
    const char *path = test_tmp("looked.km");
    mert_labels l;
    write_text(path, -1);
    CHECK(!mert_labels_open_indexed(&l, path, MERT_INDEX_FORGET, &e) && says_what_is_there(&l, -1));
    mert_labels_close(&l);
    CHECK(state_of(index_of(path)).st_size < 0);
}

/* ---- packed audio ---- */

TEST(an_index_says_what_a_stream_has)
{
    spec s = usual;
    mert_corpus c;
    mert_records r;
    mts_index x;
    struct stat first;
    FILE *f;
    s.name = "indexed";
    s.failed_audio = 30;
    CHECK(!make(&c, &s));
    mert_corpus_close(&c);
    first = state_of(index_of(pcm_path(&s)));
    CHECK(first.st_size > 0 && !mert_records_open(&r, pcm_path(&s), MERT_INDEX_KEEP, &e));
    CHECK(same_file(index_of(pcm_path(&s)), &first));
    CHECK((f = fopen(pcm_path(&s), "rb")) && !mts_index_make(&x, f, "x", e.text, sizeof e.text));
    CHECK(r.facts->records == (int64_t)x.n && r.facts->kinds == 1 && r.facts->failed == 1 && !r.facts->nameless);
    CHECK(r.failed[0] == mert_record_key("piece30.flac") && r.kinds[0].sample_rate == 24000);
    for (size_t i = 0; i < x.n; i++)
        CHECK(r.places[i].offset == x.entries[i].offset && r.places[i].payload == x.entries[i].payload &&
              r.places[i].steps == x.entries[i].record.shape[0] &&
              r.places[i].key == mert_record_key(x.entries[i].record.key) && r.places[i].kind == 0);
    mts_index_free(&x);
    fclose(f);
    mert_records_close(&r);
}

/* A file under a name that was indexed, of the same size and times by an index that lies: the key tells. */
TEST(a_record_that_is_another_is_refused)
{
    spec s = usual;
    mert_corpus c;
    float x[100];
    s.name = "moved";
    CHECK(!make(&c, &s) && !mert_corpus_audio(&c, 5, 0, 100, x, &e) && x[0] == 5 * ROW);
    c.items[5].offset = c.items[6].offset;
    CHECK(mert_corpus_audio(&c, 5, 0, 100, x, &e) && says("piece06.flac") && says("not piece05.flac"));
    CHECK(!mert_corpus_audio(&c, 6, 0, 100, x, &e) && x[0] == 6 * ROW);
    mert_corpus_close(&c);
}

/* Allows at most `more` further descriptors. Returns the limits from before. */
static struct rlimit allow_descriptors(int more)
{
    struct rlimit was, low;
    int fd = dup(0);
    if (fd < 0 || close(fd) || getrlimit(RLIMIT_NOFILE, &was))
        abort();
    low = was;
    low.rlim_cur = (rlim_t)(fd + more);
    if (setrlimit(RLIMIT_NOFILE, &low))
        abort();
    return was;
}

/* A stream for each row, more than may be open at a time, read by several threads. */
TEST(more_files_than_may_be_open)
{
    enum { THREADS = 3, SAMPLES = 50 };
    spec s = usual;
    mert_corpus c, one;
    mert_corpus_crop crops[ITEMS];
    struct rlimit was;
    static char names[ITEMS][4096];
    static float read[ITEMS][SAMPLES];
    const char *pcm[ITEMS], *labels;
    float expected[SAMPLES];
    s.name = "whole";
    CHECK(!make(&one, &s));
    for (int i = 0; i < ITEMS; i++) {
        char name[64];
        FILE *f;
        mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1};
        mts_record r = record_of(&s, i, "pcm");
        mts_writer *w;
        float *samples = malloc((size_t)samples_of(i) * sizeof *samples);
        snprintf(name, sizeof name, "part%02d.mts", i);
        snprintf(names[i], sizeof names[i], "%s", test_tmp(name));
        pcm[i] = names[i];
        for (int64_t t = 0; samples && t < samples_of(i); t++)
            samples[t] = (float)(i * ROW + t);
        CHECK(samples && (f = fopen(pcm[i], "wb")) && (w = mts_writer_open(f, pcm[i], &b, 1)));
        CHECK(!mts_write_record(w, &r) && !mts_write_frames(w, samples, samples_of(i)) && !mts_write_record_end(w));
        CHECK(!mts_writer_close(w, 1, NULL, 0) && !fclose(f));
        free(samples);
    }
    labels = labels_path(&s);
    use_threads(THREADS);
    was = allow_descriptors(ITEMS / 2);
    CHECK(!mert_corpus_open(&c, &config, manifest_path(&s), &labels, 1, pcm, ITEMS, &e) && c.n == one.n);
    CHECK(c.parts[0].sound == one.parts[0].sound);
    for (int turn = 0; turn < 3; turn++) {
        for (int64_t i = 0; i < c.n; i++)
            crops[i] = (mert_corpus_crop){.item = i, .first = 1000 + turn, .n = SAMPLES, .to = read[i]};
        CHECK(!mert_corpus_read(&c, crops, c.n, &e));
        for (int64_t i = 0; i < c.n; i++) {
            CHECK(!crops[i].bad && !mert_corpus_audio(&one, i, 1000 + turn, SAMPLES, expected, &e));
            CHECK(!memcmp(read[i], expected, sizeof expected));
        }
    }
    CHECK(!setrlimit(RLIMIT_NOFILE, &was));
    mert_corpus_close(&c);
    mert_corpus_close(&one);
    use_threads(1);
}

/* ---- bad rows ---- */

TEST(bad_rows_are_left_out_up_to_a_number)
{
    spec s = usual;
    mert_corpus c, all;
    mert_corpus_config with = config;
    uint64_t sum;
    int64_t total;
    s.name = "baddish";
    s.short_labels = 17;
    with.bad_max = 1;
    CHECK(!make(&all, &usual) && make(&c, &s) && says("line 18 (piece17.flac)"));
    CHECK(!open_files(&c, &s, &with) && c.n == ITEMS - 1 && c.nbad == 1 && c.failed == 1);
    CHECK(!strcmp(c.bad_key, "piece17.flac") && strstr(c.bad_why, "labels cover"));
    sum = c.parts[0].columns[1].sum;
    total = c.codebooks[1].total;
    CHECK(sum != all.parts[0].columns[1].sum);
    mert_corpus_close(&c);
    with.bad_max = -1; /* a share */
    with.bad_percent = 2.4;
    CHECK(open_files(&c, &s, &with) && says("line 18 (piece17.flac)"));
    with.bad_percent = 2.5;
    CHECK(!open_files(&c, &s, &with) && c.nbad == 1 && c.parts[0].columns[1].sum == sum);
    mert_corpus_close(&c);
    s.failed_labels = 17; /* left out the other way: the same items, so the same labels and sum */
    s.short_labels = -1;
    CHECK(!make(&c, &s) && c.n == ITEMS - 1 && !c.nbad);
    CHECK(c.parts[0].columns[1].sum == sum && c.codebooks[1].total == total);
    mert_corpus_close(&c);
    mert_corpus_close(&all);
}

/* Rows that have labels but no audio: what is left of the labels is added up once, and again when it is other rows. */
TEST(labels_of_some_rows_are_added_up_once)
{
    spec s = usual;
    mert_corpus c, other;
    struct stat first;
    char path[4096];
    uint64_t sum;
    s.name = "some";
    s.failed_audio = 30;
    CHECK(!make(&c, &s) && c.n == ITEMS - 1);
    snprintf(path, sizeof path, "%s.items-0.index", c.parts[0].labels[1].path);
    sum = c.parts[0].columns[1].sum;
    first = state_of(path);
    CHECK(first.st_size > 0 && !open_files(&other, &s, &config) && same_file(path, &first));
    CHECK(other.parts[0].columns[1].sum == sum && other.codebooks[1].total == c.codebooks[1].total);
    CHECK(!memcmp(other.codebooks[1].counts, c.codebooks[1].counts, CLASSES * sizeof *c.codebooks[1].counts));
    mert_corpus_close(&other);
    s.failed_labels = 30; /* the same items, by the index of the labels alone */
    CHECK(!make(&other, &s) && other.parts[0].columns[1].sum == sum);
    CHECK(other.codebooks[1].total == c.codebooks[1].total);
    CHECK(!memcmp(other.codebooks[1].counts, c.codebooks[1].counts, CLASSES * sizeof *c.codebooks[1].counts));
    mert_corpus_close(&other);
    s.failed_labels = -1;
    CHECK(!make(&other, &s) && other.parts[0].columns[1].sum == sum);
    mert_corpus_close(&other);
    s.failed_audio = 31;
    write_pcm(&s, c.parts[0].manifest.hash);
    CHECK(!open_files(&other, &s, &config) && other.n == ITEMS - 1 && other.parts[0].columns[1].sum != sum);
    CHECK(other.codebooks[1].total != c.codebooks[1].total);
    mert_corpus_close(&other);
    mert_corpus_close(&c);
}

/* ---- keys ---- */

TEST(keys_are_found)
{
    enum { N = 10000 };
    mert_keys k;
    CHECK(!mert_keys_begin(&k, N, &e));
    for (int64_t i = 0; i < N; i++)
        CHECK(mert_keys_add(&k, (uint64_t)(i % 9000) << 20) == (i < 9000 ? -1 : i - 9000));
    for (int64_t i = 0; i < 9000; i++)
        CHECK(mert_keys_find(&k, (uint64_t)i << 20) == i);
    CHECK(mert_keys_find(&k, 1) == -1);
    mert_keys_free(&k);
}

int main(void)
{
    RUN(an_index_says_what_is_in_the_labels);
    RUN(a_row_that_makes_no_sense_is_known);
    RUN(arrays_have_the_same_index);
    RUN(a_change_that_hides_is_found);
    RUN(a_damaged_index_is_made_again);
    RUN(an_index_that_cannot_be_written_is_held);
    RUN(nothing_is_written_when_only_looking);
    RUN(an_index_says_what_a_stream_has);
    RUN(a_record_that_is_another_is_refused);
    RUN(more_files_than_may_be_open);
    RUN(bad_rows_are_left_out_up_to_a_number);
    RUN(labels_of_some_rows_are_added_up_once);
    RUN(keys_are_found);
    return test_done();
}
