/* Labels as an array [rows, T] of integers, each row padded with -1. Internal to this folder: used by writer and
 * reader. */
#ifndef MERT_LABELS_ARRAY_H
#define MERT_LABELS_ARRAY_H

#include "formats/labels/labels.h"

/* Converts the file `from` (all labels as int32, one row after the other, lengths[row] labels in each) to a padded
 * array. The result is written, but not committed; NULL: error. */
mert_npy_writer *mert_labels_array(const char *path, const char *from, const int64_t *lengths, int64_t rows,
                                   mert_npy_type type, int64_t classes, mert_error *e);

/* Called by mert_labels_open, _count and _read if l->npy is set. */
int mert_labels_array_open(mert_labels *l, mert_error *e) MERT_MUST_USE;
int mert_labels_array_check(const mert_labels *l, int64_t *empty, mert_error *e) MERT_MUST_USE; /* checks all */
int64_t mert_labels_array_count(const mert_labels *l, int64_t row);
int mert_labels_array_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;

#endif
