/* Shared by the tests of label files: the error of the last call, and small files. */
#ifndef TESTS_UNIT_LABELS_H
#define TESTS_UNIT_LABELS_H

#include "formats/file.h"
#include "tests/test.h"

static mert_error err;

static inline int says(const char *expected) { return test_says(err.text, expected); }

/* 1: the file is this text. */
static inline int holds(const char *path, const char *expected)
{
    char *text = mert_file_read(path, 1 << 20, NULL, &err);
    int same = text && !strcmp(text, expected);
    if (!same)
        printf("# %s holds '%s'\n", path, text ? text : err.text);
    free(text);
    return same;
}

static inline void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    if (!f || fputs(text, f) == EOF || fclose(f))
        abort();
}

#endif
