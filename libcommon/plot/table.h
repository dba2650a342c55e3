/* Tables with tabs, and what is drawn of them: curves from the log.tsv and valid.tsv of a run (mert-train(1)), scores
 * of layers from mert-probe. Columns are found by their names. Lines that begin with # are comments. */
#ifndef MERT_PLOT_TABLE_H
#define MERT_PLOT_TABLE_H

#include "libcommon/plot/figure.h"

#include <stdio.h>

typedef struct mert_table {
    char *text;           /* holds all words */
    const char *path;     /* the caller's, for messages */
    char **names;         /* [columns] */
    char **cells;         /* [rows, columns] */
    int64_t columns, rows;
} mert_table;

/* Reads a table: all that is left of f. A row with another number of columns than the first line is an error, except a
 * last line that was cut short. */
int mert_table_read(mert_table *t, FILE *f, const char *path, mert_error *e) MERT_MUST_USE;
void mert_table_free(mert_table *t);
int mert_table_column(const mert_table *t, const char *name);               /* -1: none */
double mert_table_number(const mert_table *t, int64_t row, int64_t column); /* NaN: no number */
int mert_table_fits(const mert_table *t, const char *patterns); /* 1: a column fits one of "ce_*,loss" */
int mert_table_is_log(const mert_table *t);    /* of a run: the first column is `update` */
int mert_table_is_scores(const mert_table *t); /* of a probe: the first column is `layer` */

/* Lines over updates, of the columns that fit the patterns, "ce_*,loss", in the order of the table. NULL: cross
 * entropies, and what they are compared with; or if there are none the loss. Adds the lines to what the panel has, with
 * `prefix` before their names; -1 if no column fits. A log of more than 2,000 rows is reduced to means. */
int mert_table_curves(const mert_table *t, const char *patterns, const char *prefix, mert_panel *to, mert_error *e)
    MERT_MUST_USE;
/* Of one table: each metric over the layers, or the one metric with its range over the seeds. */
int mert_table_scores(const mert_table *t, const char *metrics, mert_panel *to, mert_error *e) MERT_MUST_USE;
/* Of n tables: an image, layer by task. A task is named by its file; its metric is the first that fits. */
int mert_table_tasks(const mert_table *t, int n, const char *metrics, mert_panel *to, mert_error *e) MERT_MUST_USE;

#endif
