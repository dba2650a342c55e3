/* The stream library on undamaged streams: what is written is read back, the bytes depend only on the contents, and
 * zstd can read them. */
#include "tests/unit/stream.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

TEST(xxh64_is_xxh64)
{
    CHECK(mts_xxh64("", 0, 0) == UINT64_C(0xef46db3751d8e999));
    CHECK(mts_xxh64("a", 1, 0) == UINT64_C(0xd24ec4f1a98c6e5b));
    CHECK(mts_xxh64("abc", 3, 0) == UINT64_C(0x44bc2cf5ad770999));
    /* zstd's content checksum is its low half: an independent implementation at every length */
    unsigned char *data = make_data(400), frame[1024];
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    for (size_t n = 0; n < 400; n++) {
        size_t size = ZSTD_compress2(z, frame, sizeof frame, data, n);
        uint32_t low = 0;
        for (int i = 0; i < 4; i++)
            low |= (uint32_t)frame[size - 4 + (size_t)i] << 8 * i;
        CHECK(low == (uint32_t)mts_xxh64(data, n, 0));
        for (size_t cut = 0; cut <= n; cut += 13) {
            mts_xxh64_state s;
            mts_xxh64_begin(&s, 0);
            mts_xxh64_add(&s, data, cut);
            mts_xxh64_add(&s, data + cut, n - cut);
            CHECK(mts_xxh64_end(&s, 0) == mts_xxh64(data, n, 0));
        }
    }
    ZSTD_freeCCtx(z);
    free(data);
}

TEST(every_type_and_shape_comes_back)
{
    static const int64_t shapes[][MTS_NDIM_MAX] = {{5},          {0},         {1, 1},      {7, 3}, {3, 5, 2},
                                                   {2, 3, 5, 7}, {300001, 1}, {1000, 333}, {0, 9}};
    static const int ndims[] = {1, 1, 2, 2, 3, 4, 2, 2, 2};
    static seen s;
    for (int type = 0; type < MTS_DTYPES; type++)
        for (size_t i = 0; i < sizeof ndims / sizeof *ndims; i++)
            for (int known = 0; known < 2; known++) {
                mts_record r = plain_record("k", 3, 0, 1), back;
                r.dtype = (mts_dtype)type;
                r.ndim = ndims[i];
                memcpy(r.shape, shapes[i], sizeof r.shape);
                back = r;
                if (!known)
                    r.shape[0] = -1;
                size_t size = (size_t)back.shape[0] * mts_record_step(&r);
                unsigned char *data = make_data(size);
                bytes b = write_one(&r, data, back.shape[0], 0, MTS_LEVEL_DEFAULT);
                read_bytes(b.data, b.size, &s, 0);
                CHECK(s.final == MTS_EOF && !s.order && s.begins == 1 && s.ends == 1 && s.records == 1);
                CHECK(!s.failures && !s.damages);
                CHECK(same_record(&s.record[0].record, &back) && s.record[0].frames == back.shape[0]);
                CHECK(s.record[0].hash == mts_xxh64(data, size, 0));
                free(data);
                free(b.data);
            }
}

TEST(codes_carry_their_classes)
{
    static seen s;
    mts_record r = {.kind = "codes",
                    .key = "k",
                    .row = 0,
                    .dtype = MTS_U16,
                    .ndim = 2,
                    .shape = {4, 3},
                    .sample_rate = 24000,
                    .frame_rate_num = 24000,
                    .frame_rate_den = 320,
                    .ncodebooks = 3,
                    .classes = {1024, 500, 2},
                    .model = UINT64_C(0xfedcba9876543210)};
    uint16_t data[12] = {1, 2, 0, 3, 4, 1, 1023, 499, 1, 0, 0, 0};
    bytes b = write_one(&r, data, 4, 1, MTS_LEVEL_DEFAULT);
    read_bytes(b.data, b.size, &s, 0);
    CHECK(s.final == MTS_EOF && s.records == 1 && same_record(&s.record[0].record, &r));
    CHECK(s.record[0].hash == mts_xxh64(data, sizeof data, 0));
    free(b.data);
}

