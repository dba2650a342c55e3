/* Interprets the frames of an input, one after the other. mts_find.c finds them. */
#include "mts_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GAP_MAX = 1 << 16 }; /* most missing records that are reported one by one; a larger gap means that the number is
                               wrong */

/* ---- damage ---- */

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
    r->told_at = r->frame_at;
    return MTS_DAMAGE;
}

/* Whether the stream covers this row, if its begin frame says which rows it covers. */
static int covers(const mts_reader *r, int64_t row)
{
    const int64_t end = r->begin.row_end < 0 ? r->begin.rows_total : r->begin.row_end;
    return r->stream != r->begin_id || row < 0 || ((end < 0 || row < end) && row >= r->begin.row_first);
}

/* Reports a lost record. The reason is the damage noted last or, without any, `why`. A row that the stream does not
 * cover becomes -1. */
static int report_lost(mts_reader *r, int64_t number, const char *key, int64_t row, const char *why)
{
    mts_failure *x = &r->failure;
    mts_note(r, r->frame_at, "%s", why);
    snprintf(x->key, sizeof x->key, "%s", key);
    x->row = covers(r, row) ? row : -1;
    x->here = 1;
    strcpy(x->stage, "read");
    snprintf(x->reason, sizeof x->reason, "%.400s: record %" PRId64 ", byte %" PRId64 ": %s", r->name, number,
             r->damage.at, r->damage.what);
    r->damage.active = 0;
    r->partial = 1;
    r->told_at = r->frame_at;
    return MTS_FAILED;
}

/* ---- handling the pending frame ---- */

static void enter_stream(mts_reader *r)
{
    r->begun = r->in_stream = 1;
    r->stream_at = r->frame_at;
    r->expected = r->chunks = r->failed = 0;
    r->partial = r->repeating = 0;
    r->last_row = r->begin.row_first >= 0 ? r->begin.row_first - 1 : -2;
    r->current = MTS_CURRENT_NONE;
}

/* "row 5 (song.mp3)": the name of an item for messages. */
static void item_name(int64_t row, const char *key, char *to, size_t size)
{
    size_t n = (size_t)snprintf(to, size, row < 0 ? "no row" : "row %" PRId64, row);
    if (key)
        snprintf(to + n, size - n, " (%.200s)", key);
}

/* 1, with why, if the row or key in the pending frame is not that of the current record; otherwise 0. */
static int other_item(const mts_reader *r, mts_why *why)
{
    const mts_frame *f = &r->frame;
    const char *key = f->type == MTS_FRAME_CHUNK ? NULL : f->record.key;
    char its[240], own[240];
    if (f->record.row == r->record.row && (!key || !strcmp(key, r->record.key)))
        return 0;
    item_name(f->record.row, key, its, sizeof its);
    item_name(r->record.row, r->record.key, own, sizeof own);
    return mts_because(why, "its %s is of another item: %s, not %s",
                       f->type == MTS_FRAME_CHUNK  ? "chunk"
                       : f->type == MTS_FRAME_DONE ? "end"
                                                   : "failed frame",
                       its, own);
}

/* Reports that the stream does not cover the row of the pending frame. Its record is lost, and its row and key are not
 * used. */
static int report_row(mts_reader *r)
{
    mts_why why;
    mts_because(&why, "row %" PRId64 ", but the stream covers rows %" PRId64 " to %" PRId64, r->record.row,
                r->begin.row_first < 0 ? 0 : r->begin.row_first,
                (r->begin.row_end < 0 ? r->begin.rows_total : r->begin.row_end) - 1);
    return report_lost(r, r->expected - 1, r->record.key, -1, why.text);
}

/* Reports the current record as lost if it has no end and cannot get one. */
static int lose_current(mts_reader *r)
{
    mts_current was = r->current;
    char item[240];
    r->current = MTS_CURRENT_NONE;
    if (was == MTS_CURRENT_FAILED && r->copies != 3 && !r->damage.active) {
        item_name(r->record.row, r->record.key, item, sizeof item);
        mts_note(r, r->frame_at, "copy %d of the failed frame of record %" PRId64 ", %s, is missing before here",
                 r->copies == 1 ? 2 : 1, r->expected - 1, item);
        return report_damage(r);
    }
    if (was == MTS_CURRENT_OPEN)
        return report_lost(r, r->expected - 1, r->record.key, r->record.row, "its end is missing before here");
    if (was == MTS_CURRENT_LOST)
        return report_lost(r, r->expected - 1, "", r->record.row, "its header and its end are missing before here");
    return 0;
}

/* Reports the records between the last one and number `next` as lost. Their rows are known if the rows on both sides
 * have the same distance as the numbers. */
