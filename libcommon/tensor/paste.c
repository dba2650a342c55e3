#include "libcommon/tensor/paste.h"

#include "formats/array.h"
#include "libcommon/tensor/statistics.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES_MAX = 1024 }; /* frames per output chunk */

typedef enum item { NOTHING, RECORD, FAILED_ITEM } item;

/* One input and its position. The chunk sizes of the inputs may differ. */
typedef struct side {
    mert_inputs *in;
    mert_inputs_listener *report;
    item item;             /* the current item */
    int ended;             /* it has no more frames */
    mts_begin begin;
    mts_record record;
    mts_failure failure;
    const unsigned char *data; /* the rest of the chunk */
    int64_t frames;
} side;

struct mert_paste {
    side *sides;
    int n;
    int64_t tolerance;
    enum { BETWEEN, ITEM, FRAMES, DONE } state;
    int begin_due;         /* the first input began a stream; BEGIN is still to be returned */
    mts_begin begin;
    mts_record record;
    mts_failure failure;
    int64_t first, frames;
    double x[FRAMES_MAX * MTS_CODEBOOKS_MAX];
    uint16_t narrow[FRAMES_MAX * MTS_CODEBOOKS_MAX];
    int32_t wide[FRAMES_MAX * MTS_CODEBOOKS_MAX];
};

mert_paste *mert_paste_new(mert_inputs *inputs, int n, int64_t tolerance, mert_inputs_listener *report)
{
    mert_paste *p = calloc(1, sizeof *p);
    if (!p || !(p->sides = mert_array_zeroed(n, sizeof *p->sides))) {
        free(p);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        p->sides[i].in = &inputs[i];
        p->sides[i].report = report;
    }
    p->n = n;
    p->tolerance = tolerance;
    return p;
}

void mert_paste_free(mert_paste *p)
{
    if (p)
        free(p->sides);
    free(p);
}

const mts_begin *mert_paste_begin(const mert_paste *p) { return &p->begin; }
const mts_record *mert_paste_record(const mert_paste *p) { return &p->record; }
const mts_failure *mert_paste_failure(const mert_paste *p) { return &p->failure; }
int64_t mert_paste_frames(const mert_paste *p) { return p->frames; }
int64_t mert_paste_first(const mert_paste *p) { return p->first; }

const void *mert_paste_data(const mert_paste *p)
{
    return p->record.dtype == MTS_I32 ? (const void *)p->wide : p->narrow;
}

int mert_paste_column(const mert_paste *p, int i)
{
    int column = 0;
    for (int k = 0; k < i; k++)
        column += p->sides[k].record.ncodebooks;
    return column;
}

uint64_t mert_paste_model(const mert_paste_part *parts, int n)
{
    mts_xxh64_state hash;
    char text[64];
    if (n == 1 && !parts[0].first)
        return parts[0].model;
    mts_xxh64_begin(&hash, 0);
    for (int i = 0; i < n; i++) {
        if (!parts[i].model)
            return 0;
        size_t size = (size_t)snprintf(text, sizeof text, "%s%016" PRIx64, i ? " " : "", parts[i].model);
        if (parts[i].first)
            size += (size_t)snprintf(text + size, sizeof text - size, "+%d", parts[i].first);
        size += (size_t)snprintf(text + size, sizeof text - size, ":%d", parts[i].count);
        mts_xxh64_add(&hash, text, size);
    }
    return mts_xxh64_end(&hash, 0);
}

/* ---- one input ---- */

/* Advances to the next record or failed item, or to the end. */
static int advance(mert_paste *p, side *s, mert_error *e)
{
    for (;;) {
        int event = mert_inputs_next(s->in, e);
        switch (event) {
        case MTS_ERROR: return -1;
        case MTS_BEGIN:
            s->begin = *mts_reader_begin(s->in->reader);
            p->begin_due |= s == p->sides;
            break;
        case MTS_RECORD:
            s->record = *mts_reader_record(s->in->reader);
            s->frames = s->ended = 0;
            s->item = RECORD;
            return 0;
        case MTS_FAILED:
            s->failure = *mts_reader_failure(s->in->reader);
            s->ended = 1;
            s->item = FAILED_ITEM;
            return 0;
        case MTS_EOF: s->item = NOTHING; return 0;
        default:
            e->text[0] = 0;
            if (s->report(s->in, event, e))
                return -1;
        }
    }
}

