#include "encodec_batch.h"

#include "seanet_lstm.h"

#include <stdlib.h>
#include <string.h>

typedef struct slot {
    mert_seanet_item *past;
    float *waiting;        /* [room, width] before the LSTM */
    int64_t n, room;
    int ended;
} slot;

struct mert_encodec_batch {
    const mert_encodec *m;
    const mert_seanet *net;
    int at;                /* the LSTM's stage */
    int64_t width, block;  /* of the LSTM; samples that go through the first stages at a time */
    mert_seanet_work *work;
    slot *slots;           /* [items], the first n in use */
    mert_seanet_lane *lane;
    int64_t items, n, frames, waiting;
    float *held;           /* [block] samples of the open item that wait for a whole block */
    int64_t n_held;
};

mert_encodec_batch *mert_encodec_batch_new(const mert_encodec *m, int64_t items, int64_t frames, mert_error *e)
{
    mert_encodec_batch *b = calloc(1, sizeof *b);
    if (!b)
        goto fail;
    b->m = m;
    b->net = &m->encoder;
    b->at = mert_seanet_lstm_stage(b->net);
    b->width = b->at < b->net->n ? b->net->stages[b->at].width : mert_seanet_out(b->net);
    b->block = m->block;
    b->items = items;
    b->frames = frames;
    b->work = mert_seanet_work_new(b->net, b->block, items);
    b->slots = calloc((size_t)items, sizeof *b->slots);
    b->lane = malloc((size_t)items * sizeof *b->lane);
    b->held = malloc((size_t)b->block * sizeof *b->held);
    if (b->work && b->slots && b->lane && b->held)
        return b;
fail:
    mert_encodec_batch_free(b);
    mert_fail(e, "out of memory");
    return NULL;
}

void mert_encodec_batch_free(mert_encodec_batch *b)
{
    if (!b)
        return;
    for (int64_t i = 0; b->slots && i < b->items; i++) {
        mert_seanet_item_free(b->slots[i].past);
        free(b->slots[i].waiting);
    }
    mert_seanet_work_free(b->work);
    free(b->slots);
    free(b->lane);
    free(b->held);
    free(b);
}

int mert_encodec_batch_begin(mert_encodec_batch *b, mert_error *e)
{
    slot *s = &b->slots[b->n];
    if (!s->past && !(s->past = mert_seanet_item_new(b->net)))
        return mert_fail(e, "out of memory");
    mert_seanet_item_reset(s->past);
    s->n = 0;
    s->ended = 0;
    b->n_held = 0;
    b->n++;
    return 0;
}

static int first_stages(mert_encodec_batch *b, int last, mert_error *e)
{
    slot *s = &b->slots[b->n - 1];
    int64_t n;
    const float *y = mert_seanet_run_part(b->net, 0, b->at, s->past, b->work, b->held, b->n_held, last, &n);
    b->n_held = 0;
    if (s->n + n > s->room) {
        int64_t room = 2 * s->room > s->n + n ? 2 * s->room : s->n + n + 256;
        float *more = realloc(s->waiting, (size_t)(room * b->width) * sizeof *more);
        if (!more)
            return mert_fail(e, "out of memory");
        s->waiting = more;
        s->room = room;
    }
    memcpy(s->waiting + s->n * b->width, y, (size_t)(n * b->width) * sizeof *y);
    s->n += n;
    b->waiting += n;
    return 0;
}

int mert_encodec_batch_add(mert_encodec_batch *b, const float *samples, int64_t n, mert_error *e)
{
    while (n > 0) {
        int64_t m = b->block - b->n_held < n ? b->block - b->n_held : n;
        memcpy(b->held + b->n_held, samples, (size_t)m * sizeof *samples);
        b->n_held += m;
        samples += m;
        n -= m;
        if (b->n_held == b->block && first_stages(b, 0, e))
            return -1;
    }
    return 0;
}

int mert_encodec_batch_end(mert_encodec_batch *b, mert_error *e)
{
    b->slots[b->n - 1].ended = 1;
    return b->n_held ? first_stages(b, 1, e) : 0;
}

void mert_encodec_batch_drop(mert_encodec_batch *b)
{
    if (!b->n)
        return;
    b->n--;
    b->waiting -= b->slots[b->n].n;
    b->slots[b->n].n = 0;
    b->n_held = 0;
}

/* Frames of one item that are enough: a long one does not wait for its end, so that memory does not grow with its length. */
enum { LONG = 4096 };

int mert_encodec_batch_full(const mert_encodec_batch *b)
{
    const slot *last = b->n ? &b->slots[b->n - 1] : NULL;
    return b->waiting >= b->frames || (last && last->ended && b->n == b->items) || (last && !last->ended && last->n >= LONG);
}

/* What stands behind the LSTM, in blocks of frames. An item that has ended with its last block whole had no samples
 * left for a last call: nothing of it is still to come, as no stage here pads on the right. */
static int last_stages(mert_encodec_batch *b, slot *s, mert_encodec_give give, void *arg, mert_error *e)
{
    int64_t frames = b->block / b->m->hop, n;
    int behind = b->at < b->net->n ? b->at + 1 : b->at;
    for (int64_t at = 0; at < s->n; at += frames) {
        int64_t m = s->n - at < frames ? s->n - at : frames;
        const float *x = s->waiting + at * b->width;
        const float *y = mert_seanet_run_part(b->net, behind, b->net->n, s->past, b->work, x, m,
                                              s->ended && at + m == s->n, &n);
        if (n > 0 && give(arg, y, n, e))
            return -1;
    }
    b->waiting -= s->n;
    s->n = s->room = 0;
    free(s->waiting); /* or the longest item that each slot ever had would stay */
    s->waiting = NULL;
    return 0;
}

int mert_encodec_batch_run(mert_encodec_batch *b, mert_encodec_give give, int (*ended)(void *arg, mert_error *e),
                           void *arg, mert_error *e)
{
    int64_t done = 0;
    mert_seanet_lstm *lstm = mert_seanet_work_lstm(b->work);
    for (int64_t i = 0; i < b->n; i++)
        b->lane[i] = (mert_seanet_lane){b->slots[i].waiting, mert_seanet_lstm_state(b->net, b->slots[i].past),
                                        b->slots[i].n};
    if (lstm && b->n)
        mert_seanet_lstm_run(lstm, b->lane, b->n);
    for (; done < b->n; done++) {
        slot *s = &b->slots[done];
        if (last_stages(b, s, give, arg, e))
            return -1;
        if (!s->ended)
            break;
        if (ended(arg, e))
            return -1;
    }
    if (done && done < b->n) { /* the open item becomes the first */
        slot open = b->slots[done];
        b->slots[done] = b->slots[0];
        b->slots[0] = open;
    }
    b->n -= done;
    return 0;
}
