/* Label files as HuBERT has them: one line per manifest row, integers separated by blanks, one per frame; and what we put
 * beside each as NAME.meta (P5), so that whoever reads it knows what it is. One file per codebook; a pattern with %d names them
 * all: "DIR/train.encodec_%d". A row that failed is an empty line. */
#ifndef MERT_LABELS_H
#define MERT_LABELS_H

#include "error.h"
#include "stream/mts.h"

#include <stdint.h>

typedef struct mert_labels_meta {
    int64_t classes;
    int64_t frame_rate_num, frame_rate_den; /* labels per second */
    uint64_t codebook;                      /* hash of the model or codebook that made them; 0: not known */
    int64_t codebook_index;                 /* which codebook of it, from 0 */
    uint64_t manifest;                      /* hash of the manifest whose rows these are; 0: not known */
    int64_t rows;
    int64_t failed_rows;                    /* how many lines are empty because their item failed */
} mert_labels_meta;

/* ---- writing ---- */

typedef struct mert_labels_writer mert_labels_writer;

/* pattern: a file name, or one with a single %d for K > 1 codebooks. Files appear under their names only at commit. */
mert_labels_writer *mert_labels_create(const char *pattern, mert_error *e);
/* What comes next: a stream's begin (which rows of which manifest), a record, its frames, its end, or an item that failed.
 * The first record decides K, classes, frame rate and codebook; a later one that differs is an error that names both.
 * Rows must come in order 0..N-1, each exactly once; a row out of place is an error that names it. */
int mert_labels_stream(mert_labels_writer *w, const mts_begin *b, mert_error *e);
int mert_labels_record(mert_labels_writer *w, const mts_record *r, mert_error *e);
int mert_labels_frames(mert_labels_writer *w, const void *codes, int64_t frames, mert_error *e); /* dtype and K as the record's */
int mert_labels_end(mert_labels_writer *w, mert_error *e);
int mert_labels_failed(mert_labels_writer *w, const char *key, int64_t row, mert_error *e);
/* Checks that rows 0..N-1 came (N from the stream's begin), writes .meta files, renames everything into place, frees. */
int mert_labels_commit(mert_labels_writer *w, mert_error *e);
void mert_labels_abandon(mert_labels_writer *w);

/* ---- reading ---- */

typedef struct mert_labels {
    char *path;
    mert_labels_meta meta;  /* without a .meta: classes 0, hashes 0 ("unverified") */
    int verified;           /* a .meta was there and fits the file */
    int64_t rows;
    const char *text;       /* the mapped file; row i is text[offset[i] .. offset[i+1]) */
    int64_t *offset;
    void *mapping;
} mert_labels;

int mert_labels_open(mert_labels *l, const char *path, mert_error *e);
void mert_labels_close(mert_labels *l);
/* Number of labels in a row (0: failed), and the labels [first, first+n) of it into to[]. A token that is no integer within
 * [0, classes) (classes 0: any below 2^31) is an error naming file, line and column. */
int64_t mert_labels_count(const mert_labels *l, int64_t row);
int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e);

#endif
