/* Statistics of a tensor: moments of values, counts of codes. One pass, memory independent of the length. */
#ifndef MERT_STATISTICS_H
#define MERT_STATISTICS_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <stdint.h>

typedef struct mert_moments {
    int64_t n, nan, inf; /* number of finite values, NaN, infinities */
    double min, max, mean, m2; /* of finite values; m2: sum of squared deviations from the mean */
} mert_moments;

void mert_moments_begin(mert_moments *m);
void mert_moments_add(mert_moments *m, const double *x, int64_t n);
/* Chan, Golub & LeVeque (1979): m becomes the moments of both together. */
void mert_moments_merge(mert_moments *m, const mert_moments *other);
double mert_moments_std(const mert_moments *m); /* of the population (divided by n); NaN for n = 0 */

/* How often each class of each codebook occurs. */
typedef struct mert_code_counts {
    int codebooks;
    int64_t classes[MTS_CODEBOOKS_MAX], room[MTS_CODEBOOKS_MAX];
    int64_t *count[MTS_CODEBOOKS_MAX]; /* [room]; room grows with the largest class */
    int64_t frames;
    int64_t last[MTS_CODEBOOKS_MAX], runs[MTS_CODEBOOKS_MAX]; /* runs: maximal sequences of one class */
} mert_code_counts;

/* Checks codes [frames, codebooks], given as doubles; the error for a code outside its codebook has the frame, `first`
 * + i. */
int mert_codes_check(int codebooks, const int64_t *classes, const double *x, int64_t frames, int64_t first,
                     mert_error *e) MERT_MUST_USE;

enum { MERT_CODE_COUNTS_MAX = 1 << 22 }; /* the most classes of a codebook that can be counted */

/* r: a record of kind codes */
int mert_code_counts_begin(mert_code_counts *c, const mts_record *r, mert_error *e) MERT_MUST_USE;
int mert_code_counts_fit(const mert_code_counts *c, const mts_record *r);            /* 1: r has the same codebooks */
/* first: number of the first frame in its record. */
int mert_code_counts_add(mert_code_counts *c, const double *x, int64_t frames, int64_t first, mert_error *e)
    MERT_MUST_USE;
void mert_code_counts_free(mert_code_counts *c);

/* Results for one codebook. */
typedef struct mert_code_use {
    int64_t used;      /* number of classes that occur */
    double entropy;    /* bits; perplexity is 2^entropy */
    int64_t commonest; /* the most frequent class */
    double largest;    /* its fraction of the frames */
    double run;        /* mean length of a run of one class, in frames */
} mert_code_use;
mert_code_use mert_code_counts_use(const mert_code_counts *c, int codebook);

/* A set of manifest rows, stored as ranges: memory grows with the number of gaps. All zero: empty. */
typedef struct mert_row_set {
    int64_t (*span)[2]; /* [first, end): sorted, not adjacent */
    int64_t n, room;
} mert_row_set;

int mert_row_set_add(mert_row_set *s, int64_t row); /* 1: added; 0: was in it; -1: out of memory */
void mert_row_set_free(mert_row_set *s);

#endif
