/* The numbers of a stream, whatever their type, as doubles (exact for every type there is), and as text. */
#ifndef MERT_VALUES_H
#define MERT_VALUES_H

#include "formats/stream/mts.h"

enum { MERT_VALUES_BLOCK = 4096 }; /* what callers convert at a time */

void mert_values_read(mts_dtype t, const void *data, int64_t n, double *to); /* n elements, little endian */
/* With as many digits as bring back the same number when it is read; returns the length. */
int mert_value_print(char *to, size_t size, mts_dtype t, double v);
int mert_dtype_is_integer(mts_dtype t);

/* "[1501,336]" ("?" for a length not known). Returns to. */
const char *mert_shape_print(char *to, size_t size, const mts_record *r);
/* A key for lines of text: control characters and % as %XX. Returns to. */
const char *mert_key_print(char *to, size_t size, const char *key);

#endif
