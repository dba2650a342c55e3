/* Tab-separated tables, and their pictures: curves from the log.tsv and valid.tsv of a run (mert-train(1)), scores of
 * layers from mert-probe. Columns are found by their names. Lines that begin with # are comments. */
#ifndef MERT_PLOT_TABLE_H
#define MERT_PLOT_TABLE_H

#include "libcommon/plot/figure.h"

#include <stdio.h>

typedef struct mert_table {
    char *text;           /* the memory of all cells */
    const char *path;     /* owned by the caller, for messages */
    char **names;         /* [columns] */
    char **cells;         /* [rows, columns] */
    int64_t columns, rows;
} mert_table;

/* Reads a table, from the position of f to its end. A row with another number of columns than the first line is an
 * error, except an incomplete last line. A table may have no rows: that of a run that has just begun. */
int mert_table_read(mert_table *t, FILE *f, const char *path, mert_error *e) MERT_MUST_USE;
int mert_table_needs_rows(const mert_table *t, mert_error *e) MERT_MUST_USE; /* an error if it has none */
void mert_table_free(mert_table *t);
int mert_table_column(const mert_table *t, const char *name);               /* -1: none */
double mert_table_number(const mert_table *t, int64_t row, int64_t column); /* NaN: not a number */
int mert_table_fits(const mert_table *t, const char *patterns); /* 1: a column matches one of "ce_*,loss" */
int mert_table_is_log(const mert_table *t);    /* of a run: the first column is `update` */
int mert_table_is_scores(const mert_table *t); /* of a probe: the first column is `layer` */

/* Lines over updates, for the columns that match the patterns ("ce_*,loss"), in the order of the table. NULL: cross
 * entropies and their references or, if there are none, the loss. Adds the lines to the panel, with `prefix` before
 * their names; -1 if no column matches, or more than 1,000, or a value is no number. A log of more than 2,000 rows is
 * reduced to means. */
int mert_table_curves(const mert_table *t, const char *patterns, const char *prefix, mert_panel *to, mert_error *e)
    MERT_MUST_USE;
/* Scores of one table: all metrics over the layers or, if only one is chosen, with its range over the seeds. */
int mert_table_scores(const mert_table *t, const char *metrics, mert_panel *to, mert_error *e) MERT_MUST_USE;
/* Scores of n tables: an image, layer by task. The name of a task is that of its file; its metric is the first that
 * matches. */
int mert_table_tasks(const mert_table *t, int n, const char *metrics, mert_panel *to, mert_error *e) MERT_MUST_USE;

#endif
