/* read_ahead and write_behind: the same bytes and events as the stream library, with or without a thread; stopping;
 * errors. */
#include "libcommon/program/read_ahead.h"
#include "libcommon/program/write_behind.h"
#include "tests/unit/threads.h"
#include "tests/unit/stream.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORDS = 9, WIDTH = 1000 };

/* More chunks than the queue has slots, records without frames, one that fails in its middle, one that failed
 * before. */
static int64_t frames_of(int i) { return i == 3 ? 9000 : i == 5 ? 0 : 7 + 100 * i; }

static void write_all(FILE *f, int behind, int threaded, const float *x, int64_t piece)
{
    mts_begin begin = plain_begin();
    mert_write_behind *w = behind ? mert_write_behind_open(f, "x", &begin, 1, threaded) : NULL;
    mts_writer *plain = behind ? NULL : mts_writer_open(f, "x", &begin, 1);
    char error[256] = "";
    for (int i = 0; i < RECORDS; i++) {
        mts_record r = plain_record("k", i, -1, WIDTH);
        int64_t n = frames_of(i);
        if (i == 7) {
            behind ? mert_write_behind_failed(w, "seven", 7, "s", "why")
                   : mts_write_failed(plain, "seven", 7, "s", "why");
            continue;
        }
        behind ? mert_write_behind_record(w, &r) : mts_write_record(plain, &r);
        for (int64_t at = 0; at < n; at += piece) {
            int64_t some = piece < n - at ? piece : n - at;
            const float *from = x + (size_t)at * WIDTH;
            behind ? mert_write_behind_frames(w, from, some) : mts_write_frames(plain, from, some);
        }
        if (i == 4)
            behind ? mert_write_behind_failed(w, "k", 4, "s", "why") : mts_write_failed(plain, "k", 4, "s", "why");
        else
            behind ? mert_write_behind_end(w) : mts_write_record_end(plain);
    }
    if (behind ? mert_write_behind_close(w, 1, error, sizeof error) : mts_writer_close(plain, 1, error, sizeof error))
        printf("# %s\n", error);
}

static float *numbers(void)
{
    float *x = malloc((size_t)9000 * WIDTH * sizeof *x);
    for (size_t i = 0; x && i < (size_t)9000 * WIDTH; i++)
        x[i] = (float)(i % 1237) * 0.37f;
    return x;
}

TEST(written_behind_is_the_same_stream)
{
    float *x = numbers();
    bytes plain, b;
    FILE *f = open_memstream(&plain.data, &plain.size);
    write_all(f, 0, 0, x, 9000);
    fclose(f);
    for (int threaded = 0; threaded < 2; threaded++)
        for (int64_t piece = 1; piece < 9001; piece = piece * 19 + 1) {
            f = open_memstream(&b.data, &b.size);
            write_all(f, 1, threaded, x, piece);
            fclose(f);
            CHECK(b.size == plain.size && !memcmp(b.data, plain.data, b.size));
            free(b.data);
        }
    free(plain.data);
    free(x);
}

/* The source: memory, a file, or a pipe; NULL: not possible. */
enum source { MEMORY, PLAIN_FILE, PIPE, SOURCES };

