/* Exact fractions, for durations in options: converting them to a number of frames rounds nothing. */
#ifndef MERT_FRACTION_H
#define MERT_FRACTION_H

#include <stdint.h>

typedef struct mert_fraction {
    int64_t num, den; /* both positive, in lowest terms */
} mert_fraction;

/* "5", "2.5" (up to 6 decimals), "8/75". -1: another text, not positive, or greater than 999999 (den: than 10^6). */
int mert_fraction_parse(mert_fraction *f, const char *text);
/* f * num / den in lowest terms; num and den positive, below 2^20 and 2^17. */
mert_fraction mert_fraction_times(mert_fraction f, int64_t num, int64_t den);
/* "5", "8/75": equal fractions give the same text. */
const char *mert_fraction_print(char to[48], mert_fraction f);

#endif
