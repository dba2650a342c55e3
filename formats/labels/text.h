/* Label files in text form: lines of labels. Internal to this folder; array.h is the same for arrays. */
#ifndef MERT_LABELS_TEXT_H
#define MERT_LABELS_TEXT_H

#include "formats/labels/labels.h"

/* Finds the lines of the mapped text: l->rows, l->offset, l->cut. */
int mert_labels_text_lines(mert_labels *l, size_t size, mert_error *e) MERT_MUST_USE;
/* An upper bound of the number of labels in a row. */
int64_t mert_labels_text_most(const mert_labels *l, int64_t row);
/* Reads all labels of a row. Returns their number. *bad = 1: one of them is not a label (below 2^31, or of the
 * dictionary). */
int64_t mert_labels_text_row(const mert_labels *l, int64_t row, int32_t *to, int *bad);
/* Checks all labels. *empty: number of rows without labels. */
int mert_labels_text_check(const mert_labels *l, int64_t *empty, mert_error *e) MERT_MUST_USE;
/* The number of labels in a row. */
int64_t mert_labels_text_count(const mert_labels *l, int64_t row);
/* mert_labels_read_on and mert_labels_line, for rows that exist. */
int mert_labels_text_read(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;
const char *mert_labels_text_line(const mert_labels *l, int64_t row, size_t *size);

#endif
