/* Shared by the files of mert-manifest: the files below the root, the results of an earlier scan, and the shards. */
#ifndef MERT_MANIFEST_SCAN_H
#define MERT_MANIFEST_SCAN_H

#include "formats/error.h"

#include <stdint.h>

enum { SCAN_TRAIN, SCAN_VALID, SCAN_HALVES };
extern const char *const scan_half_name[SCAN_HALVES]; /* "train", "valid" */

typedef struct scan_file {
    char *path;          /* relative to the root */
    int64_t size, mtime; /* bytes; nanoseconds since 1970 */
    int64_t samples;     /* -1: not counted, or cannot be decoded */
    int half;
    int64_t shard;       /* number of its shard in its half; -1: none yet */
    int changed;         /* known before with another size or time; its values then: */
    int64_t old_size, old_mtime, old_samples;
} scan_file;

/* Sorted by path, bytewise. */
typedef struct scan_list {
    scan_file *files;
    int64_t n, room;
} scan_list;

int scan_add(scan_list *l, char *path, int64_t size, int64_t mtime); /* takes ownership of path; -1: out of memory */
void scan_sort(scan_list *l);
void scan_free(scan_list *l);

/* ---- DIR/files.tsv: path, samples, bytes, time and shard ("train.00003"; "-": none yet) of each file, after a line
 * with the settings of the count. Files that were counted with other settings are counted again, but keep their shards.
 * ---- */

/* A missing file gives an empty list; an invalid one is an error that names the line. */
int scan_read(scan_list *known, const char *path, const char *settings, mert_error *e);
/* partial: some files are not counted yet. Changed files are written with their old values, because their shards still
 * have these. */
int scan_write(const scan_list *l, int partial, const char *path, const char *settings, mert_error *e);
/* Copies known values: the counts of files with the same size and time, and all shards. */
void scan_take_over(scan_list *l, const scan_list *known);

/* ---- shards: DIR/shards/train.00000.tsv ..., each a manifest of its own ---- */

/* Puts files with samples and without a shard into new shards: consecutive files, with about equal numbers of samples;
 * `shards` of them (or as many as there are files), or more, so that none has more than about `most` samples (0: no
 * limit). */
void scan_assign(scan_list *l, int64_t shards, double most);
/* Writes the manifests that differ or have a changed file, and removes those without files. */
int scan_write_shards(const scan_list *l, char *root, const char *dir, mert_error *e);

#endif
