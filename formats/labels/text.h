/* Functions of read.c for label files in text form that index.c needs, too. */
#ifndef MERT_LABELS_TEXT_H
#define MERT_LABELS_TEXT_H

#include "formats/labels/index.h"

/* Finds the lines of the mapped text: l->rows, l->offset, l->cut. */
int mert_labels_text_lines(mert_labels *l, size_t size, mert_error *e) MERT_MUST_USE;
/* An upper bound of the number of labels in a row. */
int64_t mert_labels_text_most(const mert_labels *l, int64_t row);
/* Reads all labels of a row. Returns their number. *bad = 1: one of them is not a label (below 2^31, or of the
 * dictionary). */
int64_t mert_labels_text_row(const mert_labels *l, int64_t row, int32_t *to, int *bad);

/* Of index.c: sets rows, cut and known of l from its index. */
int mert_labels_index_find(mert_labels *l, mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;

#endif
