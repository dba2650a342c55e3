/* The search for NaN and infinity in output. Integers are always finite. */
#ifndef MERT_FINITE_H
#define MERT_FINITE_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <stdint.h>

/* The index of the first of n elements that is not finite; -1: all are finite. It runs at tens of GB/s, so every stage
 * can use it. */
int64_t mert_not_finite(mts_dtype type, const void *data, int64_t n);
/* Checks frames of `width` values; the first frame has the number `first`. 0, or -1 with "frame 12, value 3 is nan:
 * ...". */
int mert_finite_check(mts_dtype type, const void *data, int64_t frames, int64_t width, int64_t first, mert_error *e)
    MERT_MUST_USE;

#endif
