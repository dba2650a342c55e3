#include "libcommon/program/report.h"

#include "libcommon/base/clock.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t items, failed, said, broken;
static double audio_seconds, started = -1;
static int64_t expected, items_before; /* sum of mert_report_expect; number of items that were finished at that time */
static double expected_since;

static void start(void)
{
    if (started < 0)
        started = mert_seconds();
}

__attribute__((constructor)) static void start_with_the_program(void)
{
    start();
}

void mert_report_expect(int64_t more)
{
    if (!expected) {
        expected = items_before = items;
        expected_since = mert_seconds();
    }
    expected += more;
}

void mert_report_item(double seconds)
{
    char text[160];
    items++;
    audio_seconds += seconds;
    mert_progress_text(text, sizeof text, &(mert_progress){items, expected, audio_seconds, mert_seconds() - started,
                                                           items_before, expected_since - started});
    mert_log_progress("%s", text);
}

/* ---- repeated reasons ---- */

enum { LINES = 10, REASONS = 1000 };
static struct reason {
    char *text;
    int64_t times;
} *reasons; /* [REASONS]; if it is full, further reasons are always printed */
static int nreasons;

/* Whether this reason was printed often enough: then it is only counted, for the line at the end. */
static int told_often(const char *reason)
{
    int i = 0;
    if (!reasons && !(reasons = calloc(REASONS, sizeof *reasons)))
        return 0;
    while (i < nreasons && strcmp(reasons[i].text, reason))
        i++;
    if (i == nreasons) {
        if (i == REASONS || !(reasons[i].text = strdup(reason)))
            return 0;
        nreasons++;
    }
    return ++reasons[i].times > LINES;
}

static void tell_counts(void)
{
    for (int i = 0; i < nreasons; i++) {
        int64_t more = reasons[i].times - LINES;
        if (more > 0)
            mert_log_error("and %" PRId64 " more item%s failed for the same reason: %s", more, more == 1 ? "" : "s",
                           reasons[i].text);
        free(reasons[i].text);
    }
    free(reasons);
    reasons = NULL;
    nreasons = 0;
}

int mert_report_failed(const char *key, const char *reason, int here)
{
    items++;
    failed++;
    said += here != 0;
    if (here && !told_often(reason)) {
        if (*key)
            mert_log_error("%s: %s", key, reason);
        else
            mert_log_error("%s", reason);
    }
    return mert_options.fail_fast;
}

int mert_report_all_failed(void)
{
    return items > 0 && said == items;
}

void mert_report_broken(const char *format, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    broken++;
    if (*text)
        mert_log_error("%s", text);
}

/* Whether standard input is a pipe: then the program before this one has reported its failures. */
static int in_a_pipe(void)
{
    struct stat st;
    return !fstat(STDIN_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

int mert_report_finish(void)
{
    int bad = broken > 0;
    double seconds = mert_seconds() - started;
    if (mert_options.max_failed >= 0)
        bad |= failed > mert_options.max_failed;
    else
        bad |= 100.0 * (double)failed > mert_options.max_failed_percent * (double)items;
    mert_log_progress_end();
    tell_counts();
    if (bad && !said && !broken && !in_a_pipe())
        mert_log_error("%" PRId64 " item%s had failed before", failed, failed == 1 ? "" : "s");
    if (mert_options.verbose) {
        struct rusage u;
        getrusage(RUSAGE_SELF, &u);
        mert_log_error("%" PRId64 " items, %" PRId64 " failed, %.1f s of audio in %.2f s, %.1f times real time, "
                       "peak %.1f MB",
                       items, failed, audio_seconds, seconds, audio_seconds / (seconds + 1e-9),
                       (double)u.ru_maxrss / 1024);
    }
    return bad ? 1 : 0;
}

int mert_inputs_report(const mert_inputs *in, int event, const mert_error *e)
{
    const mts_failure *x;
    switch (event) {
    case MTS_RECORD_END:
        mert_report_item(mert_record_seconds(mts_reader_record(in->reader)));
        return 0;
    case MTS_FAILED:
        x = mts_reader_failure(in->reader);
        return mert_report_failed(x->key, x->reason, x->here);
    case MTS_DAMAGE:
        mert_report_broken("%s", mts_reader_failure(in->reader)->reason);
        return mert_options.fail_fast;
    case MTS_ERROR:
        mert_report_broken("%s", e->text);
        return mert_options.fail_fast;
    default:
        return 0;
    }
}
