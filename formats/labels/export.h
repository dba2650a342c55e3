/* A manifest and its label files as fairseq wants them, which knows no failed items: rows that have no labels are
 * dropped from all of the files together (contract F2), and each label set has its dict.NAME.txt. */
#ifndef MERT_LABELS_EXPORT_H
#define MERT_LABELS_EXPORT_H

#include "formats/labels/labels.h"

/* Writes DIR/train.tsv, DIR/train.km (text, also where the source is an array), its .meta and DIR/dict.km.txt for the
 * manifest train.tsv and K label files train.NAME, which must belong to it and know their classes (labels[k].meta).
 * dropped: how many rows were left out. Refused by name: labels whose name does not begin as the manifest's does, two
 * label files of one name, a folder in which a source would be replaced by its own export, no row left. The folder is
 * made; each file appears whole, .meta files last. */
int mert_labels_export(const char *manifest, const mert_manifest *m, const mert_labels *const *labels, int K,
                       const char *dir, int64_t *dropped, mert_error *e) MERT_MUST_USE;

#endif