TEST(names_of_every_kind_come_back)
{
    static seen s;
    char longest[MTS_KEY_MAX], text[MTS_REASON_MAX];
    memset(longest, '\n', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    memset(text, 0xff, sizeof text - 1);
    text[sizeof text - 1] = 0;
    const char *keys[] = {"plain/name.flac",  "",      "100% =x",     "line\nbreak\ttab",
                          "Zażółć gęślą.ogg", longest, "\x01\x7f\xff"};
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = {.manifest = 77, .row_first = 5, .row_end = 12, .rows_total = 100,
                       .provenance = "mert-decode 0.1.0 rate=24000\nmert-cqt 0.1.0 bins=336 note=50%\xc3\xa9\n"};
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        mts_record r = plain_record(keys[i], (int64_t)i + 5, 0, 2);
        mts_write_record(w, &r);
        mts_write_record_end(w);
        mts_write_failed(w, keys[i], (int64_t)i + 5, "mert-decode", text);
    }
    CHECK(!mts_writer_close(w, 1, NULL, 0));
    fclose(f);
    read_bytes(b.data, b.size, &s, 0);
    CHECK(s.final == MTS_EOF && s.records == 7 && s.failures == 7 && !s.damages);
    CHECK(!memcmp(&s.begin, &begin, offsetof(mts_begin, provenance)) && !strcmp(s.begin.provenance, begin.provenance));
    for (int i = 0; i < 7; i++) {
        CHECK(!strcmp(s.record[i].record.key, keys[i]) && !strcmp(s.failure[i].key, keys[i]));
        CHECK(!strcmp(s.failure[i].reason, text) && !strcmp(s.failure[i].stage, "mert-decode") && !s.failure[i].here);
        CHECK(s.failure[i].row == i + 5);
    }
    free(b.data);
}

TEST(bytes_do_not_depend_on_how_they_arrived)
{
    static const int64_t pieces[] = {1, 7, 1000, 87381, 87382, 200000};
    enum { FRAMES = 250000 };
    mts_record r = plain_record("k", 0, -1, 3);
    unsigned char *data = make_data(FRAMES * 12);
    bytes whole = write_one(&r, data, FRAMES, 0, MTS_LEVEL_DEFAULT);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        bytes b = write_one(&r, data, FRAMES, pieces[i], MTS_LEVEL_DEFAULT);
        CHECK(b.size == whole.size && !memcmp(b.data, whole.data, b.size));
        free(b.data);
    }
    free(whole.data);
    free(data);
}

static int run(const char *command)
{
    int rc = system(command);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static int save(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    int bad = !f || fwrite(data, 1, size, f) != size;
    return (f && fclose(f)) || bad;
}

/* Contract S1 at every level: zstd tests and decompresses it to exactly the tensors, with windows of at most 2^23. */
TEST(zstd_reads_it)
{
    static const int levels[] = {-7, 1, 3, 22};
    enum { FRAMES = 5, WIDTH = 2500000 }; /* 10 MB per step: more than a window */
    mts_record r = plain_record("k", 0, FRAMES, WIDTH);
    size_t size = (size_t)FRAMES * WIDTH * 4;
    unsigned char *data = calloc(1, size);
    char command[4096];
    for (size_t i = 0; i < size; i += 1 << 14)
        data[i] = noise(i);
    CHECK(!save(test_tmp("raw"), data, size));
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        bytes b = write_one(&r, data, FRAMES, 0, levels[i]);
        CHECK(!save(test_tmp("a.mts"), b.data, b.size));
        snprintf(command, sizeof command, "zstd -tq %s && zstd -dcq --memory=8MB %s | cmp - %s", test_tmp("a.mts"),
                 test_tmp("a.mts"), test_tmp("raw"));
        CHECK(run(command) == 0);
        snprintf(command, sizeof command, "zstd -lv %s | grep -q '^Check: XXH64'", test_tmp("a.mts"));
        CHECK(run(command) == 0);
        free(b.data);
    }
    free(data);
}

/* At the default level, a chunk that hardly shrinks stops compression for the next seven. Data: noise, and bytes with 4
 * bits of information each, which other levels halve. */
TEST(what_does_not_shrink_is_stored)
{
    enum { CHUNK = 1 << 20, CHUNKS = 16 };
    mts_record r = plain_record("k", 0, CHUNKS * 4, CHUNK / 16);
    unsigned char *data = make_data((size_t)CHUNK * CHUNKS);
    size_t size[2];
    for (size_t i = CHUNK; i < (size_t)CHUNK * CHUNKS; i++)
        data[i] &= 15;
    for (int i = 0; i < 2; i++) {
        bytes b = write_one(&r, data, CHUNKS * 4, 0, i ? 2 : MTS_LEVEL_DEFAULT);
        FILE *f = fmemopen(b.data, b.size, "rb");
        seen s;
        read_file(f, "x", &s, 0);
        fclose(f);
        CHECK(s.final == MTS_EOF && s.records == 1 && s.record[0].hash == mts_xxh64(data, (size_t)CHUNK * CHUNKS, 0));
        size[i] = b.size / (CHUNK / 16);
        free(b.data);
    }
    CHECK(size[0] / 4 == 48 && size[1] / 4 == 34); /* in quarters of a chunk: 8 + 8 / 2, 1 + 15 / 2 */
    free(data);
}

