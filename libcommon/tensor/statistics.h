/* What a tensor's numbers look like: moments of values, counts of codes. One pass, memory independent of the length. */
#ifndef MERT_STATISTICS_H
#define MERT_STATISTICS_H

#include "formats/error.h"
#include "formats/stream/mts.h"

#include <stdint.h>

typedef struct mert_moments {
    int64_t n, nan, inf; /* finite values, and those that are not */
    double min, max, mean, m2; /* of the finite ones; m2: sum of squared deviations from the mean */
} mert_moments;

void mert_moments_begin(mert_moments *m);
void mert_moments_add(mert_moments *m, const double *x, int64_t n);
/* Chan, Golub & LeVeque (1979): the moments of both together. */
void mert_moments_merge(mert_moments *m, const mert_moments *other);
double mert_moments_std(const mert_moments *m); /* of the population: divided by n; NaN for none */

/* How often each class of each codebook occurs. */
typedef struct mert_code_counts {
    int codebooks;
    int64_t classes[MTS_CODEBOOKS_MAX], room[MTS_CODEBOOKS_MAX];
    int64_t *count[MTS_CODEBOOKS_MAX]; /* [room], which grows with the classes that occur */
    int64_t frames;
    int64_t last[MTS_CODEBOOKS_MAX], runs[MTS_CODEBOOKS_MAX]; /* unbroken stretches of one class */
} mert_code_counts;

/* Codes [frames, codebooks] as doubles; one outside its codebook is an error that names frame `first` + i. */
int mert_codes_check(int codebooks, const int64_t *classes, const double *x, int64_t frames, int64_t first,
                     mert_error *e) MERT_MUST_USE;

enum { MERT_CODE_COUNTS_MAX = 1 << 22 }; /* classes of a codebook that can be counted */

/* r: of kind codes */
int mert_code_counts_begin(mert_code_counts *c, const mts_record *r, mert_error *e) MERT_MUST_USE;
int mert_code_counts_fit(const mert_code_counts *c, const mts_record *r);            /* 1: of the same codebooks */
/* first: the number of the first of these frames within its record. */
int mert_code_counts_add(mert_code_counts *c, const double *x, int64_t frames, int64_t first, mert_error *e)
    MERT_MUST_USE;
void mert_code_counts_free(mert_code_counts *c);

/* Of one codebook. */
typedef struct mert_code_use {
    int64_t used;      /* classes that occur */
    double entropy;    /* bits; perplexity is 2 to this power */
    int64_t commonest; /* the class that occurs most often, and */
    double largest;    /* its share of the frames */
    double run;        /* mean length of an unbroken stretch of one class, in frames */
} mert_code_use;
mert_code_use mert_code_counts_use(const mert_code_counts *c, int codebook);

/* Which rows of a manifest came: sets of rows that take memory by their gaps, not by their number. Zeroed: empty. */
typedef struct mert_row_set {
    int64_t (*span)[2]; /* [first, end), in order, apart */
    int64_t n, room;
} mert_row_set;

int mert_row_set_add(mert_row_set *s, int64_t row); /* 1: new; 0: was there; -1: out of memory */
void mert_row_set_free(mert_row_set *s);

#endif
