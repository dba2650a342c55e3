#define _GNU_SOURCE
#include "libcommon/program/options.h"

#include "formats/array.h"
#include "libcommon/base/cpu.h"
#include "libcommon/base/pool.h"
#include "libcommon/program/log.h"
#include "libcommon/program/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mert_common mert_options = {.threads = 0, .progress = -1, .max_failed = 0, .level = 1};

static const mert_tool *tool_now;
static const mert_command *command_now;
static const char *max_failed_text = "0";

static const mert_option common_options[] = {
    {"threads", 0, MERT_INT, &mert_options.threads, "N", 0, 1024, NULL,
     "number of threads, 0: all CPUs; results do not depend on it"},
    {"level", 0, MERT_INT, &mert_options.level, "N", -7, 19, NULL,
     "zstd compression level of the stream that is written"},
    {"max-failed", 0, MERT_STRING, &max_failed_text, "N|P%", 0, 0, NULL,
     "exit with status 0 if at most N items, or P percent, failed"},
    {"fail-fast", 0, MERT_FLAG, &mert_options.fail_fast, NULL, 0, 0, NULL, "stop at the first item that fails"},
    {"progress", 0, MERT_FLAG, &mert_options.progress, NULL, 0, 0, NULL,
     "show progress (default: if stderr is a terminal and stdout no pipe)"},
    {"verbose", 'v', MERT_FLAG, &mert_options.verbose, NULL, 0, 0, NULL,
     "at the end, print items, time, speed and memory in one line"},
    {"quiet", 'q', MERT_FLAG, &mert_options.quiet, NULL, 0, 0, NULL, "print errors only"},
    {0}};

const char *mert_tool_name(void)
{
    return tool_now ? tool_now->name : "mert";
}

const char *mert_version(void)
{
    return MERT_VERSION;
}

void mert_usage_error(const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    mert_log_error("%s (try '%s%s%s --help')", text, mert_tool_name(), command_now ? " " : "",
                   command_now ? command_now->name : "");
    exit(2);
}

void mert_refuse_terminal(char *const *files, int n)
{
    int from_stdin = !n;
    for (int i = 0; i < n; i++)
        from_stdin |= !strcmp(files[i], "-");
    if (from_stdin && isatty(STDIN_FILENO))
        mert_usage_error("standard input is a terminal, where no stream can be typed: name a file, or pipe one in");
}

void mert_no_memory(void)
{
    mert_log_error("out of memory");
    exit(1);
}

/* ---- help ---- */

static void print_option(const mert_option *o)
{
    char left[64], value[128] = "";
    int takes = o->type != MERT_FLAG;
    snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
             o->letter ? ", " : "  ", o->name, takes ? " " : "", takes ? (o->arg ? o->arg : "VALUE") : "");
    switch (o->type) {
    case MERT_INT: snprintf(value, sizeof value, "%d", *(int *)o->to); break;
    case MERT_INT64: snprintf(value, sizeof value, "%" PRId64, *(int64_t *)o->to); break;
    case MERT_DOUBLE: snprintf(value, sizeof value, "%g", *(double *)o->to); break;
    case MERT_STRING: snprintf(value, sizeof value, "%s", *(const char **)o->to ? *(const char **)o->to : ""); break;
    case MERT_CHOICE: snprintf(value, sizeof value, "%s", o->choices[*(int *)o->to]); break;
    case MERT_FLAG: snprintf(value, sizeof value, "%s", *(int *)o->to == 1 ? "yes" : ""); break;
    case MERT_LIST: break;
    }
    printf("  %-28s %s", left, o->help);
    if (o->type == MERT_CHOICE) {
        printf(": ");
        for (int i = 0; o->choices[i]; i++)
            printf("%s%s", i ? "|" : "", o->choices[i]);
    }
    if (*value)
        printf(" [%s]", value);
    if ((o->type == MERT_INT || o->type == MERT_INT64 || o->type == MERT_DOUBLE) && (o->min != 0 || o->max != 0))
        printf(" (%.12g to %.12g)", o->min, o->max);
    putchar('\n');
}

static void print_options(const char *title, const mert_option *o)
{
    if (!o || !o->name)
        return;
    printf("\n%s:\n", title);
    for (; o->name; o++)
        print_option(o);
}

