/* Exchange between devices (ops.h: join, exchange, finish) on the emulated device, each of a process of its own. */
#include "tests/cuda/on_device.h"

#include "libcommon/train/parallel/exchange.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANKS_MAX = 3 };

/* What the processes have found out, as the one that started them can read it. */
static struct shared_notes {
    int right[RANKS_MAX];
    char said[RANKS_MAX][1024];
} *notes;

static mert_ops *mine; /* the device of this process */
static mert_exchange *x;

static int collect(void *with, const void *one, void *all, size_t bytes, mert_error *e)
{
    mert_exchange *others = with;
    return others->collect(others, one, all, bytes, e);
}

static int join_as(int device, double limit, mert_error *e)
{
    char name[64];
    mert_peers peers = {.rank = x->rank, .ranks = x->ranks, .collect = collect, .with = x, .arrivals = x->arrivals,
                        .limit = limit};
    snprintf(name, sizeof name, "emulated:%d", device);
    if (!(mine = mert_ops_open(name, MERT_ELEMENT_F32, e)))
        return -1;
    return mine->join(mine, &peers, e);
}

/* Runs it in n processes: what ended them, or "". */
static const char *in_processes(int n, int (*what)(void))
{
    static mert_error e;
    int status = 0, over;
    memset(notes, 0, sizeof *notes);
    fflush(stdout);
    over = mert_exchange_local(n, &x, &status, &e);
    if (!over) {
        notes->right[x->rank] = what();
        if (mine)
            mine->close(mine);
        x->close(x);
        _exit(0);
    }
    return over < 0 || status ? *e.text ? e.text : "one failed" : "";
}

static int all_right(int n)
{
    for (int r = 0; r < n; r++)
        if (!notes->right[r])
            return 0;
    return 1;
}

/* ---- sums ---- */

/* Magnitudes differ so much that a sum depends on its order. */
static float value(int r, int64_t i)
{
    return (float)((i * 7919 + r * 104729) % 1000 - 500) * (r % 2 ? 1e-4f : 1e3f);
}

static float sum(int64_t i)
{
    float s = value(0, i);
    for (int r = 1; r < x->ranks; r++)
        s += value(r, i);
    return s;
}

/* Exchanges what process r has as value(r, i), and looks at what it came to. */
static int comes_right(mert_exchange_what what, int64_t n)
{
    float *host = malloc((size_t)n * sizeof *host), *d = mert_ops_floats(mine, n);
    int64_t from, each = mert_exchange_piece(n, x->ranks, 0, &from);
    int64_t own = mert_exchange_piece(n, x->ranks, x->rank, &from);
    int good;
    for (int64_t i = 0; i < n; i++)
        host[i] = value(x->rank, i);
    mine->upload(mine, d, host, (size_t)n * sizeof *host);
    mine->finish(mine, mine->exchange(mine, what, d, n, each));
    mine->download(mine, host, d, (size_t)n * sizeof *host);
    good = !mine->wait(mine, NULL);
    for (int r = 0; r < x->ranks; r++) {
        int64_t at, piece = mert_exchange_piece(n, x->ranks, r, &at);
        for (int64_t i = at; i < at + piece; i++)
            if (what == MERT_ALL_GATHER)
                good &= host[i] == value(r, i);
            else if (what == MERT_ALL_REDUCE || (i >= from && i < from + own))
                good &= host[i] == sum(i);
    }
    mine->release(mine, d);
    free(host);
    return good;
}

static int sums(void)
{
    static const int64_t sizes[] = {1, 15, 16, 17, 48, 49, 1000, 3 * (1 << 16) + 5};
    mert_error e;
    int good = !join_as(x->rank, 60, &e);
    for (size_t i = 0; good && i < sizeof sizes / sizeof *sizes; i++)
        good = comes_right(MERT_ALL_REDUCE, sizes[i]) && comes_right(MERT_REDUCE_SCATTER, sizes[i]) &&
               comes_right(MERT_ALL_GATHER, sizes[i]);
    return good;
}

TEST(sums_of_two_and_three_processes)
{
    CHECK(!strcmp(in_processes(2, sums), "") && all_right(2));
    CHECK(!strcmp(in_processes(3, sums), "") && all_right(3));
}

/* More exchanges at once than the backend remembers, each between an operation that makes its data and one that reads
 * its result; nothing waits in between. */
static int in_order(void)
{
    enum { TURNS = 300, N = 64, KEPT = 8 };
    mert_error e;
    float *d[KEPT], *total, got[N];
    int64_t number[KEPT] = {0};
    int good = !join_as(x->rank, 60, &e);
    if (!good)
        return 0;
    total = mert_ops_floats(mine, N);
    mert_fill(mine, .to = total, .n = N);
    for (int i = 0; i < KEPT; i++)
        d[i] = mert_ops_floats(mine, N);
    for (int t = 0; t < TURNS + KEPT; t++) {
        float *now = d[t % KEPT];
        if (t >= KEPT) {
            mine->finish(mine, number[t % KEPT]);
            mert_add(mine, .to = total, .from = now, .n = N);
        }
        if (t < TURNS) {
            mert_fill(mine, .to = now, .value = (float)(t * (x->rank + 1)), .n = N);
            number[t % KEPT] = mine->exchange(mine, MERT_ALL_REDUCE, now, N, 64);
        }
    }
    mine->download(mine, got, total, sizeof got);
    good = !mine->wait(mine, &e);
    for (int i = 0; i < N; i++)
        good &= got[i] == (float)(TURNS * (TURNS - 1) / 2 * 3);
    return good;
}

