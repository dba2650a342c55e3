#include "formats/array.h"

#include <stdlib.h>

enum { FIRST = 16 }; /* the smallest capacity of a growing array, in elements */

int64_t mert_array_count(int64_t rows, int64_t width)
{
    return rows < 0 || width < 0 || (width && rows > INT64_MAX / width) ? -1 : rows * width;
}

/* The size in bytes, at least 1; 0: not possible. No object may be larger than PTRDIFF_MAX. */
static size_t bytes(int64_t n, size_t size)
{
    if (n < 0 || (size && (uint64_t)n > PTRDIFF_MAX / size))
        return 0;
    return n && size ? (size_t)n * size : 1;
}

void *mert_array(int64_t n, size_t size)
{
    size_t all = bytes(n, size);
    return all ? malloc(all) : NULL;
}

void *mert_array_zeroed(int64_t n, size_t size)
{
    size_t all = bytes(n, size);
    return all ? calloc(all, 1) : NULL;
}

void *mert_array_resize(void *old, int64_t n, size_t size)
{
    size_t all = bytes(n, size);
    return all ? realloc(old, all) : NULL;
}

void *mert_array_grow(void *old, int64_t *room, int64_t need, size_t size)
{
    int64_t twice = *room < INT64_MAX / 2 ? 2 * *room : INT64_MAX, n = *room ? twice : FIRST;
    void *more;
    if (need <= *room && old)
        return old;
    n = n < need ? need : n;
    if ((more = mert_array_resize(old, n, size)))
        *room = n;
    return more;
}
