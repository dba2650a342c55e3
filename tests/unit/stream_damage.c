/* Contract S6: one flipped byte costs at most one record and is never silent; S5: a stream cut short is always an
 * error. */
#include "tests/unit/stream.h"

#include <sys/resource.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const char *const keys[] = {"a.flac", "b b/c.mp3", "empty", "broken.ogg", "void.wav", "last%.wav"};

static void fill(unsigned char *data, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void write_noise(mts_writer *w, const char *key, int64_t row, int64_t frames, int64_t width)
{
    mts_record r = plain_record(key, row, frames, width);
    size_t size = (size_t)(frames * width) * 4;
    unsigned char *data = malloc(size + 1);
    fill(data, size, (unsigned)row + 7);
    mts_write_record(w, &r);
    mts_write_frames(w, data, frames);
    mts_write_record_end(w);
    free(data);
}

/* Records good, good of unknown length, empty, failed before it began, failed while open, good. */
static bytes make(int64_t first)
{
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    mts_record r = plain_record(keys[1], first + 1, -1, 3);
    float data[60];
    fill((unsigned char *)data, sizeof data, 1);
    begin.row_first = first;
    begin.row_end = first + 6;
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
    write_noise(w, keys[0], first, 10, 5);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 20);
    mts_write_record_end(w);
    write_noise(w, keys[2], first + 2, 0, 4);
    mts_write_failed(w, keys[3], first + 3, "mert-decode", "no such\nfile");
    r = plain_record(keys[4], first + 4, 9, 3);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 2);
    mts_write_failed(w, NULL, -1, "mert-decode", "100% broken");
    write_noise(w, keys[5], first + 5, 7, 2);
    mts_writer_close(w, 1, NULL, 0);
    fclose(f);
    return b;
}

/* Three records; the middle one has three chunks of one wide, well compressible step each. */
static bytes make_chunked(void)
{
    enum { WIDTH = 131073 };
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    float *data = calloc(3 * WIDTH, sizeof *data);
    mts_record r = plain_record("wide", 1, -1, WIDTH);
    for (int i = 0; i < 3; i++)
        data[i * WIDTH + 5] = (float)i + 1;
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
    write_noise(w, "one", 0, 1, 1);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 3);
    mts_write_record_end(w);
    write_noise(w, "two", 2, 1, 1);
    mts_writer_close(w, 1, NULL, 0);
    fclose(f);
    free(data);
    return b;
}

/* Every record of `now` is a complete record of `then`, in order; at most one is missing, and that one is reported. */
static int lost_at_most_one(const seen *now, const seen *then)
{
    int i = 0, lost = 0, named = 0;
    for (int j = 0; j < then->records; j++) {
        if (i < now->records && same_record(&now->record[i].record, &then->record[j].record)
            && now->record[i].hash == then->record[j].hash) {
            i++;
            continue;
        }
        lost++;
        for (int k = 0; k < now->failures; k++)
            named += now->failure[k].here && !strcmp(now->failure[k].key, then->record[j].record.key)
                     && now->failure[k].row == then->record[j].record.row
                     && strstr(now->failure[k].reason, "x.mts: record ");
    }
    return i == now->records && lost <= 1 && named == lost;
}

/* Items that failed upstream are still reported, as such or, at most once, as lost here. */
static int failures_known(const seen *now, const seen *then)
{
    for (int j = 0; j < then->failures; j++) {
        int known = 0;
        for (int k = 0; k < now->failures; k++)
            known += now->failure[k].row == then->failure[j].row && !strcmp(now->failure[k].key, then->failure[j].key);
        if (known != 1)
            return 0;
    }
    return 1;
}

static int try_flips(bytes b, unsigned char mask, int skip)
{
    static seen then, now;
    read_bytes(b.data, b.size, &then, skip);
    if (then.final != MTS_EOF || then.damages || then.order)
        return printf("# the sound stream does not read: %s\n", then.error), -1;
    for (size_t i = 0; i < b.size; i++) {
        b.data[i] = (char)(b.data[i] ^ mask);
        read_bytes(b.data, b.size, &now, skip);
        b.data[i] = (char)(b.data[i] ^ mask);
        int loud = now.final == MTS_ERROR || now.damages || now.failures > then.failures;
        if (!loud || now.order || !lost_at_most_one(&now, &then) || !failures_known(&now, &then))
            return printf("# byte %zu of %zu: final %d, %d records, %d failed, %d damages, order %d: %s\n", i, b.size,
                          now.final, now.records, now.failures, now.damages, now.order, now.error),
                   -1;
    }
    return 0;
}

