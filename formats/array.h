/* Memory for arrays whose length comes from data. A length that is negative, or too large to count in bytes, is treated
 * as out of memory. The caller frees all of them by free().
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

/* rows * width; -1: one of them is negative, or the product does not fit in an int64_t. */
int64_t mert_array_count(int64_t rows, int64_t width);

/* n elements of size bytes; n may be 0. NULL: n < 0, too many bytes to count, or out of memory. */
void *mert_array(int64_t n, size_t size);
void *mert_array_zeroed(int64_t n, size_t size);
/* Resizes `old` (or NULL) to n elements and keeps the first ones. On NULL, old is unchanged and must still be freed. */
void *mert_array_resize(void *old, int64_t n, size_t size);
/* Makes `old`, which has room for *room elements, large enough for `need`: at least twice as large if it has to grow.
 * On NULL, old and *room are unchanged. */
void *mert_array_grow(void *old, int64_t *room, int64_t need, size_t size);

#endif
