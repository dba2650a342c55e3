#include "libcommon/train/data/pack.h"

#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/install_paths.h"
#include "libcommon/train/data/records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int mert_pack_fits(const char *path, uint64_t manifest, int64_t sample_rate, mert_index_keeping keeping)
{
    mert_records r;
    mert_error unsaid;
    int fits;
    if (mert_file_regular(path, NULL) || mert_records_open(&r, path, keeping, &unsaid))
        return 0;
    fits = r.facts->manifest == manifest && r.facts->records && r.kinds[0].sample_rate == sample_rate;
    mert_records_close(&r);
    return fits;
}

enum { HANGS = -2 };

/* Waits until the child ends. Returns 0; -1: error; HANGS: nothing was added to `out` for `patience` seconds (0: for
 * ever), and the child was killed. */
static int wait_for(pid_t pid, int out, double patience, int *status, mert_error *e)
{
    static const struct timespec pause = {0, 2000000};
    double heard = mert_seconds();
    off_t size = 0;
    pid_t got;
    while (!(got = waitpid(pid, status, WNOHANG)) || (got < 0 && errno == EINTR)) {
        struct stat s;
        if (!fstat(out, &s) && s.st_size != size) {
            size = s.st_size;
            heard = mert_seconds();
        }
        if (patience > 0 && mert_seconds() - heard > patience) {
            kill(pid, SIGKILL);
            return HANGS;
        }
        nanosleep(&pause, NULL);
    }
    return got < 0 ? mert_fail(e, "mert-decode: %s", strerror(errno)) : 0;
}

/* Returns the exit status of the child; -1: it could not be started, or was killed; HANGS. */
static int run_decoder(const char *manifest, int64_t sample_rate, int out, double patience, mert_error *e)
{
    char rate[32], *decoder = mert_program_path("mert-decode");
    char *argv[] = {decoder, "--rate", rate, "--manifest", (char *)manifest, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status, bad;
    if (!decoder)
        return mert_fail(e, "out of memory");
    snprintf(rate, sizeof rate, "%" PRId64, sample_rate);
    if (posix_spawn_file_actions_init(&actions)) {
        free(decoder);
        return mert_fail(e, "out of memory");
    }
    bad = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (!bad)
        bad = posix_spawnp(&pid, decoder, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (bad)
        mert_fail(e, "cannot start %s: %s", decoder, strerror(bad));
    free(decoder);
    if (bad)
        return -1;
    if ((bad = wait_for(pid, out, patience, &status, e)))
        return bad;
    return WIFEXITED(status) ? WEXITSTATUS(status)
                             : mert_fail(e, "mert-decode was ended by signal %d", WTERMSIG(status));
}

/* Checks that the stream is complete: with exit status 1 it may still be, with some failed items. */
static int check_whole(const char *path, mert_error *e)
{
    FILE *f = fopen(path, "rb");
    const mts_index_visitor nobody = {NULL, NULL, NULL};
    int64_t damaged;
    int bad;
    if (!f)
        return mert_fail(e, "%s: %s", path, strerror(errno));
    bad = mts_index_scan(f, path, &nobody, &damaged, e->text, sizeof e->text);
    fclose(f);
    return bad;
}

static int count_record(void *arg, const mts_entry *entry)
{
    (void)entry;
    ++*(int64_t *)arg;
    return 0;
}

static int count_failed(void *arg, const mts_failure *failure)
{
    (void)failure;
    ++*(int64_t *)arg;
    return 0;
}

/* The error for a child that hangs names the row after those that are in the file. */
static int hangs(const char *path, const char *manifest, double patience, mert_error *e)
{
    int64_t n = 0, damaged;
    const mts_index_visitor visitor = {count_record, count_failed, &n};
    char unsaid[256];
    mert_error why = {{0}};
    mert_manifest m = {0};
    FILE *f = fopen(path, "rb");
    if (f) {
        (void)mts_index_scan(f, path, &visitor, &damaged, unsaid, sizeof unsaid); /* it has no end */
        fclose(f);
    }
    if (mert_manifest_read(&m, manifest, &why) || n >= m.n)
        mert_fail(e, "mert-decode has written nothing for %.3g s (--hang-after)", patience);
    else
        mert_fail(e, "%s: mert-decode has written nothing for %.3g s while it decoded this (--hang-after): it hangs, "
                  "or the disk does", m.rows[n].path, patience);
    mert_manifest_free(&m);
    return -1;
}

int mert_pack_make(const char *path, const char *manifest, int64_t sample_rate, double patience, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    int status;
    if (!o)
        return -1;
    status = run_decoder(manifest, sample_rate, fileno(o->stream), patience, e);
    if (status == HANGS)
        status = hangs(o->temporary, manifest, patience, e);
    if (status == 2 || status == 127)
        status = mert_fail(e, "mert-decode failed (exit status %d)", status);
    if (status < 0 || check_whole(o->temporary, e)) {
        mert_output_abandon(o);
        return mert_fail_in(e, "packing %s", manifest);
    }
    return mert_output_commit(o, e);
}
