/* Streams in memory, for the tests of the stream library. */
#ifndef TEST_STREAM_H
#define TEST_STREAM_H

#include "formats/stream/mts.h"
#include "tests/test.h"

#include <inttypes.h>

typedef struct bytes {
    char *data;
    size_t size;
} bytes;

static inline mts_begin plain_begin(void)
{
    mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1, .provenance = "test 0 a=1\n"};
    return b;
}

static inline mts_record plain_record(const char *key, int64_t row, int64_t frames, int64_t width)
{
    mts_record r = {.kind = "mel",
                    .row = row,
                    .dtype = MTS_F32,
                    .ndim = 2,
                    .shape = {frames, width},
                    .sample_rate = 24000,
                    .frame_rate_num = 24000,
                    .frame_rate_den = 320};
    snprintf(r.key, sizeof r.key, "%s", key);
    return r;
}

static inline unsigned char noise(size_t i)
{
    uint64_t x = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned char)((x ^ x >> 29) * UINT64_C(0xBF58476D1CE4E5B9) >> 56);
}

static inline unsigned char *make_data(size_t size)
{
    unsigned char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = noise(i);
    return data;
}

/* One stream of one record, written in parts of `piece` frames (0: all at once). */
static inline bytes write_one(const mts_record *r, const void *data, int64_t frames, int64_t piece, int level)
{
    bytes b = {NULL, 0};
    FILE *f = open_memstream(&b.data, &b.size);
    mts_begin begin = plain_begin();
    mts_writer *w = mts_writer_open(f, "x.mts", &begin, level);
    mts_write_record(w, r);
    for (int64_t at = 0, n; at < frames; at += n) {
        n = piece && piece < frames - at ? piece : frames - at;
        mts_write_frames(w, (const char *)data + (size_t)at * mts_record_step(r), n);
    }
    mts_write_record_end(w);
    char error[256];
    if (mts_writer_close(w, 1, error, sizeof error))
        printf("# %s\n", error);
    fclose(f);
    return b;
}

/* The result of reading a stream. */
enum { SEEN_MAX = 64 };
typedef struct seen {
    int begins, ends, records, failures, damages, final; /* final: MTS_EOF or MTS_ERROR */
    struct {
        mts_record record;
        uint64_t hash;
        int64_t frames;
    } record[SEEN_MAX]; /* complete records */
    mts_failure failure[SEEN_MAX], damage[SEEN_MAX];
    mts_begin begin;
    char error[MTS_REASON_MAX];
    int order; /* events in a wrong order: chunks or ends without a record */
} seen;

static inline void read_file(FILE *f, const char *name, seen *s, int skip)
{
    mts_reader *r = mts_reader_open(f, name);
    mts_xxh64_state hash;
    int open = 0;
    int64_t frames = 0;
    memset(s, 0, sizeof *s);
    for (;;) {
        int event = mts_next(r);
        switch (event) {
        case MTS_ERROR:
        case MTS_EOF:
            s->final = event;
            s->order += mts_next(r) != event; /* must be repeated */
            snprintf(s->error, sizeof s->error, "%s", mts_reader_error(r));
            s->order += (event == MTS_ERROR) != (s->error[0] != 0);
            mts_reader_close(r);
            return;
        case MTS_BEGIN:
            s->order += s->begins++ != s->ends && !s->damages;
            s->begin = *mts_reader_begin(r);
            break;
        case MTS_END:
            s->ends++;
            s->order += open;
            break;
        case MTS_RECORD:
            s->order += open;
            open = 1;
            frames = 0;
            mts_xxh64_begin(&hash, 0);
            if (skip)
                mts_skip(r);
            break;
        case MTS_CHUNK:
            s->order += !open || skip;
            frames += mts_reader_frames(r);
            mts_xxh64_add(&hash, mts_reader_data(r),
                          (size_t)mts_reader_frames(r) * mts_record_step(mts_reader_record(r)));
            break;
        case MTS_RECORD_END:
            s->order += !open;
            open = 0;
            if (s->records < SEEN_MAX) {
                s->record[s->records].record = *mts_reader_record(r);
                s->record[s->records].hash = mts_xxh64_end(&hash, 0);
                s->record[s->records].frames = skip ? mts_reader_record(r)->shape[0] : frames;
            }
            s->records++;
            break;
        case MTS_FAILED:
            open = 0;
            if (s->failures < SEEN_MAX)
                s->failure[s->failures] = *mts_reader_failure(r);
            s->failures++;
            break;
        case MTS_DAMAGE:
            if (s->damages < SEEN_MAX)
                s->damage[s->damages] = *mts_reader_failure(r);
            s->damages++;
            break;
        default:
            s->order++;
        }
    }
}

static inline void read_bytes(const void *data, size_t size, seen *s, int skip)
{
    /* fmemopen refuses a size of 0 */
    FILE *f = size ? fmemopen((void *)data, size, "rb") : fopen("/dev/null", "rb");
    read_file(f, "x.mts", s, skip);
    fclose(f);
}

static inline int same_record(const mts_record *a, const mts_record *b)
{
    int same = !strcmp(a->kind, b->kind) && !strcmp(a->key, b->key) && a->row == b->row && a->dtype == b->dtype
               && a->ndim == b->ndim && a->sample_rate == b->sample_rate && a->frame_rate_num == b->frame_rate_num
               && a->frame_rate_den == b->frame_rate_den && a->ncodebooks == b->ncodebooks && a->model == b->model;
    for (int i = 0; same && i < a->ndim; i++)
        same = a->shape[i] == b->shape[i];
    for (int i = 0; same && i < a->ncodebooks; i++)
        same = a->classes[i] == b->classes[i];
    return same;
}

#endif
