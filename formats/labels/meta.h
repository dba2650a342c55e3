/* NAME.meta beside a label file (labels.h has its format). Internal to this folder: used by writer and reader. */
#ifndef MERT_LABELS_META_H
#define MERT_LABELS_META_H

#include "formats/file.h"
#include "formats/labels/labels.h"

/* 1: read, 0: there is none, -1: error. */
int mert_labels_meta_read(const char *labels, mert_labels_meta *m, mert_error *e) MERT_MUST_USE;
/* Writes it without the hash, not yet in place; NULL: error. */
mert_output *mert_labels_meta_open(const char *labels, const mert_labels_meta *m, mert_error *e);

/* To be called when the labels have their final name: writes their hash into the .meta and commits it. Frees o in any
 * case. */
int mert_labels_meta_commit(mert_output *o, const char *labels, mert_error *e) MERT_MUST_USE;

#endif
