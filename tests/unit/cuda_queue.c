/* The queue of the CUDA backend on the emulated device (tests/cuda): marks, downloads that are handed over in parts,
 * uploads ahead, pinned memory, failures. */
#include "tests/cuda/on_device.h"

#include <pthread.h>

static int all_are(const float *x, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != value)
            return 0;
    return 1;
}

TEST(a_mark_waits_for_what_is_before_it_alone)
{
    float x[2] = {1, 2}, y[2] = {7, 7}, z[2] = {7, 7}, *d = put(x, 2);
    int64_t first, second;
    ops->download(ops, y, d, sizeof y);
    first = ops->mark(ops);
    mert_axpy(ops, .to = d, .from = d, .n = 2);
    ops->download(ops, z, d, sizeof z);
    second = ops->mark(ops);
    CHECK(first && second && y[0] == 7);
    CHECK(!ops->wait_mark(ops, first, NULL));
    CHECK(y[0] == 1 && y[1] == 2 && z[0] == 7);
    CHECK(!ops->wait_mark(ops, second, NULL));
    CHECK(z[0] == 2 && z[1] == 4);
    y[0] = 9;
    CHECK(!ops->wait_mark(ops, first, NULL) && !ops->wait_mark(ops, second, NULL)); /* once more: long done */
    CHECK(y[0] == 9);
}

/* As training has it, one mark behind: more in all than any ring of the backend holds. */
TEST(downloads_that_never_end)
{
    enum { TURNS = 700, N = 6000 };
    float *d = room(N), *y[2] = {keep(N * sizeof(float)), keep(N * sizeof(float))};
    int64_t marks[2] = {0, 0};
    for (int t = 0; t < TURNS; t++) {
        int64_t n = t % 50 == 49 ? N : t % 7 + 1;
        mert_fill(ops, .to = d, .value = (float)t, .n = N);
        ops->download(ops, y[t % 2], d, (size_t)n * sizeof(float));
        marks[t % 2] = ops->mark(ops);
        if (t > 0) {
            int64_t before = (t - 1) % 50 == 49 ? N : (t - 1) % 7 + 1;
            CHECK(!ops->wait_mark(ops, marks[(t - 1) % 2], NULL));
            CHECK(all_are(y[(t - 1) % 2], before, (float)(t - 1)));
        }
    }
    CHECK(!ops->wait(ops, NULL));
    CHECK(all_are(y[1], (TURNS - 1) % 7 + 1, TURNS - 1));
}

TEST(a_download_that_is_larger_than_the_ring)
{
    enum { N = 3 << 20, FEW = 300 };
    float *d = room(N), *y = keep((size_t)N * sizeof *y), few[FEW];
    int64_t first, second;
    mert_fill(ops, .to = d, .value = 3, .n = N);
    for (int i = 0; i < FEW; i++)
        ops->download(ops, few + i, d + i, sizeof *few);
    first = ops->mark(ops);
    ops->download(ops, y, d, (size_t)N * sizeof *y);
    second = ops->mark(ops);
    CHECK(!ops->wait_mark(ops, second, NULL) && !ops->wait_mark(ops, first, NULL));
    CHECK(all_are(few, FEW, 3) && all_are(y, N, 3));
}

/* Of more marks than the backend keeps, the first is right all the same. */
TEST(many_marks)
{
    float x[1] = {1}, y[200], *d = put(x, 1);
    int64_t first = 0, last = 0;
    for (int i = 0; i < 200; i++) {
        y[i] = 0;
        mert_fill(ops, .to = d, .value = (float)(i + 1), .n = 1);
        ops->download(ops, y + i, d, sizeof *y);
        CHECK(ops->mark(ops) > last);
        last = ops->mark(ops);
        first = first ? first : last;
    }
    CHECK(!ops->wait_mark(ops, first, NULL));
    CHECK(y[0] == 1);
    CHECK(!ops->wait_mark(ops, last, NULL));
    for (int i = 0; i < 200; i++)
        CHECK(y[i] == (float)(i + 1));
}

TEST(an_upload_ahead_of_the_queue)
{
    enum { N = 100000 };
    float *d[2] = {room(N), room(N)}, *from[2] = {ops->pin(ops, N * sizeof(float)), keep(N * sizeof(float))};
    float *sum = room(N), *y[3];
    CHECK(from[0]);
    mert_fill(ops, .to = sum, .n = N);
    for (int k = 0; k < 2; k++) { /* pinned, and any */
        for (int i = 0; i < N; i++)
            from[k][i] = (float)(k + 1);
        ops->upload_ahead(ops, d[k], from[k], N * sizeof(float));
        mert_axpy(ops, .to = sum, .from = d[k], .n = N);
    }
    for (int k = 0; k < 2; k++)
        y[k] = get(d[k], N);
    y[2] = get(sum, N);
    CHECK(all_are(y[0], N, 1) && all_are(y[1], N, 2) && all_are(y[2], N, 3));
    ops->upload_ahead(ops, d[0], from[0], 0);
    ops->unpin(ops, from[0]);
    ops->unpin(ops, NULL);
    CHECK(!ops->wait(ops, NULL));
}

static void *pins(void *arg)
{
    int *bad = arg;
    for (int i = 0; i < 200; i++) {
        char *p = ops->pin(ops, (size_t)i * 100);
        if (!p)
            *bad = 1;
        else if (i > 0)
            p[0] = p[i * 100 - 1] = 1;
        ops->unpin(ops, p);
    }
    return NULL;
}

TEST(another_thread_pins_memory)
{
    pthread_t thread;
    int bad = 0;
    float x[3] = {1, 1, 1}, *d = put(x, 3);
    CHECK(!pthread_create(&thread, NULL, pins, &bad));
    for (int i = 0; i < 20; i++) {
        mert_axpy(ops, .to = d, .from = d, .n = 3);
        CHECK(get(d, 3)[0] == (float)(2 << i));
    }
    CHECK(!pthread_join(thread, NULL) && !bad);
}

/* What failed behind the mark may be said already; what failed before it must be. */
TEST(a_mark_says_what_failed)
{
    mert_error e = {.text = ""};
    float x[512] = {1}, y[1] = {7}, *d = put(x, 512);
    int64_t mark;
    mert_attention(ops, .out = d, .q = d, .k = d, .v = d, .B = 1, .T = 1, .H = 1, .dh = 512, .ld = 512, .scale = 1);
    ops->download(ops, y, d, sizeof y);
    mark = ops->mark(ops);
    CHECK(ops->wait_mark(ops, mark, &e) == -1 && strstr(e.text, "256 channels"));
    CHECK(ops->wait(ops, NULL) == -1 && y[0] == 7);
    CHECK(!ops->renew(ops, NULL));
    CHECK(get(d, 1)[0] == 1);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(a_mark_waits_for_what_is_before_it_alone),
                                    NN_TEST(downloads_that_never_end),
                                    NN_TEST(a_download_that_is_larger_than_the_ring),
                                    NN_TEST(many_marks),
                                    NN_TEST(an_upload_ahead_of_the_queue),
                                    NN_TEST(another_thread_pins_memory),
                                    NN_TEST(a_mark_says_what_failed)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
