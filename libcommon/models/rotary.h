/* Rotary positions of a Conformer's queries and keys (man/model.md 16.3): number j of the first half of a head and
 * number j of its second half are rotated by the angle t * base^(-2j/d). The angles are float32 products, as in the
 * published code; at frame 9000 they differ from the exact angles by up to 5e-4. */
#ifndef MERT_ROTARY_H
#define MERT_ROTARY_H

#include "libcommon/nn/ops.h"

typedef struct mert_rotary_tables {
    mert_ops *ops;
    int64_t head, T;       /* numbers in a head (d, even); number of frames in the tables */
    int base;
    float *cosines, *sines; /* device [T, d/2] */
} mert_rotary_tables;

void mert_rotary_open(mert_rotary_tables *r, mert_ops *ops, int64_t head, int base);
void mert_rotary_close(mert_rotary_tables *r);
/* Extends the tables to T frames at least; waits if it has to. -1: out of memory. */
int mert_rotary_reach(mert_rotary_tables *r, int64_t T) MERT_MUST_USE;
/* Rotates x [B, T, H * d] with row stride ld in place. inverse: by the negative angles, which is the backward pass. */
void mert_rotary_apply(const mert_rotary_tables *r, mert_element *x, int64_t B, int64_t T, int64_t H, int64_t ld,
    int inverse);

#endif