TEST(a_flipped_byte_costs_at_most_one_record)
{
    static const unsigned char masks[] = {0x01, 0x02, 0x20, 0x80, 0xff};
    bytes b = make(0);
    for (size_t i = 0; i < sizeof masks; i++)
        CHECK(!try_flips(b, masks[i], 0));
    CHECK(!try_flips(b, 0x04, 1));
    free(b.data);
}

TEST(a_flipped_byte_among_many_chunks)
{
    bytes b = make_chunked();
    CHECK(b.size < 4000);
    CHECK(!try_flips(b, 0x10, 0));
    CHECK(!try_flips(b, 0x40, 1));
    free(b.data);
}

/* A tensor may look like a stream: its bytes, which are stored because they do not compress, contain whole frames. */
TEST(a_flipped_byte_before_a_stream_within_a_tensor)
{
    static seen s;
    bytes inner = make(0), b;
    size_t size = 40000 + inner.size - inner.size % 4;
    unsigned char *data = malloc(size + 4);
    fill(data, size, 5);
    memcpy(data + 20000, inner.data, inner.size);
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    mts_record r = plain_record("outer", 0, (int64_t)size / 4, 1);
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, -7);
    mts_write_record(w, &r);
    mts_write_frames(w, data, (int64_t)size / 4);
    mts_write_record_end(w);
    write_noise(w, "next", 1, 3, 1);
    mts_writer_close(w, 1, NULL, 0);
    fclose(f);
    char *at = NULL;
    for (size_t i = 0; i + 16 < b.size && !at; i++)
        if (!memcmp(b.data + i, data + 10000, 16))
            at = b.data + i;
    CHECK(at); /* stored */
    *at ^= 1;
    read_bytes(b.data, b.size, &s, 0);
    CHECK(s.final == MTS_EOF && !s.damages && s.records == 1 && s.failures == 1 && s.begins == 1);
    CHECK(!strcmp(s.failure[0].key, "outer") && !strcmp(s.record[0].record.key, "next"));
    free(data);
    free(inner.data);
    free(b.data);
}

TEST(a_flipped_byte_in_a_concatenation)
{
    bytes a = make(0), b = make(6), both;
    both.size = a.size + b.size;
    both.data = malloc(both.size);
    memcpy(both.data, a.data, a.size);
    memcpy(both.data + a.size, b.data, b.size);
    CHECK(!try_flips(both, 0x08, 0));
    free(a.data);
    free(b.data);
    free(both.data);
}

TEST(a_cut_is_always_an_error)
{
    static seen s;
    bytes b = make(0);
    for (size_t n = 0; n < b.size; n++) {
        char *exact = malloc(n + 1); /* so that a sanitizer detects reads after the end */
        memcpy(exact, b.data, n);
        read_bytes(exact, n, &s, 0);
        free(exact);
        CHECK(s.final == MTS_ERROR && !s.order && s.ends == 0);
        CHECK(s.failures <= 2 && !s.damages);
        CHECK(n < 300 || strstr(s.error, "stops without an end record at byte "));
        CHECK(n < 300 || strtoll(strstr(s.error, "at byte ") + 8, NULL, 10) == (long long)n);
    }
    free(b.data);
}

TEST(a_missing_piece_is_named)
{
    static seen then, now;
    bytes b = make(0);
    read_bytes(b.data, b.size, &then, 0);
    for (size_t at = 0; at < b.size; at += 7)
        for (size_t n = 1; n < 900 && at + n < b.size; n += 97) {
            char *cut = malloc(b.size - n);
            memcpy(cut, b.data, at);
            memcpy(cut + at, b.data + at + n, b.size - at - n);
            read_bytes(cut, b.size - n, &now, 0);
            free(cut);
            CHECK(!now.order);
            CHECK(now.final == MTS_ERROR || now.damages || now.failures > then.failures
                  || now.records == then.records); /* exactly one copy of a failed frame may be gone */
            if (now.final == MTS_EOF) /* all six items are reported */
                CHECK(now.records + now.failures == 6);
        }
    free(b.data);
}

