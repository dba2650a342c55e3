#include "libcommon/teachers/encodec/batch.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/teachers/encodec/device.h"
#include "libcommon/teachers/encodec/seanet_lstm.h"

#include <stdlib.h>
#include <string.h>

/* An item with so many frames does not wait for its end, so that memory does not grow with its length. */
enum { LONG = 4096 };

/* Frames that a device computes before the LSTM at a time. */
enum { TOGETHER = 1 << 13 };

/* Rows [before + n, width]: past rows that are still needed, and waiting rows. */
typedef struct queue {
    float *x;
    int64_t before, n, room;
    int64_t gone;          /* number of rows before x[0] */
} queue;

typedef struct slot {
    queue in, middle;      /* the item's input rows; rows before, and later after, the LSTM */
    float *out, *state;
    int64_t n_out, out_room;
    int32_t *codes; /* [code_room] */
    int64_t code_room;
    int ended;
} slot;

struct mert_encodec_batch {
    const mert_seanet *net;
    mert_seanet_part *first, *last; /* before and after the LSTM */
    mert_seanet_lstm *lstm;         /* NULL: the net has none */
    int64_t width, state;           /* of the LSTM: channels; floats of state per item */
    slot *slots;                    /* [items], the first n are used */
    mert_seanet_lane *lane;         /* [items] */
    mert_seanet_stretch *stretch;   /* [items] */
    int64_t items, n, frames, waiting; /* waiting: input rows of the first part */
    mert_encodec_device *device;       /* or NULL */
    mert_encodec_stretch *on_device;   /* [items] */
    int64_t use;
};

/* A batch for either; NULL: out of memory. *stage: the LSTM's. */
static mert_encodec_batch *empty(const mert_encodec *m, int decode, int64_t items, int64_t frames, int *stage)
{
    mert_encodec_batch *b = calloc(1, sizeof *b);
    int at;
    if (!b)
        return NULL;
    b->net = decode ? &m->decoder : &m->encoder;
    b->items = items;
    b->frames = frames;
    *stage = at = mert_seanet_lstm_stage(b->net);
    b->first = mert_seanet_part_new(b->net, 0, at);
    b->last = mert_seanet_part_new(b->net, at < b->net->n ? at + 1 : at, b->net->n);
    b->slots = mert_array_zeroed(items, sizeof *b->slots);
    if (b->first && b->last && b->slots) {
        b->width = mert_seanet_part_out(b->first);
        return b;
    }
    mert_encodec_batch_free(b);
    return NULL;
}

mert_encodec_batch *mert_encodec_batch_new(const mert_encodec *m, int decode, int64_t items, int64_t frames,
                                           mert_error *e)
{
    int at;
    mert_encodec_batch *b = empty(m, decode, items, frames, &at);
    if (b) {
        const mert_seanet_stage *g = &b->net->stages[at];
        b->lane = mert_array(items, sizeof *b->lane);
        b->stretch = mert_array(items, sizeof *b->stretch);
        if (at < b->net->n) {
            b->state = 2 * g->layers * g->width;
            b->lstm = mert_seanet_lstm_new(g, items);
        }
        if (b->lane && b->stretch && (b->lstm || at == b->net->n))
            return b;
    }
    mert_encodec_batch_free(b);
    mert_fail(e, "out of memory");
    return NULL;
}

mert_encodec_batch *mert_encodec_batch_new_on(const mert_encodec *m, mert_ops *ops, int64_t use, int64_t items,
                                              int64_t frames, mert_error *e)
{
    int at;
    mert_encodec_batch *b = empty(m, 0, items, frames, &at);
    if (b && (b->on_device = mert_array(items, sizeof *b->on_device))) {
        b->use = use;
        b->device = mert_encodec_device_new(m, ops, use, mert_smaller(frames, TOGETHER), e);
        if (b->device)
            return b;
    } else
        mert_fail(e, "out of memory");
    mert_encodec_batch_free(b);
    return NULL;
}

static void slot_free(slot *s)
{
    free(s->in.x);
    free(s->middle.x);
    free(s->out);
    free(s->state);
    free(s->codes);
    memset(s, 0, sizeof *s);
}

