/* The stream library on undamaged streams: skipping and seeking, the index of a file, and memory that a caller takes. */
#include "tests/unit/stream.h"

#include <unistd.h>

TEST(skipping_passes_over_the_data)
{
    static seen s;
    enum { FRAMES = 700000 };
    mts_record r = plain_record("k", 0, -1, 1);
    unsigned char *data = make_data(FRAMES * 4);
    bytes b = write_one(&r, data, FRAMES, 0, MTS_LEVEL_DEFAULT);
    read_bytes(b.data, b.size, &s, 1);
    CHECK(s.final == MTS_EOF && !s.order && s.records == 1 && s.record[0].record.shape[0] == FRAMES && !s.failures);
    free(data);
    free(b.data);
}

/* By either way of passing over chunks. */
static void arrive(int (*go)(mts_reader *r, int64_t frame))
{
    enum { FRAMES = 700000 };
    static const int64_t to[] = {0, 1, 262143, 262144, 262145, 524288, 699999, 700000, 900000};
    mts_record r = plain_record("k", 0, -1, 1);
    unsigned char *data = make_data(FRAMES * 4);
    bytes b = write_one(&r, data, FRAMES, 0, MTS_LEVEL_DEFAULT);
    for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
        FILE *f = fmemopen(b.data, b.size, "rb");
        mts_reader *reader = mts_reader_open(f, "x.mts");
        CHECK(mts_next(reader) == MTS_BEGIN && mts_next(reader) == MTS_RECORD && !go(reader, to[i]));
        int event = mts_next(reader);
        if (to[i] < FRAMES) {
            int64_t first = mts_reader_first(reader);
            CHECK(event == MTS_CHUNK && first <= to[i] && to[i] < first + mts_reader_frames(reader));
            CHECK(!memcmp(mts_reader_data(reader), data + 4 * first, 4 * (size_t)mts_reader_frames(reader)));
            while ((event = mts_next(reader)) == MTS_CHUNK)
                CHECK(mts_reader_first(reader) > to[i]);
        }
        CHECK(event == MTS_RECORD_END && mts_reader_record(reader)->shape[0] == FRAMES);
        CHECK(mts_next(reader) == MTS_END && mts_next(reader) == MTS_EOF);
        mts_reader_close(reader);
        fclose(f);
    }
    free(data);
    free(b.data);
}

TEST(skipping_to_a_frame_arrives_there)
{
    arrive(mts_skip_to);
}

/* Over damage, too, which skipping finds. */
TEST(jumping_to_a_frame_arrives_there)
{
    enum { FRAMES = 700000 };
    mts_record r = plain_record("k", 0, -1, 1);
    unsigned char *data = make_data(FRAMES * 4);
    bytes b = write_one(&r, data, FRAMES, 0, MTS_LEVEL_DEFAULT);
    arrive(mts_jump_to);
    CHECK(!test_bad);
    ((unsigned char *)b.data)[b.size / 4] ^= 1; /* in the data of the first chunk */
    for (int jump = 0; jump < 2; jump++) {
        FILE *f = fmemopen(b.data, b.size, "rb");
        mts_reader *reader = mts_reader_open(f, "x.mts");
        CHECK(mts_next(reader) == MTS_BEGIN && mts_next(reader) == MTS_RECORD);
        CHECK(!(jump ? mts_jump_to : mts_skip_to)(reader, 600000));
        CHECK(mts_next(reader) == (jump ? MTS_CHUNK : MTS_FAILED));
        if (jump)
            CHECK(!memcmp(mts_reader_data(reader), data + 4 * mts_reader_first(reader), 4000));
        mts_reader_close(reader);
        fclose(f);
    }
    free(data);
    free(b.data);
}

TEST(taken_memory_is_the_callers)
{
    enum { FRAMES = 700000 };
    mts_record r = plain_record("k", 0, -1, 1);
    unsigned char *data = make_data(FRAMES * 4);
    bytes b = write_one(&r, data, FRAMES, 0, MTS_LEVEL_DEFAULT);
    FILE *f = fmemopen(b.data, b.size, "rb");
    mts_reader *reader = mts_reader_open(f, "x.mts");
    void *taken[3] = {NULL};
    size_t size[3] = {0}, room[3] = {0}, at = 0;
    int n = 0;
    CHECK(mts_next(reader) == MTS_BEGIN && mts_next(reader) == MTS_RECORD);
    for (; n < 3 && mts_next(reader) == MTS_CHUNK; n++) {
        size[n] = 4 * (size_t)mts_reader_frames(reader);
        room[n] = n == 1 ? 5 : 0; /* too small, so it is not used */
        taken[n] = mts_reader_take(reader, n == 1 ? malloc(5) : NULL, &room[n]);
        CHECK(taken[n] && room[n] >= size[n]);
    }
    CHECK(n == 3 && mts_next(reader) == MTS_RECORD_END && mts_next(reader) == MTS_END && mts_next(reader) == MTS_EOF);
    mts_reader_close(reader);
    for (int i = 0; i < 3; at += size[i++]) {
        CHECK(taken[i] && !memcmp(taken[i], data + at, size[i]));
        free(taken[i]);
    }
    CHECK(at == FRAMES * 4);
    fclose(f);
    free(data);
    free(b.data);
}

