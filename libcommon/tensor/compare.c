#include "libcommon/tensor/compare.h"

#include "libcommon/base/integer.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One of the two inputs and its position. The chunk sizes of the two sides may differ. */
typedef struct side {
    mert_inputs *in;
    mert_inputs_listener *report;
    mts_record record;      /* the open one */
    mts_failure failure;
    const unsigned char *data; /* the rest of the chunk */
    int64_t frames;
} side;

struct mert_comparison {
    side a, b;
    mert_tolerance tolerance;
    double x[MERT_VALUES_BLOCK], y[MERT_VALUES_BLOCK];
    double excess;          /* the largest |a - b| - atol - rtol |b| */
};

typedef enum found { NOTHING, RECORD, FAILED_ITEM, STOP } found;

mert_comparison *mert_comparison_new(mert_inputs *a, mert_inputs *b, const mert_tolerance *t,
                                     mert_inputs_listener *report)
{
    mert_comparison *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->a.in = a;
    c->b.in = b;
    c->a.report = c->b.report = report;
    c->tolerance = *t;
    return c;
}

void mert_comparison_free(mert_comparison *c)
{
    free(c);
}

/* Advances to the next record or failed item. */
static found next_item(side *s)
{
    mert_error e;
    for (int event; (event = mert_inputs_next(s->in, &e)) != MTS_EOF;) {
        if (s->report(s->in, event, &e))
            return STOP;
        if (event == MTS_RECORD) {
            s->record = *mts_reader_record(s->in->reader);
            s->frames = 0;
            return RECORD;
        }
        if (event == MTS_FAILED) {
            s->failure = *mts_reader_failure(s->in->reader);
            return FAILED_ITEM;
        }
    }
    return NOTHING;
}

/* Reads until frames are available. 1: they are; 0: the record has ended (shape[0] is known); -1: it failed; -2:
 * stop. */
static int next_frames(side *s)
{
    mert_error e;
    while (!s->frames) {
        int event = mert_inputs_next(s->in, &e);
        if (s->report(s->in, event, &e))
            return -2;
        if (event == MTS_CHUNK) {
            s->data = mts_reader_data(s->in->reader);
            s->frames = mts_reader_frames(s->in->reader);
        } else if (event == MTS_RECORD_END) {
            s->record.shape[0] = mts_reader_record(s->in->reader)->shape[0];
            return 0;
        } else if (event == MTS_FAILED || event == MTS_ERROR || event == MTS_EOF) {
            return -1;
        }
    }
    return 1;
}

static int pass_rest(side *s)
{
    int rc;
    mts_skip(s->in->reader);
    do
        s->frames = 0;
    while ((rc = next_frames(s)) == 1);
    return rc;
}

static int rates_differ(const mts_record *a, const mts_record *b)
{
    if (a->sample_rate && b->sample_rate && a->sample_rate != b->sample_rate)
        return 1;
    return a->frame_rate_num && b->frame_rate_num
           && a->frame_rate_num * b->frame_rate_den != b->frame_rate_num * a->frame_rate_den; /* each below 2^31 */
}

/* 1: the records cannot be compared. Lengths may be known only at the end. */
static int differ(const mts_record *a, const mts_record *b, mert_difference *d)
{
    char x[128], y[128];
    int shapes = a->ndim != b->ndim;
    for (int i = 1; !shapes && i < a->ndim; i++)
        shapes = a->shape[i] != b->shape[i];
    if (strcmp(a->kind, b->kind))
        snprintf(d->what, sizeof d->what, "kinds differ: %s and %s", a->kind, b->kind);
    else if (shapes)
        snprintf(d->what, sizeof d->what, "shapes differ: %s and %s", mert_shape_print(x, sizeof x, a),
                 mert_shape_print(y, sizeof y, b));
    else if (rates_differ(a, b))
        snprintf(d->what, sizeof d->what,
                 "rates differ: %" PRId64 " Hz, %" PRId64 "/%" PRId64 " and %" PRId64 " Hz, %" PRId64 "/%" PRId64,
                 a->sample_rate, a->frame_rate_num, a->frame_rate_den, b->sample_rate, b->frame_rate_num,
                 b->frame_rate_den);
    return d->what[0] != 0;
}

