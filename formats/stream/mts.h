/* mts.h - the mert tensor stream: labelled tensors in ordinary zstd frames.
 *
 * A stream is a begin frame, records, and an end frame. A record is a named tensor whose first axis is time; it comes
 * in chunks along time, so neither side ever needs a whole one. Descriptions are short readable text in zstd skippable
 * frames; the tensors are ordinary zstd frames, so `zstd -dc` of a stream gives exactly the raw tensors. The format is
 * specified in SPECIFICATION.md; mert-stream(5) has a complete filter.
 *
 * This library needs libc and libzstd, nothing else. It never prints and never exits. Functions return 0 or a positive
 * event on success and -1 on error, with the text in mts_writer_error() / mts_reader_error(). A handle that has failed
 * stays failed. Sharing a handle between threads needs a lock (except for mts_reader_stop); different handles are
 * independent.
 *
 * A minimal reader:
 *
 *     mts_reader *r = mts_reader_open(stdin, "<stdin>");
 *     for (int event; (event = mts_next(r)) != MTS_EOF; ) switch (event) {
 *     case MTS_CHUNK: use(mts_reader_record(r), mts_reader_data(r), mts_reader_frames(r)); break;
 *     case MTS_FAILED: case MTS_DAMAGE: complain(mts_reader_failure(r)); break;
 *     case MTS_ERROR: die(mts_reader_error(r));
 *     }
 *     mts_reader_close(r);
 */
#ifndef MTS_H
#define MTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MTS_KEY_MAX = 1024,        /* bytes of a key, unescaped, with its NUL */
    MTS_KIND_MAX = 32,
    MTS_STAGE_MAX = 64,
    MTS_REASON_MAX = 1024,
    MTS_NDIM_MAX = 4,
    MTS_CODEBOOKS_MAX = 64,
    MTS_PROVENANCE_MAX = 16384, /* bytes of all provenance lines together */
    MTS_STEPS_LOG = 40,        /* a record has at most 2^40 time steps, so that products with widths and hops do not
                                  overflow */
    MTS_CHUNK_MAX = 1 << 24    /* raw bytes of one chunk: a reader must be able to hold as many */
};

typedef enum mts_dtype { MTS_F32, MTS_F16, MTS_BF16, MTS_I16, MTS_U16, MTS_I32, MTS_DTYPES } mts_dtype;

size_t mts_dtype_size(mts_dtype t);          /* bytes of one element */
const char *mts_dtype_name(mts_dtype t);     /* "f32" */
int mts_dtype_parse(const char *name);       /* the type, or -1 */

/* The begin frame: describes the stream, before its first record. */
typedef struct mts_begin {
    uint64_t manifest;               /* XXH64 of the manifest's bytes; 0: none */
    uint64_t input;                  /* without a manifest: a hash of the input files, so that streams of different
                                        inputs have different ids; 0: not known, or not needed */
    int64_t row_first, row_end;      /* the manifest rows that this stream covers: [first, end); -1, -1: not known */
    int64_t rows_total;              /* rows of the whole manifest; -1: not known */
    char provenance[MTS_PROVENANCE_MAX]; /* one line per program that processed the data, oldest first: "mert-cqt 0.1.0
                                            bins=336 hop=320\n": tool, version and the settings that change the payload;
                                            hashes of models; never paths, times, threads or shard numbers */
} mts_begin;

/* One tensor. Shapes: pcm [T] or [T, channels]; cqt, mel, mfcc, chroma [T, bins] (complex: [T, bins, 2]);
 * hidden [T, layers, D]; codes [T, K]. */
typedef struct mts_record {
    char kind[MTS_KIND_MAX];         /* pcm, cqt, mel, mfcc, chroma, hidden, codes, or another word [a-z0-9_-]+ */
    char key[MTS_KEY_MAX];           /* the item: its path in the manifest, or the file's name as given */
    int64_t row;                     /* manifest row from 0; -1: none */
    mts_dtype dtype;
    int ndim;                        /* 1..MTS_NDIM_MAX */
    int64_t shape[MTS_NDIM_MAX];     /* shape[0] is time; -1: not known before the record's end */
    int64_t sample_rate;             /* of the audio that this came from, Hz; 0: not audio */
    int64_t frame_rate_num, frame_rate_den; /* steps of shape[0] per second: 24000/320 (pcm: 24000/1); 0/1: none */
    int ncodebooks;                  /* codes: entries of classes[], equal to shape[1]; else 0 */
    int64_t classes[MTS_CODEBOOKS_MAX]; /* classes of each codebook */
    uint64_t model;                  /* hash of the model or codebook that made it (contract S9); 0: none */
} mts_record;

