/* Thread pools: threads with different pools share nothing, and threads with one pool take turns. */
#include "libcommon/base/pool.h"

#include "tests/unit/nn.h"

#include <dirent.h>
#include <pthread.h>

enum { N = 200, TASKS = 64 };

typedef struct product {
    int threads;
    mert_pool *pool; /* NULL: one of its own, with `threads` */
    float c[N * N];
    int good;
} product;

static float a_values[N * N], b_values[N * N];

static int multiply(float *c)
{
    mert_ops *o = mert_ops_cpu();
    for (int i = 0; i < 50; i++)
        mert_gemm(o, .M = N, .N = N, .K = N, .a = a_values, .lda = N, .b = b_values, .ldb = N, .c = c, .ldc = N);
    return !o->wait(o, NULL);
}

static void *multiplies(void *arg)
{
    product *p = arg;
    mert_pool *own = p->pool ? NULL : mert_pool_new(p->threads);
    mert_pool_use(p->pool ? p->pool : own);
    p->good = mert_pool_threads() == p->threads && multiply(p->c);
    mert_pool_free(own);
    p->good &= p->pool || !mert_pool_used();
    return NULL;
}

static void at_once(product *p, int n)
{
    pthread_t threads[4];
    for (int i = 0; i < n; i++)
        CHECK(!pthread_create(&threads[i], NULL, multiplies, &p[i]));
    for (int i = 0; i < n; i++)
        CHECK(!pthread_join(threads[i], NULL));
}

TEST(threads_with_pools_of_their_own)
{
    static product p[4];
    for (int i = 0; i < 4; i++)
        p[i].threads = 1 + i;
    at_once(p, 4);
    for (int i = 0; i < 4; i++)
        CHECK(p[i].good && !memcmp(p[i].c, p[0].c, sizeof p[i].c));
}

TEST(threads_with_the_same_pool)
{
    static product p[3];
    float alone[N * N];
    mert_pool *pool = mert_pool_new(3);
    for (int i = 0; i < 3; i++)
        p[i] = (product){.threads = 3, .pool = pool};
    at_once(p, 3);
    mert_pool_free(pool);
    CHECK(multiply(alone));
    for (int i = 0; i < 3; i++)
        CHECK(p[i].good && !memcmp(p[i].c, alone, sizeof alone));
}

static void note_scratch(void *arg, int64_t i, int worker)
{
    int *bad = arg;
    int *mine = mert_pool_scratch(worker, sizeof *mine), value = (int)i;
    if (!mine) {
        __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
        return;
    }
    *mine = value;
    for (volatile int wait = 0; wait < 10000; wait++)
        ;
    if (*mine != value) /* another worker has the same memory */
        __atomic_store_n(bad, 1, __ATOMIC_RELAXED);
}

TEST(each_worker_has_memory)
{
    int bad = 0;
    use_threads(4);
    mert_pool_run(TASKS, note_scratch, &bad);
    CHECK(!bad);
    CHECK(mert_pool_scratch(MERT_POOL_SHARED, 64) != mert_pool_scratch(MERT_POOL_OUTER, 64));
    CHECK((uintptr_t)mert_pool_scratch(MERT_POOL_SHARED, 1) % 64 == 0);
    use_threads(1);
    mert_pool_run(TASKS, note_scratch, &bad); /* without a pool */
    CHECK(!bad);
}

static int lacks_and_renews(void)
{
    int bad = mert_pool_scratch(0, SIZE_MAX / 4) || mert_pool_scratch(MERT_POOL_SHARED, SIZE_MAX - 8);
    bad |= mert_pool_lacking() != SIZE_MAX - 8;
    mert_pool_renew();
    bad |= mert_pool_lacking() || !mert_pool_scratch(0, 1);
    mert_pool_lacks(0); /* counts as a failure */
    return bad || !mert_pool_lacking();
}

static void *lacks(void *arg)
{
    int *bad = arg;
    mert_pool *pool = mert_pool_new(2);
    mert_pool_use(pool);
    *bad = lacks_and_renews();
    mert_pool_free(pool);
    *bad |= mert_pool_lacking() != 0;
    return NULL;
}

TEST(a_failure_belongs_to_its_pool)
{
    pthread_t thread;
    int bad = 1;
    CHECK(!pthread_create(&thread, NULL, lacks, &bad) && !pthread_join(thread, NULL) && !bad);
    CHECK(!mert_pool_lacking());
    CHECK(!lacks_and_renews()); /* without a pool */
    mert_pool_renew();
}

static int tasks_of_the_process(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = -2; /* . and .. */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void nothing(void *arg, int64_t i, int worker)
{
    (void)arg;
    (void)i;
    (void)worker;
}

TEST(threads_begin_at_the_first_run_and_end_with_the_pool)
{
    int before = tasks_of_the_process();
    mert_pool *pool = mert_pool_new(3);
    mert_pool_use(pool);
    CHECK(tasks_of_the_process() == before);
    mert_pool_run(TASKS, nothing, NULL);
    CHECK(tasks_of_the_process() == before + 2);
    mert_pool_free(pool);
    CHECK(!mert_pool_used() && mert_pool_threads() == 1);
    for (int i = 0; i < 1000 && tasks_of_the_process() > before; i++) /* a joined thread can be listed a moment longer */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK(tasks_of_the_process() == before);
}

int main(void)
{
    for (int i = 0; i < N * N; i++) {
        a_values[i] = (float)(i % 17) / 8 - 1;
        b_values[i] = (float)(i % 23) / 8 - 1;
    }
    RUN(threads_with_pools_of_their_own);
    RUN(threads_with_the_same_pool);
    RUN(each_worker_has_memory);
    RUN(a_failure_belongs_to_its_pool);
    RUN(threads_begin_at_the_first_run_and_end_with_the_pool);
    return test_done();
}
