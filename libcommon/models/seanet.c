#include "seanet.h"

#include "../base/pool.h"
#include "codes.h"
#include "seanet_lstm.h"

#include <stdlib.h>
#include <string.h>

enum { ELU_PIECE = 16384 };

/* ---- sizes ---- */

static void conv_free(mert_seanet_conv *c)
{
    mert_rows_free(c->product);
}

void mert_seanet_free(mert_seanet *s)
{
    for (int i = 0; i < s->n; i++) {
        mert_seanet_stage *g = &s->stages[i];
        conv_free(&g->conv);
        conv_free(&g->second);
        conv_free(&g->shortcut);
        for (int l = 0; l < g->layers; l++) {
            mert_rows_free(g->input[l]);
            mert_rows_free(g->recurrent[l]);
        }
    }
    memset(s, 0, sizeof *s);
}

static int64_t stage_in(const mert_seanet_stage *g)
{
    return g->kind == MERT_SEANET_LSTM ? g->width : g->conv.in;
}

static int64_t stage_out(const mert_seanet_stage *g)
{
    return g->kind == MERT_SEANET_LSTM ? g->width : g->kind == MERT_SEANET_RESIDUAL ? g->second.out : g->conv.out;
}

int64_t mert_seanet_in(const mert_seanet *s)
{
    return stage_in(&s->stages[0]);
}

int64_t mert_seanet_out(const mert_seanet *s)
{
    return stage_out(&s->stages[s->n - 1]);
}

int64_t mert_seanet_stride(const mert_seanet *s)
{
    int64_t stride = 1;
    for (int i = 0; i < s->n; i++)
        stride *= s->stages[i].kind == MERT_SEANET_CONV ? s->stages[i].conv.stride : 1;
    return stride;
}

int64_t mert_seanet_up(const mert_seanet *s)
{
    int64_t up = 1;
    for (int i = 0; i < s->n; i++)
        up *= s->stages[i].kind == MERT_SEANET_CONV ? s->stages[i].conv.up : 1;
    return up;
}

int64_t mert_seanet_least_block(const mert_seanet *s)
{
    int64_t stride = mert_seanet_stride(s), down = 1, up = 1, least = stride;
    for (int i = 0; i < s->n; i++) {
        const mert_seanet_stage *g = &s->stages[i];
        int64_t need = g->kind == MERT_SEANET_LSTM || g->conv.zero_past ? 1 : g->conv.left + 1,
            rows = (need * down + up - 1) / up;
        if (rows > least)
            least = rows;
        if (g->kind == MERT_SEANET_CONV) {
            down *= g->conv.stride;
            up *= g->conv.up;
        }
    }
    return (least + stride - 1) / stride * stride;
}

/* ---- an item ---- */

typedef struct memory {
    float *past;   /* conv: [left, in], the last rows of its input. lstm: [layers][2][width], h and c */
    int64_t size;
    int started;
} memory;

struct mert_seanet_item {
    int n;
    memory of[MERT_SEANET_STAGES];
};

mert_seanet_item *mert_seanet_item_new(const mert_seanet *s)
{
    mert_seanet_item *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->n = s->n;
    for (int i = 0; i < s->n; i++) {
        const mert_seanet_stage *g = &s->stages[i];
        m->of[i].size = g->kind == MERT_SEANET_LSTM ? 2 * g->layers * g->width : g->conv.left * g->conv.in;
        m->of[i].past = calloc((size_t)m->of[i].size + 1, sizeof(float));
        if (!m->of[i].past) {
            mert_seanet_item_free(m);
            return NULL;
        }
    }
    return m;
}

void mert_seanet_item_free(mert_seanet_item *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n; i++)
        free(m->of[i].past);
    free(m);
}

void mert_seanet_item_reset(mert_seanet_item *m)
{
    for (int i = 0; i < m->n; i++) {
        m->of[i].started = 0;
        memset(m->of[i].past, 0, (size_t)m->of[i].size * sizeof(float));
    }
}

/* ---- buffers ---- */

