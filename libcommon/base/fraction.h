/* Exact fractions, for lengths of time as people write them: nothing is rounded on the way to a number of frames. */
#ifndef MERT_FRACTION_H
#define MERT_FRACTION_H

#include <stdint.h>

typedef struct mert_fraction {
    int64_t num, den; /* both positive, in lowest terms */
} mert_fraction;

/* "5", "2.5" (up to 6 decimals), "8/75". -1: none of these, not positive, or beyond 999999 (den: beyond 10^6). */
int mert_fraction_parse(mert_fraction *f, const char *text);
/* f * num / den in lowest terms; num and den positive, below 2^20 and 2^17. */
mert_fraction mert_fraction_times(mert_fraction f, int64_t num, int64_t den);
/* "5", "8/75": one way to write each. */
const char *mert_fraction_print(char to[48], mert_fraction f);

#endif
