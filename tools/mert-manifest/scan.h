/* What the files of mert-manifest share: the files under the root, what an earlier scan knew of them, and the shards
 * that they are dealt into. */
#ifndef MERT_MANIFEST_SCAN_H
#define MERT_MANIFEST_SCAN_H

#include "formats/error.h"

#include <stdint.h>

enum { SCAN_TRAIN, SCAN_VALID, SCAN_HALVES };
extern const char *const scan_half_name[SCAN_HALVES]; /* "train", "valid" */

typedef struct scan_file {
    char *path;          /* relative to the root */
    int64_t size, mtime; /* bytes; nanoseconds since 1970 */
    int64_t samples;     /* -1: not counted, or not to be had */
    int half;
    int64_t shard;       /* of its half; -1: none yet */
    int changed;         /* known before, with another size or time: */
    int64_t old_size, old_mtime, old_samples;
} scan_file;

/* In the order of their paths' bytes. */
typedef struct scan_list {
    scan_file *files;
    int64_t n, room;
} scan_list;

int scan_add(scan_list *l, char *path, int64_t size, int64_t mtime); /* takes path over; -1: out of memory */
void scan_sort(scan_list *l);
void scan_free(scan_list *l);

/* ---- DIR/files.tsv: path, samples, bytes, time and shard ("train.00003"; "-": none yet) of each file, below a line
 * with the settings of the count. What was counted with other settings is counted anew, but keeps its shard. ---- */

/* A file that is not there is an empty list; one that cannot be understood is refused, naming the line. */
int scan_read(scan_list *known, const char *path, const char *settings, mert_error *e);
/* partial: while counts are still to come. What changed is written as it was, since its shard is still that of then. */
int scan_write(const scan_list *l, int partial, const char *path, const char *settings, mert_error *e);
/* Takes over what is known: counts of files with the same size and time, and the shards of all. */
void scan_take_over(scan_list *l, const scan_list *known);

/* ---- shards: DIR/shards/train.00000.tsv ..., each a manifest of its own ---- */

/* Files that have no shard of their half, but samples, go into new ones: runs of files with about as many samples each,
 * `shards` of them (as many as there are files, if those are fewer), or more if none may have more than about `most`
 * samples (0: no bound). */
void scan_deal(scan_list *l, int64_t shards, double most);
/* Writes those manifests that are not as they should be or hold a changed file, and removes those without files. */
int scan_write_shards(const scan_list *l, char *root, const char *dir, mert_error *e);

#endif
