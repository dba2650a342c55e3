/* Pooling of frames over time: over a whole item, or over spans of fixed length. Span j has the frames that begin at or
 * after j * S seconds and before (j + 1) * S; the last span may be shorter. S need not be a whole number of frames:
 * span j begins at frame ceil(j * num / den), where num / den is the number of frames in S seconds. Sums are in double,
 * frame by frame, so the result does not depend on how the frames are divided into calls. Items that are complete in
 * memory are pooled on the device (mert_pool_spans in nn/operations.h). This module computes the spans, and pools
 * frames that come in pieces. */
#ifndef MERT_POOLING_H
#define MERT_POOLING_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

/* std: the standard deviation, with n (not n - 1) as divisor, as in NumPy. */
typedef enum mert_pooling_how {
    MERT_POOLING_NONE, MERT_POOLING_MEAN, MERT_POOLING_MAX, MERT_POOLING_STD, MERT_POOLING_HOWS
} mert_pooling_how;

typedef struct mert_pooling_plan {
    mert_pooling_how how;
    int64_t num, den; /* frames in a span, at least 1; num 0: the whole item is one span */
    mert_pooling_how more[MERT_POOLING_HOWS - 2]; /* further statistics, after the first in each row; NONE: no more */
    int64_t part;     /* with `more`: each `part` floats of a frame become [statistics, part]; 0: the whole frame is one
                         part */
} mert_pooling_plan;

/* Parses "none", or a list of mean, std and max, each at most once, separated by commas, into how and more. */
int mert_pooling_parse(mert_pooling_plan *plan, const char *list, mert_error *e) MERT_MUST_USE;
int mert_pooling_statistics(const mert_pooling_plan *plan); /* number of statistics; none: 0 */
/* Writes the list as it was parsed, "mean,std". */
void mert_pooling_print(const mert_pooling_plan *plan, char *to, size_t size);

/* Receives n finished rows, each of width times the number of statistics. They are valid during the call. -1 is
 * returned to the caller of the function that called it. */
typedef int mert_rows_sink(void *self, const float *rows, int64_t n, mert_error *e);

/* Number of spans of T frames. */
int64_t mert_pooling_rows(const mert_pooling_plan *plan, int64_t T);

/* The first frame of each span, and T at the end: first [mert_pooling_rows + 1]. */
void mert_pooling_spans(const mert_pooling_plan *plan, int64_t T, int32_t *first);

typedef struct mert_pooling mert_pooling;

mert_pooling *mert_pooling_new(const mert_pooling_plan *plan, int64_t width,
                               mert_error *e); /* width: floats in a frame */
void mert_pooling_free(mert_pooling *p); /* NULL is fine */
/* Starts a new item and discards frames of the last one. */
void mert_pooling_begin(mert_pooling *p);
/* Adds the next n frames [n, width]. Complete spans are passed to `take`, one by one. */
int mert_pooling_add(mert_pooling *p, const float *frames, int64_t n, mert_rows_sink *take, void *self, mert_error *e)
    MERT_MUST_USE;
/* The item ends: passes the last span to `take`. */
int mert_pooling_end(mert_pooling *p, mert_rows_sink *take, void *self, mert_error *e) MERT_MUST_USE;

#endif
