/* Whole files: written beside their place, synced and renamed when whole (contract F4); read bounded, or mapped. All
 * files that a program writes, but for logs that grow, go through mert_output. */
#ifndef MERT_FILE_H
#define MERT_FILE_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A file on its way. Write to ->stream (it can be sought in); then either commit (flush, fsync, rename to `target`,
 * fsync the folder) or abandon (the temporary is removed). Both free the handle.
 *
 * Where `path` is there already:
 *   a regular file    is replaced, and its mode (as far as allowed, its owner, too) stays; write-protected: refused
 *   a symbolic link   stays; what it leads to is replaced, or made
 *   a FIFO, a device of characters, /dev/stdout   is written into, at the commit, when all is there; a FIFO that nobody
 *                     reads within MERT_FIFO_SECONDS is an error
 *   a folder, a socket, a disk   is refused
 * and so is a file that this process reads (mert_input_note), or that it is writing already. */
typedef struct mert_output {
    FILE *stream;
    char *path;      /* as it was given: for messages */
    char *target;    /* what takes its name: path, or what links lead to */
    char *temporary; /* where the bytes are: beside target, by host and process; in TMPDIR for what is written into */
    int special;     /* target is written into, not replaced */
    uint64_t folder[2]; /* device and inode of target's folder */
    struct mert_output *next; /* of those on their way */
} mert_output;

enum { MERT_FIFO_SECONDS = 10 };

mert_output *mert_output_open(const char *path, mert_error *e); /* NULL on error */
int mert_output_commit(mert_output *o, mert_error *e) MERT_MUST_USE;
void mert_output_abandon(mert_output *o); /* NULL is fine */
/* Takes away what has the target's name, where that is a file: until the commit nothing is there. */
int mert_output_clear(const mert_output *o, mert_error *e) MERT_MUST_USE;
/* Before long work: whether mert_output_open would have a chance, and that none of the n files is the one that it would
 * replace ("-" is passed over). Nothing is made. */
int mert_output_check(const char *path, char *const *inputs, int n, mert_error *e) MERT_MUST_USE;
/* This file is read ("-": standard input): no output of this process may replace it from now on. Refused where standard
 * output goes to the same file (cat x >> x). */
int mert_input_note(const char *path, mert_error *e) MERT_MUST_USE;
/* Removes the temporary files of this process that are on their way: for a signal's handler that then ends it. */
void mert_outputs_unlink(void);

/* The whole file with a NUL byte behind it, to be freed by the caller; refused beyond `max` bytes. */
char *mert_file_read(const char *path, size_t max, size_t *size, mert_error *e);

/* What tells these files from others, without reading them whole: XXH64 of their names, sizes, first and last bytes, in
 * order. Never 0. What cannot be read counts by its name. */
uint64_t mert_files_hash(char *const *paths, int n);

/* A read-only mapping of a regular file. */
typedef struct mert_mapping {
    const unsigned char *data;
    size_t size;
} mert_mapping;

int mert_mapping_open(mert_mapping *m, const char *path, mert_error *e) MERT_MUST_USE;
void mert_mapping_close(mert_mapping *m);
/* All of it will be read: what the system has of it in memory is there at once, not fault by fault. */
void mert_mapping_expect(const mert_mapping *m);
/* The whole pages inside [data, data + size) may leave memory; they come back when read. Outside of the mapping:
 * nothing happens. */
void mert_mapping_forget(const mert_mapping *m, const void *data, size_t size);

/* The names in a folder are on the disk, too. Folders that cannot be synced (some network file systems) are let be. */
void mert_sync_folder(const char *path);

/* mkdir -p. What stands in the way is named: a file, or a link that leads nowhere. */
int mert_make_directory(const char *path, mert_error *e) MERT_MUST_USE;

/* What a st_mode is, in words: "a regular file", "a FIFO", "a folder", ... */
const char *mert_file_kind(unsigned mode);
/* Refuses what is no regular file (links followed), by what it is. Nothing is opened: a FIFO would wait for
 * its writer. */
int mert_file_regular(const char *path, mert_error *e) MERT_MUST_USE;

/* dir + "/" + name, to be freed by the caller. */
char *mert_path_join(const char *dir, const char *name);

int mert_path_is_directory(const char *path);

#endif