struct mert_seanet_work {
    float *rows[2];  /* a stage reads one and writes the other */
    float *padded;   /* a conv's input with its past */
    float *hidden;   /* between the two convs of a residual */
    mert_seanet_lstm *lstm; /* of the one LSTM stage; NULL: none */
};

mert_seanet_work *mert_seanet_work_new(const mert_seanet *s, int64_t rows, int64_t lanes)
{
    mert_seanet_work *w = calloc(1, sizeof *w);
    int64_t flow = rows * mert_seanet_in(s), padded = 0, hidden = 0;
    int i;
    if (!w)
        return NULL;
    for (i = 0; i < s->n; i++) {
        const mert_seanet_stage *g = &s->stages[i];
        int64_t p = 0, h = 0;
        if (g->kind != MERT_SEANET_LSTM) {
            p = (g->conv.left + rows + g->conv.stride) * g->conv.in;
            h = g->kind == MERT_SEANET_RESIDUAL ? rows * g->conv.out : 0;
        }
        if (g->kind == MERT_SEANET_CONV)
            rows = (rows + g->conv.stride - 1) / g->conv.stride * g->conv.up;
        if (rows * stage_out(g) > flow)
            flow = rows * stage_out(g);
        padded = p > padded ? p : padded;
        hidden = h > hidden ? h : hidden;
    }
    w->rows[0] = malloc((size_t)flow * sizeof(float));
    w->rows[1] = malloc((size_t)flow * sizeof(float));
    w->padded = malloc((size_t)padded * sizeof(float));
    w->hidden = malloc((size_t)hidden * sizeof(float) + 1);
    i = mert_seanet_lstm_stage(s);
    if (i < s->n)
        w->lstm = mert_seanet_lstm_new(&s->stages[i], lanes);
    if (!w->rows[0] || !w->rows[1] || !w->padded || !w->hidden || (i < s->n && !w->lstm)) {
        mert_seanet_work_free(w);
        return NULL;
    }
    return w;
}

void mert_seanet_work_free(mert_seanet_work *w)
{
    if (!w)
        return;
    free(w->rows[0]);
    free(w->rows[1]);
    free(w->padded);
    free(w->hidden);
    mert_seanet_lstm_free(w->lstm);
    free(w);
}

mert_seanet_lstm *mert_seanet_work_lstm(mert_seanet_work *w)
{
    return w->lstm;
}

/* ---- conv ---- */

typedef struct elu_job {
    float *y;
    const float *x;
    int64_t n;
    int elu;
} elu_job;

static void elu_piece(void *arg, int64_t i, int worker)
{
    const elu_job *j = arg;
    int64_t at = i * ELU_PIECE, n = j->n - at < ELU_PIECE ? j->n - at : ELU_PIECE;
    (void)worker;
    if (j->elu)
        MERT_CODES_KERNELS->elu(j->y + at, j->x + at, n);
    else
        memcpy(j->y + at, j->x + at, (size_t)n * sizeof *j->y);
}

/* Row p of an item's L rows as its conv sees them, p in [-left, L + right): reflected at both ends; an item that is
 * too short for that is first extended with zeros (EnCodec's pad1d). NULL: zeros. first: p = 0. */