static void print_help(void)
{
    const mert_tool *t = tool_now;
    const mert_command *c = command_now;
    if (c) {
        printf("usage: %s %s %s\n%s\n", t->name, c->name, c->usage, c->summary);
        print_options("options", c->options);
    } else {
        printf("usage: %s %s\n%s\n", t->name, t->usage, t->summary);
        if (t->about)
            printf("\n%s\n", t->about);
        if (t->commands) {
            printf("\ncommands ('%s COMMAND --help' says more):\n", t->name);
            for (c = t->commands; c->name; c++)
                printf("  %-12s %s\n", c->name, c->summary);
        }
        print_options("options", t->options);
    }
    print_options("options of every program", common_options);
    printf("      --help, --version\n\nexit status: 0 all done, 1 something failed, 2 wrong use. See %s(1).\n",
           t->name);
    exit(mert_log_stdout());
}

static void print_version(void)
{
    printf("%s %s\n"
           "MIT licence. Built on zstd (BSD), FFTW (GPL), OpenBLAS (BSD), jansson (MIT), in mert-plot cairo (LGPL,\n"
           "MPL) and, in mert-decode and mert-manifest, FFmpeg (LGPL, GPL as Debian builds it): binaries linked with\n"
           "FFTW or Debian's FFmpeg are under the GPL.\n",
           tool_now->name, mert_version());
    exit(mert_log_stdout());
}

/* ---- parsing ---- */

static void store_number(const mert_option *o, const char *text)
{
    char *end;
    double d;
    long long i = 0;
    errno = 0;
    if (o->type == MERT_DOUBLE)
        d = strtod(text, &end);
    else
        d = (double)(i = strtoll(text, &end, 10));
    if (end == text || *end || errno == ERANGE || !isfinite(d))
        mert_usage_error("--%s: '%s' is not %s", o->name, text, o->type == MERT_DOUBLE ? "a number" : "a whole number");
    if ((o->min != 0 || o->max != 0) && (d < o->min || d > o->max))
        mert_usage_error("--%s: %s is outside %.12g to %.12g", o->name, text, o->min, o->max);
    if (o->type == MERT_INT && (i > 0x7fffffffLL || i < -0x7fffffffLL))
        mert_usage_error("--%s: %s is too large", o->name, text);
    if (o->type == MERT_DOUBLE)
        *(double *)o->to = d;
    else if (o->type == MERT_INT)
        *(int *)o->to = (int)i;
    else
        *(int64_t *)o->to = (int64_t)i;
}

