/* --labels: HuBERT label files (formats/labels/labels.h) beside the codes that a filter writes. The files take their names
 * when all input came through and all output is written; items that failed are empty lines (F2). A run that breaks
 * leaves nothing.
 *
 *     mert_label_tap tap = {0};
 *     if (pattern && mert_label_tap_open(&tap, pattern, &e)) ...
 *     filter.tap = pattern ? &mert_label_tap_calls : NULL; filter.tap_self = &tap;
 *     status = mert_filter_run(&filter, ...);
 *     mert_label_tap_close(&tap); */
#ifndef MERT_LABEL_TAP_H
#define MERT_LABEL_TAP_H

#include "formats/labels/labels.h"
#include "libcommon/program/filter.h"

typedef struct mert_label_tap {
    mert_labels_writer *writer; /* NULL: none, or committed */
    int begun;                  /* a record came */
} mert_label_tap;

extern const mert_tap mert_label_tap_calls; /* self: a mert_label_tap */

/* pattern: a file name, with %d where there are several codebooks. */
int mert_label_tap_open(mert_label_tap *t, const char *pattern, mert_error *e);
/* Abandons what was not committed. */
void mert_label_tap_close(mert_label_tap *t);

#endif
