#include "libcommon/teachers/encodec/seanet.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <stdlib.h>
#include <string.h>

/* BLOCK: a stage processes as many rows at a time as keep its input and output within this number of floats (0.2 MB: a
 * cache), but at least STEPS, because its weights are in a slower cache. PIECE_FLOATS, PIECES: size and number of
 * pieces. */
enum { BLOCK = 49152, STEPS = 48, PIECE_FLOATS = 1 << 14, PIECES = 8 };

/* The state of a stage in one thread. New input is placed after the past rows that are kept. */
typedef struct place {
    const mert_seanet_stage *g;
    int elu;           /* its input gets ELU first */
    float *padded;     /* [left + room + stride, in]: past rows, waiting rows, rows that complete the last step */
    float *raw;        /* residual: [room, in], the same rows before ELU */
    float *hidden;     /* residual: [want, between its two convs] */
    int64_t in, out, room, want;
    int64_t at, n;     /* the first waiting row, and the number of waiting rows */
    int started;
} place;

typedef struct flow {
    place of[MERT_SEANET_STAGES + 1]; /* the last one collects the output */
    int n;
    int64_t skip;      /* output rows that are still to be dropped */
    float *to;
} flow;

struct mert_seanet_part {
    const mert_seanet_stage *stages;
    int n, workers;
    int64_t in, out, stride, up, past, least;
    flow *flow;        /* [workers] */
};

/* ---- sizes ---- */

static int64_t out_of(const mert_seanet_stage *g)
{
    return g->kind == MERT_SEANET_RESIDUAL ? g->second.out : g->conv.out;
}

static int64_t up_to(int64_t n, int64_t step)
{
    return (n + step - 1) / step * step;
}

mert_seanet_part *mert_seanet_part_new(const mert_seanet *s, int first, int end)
{
    mert_seanet_part *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->stages = s->stages + first;
    p->n = end - first;
    p->stride = p->up = p->least = 1;
    p->in = p->n ? p->stages[0].conv.in : mert_seanet_out(s);
    p->out = p->n ? out_of(&p->stages[p->n - 1]) : p->in;
    for (int i = 0; i < p->n; i++) {
        const mert_seanet_conv *c = &p->stages[i].conv;
        p->past += (c->left * p->stride + p->up - 1) / p->up;
        if (!c->zero_past)
            p->least = mert_larger(p->least, ((c->left + 1) * p->stride + p->up - 1) / p->up);
        p->stride *= c->stride;
        p->up *= c->up;
    }
    /* the mirror image at an item's end needs less than a step of past rows */
    p->past = up_to(p->past, p->stride) + p->stride;
    p->least = up_to(p->least, p->stride);
    return p;
}

static void flow_free(flow *f)
{
    for (int i = 0; i <= f->n; i++) {
        free(f->of[i].padded);
        free(f->of[i].raw);
        free(f->of[i].hidden);
    }
}

void mert_seanet_part_free(mert_seanet_part *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->workers; i++)
        flow_free(&p->flow[i]);
    free(p->flow);
    free(p);
}

int64_t mert_seanet_part_out(const mert_seanet_part *p) { return p->out; }
int64_t mert_seanet_part_stride(const mert_seanet_part *p) { return p->stride; }
int64_t mert_seanet_part_up(const mert_seanet_part *p) { return p->up; }
int64_t mert_seanet_part_past(const mert_seanet_part *p) { return p->past; }
int64_t mert_seanet_part_least(const mert_seanet_part *p) { return p->least; }

int64_t mert_seanet_part_out_rows(const mert_seanet_part *p, int64_t rows)
{
    return (rows + p->stride - 1) / p->stride * p->up;
}

static float *floats(int64_t n)
{
    return aligned_alloc(64, (size_t)up_to(n + 16, 16) * sizeof(float));
}

static int flow_init(flow *f, const mert_seanet_part *p)
{
    int64_t comes = 0; /* rows that the previous stage passes on at a time */
    f->n = p->n;
    for (int i = 0; i < p->n; i++) {
        place *s = &f->of[i];
        const mert_seanet_stage *g = &p->stages[i];
        const mert_seanet_conv *c = &g->conv;
        int64_t wide = mert_larger(c->in, (out_of(g) * c->up + c->stride - 1) / c->stride);
        s->g = g;
        s->elu = g->elu || g->kind == MERT_SEANET_RESIDUAL;
        s->in = c->in;
        s->out = out_of(g);
        s->want = up_to(mert_larger(mert_larger(BLOCK / wide, c->left + 1), STEPS * c->stride), c->stride);
        s->room = s->want + comes;
        comes = s->want / c->stride * c->up;
        s->padded = floats((c->left + s->room + c->stride) * s->in);
        if (g->kind == MERT_SEANET_RESIDUAL) {
            s->raw = floats(s->room * s->in);
            s->hidden = floats(s->want * c->out);
        }
        if (!s->padded || (g->kind == MERT_SEANET_RESIDUAL && (!s->raw || !s->hidden)))
            return -1;
    }
    f->of[p->n].padded = floats(comes * p->out);
    f->of[p->n].in = p->out;
    return f->of[p->n].padded ? 0 : -1;
}

