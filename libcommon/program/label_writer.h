/* --labels: HuBERT label files (formats/labels/labels.h) beside the codes that a filter writes. The files appear when
 * all input was read and all output is written; failed items are empty lines (contract F2). A run that fails leaves no
 * files.
 *
 *     mert_label_writer writer = {0};
 *     if (pattern && mert_label_writer_open(&writer, pattern, &e)) ...
 *     filter.observer = pattern ? &mert_label_writer_calls : NULL; filter.observer_self = &writer;
 *     status = mert_filter_run(&filter, ...);
 *     mert_label_writer_close(&writer); */
#ifndef MERT_LABEL_WRITER_H
#define MERT_LABEL_WRITER_H

#include "formats/labels/labels.h"
#include "libcommon/program/filter.h"

typedef struct mert_label_writer {
    mert_labels_writer *writer; /* NULL: none, or committed */
    int begun;                  /* there was a record */
} mert_label_writer;

extern const mert_observer mert_label_writer_calls; /* self: a mert_label_writer */

/* pattern: a file name, with %d if there are several codebooks. */
int mert_label_writer_open(mert_label_writer *t, const char *pattern, mert_error *e) MERT_MUST_USE;
/* Abandons files that are not committed. */
void mert_label_writer_close(mert_label_writer *t);

#endif
