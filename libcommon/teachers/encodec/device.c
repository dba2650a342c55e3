#include "libcommon/teachers/encodec/device_internal.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/nn/no_room.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SCORES = 1 << 13 }; /* rows whose scores are in memory at a time */

/* What grows with the largest call. */
typedef enum room {
    ROWS_A,    /* rows between two stages, in turn with */
    ROWS_B,
    PADDED,    /* the input of a convolution */
    HIDDEN,    /* between the convolutions of a residual block */
    MIDDLE,    /* the input of the LSTM, [R, W], which is added to its output */
    LAYER_A,   /* the output of a layer of the LSTM, [R, W], in turn with */
    LAYER_B,
    GATES,     /* [R, 4 W] */
    SCORES_OF, /* [SCORES, V] */
    LABELS,    /* i32 [R, use] */
    STATES,    /* [layers][stretches][2][W] */
    SPANS,     /* of pieces, of the LSTM's stretches, and of those behind it */
    ROOMS
} room;

/* An item that goes on in the next call. */
typedef struct carried {
    float *state;       /* [layers][2][W] */
    mert_element *rows; /* [past, W]: output of the LSTM that the last stages still need */
    int64_t n;          /* number of these rows */
} carried;

/* A part of a stretch that the stages before the LSTM take at a time. */
typedef struct piece {
    int64_t stretch, from, rows; /* rows of its x, with those that are computed again */
    int64_t skip, frames;        /* frames of the latter, and new ones */
    int64_t to;                  /* row of MIDDLE */
    int64_t end, T;              /* of the first piece of those that are taken together: the first one after them; the
                                    rows of all of them */
} piece;

struct mert_encodec_device {
    mert_device_weights weights;
    mert_ops *ops;
    mert_seanet_part *first, *last; /* sizes alone */
    int64_t hop, W, D, V, use, at, layers, frames, past;
    struct { void *p; size_t bytes; } rooms[ROOMS];
    carried carried[2];
    int current; /* of the last call that succeeded */
    /* the running call, in memory of the host */
    piece *pieces;
    mert_span *spans; /* [pieces + 2 * stretches] */
    int32_t *labels;  /* [R, use] */
    int64_t n_pieces, R, longest;
};

/* ---- sizes ---- */

