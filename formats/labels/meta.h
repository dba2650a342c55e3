/* NAME.meta beside a label file (labels.h says what stands in it): for the two sides of this format. */
#ifndef MERT_LABELS_META_H
#define MERT_LABELS_META_H

#include "formats/file.h"
#include "formats/labels/labels.h"

/* 1: read, 0: there is none, -1: error. */
int mert_labels_meta_read(const char *labels, mert_labels_meta *m, mert_error *e) MERT_MUST_USE;
/* Written but for the hash, not yet in place; NULL: error. */
mert_output *mert_labels_meta_open(const char *labels, const mert_labels_meta *m, mert_error *e);

/* Once the labels stand under their name: their hash is put into its .meta, and that in place. Frees o in any case. */
int mert_labels_meta_commit(mert_output *o, const char *labels, mert_error *e) MERT_MUST_USE;

#endif
