/* Labels in a packed stream of codes [T, K], as written by mert-kmeans assign and mert-rvq encode, with all codebooks.
 * Codes are read when they are needed, so memory does not grow with the number of labels. Records are found by their
 * keys. */
#ifndef MERT_CORPUS_CODES_H
#define MERT_CORPUS_CODES_H

#include "formats/error.h"
#include "formats/labels/labels.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "libcommon/train/data/records.h"

#include <stdint.h>
#include <stdio.h>

typedef struct mert_codes {
    char *path;
    const mert_manifest *manifest;
    FILE *stream;
    mts_reader *reader;
    int K;
    mert_labels_meta meta[MTS_CODEBOOKS_MAX]; /* [K], as in a .meta */
    int64_t rows;
    int nameless;               /* items failed without a name; any missing item may be one of them */
    struct mert_codes_place {
        int64_t offset, frames; /* frames 0: no codes */
        int known;              /* the stream has it, or reports it as failed */
    } *places;                  /* [rows of the manifest] */
    int32_t *held;              /* the frames that were read last: [held_n, K] */
    int64_t held_row, held_first, held_n, room;
} mert_codes;

int mert_codes_is_stream(const char *name); /* 1: it ends in .mts */

/* Opens it by the index of the stream (records.h). m must stay open as long as c. Refuses records of another kind, and
 * those that differ from the first in classes, rate or model. */
int mert_codes_open(mert_codes *c, const char *path, const mert_manifest *m, mert_index_keeping keeping, mert_error *e)
    MERT_MUST_USE;
void mert_codes_close(mert_codes *c); /* may be all zero */

int64_t mert_codes_count(const mert_codes *c, int64_t row);
int mert_codes_absent(const mert_codes *c, int64_t row); /* 1: the stream neither has it nor reports it as failed */
/* Codes [first, first + n) of codebook k; other codebooks of the same frames can then be read without access to the
 * file. One thread at a time. A code outside its classes, damage and so on are errors that name file and item; c stays
 * usable. */
int mert_codes_read(mert_codes *c, int64_t row, int k, int64_t first, int64_t n, int32_t *to, mert_error *e)
    MERT_MUST_USE;

#endif
