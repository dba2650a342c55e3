/* Labels as a packed stream of codes [T, K], as mert-kmeans assign and mert-rvq encode write it: all codebooks at once,
 * read where they are wanted, so that memory does not grow with the corpus. Records are found by their keys. */
#ifndef MERT_CORPUS_CODES_H
#define MERT_CORPUS_CODES_H

#include "formats/error.h"
#include "formats/labels/labels.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_codes {
    char *path;
    FILE *stream;
    mts_reader *reader;
    int K;
    mert_labels_meta meta[MTS_CODEBOOKS_MAX]; /* [K], as a .meta would say it */
    int64_t rows;
    int nameless;               /* items failed whose names are lost: any may be one of them */
    struct mert_codes_place {
        int64_t offset, frames; /* frames 0: nothing there */
        int known;              /* the stream has it, or says that it failed */
    } *places;                  /* [rows] of the manifest */
    int32_t *held;              /* the last frames that were read: [held_n, K] */
    int64_t held_row, held_first, held_n, room;
} mert_codes;

int mert_codes_is_stream(const char *name); /* 1: it ends in .mts */

/* Refuses records of another kind, and those that differ from the first in classes, rate or model. */
int mert_codes_open(mert_codes *c, const char *path, const mert_manifest *m, mert_error *e) MERT_MUST_USE;
void mert_codes_close(mert_codes *c); /* a zeroed one is fine */

int64_t mert_codes_count(const mert_codes *c, int64_t row);
int mert_codes_absent(const mert_codes *c, int64_t row); /* 1: neither there nor among what failed */
/* Codes first .. first + n - 1 of codebook k; other codebooks of the same frames cost nothing more. One thread at a
 * time. A code beyond its classes, damage and the like: an error that names file and item; c stays usable. */
int mert_codes_read(mert_codes *c, int64_t row, int k, int64_t first, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;

#endif
