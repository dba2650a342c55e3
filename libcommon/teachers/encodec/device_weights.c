#include "libcommon/teachers/encodec/device_internal.h"

#include "formats/array.h"
#include "libcommon/nn/no_room.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Device memory that lives as long as the weights. NULL: out of memory. */
static void *hold(mert_device_weights *w, size_t bytes)
{
    void *p;
    if (w->n_held == w->room) {
        int64_t room = 2 * w->room + 64;
        void **more = mert_array_resize(w->held, room, sizeof *more);
        if (!more)
            return NULL;
        w->held = more;
        w->room = room;
    }
    p = w->ops->alloc(w->ops, bytes);
    if (p)
        w->held[w->n_held++] = p;
    return p;
}

static float *take_floats(mert_device_weights *w, const float *x, int64_t n)
{
    float *to = hold(w, (size_t)n * sizeof *to);
    if (to)
        w->ops->upload(w->ops, to, x, (size_t)n * sizeof *to);
    return to && !w->ops->wait(w->ops, NULL) ? to : NULL;
}

static mert_element *take_elements(mert_device_weights *w, const float *x, int64_t n)
{
    mert_ops *ops = w->ops;
    mert_element *to = hold(w, mert_element_bytes(ops, n));
    float *raw = to ? mert_ops_floats(ops, n) : NULL;
    int bad = !raw;
    if (raw) {
        ops->upload(ops, raw, x, (size_t)n * sizeof *raw);
        mert_to_elements(ops, .to = to, .from = raw, .n = n);
        bad = ops->wait(ops, NULL);
        ops->release(ops, raw);
    }
    return bad ? NULL : to;
}

/* `count` matrices x [n, k], w_step apart, with row stride ldw; `all` numbers in total. */
static int take_product(mert_device_weights *w, mert_device_product *p, const float *x, int64_t all, int64_t n,
                        int64_t k, int64_t count, int64_t ldw, int64_t w_step, const float *bias)
{
    mert_ops *ops = w->ops;
    int64_t packed = mert_ops_packed_floats(ops, INT64_MAX, n, k, MERT_PACKED_F32);
    float *raw;
    int bad;
    *p = (mert_device_product){.n = n, .k = k, .step = w_step};
    if (bias && !(p->bias = take_floats(w, bias, n)))
        return -1;
    if (!packed)
        return (p->w = take_elements(w, x, all)) ? 0 : -1;
    p->packed = MERT_PACKED_F32;
    p->step = packed;
    p->w = hold(w, (size_t)(count * packed) * sizeof(float));
    raw = p->w ? mert_ops_floats(ops, all) : NULL;
    if (!raw)
        return -1;
    ops->upload(ops, raw, x, (size_t)all * sizeof *raw);
    mert_pack(ops, .to = p->w, .w = raw, .ldw = ldw, .n = n, .k = k, .count = count, .to_step = packed,
              .w_step = w_step, .as = MERT_PACKED_F32);
    bad = ops->wait(ops, NULL);
    ops->release(ops, raw);
    return bad;
}

/* The weights [n, k] of r in memory of the host, to be freed. */
static float *unpacked(const mert_rows *r)
{
    float *x = mert_array(mert_array_count(r->n, r->k), sizeof *x);
    if (x)
        mert_rows_unpack(r, x);
    return x;
}

static int take_rows(mert_device_weights *w, mert_device_product *p, const mert_rows *r)
{
    float *x = unpacked(r);
    int bad = !x || take_product(w, p, x, r->n * r->k, r->n, r->k, 1, r->k, 0, r->bias);
    free(x);
    return bad ? -1 : 0;
}

