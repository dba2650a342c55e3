#include "mts_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEARCH = 1 << 20, /* where something that is a stream at all must have its first whole descriptive frame */
    GAP_MAX = 1 << 16 /* records that may be missing in a row, each of which is reported; beyond, the number is wrong */
};

/* ---- what went wrong ---- */

static int fatal(mts_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fatal(mts_reader *r, const char *format, ...)
{
    va_list ap;
    char text[MTS_REASON_MAX / 2];
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(r->error, sizeof r->error, "%.400s: %s", r->name, text);
    return MTS_ERROR;
}

/* The first of several findings stands until it is reported. */
static void note_damage(mts_reader *r, int64_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void note_damage(mts_reader *r, int64_t at, const char *format, ...)
{
    va_list ap;
    if (r->damage.active)
        return;
    r->damage.active = 1;
    r->damage.at = at;
    va_start(ap, format);
    vsnprintf(r->damage.what, sizeof r->damage.what, format, ap);
    va_end(ap);
}

static int report_damage(mts_reader *r)
{
    mts_failure *x = &r->failure;
    x->key[0] = 0;
    x->row = -1;
    x->here = 1;
    strcpy(x->stage, "read");
    snprintf(x->reason, sizeof x->reason, "%.400s: byte %" PRId64 ": %s", r->name, r->damage.at, r->damage.what);
    r->damage.active = 0;
    r->partial = 1;
    return MTS_DAMAGE;
}

/* A record is lost: by the damage noted last or, where there is none, for the reason given. */
static int report_lost(mts_reader *r, int64_t number, const char *key, int64_t row, const char *why)
{
    mts_failure *x = &r->failure;
    note_damage(r, r->frame_at, "%s", why);
    snprintf(x->key, sizeof x->key, "%s", key);
    x->row = row;
    x->here = 1;
    strcpy(x->stage, "read");
    snprintf(x->reason, sizeof x->reason, "%.400s: record %" PRId64 ", byte %" PRId64 ": %s", r->name, number,
             r->damage.at, r->damage.what);
    r->damage.active = 0;
    r->partial = 1;
    return MTS_FAILED;
}

/* ---- finding frames ---- */

/* Tries the bytes at the current place. 1: pending; 0: no frame, see why; -1: fatal. */
static int frame_here(mts_reader *r, int searching, mts_why *why)
{
    int version = 0;
    long n;
    r->frame_at = r->in.offset;
    if (!mts_input_need(&r->in, MTS_FRAME_HEAD))
        return !mts_because(why, "cut short");
    if ((n = mts_frame_size(r->in.data)) < 0)
        return !mts_because(why, "no header where one must stand");
    if (!mts_input_need(&r->in, MTS_FRAME_HEAD + 4) || memcmp(r->in.data + MTS_FRAME_HEAD, "MTS", 3)
        || !mts_input_need(&r->in, MTS_FRAME_HEAD + (size_t)n))
        return !mts_because(why, "a header that is damaged or cut short");
    const char *text = (const char *)r->in.data + MTS_FRAME_HEAD;
    if (!mts_frame_valid(text, (size_t)n, &version))
        return !mts_because(why, "a header with a wrong checksum");
    if (version != MTS_VERSION) {
        mts_because(why, "version %d of the format", version);
        return searching ? 0
                         : fatal(r, "byte %" PRId64 ": version %d of the stream format; only version %d is known here",
                                 r->frame_at, version, MTS_VERSION);
    }
    if (mts_frame_parse(&r->frame, text, (size_t)n, why))
        return 0;
    mts_input_drop(&r->in, MTS_FRAME_HEAD + (size_t)n);
    r->pending = 1;
    return 1;
}

static void printable(const unsigned char *p, size_t n, char *to, size_t size)
{
    size_t used = 0;
    to[0] = 0;
    for (size_t i = 0; i < n && used + 5 < size; i++)
        used += (size_t)snprintf(to + used, size - used, p[i] >= 0x20 && p[i] < 0x7f ? "%c" : "\\x%02x", p[i]);
}

/* The input ended, or failed, before what had to come. */
static int fatal_end(mts_reader *r)
{
    char text[4 * sizeof r->first + 1];
    if (r->in.error)
        return fatal(r, "byte %" PRId64 ": cannot read: %s", r->in.offset + (int64_t)r->in.n, strerror(r->in.error));
    if (!r->begun && !r->first_n)
        return fatal(r, "empty: no tensor stream, not even its begin");
    if (!r->begun) {
        printable(r->first, r->first_n, text, sizeof text);
        return fatal(r, "not a tensor stream: it begins with \"%s\"", text);
    }
    if (!r->in_stream)
        return fatal(r, "byte %" PRId64 ": what follows the end of the stream is no stream", r->damage.at);
    if (r->damage.active)
        return fatal(r, "stops without an end record at byte %" PRId64 " (unreadable from byte %" PRId64 " on: %s)",
                     r->in.offset + (int64_t)r->in.n, r->damage.at, r->damage.what);
    return fatal(r, "stops without an end record at byte %" PRId64 " (was its writer killed?)",
                 r->in.offset + (int64_t)r->in.n);
}

/* Looks for the next descriptive frame that is whole. 1: pending; -1: there is none. */
static int resync(mts_reader *r)
{
    const int64_t from = r->in.offset;
    mts_why why;
    while (r->begun || r->in.offset - from < SEARCH) {
        if (r->in.n < MTS_FRAME_HEAD && !mts_input_need(&r->in, 1 << 16) && !r->in.n)
            break;
        unsigned char *p = memchr(r->in.data, MTS_MAGIC & 0xff, r->in.n);
        mts_input_drop(&r->in, p ? (size_t)(p - r->in.data) : r->in.n);
        if (!p)
            continue;
        if (frame_here(r, 1, &why) == 1)
            return 1;
        mts_input_drop(&r->in, 1);
    }
    return fatal_end(r);
}

/* 1: a frame is pending; 0: the input has ended between frames; -1: fatal. */
static int fetch(mts_reader *r)
{
    mts_why why;
    if (!mts_input_need(&r->in, 1))
        return r->in.error ? fatal_end(r) : 0;
    if (!r->begun && !r->first_n) {
        mts_input_need(&r->in, sizeof r->first);
        r->first_n = r->in.n < sizeof r->first ? r->in.n : sizeof r->first;
        memcpy(r->first, r->in.data, r->first_n);
    }
    int found = frame_here(r, 0, &why);
    if (found)
        return found;
    if (r->in.error)
        return fatal_end(r);
    note_damage(r, r->frame_at, "%s", why.text);
    mts_input_drop(&r->in, 1);
    return resync(r);
}

/* Is there a whole descriptive frame right behind the data frame? Then the data's place was right, if not its bytes. */
static int frame_behind(mts_reader *r, size_t size)
{
    int version;
    long n;
    if (!mts_input_need(&r->in, size + MTS_FRAME_HEAD) || (n = mts_frame_size(r->in.data + size)) < 0)
        return 0;
    return mts_input_need(&r->in, size + MTS_FRAME_HEAD + (size_t)n)
           && mts_frame_valid((const char *)r->in.data + size + MTS_FRAME_HEAD, (size_t)n, &version);
}

/* The data frame of the pending chunk. 1: it is there in in.data[0..size), sound; 0: damaged, and the place of the next
 * frame found; -1: fatal. With `drop` a sound one is dropped at once. */
static int take_data(mts_reader *r, int drop)
{
    size_t size = (size_t)r->frame.size;
    r->pending = 0;
    if (r->jump)
        return mts_input_jump(&r->in, (int64_t)size) ? fatal_end(r) : 1;
    if (mts_input_need(&r->in, size) && mts_xxh64(r->in.data, size, 0) == r->frame.data) {
        if (drop)
            mts_input_drop(&r->in, size);
        return 1;
    }
    if (r->in.error)
        return fatal_end(r);
    note_damage(r, r->in.offset, "the data of chunk %" PRId64 " %s", r->frame.chunk,
                r->in.n < size ? "is cut short" : "has a wrong checksum");
    if (r->in.n >= size && frame_behind(r, size)) {
        mts_input_drop(&r->in, size);
        return 0;
    }
    return resync(r) < 0 ? -1 : 0;
}

/* ---- what the pending frame means ---- */

static void enter_stream(mts_reader *r)
{
    r->begun = r->in_stream = 1;
    r->stream_at = r->frame_at;
    r->expected = r->chunks = r->failed = 0;
    r->partial = r->repeating = 0;
    r->last_row = r->begin.row_first >= 0 ? r->begin.row_first - 1 : -2;
    r->current = MTS_CURRENT_NONE;
}

/* If the current record has no end and cannot get one any more, it is lost. */
static int lose_current(mts_reader *r)
{
    mts_current was = r->current;
    r->current = MTS_CURRENT_NONE;
    if (was == MTS_CURRENT_OPEN)
        return report_lost(r, r->expected - 1, r->record.key, r->record.row, "its end is missing before here");
    if (was == MTS_CURRENT_LOST)
        return report_lost(r, r->expected - 1, "", r->record.row, "its header and its end are missing before here");
    return 0;
}

/* The records between the last one and number `next` are gone without a trace. Their rows are known where the rows on
 * both sides are as far apart as the numbers. */
static int lose_gap(mts_reader *r, int64_t next, int64_t next_row)
{
    int64_t row = -1;
    if (next <= r->expected)
        return 0;
    if (next - r->expected > GAP_MAX)
        return fatal(r, "byte %" PRId64 ": after record %" PRId64 " comes record %" PRId64, r->frame_at,
                     r->expected - 1, next);
    if (r->last_row >= -1 && next_row >= 0 && next_row - r->last_row == next - (r->expected - 1))
        row = r->last_row + 1;
    r->last_row = row < 0 ? -2 : row;
    return report_lost(r, r->expected++, "", row, "it is missing before here");
}

static int leave_without_end(mts_reader *r)
{
    int event = lose_current(r);
    if (event)
        return event;
    r->in_stream = 0;
    r->unended = 1;
    r->damage.active = 0;
    note_damage(r, r->frame_at, "another stream begins, but the one from byte %" PRId64 " on has no end", r->stream_at);
    return report_damage(r);
}

static int handle_begin(mts_reader *r)
{
    if (r->in_stream)
        return leave_without_end(r);
    if (r->damage.active)
        return report_damage(r);
    r->pending = 0;
    r->begin = r->frame.begin;
    r->stream = r->frame.sum;
    enter_stream(r);
    return MTS_BEGIN;
}

/* A frame of a stream that did not begin. */
static int handle_stranger(mts_reader *r)
{
    if (r->in_stream)
        return leave_without_end(r);
    memset(&r->begin, 0, sizeof r->begin);
    r->begin.row_first = r->begin.row_end = r->begin.rows_total = -1;
    r->stream = r->frame.stream;
    enter_stream(r);
    r->announce = 1;
    if (!r->damage.active)
        note_damage(r, r->frame_at, "a stream without its begin");
    else if (strlen(r->damage.what) + 32 < sizeof r->damage.what)
        strcat(r->damage.what, "; the begin is lost");
    return report_damage(r);
}

static int handle_end(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    int event = lose_current(r);
    if (!event)
        event = lose_gap(r, f->records, r->begin.row_end);
    if (event)
        return event;
    if (!r->partial && (f->records != r->expected || f->chunks != r->chunks || f->failed != r->failed))
        note_damage(r, r->frame_at,
                    "the end says %" PRId64 " records, %" PRId64 " chunks, %" PRId64 " failed; here came %" PRId64
                    ", %" PRId64 ", %" PRId64,
                    f->records, f->chunks, f->failed, r->expected, r->chunks, r->failed);
    if (r->damage.active)
        return report_damage(r);
    r->pending = 0;
    r->in_stream = 0;
    return MTS_END;
}

/* Of a record that is over. */
static int handle_old(mts_reader *r)
{
    int said = r->repeating;
    note_damage(r, r->frame_at, "record %" PRId64 " comes again", r->frame.number);
    r->pending = 0;
    r->repeating = 1;
    if (r->frame.type == MTS_FRAME_CHUNK && take_data(r, 1) < 0)
        return MTS_ERROR;
    if (!said)
        return report_damage(r);
    r->damage.active = 0;
    return 0;
}

static int report_upstream(mts_reader *r)
{
    mts_failure *x = &r->failure;
    r->pending = 0;
    r->failed++;
    r->current = MTS_CURRENT_FAILED;
    memcpy(x->key, r->frame.record.key, sizeof x->key);
    memcpy(x->stage, r->frame.stage, sizeof x->stage);
    memcpy(x->reason, r->frame.reason, sizeof x->reason);
    x->row = r->frame.record.row;
    x->here = 0;
    return MTS_FAILED;
}

static int open_record(mts_reader *r)
{
    r->pending = 0;
    r->current = MTS_CURRENT_OPEN;
    r->record = r->frame.record;
    r->chunk = r->frames = 0;
    r->skipping = r->skipped = 0;
    r->pass_to = 0;
    mts_xxh64_begin(&r->payload, 0);
    return MTS_RECORD;
}

/* The first frame of the next record, or of a later one. */
static int handle_new(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    int event = lose_current(r);
    if (!event)
        event = lose_gap(r, f->number, f->record.row);
    if (event)
        return event;
    r->repeating = 0;
    if (f->type == MTS_FRAME_CHUNK || f->type == MTS_FRAME_DONE) {
        r->current = MTS_CURRENT_LOST;
        r->record.row = f->record.row;
    } else if (r->damage.active) {
        return report_damage(r);
    }
    r->expected++;
    r->last_row = f->record.row >= 0 ? f->record.row : -2;
    if (f->type == MTS_FRAME_RECORD)
        return open_record(r);
    return f->type == MTS_FRAME_FAILED ? report_upstream(r) : 0;
}

/* The rest of the open record is of no use. */
static int void_current(mts_reader *r, const char *why)
{
    r->current = MTS_CURRENT_VOID;
    return report_lost(r, r->expected - 1, r->record.key, r->record.row, why);
}

static int unpack(mts_reader *r, mts_why *why)
{
    size_t raw = (size_t)r->frame.raw;
    if (raw > r->raw_room) {
        unsigned char *grown = realloc(r->raw, raw);
        if (!grown)
            return fatal(r, "out of memory");
        r->raw = grown;
        r->raw_room = raw;
    }
    size_t n = ZSTD_decompressDCtx(r->zstd, r->raw, raw, r->in.data, (size_t)r->frame.size);
    if (ZSTD_isError(n))
        return !mts_because(why, "chunk %" PRId64 " does not decompress: %s", r->frame.chunk, ZSTD_getErrorName(n));
    if (n != raw || ZSTD_findFrameCompressedSize(r->in.data, (size_t)r->frame.size) != (size_t)r->frame.size)
        return !mts_because(why, "chunk %" PRId64 " is not the %zu bytes that its header says", r->frame.chunk, raw);
    return 1;
}

static int open_chunk(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    const int64_t step = (int64_t)mts_record_step(&r->record), given = r->record.shape[0];
    mts_why why;
    if (f->chunk != r->chunk) {
        mts_because(&why, "chunk %" PRId64 " follows chunk %" PRId64, f->chunk, r->chunk - 1);
        return void_current(r, why.text);
    }
    if (f->raw % step || f->raw / step != f->frames || (given >= 0 && f->frames > given - r->frames)) {
        mts_because(&why, "chunk %" PRId64 " does not fit its record", f->chunk);
        return void_current(r, why.text);
    }
    if (r->damage.active)
        return report_damage(r);
    const int64_t frames = f->frames;
    const int pass = r->skipping || frames <= r->pass_to - r->frames;
    int sound = take_data(r, pass);
    r->chunks++;
    r->chunk++;
    if (sound < 0)
        return MTS_ERROR;
    if (!sound)
        return void_current(r, "");
    r->raw_first = r->frames;
    r->frames += frames;
    if (pass) {
        r->skipped = 1;
        return 0;
    }
    sound = unpack(r, &why);
    mts_input_drop(&r->in, (size_t)f->size);
    if (sound < 0)
        return MTS_ERROR;
    if (!sound)
        return void_current(r, why.text);
    mts_xxh64_add(&r->payload, r->raw, (size_t)f->raw);
    r->raw_frames = frames;
    return MTS_CHUNK;
}

static int open_done(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    if (f->chunks != r->chunk || f->frames != r->frames || (r->record.shape[0] >= 0 && r->record.shape[0] != f->frames))
        return void_current(r, "its end does not fit what came: chunks or frames are missing");
    if (!r->skipped && f->payload != mts_xxh64_end(&r->payload, 0))
        return void_current(r, "its end has the checksum of another tensor");
    if (r->damage.active)
        return report_damage(r);
    r->pending = 0;
    r->current = MTS_CURRENT_NONE;
    r->record.shape[0] = f->frames;
    return MTS_RECORD_END;
}

/* One more frame of a record that is of no use: passed over until its end. */
static int pass_over(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    if (f->type == MTS_FRAME_CHUNK) {
        r->chunks++;
        if (take_data(r, 1) < 0)
            return MTS_ERROR;
        if (r->current == MTS_CURRENT_VOID)
            r->damage.active = 0; /* the record was reported already */
        return 0;
    }
    if (r->current == MTS_CURRENT_LOST && f->type == MTS_FRAME_FAILED)
        return r->damage.active ? report_damage(r) : report_upstream(r);
    r->pending = 0;
    if (r->current == MTS_CURRENT_LOST) {
        r->current = MTS_CURRENT_NONE;
        return report_lost(r, r->expected - 1, f->record.key, f->record.row, "its header is missing before here");
    }
    r->damage.active = 0;
    r->current = f->type == MTS_FRAME_FAILED ? MTS_CURRENT_FAILED : MTS_CURRENT_NONE;
    return 0;
}

static int handle_current(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    if (f->type == MTS_FRAME_RECORD)
        return handle_old(r);
    switch (r->current) {
    case MTS_CURRENT_OPEN:
        if (f->type == MTS_FRAME_CHUNK)
            return open_chunk(r);
        if (f->type == MTS_FRAME_DONE)
            return open_done(r);
        return r->damage.active ? report_damage(r) : report_upstream(r);
    case MTS_CURRENT_VOID:
    case MTS_CURRENT_LOST:
        return pass_over(r);
    case MTS_CURRENT_FAILED:
        if (f->type != MTS_FRAME_FAILED)
            return handle_old(r);
        if (r->damage.active)
            return report_damage(r);
        r->pending = 0;
        return 0;
    case MTS_CURRENT_NONE:
        break;
    }
    return handle_old(r);
}

static int handle(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    if (r->announce) {
        r->announce = 0;
        return MTS_BEGIN;
    }
    if (r->adopt) {
        if (f->type != MTS_FRAME_RECORD || r->damage.active)
            return fatal(r, "byte %" PRId64 ": no record begins where the index says so", r->frame_at);
        r->adopt = 0;
        enter_stream(r);
        r->stream = f->stream;
        r->expected = f->number;
        r->last_row = -2;
        r->partial = 1;
    }
    if (f->type == MTS_FRAME_BEGIN)
        return handle_begin(r);
    if (!r->in_stream || f->stream != r->stream)
        return handle_stranger(r);
    if (f->type == MTS_FRAME_END)
        return handle_end(r);
    if (f->number >= r->expected)
        return handle_new(r);
    return f->number == r->expected - 1 ? handle_current(r) : handle_old(r);
}

static int at_end(mts_reader *r)
{
    if (!r->begun || r->in_stream)
        return fatal_end(r);
    if (r->unended)
        return fatal(r, "a stream in it has no end record (was its writer killed?)");
    r->finished = 1;
    return MTS_EOF;
}

int mts_next(mts_reader *r)
{
    int event = 0;
    if (r->error[0])
        return MTS_ERROR;
    if (r->finished)
        return MTS_EOF;
    while (!event) {
        if (!r->pending) {
            int got = fetch(r);
            if (got <= 0)
                return got ? MTS_ERROR : at_end(r);
        }
        event = handle(r);
    }
    return event;
}
