/* One option table per program is used for parsing, for --help and for the check of the man page.
 *
 *     static int bins = 336; static double fmin = 32.7;
 *     static const mert_option options[] = {
 *         {"bins", 0, MERT_INT, &bins, "N", 1, 4096, NULL, "frequency bins"},
 *         {"fmin", 0, MERT_DOUBLE, &fmin, "HZ", 1, 1e5, NULL, "frequency of the lowest bin"},
 *         {0}};
 *     static const mert_tool tool = {"mert-cqt", "constant-Q transform of pcm streams", "[options] [FILE...]",
 *                                    "reads pcm, writes cqt [T, bins]", options, NULL};
 *     int main(int argc, char **argv) {
 *         int n = mert_options_parse(&tool, &argc, &argv);   // exits for --help, --version and wrong use (2)
 *         ...
 *
 * A variable's value before parsing is its default, which --help shows. The common options (contract P4) are added to
 * every table. Options may be anywhere in the command line; "--" ends them; "--name=value" and "--name value" are the
 * same; a flag --x also has --no-x. This is the only part of libcommon that exits. */
#ifndef MERT_OPTIONS_H
#define MERT_OPTIONS_H

#include "formats/attributes.h"

#include <stdint.h>

typedef enum mert_option_type {
    MERT_FLAG,      /* int: 1, or 0 by --no-NAME */
    MERT_INT,       /* int, within [min, max] */
    MERT_INT64,     /* int64_t, within [min, max] */
    MERT_DOUBLE,    /* double, within [min, max] */
    MERT_STRING,    /* const char * */
    MERT_CHOICE,    /* int: index into choices */
    MERT_LIST       /* mert_strings: may be given several times */
} mert_option_type;

typedef struct mert_strings {
    const char **items;
    int n;
} mert_strings;

typedef struct mert_option {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* short form, 0: none */
    mert_option_type type;
    void *to;
    const char *arg;  /* the name of the argument in --help: "N", "HZ", "FILE" */
    double min, max;  /* allowed range of numbers; both 0: any */
    const char *const *choices; /* MERT_CHOICE: NULL-terminated */
    const char *help; /* one clause, no full stop */
} mert_option;

/* A program with subcommands (mert-kmeans train) has a table of these. */
typedef struct mert_command {
    const char *name;     /* NULL ends the table */
    const char *usage;    /* "[options] -k K -o MODEL [FILE...]" */
    const char *summary;
    const mert_option *options;
    int (*run)(int argc, char **argv); /* operands only, argv[0..argc); returns the exit status */
} mert_command;

typedef struct mert_tool {
    const char *name, *summary;
    const char *usage;        /* operands and options, after the name */
    const char *about;        /* some lines for --help: what it reads and writes; may be NULL */
    const mert_option *options;   /* NULL with commands, except for mert_tool_main_or */
    const mert_command *commands; /* NULL without */
} mert_tool;

/* Parses and leaves only the operands: argv[0..argc). Without commands returns 0; with commands call mert_tool_main. */
void mert_options_parse(const mert_tool *tool, int *argc, char ***argv);
/* 1: the option was given, whatever its value. name: "--bins". argv: that of main, before it is parsed. */
int mert_option_given(int argc, char *const *argv, const char *name);

/* main of a program with commands: picks the command, parses, runs it and returns its status. */
int mert_tool_main(const mert_tool *tool, int argc, char **argv);
/* The same for a program that needs no command: without one it parses tool->options, and calls run. */
int mert_tool_main_or(const mert_tool *tool, int (*run)(int argc, char **argv), int argc, char **argv);

/* Prints "NAME: text" and "try NAME --help", and exits with 2. */
void mert_usage_error(const char *format, ...) MERT_NO_RETURN MERT_PRINTF(1, 2);
/* Wrong use: a stream would come from standard input (no files, or "-" among them), and that is a terminal, where the
 * program would wait for ever. */
void mert_refuse_terminal(char *const *files, int n);
/* Prints that memory ran out while the program starts, and exits with 1. */
void mert_no_memory(void) MERT_NO_RETURN;

/* The name of the program, "mert-cqt", for provenance and failures. */
const char *mert_tool_name(void);
const char *mert_version(void);

/* The options that every program has. */
typedef struct mert_common {
    int verbose, quiet;
    int threads;             /* >= 1 after parsing; default: the number of CPUs that this process may use */
    int threads_given;       /* --threads was given */
    int progress;            /* -1: if stderr is a terminal, and stdout no pipe */
    int64_t max_failed;      /* -1: use percent */
    double max_failed_percent;
    int fail_fast;
    int level;               /* zstd level of output streams */
} mert_common;

extern mert_common mert_options;

/* Gives the calling thread a new pool (base/pool.h) of mert_options.threads threads, and frees its former one. Parsing
 * does this. */
void mert_options_use_threads(void);

#endif
