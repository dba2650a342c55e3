/* Compares two streams: their records in pairs, by order. */
#ifndef MERT_COMPARE_H
#define MERT_COMPARE_H

#include "libcommon/tensor/inputs.h"

/* Values a and b agree if |a - b| <= atol + rtol |b| + ptol * (the largest |b| of the record); two NaN agree, so do
 * equal infinities. All 0: they must be equal. */
typedef struct mert_tolerance {
    double rtol, atol, ptol;
} mert_tolerance;

typedef struct mert_difference {
    int a_there, b_there;        /* 0: there is no such record on this side, or it failed */
    char key[MTS_KEY_MAX];       /* of A, or of B if there is none in A */
    int64_t row;
    char what[256];              /* why they cannot be compared: kinds, shapes, lengths; "": they were compared */
    int64_t elements;            /* number compared */
    double largest, a, b;        /* the largest |a - b| (NaN if one of them is), and the two values */
    int64_t at_frame, at_element; /* its position: time step, and element within it */
    double relative;             /* the largest |a - b| / |b| with b != 0 */
    double peak;                 /* the largest |b| */
    int64_t unequal;             /* number of elements that are not equal */
    int beyond;                  /* 1: outside of the tolerance, or cannot be compared */
} mert_difference;

typedef struct mert_comparison mert_comparison;

/* The caller closes the inputs. report: called for every event of both; not 0: stop. NULL: out of memory. */
mert_comparison *mert_comparison_new(mert_inputs *a, mert_inputs *b, const mert_tolerance *t,
                                     mert_inputs_listener *report);
/* Compares the next pair. 1: d is filled; 0: both inputs have ended; -1: stopped by report. */
int mert_comparison_next(mert_comparison *c, mert_difference *d);
void mert_comparison_free(mert_comparison *c);

#endif
