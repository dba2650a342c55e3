/* Memory for arrays whose length comes from data: what is negative, or too many bytes to count, is refused as memory
 * that there is not. All are released by free().
 *
 *     float *x = mert_array(mert_array_count(frames, width), sizeof *x);   // NULL: out of memory
 *
 *     row *more = mert_array_grow(t->rows, &t->room, t->n + 1, sizeof *more);
 *     if (!more)
 *         return mert_fail(e, "out of memory");   // t->rows and t->room are as they were
 *     t->rows = more; */
#ifndef MERT_ARRAY_H
#define MERT_ARRAY_H

#include <stddef.h>
#include <stdint.h>

/* rows * width; -1: either is negative, or the product is beyond an int64_t. */
int64_t mert_array_count(int64_t rows, int64_t width);

/* n elements of size bytes; no elements are an array, too. NULL: n < 0, beyond what can be counted, or out of memory. */
void *mert_array(int64_t n, size_t size);
void *mert_array_zeroed(int64_t n, size_t size);
/* `old` (or NULL) with n elements, the first of them kept; on NULL old is as it was, and still to be freed. */
void *mert_array_resize(void *old, int64_t n, size_t size);
/* `old`, which has room for *room elements, with room for `need`: at least twice as much where it has too little. On
 * NULL old and *room are as they were. */
void *mert_array_grow(void *old, int64_t *room, int64_t need, size_t size);

#endif
