#define _GNU_SOURCE
#include "libcommon/program/log.h"

#include "libcommon/base/clock.h"
#include "libcommon/program/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char program[64] = "mert";
static int progress_shown;
static double progress_first, progress_last;

void mert_log_name(const char *name)
{
    snprintf(program, sizeof program, "%s", name);
}

/* One write(2) for the whole line, so that parallel jobs do not interleave; control characters (from file names) are
 * shown as '?', so that a message is one line. */
static void write_line(const char *format, va_list ap)
{
    char line[4096];
    int wipe = progress_shown ? snprintf(line, sizeof line, "\r\033[K") : 0;
    int n = wipe + snprintf(line + wipe, sizeof line - (size_t)wipe, "%s: ", program);
    n += vsnprintf(line + n, sizeof line - 2 - (size_t)n, format, ap);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    for (int i = wipe; i < n; i++)
        if ((unsigned char)line[i] < 32 || line[i] == 127)
            line[i] = '?';
    line[n++] = '\n';
    progress_shown = 0;
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* stderr is the only place for messages */
}

void mert_log_error(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    write_line(format, ap);
    va_end(ap);
}

void mert_log_note(const char *format, ...)
{
    va_list ap;
    if (mert_options.quiet)
        return;
    va_start(ap, format);
    write_line(format, ap);
    va_end(ap);
}

/* Whether stderr is a terminal, and standard output is no pipe into a further program, which shows its own line. */
static int last_on_a_terminal(void)
{
    struct stat out;
    return isatty(STDERR_FILENO) && (fstat(STDOUT_FILENO, &out) || !S_ISFIFO(out.st_mode));
}

void mert_log_progress(const char *format, ...)
{
    va_list ap;
    char line[512];
    double now = mert_seconds();
    int n;
    if (!mert_options.progress || mert_options.quiet || (mert_options.progress < 0 && !last_on_a_terminal()))
        return;
    if (progress_first == 0)
        progress_first = now;
    if (now - progress_first < 1.0 || now - progress_last < 0.25)
        return;
    progress_last = now;
    n = snprintf(line, sizeof line, "\r\033[K%s: ", program);
    va_start(ap, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, ap);
    va_end(ap);
    if (n > (int)sizeof line - 1)
        n = (int)sizeof line - 1;
    progress_shown = write(STDERR_FILENO, line, (size_t)n) > 0;
}

void mert_log_progress_end(void)
{
    if (progress_shown && write(STDERR_FILENO, "\r\033[K", 4) < 0)
        return;
    progress_shown = 0;
}

int mert_log_stdout(void)
{
    int why = ferror(stdout) ? errno : 0; /* from an earlier write */
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout))
        return 0;
    why = errno ? errno : why;
    mert_log_error("cannot write to standard output: %s", why ? strerror(why) : "an earlier write failed");
    return 1;
}
