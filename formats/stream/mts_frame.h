/* Reads and writes the descriptive frames of a stream. Internal to the stream library; SPECIFICATION.md has their
 * meaning.
 *
 * A descriptive frame is a zstd skippable frame (magic, size, content), its content lines of text:
 *
 *     MTS1 chunk
 *     stream=5f0e2c5c6b1f7a3d
 *     ...
 *     xxh64=0123456789abcdef
 *
 * the last of which is the XXH64 of all text before it. Writing and reading use one table of fields. */
#ifndef MTS_FRAME_H
#define MTS_FRAME_H

#include "mts.h"

enum {
    MTS_MAGIC = 0x184D2A54,     /* the fifth of zstd's sixteen skippable magics; little endian: "T*M\x18" */
    MTS_VERSION = 1,
    MTS_FRAME_HEAD = 8,         /* magic and size */
    MTS_TEXT_MIN = 5 + 4 + 23,  /* "MTS1 ", a word and newline, the xxh64 line */
    MTS_TEXT_MAX = 1 << 16,
    MTS_CHUNK_RAW = 1 << 20,    /* the writer's chunk size; rounded down to whole time steps */
    MTS_CHUNK_SOUND = 1 << 17   /* the same for pcm: training reads a few seconds from any place in it */
};

typedef enum mts_frame_type { MTS_FRAME_BEGIN, MTS_FRAME_RECORD, MTS_FRAME_CHUNK, MTS_FRAME_DONE, MTS_FRAME_FAILED,
                              MTS_FRAME_END, MTS_FRAME_TYPES } mts_frame_type;

/* The reason why something is refused: a clause without file names. */
typedef struct mts_why {
    char text[544];
} mts_why;

int mts_because(mts_why *why, const char *format, ...) __attribute__((format(printf, 2, 3))); /* -1 */

/* The fields of all types; mts_frame.c lists which of them each type has. */
typedef struct mts_frame {
    mts_frame_type type;
    uint64_t sum;               /* XXH64 of its text; that of the begin frame is the id of the stream */
    uint64_t stream;            /* all but begin */
    int64_t number;             /* record, chunk, done, failed: number of the record, from 0 */
    int64_t chunk;              /* chunk: its number in the record, from 0 */
    int64_t frames;             /* chunk: its time steps; done: those of the record */
    int64_t raw, size;          /* chunk: bytes of the tensor, and of the zstd frame that follows */
    uint64_t data;              /* chunk: XXH64 of that zstd frame */
    int64_t chunks;             /* done: number of chunks of the record; end: of the stream */
    uint64_t payload;           /* done: XXH64 of the record's raw bytes */
    int64_t copy;               /* failed: 1 or 2, the frame is written twice */
    int64_t records, failed;    /* end */
    mts_record record;          /* record: all of it; chunk: row; done, failed: row and key */
    char stage[MTS_STAGE_MAX], reason[MTS_REASON_MAX]; /* failed */
    mts_begin begin;
} mts_frame;

/* Writes the whole skippable frame to `to` and returns its size, 0 if its text would be longer than MTS_TEXT_MAX.
 * Fills in f->sum. */
size_t mts_frame_write(mts_frame *f, unsigned char to[MTS_FRAME_HEAD + MTS_TEXT_MAX]);

/* The text size in the head of a descriptive frame, or -1: not such a frame, or out of bounds. */
long mts_frame_size(const unsigned char head[MTS_FRAME_HEAD]);
/* 1 if the text begins with a sync tag and its checksum holds; *version is then known. */
int mts_frame_valid(const char *text, size_t size, int *version);
/* Parses a valid text. 0, or -1 with why. Only the fields of its type are set. */
int mts_frame_parse(mts_frame *f, const char *text, size_t size, mts_why *why);

/* Checks shapes, bounds and classes of a record. 0, or -1 with why. */
int mts_record_check(const mts_record *r, mts_why *why);
int mts_begin_check(const mts_begin *b, mts_why *why);

#endif