static FILE *source_open(const bytes *b, enum source from, pid_t *writer)
{
    FILE *f = from == PLAIN_FILE ? tmpfile() : NULL;
    int ends[2];
    *writer = 0;
    if (from == MEMORY)
        return fmemopen(b->data, b->size, "rb");
    if (from == PLAIN_FILE)
        return f && fwrite(b->data, 1, b->size, f) == b->size && !fseek(f, 0, SEEK_SET) ? f : NULL;
    if (pipe(ends))
        return NULL;
    if (!(*writer = fork())) {
        close(ends[0]);
        for (size_t at = 0; at < b->size;) {
            ssize_t n = write(ends[1], b->data + at, b->size - at);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
        _exit(0);
    }
    close(ends[1]);
    return fdopen(ends[0], "rb");
}

/* One line per event, so that two readings can be compared. */
static char *events(const char *name, const bytes *b, enum source from, int threaded)
{
    char *text;
    size_t size;
    pid_t writer;
    FILE *f = source_open(b, from, &writer), *out = open_memstream(&text, &size);
    mert_read_ahead *r = mert_read_ahead_open(f, name, threaded);
    int type = MTS_BEGIN;
    while (type != MTS_EOF && type != MTS_ERROR) {
        const mert_event *e = mert_read_ahead_next(r);
        type = e->type;
        fprintf(out, "%d", type);
        if (e->begin)
            fprintf(out, " %s", e->begin->provenance);
        if (e->record)
            fprintf(out, " %s %" PRId64 " %" PRId64, e->record->key, e->record->row, e->record->shape[0]);
        if (e->data)
            fprintf(out, " %" PRId64 " %" PRIx64, e->frames,
                    mts_xxh64(e->data, (size_t)e->frames * mts_record_step(e->record), 0));
        if (e->failure)
            fprintf(out, " %s %" PRId64 " %s %s %d", e->failure->key, e->failure->row, e->failure->stage,
                    e->failure->reason, e->failure->here);
        fprintf(out, " %s\n", e->error ? e->error : "");
    }
    mert_read_ahead_next(r); /* the end is repeated */
    mert_read_ahead_close(r);
    fclose(f);
    fclose(out);
    if (writer)
        waitpid(writer, NULL, 0);
    return text;
}

TEST(read_ahead_gives_the_same_events)
{
    float *x = numbers();
    bytes b;
    FILE *f = open_memstream(&b.data, &b.size);
    write_all(f, 0, 0, x, 9000);
    fclose(f);
    for (int damage = 0; damage < 3; damage++) {
        char *plain;
        if (damage == 1)
            b.data[b.size / 2] ^= 1;
        if (damage == 2)
            b.size -= 10;
        plain = events("x", &b, MEMORY, 0);
        for (enum source from = MEMORY; from < SOURCES; from++) {
            char *ahead = events("x", &b, from, 1);
            CHECK(!strcmp(plain, ahead));
            free(ahead);
        }
        CHECK(strstr(plain, " seven 7 s why 0"));
        CHECK(!strstr(plain, " read ") == (damage == 0));
        CHECK(!strstr(plain, "without an end record") == (damage != 2));
        free(plain);
    }
    free(b.data);
    free(x);
}

TEST(reading_ends_although_more_may_come)
{
    float *x = numbers();
    bytes b;
    int ends[2];
    FILE *f = open_memstream(&b.data, &b.size);
    mert_read_ahead *r;
    write_all(f, 0, 0, x, 9000);
    fclose(f);
    /* The writer sends the first bytes and keeps the pipe open: the thread is waiting in a read when it must stop. */
    CHECK(!pipe(ends) && write(ends[1], b.data, 5000) == 5000);
    f = fdopen(ends[0], "rb");
    r = mert_read_ahead_open(f, "pipe", 1);
    CHECK(mert_read_ahead_next(r)->type == MTS_BEGIN);
    CHECK(mert_read_ahead_next(r)->type == MTS_RECORD);
    mert_read_ahead_close(r);
    fclose(f);
    close(ends[1]);
    /* The rest is not read: the thread is waiting for a free slot. */
    f = fmemopen(b.data, b.size, "rb");
    r = mert_read_ahead_open(f, "x", 1);
    CHECK(mert_read_ahead_next(r)->type == MTS_BEGIN);
    mert_read_ahead_close(r);
    fclose(f);
    free(b.data);
    free(x);
}

/* After a failed write, all calls and close fail with the writer's reason. */
TEST(what_cannot_be_written_is_said)
{
    mts_begin begin = plain_begin();
    mts_record record = plain_record("k", 0, -1, WIDTH);
    float *x = numbers();
    FILE *f = fopen("/dev/full", "wb");
    char error[256] = "";
    for (int threaded = 0; threaded < 2 && f; threaded++) {
        mert_write_behind *w = mert_write_behind_open(f, "full", &begin, 1, threaded);
        int bad = mert_write_behind_record(w, &record) < 0;
        for (int i = 0; i < 50 && !bad; i++)
            bad = mert_write_behind_frames(w, x, 9000) < 0;
        CHECK(bad && strstr(mert_write_behind_error(w), "full: cannot write: No space left"));
        CHECK(!mert_write_behind_pipe_closed(w));
        CHECK(mert_write_behind_end(w) < 0);
        CHECK(mert_write_behind_close(w, 1, error, sizeof error) < 0 && strstr(error, "No space left"));
    }
    if (f)
        fclose(f);
    free(x);
}

TEST(a_closed_pipe_is_told_apart)
{
    mts_begin begin = plain_begin();
    mts_record record = plain_record("k", 0, -1, WIDTH);
    float *x = numbers();
    int ends[2], bad;
    mert_write_behind *w;
    FILE *f;
    signal(SIGPIPE, SIG_IGN);
    CHECK(!pipe(ends));
    f = fdopen(ends[1], "wb");
    w = mert_write_behind_open(f, "pipe", &begin, 1, 1);
    close(ends[0]);
    bad = mert_write_behind_record(w, &record) < 0;
    for (int i = 0; i < 50 && !bad; i++)
        bad = mert_write_behind_frames(w, x, 9000) < 0;
    CHECK(bad && mert_write_behind_pipe_closed(w));
    CHECK(mert_write_behind_close(w, 0, NULL, 0) < 0 && errno == EPIPE);
    fclose(f);
    free(x);
}

static void count_task(void *arg, int64_t i, int worker)
{
    int *done = arg;
    (void)worker;
    __atomic_fetch_add(&done[i], 1, __ATOMIC_RELAXED);
}

/* Small jobs end before the last thread has woken up; no task may be lost or run in the wrong job. */
TEST(the_pool_runs_each_task_once)
{
    enum { JOBS = 3000, TASKS = 7 };
    int done[TASKS], bad = 0;
    use_threads(5);
    for (int job = 0; job < JOBS; job++) {
        int n = 1 + job % TASKS;
        memset(done, 0, sizeof done);
        mert_pool_run(n, count_task, done);
        for (int i = 0; i < TASKS; i++)
            bad += done[i] != (i < n);
    }
    CHECK(!bad);
    use_threads(1);
}

int main(void)
{
    RUN(the_pool_runs_each_task_once);
    RUN(written_behind_is_the_same_stream);
    RUN(read_ahead_gives_the_same_events);
    RUN(reading_ends_although_more_may_come);
    RUN(what_cannot_be_written_is_said);
    RUN(a_closed_pipe_is_told_apart);
    return test_done();
}
