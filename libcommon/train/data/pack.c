#include "libcommon/train/data/pack.h"

#include "formats/file.h"
#include "libcommon/base/install_paths.h"
#include "libcommon/train/data/records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
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

/* Returns the exit status of the child; -1: it could not be started, or was killed. */
static int run_decoder(const char *manifest, int64_t sample_rate, int out, mert_error *e)
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
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return mert_fail(e, "mert-decode: %s", strerror(errno));
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

int mert_pack_make(const char *path, const char *manifest, int64_t sample_rate, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    int status;
    if (!o)
        return -1;
    status = run_decoder(manifest, sample_rate, fileno(o->stream), e);
    if (status == 2 || status == 127)
        status = mert_fail(e, "mert-decode failed (exit status %d)", status);
    if (status < 0 || check_whole(o->temporary, e)) {
        mert_output_abandon(o);
        return mert_fail_in(e, "packing %s", manifest);
    }
    return mert_output_commit(o, e);
}