static int64_t up_to(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

static int64_t stride_of(const mert_device_stage *g)
{
    return g->kind == MERT_SEANET_CONV ? g->conv.stride : 1;
}

/* The number of rows that an item with so many takes, so that it has room for its padding in front of all stages. */
static int64_t place_of(const mert_encodec_device *d, int first, int end, int64_t rows)
{
    int64_t most = rows, scale = 1;
    for (int i = first; i < end; i++) {
        const mert_device_conv *c = &d->weights.stages[i].conv;
        most = mert_larger(most, (up_to((rows + scale - 1) / scale, c->stride) + c->left) * scale);
        scale *= stride_of(&d->weights.stages[i]);
    }
    return up_to(most, scale);
}

/* Numbers of the largest arrays that stages need for T rows of input: between stages, padded, hidden. */
static void sizes_of(const mert_encodec_device *d, int first, int end, int64_t T, int64_t size[3])
{
    size[0] = T * d->weights.stages[first].conv.in;
    for (int i = first; i < end; i++) {
        const mert_device_stage *g = &d->weights.stages[i];
        int64_t out = g->kind == MERT_SEANET_RESIDUAL ? g->second.out : g->conv.out;
        size[1] = mert_larger(size[1], (T + g->conv.left) * g->conv.in);
        if (g->kind == MERT_SEANET_RESIDUAL)
            size[2] = mert_larger(size[2], T * g->conv.out);
        T /= stride_of(g);
        size[0] = mert_larger(size[0], T * out);
    }
}

/* ---- opening ---- */

void mert_encodec_device_free(mert_encodec_device *d)
{
    if (!d)
        return;
    for (int i = 0; i < ROOMS; i++)
        d->ops->release(d->ops, d->rooms[i].p);
    for (int i = 0; i < 2; i++) {
        d->ops->release(d->ops, d->carried[i].state);
        d->ops->release(d->ops, d->carried[i].rows);
    }
    mert_device_weights_free(&d->weights);
    mert_seanet_part_free(d->first);
    mert_seanet_part_free(d->last);
    free(d);
}

mert_encodec_device *mert_encodec_device_new(const mert_encodec *m, mert_ops *ops, int64_t use, int64_t frames,
                                             mert_error *e)
{
    mert_encodec_device *d = calloc(1, sizeof *d);
    const mert_seanet *net = &m->encoder;
    int bad = 0;
    if (!d) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    d->ops = ops;
    d->at = mert_seanet_lstm_stage(net);
    d->first = mert_seanet_part_new(net, 0, (int)d->at);
    d->last = mert_seanet_part_new(net, (int)d->at + 1, net->n);
    if (!d->first || !d->last)
        bad = mert_fail(e, "out of memory");
    if (!bad && !mert_device_weights_load(&d->weights, m, ops, use, e)) {
        d->hop = m->hop, d->W = net->stages[d->at].width, d->layers = net->stages[d->at].layers;
        d->D = m->quantiser->width, d->V = m->quantiser->classes;
        d->use = use, d->frames = frames, d->past = mert_seanet_part_past(d->last);
        for (int i = 0; i < 2; i++) {
            d->carried[i].state = mert_ops_floats(ops, d->layers * 2 * d->W);
            d->carried[i].rows = mert_ops_elements(ops, d->past * d->W);
            if (!d->carried[i].state || !d->carried[i].rows)
                bad = mert_fail(e, "out of memory");
        }
        if (!bad)
            return d;
    }
    mert_encodec_device_free(d);
    return NULL;
}

/* ---- the plan of a call: where everything stands ---- */

static int continues(const mert_encodec_stretch *s)
{
    return s->before > 0;
}

/* Cuts a stretch into pieces of at most d->frames frames. */
static void cut(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t stretch, int64_t to)
{
    int64_t past = mert_seanet_part_past(d->first), each = mert_larger(d->frames * d->hop,
                                                                      mert_seanet_part_least(d->first));
    for (int64_t at = 0; at < s->rows; at += each) {
        int64_t rows = mert_smaller(each, s->rows - at), first = s->before + at;
        int64_t from = mert_larger(first - past, 0);
        d->pieces[d->n_pieces++] = (piece){stretch, from, first + rows - from, (first - from) / d->hop,
                                           (rows + d->hop - 1) / d->hop, to + at / d->hop, 0, 0};
    }
}

/* Groups the pieces that are taken together, and places them. What is before row 0 of a stretch is reflected; where
 * that is not an item's beginning, only rows that are computed again depend on it. */
static void group(mert_encodec_device *d)
{
    for (int64_t i = 0, first = 0; i < d->n_pieces; i++) {
        const piece *p = &d->pieces[i];
        int64_t rows = place_of(d, 0, (int)d->at, p->rows);
        if (i > first && d->pieces[first].T + rows > d->frames * d->hop)
            first = i;
        d->spans[i] = (mert_span){d->pieces[first].T, p->rows, !p->from, 0};
        d->pieces[first].T += rows;
        d->pieces[first].end = i + 1;
    }
}

/* Places the n stretches in MIDDLE, and their pieces. */
static int plan(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t n, mert_error *e)
{
    const carried *c = &d->carried[d->current];
    int64_t pieces = 0;
    mert_span *lstm, *last;
    for (int64_t i = 0; i < n; i++)
        pieces += s[i].rows / (d->frames * d->hop) + 1;
    d->pieces = mert_array(pieces, sizeof *d->pieces);
    d->spans = mert_array(pieces + 2 * n, sizeof *d->spans);
    if (!d->pieces || !d->spans)
        return mert_fail(e, "out of memory");
    lstm = d->spans + pieces;
    last = lstm + n;
    d->n_pieces = d->R = d->longest = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t kept = continues(&s[i]) ? c->n : 0, frames = (s[i].rows + d->hop - 1) / d->hop;
        lstm[i] = (mert_span){d->R + kept, frames, 0, i};
        last[i] = (mert_span){d->R, kept + frames, !continues(&s[i]), 0};
        cut(d, &s[i], i, d->R + kept);
        d->longest = mert_larger(d->longest, frames);
        d->R += place_of(d, (int)d->at + 1, d->weights.n, kept + frames);
    }
    group(d);
    memmove(d->spans + d->n_pieces, lstm, (size_t)(2 * n) * sizeof *lstm);
    d->labels = mert_array(mert_array_count(d->R, d->use), sizeof *d->labels);
    return d->labels ? 0 : mert_fail(e, "out of memory");
}

