/* A FILE that writes into memory. It replaces open_memstream: out of memory, glibc's loses data without an error from
 * ferror or fclose.
 *
 *     mert_memory m;
 *     FILE *f = mert_memory_open(&m);
 *     if (f) fprintf(f, ...);
 *     text = mert_memory_close(f, &m);   // NULL: out of memory, at any time before */
#ifndef MERT_MEMORY_H
#define MERT_MEMORY_H

#include <stddef.h>
#include <stdio.h>

typedef struct mert_memory {
    char *data;
    size_t size, room; /* size: bytes written, after fflush */
} mert_memory;

FILE *mert_memory_open(mert_memory *m); /* NULL: out of memory; m must exist until the close */
/* What was written: m->size bytes, followed by a NUL byte; to be freed by the caller. f may be NULL. */
char *mert_memory_close(FILE *f, mert_memory *m);

#endif