/* Two joined streams of five records each, row i of i * 70000 frames; one of them failed. */
static void write_rows(FILE *f)
{
    mts_begin begin = plain_begin();
    unsigned char *data = make_data(5 * 70000 * 8);
    char key[16];
    for (int stream = 0; stream < 2; stream++) {
        mts_writer *w = mts_writer_open(f, "rows", &begin, MTS_LEVEL_DEFAULT);
        for (int i = 0; i < 5; i++) {
            snprintf(key, sizeof key, "%d/%d", stream, i);
            mts_record r = plain_record(key, i, i % 2 ? -1 : i * 70000, 2);
            if (i == 2) {
                mts_write_failed(w, key, i, "test", "because");
                continue;
            }
            mts_write_record(w, &r);
            mts_write_frames(w, data, i * 70000);
            mts_write_record_end(w);
        }
        mts_writer_close(w, 1, NULL, 0);
    }
    free(data);
}

TEST(an_index_finds_every_record)
{
    FILE *f = fopen(test_tmp("rows.mts"), "w+b");
    unsigned char *data = make_data(5 * 70000 * 8);
    mts_index x;
    char error[256];
    CHECK(f);
    write_rows(f);
    CHECK(!mts_index_make(&x, f, "rows.mts", error, sizeof error));
    CHECK(x.n == 8 && x.failed == 2 && x.damaged == 0 && !error[0]);
    CHECK(!strcmp(x.failures[0].key, "0/2") && x.failures[0].row == 2);
    CHECK(!strcmp(x.failures[1].key, "1/2") && x.failures[1].row == 2);
    mts_reader *r = mts_reader_open(f, "rows.mts");
    for (size_t k = 0; k < 16; k++) {
        size_t i = k * 5 % 8;
        const mts_entry *e = &x.entries[i];
        int64_t row = e->record.row, frames = 0;
        int event;
        CHECK(e->stream == (int64_t)(i / 4) && e->record.shape[0] == row * 70000);
        CHECK(!mts_reader_seek(r, e));
        CHECK(mts_next(r) == MTS_RECORD && !strcmp(mts_reader_record(r)->key, e->record.key));
        if (k % 3 == 0)
            continue; /* from the middle of a record, too */
        while ((event = mts_next(r)) == MTS_CHUNK) {
            CHECK(!memcmp(mts_reader_data(r), data + frames * 8, (size_t)mts_reader_frames(r) * 8));
            frames += mts_reader_frames(r);
        }
        CHECK(event == MTS_RECORD_END && frames == row * 70000);
    }
    /* And on to the end from there. */
    CHECK(!mts_reader_seek(r, &x.entries[3]));
    int events[MTS_END + 1] = {0}, event;
    while ((event = mts_next(r)) > 0)
        events[event]++;
    CHECK(event == MTS_EOF && events[MTS_RECORD_END] == 5 && events[MTS_FAILED] == 1 && events[MTS_END] == 2
          && !events[MTS_DAMAGE]);
    mts_reader_close(r);
    mts_index_free(&x);
    CHECK(!fseek(f, 0, SEEK_END));
    CHECK(!ftruncate(fileno(f), ftell(f) - 1));
    CHECK(mts_index_make(&x, f, "rows.mts", error, sizeof error) == -1
          && strstr(error, "rows.mts: stops without an end record"));
    CHECK(!ftruncate(fileno(f), 300000)); /* in the middle of a data frame, which is skipped by seeking */
    CHECK(mts_index_make(&x, f, "rows.mts", error, sizeof error) == -1
          && strstr(error, "rows.mts: stops without an end record"));
    fclose(f);
    free(data);
}

int main(void)
{
    RUN(skipping_passes_over_the_data);
    RUN(skipping_to_a_frame_arrives_there);
    RUN(jumping_to_a_frame_arrives_there);
    RUN(taken_memory_is_the_callers);
    RUN(an_index_finds_every_record);
    return test_done();
}
