/* Exports a manifest and its label files to fairseq, which has no failed items: rows without labels are removed from
 * all files together (contract F2), and each label set gets a dict.NAME.txt. */
#ifndef MERT_LABELS_EXPORT_H
#define MERT_LABELS_EXPORT_H

#include "formats/labels/labels.h"

/* Writes DIR/train.tsv, DIR/train.km (text, also where the source is an array), its .meta and DIR/dict.km.txt for the
 * manifest train.tsv and K label files train.NAME, which must belong to it and have a number of classes
 * (labels[k].meta). dropped: the number of rows left out. Errors: labels whose name does not begin like the manifest's,
 * two label files with one name, a folder in which an export would replace its own source, no row left. Creates the
 * folder; each file appears whole, .meta files last. */
int mert_labels_export(const char *manifest, const mert_manifest *m, const mert_labels *const *labels, int K,
                       const char *dir, int64_t *dropped, mert_error *e) MERT_MUST_USE;

#endif
