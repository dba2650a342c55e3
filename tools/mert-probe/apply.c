/* apply: runs a trained probe on features. */
#include "libcommon/probe/apply.h"

#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "tools/mert-probe/commands.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const char *model;
static int frames = -1, per_item, any_settings;
static double span;

const mert_option probe_apply_options[] = {
    {"model", 'm', MERT_STRING, &model, "PROBE", 0, 0, NULL, "the probe, as mert-probe -o writes it"},
    {"frames", 0, MERT_FLAG, &frames, NULL, 0, 0, NULL, "a row for each frame (default: as the probe was trained)"},
    {"span", 0, MERT_DOUBLE, &span, "SECONDS", 1e-3, 1e9, NULL,
     "a row for each span of this length (default: one for the whole item)"},
    {"per-item", 0, MERT_FLAG, &per_item, NULL, 0, 0, NULL,
     "a row for each item, with the mean of what is predicted for its spans or frames"},
    {"any-settings", 0, MERT_FLAG, &any_settings, NULL, 0, 0, NULL,
     "accept features that were made with other settings"},
    {0}};

/* The filter's stage, with an end that checks the output. */
static int finish(void *self, mert_error *e)
{
    mert_apply *a = self;
    errno = 0;
    if (fflush(a->to) || ferror(a->to))
        return mert_fail(e, "cannot write to standard output: %s", strerror(errno ? errno : EIO));
    return 0;
}

int probe_apply(int argc, char **argv)
{
    mert_trained probe;
    mert_apply a = {.probe = &probe, .to = stdout};
    mert_stage stage = mert_apply_stage;
    mert_error e;
    int status = 1;
    signal(SIGPIPE, SIG_DFL); /* as in mert-probe.c */
    if (!model)
        mert_usage_error("-m PROBE is needed");
    if (span > 0 && frames > 0)
        mert_usage_error("--frames or --span?");
    if (mert_trained_read(&probe, model, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    a.frames = span > 0 ? 0 : frames >= 0 ? frames : probe.frames;
    a.span = span;
    a.per_item = per_item;
    a.any_settings = any_settings;
    a.layer = probe.layers > 1 ? "weighted" : probe.layer[0];
    stage.finish = finish;
    if (mert_apply_make(&a, &e))
        mert_log_error("%s", e.text);
    else {
        mert_predictions_head(stdout, &probe.outputs);
        status = mert_filter_run(&(mert_filter){.stage = &stage, .self = &a, .no_output = 1}, argv, argc);
    }
    mert_apply_free(&a);
    mert_trained_free(&probe);
    return status;
}
