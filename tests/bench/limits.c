/* limits [--threads N] [--runs R] WHAT: measures the limits of this machine, on --threads cores; prints the median of R
 * runs.
 *
 *     sgemm    GFLOP/s of 2048^3 products, each worker its own single-threaded one (contracts A1, M2)
 *     blas     GFLOP/s of one 2048^3 product on OpenBLAS's own threads
 *     copy     GB/s copied, from memory to memory beyond every cache; each worker its own part */
#include "libcommon/base/pool.h"
#include "libcommon/program/options.h"
#include "tests/bench/clock.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 2048, COPY = 128 << 20 }; /* COPY: bytes per worker */

static int runs = 5;
static const mert_option options[] = {
    {"runs", 0, MERT_INT, &runs, "R", 1, BENCH_RUNS_MAX, NULL, "runs, of which the median counts"}, {0}};
static const mert_tool tool = {
    "limits", "what this machine reaches at most", "[options] sgemm|blas|copy", NULL, options, NULL};

typedef struct matrices {
    float *a, *b, *c; /* N * N per worker; copy: COPY bytes from a to c, without b */
} matrices;

static float *filled(size_t n)
{
    float *x = malloc(n * sizeof *x);
    if (!x) {
        fprintf(stderr, "limits: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u >> 8) % 2001) * 0.001f - 1;
    return x;
}

static void product(const float *a, const float *b, float *c)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, a, N, b, N, 0, c, N);
}

static void own_product(void *arg, int64_t i, int worker)
{
    const matrices *m = arg;
    (void)worker;
    product(m->a + i * N * N, m->b + i * N * N, m->c + i * N * N);
}

static void own_copy(void *arg, int64_t i, int worker)
{
    const matrices *m = arg;
    (void)worker;
    memcpy((char *)m->c + i * COPY, (const char *)m->a + i * COPY, COPY);
}

/* Seconds of the median run; the first run is for warming up and does not count. */
static double median_time(int workers, void (*task)(void *, int64_t, int), matrices *m)
{
    double t[BENCH_RUNS_MAX];
    for (int r = -1; r < runs; r++) {
        double start = bench_now();
        if (task)
            mert_pool_run(workers, task, m);
        else
            product(m->a, m->b, m->c);
        if (r >= 0)
            t[r] = bench_now() - start;
    }
    return bench_median(t, runs);
}

int main(int argc, char **argv)
{
    matrices m;
    int workers;
    size_t each;
    mert_options_parse(&tool, &argc, &argv);
    if (argc != 1 || (strcmp(argv[0], "sgemm") && strcmp(argv[0], "blas") && strcmp(argv[0], "copy")))
        mert_usage_error("which limit: sgemm, blas or copy?");
    workers = mert_pool_threads();
    each = !strcmp(argv[0], "copy") ? COPY / sizeof(float) : (size_t)N * N;
    openblas_set_num_threads(!strcmp(argv[0], "blas") ? workers : 1);
    m.a = filled((size_t)workers * each);
    m.b = strcmp(argv[0], "copy") ? filled((size_t)workers * each) : NULL;
    m.c = filled((size_t)workers * each);
    if (!strcmp(argv[0], "sgemm"))
        printf("%.2f\n", 2e-9 * N * N * N * workers / median_time(workers, own_product, &m));
    else if (!strcmp(argv[0], "blas"))
        printf("%.2f\n", 2e-9 * N * N * N / median_time(workers, NULL, &m));
    else
        printf("%.2f\n", 1e-9 * COPY * workers / median_time(workers, own_copy, &m));
    free(m.a);
    free(m.b);
    free(m.c);
    return 0;
}
