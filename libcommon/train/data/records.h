/* The list of records of a packed stream: NAME.index beside it (formats/index.h), so that a corpus of any size is
 * opened without reading its streams. Records are identified by XXH64 of their keys; when one is read, its key is compared
 * (mert_records_seek). Sections of the index:
 *
 *     0   mert_records_facts
 *     1   mert_record_place for each record, in the stream's order
 *     2   mert_record_kind: the different kinds of records, most often one
 *     3   XXH64 of the key of each item that failed, 8 bytes each */
#ifndef MERT_RECORDS_H
#define MERT_RECORDS_H

#include "formats/index.h"
#include "formats/stream/mts.h"

typedef struct mert_records_facts {
    int64_t records, kinds, failed;
    int64_t nameless;  /* 1: some items failed without a name */
    uint64_t manifest; /* of the first stream's begin */
} mert_records_facts;

typedef struct mert_record_place {
    int64_t offset;   /* of its first frame */
    int64_t steps;    /* its length in time */
    uint64_t key;     /* XXH64 of it */
    uint64_t payload; /* XXH64 of its raw bytes, as its end says */
    int64_t kind;     /* which of the kinds */
} mert_record_place;

/* A kind of records: the fields of mts_record without row, key and length in time. */
typedef struct mert_record_kind {
    char kind[MTS_KIND_MAX];
    int64_t dtype, ndim, shape[MTS_NDIM_MAX];
    int64_t sample_rate, frame_rate_num, frame_rate_den, ncodebooks, classes[MTS_CODEBOOKS_MAX];
    uint64_t model;
} mert_record_kind;

typedef struct mert_records {
    mert_index index;
    const mert_records_facts *facts;
    const mert_record_place *places; /* [facts->records] */
    const mert_record_kind *kinds;   /* [facts->kinds] */
    const uint64_t *failed;          /* [facts->failed] */
} mert_records;

/* Opens the index of a stream file, or makes it. Refuses what mts_index_make refuses, and damaged headers. */
int mert_records_open(mert_records *r, const char *path, mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;
void mert_records_close(mert_records *r); /* a zeroed one is fine */

uint64_t mert_record_key(const char *key);
/* Converts a kind to a record whose first axis is -1. */
mts_record mert_record_of(const mert_record_kind *k);

/* Moves the reader to the record at offset and reads its header. Refuses a record with another key or another length
 * than `steps`: the file was changed since its index was made. */
int mert_records_seek(mts_reader *r, const char *path, int64_t offset, const char *key, int64_t steps, mert_error *e)
    MERT_MUST_USE;

#endif