static int have(mert_encodec_device *d, room r, size_t bytes, mert_error *e)
{
    mert_ops *ops = d->ops;
    if (bytes <= d->rooms[r].bytes)
        return 0;
    ops->release(ops, d->rooms[r].p);
    d->rooms[r].bytes = 0;
    d->rooms[r].p = ops->alloc(ops, bytes);
    if (!d->rooms[r].p)
        return mert_fail(e, "out of memory for %" PRId64 " frames", d->R);
    d->rooms[r].bytes = bytes;
    return 0;
}

static int reserve(mert_encodec_device *d, int64_t n, mert_error *e)
{
    mert_ops *ops = d->ops;
    int64_t size[3] = {0}, one[3] = {0}, R = d->R;
    for (int64_t i = 0; i < d->n_pieces; i = d->pieces[i].end) {
        sizes_of(d, 0, (int)d->at, d->pieces[i].T, one);
        for (int k = 0; k < 3; k++)
            size[k] = mert_larger(size[k], one[k]);
    }
    memset(one, 0, sizeof one);
    sizes_of(d, (int)d->at + 1, d->weights.n, R, one);
    for (int k = 0; k < 3; k++)
        size[k] = mert_larger(size[k], one[k]);
#define ELEMENTS(n) mert_element_bytes(ops, n)
    return have(d, ROWS_A, ELEMENTS(size[0]), e) || have(d, ROWS_B, ELEMENTS(size[0]), e) ||
           have(d, PADDED, ELEMENTS(size[1]), e) || have(d, HIDDEN, ELEMENTS(size[2]), e) ||
           have(d, MIDDLE, ELEMENTS(R * d->W), e) || have(d, LAYER_A, ELEMENTS(R * d->W), e) ||
           have(d, LAYER_B, ELEMENTS(R * d->W), e) || have(d, GATES, ELEMENTS(R * 4 * d->W), e) ||
           have(d, SCORES_OF, ELEMENTS(mert_smaller(R, SCORES) * d->V), e) ||
           have(d, LABELS, (size_t)(R * d->use) * sizeof(int32_t), e) ||
           have(d, STATES, (size_t)(d->layers * n * 2 * d->W) * sizeof(float), e) ||
           have(d, SPANS, (size_t)(d->n_pieces + 2 * n) * sizeof(mert_span), e) ? -1 : 0;
#undef ELEMENTS
}

/* ---- queueing ---- */

/* y [rows, n] = (residual +) x w^T + bias; add: y += */
static void queue_product(mert_encodec_device *d, const mert_device_product *p, const mert_element *x, int64_t rows,
                          mert_element *y, int add, const mert_element *residual)
{
    mert_gemm(d->ops, .M = rows, .N = p->n, .K = p->k, .a = x, .lda = p->k, .b = p->w, .ldb = p->k, .tb = 1, .c = y,
              .ldc = p->n, .packed = p->packed, .add = add, .bias = p->bias, .residual = residual);
}

/* y [T / stride, out] from x, which is padded: [T + left, in] */
static void queue_conv(mert_encodec_device *d, const mert_device_conv *c, const mert_element *x, int64_t T,
                       mert_element *y)
{
    const mert_device_product *p = &c->product;
    if (c->dilation == 1) {
        mert_conv_shape s = {1, T + c->left, T / c->stride, c->in, c->out, c->kernel, c->stride};
        mert_conv(d->ops, .y = y, .x = x, .w = p->w, .bias = p->bias, .shape = s, .packed = p->packed);
        return;
    }
    for (int64_t k = 0; k < c->kernel; k++)
        mert_gemm(d->ops, .M = T, .N = c->out, .K = c->in, .a = mert_const_at(d->ops, x, k * c->dilation * c->in),
                  .lda = c->in, .b = p->packed ? (const void *)((const float *)(const void *)p->w + k * p->step)
                                               : mert_const_at(d->ops, p->w, k * p->step),
                  .ldb = c->kernel * c->in, .tb = 1, .c = y, .ldc = c->out, .packed = p->packed, .add = k > 0,
                  .bias = k == c->kernel - 1 ? p->bias : NULL);
}

