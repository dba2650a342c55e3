#include "tools/mert-train/processes.h"

#include "formats/array.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 1024 };

/* Sets the number of threads, if it was not given: this process's share of the cores, unless the launcher has bound it
 * to some. */
static void share_cores(const mert_exchange *x)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN), share = cores / x->neighbours;
    if (!mert_options.threads_given && share < mert_options.threads) {
        mert_options.threads = share > 1 ? (int)share : 1;
        mert_options_use_threads();
    }
}

/* Only process 0 prints notes; the other processes print only their own errors. */
static void take_a_name(const mert_exchange *x)
{
    char name[64];
    if (!x->rank)
        return;
    snprintf(name, sizeof name, "mert-train: process %d", x->rank);
    mert_log_name(name);
    mert_options.quiet = 1;
    mert_options.verbose = 0;
    mert_options.progress = 0;
}

void processes_report(const char *why, const char *save)
{
    int64_t newest = *why ? mert_state_newest(save) : -1;
    if (newest >= 0)
        mert_log_error("%s; %s/checkpoint-%" PRId64 " is whole: --resume goes on from it", why, save, newest);
    else if (*why)
        mert_log_error("%s", why);
}

static mert_exchange *start_here(int wanted, const char *save, int *status)
{
    mert_error e;
    mert_exchange *x = NULL;
    int over = mert_exchange_local(wanted, &x, status, &e);
    if (over < 0)
        *status = 1;
    if (!over)
        return x;
    processes_report(e.text, save);
    return NULL;
}

mert_exchange *processes_join(int wanted, const char *save, int *status)
{
    mert_error e = {{0}};
    mert_exchange *x;
    int launched = mert_exchange_launched();
    *status = 1;
    if (wanted > 1 && launched > 1)
        mert_usage_error("--processes starts processes of this machine; mpirun or srun have started %d already",
                         launched);
    if (wanted > 1)
        x = start_here(wanted, save, status);
    else if (launched > 1) {
        if (!(x = mert_exchange_mpi(&e)))
            mert_log_error("%s", e.text);
    } else
        x = mert_exchange_alone();
    if (x) {
        share_cores(x);
        take_a_name(x);
    }
    return x;
}

int processes_agree(mert_exchange *x, int bad, void *told, size_t size, mert_error *e)
{
    struct { int bad; char text[TEXT_MAX]; } mine = {.bad = bad != 0}, *all;
    int first = -1;
    if (x->ranks == 1)
        return bad;
    if (!(all = mert_array(x->ranks, sizeof *all)))
        return mert_fail(e, "out of memory");
    if (bad)
        memcpy(mine.text, e->text, sizeof mine.text);
    else if (told)
        memcpy(mine.text, told, size < sizeof mine.text ? size : sizeof mine.text);
    if (x->collect(x, &mine, all, sizeof mine, e)) {
        free(all);
        return -1;
    }
    for (int r = x->ranks - 1; r >= 0; r--)
        if (all[r].bad)
            first = r;
    if (first < 0 && told)
        memcpy(told, all[0].text, size < sizeof mine.text ? size : sizeof mine.text);
    if (first >= 0 && first != x->rank)
        e->text[0] = 0; /* that process prints it */
    free(all);
    return first >= 0 ? -1 : 0;
}