static const float *reflected(const float *first, int64_t width, int64_t L, int64_t left, int64_t right, int64_t p)
{
    int64_t most = left > right ? left : right, extended = L > most ? L : most + 1;
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

/* x [rows, in] with its past and what completes it, in w->padded; the number of steps. */
static int64_t gather(const mert_seanet_conv *c, memory *m, float *padded, const float *x, int64_t rows, int elu,
                      int started, int last)
{
    int64_t width = c->in, more = last ? (c->stride - rows % c->stride) % c->stride : 0;
    float *now = padded + c->left * width;
    elu_job j = {now, x, rows * width, elu};
    mert_pool_run((j.n + ELU_PIECE - 1) / ELU_PIECE, elu_piece, &j);
    if (started || c->zero_past)
        memcpy(padded, m->past, (size_t)(c->left * width) * sizeof(float));
    else
        for (int64_t p = -c->left; p < 0; p++)
            put_row(now + p * width, reflected(now, width, rows, c->left, more, p), width);
    /* Later blocks have their past before them, so the rows that are mirrored at the end exist: as if the item began
     * there. */
    for (int64_t p = rows; p < rows + more; p++)
        put_row(now + p * width,
                started ? now + (2 * rows - 2 - p) * width : reflected(now, width, rows, c->left, more, p), width);
    if (rows > 0)
        memcpy(m->past, padded + rows * width, (size_t)(c->left * width) * sizeof(float));
    return (rows + more) / c->stride;
}

static int64_t conv_run(const mert_seanet_stage *g, memory *m, mert_seanet_work *w, const float *x, int64_t rows,
                        float *y, int started,
                        int last)
{
    const mert_seanet_conv *c = &g->conv;
    int64_t steps = gather(c, m, w->padded, x, rows, g->elu, started, last);
    mert_rows_pool(c->product, w->padded, c->stride * c->in, steps, y, c->up * c->out, 0);
    return steps * c->up;
}

static int64_t residual_run(const mert_seanet_stage *g, memory *m, mert_seanet_work *w, const float *x, int64_t rows,
                            float *y, int started)
{
    elu_job copy = {y, x, rows * g->conv.in, 0};
    gather(&g->conv, m, w->padded, x, rows, 1, started, 0);
    mert_rows_pool(g->conv.product, w->padded, g->conv.in, rows, w->hidden, g->conv.out, MERT_ROWS_ELU);
    if (g->shortcut.product)
        mert_rows_pool(g->shortcut.product, x, g->conv.in, rows, y, g->second.out, 0);
    else
        mert_pool_run((copy.n + ELU_PIECE - 1) / ELU_PIECE, elu_piece, &copy);
    mert_rows_pool(g->second.product, w->hidden, g->conv.out, rows, y, g->second.out, MERT_ROWS_ADD);
    return rows;
}

static int64_t lstm_run(const mert_seanet_stage *g, memory *m, mert_seanet_work *w, const float *x, int64_t rows,
                        float *y)
{
    mert_seanet_lane lane = {y, m->past, rows};
    memcpy(y, x, (size_t)(rows * g->width) * sizeof *y);
    mert_seanet_lstm_run(w->lstm, &lane, 1);
    return rows;
}

/* ---- all of it ---- */

int mert_seanet_lstm_stage(const mert_seanet *s)
{
    int i = 0;
    while (i < s->n && s->stages[i].kind != MERT_SEANET_LSTM)
        i++;
    return i;
}

float *mert_seanet_lstm_state(const mert_seanet *s, mert_seanet_item *m)
{
    int i = mert_seanet_lstm_stage(s);
    return i < s->n ? m->of[i].past : NULL;
}

const float *mert_seanet_run(const mert_seanet *s, mert_seanet_item *m, mert_seanet_work *w, const float *x,
                             int64_t rows, int last, int64_t *out_rows)
{
    return mert_seanet_run_part(s, 0, s->n, m, w, x, rows, last, out_rows);
}

const float *mert_seanet_run_part(const mert_seanet *s, int first, int end, mert_seanet_item *m, mert_seanet_work *w,
                                  const float *x, int64_t rows, int last, int64_t *out_rows)
{
    int side = 0;
    for (int i = first; i < end; i++, side ^= 1) {
        const mert_seanet_stage *g = &s->stages[i];
        float *y = w->rows[side];
        int started = m->of[i].started;
        m->of[i].started = 1;
        switch (g->kind) {
        case MERT_SEANET_CONV: rows = conv_run(g, &m->of[i], w, x, rows, y, started, last); break;
        case MERT_SEANET_RESIDUAL: rows = residual_run(g, &m->of[i], w, x, rows, y, started); break;
        case MERT_SEANET_LSTM: rows = lstm_run(g, &m->of[i], w, x, rows, y); break;
        }
        x = y;
    }
    *out_rows = rows;
    return x;
}
