/* Shared by projected.c and projected_train.c. */
#ifndef MERT_PROJECTED_INTERNAL_H
#define MERT_PROJECTED_INTERNAL_H

#include "libcommon/teachers/rvq/projected.h"

/* Scales rows u [n, D] to length 1; zero rows stay zero. */
void mert_projected_unit(float *u, int64_t n, int64_t D);
/* y [S] += sign * (O_k c + o_k) */
void mert_projected_add(const mert_codebook *b, int64_t k, int32_t code, float sign, float *y);

#endif
