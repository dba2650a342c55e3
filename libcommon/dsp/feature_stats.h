/* Mean and variance of each dimension of a stream of feature rows, summed exactly: any division into shards, merged in
 * any order, gives the same bytes as one run (contract A3).
 *
 * A float32 and its square are integers times 2^-344; their sums are kept as such integers of several digits. A file is
 * text: a line with the origin of the rows, the number of rows, and for each dimension its mean and standard deviation
 * (for users), and both sums in hexadecimal (these are read back). */
#ifndef MERT_FEATURE_STATS_H
#define MERT_FEATURE_STATS_H

#include "formats/error.h"

#include <stdint.h>

/* sum_i digit[i] 2^(32 i - 344); digits may be negative or larger than 32 bits until they are carried. A square is
 * below 2^600, so 2^63 of them fit. */
enum { MERT_EXACT_DIGITS = 20 };
typedef struct mert_exact {
    int64_t digit[MERT_EXACT_DIGITS];
} mert_exact;

typedef struct mert_feature_stats {
    int width;
    int64_t rows;
    int64_t uncarried;         /* rows since the digits were last carried */
    char of[1024];             /* origin of the rows: tool and settings; statistics can be merged only if these are
                                  equal */
    mert_exact *sum, *square;  /* [width] */
} mert_feature_stats;

int mert_feature_stats_new(mert_feature_stats *s, int width, const char *of, mert_error *e) MERT_MUST_USE;
void mert_feature_stats_free(mert_feature_stats *s); /* may be all zero */
void mert_feature_stats_clear(mert_feature_stats *s);
/* rows [n, width]; -1: a value is not finite. */
int mert_feature_stats_add(mert_feature_stats *s, const float *rows, int64_t n, mert_error *e) MERT_MUST_USE;
/* s += t; -1: their origin or width differs. */
int mert_feature_stats_merge(mert_feature_stats *s, const mert_feature_stats *t, mert_error *e) MERT_MUST_USE;
/* Of the population (divided by rows); 0 and 0 for no rows. */
void mert_feature_stats_of(const mert_feature_stats *s, int dimension, double *mean, double *std);

int mert_feature_stats_write(mert_feature_stats *s, const char *path, mert_error *e) MERT_MUST_USE;
int mert_feature_stats_read(mert_feature_stats *s, const char *path, mert_error *e) MERT_MUST_USE; /* fills s */
uint64_t mert_feature_stats_hash(mert_feature_stats *s); /* of the file's contents; 0: out of memory */

#endif
