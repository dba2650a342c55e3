#include "times.h"

#include <algorithm>
#include <stdio.h>
#include <stdlib.h>

enum { PAIRS = 256 };

struct total {
    const char *name;
    int64_t count;
    double ms;
};

struct times {
    const char *path;
    cudaEvent_t begin[PAIRS], end[PAIRS];
    mert_op op[PAIRS];
    int n; /* pairs that are queued and not counted yet */
    total of[MERT_OPS_COUNT];
};

static void forget(times *t)
{
    for (int i = 0; i < PAIRS; i++) {
        if (t->begin[i])
            cudaEventDestroy(t->begin[i]);
        if (t->end[i])
            cudaEventDestroy(t->end[i]);
    }
    free(t);
}

times *times_open(void)
{
    const char *path = getenv("MERT_CUDA_TIMES");
    times *t = path && *path ? (times *)calloc(1, sizeof *t) : NULL;
    int bad = 0;
    if (!t)
        return NULL;
    t->path = path;
    for (int i = 0; i < PAIRS && !bad; i++)
        bad = cudaEventCreateWithFlags(&t->begin[i], cudaEventDefault) != cudaSuccess ||
              cudaEventCreateWithFlags(&t->end[i], cudaEventDefault) != cudaSuccess;
    if (!bad)
        return t;
    cudaGetLastError();
    forget(t);
    return NULL;
}

/* Adds the pairs that are queued. A device that has failed has no times. */
static void count(times *t)
{
    int bad = t->n > 0 && cudaEventSynchronize(t->end[t->n - 1]) != cudaSuccess;
    for (int i = 0; i < t->n && !bad; i++) {
        float ms = 0;
        bad = cudaEventElapsedTime(&ms, t->begin[i], t->end[i]) != cudaSuccess;
        t->of[t->op[i]].count += !bad;
        t->of[t->op[i]].ms += ms;
    }
    t->n = 0;
}

void times_begin(times *t, mert_op op, const char *name, cudaStream_t s)
{
    if (!t)
        return;
    if (t->n == PAIRS)
        count(t);
    t->of[op].name = name;
    t->op[t->n] = op;
    cudaEventRecord(t->begin[t->n], s);
}

void times_end(times *t, cudaStream_t s)
{
    if (t)
        cudaEventRecord(t->end[t->n++], s);
}

static bool longer(const total &a, const total &b) { return a.ms > b.ms; }

void times_close(times *t, const char *device)
{
    total all = {};
    FILE *f;
    if (!t)
        return;
    count(t);
    for (const total &one : t->of) {
        all.count += one.count;
        all.ms += one.ms;
    }
    std::sort(t->of, t->of + MERT_OPS_COUNT, longer);
    if ((f = fopen(t->path, "a"))) {
        fprintf(f, "%s: %.3f ms in %lld operations\n", device, all.ms, (long long)all.count);
        for (const total &one : t->of)
            if (one.count)
                fprintf(f, "%12.3f ms %5.1f%% %8lld times  %s\n", one.ms, 100 * one.ms / (all.ms > 0 ? all.ms : 1),
                        (long long)one.count, one.name);
        fclose(f);
    }
    forget(t);
}