TEST(an_exchange_finds_what_is_before_it_and_is_found_by_what_is_after)
{
    CHECK(!strcmp(in_processes(2, in_order), "") && all_right(2));
}

/* ---- refusals ---- */

static int fails(int64_t n, int64_t each, int offset, const char *why)
{
    mert_error e = {{0}};
    float *d;
    if (join_as(x->rank, 60, &e))
        return 0;
    d = mert_ops_floats(mine, 64);
    mert_fill(mine, .to = d, .n = 64);
    mine->exchange(mine, MERT_ALL_REDUCE, (float *)(void *)((char *)d + offset), n, each);
    if (!mine->wait(mine, &e) || !strstr(e.text, why))
        return 0;
    return mine->renew(mine, &e) == -1; /* the others would not be there */
}

static int pieces_too_small(void) { return fails(64, 16, 0, "64 floats in pieces of 16 is refused"); }
static int not_aligned(void) { return fails(60, 32, 2, "60 floats in pieces of 32 is refused"); }
static int out_of_memory(void) { return fails(65, 64, 0, "65 floats in pieces of 64 is refused"); }

/* A communicator would hang, or add what does not belong together. */
static int of_another_size(void)
{
    if (!freopen("/dev/null", "w", stderr))
        return 0;
    return fails(64 - 16 * x->rank, 32, 0, "illegal memory access");
}

TEST(what_is_refused)
{
    CHECK(!strcmp(in_processes(2, pieces_too_small), "") && all_right(2));
    CHECK(!strcmp(in_processes(2, not_aligned), "") && all_right(2));
    CHECK(!strcmp(in_processes(2, out_of_memory), "") && all_right(2));
    CHECK(!strcmp(in_processes(2, of_another_size), "") && all_right(2));
}

static int no_library(void)
{
    mert_error e = {{0}};
    if (x->rank)
        setenv("EMU_NO_NCCL", "1", 1);
    return join_as(x->rank, 60, &e) == 1 && strstr(e.text, "there is no cuda-nccl.so") != NULL;
}

static int one_device(void)
{
    mert_error e = {{0}};
    return join_as(0, 60, &e) == -1 && strstr(e.text, "processes 0 and 1 have the same device") != NULL;
}

TEST(who_cannot_join)
{
    CHECK(!strcmp(in_processes(3, no_library), "") && all_right(3));
    CHECK(!strcmp(in_processes(2, one_device), "") && all_right(2));
}

/* ---- processes that are lost ---- */

/* Waits until the others have queued exchange 2. */
static void until_queued(void)
{
    for (int r = 0; r < x->ranks; r++)
        while (r != 1 && __atomic_load_n(&x->arrivals.entered[r], __ATOMIC_SEQ_CST) < 2)
            sched_yield();
}

static int note_failure(mert_error *e)
{
    snprintf(notes->said[x->rank], sizeof notes->said[x->rank], "%s", e->text);
    notes->right[x->rank] = 1;
    x->abandon(x);
    _exit(1);
}

/* Process 1 does not come to the second exchange: `queued` operations are behind it, and (late) the host looks away
 * first. */
static int never_comes(int queued)
{
    mert_error e = {{0}};
    float *d;
    if (join_as(x->rank, 1, &e))
        return 0;
    d = mert_ops_floats(mine, 64);
    mert_fill(mine, .to = d, .n = 64);
    mine->finish(mine, mine->exchange(mine, MERT_ALL_REDUCE, d, 64, 64));
    if (mine->wait(mine, &e))
        return 0;
    if (x->rank == 1)
        for (;;)
            pause();
    mine->finish(mine, mine->exchange(mine, MERT_ALL_REDUCE, d, 64, 64));
    until_queued();
    for (int i = 0; i < queued; i++)
        mert_axpy(mine, .to = d, .from = d, .n = 64);
    if (mine->wait(mine, &e))
        return note_failure(&e);
    return 0;
}

static int comes_never(void) { return never_comes(0); }
static int comes_never_and_the_queue_is_full(void) { return never_comes(3000); }

TEST(a_process_that_does_not_come_is_named)
{
    int (*const cases[])(void) = {comes_never, comes_never_and_the_queue_is_full};
    for (int c = 0; c < 2; c++) {
        int said = 0;
        CHECK(!strcmp(in_processes(3, cases[c]), "one failed"));
        for (int r = 0; r < 3; r++)
            if (notes->right[r]) {
                said++;
                CHECK(test_says(notes->said[r], "no answer for 1 s (--hang-after) from process 1 of 3: hung, stopped or lost (exchange 2)"));
            }
        CHECK(said >= 1); /* the others are ended, or say the same later */
    }
}

int main(void)
{
    char path[4096];
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!find_device(path) || notes == MAP_FAILED) {
        test_skip("exchange between emulated devices", "no C++17 compiler built it");
        return test_done();
    }
    RUN(sums_of_two_and_three_processes);
    RUN(an_exchange_finds_what_is_before_it_and_is_found_by_what_is_after);
    RUN(what_is_refused);
    RUN(who_cannot_join);
    RUN(a_process_that_does_not_come_is_named);
    return test_done();
}
