/* A row of the logs: the same columns in both forms, a line of a table and an object of JSON. */
#ifndef MERT_METRICS_ROW_H
#define MERT_METRICS_ROW_H

#include "libcommon/models/config/config.h"

#include <stdio.h>

enum { MERT_COLUMNS_MAX = 8 * MERT_CODEBOOKS_MAX + 32, /* 2 norms of each layer also fit */
       MERT_TIME_TEXT = 32 };

typedef struct mert_column {
    const char *name;
    int k;      /* its codebook; -1: none */
    int digits; /* 0: an integer */
    double value;
    const char *text; /* instead of a value */
    int clock;        /* not 0: it differs between two equal runs */
} mert_column;

enum { MERT_SPEED = 1, MERT_TIME, MERT_SHARE }; /* in JSON in this order */

typedef struct mert_row {
    mert_column column[MERT_COLUMNS_MAX];
    int n;
    char time[MERT_TIME_TEXT];
} mert_row;

void mert_row_names(FILE *f, const mert_row *r);
void mert_row_tsv(FILE *f, const mert_row *r);
/* {"update":50,"kind":"train",...,"ce":4.2,"ce_k":[4.1,4.3],...}; NaN and infinity are null. What depends on the clock
 * stands together: equal runs differ in one place. */
void mert_row_json(FILE *f, const mert_row *r, const char *kind);

#endif