TEST(streams_join_by_cat)
{
    static seen s;
    mts_record r = plain_record("k", 0, 9, 3);
    unsigned char *data = make_data(108);
    bytes b = write_one(&r, data, 9, 0, MTS_LEVEL_DEFAULT);
    char *three = malloc(3 * b.size);
    for (int i = 0; i < 3; i++)
        memcpy(three + (size_t)i * b.size, b.data, b.size);
    read_bytes(three, 3 * b.size, &s, 0);
    CHECK(s.final == MTS_EOF && s.begins == 3 && s.ends == 3 && s.records == 3 && !s.damages && !s.failures
          && !s.order);
    free(three);
    free(data);
    free(b.data);
}

static int refuses(const mts_record *r, const char *why)
{
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
    char error[256] = "";
    int bad = mts_write_record(w, r) == -1 && strstr(mts_writer_error(w), why)
              && strstr(mts_writer_error(w), "x.mts: record 0");
    bad = bad && mts_write_record(w, r) == -1; /* stays failed */
    bad = mts_writer_close(w, 1, error, sizeof error) == -1 && strstr(error, why) && bad;
    fclose(f);
    free(b.data);
    return bad;
}

TEST(a_writer_refuses_what_cannot_be)
{
    const mts_record good = plain_record("k", 0, 5, 3);
    mts_record r = good;
    strcpy(r.kind, "Mel");
    CHECK(refuses(&r, "kind \"Mel\""));
    r = good, r.ndim = 5;
    CHECK(refuses(&r, "5 axes"));
    r = good, r.shape[1] = 0;
    CHECK(refuses(&r, "axis 1 of length 0"));
    r = good, r.shape[1] = MTS_CHUNK_MAX / 4 + 1;
    CHECK(refuses(&r, "one time step is larger than"));
    r = good, r.shape[1] = INT64_MAX;
    CHECK(refuses(&r, "one time step is larger than"));
    r = good, r.shape[0] = INT64_MAX;
    CHECK(refuses(&r, "time steps"));
    r = good, r.frame_rate_num = -1;
    CHECK(refuses(&r, "frame rate"));
    r = good, strcpy(r.kind, "codes");
    CHECK(refuses(&r, "codes of type f32"));
    r.dtype = MTS_I32;
    CHECK(refuses(&r, "classes for each of K codebooks"));
    r = good, r.ncodebooks = 3;
    CHECK(refuses(&r, "classes given for kind mel"));
    r = good, r.row = -2;
    CHECK(refuses(&r, "row -2"));
}

TEST(a_writer_counts_frames)
{
    float data[30] = {0};
    for (int which = 0; which < 5; which++) {
        bytes b;
        FILE *f = open_memstream(&b.data, &b.size);
        mts_begin begin = plain_begin();
        mts_record r = plain_record("k", 0, 5, 3);
        mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
        int bad = which == 4 ? 0 : mts_write_record(w, &r);
        switch (which) {
        case 0: bad |= mts_write_frames(w, data, 6) != -1 || !strstr(mts_writer_error(w), "more frames"); break;
        case 1:
            bad |= mts_write_frames(w, data, 4);
            bad |= mts_write_record_end(w) != -1 || !strstr(mts_writer_error(w), "fewer frames");
            break;
        case 2: bad |= mts_write_record(w, &r) != -1 || !strstr(mts_writer_error(w), "still open"); break;
        case 3: break; /* closed with a record open */
        case 4: bad |= mts_write_frames(w, data, 1) != -1; break;
        }
        CHECK(!bad);
        CHECK(mts_writer_close(w, 1, NULL, 0) == -1);
        fclose(f);
        static seen s;
        read_bytes(b.data, b.size, &s, 0);
        CHECK(s.final == MTS_ERROR);
        free(b.data);
    }
}