/* Reads until frames are available, or the item ends. */
static int look_ahead(side *s, mert_error *e)
{
    while (!s->frames && !s->ended) {
        int event = mert_inputs_next(s->in, e);
        switch (event) {
        case MTS_ERROR: return -1;
        case MTS_EOF: return mert_fail(e, "%s: ends within %s", s->in->name, s->record.key);
        case MTS_CHUNK:
            s->data = mts_reader_data(s->in->reader);
            s->frames = mts_reader_frames(s->in->reader);
            break;
        case MTS_RECORD_END:
            s->record.shape[0] = mts_reader_record(s->in->reader)->shape[0];
            s->ended = 1;
            break;
        case MTS_FAILED:
            s->failure = *mts_reader_failure(s->in->reader);
            s->item = FAILED_ITEM;
            s->ended = 1;
            break;
        default:
            e->text[0] = 0;
            if (s->report(s->in, event, e))
                return -1;
        }
    }
    return 0;
}

/* Skips the rest of the item. */
static int drain(mert_paste *p, mert_error *e)
{
    for (side *s = p->sides; s < p->sides + p->n; s++) {
        if (!s->ended)
            mts_skip(s->in->reader);
        while (!s->ended) {
            s->frames = 0;
            if (look_ahead(s, e))
                return -1;
        }
        s->frames = 0;
    }
    return 0;
}

/* ---- items ---- */

static const char *key_of(const side *s)
{
    return s->item == RECORD ? s->record.key : s->failure.key;
}

static int64_t row_of(const side *s)
{
    return s->item == RECORD ? s->record.row : s->failure.row;
}

static int same_manifest(const side *a, const side *b, mert_error *e)
{
    if (a->begin.manifest && b->begin.manifest && a->begin.manifest != b->begin.manifest)
        return mert_fail(e, "%s is made of the manifest %016" PRIx64 ", %s of %016" PRIx64, a->in->name,
                         a->begin.manifest, b->in->name, b->begin.manifest);
    if (a->begin.rows_total >= 0 && b->begin.rows_total >= 0 && a->begin.rows_total != b->begin.rows_total)
        return mert_fail(e, "%s is made of %" PRId64 " rows, %s of %" PRId64, a->in->name, a->begin.rows_total,
                         b->in->name, b->begin.rows_total);
    return 0;
}

/* A failure whose name was lost by damage matches any item. */
static int same_item(const side *a, const side *b, mert_error *e)
{
    if ((a->item == NOTHING) != (b->item == NOTHING)) {
        const side *has = a->item == NOTHING ? b : a, *lacks = a->item == NOTHING ? a : b;
        return mert_fail(e, "%s ends where %s has row %" PRId64 " (%s)", lacks->in->name, has->in->name, row_of(has),
                         key_of(has));
    }
    if (a->item == NOTHING)
        return 0;
    if (*key_of(a) && *key_of(b) && (row_of(a) != row_of(b) || strcmp(key_of(a), key_of(b))))
        return mert_fail(e, "%s has row %" PRId64 " (%s) where %s has row %" PRId64 " (%s)", a->in->name, row_of(a),
                         key_of(a), b->in->name, row_of(b), key_of(b));
    return 0;
}