static int flows(mert_seanet_part *p)
{
    int workers = mert_pool_threads();
    flow *more;
    if (workers <= p->workers)
        return 0;
    more = mert_array_resize(p->flow, workers, sizeof *more);
    if (!more)
        return -1;
    p->flow = more;
    while (p->workers < workers) {
        flow *f = &p->flow[p->workers];
        memset(f, 0, sizeof *f);
        if (flow_init(f, p)) {
            flow_free(f);
            return -1;
        }
        p->workers++;
    }
    return 0;
}

/* ---- a stage ---- */

/* Row p of an item's L padded rows, p in [-left, L + right): reflected at both ends; an item that is too short for that
 * is first extended by zeros (EnCodec's pad1d). NULL: zeros. first: the row p = 0. */
static const float *reflected(const float *first, int64_t width, int64_t L, int64_t left, int64_t right, int64_t p)
{
    int64_t longest = mert_larger(left, right), extended = L > longest ? L : longest + 1;
    if (p < 0)
        p = -p;
    else if (p >= extended)
        p = 2 * extended - 2 - p;
    return p < L ? first + p * width : NULL;
}

static void put_row(float *to, const float *row, int64_t width)
{
    if (row)
        memmove(to, row, (size_t)width * sizeof *to);
    else
        memset(to, 0, (size_t)width * sizeof *to);
}

/* Adds the mirrored rows at the beginning and, if the item ends inside a step, at the end. Returns the number of
 * steps. */
static int64_t complete(const place *s, float *now, int64_t rows)
{
    const mert_seanet_conv *c = &s->g->conv;
    int64_t more = (c->stride - rows % c->stride) % c->stride;
    if (!s->started && !c->zero_past)
        for (int64_t p = -c->left; p < 0; p++)
            put_row(now + p * s->in, reflected(now, s->in, rows, c->left, more, p), s->in);
    /* Later blocks have past rows, so the rows to mirror at the end exist; they are taken as the item's beginning. */
    for (int64_t p = rows; p < rows + more; p++)
        put_row(now + p * s->in, s->started ? now + (2 * rows - 2 - p) * s->in
                                            : reflected(now, s->in, rows, c->left, more, p), s->in);
    return (rows + more) / c->stride;
}

/* Makes room after the waiting rows: drops used rows, but not the past that is needed. */
static void make_room(place *s)
{
    int64_t left = s->g ? s->g->conv.left : 0;
    if (!s->at)
        return;
    memmove(s->padded, s->padded + s->at * s->in, (size_t)((left + s->n) * s->in) * sizeof(float));
    if (s->raw)
        memmove(s->raw, s->raw + s->at * s->in, (size_t)(s->n * s->in) * sizeof(float));
    s->at = 0;
}

/* Runs a stage on its next `rows` waiting rows; the output is added to the waiting rows of the next stage. */
static void run_stage(place *s, place *next, int64_t rows)
{
    const mert_seanet_stage *g = s->g;
    const mert_seanet_conv *c = &g->conv;
    float *padded = s->padded + s->at * s->in, *now = padded + c->left * s->in, *y, *keep = NULL;
    const float *raw = s->raw ? s->raw + s->at * s->in : NULL;
    int64_t steps = complete(s, now, rows);
    mert_panel_product last;
    make_room(next);
    y = next->padded + ((next->g ? next->g->conv.left : 0) + next->n) * next->in;
    if (next->raw)
        keep = next->raw + next->n * next->in;
    if (g->kind == MERT_SEANET_CONV)
        last = mert_rows_product(c->product, padded, c->stride * c->in, steps, y, c->up * c->out, 0);
    else {
        mert_rows_apply(c->product, padded, c->in, rows, s->hidden, c->out, MERT_ROWS_ELU);
        if (g->shortcut.product)
            mert_rows_apply(g->shortcut.product, raw, c->in, rows, y, s->out, 0);
        else
            memcpy(y, raw, (size_t)(rows * s->out) * sizeof *y);
        last = mert_rows_product(g->second.product, s->hidden, c->out, rows, y, s->out, MERT_ROWS_ADD);
    }
    last.pre = keep;
    last.flags |= next->elu ? MERT_ROWS_ELU : 0;
    mert_panels_run(&last);
    next->n += steps * c->up;
    s->started = 1;
    s->at += rows;
    s->n -= rows;
}

