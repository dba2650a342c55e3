/* The state of a reader. Internal to the stream library.
 *
 * The reader has at most one descriptive frame that is read and not yet handled (`pending`). Each call of mts_next
 * compares that frame with what came before. It either returns one event and keeps the frame for the next call, or
 * consumes the frame. So one damaged place can be reported as several lost records, one event each. */
#ifndef MTS_READER_H
#define MTS_READER_H

#include "mts_frame.h"
#include "mts_input.h"

#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_d_forceIgnoreChecksum, zstd 1.4.9 and later */
#include <zstd.h>

/* The record with the number expected - 1. */
typedef enum mts_current {
    MTS_CURRENT_NONE,   /* ended normally, or no record yet */
    MTS_CURRENT_OPEN,
    MTS_CURRENT_VOID,   /* damaged and reported; the rest of it is skipped */
    MTS_CURRENT_LOST,   /* its header is lost; reported at its end, which has its name */
    MTS_CURRENT_FAILED  /* failed upstream and reported; the second copy of that frame must follow */
} mts_current;

struct mts_reader {
    mts_input in;
    char *name;
    ZSTD_DCtx *zstd;
    unsigned char first[16];     /* the first bytes of the input, for the message that it is not a stream */
    size_t first_n;

    mts_frame frame;
    int pending;
    int64_t frame_at;            /* its offset */
    int64_t told_at;             /* frame_at when damage was reported last */

    int begun, finished;         /* some stream has begun; the end of the input was reached */
    int unended;                 /* some stream had no end: the input will end with an error */
    uint64_t begin_id;           /* the stream of `begin`; after a seek `stream` may be another */
    int in_stream, announce;     /* announce: a begin event is still to be returned, for a stream whose begin frame is
                                    lost */
    int adopt;                   /* after a seek: take the stream's id from the next frame, a record */
    int jump;                    /* skip data frames by seeking, unchecked (for the index) */
    mts_begin begin;
    uint64_t stream;
    int64_t stream_at;
    int64_t expected;            /* number of the next record */
    int64_t last_row;            /* row of record expected - 1; -2: not known */
    int64_t chunks, failed;      /* seen in this stream */
    int partial;                 /* a part of this stream was not read, so the counts in its end are not checked */
    int repeating;               /* frames are repeated, which has been reported */

    mts_current current;
    mts_record record;           /* row and key are valid in every state */
    int copies;                  /* copies of its failed frame read so far, as bits: 1, 2, both 3 */
    uint64_t reason;             /* hash of the text of the first copy */
    int64_t chunk, frames;       /* of it, read so far */
    int skipping, skipped;       /* skip the rest of it; a chunk of it was skipped */
    int64_t pass_to;             /* chunks that end at or before this frame are skipped */
    int pass_unseen;             /* 1: by seeking, without reading them */
    mts_xxh64_state payload;
    unsigned char *raw;
    size_t raw_room;
    int64_t raw_frames, raw_first; /* number of frames in raw, and the number of the first one */

    struct {
        int active;              /* found, and not reported yet */
        int64_t at;
        char what[544];
    } damage;
    mts_failure failure;
    char error[MTS_REASON_MAX];
};

/* ---- mts_find.c ---- */

/* Fills in error; returns MTS_ERROR. */
int mts_fatal(mts_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int mts_fatal_end(mts_reader *r); /* the input ended or failed too early */
/* Notes damage. The first note is kept until it is reported. */
void mts_note(mts_reader *r, int64_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* 1: a frame is pending; 0: the input has ended between frames; -1: fatal. */
int mts_fetch(mts_reader *r);
/* Reads the data frame of the pending chunk. 1: it is in in.data[0..size), undamaged; 0: damaged, and the next frame
 * was found; -1: fatal. drop: an undamaged one is dropped at once. */
int mts_take_data(mts_reader *r, int drop);

#endif
