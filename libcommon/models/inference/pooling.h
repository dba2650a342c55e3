/* Pooling of frames over time: over a whole item, or over spans of fixed length. Span j covers the frames that begin at
 * or after j * S seconds and before (j + 1) * S; the last one is what is left, however short. S need not be a whole
 * number of frames: span j begins at frame ceil(j * num / den), where num / den frames last S seconds. Sums run in
 * double, frame after frame: an answer depends on the frames alone, not on how they came. An item that is all there is
 * pooled on the device (nn/ops.h: mert_pool_spans); here are the spans, and pooling of frames as they come. */
#ifndef MERT_POOLING_H
#define MERT_POOLING_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

/* std: the square root of the mean square distance from the mean (n below, as NumPy has it). */
typedef enum mert_pooling_how {
    MERT_POOLING_NONE, MERT_POOLING_MEAN, MERT_POOLING_MAX, MERT_POOLING_STD, MERT_POOLING_HOWS
} mert_pooling_how;

typedef struct mert_pooling_plan {
    mert_pooling_how how;
    int64_t num, den; /* frames of a span, at least 1; num 0: one span for the whole item */
    mert_pooling_how more[MERT_POOLING_HOWS - 2]; /* follow the first in a row; NONE: there is no more */
    int64_t part;     /* with more: each `part` floats of a frame become [statistics, part]; 0: the whole frame is one */
} mert_pooling_plan;

/* "none", or some of mean, std and max, each once, joined by commas: into how and more. */
int mert_pooling_parse(mert_pooling_plan *plan, const char *list, mert_error *e) MERT_MUST_USE;
int mert_pooling_statistics(const mert_pooling_plan *plan); /* how many; none: 0 */
/* "mean,std", as it was parsed. */
void mert_pooling_print(const mert_pooling_plan *plan, char *to, size_t size);

/* Who takes rows as they become known: n rows of width times the statistics, valid during the call. -1 goes back to
 * whoever caused it. */
typedef int mert_take_rows(void *self, const float *rows, int64_t n, mert_error *e);

/* Spans of T frames. */
int64_t mert_pooling_rows(const mert_pooling_plan *plan, int64_t T);

/* The first frame of each, and T behind the last: first [mert_pooling_rows + 1]. */
void mert_pooling_spans(const mert_pooling_plan *plan, int64_t T, int32_t *first);

typedef struct mert_pooling mert_pooling;

mert_pooling *mert_pooling_new(const mert_pooling_plan *plan, int64_t width,
                               mert_error *e); /* width: floats of a frame */
void mert_pooling_free(mert_pooling *p); /* NULL is fine */
/* An item begins: what there was of another is forgotten. */
void mert_pooling_begin(mert_pooling *p);
/* The next n frames [n, width]; spans that are whole go to `take`, one by one. */
int mert_pooling_add(mert_pooling *p, const float *frames, int64_t n, mert_take_rows *take, void *self, mert_error *e)
    MERT_MUST_USE;
/* The item ends: the last span. */
int mert_pooling_end(mert_pooling *p, mert_take_rows *take, void *self, mert_error *e) MERT_MUST_USE;

#endif
