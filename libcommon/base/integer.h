/* The smaller and the larger of two lengths. */
#ifndef MERT_INTEGER_H
#define MERT_INTEGER_H

#include <stdint.h>

static inline int64_t mert_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t mert_larger(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
