/* The targets of a probe: the labels of instances as numbers, their groups, and given splits. */
#ifndef MERT_PROBE_TARGETS_H
#define MERT_PROBE_TARGETS_H

#include "libcommon/probe/table.h"

typedef enum mert_probe_task {
    MERT_PROBE_CLASSIFY,   /* one class each */
    MERT_PROBE_MULTILABEL, /* any number of labels, separated by commas */
    MERT_PROBE_REGRESS     /* one number or several, separated by commas; all rows have equally many */
} mert_probe_task;

/* n instances, C outputs: classes, labels, or numbers. */
typedef struct mert_targets {
    mert_probe_task task;
    int64_t n, outputs;
    int32_t *label;        /* [n] classify: the class */
    float *y;              /* [n, C] otherwise: 0 or 1, or the number */
    char **names;          /* [C] of classes or labels, sorted bytewise; NULL: regress */
    int32_t *group;        /* [n] the group, in [0, groups) */
    int64_t groups;
    mert_probe_part *part; /* [groups] the given part; OUT: none */
    int given;             /* 1: there is a given split */
} mert_targets;

/* row[n]: rows of the table. Refuses, naming file and line: several labels for classify, an empty label, a single class
 * or value in all, an invalid number, a group in two parts of a split. */
int mert_targets_make(mert_targets *g, mert_probe_task task, const mert_probe_table *t, const int64_t *row, int64_t n,
                      mert_error *e) MERT_MUST_USE;
void mert_targets_free(mert_targets *g);

#endif