static void compare_values(mert_comparison *c, int64_t n, int64_t first, int64_t width, mert_difference *d)
{
    for (int64_t i = 0; i < n; i++) {
        double a = c->x[i], b = c->y[i], apart = fabs(a - b), size = fabs(b);
        if (size > d->peak && isfinite(size))
            d->peak = size;
        if (a == b || (isnan(a) && isnan(b)))
            continue;
        d->unequal++;
        int odd = isnan(apart) || isinf(apart); /* a NaN or infinity on one side: outside of any tolerance */
        if (odd || (!isnan(d->largest) && apart > d->largest)) {
            if (!isnan(d->largest)) { /* keeps the first odd one */
                d->largest = odd ? NAN : apart;
                d->a = a;
                d->b = b;
                d->at_frame = (first + i) / width;
                d->at_element = (first + i) % width;
            }
        }
        if (!odd && size > 0 && apart / size > d->relative)
            d->relative = apart / size;
        double excess = odd ? INFINITY : apart - c->tolerance.atol - c->tolerance.rtol * size;
        if (excess > c->excess)
            c->excess = excess;
    }
}

/* 0: both have ended; 1: one has ended before the other; -1: one of them failed; -2: stop. */
static int compare_frames(mert_comparison *c, mert_difference *d)
{
    const int64_t width = mts_record_width(&c->a.record);
    int a, b = 0;
    while ((a = next_frames(&c->a)) == 1 && (b = next_frames(&c->b)) == 1) {
        int64_t frames = mert_smaller(c->a.frames, c->b.frames);
        for (int64_t at = 0, n; at < frames * width; at += n) {
            n = mert_smaller(frames * width - at, MERT_VALUES_BLOCK);
            mert_values_read(c->a.record.dtype, c->a.data + (size_t)at * mts_dtype_size(c->a.record.dtype), n, c->x);
            mert_values_read(c->b.record.dtype, c->b.data + (size_t)at * mts_dtype_size(c->b.record.dtype), n, c->y);
            compare_values(c, n, d->elements, width, d);
            d->elements += n;
        }
        c->a.frames -= frames;
        c->b.frames -= frames;
        c->a.data += (size_t)frames * mts_record_step(&c->a.record);
        c->b.data += (size_t)frames * mts_record_step(&c->b.record);
    }
    if (a == 1) {
        if (b == 0)
            a = pass_rest(&c->a); /* to know its length */
    } else {
        b = a == -2 ? a : pass_rest(&c->b);
    }
    if (a < 0 || b < 0)
        return a == -2 || b == -2 ? -2 : -1;
    return c->a.record.shape[0] != c->b.record.shape[0];
}

static int compare_records(mert_comparison *c, mert_difference *d)
{
    int rc;
    if (differ(&c->a.record, &c->b.record, d)) {
        int a = pass_rest(&c->a), b = pass_rest(&c->b);
        return a == -2 || b == -2 ? -1 : 1;
    }
    c->excess = -INFINITY;
    rc = compare_frames(c, d);
    if (rc == -2)
        return -1;
    if (rc == -1)
        snprintf(d->what, sizeof d->what, "one of them did not come whole");
    else if (rc == 1)
        snprintf(d->what, sizeof d->what, "lengths differ: %" PRId64 " and %" PRId64 " time steps",
                 c->a.record.shape[0], c->b.record.shape[0]);
    d->beyond = c->excess > c->tolerance.ptol * d->peak;
    return 1;
}

int mert_comparison_next(mert_comparison *c, mert_difference *d)
{
    found a = next_item(&c->a), b = a == STOP ? STOP : next_item(&c->b);
    memset(d, 0, sizeof *d);
    if (a == STOP || b == STOP)
        return -1;
    if (a == NOTHING && b == NOTHING)
        return 0;
    d->a_there = a == RECORD;
    d->b_there = b == RECORD;
    snprintf(d->key, sizeof d->key, "%s", a == RECORD ? c->a.record.key : a == FAILED_ITEM ? c->a.failure.key
                                        : b == RECORD ? c->b.record.key : c->b.failure.key);
    d->row = a == RECORD        ? c->a.record.row
             : a == FAILED_ITEM ? c->a.failure.row
             : b == RECORD      ? c->b.record.row
                                : c->b.failure.row;
    int rc = 1;
    if (a == RECORD && b == RECORD) {
        rc = compare_records(c, d);
    } else {
        snprintf(d->what, sizeof d->what, a == b ? "failed in both" : "only the %s has it%s",
                 a == RECORD ? "first" : "second",
                 a == FAILED_ITEM || b == FAILED_ITEM ? "; it failed in the other" : "");
        if ((a == RECORD && pass_rest(&c->a) == -2) || (b == RECORD && pass_rest(&c->b) == -2))
            rc = -1;
    }
    d->beyond |= d->what[0] != 0;
    return rc;
}