void mert_encodec_batch_free(mert_encodec_batch *b)
{
    if (!b)
        return;
    for (int64_t i = 0; b->slots && i < b->items; i++)
        slot_free(&b->slots[i]);
    mert_seanet_part_free(b->first);
    mert_seanet_part_free(b->last);
    mert_seanet_lstm_free(b->lstm);
    mert_encodec_device_free(b->device);
    free(b->on_device);
    free(b->slots);
    free(b->lane);
    free(b->stretch);
    free(b);
}

int mert_encodec_batch_begin(mert_encodec_batch *b, mert_error *e)
{
    slot *s = &b->slots[b->n];
    if (!s->state && !(s->state = mert_array(b->state + 1, sizeof(float))))
        return mert_fail(e, "out of memory");
    memset(s->state, 0, (size_t)b->state * sizeof(float));
    s->in.before = s->in.n = s->in.gone = 0;
    s->middle.before = s->middle.n = s->middle.gone = 0;
    s->ended = 0;
    b->n++;
    return 0;
}

/* Makes room for n more rows. */
static int queue_room(queue *q, int64_t n, int64_t width, mert_error *e)
{
    int64_t need = q->before + q->n + n, room = mert_larger(2 * q->room, need);
    float *more;
    if (need <= q->room)
        return 0;
    more = mert_array_resize(q->x, mert_array_count(room, width), sizeof *more);
    if (!more)
        return mert_fail(e, "out of memory");
    q->x = more;
    q->room = room;
    return 0;
}

int mert_encodec_batch_add(mert_encodec_batch *b, const float *x, int64_t n, mert_error *e)
{
    queue *q = &b->slots[b->n - 1].in;
    int64_t width = mert_seanet_in(b->net);
    if (queue_room(q, n, width, e))
        return -1;
    memcpy(q->x + (q->before + q->n) * width, x, (size_t)(n * width) * sizeof *x);
    q->n += n;
    b->waiting += n;
    return 0;
}

void mert_encodec_batch_end(mert_encodec_batch *b)
{
    b->slots[b->n - 1].ended = 1;
}

void mert_encodec_batch_drop(mert_encodec_batch *b)
{
    if (!b->n)
        return;
    b->n--;
    b->waiting -= b->slots[b->n].in.n;
}

int mert_encodec_batch_full(const mert_encodec_batch *b)
{
    const slot *last = b->n ? &b->slots[b->n - 1] : NULL;
    int64_t stride = mert_seanet_part_stride(b->first);
    return b->waiting >= b->frames * stride || (last && last->ended && b->n == b->items) ||
           (last && !last->ended && last->in.n >= LONG * stride);
}

/* ---- a run ---- */

/* How many rows of an item are processed now: whole steps, and enough for both parts to begin, unless the item has
 * ended. */
static int64_t rows_now(const mert_encodec_batch *b, const slot *s)
{
    int64_t stride = mert_seanet_part_stride(b->first), up = mert_seanet_part_up(b->first);
    int64_t whole = s->in.n / stride * stride;
    int64_t least = mert_seanet_part_least(b->first), more = (mert_seanet_part_least(b->last) * stride + up - 1) / up;
    if (s->ended)
        return s->in.n;
    return s->in.gone + s->in.before == 0 && whole < (least > more ? least : more) ? 0 : whole;
}

/* Marks n rows of a queue as processed; keeps as many processed rows as the part needs as its past. */
static void used(queue *q, int64_t n, int64_t width, int64_t past)
{
    int64_t drop = q->before + n - past;
    if (drop > 0)
        memmove(q->x, q->x + drop * width, (size_t)((past + q->n - n) * width) * sizeof *q->x);
    drop = drop > 0 ? drop : 0;
    q->gone += drop;
    q->before += n - drop;
    q->n -= n;
}

/* Prepares the input of the first part, and room for its output. */
static int prepare(mert_encodec_batch *b, mert_error *e)
{
    for (int64_t i = 0; i < b->n; i++) {
        slot *s = &b->slots[i];
        int64_t rows = rows_now(b, s), frames = mert_seanet_part_out_rows(b->first, rows);
        if (queue_room(&s->middle, frames, b->width, e))
            return -1;
        s->n_out = mert_seanet_part_out_rows(b->last, frames);
        if (s->n_out > s->out_room) {
            free(s->out);
            s->out_room = 0;
            s->out = mert_array(mert_array_count(s->n_out, mert_seanet_out(b->net)), sizeof *s->out);
            if (!s->out)
                return mert_fail(e, "out of memory");
            s->out_room = s->n_out;
        }
        b->stretch[i] = (mert_seanet_stretch){s->in.x, s->in.before, rows, !s->in.gone,
                                              s->middle.x + s->middle.before * b->width};
        s->middle.n = frames;
    }
    return 0;
}