TEST(a_full_disk_and_a_closed_pipe_are_told_apart)
{
    mts_record r = plain_record("k", 0, -1, 1);
    mts_begin begin = plain_begin();
    unsigned char *data = make_data(3 << 20);
    char error[256];
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    for (int pipe_end = 0; pipe_end < 2; pipe_end++) {
        FILE *f;
        if (pipe_end) {
            CHECK(!pipe(ends));
            close(ends[0]);
            f = fdopen(ends[1], "wb");
        } else {
            f = fopen("/dev/full", "wb");
        }
        CHECK(f);
        mts_writer *w = mts_writer_open(f, "<stdout>", &begin, MTS_LEVEL_DEFAULT);
        mts_write_record(w, &r);
        CHECK(mts_write_frames(w, data, (3 << 20) / 4) == -1);
        CHECK(mts_writer_pipe_closed(w) == pipe_end);
        CHECK(mts_writer_close(w, 1, error, sizeof error) == -1 && (errno == EPIPE) == pipe_end);
        CHECK(
            strstr(error, pipe_end ? "<stdout>: cannot write: Broken pipe" : "<stdout>: cannot write: No space left"));
        fclose(f);
    }
    /* A short stream is still in the buffer at the close: the error of the flush must be returned. */
    FILE *f = fopen("/dev/full", "wb");
    mts_writer *w = mts_writer_open(f, "<stdout>", &begin, MTS_LEVEL_DEFAULT);
    CHECK(w && mts_writer_close(w, 1, error, sizeof error) == -1 && strstr(error, "No space left"));
    fclose(f);
    free(data);
}

/* A reader must not wait for more bytes than it needs: it must return the end of a record while the pipe is still
 * open. */
TEST(a_pipe_that_flows_is_not_waited_for)
{
    int ends[2];
    mts_begin begin = plain_begin();
    mts_record r = plain_record("k", 0, 2, 1);
    float data[2] = {1, 2};
    CHECK(!pipe(ends));
    FILE *out = fdopen(ends[1], "wb"), *in = fdopen(ends[0], "rb");
    mts_writer *w = mts_writer_open(out, "pipe", &begin, MTS_LEVEL_DEFAULT);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 2);
    CHECK(!mts_write_record_end(w));
    alarm(300);
    mts_reader *reader = mts_reader_open(in, "pipe");
    static const int events[] = {MTS_BEGIN, MTS_RECORD, MTS_CHUNK, MTS_RECORD_END};
    for (int i = 0; i < 4; i++)
        CHECK(mts_next(reader) == events[i]);
    CHECK(!mts_writer_close(w, 1, NULL, 0));
    fclose(out);
    CHECK(mts_next(reader) == MTS_END && mts_next(reader) == MTS_EOF);
    alarm(0);
    mts_reader_close(reader);
    fclose(in);
}

TEST(a_failed_record_is_void)
{
    static seen s;
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    mts_record r = plain_record("bad", 4, 100, 1);
    float data[100] = {0};
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, MTS_LEVEL_DEFAULT);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 50);
    CHECK(!mts_write_failed(w, "ignored", 99, "stage", "reason"));
    r = plain_record("good", 5, 1, 1);
    mts_write_record(w, &r);
    mts_write_frames(w, data, 1);
    mts_write_record_end(w);
    CHECK(!mts_writer_close(w, 1, NULL, 0));
    fclose(f);
    read_bytes(b.data, b.size, &s, 0);
    CHECK(s.final == MTS_EOF && s.records == 1 && s.failures == 1 && !s.damages && !s.order);
    CHECK(!strcmp(s.failure[0].key, "bad") && s.failure[0].row == 4);
    CHECK(!strcmp(s.record[0].record.key, "good"));
    free(b.data);
}

int main(void)
{
    RUN(xxh64_is_xxh64);
    RUN(every_type_and_shape_comes_back);
    RUN(codes_carry_their_classes);
    RUN(names_of_every_kind_come_back);
    RUN(bytes_do_not_depend_on_how_they_arrived);
    RUN(zstd_reads_it);
    RUN(what_does_not_shrink_is_stored);
    RUN(streams_join_by_cat);
    RUN(a_writer_refuses_what_cannot_be);
    RUN(a_writer_counts_frames);
    RUN(a_full_disk_and_a_closed_pipe_are_told_apart);
    RUN(a_pipe_that_flows_is_not_waited_for);
    RUN(a_failed_record_is_void);
    return test_done();
}
