/* Processes with shared memory: sums, pieces, the queue, and the report of the parent process about their end. Moments
 * in host memory and files. */
#include "libcommon/train/parallel/exchange.h"
#include "libcommon/train/parallel/exchange_queue.h"
#include "libcommon/train/parallel/moments.h"
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

/* The value of process r at i. Magnitudes differ so much that a sum depends on its order. */
static float value(int r, int64_t i)
{
    return (float)((i * 7919 + r * 104729) % 1000 - 500) * (r % 2 ? 1e-4f : 1e3f);
}

static float sum(int ranks, int64_t i)
{
    float s = value(0, i);
    for (int r = 1; r < ranks; r++)
        s += value(r, i);
    return s;
}

/* Runs in a child; 0: correct. */
static int sums_of(mert_exchange *x, int64_t n)
{
    float *data = malloc((size_t)n * sizeof *data + 1);
    int64_t from, own = mert_exchange_piece(n, x->ranks, x->rank, &from);
    mert_error e;
    int bad = !data;
    for (int64_t i = 0; !bad && i < n; i++)
        data[i] = value(x->rank, i);
    bad = bad || x->reduce_scatter(x, data, n, &e);
    for (int64_t i = 0; !bad && i < n; i++)
        bad = data[i] != (i >= from && i < from + own ? sum(x->ranks, i) : value(x->rank, i));
    bad = bad || x->all_gather(x, data, n, &e);
    for (int64_t i = 0; !bad && i < n; i++)
        bad = data[i] != sum(x->ranks, i);
    free(data);
    return bad;
}

static int small_things(mert_exchange *x)
{
    double d[2] = {x->rank + 1, 0.5};
    mert_error e;
    return mert_exchange_sum(x, d, 2, &e) || d[0] != x->ranks * (x->ranks + 1) / 2 || d[1] != 0.5 * x->ranks ||
           mert_exchange_barrier(x, &e);
}

static int queued(mert_exchange *x)
{
    enum { N = 3000, JOBS = 300 };
    static float data[JOBS][N];
    int64_t number = 0;
    mert_error e;
    mert_exchange_queue *q = mert_exchange_queue_new(x, &e);
    int bad = !q;
    for (int j = 0; q && j < JOBS; j++) {
        for (int64_t i = 0; i < N; i++)
            data[j][i] = value(x->rank, i + j);
        number = mert_exchange_queue_put(q, MERT_ALL_REDUCE, data[j], N);
    }
    bad = bad || mert_exchange_queue_wait(q, number, &e);
    for (int j = 0; !bad && j < JOBS; j++)
        for (int64_t i = 0; i < N; i++)
            bad |= data[j][i] != sum(x->ranks, i + j);
    mert_exchange_queue_free(q);
    return bad;
}

static int all_of_it(mert_exchange *x)
{
    static const int64_t sizes[] = {0, 1, 15, 16, 17, 48, 49, 1000, 1 << 19, (1 << 20) + 777, 3 * (1 << 19) + 5};
    int bad = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        bad |= sums_of(x, sizes[i]);
    return bad | small_things(x) | queued(x);
}

static int fine(mert_exchange *x)
{
    int bad = all_of_it(x);
    x->close(x);
    return bad;
}

static int one_dies(mert_exchange *x)
{
    mert_error e;
    if (x->rank == 1)
        raise(SIGKILL);
    (void)!mert_exchange_barrier(x, &e);
    return 0;
}

static int one_leaves(mert_exchange *x)
{
    mert_error e;
    if (x->rank == 1)
        return 0;
    (void)!mert_exchange_barrier(x, &e);
    return 0;
}

static int one_gives_up(mert_exchange *x)
{
    mert_error e;
    if (x->rank == 1) {
        x->abandon(x);
        return 1;
    }
    (void)!mert_exchange_barrier(x, &e);
    return 0;
}

static int one_hangs(mert_exchange *x)
{
    mert_error e = {{0}};
    if (x->rank == 1)
        for (;;)
            pause();
    x->patience = 2;
    if (!mert_exchange_barrier(x, &e) || !test_says(e.text, "no answer for 2 s (--hang-after) from process 1 of 3:"))
        return 7; /* the parent process says that it left */
    x->abandon(x);
    return 1;
}

static int one_is_stopped(mert_exchange *x)
{
    mert_error e = {{0}};
    if (x->rank == 1)
        raise(SIGSTOP);
    x->patience = 1;
    if (!mert_exchange_barrier(x, &e) || !test_says(e.text, "no answer for 1 s (--hang-after) from process 1 of 3:"))
        return 7;
    x->abandon(x);
    return 1;
}

/* Process 0 lets it go on. */
static int one_stands_still_for_a_while(mert_exchange *x)
{
    mert_error e;
    int pid = (int)getpid(), pids[3];
    char path[64], state = 0;
    if (x->collect(x, &pid, pids, sizeof pid, &e))
        return 1;
    if (x->rank == 1)
        raise(SIGSTOP);
    snprintf(path, sizeof path, "/proc/%d/stat", pids[1]);
    while (!x->rank && state != 'T') {
        FILE *f = fopen(path, "r");
        if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            return 1;
        fclose(f);
    }
    if (!x->rank)
        kill(pids[1], SIGCONT);
    return fine(x);
}

static int one_fails_at_the_end(mert_exchange *x)
{
    int rank = x->rank;
    x->close(x);
    return rank == 2 ? 3 : 0;
}

/* Runs it in n processes; returns the result of the parent process. */
static int in_processes(int n, int (*what)(mert_exchange *), mert_error *e)
{
    mert_exchange *x;
    int status = 0, over;
    fflush(stdout);
    over = mert_exchange_local(n, &x, &status, e);
    if (!over)
        _exit(what(x));
    return over < 0 ? -1000 : status;
}

