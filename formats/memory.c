#define _GNU_SOURCE /* fopencookie */
#include "formats/memory.h"

#include <stdlib.h>
#include <string.h>

static ssize_t take(void *to, const char *data, size_t n)
{
    mert_memory *m = to;
    if (m->room - m->size <= n) { /* keeps one byte for the NUL */
        size_t room = 2 * m->room + n + 1;
        char *grown = room > n ? realloc(m->data, room) : NULL;
        if (!grown)
            return 0; /* nothing written: stdio then reports an error */
        m->data = grown;
        m->room = room;
    }
    memcpy(m->data + m->size, data, n);
    m->size += n;
    return (ssize_t)n;
}

FILE *mert_memory_open(mert_memory *m)
{
    *m = (mert_memory){.data = malloc(256), .room = 256};
    FILE *f = m->data ? fopencookie(m, "w", (cookie_io_functions_t){.write = take}) : NULL;
    if (!f)
        free(m->data);
    return f;
}

char *mert_memory_close(FILE *f, mert_memory *m)
{
    int bad;
    if (!f)
        return NULL;
    bad = fflush(f) || ferror(f);
    if ((fclose(f) != 0) | bad) {
        free(m->data);
        return NULL;
    }
    m->data[m->size] = 0;
    return m->data;
}
