/* What a probe is to say of each instance: its labels as numbers; and what must stay together: groups, given splits. */
#ifndef MERT_PROBE_TARGETS_H
#define MERT_PROBE_TARGETS_H

#include "libcommon/probe/table.h"

typedef enum mert_probe_task {
    MERT_PROBE_CLASSIFY,   /* one class each */
    MERT_PROBE_MULTILABEL, /* any of the labels, commas between; or none */
    MERT_PROBE_REGRESS     /* a number, or as many as all have, commas between */
} mert_probe_task;

/* n instances, C outputs: classes, labels, or numbers. */
typedef struct mert_targets {
    mert_probe_task task;
    int64_t n, outputs;
    int32_t *label;        /* [n] classify: the class */
    float *y;              /* [n, C] otherwise: 0 or 1, or the number */
    char **names;          /* [C] of classes and labels, in the order of their bytes; NULL: regress */
    int32_t *group;        /* [n] which group, in [0, groups) */
    int64_t groups;
    mert_probe_part *part; /* [groups] the given split of each; OUT: none is given */
    int given;             /* a split is given */
} mert_targets;

/* row[n]: of the table. Refuses what cannot be learned or judged, naming file and line: several labels where there is
 * to be one, an empty one, one class or value in all, a number that is none, a group on two sides of a split. */
int mert_targets_make(mert_targets *g, mert_probe_task task, const mert_probe_table *t, const int64_t *row, int64_t n,
                      mert_error *e) MERT_MUST_USE;
void mert_targets_free(mert_targets *g);

#endif
