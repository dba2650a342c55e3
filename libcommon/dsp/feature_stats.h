/* Mean and variance of each dimension of a stream of feature rows, summed exactly: shards merged in any order and
 * split give the same bytes as one run (contract A3).
 *
 * A float32 and its square are integers times 2^-344; their sums are kept as such integers, digit by digit. A file is
 * text: a line of who made the rows, the number of rows, and for each dimension its mean, its standard deviation (for
 * people), and both sums in hexadecimal (what is read back). */
#ifndef MERT_FEATURE_STATS_H
#define MERT_FEATURE_STATS_H

#include "formats/error.h"

#include <stdint.h>

/* sum_i digit[i] 2^(32 i - 344); digits may be negative and exceed 32 bits until they are carried. A square is below
 * 2^600, so there is room for 2^63. */
enum { MERT_EXACT_DIGITS = 20 };
typedef struct mert_exact {
    int64_t digit[MERT_EXACT_DIGITS];
} mert_exact;

typedef struct mert_feature_stats {
    int width;
    int64_t rows;
    int64_t uncarried;         /* rows since the digits were last carried */
    char of[1024];             /* what the rows are: tool and settings; only equal ones merge */
    mert_exact *sum, *square;  /* [width] */
} mert_feature_stats;

int mert_feature_stats_new(mert_feature_stats *s, int width, const char *of, mert_error *e) MERT_MUST_USE;
void mert_feature_stats_free(mert_feature_stats *s); /* a zeroed one is fine */
void mert_feature_stats_clear(mert_feature_stats *s);
/* rows [n, width]; -1 for a number that is not finite. */
int mert_feature_stats_add(mert_feature_stats *s, const float *rows, int64_t n, mert_error *e) MERT_MUST_USE;
/* s += t; -1 if they are of different things. */
int mert_feature_stats_merge(mert_feature_stats *s, const mert_feature_stats *t, mert_error *e) MERT_MUST_USE;
/* Of the population (divided by rows); 0 and 0 for no rows. */
void mert_feature_stats_of(const mert_feature_stats *s, int dimension, double *mean, double *std);

int mert_feature_stats_write(mert_feature_stats *s, const char *path, mert_error *e) MERT_MUST_USE;
int mert_feature_stats_read(mert_feature_stats *s, const char *path, mert_error *e) MERT_MUST_USE; /* s is made anew */
uint64_t mert_feature_stats_hash(mert_feature_stats *s); /* of what is written; 0: out of memory */

#endif
