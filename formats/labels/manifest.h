/* HuBERT manifests: the first line is the root folder, then one line per item: relative/path<TAB>samples. The rules of
 * text.h hold; root and paths are taken exactly as written, with their blanks. A path that begins with a slash is
 * absolute and does not use the root, as in Python's os.path.join. An item's path is its key in streams, so it must be
 * shorter than MTS_KEY_MAX. */
#ifndef MERT_MANIFEST_H
#define MERT_MANIFEST_H

#include "formats/error.h"

#include <stdint.h>

typedef struct mert_manifest_row {
    const char *path;  /* relative to root, or absolute: the item's key */
    int64_t samples;
} mert_manifest_row;

typedef struct mert_manifest {
    char *root;
    mert_manifest_row *rows;
    int64_t n;
    uint64_t hash; /* XXH64 of the file's bytes; streams and labels store it */
    char *text;    /* the memory that the rows point into */
} mert_manifest;

/* Refuses, naming file and line: no root, a row without a tab, a count that is not a number, duplicate paths, paths
 * that leave the root. */
int mert_manifest_read(mert_manifest *m, const char *path, mert_error *e) MERT_MUST_USE;
/* Writes by contract F4. Only root, rows and n are used. Refuses a root or path that would not read back as it is. */
int mert_manifest_write(const mert_manifest *m, const char *path, mert_error *e) MERT_MUST_USE;
/* The path of a row's file, to be freed; NULL: out of memory. */
char *mert_manifest_item(const mert_manifest *m, int64_t row);
/* Whether the file exists and has this root and these rows. */
int mert_manifest_is(const mert_manifest *m, const char *path);
void mert_manifest_free(mert_manifest *m);

/* Why a path cannot be in a manifest ("has a tab or a line end", ...), or NULL if it can. */
const char *mert_manifest_path_fault(const char *path);

/* Rows of shard r of n, [first, end): round(N/n*r) .. round(N/n*(r+1)), as HuBERT's scripts cut (halves to even). */
void mert_shard_rows(int64_t rows, int shard, int shards, int64_t *first, int64_t *end);

#endif