static int compute(mert_encodec_batch *b, mert_error *e)
{
    if (mert_seanet_part_run(b->first, b->stretch, b->n))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < b->n; i++) {
        slot *s = &b->slots[i];
        int64_t rows = b->stretch[i].rows;
        b->waiting -= rows;
        used(&s->in, rows, mert_seanet_in(b->net), mert_seanet_part_past(b->first));
        b->lane[i] = (mert_seanet_lane){s->middle.x + s->middle.before * b->width, s->state, s->middle.n};
        b->stretch[i] = (mert_seanet_stretch){s->middle.x, s->middle.before, s->middle.n, !s->middle.gone, s->out};
    }
    if (b->lstm)
        mert_seanet_lstm_run(b->lstm, b->lane, b->n);
    if (mert_seanet_part_run(b->last, b->stretch, b->n))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < b->n; i++)
        used(&b->slots[i].middle, b->slots[i].middle.n, b->width, mert_seanet_part_past(b->last));
    return 0;
}

static int compute_on_device(mert_encodec_batch *b, mert_error *e)
{
    for (int64_t i = 0; i < b->n; i++) {
        slot *s = &b->slots[i];
        int64_t rows = rows_now(b, s);
        s->n_out = mert_seanet_part_out_rows(b->first, rows);
        if (s->n_out * b->use > s->code_room) {
            free(s->codes);
            s->code_room = 0;
            s->codes = mert_array(mert_array_count(s->n_out, b->use), sizeof *s->codes);
            if (!s->codes)
                return mert_fail(e, "out of memory");
            s->code_room = s->n_out * b->use;
        }
        b->on_device[i] = (mert_encodec_stretch){s->in.x, s->in.before, rows, !s->ended, s->codes};
    }
    if (mert_encodec_device_run(b->device, b->on_device, b->n, e))
        return -1;
    for (int64_t i = 0; i < b->n; i++) {
        b->waiting -= b->on_device[i].rows;
        used(&b->slots[i].in, b->on_device[i].rows, mert_seanet_in(b->net), mert_seanet_part_past(b->first));
    }
    return 0;
}

/* Hands over what has been computed: embeddings, or codes. */
static int hand_over(mert_encodec_batch *b, mert_encodec_give give, mert_encodec_give_codes give_codes,
                     int (*ended)(void *arg, mert_error *e), void *arg, mert_error *e)
{
    int64_t done = 0;
    for (; done < b->n; done++) {
        slot *s = &b->slots[done];
        if (s->n_out > 0 && (give ? give(arg, s->out, s->n_out, e) : give_codes(arg, s->codes, s->n_out, e)))
            return -1;
        if (!s->ended)
            break;
        /* otherwise each slot would keep the memory of its longest item */
        if (s->middle.room > LONG || s->code_room > LONG * b->use)
            slot_free(s);
        if (ended(arg, e))
            return -1;
    }
    if (done && done < b->n) { /* moves the open item to the first slot */
        slot open = b->slots[done];
        b->slots[done] = b->slots[0];
        b->slots[0] = open;
    }
    b->n -= done;
    return 0;
}

int mert_encodec_batch_run(mert_encodec_batch *b, mert_encodec_give give, int (*ended)(void *arg, mert_error *e),
                           void *arg, mert_error *e)
{
    return prepare(b, e) || compute(b, e) || hand_over(b, give, NULL, ended, arg, e) ? -1 : 0;
}

int mert_encodec_batch_run_on(mert_encodec_batch *b, mert_encodec_give_codes give,
                              int (*ended)(void *arg, mert_error *e), void *arg, mert_error *e)
{
    return compute_on_device(b, e) || hand_over(b, NULL, give, ended, arg, e) ? -1 : 0;
}