static int join_provenance(mert_paste *p, mert_error *e)
{
    size_t n = 0;
    p->begin = p->sides[0].begin;
    for (int i = 0; i < p->n; i++) {
        const mts_begin *b = &p->sides[i].begin;
        size_t size = strlen(b->provenance);
        if (n + size >= sizeof p->begin.provenance)
            return mert_fail(e, "the provenance of %d streams is more than one can have", p->n);
        memcpy(p->begin.provenance + n, b->provenance, size + 1);
        n += size;
        if (b->input && b->input != p->begin.input) {
            uint64_t both[2] = {p->begin.input, b->input};
            p->begin.input = mts_xxh64(both, sizeof both, 0);
        }
        if (!p->begin.manifest)
            p->begin.manifest = b->manifest;
        if (p->begin.rows_total < 0)
            p->begin.rows_total = b->rows_total;
    }
    return 0;
}

/* Advances all inputs; they must have the same next item. */
static int advance_all(mert_paste *p, mert_error *e)
{
    for (side *s = p->sides; s < p->sides + p->n; s++)
        if (advance(p, s, e))
            return -1;
    for (int i = 1; i < p->n; i++)
        if (same_manifest(&p->sides[0], &p->sides[i], e) || same_item(&p->sides[0], &p->sides[i], e))
            return -1;
    return p->begin_due ? join_provenance(p, e) : 0;
}

static int fits(const side *a, const side *b, mert_error *e)
{
    const mts_record *x = &a->record, *y = &b->record;
    if (strcmp(y->kind, "codes") || y->ndim != 2 || y->ncodebooks < 1 || y->shape[1] != y->ncodebooks
        || !mert_dtype_is_integer(y->dtype))
        return mert_fail(e, "%s: is %s of %s; codes [T, K] can be pasted", b->in->name, y->kind,
                         mts_dtype_name(y->dtype));
    if (x->frame_rate_num * y->frame_rate_den != y->frame_rate_num * x->frame_rate_den)
        return mert_fail(e, "frame rate is %" PRId64 "/%" PRId64 " in %s and %" PRId64 "/%" PRId64 " in %s",
                         x->frame_rate_num, x->frame_rate_den, a->in->name, y->frame_rate_num, y->frame_rate_den,
                         b->in->name);
    return 0;
}

/* Makes the output record. */
static int describe(mert_paste *p, mert_error *e)
{
    const side *s = p->sides;
    mert_paste_part parts[MTS_CODEBOOKS_MAX];
    mts_record r = s->record;
    int K = 0;
    r.dtype = MTS_U16;
    for (int i = 0; i < p->n; i++) {
        const mts_record *x = &s[i].record;
        if (fits(&s[0], &s[i], e))
            return -1;
        if (K + x->ncodebooks > MTS_CODEBOOKS_MAX)
            return mert_fail(e, "more than %d codebooks side by side", MTS_CODEBOOKS_MAX);
        memcpy(r.classes + K, x->classes, (size_t)x->ncodebooks * sizeof *x->classes);
        K += x->ncodebooks;
        parts[i] = (mert_paste_part){x->model, 0, x->ncodebooks};
        r.dtype = x->dtype == MTS_I32 ? MTS_I32 : r.dtype;
        r.sample_rate = x->sample_rate == r.sample_rate ? r.sample_rate : 0;
    }
    r.ncodebooks = K;
    r.shape[0] = -1;
    r.shape[1] = K;
    r.model = mert_paste_model(parts, p->n);
    p->record = r;
    p->first = 0;
    return 0;
}

/* Fails the current item, with the reason `why`, or (NULL) with that of the input that failed. */
static int fail_item(mert_paste *p, const mert_error *why, mert_error *e)
{
    mts_failure *to = &p->failure;
    mert_error reason = why ? *why : (mert_error){{0}};
    int said = 0;
    memset(to, 0, sizeof *to);
    to->row = -1;
    if (drain(p, e))
        return -1;
    for (const side *s = p->sides; s < p->sides + p->n; s++) {
        if (!*to->key)
            snprintf(to->key, sizeof to->key, "%s", key_of(s));
        if (to->row < 0)
            to->row = row_of(s);
        if (s->item != FAILED_ITEM || (said && !s->failure.here))
            continue;
        size_t n = strlen(to->reason);
        snprintf(to->stage, sizeof to->stage, "%s", s->failure.stage);
        snprintf(to->reason + n, sizeof to->reason - n, "%s%s", n ? "; " : "", s->failure.reason);
        to->here |= s->failure.here;
        said = 1;
    }
    if (!said) {
        snprintf(to->stage, sizeof to->stage, "paste");
        snprintf(to->reason, sizeof to->reason, "%s", reason.text);
        to->here = 1;
    }
    p->state = BETWEEN;
    return MTS_FAILED;
}

