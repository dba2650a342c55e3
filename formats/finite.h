/* Numbers that are none: a NaN or an infinity among what is written. Integers are all numbers. */
#ifndef MERT_FINITE_H
#define MERT_FINITE_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <stdint.h>

/* The first of n elements that is no finite number; -1: all are. Tens of GB/s, so that every stage can afford it. */
int64_t mert_not_finite(mts_dtype type, const void *data, int64_t n);
/* 0, or -1 with "frame 12, value 3 is nan: ...", for frames of `width` values of which the first is number `first`. */
int mert_finite_check(mts_dtype type, const void *data, int64_t frames, int64_t width, int64_t first, mert_error *e)
    MERT_MUST_USE;

#endif
