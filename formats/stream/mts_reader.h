/* What a reader knows. Internal to the stream library.
 *
 * The reader holds at most one descriptive frame that it has taken from the input and not yet accounted for
 * (`pending`). Each call of mts_next looks at that frame and at what came before, and either emits one event and leaves
 * the frame for the next call, or consumes it. So one damaged place can be reported as several lost records, one event
 * each. */
#ifndef MTS_READER_H
#define MTS_READER_H

#include "mts_frame.h"
#include "mts_input.h"

#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_d_forceIgnoreChecksum, zstd 1.4.9 and later */
#include <zstd.h>

/* The record with the number expected - 1. */
typedef enum mts_current {
    MTS_CURRENT_NONE,   /* ended as it should, or there was none yet */
    MTS_CURRENT_OPEN,
    MTS_CURRENT_VOID,   /* damaged and reported; what is left of it is passed over */
    MTS_CURRENT_LOST,   /* its header is lost: to be reported when its end has told its name */
    MTS_CURRENT_FAILED  /* failed upstream and reported; the second copy of that frame must follow */
} mts_current;

struct mts_reader {
    mts_input in;
    char *name;
    ZSTD_DCtx *zstd;
    unsigned char first[16];     /* how the input begins, for the message that it is no stream */
    size_t first_n;

    mts_frame frame;
    int pending;
    int64_t frame_at;            /* its offset */
    int64_t told_at;             /* frame_at when damage was reported last */

    int begun, finished;         /* some stream has begun; the end of the input was reached */
    int unended;                 /* some stream had no end: the input cannot end well any more */
    uint64_t begin_id;           /* the stream that `begin` is of; after a seek `stream` may be another */
    int in_stream, announce;     /* announce: a begin event is owed for a stream whose begin frame is lost */
    int adopt;                   /* after a seek: the next frame is a record and says which stream this is */
    int jump;                    /* pass over data frames by seeking, unseen (the index) */
    mts_begin begin;
    uint64_t stream;
    int64_t stream_at;
    int64_t expected;            /* number of the next record */
    int64_t last_row;            /* row of record expected - 1; -2: not known */
    int64_t chunks, failed;      /* seen in this stream */
    int partial;                 /* not all of this stream was seen: its end's counts prove nothing */
    int repeating;               /* frames that came before come again, and that was said */

    mts_current current;
    mts_record record;           /* its row and key, whatever became of it */
    int copies;                  /* of its failed frame, seen so far: 1, 2, both 3 */
    uint64_t reason;             /* hash of what the first of them said */
    int64_t chunk, frames;       /* of it, seen so far */
    int skipping, skipped;       /* from now on; some chunk of it was */
    int64_t pass_to;             /* chunks that end at or before this frame are passed over */
    mts_xxh64_state payload;
    unsigned char *raw;
    size_t raw_room;
    int64_t raw_frames, raw_first; /* frames in raw, and the number of the first of them */

    struct {
        int active;              /* found, and not reported yet */
        int64_t at;
        char what[544];
    } damage;
    mts_failure failure;
    char error[MTS_REASON_MAX];
};

/* ---- mts_find.c ---- */

/* Fills in error; MTS_ERROR. */
int mts_fatal(mts_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int mts_fatal_end(mts_reader *r); /* the input ended, or failed, before what had to come */
/* The first of several findings stands until it is reported. */
void mts_note(mts_reader *r, int64_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* 1: a frame is pending; 0: the input has ended between frames; -1: fatal. */
int mts_fetch(mts_reader *r);
/* The data frame of the pending chunk. 1: it is there in in.data[0..size), sound; 0: damaged, and the place of the next
 * frame found; -1: fatal. With `drop` a sound one is dropped at once. */
int mts_take_data(mts_reader *r, int drop);

#endif