TEST(pieces_cover_everything)
{
    for (int64_t n = 0; n < 200; n++)
        for (int ranks = 1; ranks < 9; ranks++) {
            int64_t at = 0;
            for (int r = 0; r < ranks; r++) {
                int64_t from, own = mert_exchange_piece(n, ranks, r, &from);
                CHECK(own >= 0 && from == at);
                CHECK(from % 16 == 0 || own == 0);
                at += own;
            }
            CHECK(at == n);
        }
}

TEST(sums_of_1_2_3_and_7_processes)
{
    mert_error e = {{0}};
    CHECK(!all_of_it(mert_exchange_alone()));
    CHECK(in_processes(2, fine, &e) == 0 && !*e.text);
    CHECK(in_processes(3, fine, &e) == 0 && !*e.text);
    CHECK(in_processes(7, fine, &e) == 0 && !*e.text);
}

TEST(a_process_that_dies_ends_the_others)
{
    mert_error e = {{0}};
    CHECK(in_processes(3, one_dies, &e) == 1);
    CHECK(strstr(e.text, "process 1 of 3 was killed by signal 9"));
    CHECK(in_processes(3, one_leaves, &e) == 1);
    CHECK(strstr(e.text, "process 1 of 3 left"));
}

TEST(a_process_that_is_stopped_ends_the_others)
{
    mert_error e = {{0}};
    CHECK(in_processes(3, one_is_stopped, &e) == 1 && !*e.text);
    CHECK(in_processes(3, one_stands_still_for_a_while, &e) == 0 && !*e.text);
}

TEST(a_process_that_gives_up_has_said_why)
{
    mert_error e = {{0}};
    CHECK(in_processes(3, one_gives_up, &e) == 1 && !*e.text);
}

TEST(a_process_that_hangs_is_named)
{
    mert_error e = {{0}};
    CHECK(in_processes(3, one_hangs, &e) == 1 && !*e.text);
}

TEST(the_worst_exit_status_counts)
{
    mert_error e = {{0}};
    CHECK(in_processes(3, one_fails_at_the_end, &e) == 3 && !*e.text);
}

/* ---- moments ---- */

enum { PARAMETERS = (4 << 20) + 12345 }; /* several blocks */

static int updated(mert_ops *ops, const char *where, float *m, float *v, float *w)
{
    mert_error e = {{0}};
    mert_moments *s = mert_moments_new(ops, PARAMETERS, where, &e);
    mert_adam_args how = {.gradient_scale = 0.5,
                          .lr = 1e-3,
                          .step = 1e-3,
                          .beta1 = 0.9,
                          .beta2 = 0.98,
                          .eps = 1e-6,
                          .weight_decay = 0.01};
    float *weights = mert_ops_floats(ops, PARAMETERS), *gradients = mert_ops_floats(ops, PARAMETERS);
    int bad = !s || !weights || !gradients;
    for (int64_t i = 0; i < PARAMETERS; i++) {
        w[i] = value(1, i);
        m[i] = value(3, i);
        v[i] = fabsf(value(5, i));
    }
    if (!bad) {
        bad |= mert_moments_set(s, 0, PARAMETERS, m, v, &e);
        ops->upload(ops, weights, w, PARAMETERS * sizeof *w);
        ops->upload(ops, gradients, m, PARAMETERS * sizeof *m);
        bad |= ops->wait(ops, &e);
        bad = bad || mert_moments_update(s, 0, 4096, weights, gradients, &how, &e) ||
              mert_moments_update(s, 4096, PARAMETERS - 4096, weights + 4096, gradients + 4096, &how, &e);
        ops->download(ops, w, weights, PARAMETERS * sizeof *w);
        bad |= ops->wait(ops, &e);
        bad |= mert_moments_get(s, 0, PARAMETERS, m, v, &e);
    }
    ops->release(ops, weights);
    ops->release(ops, gradients);
    mert_moments_free(s);
    return bad;
}

static float here[3][PARAMETERS], there[3][PARAMETERS];

TEST(moments_are_the_same_wherever_they_are)
{
    const char *places[] = {NULL, "host", getenv("TEST_TMP") ? getenv("TEST_TMP") : "/tmp"};
    mert_ops *devices[] = {mert_ops_cpu(), mert_ops_guard(mert_ops_cpu())};
    CHECK(!updated(devices[0], NULL, here[0], here[1], here[2]));
    CHECK(here[0][7] != value(3, 7) && here[2][PARAMETERS - 1] != value(1, PARAMETERS - 1));
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 3; i++) {
            memset(there, 0, sizeof there);
            CHECK(!updated(devices[d], places[i], there[0], there[1], there[2]));
            CHECK(!memcmp(here, there, sizeof here));
        }
    devices[1]->close(devices[1]);
}

TEST(no_room_for_moments_is_said)
{
    mert_error e = {{0}};
    CHECK(!mert_moments_new(mert_ops_cpu(), 100, "/no/such/folder", &e));
    CHECK(strstr(e.text, "/no/such/folder: cannot make a file"));
    CHECK(!mert_moments_new(mert_ops_cpu(), (int64_t)1 << 50, test_tmp(""), &e));
    CHECK(strstr(e.text, "no room for"));
}

int main(void)
{
    RUN(pieces_cover_everything);
    RUN(sums_of_1_2_3_and_7_processes);
    RUN(a_process_that_dies_ends_the_others);
    RUN(a_process_that_is_stopped_ends_the_others);
    RUN(a_process_that_gives_up_has_said_why);
    RUN(a_process_that_hangs_is_named);
    RUN(the_worst_exit_status_counts);
    RUN(moments_are_the_same_wherever_they_are);
    RUN(no_room_for_moments_is_said);
    return test_done();
}
