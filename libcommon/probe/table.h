/* What is known of the music: a table of labels, by the names that items have in streams.
 *
 *     key<TAB>label                         whole items
 *     key<TAB>start<TAB>end<TAB>label       time spans [start, end), seconds from the item's beginning
 *
 * or with a first line that names the columns: key, start, end, split, group, and any others, one of which holds the
 * labels. split: train, valid or test. group: what must not be on both sides of a split (an artist); without it, the
 * item. Keys are written as `mert-tensor ls` writes them: %XX stands for the byte XX. A text as formats/text.h says:
 * blanks around a field do not count, but in keys, which are paths. */
#ifndef MERT_PROBE_TABLE_H
#define MERT_PROBE_TABLE_H

#include "formats/error.h"

#include <stdint.h>

typedef enum mert_probe_part { MERT_PROBE_TRAIN, MERT_PROBE_VALID, MERT_PROBE_TEST, MERT_PROBE_OUT } mert_probe_part;

typedef struct mert_probe_row {
    const char *key, *label, *group; /* group: the key where the table has none */
    double start, end;               /* 0 and INFINITY: the whole item */
    int64_t line;                    /* of the file, from 1 */
    mert_probe_part part;            /* OUT: the table says nothing of it */
} mert_probe_row;

typedef struct mert_probe_table {
    const char *path;          /* the caller's, for messages */
    mert_probe_row *rows;      /* by key, then start, then line: the rows of an item stand together */
    int64_t n;
    int spans, splits;         /* are there such columns? */
    char *text;                /* holds what the rows point into */
} mert_probe_table;

/* column: the labels' among those that the first line names; NULL: "label". Refuses, naming file and line: a line with
 * too few or many fields, a number that is none, a span that ends before it begins, a whole item that is there twice,
 * spans of one item with several groups or splits. */
int mert_probe_table_read(mert_probe_table *t, const char *path, const char *column, mert_error *e) MERT_MUST_USE;
void mert_probe_table_free(mert_probe_table *t);

/* The items of the manifest `path` become that part of the given split. Refuses an item that has one already. */
int mert_probe_table_assign(mert_probe_table *t, const char *path, mert_probe_part part, mert_error *e) MERT_MUST_USE;
/* After that: takes out the rows that are in no part; returns how many those were. */
int64_t mert_probe_table_keep_parts(mert_probe_table *t);

/* The rows of an item: [*first, *first + what is returned). */
int64_t mert_probe_table_find(const mert_probe_table *t, const char *key, int64_t *first);

#endif