/* Copies the output of the last stage to the caller. */
static void hand_over(flow *f)
{
    place *s = &f->of[f->n];
    int64_t drop = mert_smaller(f->skip, s->n), n = (s->n - drop) * s->in;
    memcpy(f->to, s->padded + drop * s->in, (size_t)n * sizeof *f->to);
    f->to += n;
    f->skip -= drop;
    s->n = 0;
}

/* Processes all whole waiting blocks of stage i; to_end: all rows, because the piece has no more. */
static void advance(flow *f, int i, int to_end)
{
    place *s = &f->of[i];
    if (i == f->n) {
        hand_over(f);
        return;
    }
    while (s->n >= s->want || (to_end && s->n > 0)) {
        run_stage(s, s + 1, mert_smaller(s->n, s->want));
        advance(f, i + 1, 0);
    }
    if (to_end)
        advance(f, i + 1, 1);
}

/* ---- pieces ---- */

static void piece_run(flow *f, const float *x, int64_t rows, int begins, int64_t skip, float *to)
{
    place *s = &f->of[0];
    f->skip = skip;
    f->to = to;
    for (int i = 0; i < f->n; i++) {
        place *q = &f->of[i];
        q->at = q->n = 0;
        q->started = !begins;
        if (!begins || q->g->conv.zero_past)
            memset(q->padded, 0, (size_t)(q->g->conv.left * q->in) * sizeof(float));
    }
    while (rows > 0) {
        int64_t m = mert_smaller(rows, s->want);
        make_room(s);
        float *y = s->padded + (s->g->conv.left + s->n) * s->in;
        if (s->elu)
            MERT_VECTOR->elu(y, x, m * s->in);
        else
            memcpy(y, x, (size_t)(m * s->in) * sizeof *y);
        if (s->raw)
            memcpy(s->raw + s->n * s->in, x, (size_t)(m * s->in) * sizeof *y);
        s->n += m;
        x += m * s->in;
        rows -= m;
        advance(f, 0, rows == 0);
    }
}

typedef struct job {
    mert_seanet_part *p;
    const mert_seanet_stretch *s;
    int64_t steps;     /* per piece */
} job;

static int64_t pieces_of(const job *j, const mert_seanet_stretch *s)
{
    return (s->rows + j->steps * j->p->stride - 1) / (j->steps * j->p->stride);
}

static void piece(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    const mert_seanet_part *p = j->p;
    const mert_seanet_stretch *s = j->s;
    int64_t first, end, from;
    for (; i >= pieces_of(j, s); s++)
        i -= pieces_of(j, s);
    first = s->before + i * j->steps * p->stride;
    end = mert_smaller(first + j->steps * p->stride, s->before + s->rows);
    from = first > p->past ? first - p->past : 0;
    piece_run(&p->flow[worker], s->x + from * p->in, end - from, s->begins && !from, (first - from) / p->stride * p->up,
              s->y + i * j->steps * p->up * p->out);
}

int mert_seanet_part_run(mert_seanet_part *p, const mert_seanet_stretch *s, int64_t n)
{
    job j = {.p = p, .s = s};
    int64_t rows = 0, pieces = 0, least, past = p->past / p->stride;
    if (flows(p))
        return -1;
    for (int64_t i = 0; i < n; i++)
        rows += s[i].rows;
    if (!p->n) {
        for (int64_t i = 0; i < n; i++)
            memcpy(s[i].y, s[i].x + s[i].before * p->in, (size_t)(s[i].rows * p->in) * sizeof(float));
        return 0;
    }
    /* Several pieces per thread, but each must be long compared with the past that it computes again. */
    least = mert_larger(mert_larger(24 * past, p->least / p->stride + 1),
                        PIECE_FLOATS / (p->stride * p->in + p->up * p->out));
    j.steps = mert_larger(rows / p->stride / (PIECES * mert_pool_threads()), least);
    for (int64_t i = 0; i < n; i++)
        pieces += pieces_of(&j, &s[i]);
    mert_pool_run(pieces, piece, &j);
    return 0;
}
