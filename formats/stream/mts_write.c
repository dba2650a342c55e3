#include "mts_frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct mts_writer {
    FILE *f;
    char *name;
    ZSTD_CCtx *zstd;
    unsigned char head[MTS_FRAME_HEAD + MTS_TEXT_MAX];
    mts_frame frame;               /* the frame being written; its record is the open one */
    uint64_t stream;
    int open;                      /* a record is open */
    size_t step;                   /* its bytes per frame */
    int64_t chunk_frames, frames;  /* frames of a full chunk; frames of the record so far */
    unsigned char *held;           /* frames of a chunk that is not full yet */
    size_t held_size, held_room;
    int level, plain;              /* plain: how many of the next chunks are not worth compressing */
    unsigned char *packed;
    size_t packed_room;
    mts_xxh64_state payload;
    int64_t chunk, chunks, records, failed;
    int pipe_closed;
    char error[MTS_REASON_MAX];
};

static int fail(mts_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(mts_writer *w, const char *format, ...)
{
    va_list ap;
    char text[MTS_REASON_MAX / 2];
    if (w->error[0])
        return -1;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(w->error, sizeof w->error, "%.400s: %s", w->name, text);
    return -1;
}

static int fail_write(mts_writer *w)
{
    int why = errno;
    w->pipe_closed = why == EPIPE && !w->error[0];
    return fail(w, "cannot write: %s", strerror(why));
}

static int fail_record(mts_writer *w, const char *why)
{
    return fail(w, "record %" PRId64 " (%.200s): %s", w->records, w->frame.record.key, why);
}

static int put(mts_writer *w, const void *data, size_t size)
{
    errno = 0;
    return fwrite(data, 1, size, w->f) == size ? 0 : fail_write(w);
}

static int put_frame(mts_writer *w, mts_frame_type type)
{
    w->frame.type = type;
    w->frame.stream = w->stream;
    w->frame.number = w->records;
    size_t n = mts_frame_write(&w->frame, w->head);
    if (!n)
        return fail(w, "a header of more than %d bytes", MTS_TEXT_MAX);
    return put(w, w->head, n);
}

/* Called once per record, so that a reader gets whole records without waiting, and a full disk is reported with the
 * right record. */
static int flush(mts_writer *w)
{
    errno = 0;
    return fflush(w->f) ? fail_write(w) : 0;
}

static int room(unsigned char **buffer, size_t *have, size_t need)
{
    unsigned char *grown;
    if (need <= *have)
        return 0;
    if (!(grown = realloc(*buffer, need)))
        return -1;
    *buffer = grown;
    *have = need;
    return 0;
}

/* ZSTD_c_windowLog is a maximum here: zstd lowers it to what a chunk needs. Contract S1 allows at most 23. */
static int set_up_zstd(mts_writer *w, int level)
{
    if (level < ZSTD_minCLevel() || level > ZSTD_maxCLevel())
        return fail(w, "compression level %d is not within %d and %d", level, ZSTD_minCLevel(), ZSTD_maxCLevel());
    w->level = level;
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_contentSizeFlag, 1);
    if (level > 8) /* at lower levels the window of a 16 MiB chunk is at most 2^23 */
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, 23);
    return 0;
}

mts_writer *mts_writer_open(FILE *f, const char *name, const mts_begin *begin, int level)
{
    mts_writer *w = calloc(1, sizeof *w);
    mts_why why;
    if (!w)
        return NULL;
    w->f = f;
    w->name = strdup(name);
    w->zstd = ZSTD_createCCtx();
    if (!w->name || !w->zstd) {
        mts_writer_close(w, 0, NULL, 0);
        return NULL;
    }
    if (set_up_zstd(w, level))
        return w;
    if (mts_begin_check(begin, &why)) {
        fail(w, "begin: %s", why.text);
        return w;
    }
    w->frame.begin = *begin;
    if (!put_frame(w, MTS_FRAME_BEGIN))
        flush(w); /* from now on a reader expects an end frame */
    w->stream = w->frame.sum;
    return w;
}

/* Checks that the stream covers the row: readers refuse others. */
static int check_row(mts_writer *w, int64_t row)
{
    const mts_begin *b = &w->frame.begin;
    const int64_t end = b->row_end < 0 ? b->rows_total : b->row_end;
    if (row < 0 || ((end < 0 || row < end) && row >= b->row_first))
        return 0;
    return fail(w, "row %" PRId64 " is not one of this stream, which covers rows %" PRId64 " to %" PRId64, row,
                b->row_first < 0 ? 0 : b->row_first, end - 1);
}

int mts_write_record(mts_writer *w, const mts_record *r)
{
    mts_why why;
    if (w->error[0])
        return -1;
    if (w->open)
        return fail_record(w, "is still open");
    w->frame.record = *r;
    if (!r->frame_rate_num && !r->frame_rate_den)
        w->frame.record.frame_rate_den = 1;
    if (mts_record_check(&w->frame.record, &why))
        return fail_record(w, why.text);
    if (check_row(w, r->row))
        return -1;
    w->open = 1;
    w->step = mts_record_step(r);
    w->chunk_frames = (strcmp(r->kind, "pcm") ? MTS_CHUNK_RAW : MTS_CHUNK_SOUND) / (int64_t)w->step;
    if (w->chunk_frames < 1)
        w->chunk_frames = 1;
    w->frames = 0;
    w->chunk = 0;
    w->plain = 0;
    w->held_size = 0;
    mts_xxh64_begin(&w->payload, 0);
    return put_frame(w, MTS_FRAME_RECORD);
}