static int take_conv(mert_device_weights *w, mert_device_conv *to, const mert_seanet_conv *c)
{
    const mert_rows *r = c->product;
    float *x;
    int bad;
    *to = (mert_device_conv){.in = c->in, .out = c->out, .kernel = r->k / c->in, .dilation = 1, .stride = c->stride,
                             .left = c->left};
    if (r->taps <= 1)
        return take_rows(w, &to->product, r);
    to->dilation = r->tap_stride / c->in;
    x = unpacked(r);
    bad = !x || take_product(w, &to->product, x, r->n * r->k, r->n, c->in, to->kernel, r->k, c->in, r->bias);
    free(x);
    return bad ? -1 : 0;
}

static int take_lstm(mert_device_weights *w, mert_device_stage *to, const mert_seanet_stage *g)
{
    int64_t W = g->width;
    to->layers = g->layers;
    for (int l = 0; l < g->layers; l++) {
        float *x = unpacked(g->recurrent[l]), *turned = mert_array(mert_array_count(4 * W, W), sizeof *turned);
        int bad = !x || !turned || take_rows(w, &to->input[l], g->input[l]);
        for (int64_t i = 0; !bad && i < 4 * W; i++)
            for (int64_t k = 0; k < W; k++)
                turned[k * 4 * W + i] = x[i * W + k];
        bad = bad || !(to->recurrent[l] = take_elements(w, turned, 4 * W * W));
        free(x);
        free(turned);
        if (bad)
            return -1;
    }
    return 0;
}

static int take_stage(mert_device_weights *w, mert_device_stage *to, const mert_seanet_stage *g)
{
    to->kind = g->kind;
    to->elu = g->elu || g->kind == MERT_SEANET_RESIDUAL;
    if (g->kind == MERT_SEANET_LSTM)
        return take_lstm(w, to, g);
    if (take_conv(w, &to->conv, &g->conv))
        return -1;
    if (g->kind == MERT_SEANET_CONV)
        return 0;
    return take_conv(w, &to->second, &g->second) ||
           (g->shortcut.product && take_conv(w, &to->shortcut, &g->shortcut)) ? -1 : 0;
}

static int take_codebook(mert_device_weights *w, mert_device_codebook *to, const float *words, int64_t V, int64_t D)
{
    float *bias = mert_array(V, sizeof *bias);
    double most = 0;
    int bad;
    for (int64_t v = 0; bias && v < V; v++) {
        double s = 0;
        for (int64_t i = 0; i < D; i++)
            s += (double)words[v * D + i] * (double)words[v * D + i];
        bias[v] = -(float)(s / 2);
        most = s > most ? s : most;
    }
    to->reach = (float)(sqrt(most) * 1.000001);
    to->words = take_floats(w, words, V * D);
    bad = !bias || !to->words || take_product(w, &to->product, words, V * D, V, D, 1, D, 0, bias);
    free(bias);
    return bad ? -1 : 0;
}

static int take_all(mert_device_weights *w, const mert_encodec *m)
{
    const mert_rvq *q = m->quantiser;
    for (w->n = 0; w->n < m->encoder.n; w->n++)
        if (take_stage(w, &w->stages[w->n], &m->encoder.stages[w->n]))
            return -1;
    w->codebooks = mert_array_zeroed(w->use, sizeof *w->codebooks);
    if (!w->codebooks)
        return -1;
    for (int64_t k = 0; k < w->use; k++)
        if (take_codebook(w, &w->codebooks[k], q->codewords + k * q->classes * q->width, q->classes, q->width))
            return -1;
    return 0;
}

int mert_device_weights_load(mert_device_weights *w, const mert_encodec *m, mert_ops *ops, int64_t use, mert_error *e)
{
    w->ops = ops;
    w->use = use;
    if (!take_all(w, m))
        return 0;
    if (!ops->wait(ops, e))
        mert_fail(e, "out of memory for the weights");
    mert_ops_no_room(ops, "a smaller model, or --device cpu", e);
    return -1;
}

void mert_device_weights_free(mert_device_weights *w)
{
    for (int64_t i = 0; i < w->n_held; i++)
        w->ops->release(w->ops, w->held[i]);
    free(w->held);
    free(w->codebooks);
    memset(w, 0, sizeof *w);
}
