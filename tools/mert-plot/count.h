/* Counts the classes of codes, frame by frame (libcommon/tensor/statistics.h). */
#ifndef MERT_PLOT_COUNT_H
#define MERT_PLOT_COUNT_H

#include "libcommon/tensor/statistics.h"

typedef struct plot_count {
    mert_code_counts counts;
    mts_dtype dtype;
    uint64_t model;
    int64_t at; /* frames of the open record */
} plot_count;

int plot_count_begin(plot_count *c, const mts_record *r, mert_error *e) MERT_MUST_USE;
/* 1: r is from the same teacher, and counting continues with it. */
int plot_count_fits(plot_count *c, const mts_record *r);
int plot_count_add(plot_count *c, const void *data, int64_t frames, mert_error *e) MERT_MUST_USE;

#endif