int64_t mts_record_width(const mts_record *r); /* elements of one time step: product of shape[1..] */
size_t mts_record_step(const mts_record *r);   /* bytes of one time step */
/* Checks the fields of a record like mts_write_record, but without a stream. 0, or -1 with the reason in why. */
int mts_record_possible(const mts_record *r, char *why, size_t size);

/* ---- writing ---- */

typedef struct mts_writer mts_writer;

enum { MTS_LEVEL_DEFAULT = 1 };

/* Writes and flushes the begin frame to f. The caller closes f, after the writer. `name` is for messages. NULL only
 * when out of memory. */
mts_writer *mts_writer_open(FILE *f, const char *name, const mts_begin *begin, int level);
/* Opens a record; r is copied. shape[0] may be -1: then the number of frames written counts. Errors: no kind, an axis
 * of length 0 other than the first, a time step of more than MTS_CHUNK_MAX bytes, codes without classes, classes
 * without codes. A frame rate of 0/0 is taken as 0/1. */
int mts_write_record(mts_writer *w, const mts_record *r);
/* `frames` time steps, little endian, row major. Any number per call: the writer collects them into chunks of a fixed
 * size, so that the bytes of a stream do not depend on how the calls are divided. */
int mts_write_frames(mts_writer *w, const void *data, int64_t frames);
/* Closes the open record and flushes. If shape[0] was given, another number of frames is an error. */
int mts_write_record_end(mts_writer *w);
/* Reports an item that failed (contract S7). If a record is open, this item has failed, and what was written of it is
 * invalid; key and row are ignored. Otherwise key and row name the item. Texts that are too long are cut. */
int mts_write_failed(mts_writer *w, const char *key, int64_t row, const char *stage, const char *reason);
/* Writes the end frame (ok != 0), flushes and frees. With ok == 0 no end frame is written, which readers report as an
 * error. The handle is freed in any case (NULL is fine). On error -1 and, if `error` is not NULL, the text in
 * error[0..size); errno is EPIPE if the reader of our output has ended, which needs no message. */
int mts_writer_close(mts_writer *w, int ok, char *error, size_t size);
const char *mts_writer_error(const mts_writer *w); /* "": no error */
int mts_writer_pipe_closed(const mts_writer *w);   /* the error is EPIPE: the reader of our output has ended; exit
                                                      without a message */

/* ---- reading ---- */

typedef struct mts_reader mts_reader;

/* Order of events: BEGIN, then for each item RECORD, CHUNK..., RECORD_END or FAILED (or FAILED alone), then END; any
 * number of such streams; then EOF. DAMAGE may come anywhere. One damaged byte costs at most one record, and is always
 * reported. If a stream has no end (its writer was killed, its last bytes are damaged, another stream begins in it),
 * its complete records are delivered, and the input ends with ERROR instead of EOF. A filter must therefore not end its
 * own output at END, but only when it knows what follows: another BEGIN, or EOF. So the next reader also notices if
 * this filter or one before it was killed. */
typedef enum mts_event {
    MTS_ERROR = -1,  /* cannot continue (read error, no end, not a stream): mts_reader_error(). All further calls return
                        it */
    MTS_EOF = 0,     /* the end of the input; every stream in it has its end */
    MTS_BEGIN,       /* a stream begins: mts_reader_begin(); all fields "not known" if its begin frame was lost
                        (DAMAGE) */
    MTS_RECORD,      /* a record begins: mts_reader_record() */
    MTS_CHUNK,       /* some of its frames: mts_reader_data(), mts_reader_frames() */
    MTS_RECORD_END,  /* the record is complete; shape[0] is now known */
    MTS_FAILED,      /* an item failed upstream, or was lost to damage here: mts_reader_failure(). If a record was open,
                        its data are invalid */
    MTS_DAMAGE,      /* damage that cost no record (a begin or end frame): mts_reader_failure(), row -1, no key */
    MTS_END          /* the stream ended */
} mts_event;

typedef struct mts_failure {
    char key[MTS_KEY_MAX];           /* "" where damage took the name */
    int64_t row;                     /* -1: not known */
    char stage[MTS_STAGE_MAX];       /* the program in which it failed; "read" for damage found by this reader */
    char reason[MTS_REASON_MAX];     /* damage: names file, record number and byte offset */
    int here;                        /* 1: found by this reader; 0: reported by the stream */
} mts_failure;

