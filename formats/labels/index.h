/* NAME.index beside a label file (formats/index.h; text or array), so that a corpus of any size is opened without
 * reading its labels. Its sections:
 *
 *     0   mert_labels_facts
 *     1   mert_labels_row for each row, and one behind the last, which has the offset alone
 *     2   how often each class 0 .. largest occurs, 8 bytes each
 *
 * Its context is the hash of the dictionary that says what the classes are; 0: none. */
#ifndef MERT_LABELS_INDEX_H
#define MERT_LABELS_INDEX_H

#include "formats/index.h"
#include "formats/labels/labels.h"

enum { MERT_LABELS_BAD = INT32_MAX,     /* `largest` of a row with a token that is not a label, or too large */
       MERT_LABELS_LARGEST = 1 << 24 }; /* labels are below */

typedef struct mert_labels_row {
    int64_t offset;  /* of its first byte in a text */
    int32_t count;   /* 0: none, it failed */
    int32_t largest; /* of its labels; -1: none */
} mert_labels_row;

typedef struct mert_labels_facts {
    int64_t rows, empty;
    int64_t cut;      /* 1: a text whose last line has no end */
    int64_t largest;  /* of all rows but bad ones; -1: none */
    int64_t total;    /* labels of these rows */
    int64_t bad;      /* number of rows that are MERT_LABELS_BAD */
    int64_t bad_row;  /* the first of them; -1: none */
    uint64_t bytes;   /* XXH64 of the file */
    uint64_t classes; /* XXH64 over the rows that are neither empty nor bad: for each its count (8 bytes), then its
                         labels (4 bytes each) */
} mert_labels_facts;

/* Like mert_labels_open, but by the index beside the file, which is made if necessary. Refuses a file that does not fit
 * its .meta file. A single row with bad labels is not an error: l->known marks it, and reading the row gives the
 * reason. */
int mert_labels_open_indexed(mert_labels *l, const char *path, mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;
const mert_labels_facts *mert_labels_index_facts(const mert_labels *l);
/* [largest + 1], without bad rows. */
const int64_t *mert_labels_index_counts(const mert_labels *l);

/* Lets the kernel release the pages of index and file that were read. */
void mert_labels_rest(const mert_labels *l);

/* Internal to this folder: sets rows, cut and known of l, which is open but for these, from its index. */
int mert_labels_index_find(mert_labels *l, mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;

#endif