/* Ends the program: the message lists the choices. */
static void no_such_choice(const mert_option *o, const char *text)
{
    char all[256] = "";
    for (int i = 0; o->choices[i]; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", o->choices[i]);
    mert_usage_error("--%s: '%s' is none of:%s", o->name, text, all);
}

static void store(const mert_option *o, const char *text)
{
    mert_strings *list;
    switch (o->type) {
    case MERT_FLAG: break;
    case MERT_INT: case MERT_INT64: case MERT_DOUBLE: store_number(o, text); break;
    case MERT_STRING: *(const char **)o->to = text; break;
    case MERT_CHOICE:
        for (int i = 0; o->choices[i]; i++)
            if (!strcmp(o->choices[i], text)) {
                *(int *)o->to = i;
                return;
            }
        no_such_choice(o, text);
        break;
    case MERT_LIST:
        list = o->to;
        list->items = mert_array_resize(list->items, list->n + 1, sizeof *list->items);
        if (!list->items)
            mert_no_memory();
        list->items[list->n++] = text;
    }
}

static const mert_option *find(const mert_option *table, const char *name, size_t n, char letter)
{
    for (; table && table->name; table++)
        if (letter ? table->letter == letter : strlen(table->name) == n && !strncmp(table->name, name, n))
            return table;
    return NULL;
}

static const mert_option *lookup(const mert_option *table, const char *name, size_t n, char letter)
{
    const mert_option *o = find(table, name, n, letter);
    return o ? o : find(common_options, name, n, letter);
}

/* "12": a number of items; "2.5%": a percentage of them, at most 100%. */
static void take_max_failed(void)
{
    const double most = 9e15; /* doubles represent all integers up to this */
    char *end;
    double p = strtod(max_failed_text, &end);
    int share = !strcmp(end, "%");
    if (end == max_failed_text || strspn(max_failed_text, "0123456789.") != (size_t)(end - max_failed_text) ||
        (*end && !share) || (!share && (p != floor(p) || p > most)))
        mert_usage_error("--max-failed: '%s' is neither a count nor a percentage", max_failed_text);
    if (share && p > 100)
        mert_usage_error("--max-failed: %s are more than all: a share of the items is at most 100%%", max_failed_text);
    mert_options.max_failed = share ? -1 : (int64_t)p;
    mert_options.max_failed_percent = share ? p : 0;
}

void mert_options_use_threads(void)
{
    mert_pool *former = mert_pool_used(), *pool = mert_pool_new(mert_options.threads);
    if (!pool)
        mert_log_error("out of memory for --threads %d: one thread computes", mert_options.threads);
    mert_pool_use(pool);
    mert_pool_free(former);
}

static void finish_common(void)
{
    cpu_set_t cpus;
    take_max_failed();
    mert_options.threads_given = mert_options.threads > 0;
    if (!mert_options.threads_given)
        mert_options.threads = !sched_getaffinity(0, sizeof cpus, &cpus) ? CPU_COUNT(&cpus) : 1;
    mert_options_use_threads();
}

/* Parses an option (and its value) at argv[0] and returns the number of words it took. */
static int take(const mert_option *table, char **argv, int left)
{
    const char *a = argv[0], *eq;
    const mert_option *o;
    size_t n;
    if (a[1] != '-') {
        o = lookup(table, NULL, 0, a[1]);
        if (!o)
            mert_usage_error(a[1] == 'h' ? "no option '%s', but there is --help" : "no such option '%s'", a);
        if (o->type == MERT_FLAG) {
            if (a[2])
                mert_usage_error("no such option '%s'", a);
            *(int *)o->to = 1;
            return 1;
        }
        if (a[2]) {
            store(o, a + 2);
            return 1;
        }
    } else {
        if (!strcmp(a, "--help"))
            print_help();
        if (!strcmp(a, "--version"))
            print_version();
        eq = strchr(a, '=');
        n = eq ? (size_t)(eq - a - 2) : strlen(a) - 2;
        o = lookup(table, a + 2, n, 0);
        if (!o && !eq && !strncmp(a, "--no-", 5) && (o = lookup(table, a + 5, n - 3, 0)) && o->type == MERT_FLAG) {
            *(int *)o->to = 0;
            return 1;
        }
        if (!o)
            mert_usage_error("no such option '%s'", a);
        if (o->type == MERT_FLAG) {
            if (eq)
                mert_usage_error("--%s takes no value", o->name);
            *(int *)o->to = 1;
            return 1;
        }
        if (eq) {
            store(o, eq + 1);
            return 1;
        }
    }
    if (left < 2)
        mert_usage_error("option '%s' needs a value", a);
    store(o, argv[1]);
    return 2;
}

static void parse(const mert_option *table, int *argc, char ***argv)
{
    int out = 0, i;
    char **v = *argv;
    for (i = 1; i < *argc;) {
        if (!strcmp(v[i], "--")) {
            for (i++; i < *argc; i++)
                v[1 + out++] = v[i];
            break;
        }
        if (v[i][0] == '-' && v[i][1])
            i += take(table, v + i, *argc - i);
        else
            v[1 + out++] = v[i++];
    }
    finish_common();
    *argc = out;
    *argv = v + 1;
}

/* If standard input, output or error is closed, the next opened file would get its number, and output could go into
 * that file. So closed ones are opened on a file that allows only the wrong direction: using them fails. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 1 ? O_RDONLY : O_WRONLY) != fd)
            exit(1);
}

static void begin(const mert_tool *tool)
{
    const char *isa = getenv("MERT_ISA");
    hold_standard_files();
    mert_signals_prepare(tool->name);
    tool_now = tool;
    mert_log_name(tool->name);
    if (isa && *isa && !mert_cpu_isa_known(isa))
        mert_usage_error("MERT_ISA: '%s' is none of generic, avx2, avx512", isa);
}

int mert_option_given(int argc, char *const *argv, const char *name)
{
    size_t n = strlen(name);
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strncmp(argv[i], name, n) && (!argv[i][n] || argv[i][n] == '='))
            return 1;
    return 0;
}

void mert_options_parse(const mert_tool *tool, int *argc, char ***argv)
{
    begin(tool);
    parse(tool->options, argc, argv);
}

int mert_tool_main(const mert_tool *tool, int argc, char **argv)
{
    return mert_tool_main_or(tool, NULL, argc, argv);
}

int mert_tool_main_or(const mert_tool *tool, int (*run)(int argc, char **argv), int argc, char **argv)
{
    begin(tool);
    if (argc < 2 && !run)
        mert_usage_error("which command?");
    if (argc > 1 && !strcmp(argv[1], "--help"))
        print_help();
    if (argc > 1 && !strcmp(argv[1], "--version"))
        print_version();
    for (const mert_command *c = tool->commands; argc > 1 && c->name; c++)
        if (!strcmp(c->name, argv[1])) {
            command_now = c;
            argc--;
            argv++;
            parse(c->options, &argc, &argv);
            return c->run(argc, argv);
        }
    if (run) {
        parse(tool->options, &argc, &argv);
        return run(argc, argv);
    }
    mert_usage_error("no such command '%s'", argv[1]);
}
