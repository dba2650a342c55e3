/* The packed audio files that the threads of a pool read. Each thread opens the files that it needs, with its own
 * descriptors, so that no thread moves the position of another, and keeps the last ones open. */
#ifndef MERT_OPEN_FILES_H
#define MERT_OPEN_FILES_H

#include "formats/error.h"
#include "formats/stream/mts.h"

typedef struct mert_open_files mert_open_files;

mert_open_files *mert_open_files_new(int threads); /* NULL: out of memory */
void mert_open_files_free(mert_open_files *f);     /* NULL is fine */
int mert_open_files_threads(const mert_open_files *f);

/* A reader of the file, for this thread, at any position in it. name must stay valid: names are compared as pointers.
 * It is valid until the thread's next call. NULL: error. */
mts_reader *mert_open_files_reader(mert_open_files *f, int thread, const char *name, mert_error *e);
/* Closes the reader that this thread was given last: one that failed stays failed, so the next call opens a new one. */
void mert_open_files_drop(mert_open_files *f, int thread);

#endif
