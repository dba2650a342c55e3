/* Label files as HuBERT has them: one line per manifest row, integers separated by blanks, one per frame; and what we
 * put beside each as NAME.meta (contract P5), so that whoever reads it knows what it is. One file per codebook; a
 * pattern with %d names them all: "DIR/train.encodec_%d". A row that failed is an empty line.
 *
 * A name that ends in .npy is the other form that the official code has (npmemmap): an array [rows, T] of integers,
 * each row filled up with -1 to the length of the longest; at least one row must have a label. Everything said here
 * holds for both forms.
 *
 * A .meta is text, one key=value per line; other keys are passed over, so that later versions can add some:
 *
 *     meta=8899aabb44556677      (XXH64 of the lines below but hash=; without it: not known)
 *     classes=1024
 *     frame_rate=24000/320
 *     codebook=0123456789abcdef      (16 hex digits; zeros: not known)
 *     codebook_index=0
 *     manifest=fedcba9876543210
 *     rows=57
 *     failed_rows=1
 *     hash=00112233aabbccdd      (XXH64 of the label file's bytes; without it, or zeros: not known)
 *
 * Where a dict.NAME.txt stands beside a text file (dict.h), its lines are the classes, in their order, whatever
 * they are called; the official reader of arrays takes their numbers as they are, and so does this one. */
#ifndef MERT_LABELS_H
#define MERT_LABELS_H

#include "formats/error.h"
#include "formats/labels/dict.h"
#include "formats/labels/manifest.h"
#include "formats/npy.h"
#include "formats/stream/mts.h"

#include <stdint.h>

typedef struct mert_labels_meta {
    int64_t classes;
    int64_t frame_rate_num, frame_rate_den; /* labels per second */
    uint64_t codebook;                      /* hash of the model or codebook that made them; 0: not known */
    int64_t codebook_index;                 /* which codebook of it, from 0 */
    uint64_t manifest;                      /* hash of the manifest whose rows these are; 0: not known */
    int64_t rows;
    int64_t failed_rows;                    /* how many lines are empty because their item failed */
    uint64_t hash;                          /* XXH64 of the label file's bytes; 0: not known */
} mert_labels_meta;

/* The name of codebook k's file, to be freed: the pattern with k for its %d. NULL: out of memory. */
char *mert_labels_name(const char *pattern, int k);
int mert_labels_is_npy(const char *name); /* 1: it ends in .npy */

/* ---- writing ---- */

typedef struct mert_labels_writer mert_labels_writer;

/* pattern: a file name, or one with a single %d (the codebook, from 0), needed for K > 1 codebooks. Files appear under
 * their names only at commit. */
mert_labels_writer *mert_labels_create(const char *pattern, mert_error *e);
/* Before the first record: a dict.NAME.txt for fairseq beside each file, too; one that is there and says otherwise is
 * an error of the commit, before anything appears. */
void mert_labels_with_dict(mert_labels_writer *w);
/* Before the first record: the type of arrays, I16, I32 or I64. The default is I16, or I32 from 32769 classes on. */
void mert_labels_npy_type(mert_labels_writer *w, mert_npy_type type);
/* What comes next: a stream's begin (which rows of which manifest), a record, its frames, its end, or an item that
 * failed. The first record decides K, classes, frame rate and codebook; a later one that differs is an error that names
 * both. Rows must come in order 0..N-1, each exactly once; a row out of place is an error that names it. An item that
 * failed with its record open takes back what was written of it. A failure whose row damage took (-1) stands for the
 * next row that turns out to be missing. */
int mert_labels_stream(mert_labels_writer *w, const mts_begin *b, mert_error *e) MERT_MUST_USE;
int mert_labels_record(mert_labels_writer *w, const mts_record *r, mert_error *e) MERT_MUST_USE;
int mert_labels_frames(mert_labels_writer *w, const void *codes, int64_t frames,
                       mert_error *e) MERT_MUST_USE; /* dtype and K as the record's */
int mert_labels_end(mert_labels_writer *w, mert_error *e) MERT_MUST_USE;
int mert_labels_failed(mert_labels_writer *w, const char *key, int64_t row, mert_error *e) MERT_MUST_USE;
/* Checks that rows 0..N-1 came (N from the stream's begin), writes .meta files, renames everything into place once all
 * of it is on the disk, and frees (on error, too: then nothing has appeared). Old .meta files go first and new ones
 * come last, so that labels never stand beside a .meta of others. */
int mert_labels_commit(mert_labels_writer *w, mert_error *e) MERT_MUST_USE;
void mert_labels_abandon(mert_labels_writer *w); /* NULL is fine */

/* ---- reading ---- */

typedef struct mert_labels {
    char *path;
    mert_labels_meta meta;  /* without a .meta: hashes 0 ("unverified"), classes those of the dictionary, or 0 */
    int verified;           /* a .meta was there and fits the file */
    int64_t rows;
    int cut;                /* text whose last line has no end */
    mert_label_dict *dict;  /* NULL: none */
    const char *text;       /* the mapped file; row i is text[offset[i] .. offset[i+1]) */
    int64_t *offset;
    void *mapping;
    mert_npy *npy;          /* the mapped array; NULL: it is text */
} mert_labels;

/* Maps the file and finds its lines (a text as text.h says). With a .meta or a dictionary beside it, everything is
 * checked against them here: the file's bytes, the number of rows and of classes, and every label; an error names what
 * does not fit. A .meta without a hash comes from 0.1, whose files end every line: one whose last line has no end was
 * cut. Without a .meta such a file is read, and ->cut says so. */
int mert_labels_open(mert_labels *l, const char *path, mert_error *e) MERT_MUST_USE;
void mert_labels_close(mert_labels *l);
/* Number of labels in a row (0: failed), and the classes [first, first+n) of it into to[]. A token that is no class
 * (not in the dictionary; without one, no integer within [0, classes), or [0, 2^31) where classes is 0) is an error
 * naming file, line and column; for arrays row and place. */
int64_t mert_labels_count(const mert_labels *l, int64_t row);
int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* The same bit by bit, each label looked at once: a cursor stands before a row's next label; zeroed but for the row,
 * before its first. Without `to` n labels are passed over. */
typedef struct mert_labels_cursor {
    int64_t row, index;
    const char *at;
} mert_labels_cursor;
int mert_labels_read_on(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* A row of a text file as it stands, without its line end; NULL for arrays. */
const char *mert_labels_line(const mert_labels *l, int64_t row, size_t *size);

/* All codebooks of a pattern, as far as there are files: K of them in new memory at *all, to be given to close_all.
 * They must have the same rows, frame rate and (where known) manifest. -1: error. */
int mert_labels_open_all(mert_labels **all, const char *pattern, mert_error *e) MERT_MUST_USE;
void mert_labels_close_all(mert_labels *all, int K);

/* Whether labels and manifest belong together: as many rows; the same manifest hash where the .meta knows it; and every
 * row that did not fail as many labels as its samples make, floor(samples / sample_rate * frame_rate) give or take
 * `tolerance` (feature extractors differ by a frame or two at the edges). frame_rate_num 0: the .meta's rate; without
 * one, or with sample_rate 0, the counts are not checked. The error names the row, its key and both numbers. */
int mert_labels_match(const mert_labels *l, const mert_manifest *m, int64_t sample_rate, int64_t frame_rate_num,
                      int64_t frame_rate_den, int64_t tolerance, mert_error *e) MERT_MUST_USE;

#endif