TEST(a_lost_record_between_known_rows_has_its_row)
{
    static seen s;
    bytes b = make(10);
    char *second = NULL, *third = NULL;
    for (size_t i = 8; i + 40 < b.size; i++)
        if (!memcmp(b.data + i, "MTS1 record", 11)) {
            if (strstr(b.data + i, "record=1\n") && !second)
                second = memcmp(strstr(b.data + i, "record="), "record=1\n", 9) ? NULL : b.data + i - 8;
            else if (second && !third)
                third = b.data + i - 8;
        }
    CHECK(second && third);
    memmove(second, third, b.size - (size_t)(third - b.data));
    read_bytes(b.data, b.size - (size_t)(third - second), &s, 0);
    CHECK(s.final == MTS_EOF && s.failures == 3);
    CHECK(s.failure[0].here && s.failure[0].row == 11 && !s.failure[0].key[0]);
    CHECK(strstr(s.failure[0].reason, "x.mts: record 1, byte "));
    free(b.data);
}

TEST(garbage_between_frames_is_reported_and_costs_nothing)
{
    static seen then, now;
    bytes b = make(0);
    char *all = malloc(b.size + 100);
    read_bytes(b.data, b.size, &then, 0);
    for (size_t at = 8; at + 8 < b.size; at++) {
        if (memcmp(b.data + at, "T*M\x18", 4))
            continue;
        memcpy(all, b.data, at);
        fill((unsigned char *)all + at, 100, (unsigned)at);
        memcpy(all + at + 100, b.data + at, b.size - at);
        read_bytes(all, b.size + 100, &now, 0);
        CHECK(now.final == MTS_EOF && now.damages == 1 && now.records == then.records && now.failures == then.failures);
    }
    free(all);
    free(b.data);
}

TEST(a_begin_inside_an_open_stream_ends_badly)
{
    static seen s;
    bytes a = make(0), b = make(6);
    size_t cut = a.size - 40;
    char *both = malloc(cut + b.size);
    memcpy(both, a.data, cut);
    memcpy(both + cut, b.data, b.size);
    read_bytes(both, cut + b.size, &s, 0);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "no end record"));
    CHECK(s.begins == 2 && s.ends == 1 && s.records == 8 && s.damages == 1);
    CHECK(strstr(s.damage[0].reason, "x.mts: byte ") && strstr(s.damage[0].reason, "another stream begins"));
    free(a.data);
    free(b.data);
    free(both);
}

TEST(what_follows_the_end_must_be_a_stream)
{
    static seen s;
    bytes b = make(0);
    char *more = malloc(b.size + 5);
    memcpy(more, b.data, b.size);
    memcpy(more + b.size, "more\n", 5);
    read_bytes(more, b.size + 5, &s, 0);
    CHECK(s.final == MTS_ERROR && s.ends == 1 && strstr(s.error, "what follows the end"));
    free(more);
    free(b.data);
}

TEST(what_is_no_stream_gets_one_clear_line)
{
    static seen s;
    static char zeros[3 << 20];
    read_bytes("", 0, &s, 0);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "x.mts: empty"));
    read_bytes("RIFF\1\2WAVEfmt ", 14, &s, 0);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "x.mts: not a tensor stream: it begins with \"RIFF\\x01"));
    read_bytes(zeros, sizeof zeros, &s, 0);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "not a tensor stream") && !s.damages);
    /* Input that begins with megabytes of other data is not a stream, even if a stream follows. */
    bytes b = make(0);
    memcpy(zeros + sizeof zeros - b.size, b.data, b.size);
    read_bytes(zeros, sizeof zeros, &s, 0);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "not a tensor stream") && !s.records);
    free(b.data);
}

TEST(random_garbage_is_survived)
{
    static seen s;
    bytes b = make(0);
    for (unsigned seed = 1; seed < 600; seed++) {
        size_t n = 1 + seed * 977 % b.size;
        char *junk = malloc(n);
        fill((unsigned char *)junk, n, seed);
        if (seed % 3) /* with parts of a real stream */
            for (unsigned k = 0; k < 4; k++) {
                size_t from = seed * 7919 * (k + 1) % b.size, to = seed * 104729 * (k + 3) % n;
                size_t len = seed * 31 * (k + 1) % 700;
                len = len > b.size - from ? b.size - from : len;
                len = len > n - to ? n - to : len;
                memcpy(junk + to, b.data + from, len);
            }
        read_bytes(junk, n, &s, 0);
        free(junk);
        CHECK(!s.order && (s.final == MTS_ERROR || s.damages || s.failures));
    }
    free(b.data);
}