mts_reader *mts_reader_open(FILE *f, const char *name); /* the caller closes f; NULL only if out of memory */
int mts_next(mts_reader *r);                            /* an mts_event */
/* Skips the rest of the open record without decompressing it (its bytes are still checked): the next event is its
 * RECORD_END or FAILED. */
int mts_skip(mts_reader *r);
/* Skips the chunks of the open record that end at or before `frame` in the same way: the next CHUNK contains that
 * frame, and perhaps some before it (mts_reader_first). */
int mts_skip_to(mts_reader *r, int64_t frame);
/* The same, but seeks past these chunks: damage in them is not found. The file must be seekable. */
int mts_jump_to(mts_reader *r, int64_t frame);
const mts_begin *mts_reader_begin(const mts_reader *r);
const mts_record *mts_reader_record(const mts_reader *r);
const void *mts_reader_data(const mts_reader *r);       /* of the last CHUNK, valid until the next call */
/* The same, and the caller now owns it and frees it with free(). In exchange the reader owns `memory`, of `*room` bytes
 * (from this function or from malloc(); NULL, 0: none), and reads the next chunk into it. *room becomes the size of the
 * returned memory. */
void *mts_reader_take(mts_reader *r, void *memory, size_t *room);
int64_t mts_reader_frames(const mts_reader *r);
int64_t mts_reader_first(const mts_reader *r);          /* number, in the record, of the first of these frames */
const mts_failure *mts_reader_failure(const mts_reader *r);
const char *mts_reader_error(const mts_reader *r);
/* May be called by another thread while mts_next runs: mts_next then ends soon, with an error. A read() that is waiting
 * is not interrupted. */
void mts_reader_stop(mts_reader *r);
void mts_reader_close(mts_reader *r);                   /* NULL is fine */

/* ---- index: where each record of a seekable file lies; made without decompressing anything ---- */

typedef struct mts_entry {
    int64_t offset;                  /* of the record's first frame */
    int64_t stream;                  /* which of the concatenated streams, from 0 */
    mts_record record;               /* shape[0] known */
    uint64_t payload;                /* XXH64 of its raw bytes, from its end */
} mts_entry;

typedef struct mts_index {
    mts_entry *entries;
    size_t n;
    int64_t failed;                  /* number of items that the streams report as failed */
    struct mts_failed_item {
        char key[MTS_KEY_MAX];       /* "" where damage took the name */
        int64_t row;                 /* -1: not known */
    } *failures;                     /* [failed]: these items */
    int64_t damaged;                 /* number of damaged headers; error[] then describes the first */
} mts_index;

/* Like mts_index_make, but without a list in memory, for streams of any length: calls record() for each complete record
 * and failed() for each item that is reported as failed. A result other than 0 ends the scan with -1. Both may be NULL.
 * *damaged: as in mts_index. */
typedef struct mts_index_visitor {
    int (*record)(void *arg, const mts_entry *entry);
    int (*failed)(void *arg, const mts_failure *failure);
    void *arg;
} mts_index_visitor;
int mts_index_scan(FILE *f, const char *name, const mts_index_visitor *visitor, int64_t *damaged, char *error,
                   size_t size);

/* Lists complete records only; rewinds f. -1: not seekable, not a stream, or a stream without its end. The data frames
 * are not read: damage in them is found when they are read. */
int mts_index_make(mts_index *x, FILE *f, const char *name, char *error, size_t size);
void mts_index_free(mts_index *x);
/* Moves the reader to a record of the index: the next event is its MTS_RECORD, and reading continues in order. The
 * reader's file must be seekable. mts_reader_begin() does not change. A reader that has failed stays failed. */
int mts_reader_seek(mts_reader *r, const mts_entry *entry); /* only entry->offset counts */

/* XXH64 (Collet), the checksum of the format and the hash of manifests, codebooks and models. */
uint64_t mts_xxh64(const void *data, size_t size, uint64_t seed);

typedef struct mts_xxh64_state {
    uint64_t total, acc[4];
    unsigned char held[32];
} mts_xxh64_state;

void mts_xxh64_begin(mts_xxh64_state *s, uint64_t seed);
void mts_xxh64_add(mts_xxh64_state *s, const void *data, size_t size);
uint64_t mts_xxh64_end(const mts_xxh64_state *s, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