/* Stages [first, end) on T rows x, in which the spans are; the result is in ROWS_A or ROWS_B. */
static mert_element *queue_stages(mert_encodec_device *d, int first, int end, mert_element *x, int64_t T,
                                  const mert_span *spans, int64_t n)
{
    mert_ops *ops = d->ops;
    mert_element *padded = d->rooms[PADDED].p, *hidden = d->rooms[HIDDEN].p;
    int64_t scale = 1;
    for (int i = first; i < end; i++) {
        const mert_device_stage *g = &d->weights.stages[i];
        mert_element *y = x == d->rooms[ROWS_A].p ? d->rooms[ROWS_B].p : d->rooms[ROWS_A].p;
        mert_pad(ops, .y = padded, .x = x, .spans = spans, .n = n, .T = T, .C = g->conv.in, .scale = scale,
                 .left = g->conv.left, .stride = g->conv.stride, .elu = g->elu);
        if (g->kind == MERT_SEANET_CONV)
            queue_conv(d, &g->conv, padded, T, y);
        else {
            queue_conv(d, &g->conv, padded, T, hidden);
            mert_elu(ops, .y = hidden, .x = hidden, .n = T * g->conv.out);
            if (g->shortcut.out)
                queue_product(d, &g->shortcut.product, x, T, y, 0, NULL);
            queue_product(d, &g->second.product, hidden, T, y, g->shortcut.out > 0, g->shortcut.out ? NULL : x);
        }
        T /= stride_of(g);
        scale *= stride_of(g);
        x = y;
    }
    return x;
}

/* The stages before the LSTM, a group of pieces at a time: into MIDDLE. */
static void queue_first(mert_encodec_device *d, const mert_encodec_stretch *s)
{
    mert_ops *ops = d->ops;
    mert_element *middle = d->rooms[MIDDLE].p, *x = d->rooms[ROWS_A].p;
    mert_clear(ops, .to = middle, .bytes = mert_element_bytes(ops, d->R * d->W));
    for (int64_t i = 0; i < d->n_pieces; i = d->pieces[i].end) {
        const mert_span *spans = (const mert_span *)d->rooms[SPANS].p + i;
        int64_t end = d->pieces[i].end;
        mert_element *y;
        for (int64_t k = i; k < end; k++) {
            const piece *p = &d->pieces[k];
            ops->upload(ops, mert_at(ops, x, d->spans[k].at), s[p->stretch].x + p->from,
                        (size_t)p->rows * sizeof(float));
        }
        y = queue_stages(d, 0, (int)d->at, x, d->pieces[i].T, spans, end - i);
        for (int64_t k = i; k < end; k++) {
            const piece *p = &d->pieces[k];
            mert_copy(ops, .to = mert_at(ops, middle, p->to * d->W),
                      .from = mert_at(ops, y, (d->spans[k].at / d->hop + p->skip) * d->W),
                      .bytes = mert_element_bytes(ops, p->frames * d->W));
        }
    }
}

/* Copies a carried item's state to or from that of stretch i. */
static void queue_state(mert_encodec_device *d, const carried *c, int64_t i, int64_t n, int back)
{
    for (int64_t l = 0; l < d->layers; l++) {
        float *state = (float *)d->rooms[STATES].p + (l * n + i) * 2 * d->W, *kept = c->state + l * 2 * d->W;
        mert_copy(d->ops, .to = back ? kept : state, .from = back ? state : kept,
                  .bytes = (size_t)(2 * d->W) * sizeof *state);
    }
}

/* The LSTM, and what it adds to: [R, W], with the rows of the carried item before those of its stretch. */
static mert_element *queue_lstm(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t n)
{
    mert_ops *ops = d->ops;
    const mert_device_stage *g = &d->weights.stages[d->at];
    const carried *c = &d->carried[d->current];
    float *states = d->rooms[STATES].p;
    const mert_span *spans = (const mert_span *)d->rooms[SPANS].p + d->n_pieces;
    mert_element *x = d->rooms[MIDDLE].p, *gates = d->rooms[GATES].p;
    mert_clear(ops, .to = states, .bytes = (size_t)(d->layers * n * 2 * d->W) * sizeof *states);
    if (continues(&s[0]))
        queue_state(d, c, 0, n, 0);
    for (int64_t l = 0; l < d->layers; l++) {
        mert_element *y = d->rooms[l % 2 ? LAYER_B : LAYER_A].p;
        queue_product(d, &g->input[l], x, d->R, gates, 0, NULL);
        mert_clear(ops, .to = y, .bytes = mert_element_bytes(ops, d->R * d->W));
        mert_lstm(ops, .y = y, .state = states + l * n * 2 * d->W, .gates = gates, .w = g->recurrent[l],
                  .spans = spans, .n = n, .longest = d->longest, .T = d->R, .W = d->W);
        x = y;
    }
    mert_axpy(ops, .to = x, .from = d->rooms[MIDDLE].p, .n = d->R * d->W);
    if (continues(&s[0]))
        mert_copy(ops, .to = x, .from = c->rows, .bytes = mert_element_bytes(ops, c->n * d->W));
    return x;
}

