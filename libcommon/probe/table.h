/* A table of labels for items, which are identified by their keys in streams.
 *
 *     key<TAB>label                         whole items
 *     key<TAB>start<TAB>end<TAB>label       time spans [start, end), seconds from the item's beginning
 *
 * or with a first line that names the columns: key, start, end, split, group, and others, one of which has the labels.
 * split: train, valid or test. group: items of the same group (for example an artist) are always in the same part;
 * without this column each item is a group. Keys are written as by `mert-tensor ls`: %XX is the byte XX. The rules of
 * formats/text.h hold: blanks around a field are ignored, except in keys, which are paths.
 *
 * Or a folder: each file NAME.lab below it has the spans of the item NAME.SUFFIX (or NAME), whatever the suffix, in
 * lines
 *
 *     start end label        separated by tabs or blanks; the label is the rest of the line
 *
 * Empty lines and lines that begin with # are skipped. */
#ifndef MERT_PROBE_TABLE_H
#define MERT_PROBE_TABLE_H

#include "formats/error.h"
#include "libcommon/probe/harmony.h"

#include <stdint.h>

typedef enum mert_probe_part { MERT_PROBE_TRAIN, MERT_PROBE_VALID, MERT_PROBE_TEST, MERT_PROBE_OUT } mert_probe_part;

typedef struct mert_probe_row {
    const char *key, *label, *group; /* group: the key if there is no such column */
    double start, end;               /* 0 and INFINITY: the whole item */
    const char *path;                /* the file, for messages */
    int64_t line;                    /* line number in the file, from 1 */
    mert_probe_part part;            /* OUT: not given */
} mert_probe_row;

typedef struct mert_probe_table {
    const char *path;          /* owned by the caller, for messages */
    mert_probe_row *rows;      /* sorted by key, start, line: the rows of an item are adjacent */
    int64_t n;
    int spans, splits;         /* 1: there are such columns */
    int stems;                 /* 1: keys are without the suffix of the file's name */
    char **texts;              /* [n_texts] the memory that the rows point into */
    int64_t n_texts;
} mert_probe_table;

/* path: a file. column: name of the column with the labels; NULL: "label". Refuses, naming file and line:
 * a line with too few or too many fields, an invalid number, a span that ends before it begins, a whole item that is
 * there twice, spans of one item with different groups or splits. */
int mert_probe_table_read(mert_probe_table *t, const char *path, const char *column, mert_error *e) MERT_MUST_USE;
void mert_probe_table_free(mert_probe_table *t);
/* The same of all .lab files below a folder (lab.c), which has no columns. */
int mert_probe_table_read_folder(mert_probe_table *t, const char *path, mert_error *e) MERT_MUST_USE;
/* A part of both: sorts the rows, and checks that those of an item agree. */
int mert_probe_table_sort(mert_probe_table *t, mert_error *e) MERT_MUST_USE;

/* Reduces all labels, which must be chords, by the rule (harmony.h), and removes the rows for which it has no name;
 * *out: their number. Refuses other labels, naming file and line. */
int mert_probe_table_chords(mert_probe_table *t, mert_chord_rule rule, int64_t *out, mert_error *e) MERT_MUST_USE;

/* Assigns the items of the manifest `path` to a part. Refuses an item that already has a part. */
int mert_probe_table_assign(mert_probe_table *t, const char *path, mert_probe_part part, mert_error *e) MERT_MUST_USE;
/* To be called after that: removes the rows without a part; returns their number. */
int64_t mert_probe_table_keep_parts(mert_probe_table *t);

/* Finds the rows of an item by its key: returns their number; the first one is *first. */
int64_t mert_probe_table_find(const mert_probe_table *t, const char *key, int64_t *first);

#endif
