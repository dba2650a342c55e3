#define _GNU_SOURCE
#include "libcommon/program/signals.h"

#include "formats/file.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program = "mert"; /* for the message */

static void on_end(int signal_number)
{
    mert_outputs_unlink();
    raise(signal_number); /* SA_RESETHAND: now the default action ends the process */
}

/* Excludes the signals that stop or continue a process, or are ignored by default; SIGBUS and SIGXFSZ have their own
 * handlers. */
static int ends_by_default(int signal_number)
{
    static const int others[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD, SIGURG, SIGWINCH,
                                 SIGBUS,  SIGXFSZ};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (signal_number == others[i])
            return 0;
    return 1;
}

/* A mapped file, such as a model, was cut short. */
static void on_bus_error(int signal_number)
{
    static const char text[] = ": bus error: was a file cut short while it was in use?\n";
    static int said;
    char line[128];
    size_t n = strlen(program);
    (void)signal_number;
    while (__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED))
        pause(); /* another thread prints the message and ends the process */
    mert_outputs_unlink();
    memcpy(line, program, n);
    memcpy(line + n, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, line, n + sizeof text - 1);
    _exit(1);
}

void mert_signals_prepare(const char *name)
{
    struct sigaction now, on = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
    struct sigaction bus = {.sa_handler = on_bus_error};
    program = name;
    for (int i = 1; i <= SIGRTMAX; i++)
        if (ends_by_default(i) && !sigaction(i, NULL, &now) && now.sa_handler == SIG_DFL) /* keeps SIG_IGN */
            sigaction(i, &on, NULL);
    if (!sigaction(SIGBUS, NULL, &now) && now.sa_handler == SIG_DFL)
        sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN);
    atexit(mert_outputs_unlink); /* for an exit before the commit */
}

void mert_end_by_sigpipe(void)
{
    mert_outputs_unlink();
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}