/* ---- frames ---- */

static int interleave(mert_paste *p, int64_t n, mert_error *e)
{
    const int K = p->record.ncodebooks;
    for (int i = 0, column = 0; i < p->n; i++) {
        side *s = &p->sides[i];
        const int own = s->record.ncodebooks;
        mert_values_read(s->record.dtype, s->data, n * own, p->x);
        if (mert_codes_check(own, s->record.classes, p->x, n, p->first + p->frames, e))
            return mert_fail_in(e, "%s", s->in->name);
        for (int64_t t = 0; t < n; t++)
            for (int k = 0; k < own; k++) {
                p->wide[t * K + column + k] = (int32_t)p->x[t * own + k];
                p->narrow[t * K + column + k] = (uint16_t)p->x[t * own + k];
            }
        s->data += (size_t)n * mts_record_step(&s->record);
        s->frames -= n;
        column += own;
    }
    p->first += p->frames;
    p->frames = n;
    return 0;
}

/* When the shortest input has ended: checks that the others are not much longer. */
static int check_lengths(const mert_paste *p, mert_error *e)
{
    const side *shortest = p->sides, *longest = p->sides;
    for (const side *s = p->sides; s < p->sides + p->n; s++) {
        shortest = s->record.shape[0] < shortest->record.shape[0] ? s : shortest;
        longest = s->record.shape[0] > longest->record.shape[0] ? s : longest;
    }
    if (longest->record.shape[0] - shortest->record.shape[0] <= p->tolerance)
        return 0;
    return mert_fail(e, "%" PRId64 " frames in %s and %" PRId64 " in %s differ by more than %" PRId64,
                     shortest->record.shape[0], shortest->in->name, longest->record.shape[0], longest->in->name,
                     p->tolerance);
}

static int next_frames(mert_paste *p, mert_error *e)
{
    int64_t n = FRAMES_MAX;
    int failed = 0, ended = 0;
    mert_error why;
    for (side *s = p->sides; s < p->sides + p->n; s++) {
        if (look_ahead(s, e))
            return -1;
        n = s->frames < n ? s->frames : n;
        ended |= s->ended && !s->frames;
        failed |= s->item == FAILED_ITEM;
    }
    if (failed)
        return fail_item(p, NULL, e);
    if (!ended)
        return interleave(p, n, &why) ? fail_item(p, &why, e) : MTS_CHUNK;
    if (drain(p, e))
        return -1;
    for (const side *s = p->sides; s < p->sides + p->n; s++)
        failed |= s->item == FAILED_ITEM;
    if (failed || check_lengths(p, &why))
        return fail_item(p, failed ? NULL : &why, e);
    p->record.shape[0] = p->first + p->frames;
    p->state = BETWEEN;
    return MTS_RECORD_END;
}

int mert_paste_next(mert_paste *p, mert_error *e)
{
    mert_error why;
    int failed = 0;
    e->text[0] = 0;
    if (p->state == BETWEEN) {
        if (advance_all(p, e))
            return MTS_ERROR;
        p->state = ITEM;
    }
    if (p->begin_due) {
        p->begin_due = 0;
        return MTS_BEGIN;
    }
    if (p->state == FRAMES)
        return next_frames(p, e);
    if (p->state == DONE || p->sides[0].item == NOTHING) {
        p->state = DONE;
        return MTS_EOF;
    }
    for (const side *s = p->sides; s < p->sides + p->n; s++)
        failed |= s->item == FAILED_ITEM;
    p->frames = 0;
    if (failed || describe(p, &why))
        return fail_item(p, failed ? NULL : &why, e);
    p->state = FRAMES;
    return MTS_RECORD;
}
