/* For the tests of nn/: random numbers, arrays that are freed at the end of each test, copies to a backend and back,
 * and a loop over backends and thread counts that compares the bytes of all results (contracts A1, B2). */
#ifndef TEST_NN_H
#define TEST_NN_H

#define MERT_ELEMENT float /* the type that these tests copy to and from a backend */
#include "libcommon/base/cpu.h"
#include "tests/unit/threads.h"
#include "libcommon/nn/ops.h"
#include "tests/test.h"

#include <sys/wait.h>
#include <unistd.h>

static mert_ops *ops;        /* the backend under test */
static uint64_t nn_digest;   /* of all results of the running test */
static int nn_again;         /* the test runs again: its results are compared with the first ones, byte for byte */
static void *nn_host[1 << 12], *nn_device[1 << 12];
static int nn_hosts, nn_devices;

/* ---- numbers and arrays ---- */

static inline void *keep(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p || nn_hosts == (int)(sizeof nn_host / sizeof *nn_host))
        abort();
    return nn_host[nn_hosts++] = p;
}

/* n numbers of about unit variance, the same for the same seed */
static inline float *numbers(int64_t n, uint32_t seed)
{
    float *x = keep((size_t)n * sizeof *x);
    uint64_t s = seed * 0x9E3779B97F4A7C15u + 1;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) { /* the sum of three uniform numbers of [-1, 1) has variance 1 */
            s = s * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(s >> 33) * 0x1p-30 - 1;
        }
        x[i] = (float)sum;
    }
    return x;
}

static inline double *wide(const float *x, int64_t n)
{
    double *y = keep((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

static inline double *zeros(int64_t n)
{
    return keep((size_t)n * sizeof(double));
}

/* ---- to the backend and back ---- */

static inline void *room_bytes(size_t bytes)
{
    void *p = ops->alloc(ops, bytes);
    if (!p || nn_devices == (int)(sizeof nn_device / sizeof *nn_device))
        abort();
    return nn_device[nn_devices++] = p;
}

static inline float *room(int64_t n)
{
    return room_bytes((size_t)n * sizeof(float));
}

static inline void *put_bytes(const void *x, size_t bytes)
{
    void *p = room_bytes(bytes);
    ops->upload(ops, p, x, bytes);
    return p;
}

static inline float *put(const float *x, int64_t n)
{
    return put_bytes(x, (size_t)n * sizeof *x);
}

/* Waits for it. */
static inline void *get_bytes(const void *device, size_t bytes)
{
    unsigned char *p = keep(bytes);
    ops->download(ops, p, device, bytes);
    if (ops->wait(ops, NULL))
        abort();
    for (size_t i = 0; i < bytes; i++)
        nn_digest = (nn_digest ^ p[i]) * 0x100000001B3u;
    return p;
}

static inline float *get(const float *device, int64_t n)
{
    return get_bytes(device, (size_t)n * sizeof(float));
}

static inline void forget(void)
{
    for (int i = 0; i < nn_devices; i++)
        ops->release(ops, nn_device[i]);
    for (int i = 0; i < nn_hosts; i++)
        free(nn_host[i]);
    nn_devices = nn_hosts = 0;
}

/* The largest difference, relative to the largest magnitude; NaN counts as infinite. */
static inline double apart(const float *y, const double *exact, int64_t n)
{
    double difference = 0, magnitude = 1e-300;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs(y[i] - exact[i]) <= difference))
            difference = fabs(y[i] - exact[i]);
        if (difference != difference)
            return INFINITY;
        magnitude = fmax(magnitude, fabs(exact[i]));
    }
    return difference / magnitude;
}

#define CHECK_APART(y, exact, n, tolerance) CHECK_NEAR(apart(y, exact, n), 0, tolerance)

/* ---- the loop ---- */

typedef struct nn_test {
    const char *name;
    void (*run)(void);
} nn_test;
#define NN_TEST(name) {#name, test_##name}

/* Runs each test on the CPU backend with 1 and 3 threads and on the guard backend; all results must be the same bytes.
 * With $MERT_ISA set (below) only with 3 threads. */
static inline void run_everywhere(const nn_test *tests, int n)
{
    static const struct { const char *backend; int threads; } places[] = {{"cpu", 1}, {"cpu", 3}, {"guard", 3}};
    uint64_t first[64] = {0};
    char where[64];
    int start = getenv("MERT_ISA") != NULL, end = start ? 2 : 3;
    for (int place = start; place < end; place++) {
        nn_again = place > start;
        use_threads(places[place].threads);
        ops = mert_ops_open(places[place].backend, MERT_ELEMENT_F32, NULL);
        for (int i = 0; i < n; i++) {
            test_bad = 0;
            nn_digest = 0xCBF29CE484222325u;
            tests[i].run();
            forget();
            if (!test_bad && place == start)
                first[i] = nn_digest;
            if (!test_bad && nn_digest != first[i]) {
                printf("# the results' bytes are not those of the CPU backend with 1 thread\n");
                test_bad = 1;
            }
            snprintf(where, sizeof where, "%s, %s, %d threads", places[place].backend, mert_cpu_isa_name(),
                     places[place].threads);
            test_report(tests[i].name, where);
        }
        ops->close(ops);
    }
    use_threads(1);
}

/* Runs this program again for every smaller instruction set, because the choice is made once per process. */
static inline void run_lesser_sets(char **argv)
{
    static const char *const names[] = {"generic", "avx2", "avx512"};
    int best = (int)mert_cpu_isa();
    if (getenv("MERT_ISA"))
        return;
    for (int i = 0; i < best; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            setenv("MERT_ISA", names[i], 1);
            execv(argv[0], argv);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            test_bad = 1;
            test_report("the same with another MERT_ISA", names[i]);
        }
    }
}

#endif
