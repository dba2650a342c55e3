/* dict.NAME.txt: fairseq's dictionary of a label set. SPLIT.NAME holds the labels (train.km); dict.NAME.txt beside it
 * (dict.km.txt) has one line per class, "<class> <count>"; line n, from 0, is class n. fairseq needs this file, so it
 * is written on demand. If there is one, it gives the order of the classes, and a label that is not in it is an error
 * (fairseq silently reads such a label as "unknown").
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

/* Reads the dictionary beside a label file. 1: read, to be freed; 0: there is none; -1: an error that names file and
 * line. NAME is the part of the file's name after a dot; if the name has several dots, the longest NAME whose
 * dictionary exists. Refused, as in fairseq: no class at all, a line that is not "<class> <count>", a class that is
 * there twice, fairseq's own <s>, <pad>, </s> and <unk>. */
int mert_label_dict_find(mert_label_dict **d, const char *labels, mert_error *e) MERT_MUST_USE;
void mert_label_dict_free(mert_label_dict *d); /* NULL is fine */

const char *mert_label_dict_file(const mert_label_dict *d);
int64_t mert_label_dict_classes(const mert_label_dict *d);
/* The class of a label, given as text, or -1. */
int64_t mert_label_dict_class(const mert_label_dict *d, const char *label, size_t size);

/* "DIR/dict.km.txt" for "DIR/train.km" (or its padded array, "DIR/train.km.npy"), to be freed; NULL: the name has no
 * dot, so fairseq could not find its dictionary. */
char *mert_label_dict_path(const char *labels, mert_error *e);
/* Both are for classes 0 .. classes-1 whose names are their numbers. _check: 0 if there is no dictionary, or one with
 * the same classes in the same order; otherwise an error that names both. _write does the same check and writes the
 * file if there is none. */
int mert_label_dict_check(const char *labels, int64_t classes, mert_error *e) MERT_MUST_USE;
int mert_label_dict_write(const char *labels, int64_t classes, mert_error *e) MERT_MUST_USE;
/* The same with the classes of another dictionary. */
int mert_label_dict_copy(const char *labels, const mert_label_dict *d, mert_error *e) MERT_MUST_USE;

#endif
