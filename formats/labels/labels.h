/* Label files in HuBERT's format: one line per manifest row, integers separated by blanks, one per frame. NAME.meta
 * beside each (contract P5) describes it. There is one file per codebook; a pattern with %d names them all:
 * "DIR/train.encodec_%d". A row that failed is an empty line.
 *
 * A name that ends in .npy is the other format of the official code (npmemmap): an array [rows, T] of integers, each
 * row padded with -1 to the length of the longest; at least one row must have a label. Everything here holds for both
 * formats.
 *
 * A .meta is text, one key=value per line. Unknown keys are ignored, so that later versions can add some:
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
 * If there is a dict.NAME.txt beside a text file (dict.h), its lines are the names of the classes, in order. Arrays
 * contain class numbers and use no dictionary, as in the official code. */
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
    uint64_t manifest;                      /* hash of the manifest; 0: not known */
    int64_t rows;
    int64_t failed_rows;                    /* number of items that failed: empty lines */
    uint64_t hash;                          /* XXH64 of the label file's bytes; 0: not known */
} mert_labels_meta;

/* The file name of codebook k: the pattern with k in place of %d. To be freed; NULL: out of memory. */
char *mert_labels_name(const char *pattern, int k);
int mert_labels_is_npy(const char *name); /* 1: it ends in .npy */

/* ---- writing ---- */

typedef struct mert_labels_writer mert_labels_writer;

/* pattern: a file name, or one with a single %d (the codebook, from 0), needed for K > 1 codebooks. Files appear under
 * their names only at commit. */
mert_labels_writer *mert_labels_create(const char *pattern, mert_error *e);
/* To be called before the first record: writes a dict.NAME.txt for fairseq beside each file, too. If there is a
 * different one, the commit fails before any file appears. */
void mert_labels_with_dict(mert_labels_writer *w);
/* To be called before the first record: the type of arrays, I16, I32 or I64. The default is I16, or I32 for 32769 or
 * more classes. */
void mert_labels_npy_type(mert_labels_writer *w, mert_npy_type type);
/* The events of a stream: its begin (which rows of which manifest), a record, its frames, its end, or a failed item.
 * The first record sets K, classes, frame rate and codebook; a later record that differs is an error that names both.
 * Rows must come in order 0..N-1, each exactly once; a row out of order is an error that names it. If an item fails
 * while its record is open, what was written of it is removed. A failure without a row (-1, lost by damage) is counted
 * for the next missing row. */
int mert_labels_stream(mert_labels_writer *w, const mts_begin *b, mert_error *e) MERT_MUST_USE;
int mert_labels_record(mert_labels_writer *w, const mts_record *r, mert_error *e) MERT_MUST_USE;
int mert_labels_frames(mert_labels_writer *w, const void *codes, int64_t frames,
                       mert_error *e) MERT_MUST_USE; /* dtype and K of the record */
int mert_labels_end(mert_labels_writer *w, mert_error *e) MERT_MUST_USE;
int mert_labels_failed(mert_labels_writer *w, const char *key, int64_t row, mert_error *e) MERT_MUST_USE;
/* Checks that rows 0..N-1 came (N from the stream's begin), writes the .meta files, syncs everything and renames it
 * into place. Frees w in any case; on error no file appears. Old .meta files are removed first and new ones come last,
 * so that labels never have a wrong .meta. */
int mert_labels_commit(mert_labels_writer *w, mert_error *e) MERT_MUST_USE;
void mert_labels_abandon(mert_labels_writer *w); /* NULL is fine */

/* ---- reading ---- */

typedef struct mert_labels {
    char *path;
    mert_labels_meta meta;  /* without a .meta: hashes 0 ("unverified"); classes from the dictionary, or 0 */
    int verified;           /* there is a .meta, and the file agrees with it */
    int64_t rows;
    int cut;                /* text whose last line has no line end */
    mert_label_dict *dict;  /* NULL: none */
    const char *text;       /* the mapped file; row i is text[offset[i] .. offset[i+1]) */
    int64_t *offset;
    void *mapping;
    mert_npy *npy;          /* the mapped array; NULL: text */
    struct mert_index *index;            /* the index that opened it (index.h); NULL: opened without */
    const struct mert_labels_row *known; /* [rows + 1]: the rows as the index has them; offset is not used then */
} mert_labels;

/* Maps the file and finds its lines (rules: text.h). If there is a .meta or a dictionary, everything is checked here:
 * the file's bytes, the numbers of rows and classes, and every label; the error names what does not agree. A .meta
 * without a hash comes from version 0.1, which ended every line; so if the last line has no end, the file was cut,
 * which is an error. Without a .meta such a file is read, and ->cut is set. */
int mert_labels_open(mert_labels *l, const char *path, mert_error *e) MERT_MUST_USE;
void mert_labels_close(mert_labels *l);
/* _count: the number of labels in a row (0: failed). _read: its classes [first, first+n) into to[]. A token that is not
 * a class (not in the dictionary; without one, not an integer in [0, classes), or in [0, 2^31) if classes is 0) is an
 * error that names file, line and column; for arrays, row and index. */
int64_t mert_labels_count(const mert_labels *l, int64_t row);
int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* Reads a row in parts, each label parsed once. A cursor is the position of the next label of a row; to begin a row,
 * set .row and zero the rest. to NULL: skips n labels. */
typedef struct mert_labels_cursor {
    int64_t row, index;
    const char *at;
} mert_labels_cursor;
int mert_labels_read_on(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;
/* The line of a row, without its line end; NULL for arrays. */
const char *mert_labels_line(const mert_labels *l, int64_t row, size_t *size);

/* Opens all codebooks of a pattern: k = 0, 1, ... as long as there are files. Returns K; *all is new memory, to be
 * closed by close_all. They must have the same rows, frame rate and (if known) manifest. -1: error. */
int mert_labels_open_all(mert_labels **all, const char *pattern, mert_error *e) MERT_MUST_USE;
void mert_labels_close_all(mert_labels *all, int K);

/* Checks that labels belong to the manifest: the same number of rows; the same manifest hash, if the .meta has one;
 * and, for every row that did not fail, floor(samples / sample_rate * frame_rate) labels, plus or minus `tolerance`
 * (feature extractors differ by a frame or two at the edges). frame_rate_num 0: the .meta's rate; without one, or with
 * sample_rate 0, the lengths are not checked. The error names the row, its key and both numbers. */
int mert_labels_match(const mert_labels *l, const mert_manifest *m, int64_t sample_rate, int64_t frame_rate_num,
                      int64_t frame_rate_den, int64_t tolerance, mert_error *e) MERT_MUST_USE;

#endif
