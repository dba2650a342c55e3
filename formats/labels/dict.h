/* dict.NAME.txt: fairseq's dictionary of a label set. SPLIT.NAME holds the labels (train.km), dict.NAME.txt beside them
 * (dict.km.txt) one line per class, "<class> <count>"; line n, from 0, is class n. fairseq needs one, so it is written
 * on demand; where one is there it orders the classes, and a label that it lacks is an error (fairseq would silently
 * take it for "unknown").
 *
 *     mert_label_dict *d;
 *     int there = mert_label_dict_find(&d, "data/train.km", e);    // reads data/dict.km.txt
 *     if (there == 1) class = mert_label_dict_class(d, "17", 2);
 *     mert_label_dict_free(d);
 */
#ifndef MERT_LABELS_DICT_H
#define MERT_LABELS_DICT_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_label_dict mert_label_dict;

/* The dictionary beside a label file: 1: read, to be freed; 0: there is none; -1: an error that names file and line.
 * NAME is what follows a dot of the file's name; if several could be meant, the longest that there is. Refused, as by
 * fairseq: no class at all, a line that is not "<class> <count>", a class that stands there twice, fairseq's own <s>,
 * <pad>, </s> and <unk>. */
int mert_label_dict_find(mert_label_dict **d, const char *labels, mert_error *e) MERT_MUST_USE;
void mert_label_dict_free(mert_label_dict *d); /* NULL is fine */

const char *mert_label_dict_file(const mert_label_dict *d);
int64_t mert_label_dict_classes(const mert_label_dict *d);
/* The class of a label as it stands in the file, or -1. */
int64_t mert_label_dict_class(const mert_label_dict *d, const char *label, size_t size);

/* "DIR/dict.km.txt" for "DIR/train.km" (or its padded array, "DIR/train.km.npy"), to be freed; NULL: a name without a
 * dot, for which fairseq has no place. */
char *mert_label_dict_path(const char *labels, mert_error *e);
/* Checks what is there already (0: nothing, or that very order; else an error that names both), and writes it if there
 * is nothing: classes 0 .. classes-1, called by their numbers. */
int mert_label_dict_check(const char *labels, int64_t classes, mert_error *e) MERT_MUST_USE;
int mert_label_dict_write(const char *labels, int64_t classes, mert_error *e) MERT_MUST_USE;
/* The same with the classes of another dictionary. */
int mert_label_dict_copy(const char *labels, const mert_label_dict *d, mert_error *e) MERT_MUST_USE;

#endif
