/* The files that mert-probe writes beside its table of scores: predictions and confusion. */
#ifndef MERT_PROBE_TABLES_H
#define MERT_PROBE_TABLES_H

#include "formats/file.h"
#include "libcommon/probe/instances.h"
#include "libcommon/probe/predictions.h"
#include "libcommon/probe/probe.h"

typedef struct probe_tables {
    /* set by the caller */
    const char *predictions, *confusion; /* paths; NULL: not written */
    const char *layer;        /* only this line; NULL: all but the prior */
    const mert_instances *in;
    const mert_items *items;  /* NULL: instances */
    mert_outputs outputs;
    /* private */
    mert_output *predicted, *confused;
    int64_t *order;           /* [instances or items] the order of the rows */
    int64_t *count, line;     /* confusion of this line */
    int failed;               /* a file could not be written: the error names it */
} probe_tables;

/* The name of a line of the result. */
const char *probe_line_name(const mert_instances *in, int64_t line);
/* Creates the files that are asked for. */
int probe_tables_open(probe_tables *t, int64_t rows, mert_error *e) MERT_MUST_USE;
/* For mert_probe_options.answered. */
int probe_tables_add(void *tables, const mert_probe_answers *a, mert_error *e) MERT_MUST_USE;
/* All answers were added: renames the files into place. */
int probe_tables_commit(probe_tables *t, mert_error *e) MERT_MUST_USE;
void probe_tables_free(probe_tables *t); /* abandons files that were not committed */

#endif