/* A header with a correct checksum and absurd numbers. */
static size_t forge(char *to, const char *text)
{
    char all[4096];
    int n = snprintf(all, sizeof all, "%s", text);
    n += snprintf(all + n, sizeof all - (size_t)n, "xxh64=%016" PRIx64 "\n", mts_xxh64(text, (size_t)n, 0));
    unsigned char head[8] = {'T', '*', 'M', 0x18, (unsigned char)n, (unsigned char)(n >> 8), 0, 0};
    memcpy(to, head, 8);
    memcpy(to + 8, all, (size_t)n);
    return 8 + (size_t)n;
}

static void read_forged(const char *record, const char *chunk, seen *s)
{
    const char *begin = "MTS1 begin\nmanifest=0000000000000000\nfirst=-1\nend=-1\ntotal=-1\n";
    char file[16384], text[4096];
    uint64_t id = mts_xxh64(begin, strlen(begin), 0);
    size_t n = forge(file, begin);
    snprintf(text, sizeof text,
             "MTS1 record\nstream=%016" PRIx64 "\nrecord=0\nrow=-1\nkey=k\nkind=mel\n%ssample_rate=24000\n"
             "frame_rate=75/1\nmodel=0000000000000000\n",
             id, record);
    n += forge(file + n, text);
    snprintf(text, sizeof text,
             "MTS1 chunk\nstream=%016" PRIx64 "\nrecord=0\nrow=-1\nchunk=0\n%sdata=0000000000000000\n", id, chunk);
    n += forge(file + n, text);
    memset(file + n, 0, 1000);
    read_bytes(file, n + 1000, s, 0);
}

TEST(claims_decide_no_memory)
{
    static seen s;
    struct rlimit was, tight;
    CHECK(!getrlimit(RLIMIT_AS, &was));
    tight = was;
    if (!SANITIZED) { /* the sanitizers' shadow needs address space */
        tight.rlim_cur = 64 << 20;
        CHECK(!setrlimit(RLIMIT_AS, &tight));
    }
    read_forged("dtype=f32\nshape=-1,4194304\n", "frames=1\nraw=16777216\nsize=16777216\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "stops without an end record"));
    read_forged("dtype=f32\nshape=-1,4194305\n", "frames=1\nraw=16777216\nsize=16777216\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "larger than"));
    read_forged("dtype=f32\nshape=9223372036854775807,1\n", "frames=1\nraw=4\nsize=4\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "time steps"));
    read_forged("dtype=f32\nshape=5,1\n", "frames=999999999999\nraw=99999999999999\nsize=99999999999999\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "bad raw"));
    read_forged("dtype=f32\nshape=-1,65536,65536,65536\n", "frames=1\nraw=4\nsize=4\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "larger than"));
    read_forged("dtype=f64\nshape=5,1\n", "frames=1\nraw=4\nsize=4\n", &s);
    CHECK(s.final == MTS_ERROR && strstr(s.error, "bad dtype"));
    CHECK(!setrlimit(RLIMIT_AS, &was));
}

int main(void)
{
    RUN(a_flipped_byte_costs_at_most_one_record);
    RUN(a_flipped_byte_among_many_chunks);
    RUN(a_flipped_byte_before_a_stream_within_a_tensor);
    RUN(a_flipped_byte_in_a_concatenation);
    RUN(a_cut_is_always_an_error);
    RUN(a_missing_piece_is_named);
    RUN(a_lost_record_between_known_rows_has_its_row);
    RUN(garbage_between_frames_is_reported_and_costs_nothing);
    RUN(a_begin_inside_an_open_stream_ends_badly);
    RUN(what_follows_the_end_must_be_a_stream);
    RUN(what_is_no_stream_gets_one_clear_line);
    RUN(random_garbage_is_survived);
    RUN(claims_decide_no_memory);
    return test_done();
}
