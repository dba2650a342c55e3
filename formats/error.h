/* Errors are values: a function that can fail takes a mert_error, fills it and returns -1 (or NULL). The library never
 * exits and never prints; a tool turns the error into one line. */
#ifndef MERT_ERROR_H
#define MERT_ERROR_H

#include "formats/attributes.h"

typedef struct mert_error {
    char text[1024]; /* one line, no newline, without the tool's name */
} mert_error;

/* Fills e (which may be NULL). Its value is -1: `return mert_fail(e, ...)`. */
#define mert_fail(...) (mert_error_set(__VA_ARGS__), mert_minus_one())
/* Puts "where: " before the text that e already has. Its value is -1. */
#define mert_fail_in(...) (mert_error_set_in(__VA_ARGS__), mert_minus_one())

/* Macros, so that the compiler sees the constant -1 and does not warn about variables that seem unset after it. */
static inline int mert_minus_one(void) { return -1; }
void mert_error_set(mert_error *e, const char *format, ...) MERT_PRINTF(2, 3);
void mert_error_set_in(mert_error *e, const char *format, ...) MERT_PRINTF(2, 3);

#endif
