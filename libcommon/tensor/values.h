/* Converts elements of any type to doubles (exact for all types), and to text. */
#ifndef MERT_VALUES_H
#define MERT_VALUES_H

#include "formats/stream/mts.h"

enum { MERT_VALUES_BLOCK = 4096 }; /* elements that callers convert at a time */

void mert_values_read(mts_dtype t, const void *data, int64_t n, double *to); /* n elements, little endian */
/* Prints a value with enough digits to read the same value back; returns the length. */
int mert_value_print(char *to, size_t size, mts_dtype t, double v);
int mert_dtype_is_integer(mts_dtype t);

/* "[1501,336]" ("?" for an unknown length). Returns to. */
const char *mert_shape_print(char *to, size_t size, const mts_record *r);
/* A key for a line of text: control characters and % become %XX. Returns to. */
const char *mert_key_print(char *to, size_t size, const char *key);

#endif
