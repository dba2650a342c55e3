#define _GNU_SOURCE
#include "libcommon/train/parallel/exchange.h"

#include "formats/array.h"
#include "libcommon/base/install_paths.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- alone ---- */

static int nothing(mert_exchange *x, float *data, int64_t n, mert_error *e)
{
    (void)x;
    (void)data;
    (void)n;
    (void)e;
    return 0;
}

static int copy(mert_exchange *x, const void *mine, void *all, size_t bytes, mert_error *e)
{
    (void)x;
    (void)e;
    memcpy(all, mine, bytes);
    return 0;
}

static void leave(mert_exchange *x)
{
    (void)x;
}

mert_exchange *mert_exchange_alone(void)
{
    static mert_exchange alone = {.name = "alone",
                                  .ranks = 1,
                                  .neighbours = 1,
                                  .reduce_scatter = nothing,
                                  .all_gather = nothing,
                                  .collect = copy,
                                  .abandon = leave,
                                  .close = leave};
    return &alone;
}

/* ---- small things ---- */

int mert_exchange_sum(mert_exchange *x, double *data, int n, mert_error *e)
{
    double *all;
    if (x->ranks == 1)
        return 0;
    all = n <= MERT_SUM_MAX ? mert_array(mert_array_count(x->ranks, n), sizeof *all) : NULL;
    if (!all)
        return mert_fail(e, "out of memory");
    if (x->collect(x, data, all, (size_t)n * sizeof *data, e)) {
        free(all);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        data[i] = all[i];
        for (int r = 1; r < x->ranks; r++)
            data[i] += all[r * n + i];
    }
    free(all);
    return 0;
}

int mert_exchange_barrier(mert_exchange *x, mert_error *e)
{
    double nought = 0;
    return mert_exchange_sum(x, &nought, 1, e);
}

/* ---- devices ---- */

/* Whether the launcher made only one device visible to each process; it then has the number 0. */
static int sees_its_own(const mert_exchange *x)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return strcmp(x->name, "local") && visible && *visible && !strchr(visible, ',');
}

int mert_exchange_device(const mert_exchange *x, const char *device, char *name, size_t room, mert_error *e)
{
    int plugin = strcmp(device, "cpu") && strcmp(device, "guard");
    if (x->ranks > 1 && strchr(device, ':'))
        return mert_fail(e, "--device %s: each of %d processes takes a device of its own, so give no number "
                            "(CUDA_VISIBLE_DEVICES chooses among devices)", device, x->ranks);
    if (x->ranks > 1 && plugin)
        snprintf(name, room, "%s:%d", device, sees_its_own(x) ? 0 : x->neighbour);
    else
        snprintf(name, room, "%s", device);
    return 0;
}

/* ---- the plugin ---- */

int mert_exchange_launched(void)
{
    /* Open MPI and others with PMIx; MPICH and its derivatives; a step of Slurm, with any MPI */
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        long n = value ? strtol(value, NULL, 10) : 0;
        if (n > 0)
            return n < INT_MAX ? (int)n : INT_MAX;
    }
    return 1;
}

mert_exchange *mert_exchange_mpi(mert_error *e)
{
    char *path = mert_plugin_path("exchange-mpi.so");
    /* global, because libraries that MPI loads later need MPI's symbols */
    void *handle = path ? dlopen(path, RTLD_NOW | RTLD_GLOBAL) : NULL;
    mert_exchange_plugin *open;
    mert_exchange *x = NULL;
    int launched = mert_exchange_launched();
    if (!path)
        mert_fail(e, "out of memory");
    else if (!handle)
        mert_fail(e, "%d processes were started, but the MPI plugin cannot be loaded: %s", launched, dlerror());
    else {
        *(void **)&open = dlsym(handle, MERT_EXCHANGE_PLUGIN);
        x = open ? open(MERT_EXCHANGE_VERSION, e) : (mert_fail(e, "%s: no plugin of this program", path), NULL);
    }
    free(path);
    if (x && x->ranks != launched) {
        mert_fail(e, "%d processes were started, but MPI knows of %d: was it made for this launcher? (srun --mpi=pmix)",
                  launched, x->ranks);
        x->close(x);
        return NULL;
    }
    return x;
}