/* Floating-point samples and spectra hardly compress, and trying to can cost more than computing them. At the default
 * level, if a chunk shrinks by less than an eighth, the next seven chunks of its record are not compressed. */
static int level_of_chunk(mts_writer *w)
{
    if (!w->plain || w->level > MTS_LEVEL_DEFAULT)
        return w->level;
    w->plain--;
    return ZSTD_minCLevel();
}

static int put_chunk(mts_writer *w, const void *data, size_t size)
{
    int level = level_of_chunk(w);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, level);
    if (room(&w->packed, &w->packed_room, ZSTD_compressBound(size)))
        return fail_record(w, "out of memory");
    size_t n = ZSTD_compress2(w->zstd, w->packed, w->packed_room, data, size);
    if (ZSTD_isError(n))
        return fail_record(w, ZSTD_getErrorName(n));
    if (level == w->level && n > size - size / 8)
        w->plain = 7;
    mts_xxh64_add(&w->payload, data, size);
    w->frame.chunk = w->chunk++;
    w->frame.frames = (int64_t)(size / w->step);
    w->frame.raw = (int64_t)size;
    w->frame.size = (int64_t)n;
    w->frame.data = mts_xxh64(w->packed, n, 0);
    w->chunks++;
    return put_frame(w, MTS_FRAME_CHUNK) || put(w, w->packed, n) ? -1 : 0;
}

int mts_write_frames(mts_writer *w, const void *data, int64_t frames)
{
    const unsigned char *p = data;
    int64_t given = w->frame.record.shape[0];
    if (w->error[0])
        return -1;
    if (!w->open)
        return fail(w, "frames without a record");
    if (frames < 0 || frames > (given < 0 ? INT64_MAX / (int64_t)w->step : given) - w->frames)
        return fail_record(w, "more frames than its shape says");
    w->frames += frames;
    size_t size = (size_t)frames * w->step, full = (size_t)w->chunk_frames * w->step;
    while (size) {
        if (!w->held_size && size >= full) {
            if (put_chunk(w, p, full))
                return -1;
            p += full;
            size -= full;
            continue;
        }
        size_t n = size < full - w->held_size ? size : full - w->held_size;
        if (room(&w->held, &w->held_room, full))
            return fail_record(w, "out of memory");
        memcpy(w->held + w->held_size, p, n);
        w->held_size += n;
        p += n;
        size -= n;
        if (w->held_size == full) {
            w->held_size = 0;
            if (put_chunk(w, w->held, full))
                return -1;
        }
    }
    return 0;
}

int mts_write_record_end(mts_writer *w)
{
    int64_t given = w->frame.record.shape[0];
    if (w->error[0])
        return -1;
    if (!w->open)
        return fail(w, "the end of a record without a record");
    if (given >= 0 && w->frames != given)
        return fail_record(w, "fewer frames than its shape says");
    if (w->held_size && put_chunk(w, w->held, w->held_size))
        return -1;
    w->frame.frames = w->frames;
    w->frame.chunks = w->chunk;
    w->frame.payload = mts_xxh64_end(&w->payload, 0);
    if (put_frame(w, MTS_FRAME_DONE))
        return -1;
    w->open = 0;
    w->records++;
    return flush(w);
}

/* Texts from outside (file names, system messages) are cut to their maximum size, not refused. */
static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    if (n >= size)
        n = size - 1;
    if (n)
        memcpy(to, from, n);
    to[n] = 0;
}

int mts_write_failed(mts_writer *w, const char *key, int64_t row, const char *stage, const char *reason)
{
    mts_frame *f = &w->frame;
    if (w->error[0])
        return -1;
    if (!w->open) {
        copy_text(f->record.key, sizeof f->record.key, key);
        f->record.row = row < -1 ? -1 : row;
        if (check_row(w, f->record.row))
            return -1;
    }
    copy_text(f->stage, sizeof f->stage, stage);
    copy_text(f->reason, sizeof f->reason, reason);
    /* This frame is the only trace of the item. It is written twice, so that one damaged byte does not lose the
     * name. */
    for (f->copy = 1; f->copy <= 2; f->copy++)
        if (put_frame(w, MTS_FRAME_FAILED))
            return -1;
    w->open = 0;
    w->records++;
    w->failed++;
    return flush(w);
}

int mts_writer_close(mts_writer *w, int ok, char *error, size_t size)
{
    int rc = 0, gone;
    if (!w)
        return 0;
    if (ok && w->open)
        fail_record(w, "is still open");
    if (ok && !w->error[0]) {
        w->frame.records = w->records;
        w->frame.chunks = w->chunks;
        w->frame.failed = w->failed;
        if (!put_frame(w, MTS_FRAME_END))
            flush(w);
    } else if (w->f && !w->error[0]) {
        flush(w);
    }
    if (w->error[0])
        rc = -1;
    if (error && size)
        snprintf(error, size, "%s", w->error);
    ZSTD_freeCCtx(w->zstd);
    gone = w->pipe_closed;
    free(w->held);
    free(w->packed);
    free(w->name);
    free(w);
    if (rc)
        errno = gone ? EPIPE : EIO;
    return rc;
}

const char *mts_writer_error(const mts_writer *w)
{
    return w->error;
}

int mts_writer_pipe_closed(const mts_writer *w)
{
    return w->pipe_closed;
}
