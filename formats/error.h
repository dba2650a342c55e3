/* Errors are values: a function that can fail takes a mert_error, fills it and returns -1 (or NULL). The library never
 * exits and never prints; a tool turns the error into one line. */
#ifndef MERT_ERROR_H
#define MERT_ERROR_H

typedef struct mert_error {
    char text[1024]; /* one line, no newline, without the tool's name */
} mert_error;

/* Fills e (which may be NULL) and returns -1, so that `return mert_fail(e, ...)` reads as what it does. */
int mert_fail(mert_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " before the text that e already holds; returns -1. */
int mert_fail_in(mert_error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