static int lose_gap(mts_reader *r, int64_t next, int64_t next_row)
{
    int64_t row = -1;
    if (next <= r->expected)
        return 0;
    if (next - r->expected > GAP_MAX)
        return mts_fatal(r, "byte %" PRId64 ": after record %" PRId64 " comes record %" PRId64, r->frame_at,
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
    mts_note(r, r->frame_at, "another stream begins, but the one from byte %" PRId64 " on has no end", r->stream_at);
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
    r->stream = r->begin_id = r->frame.sum;
    enter_stream(r);
    return MTS_BEGIN;
}

/* Handles a frame of a stream without a begin frame. */
static int handle_stranger(mts_reader *r)
{
    if (r->in_stream)
        return leave_without_end(r);
    memset(&r->begin, 0, sizeof r->begin);
    r->begin.row_first = r->begin.row_end = r->begin.rows_total = -1;
    r->stream = r->begin_id = r->frame.stream;
    enter_stream(r);
    r->announce = 1;
    if (!r->damage.active)
        mts_note(r, r->frame_at, "a stream without its begin");
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
        mts_note(r, r->frame_at,
                 "the end says %" PRId64 " records, %" PRId64 " chunks, %" PRId64 " failed; here came %" PRId64
                 ", %" PRId64 ", %" PRId64,
                 f->records, f->chunks, f->failed, r->expected, r->chunks, r->failed);
    if (r->damage.active)
        return report_damage(r);
    r->pending = 0;
    r->in_stream = 0;
    return MTS_END;
}

/* Handles a frame of an earlier record. */
static int handle_old(mts_reader *r)
{
    int said = r->repeating;
    char item[240];
    item_name(r->frame.record.row, r->frame.type == MTS_FRAME_CHUNK ? NULL : r->frame.record.key, item, sizeof item);
    mts_note(r, r->frame_at, "record %" PRId64 " comes again: %s", r->frame.number, item);
    r->pending = 0;
    r->repeating = 1;
    if (r->frame.type == MTS_FRAME_CHUNK && mts_take_data(r, 1) < 0)
        return MTS_ERROR;
    if (!said)
        return report_damage(r);
    r->damage.active = 0;
    return 0;
}

static uint64_t hash_of_reason(const mts_frame *f)
{
    return mts_xxh64(f->reason, strlen(f->reason), mts_xxh64(f->stage, strlen(f->stage), 0));
}

/* Reports the item of the pending failed frame. If its first copy was damaged, that is reported separately. */
static int report_upstream(mts_reader *r)
{
    mts_failure *x = &r->failure;
    r->pending = 0;
    r->failed++;
    r->current = MTS_CURRENT_FAILED;
    r->copies = r->frame.copy == 2 && r->told_at == r->frame_at ? 3 : (int)r->frame.copy;
    r->reason = hash_of_reason(&r->frame);
    memcpy(r->record.key, r->frame.record.key, sizeof r->record.key);
    r->record.row = r->frame.record.row;
    if (!covers(r, r->record.row))
        return report_row(r);
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
    r->pass_to = r->pass_unseen = 0;
    mts_xxh64_begin(&r->payload, 0);
    if (covers(r, r->record.row))
        return MTS_RECORD;
    r->current = MTS_CURRENT_VOID;
    return report_row(r);
}

/* Handles the first frame of the next record, or of a later one. */
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

/* Reports the open record as lost; the rest of it is not used. */
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
            return mts_fatal(r, "out of memory");
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
    if (other_item(r, &why))
        return void_current(r, why.text);
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
    int sound = mts_take_data(r, pass);
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
    mts_why why;
    if (other_item(r, &why))
        return void_current(r, why.text);
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

/* Skips one frame of a record that was lost. */
static int pass_over(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    if (f->type == MTS_FRAME_CHUNK) {
        r->chunks++;
        if (mts_take_data(r, 1) < 0)
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
    if (f->type == MTS_FRAME_FAILED) {
        r->copies = (int)f->copy;
        r->reason = hash_of_reason(f);
        r->record = f->record; /* its other copy must be the same */
    }
    return 0;
}

/* Handles the other copy of a failed frame. */
static int take_copy(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    mts_why why;
    if (r->copies & (int)f->copy)
        return handle_old(r);
    r->pending = 0;
    r->copies = 3;
    if (other_item(r, &why))
        mts_note(r, r->frame_at, "%s", why.text);
    else if (hash_of_reason(f) != r->reason)
        mts_note(r, r->frame_at, "the two copies of a failed frame give different reasons");
    return r->damage.active ? report_damage(r) : 0;
}

static int handle_current(mts_reader *r)
{
    const mts_frame *f = &r->frame;
    mts_why why;
    if (f->type == MTS_FRAME_RECORD)
        return handle_old(r);
    switch (r->current) {
    case MTS_CURRENT_OPEN:
        if (f->type == MTS_FRAME_CHUNK)
            return open_chunk(r);
        if (f->type == MTS_FRAME_DONE)
            return open_done(r);
        if (other_item(r, &why))
            return void_current(r, why.text);
        return r->damage.active ? report_damage(r) : report_upstream(r);
    case MTS_CURRENT_VOID:
    case MTS_CURRENT_LOST:
        return pass_over(r);
    case MTS_CURRENT_FAILED:
        return f->type == MTS_FRAME_FAILED ? take_copy(r) : handle_old(r);
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
            return mts_fatal(r, "byte %" PRId64 ": no record begins where the index says so", r->frame_at);
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
        return mts_fatal_end(r);
    if (r->unended)
        return mts_fatal(r, "a stream in it has no end record (was its writer killed?)");
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
            int got = mts_fetch(r);
            if (got <= 0)
                return got ? MTS_ERROR : at_end(r);
        }
        event = handle(r);
    }
    return event;
}