/* Keeps what the last stretch's item needs in the next call. */
static carried queue_carry(mert_encodec_device *d, const mert_element *x, int64_t n)
{
    const mert_span *last = &d->spans[d->n_pieces + 2 * n - 1];
    carried c = d->carried[!d->current];
    c.n = mert_smaller(d->past, last->rows);
    queue_state(d, &c, n - 1, n, 1);
    mert_copy(d->ops, .to = c.rows, .from = mert_const_at(d->ops, x, (last->at + last->rows - c.n) * d->W),
              .bytes = mert_element_bytes(d->ops, c.n * d->W));
    return c;
}

/* The last stages, and the codes of all rows. */
static void queue_last(mert_encodec_device *d, mert_element *x, int64_t n)
{
    mert_ops *ops = d->ops;
    int32_t *labels = d->rooms[LABELS].p;
    const mert_span *spans = (const mert_span *)d->rooms[SPANS].p + d->n_pieces + n;
    mert_element *rows = queue_stages(d, (int)d->at + 1, d->weights.n, x, d->R, spans, n);
    for (int64_t at = 0; at < d->R; at += SCORES)
        for (int64_t k = 0; k < d->use; k++) {
            const mert_device_codebook *b = &d->weights.codebooks[k];
            int64_t some = mert_smaller(SCORES, d->R - at);
            mert_element *scores = d->rooms[SCORES_OF].p, *z = mert_at(ops, rows, at * d->D);
            queue_product(d, &b->product, z, some, scores, 0, NULL);
            mert_nearest(ops, .label = labels + at * d->use + k, .x = z, .scores = scores, .words = b->words,
                         .rows = some, .V = d->V, .D = d->D, .ldlabel = d->use, .reach = b->reach);
        }
    ops->download(ops, d->labels, labels, (size_t)(d->R * d->use) * sizeof *labels);
}

/* ---- a call ---- */

/* n > 0 stretches that have rows. */
static int run(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t n, mert_error *e)
{
    mert_ops *ops = d->ops;
    mert_element *x;
    carried c = {0};
    if (plan(d, s, n, e) || reserve(d, n, e))
        return -1;
    ops->upload(ops, d->rooms[SPANS].p, d->spans, (size_t)(d->n_pieces + 2 * n) * sizeof *d->spans);
    queue_first(d, s);
    x = queue_lstm(d, s, n);
    if (s[n - 1].more)
        c = queue_carry(d, x, n);
    queue_last(d, x, n);
    if (ops->wait(ops, e)) {
        ops->renew(ops, NULL);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        const mert_span *span = &d->spans[d->n_pieces + i];
        memcpy(s[i].codes, d->labels + span->at * d->use, (size_t)(span->rows * d->use) * sizeof *d->labels);
    }
    if (s[n - 1].more) {
        d->current = !d->current;
        d->carried[d->current] = c;
    }
    return 0;
}

int mert_encodec_device_run(mert_encodec_device *d, const mert_encodec_stretch *s, int64_t n, mert_error *e)
{
    mert_encodec_stretch *some = mert_array(n, sizeof *some);
    int64_t m = 0;
    int bad;
    if (!some)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < n; i++)
        if (s[i].rows > 0)
            some[m++] = s[i];
    bad = m > 0 && run(d, some, m, e);
    if (bad)
        mert_ops_no_room(d->ops, "a smaller --batch takes less", e);
    free(some);
    free(d->pieces);
    free(d->spans);
    free(d->labels);
    d->pieces = NULL;
    d->spans = NULL;
    d->labels = NULL;
    return bad ? -1 : 0;
}
