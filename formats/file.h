/* Whole files: written beside their place, synced and renamed when whole (contract F4); read bounded, or mapped. */
#ifndef MERT_FILE_H
#define MERT_FILE_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A file on its way. Write to ->stream; then either commit (flush, fsync, rename over `path`, fsync the folder) or
 * abandon (the temporary is removed). Both free the handle. */
typedef struct mert_output {
    FILE *stream;
    char *path, *temporary;
} mert_output;

mert_output *mert_output_open(const char *path, mert_error *e); /* NULL on error */
int mert_output_commit(mert_output *o, mert_error *e);
void mert_output_abandon(mert_output *o); /* NULL is fine */
/* Removes the temporary files of this process that are on their way: for a signal's handler that then ends it. */
void mert_outputs_unlink(void);

/* The whole file with a NUL byte behind it, to be freed by the caller; refused beyond `max` bytes. */
char *mert_file_read(const char *path, size_t max, size_t *size, mert_error *e);

/* A read-only mapping of a regular file. */
typedef struct mert_mapping {
    const unsigned char *data;
    size_t size;
} mert_mapping;

int mert_mapping_open(mert_mapping *m, const char *path, mert_error *e);
void mert_mapping_close(mert_mapping *m);
/* All of it will be read: what the system has of it in memory is there at once, not fault by fault. */
void mert_mapping_expect(const mert_mapping *m);
/* The whole pages inside [data, data + size) may leave memory; they come back when read. Outside of the mapping:
 * nothing happens. */
void mert_mapping_forget(const mert_mapping *m, const void *data, size_t size);

/* mkdir -p. */
int mert_make_directory(const char *path, mert_error *e);

/* dir + "/" + name, to be freed by the caller. */
char *mert_path_join(const char *dir, const char *name);

int mert_path_is_directory(const char *path);

#endif
