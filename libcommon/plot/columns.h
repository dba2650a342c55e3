/* A signal of any length in bounded memory: rows of `width` values arrive one by one, and become at most `room`
 * columns. A column has `step` rows. When there is no more room, neighbouring columns are joined in pairs, and step
 * doubles. */
#ifndef MERT_COLUMNS_H
#define MERT_COLUMNS_H

#include "formats/error.h"

#include <stdint.h>

typedef enum mert_reduction { /* how several values become one */
    MERT_KEEP_MAX,
    MERT_KEEP_MEAN,
    MERT_KEEP_FIRST,
    MERT_KEEP_RANGE /* width 2: the minimum of the first value, the maximum of the second */
} mert_reduction;

/* Joins y, the result of ny rows, into x, that of nx rows. NaN: no value. */
double mert_reduction_join(mert_reduction keep, int second, double x, double nx, double y, double ny);

typedef struct mert_columns {
    mert_reduction keep;
    int64_t width, room; /* room: even */
    int64_t n, step, in; /* columns, the open one included; rows in the open one (0: none is open) */
    int64_t rows;        /* all rows */
    float *values;       /* [room, width] */
} mert_columns;

int mert_columns_begin(mert_columns *c, mert_reduction keep, int64_t width, int64_t room, mert_error *e) MERT_MUST_USE;
void mert_columns_add(mert_columns *c, const float *row);
void mert_columns_free(mert_columns *c);

#endif
