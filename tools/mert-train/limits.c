#include "tools/mert-train/limits.h"

#include "libcommon/base/clock.h"
#include "libcommon/program/options.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t signalled;
static double began, limit;
static int armed;

double limits_duration(const char *option, const char *text)
{
    static const char units[] = "hms";
    static const double seconds[] = {3600, 60, 1};
    const char *at = text;
    double sum = 0;
    int next = 0; /* units must be in this order, each at most once */
    while (*at >= '0' && *at <= '9') {
        char *end;
        double n = strtod(at, &end);
        const char *unit = *end && next < 3 ? strchr(units + next, *end) : NULL;
        if (!unit)
            break;
        sum += n * seconds[unit - units];
        next = (int)(unit - units) + 1;
        at = end + 1;
    }
    if (*at || !(sum > 0 && sum < 1e9))
        mert_usage_error("--%s: '%s' is no time: hours, minutes and seconds are given as 3h55m, 90m or 30s", option,
                         text);
    return sum;
}

void limits_begin(void)
{
    began = mert_seconds();
}

void limits_stop_after(double seconds)
{
    limit = seconds;
}

void limits_arm(void)
{
    armed = 1;
}

double limits_elapsed(void)
{
    return mert_seconds() - began;
}

static void on_signal(int number)
{
    signalled = number;
}

void limits_catch_signals(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGUSR1 /* the signal that mpirun forwards */, SIGHUP};
    struct sigaction old, a = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        if (caught[i] != SIGHUP || sigaction(SIGHUP, NULL, &old) || old.sa_handler != SIG_IGN)
            sigaction(caught[i], &a, NULL);
}

int limits_signal(void)
{
    return signalled;
}

int limits_reached(void)
{
    return (signalled ? LIMITS_SIGNAL : 0) | (armed && limit > 0 && limits_elapsed() >= limit ? LIMITS_TIME : 0);
}
