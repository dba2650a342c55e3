/* Whole files. Output files are written beside their final place, then synced and renamed (contract F4). Input files
 * are read up to a limit, or mapped. Programs write all files by mert_output, except logs that grow. */
#ifndef MERT_FILE_H
#define MERT_FILE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* An output file that is being written. Write to ->stream (it is seekable), then either commit (flush, fsync, rename to
 * `target`, fsync the folder) or abandon (remove the temporary file). Both free the handle.
 *
 * If `path` exists already:
 *   a regular file    is replaced; its mode is kept, and its owner if the system allows it; refused if write-protected
 *   a symbolic link   is kept; the file that it points to is replaced or created
 *   a FIFO, a character device, /dev/stdout   is written into at the commit, when all bytes are there; a FIFO without
 *                     a reader within MERT_FIFO_SECONDS is an error
 *   a folder, a socket, a block device   is refused
 * A file that this process reads (mert_input_note) or is already writing is refused, too. */
typedef struct mert_output {
    FILE *stream;
    char *path;      /* as given by the caller, for messages */
    char *target;    /* the final name: path, with links resolved */
    char *temporary; /* the temporary file: beside target, named by host and process; in TMPDIR if special */
    int special;     /* target is written into, not replaced */
    uint64_t folder[2]; /* device and inode of target's folder */
    struct mert_output *next; /* list of all open outputs */
} mert_output;

enum { MERT_FIFO_SECONDS = 10 };

mert_output *mert_output_open(const char *path, mert_error *e); /* NULL on error */
int mert_output_commit(mert_output *o, mert_error *e) MERT_MUST_USE;
void mert_output_abandon(mert_output *o); /* NULL is fine */
/* Removes the target if it is a file, so that there is none until the commit. */
int mert_output_clear(const mert_output *o, mert_error *e) MERT_MUST_USE;
/* For use before long work: checks that mert_output_open can succeed, and that none of the n input files is the one
 * that it would replace ("-" is ignored). Creates nothing. */
int mert_output_check(const char *path, char *const *inputs, int n, mert_error *e) MERT_MUST_USE;
/* Notes that this process reads the file ("-": standard input): from now on no output of this process may replace it.
 * Refused if standard output goes to the same file (cat x >> x). */
int mert_input_note(const char *path, mert_error *e) MERT_MUST_USE;
/* Removes the temporary files of all open outputs of this process. Async-signal-safe: for a handler that then ends the
 * process. */
void mert_outputs_unlink(void);

/* The whole file, followed by a NUL byte, to be freed by the caller. A file of more than `max` bytes is refused. */
char *mert_file_read(const char *path, size_t max, size_t *size, mert_error *e);

/* Identifies a list of files without reading them whole: XXH64 of their names, sizes, first and last bytes, in order.
 * Never 0. A file that cannot be read counts by its name only. */
uint64_t mert_files_hash(char *const *paths, int n);

/* A read-only mapping of a regular file. */
typedef struct mert_mapping {
    const unsigned char *data;
    size_t size;
} mert_mapping;

int mert_mapping_open(mert_mapping *m, const char *path, mert_error *e) MERT_MUST_USE;
void mert_mapping_close(mert_mapping *m);
/* Announces that all of it will be read soon, and returns at once: the system reads ahead what it does not have yet, in
 * large pages where the file system has them, which makes mapping and unmapping almost free. */
void mert_mapping_expect(const mert_mapping *m);
/* Lets the system drop the whole pages inside [data, data + size) from memory; they are read again on the next access.
 * Does nothing outside of the mapping. */
void mert_mapping_forget(const mert_mapping *m, const void *data, size_t size);

/* Syncs a folder, so that the names in it are on disk. An error is ignored: some network file systems cannot do
 * this. */
void mert_sync_folder(const char *path);

/* mkdir -p. The error names what is in the way: a file, or a dangling link. */
int mert_make_directory(const char *path, mert_error *e) MERT_MUST_USE;

/* The file type in a st_mode, in words: "a regular file", "a FIFO", "a folder", ... */
const char *mert_file_kind(unsigned mode);
/* Refuses anything but a regular file (links are followed); the error names its type. Does not open the file, because
 * opening a FIFO waits for a writer. */
int mert_file_regular(const char *path, mert_error *e) MERT_MUST_USE;

/* dir + "/" + name, to be freed by the caller. */
char *mert_path_join(const char *dir, const char *name);

int mert_path_is_directory(const char *path);

#endif
