/* The subsampler, forward and backward (man/model.md 16.2). A stage has a resampler, if the number of channels or
 * frames changes (LayerNorm, then a convolution of two taps), and ConvNeXt layers:
 *
 *     y = x + down(R(gelu(up(LN(depthwise(x))))))
 *
 * R is the global response norm, which needs the whole clip. Kept for the backward pass are the outputs of the
 * depthwise convolution and of the first product, and the sums of squares of the activations over time. The rest is
 * computed again. */
#include "libcommon/models/encoder/conformer.h"

enum { TAPS = 2, WIDER = 4 };

static mert_conv_shape resampler_shape(const mert_encoder *m, const subsampler_stage *s)
{
    return (mert_conv_shape){m->B, s->T_in, s->T, s->in, s->channels, TAPS, s->stride};
}

static const mert_element *resampler_kernel(const subsampler_stage *s)
{
    return mert_as_elements(s->kernel, s->ordered);
}

static int stays(const mert_encoder *m) { return m->options.training && !m->options.recompute; }

/* Memory for the output of a step with input x: new memory if inputs are kept for the backward pass. */
static mert_element *room_after(mert_encoder *m, const mert_element *x, int64_t n)
{
    mert_element **turn = m->conformer->turn;
    return turn[0] ? turn[x == turn[0]] : mert_alloc(m, n);
}

/* Keeps the input of a step, as bfloat16 if options ask for it. */
static void keep_input(mert_encoder *m, mert_kept *k, mert_element *x, int64_t n)
{
    *k = (mert_kept){.now = x};
    if (mert_keeps_narrow(m)) {
        mert_keep(m, k, n, 1);
        k->now = x;
        if (!m->memory.failed)
            mert_kept_close(m, k);
    }
}

/* ---- resampler ---- */

static mert_element *resample(mert_encoder *m, subsampler_stage *s, mert_element *x)
{
    mert_conv_shape shape = resampler_shape(m, s);
    int64_t in = m->B * s->T_in;
    mert_element *y = room_after(m, x, m->B * s->T * s->channels);
    mert_arena_mark mark;
    mert_normed n;
    keep_input(m, &s->x, x, in * s->in);
    mark = mert_arena_here(&m->memory);
    n = mert_step_norm(m, s->norm, in, s->in, m->c->conformer.subsampler_eps, x);
    if (!n.y)
        return NULL;
    mert_conv(m->ops, .y = y, .x = n.y, .w = resampler_kernel(s), .bias = mert_weight(m, s->conv.b), .shape = shape);
    mert_arena_back(&m->memory, mark);
    return y;
}

/* Returns the gradient by the input, in new memory. */
static mert_element *resample_backward(mert_encoder *m, subsampler_stage *s, const mert_element *dy)
{
    mert_conv_shape shape = resampler_shape(m, s);
    int64_t in = m->B * s->T_in, weights = s->channels * TAPS * s->in;
    mert_element *dx = mert_alloc(m, in * s->in);
    mert_arena_mark mark = mert_arena_here(&m->memory);
    float *dw = mert_alloc_floats(m, weights);
    mert_normed n;
    mert_kept_again(m, &s->x);
    if (m->memory.failed)
        return NULL;
    n = mert_step_norm(m, s->norm, in, s->in, m->c->conformer.subsampler_eps, s->x.now);
    if (!n.y)
        return NULL;
    mert_clear(m->ops, .to = dw, .bytes = (size_t)weights * sizeof *dw);
    mert_conv_backward(m->ops, .dx = dx, .dw = dw, .db = mert_gradient(m, s->conv.b), .dy = dy, .x = n.y,
                       .w = resampler_kernel(s), .shape = shape);
    mert_swap_axes(m->ops, .to = mert_gradient(m, s->conv.w), .from = dw, .n = s->channels, .a = TAPS, .b = s->in,
                   .add = 1);
    mert_step_norm_backward(m, s->norm, &n, in, s->in, s->x.now, dx, dx, 0);
    mert_arena_back(&m->memory, mark);
    return dx;
}

/* ---- ConvNeXt layer ---- */

static void take_kept(mert_encoder *m, const subsampler_stage *s, convnext_record *r, int narrow)
{
    int64_t n = m->B * s->T * s->channels;
    r->squares = (double *)(void *)mert_alloc_floats(m, 2 * m->B * WIDER * s->channels);
    mert_keep(m, &r->deep, n, narrow);
    mert_keep(m, &r->pre, WIDER * n, narrow);
}

static mert_normed layer_norm(mert_encoder *m, const subsampler_stage *s, const convnext_parameters *p,
                              const convnext_record *r)
{
    return mert_step_norm(m, p->norm, m->B * s->T, s->channels, m->c->conformer.subsampler_eps, r->deep.now);
}

static mert_element *activated(mert_encoder *m, const subsampler_stage *s, const convnext_record *r)
{
    int64_t n = m->B * s->T * WIDER * s->channels;
    mert_element *h = mert_alloc(m, n);
    if (h)
        mert_gelu(m->ops, .y = h, .x = r->pre.now, .n = n);
    return h;
}

static void response_norm(mert_encoder *m, const subsampler_stage *s, const convnext_parameters *p,
                          const convnext_record *r, const mert_element *h, mert_element *y)
{
    mert_response_norm(m->ops, .y = y, .x = h, .squares = r->squares, .w = mert_weight(m, p->response.w),
                       .b = mert_weight(m, p->response.b), .B = m->B, .T = s->T, .C = WIDER * s->channels,
                       .eps = MERT_RESPONSE_EPS);
}

/* Runs the layer into memory that is already allocated. y NULL: its output is not wanted. */
static void run(mert_encoder *m, const subsampler_stage *s, const convnext_parameters *p, convnext_record *r,
                mert_element *y)
{
    int64_t n = m->B * s->T, C = s->channels, K = m->c->conformer.subsampler_kernel;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_normed in;
    mert_element *h;
    mert_depthwise_conv(m->ops, .y = r->deep.now, .x = r->x.now, .w = mert_weight(m, p->depth.w),
                        .bias = mert_weight(m, p->depth.b), .B = m->B, .T = s->T, .C = C, .kernel = K,
                        .pad = (K - 1) / 2);
    if (!(in = layer_norm(m, s, p, r)).y)
        return;
    mert_step_linear(m, p->up, n, C, WIDER * C, in.y, NULL, r->pre.now);
    if (!(h = activated(m, s, r)))
        return;
    mert_clear(m->ops, .to = r->squares, .bytes = (size_t)(m->B * WIDER * C) * sizeof *r->squares);
    mert_time_squares(m->ops, .squares = r->squares, .x = h, .B = m->B, .T = s->T, .C = WIDER * C);
    response_norm(m, s, p, r, h, h);
    if (y)
        mert_step_linear(m, p->down, n, WIDER * C, C, h, r->x.now, y);
    mert_arena_back(&m->memory, mark);
}

static mert_element *layer_forward(mert_encoder *m, const subsampler_stage *s, int i, mert_element *x)
{
    convnext_record *r = &s->record[i];
    int64_t n = m->B * s->T * s->channels;
    mert_element *y = room_after(m, x, n);
    mert_arena_mark mark;
    keep_input(m, &r->x, x, n);
    mark = mert_arena_here(&m->memory);
    take_kept(m, s, r, stays(m) && mert_keeps_narrow(m));
    if (stays(m))
        mark = mert_arena_here(&m->memory);
    mert_kept_open(m, &r->deep);
    mert_kept_open(m, &r->pre);
    if (m->memory.failed)
        return NULL;
    run(m, s, &s->layer[i], r, y);
    mert_kept_close(m, &r->deep);
    mert_kept_close(m, &r->pre);
    mert_arena_back(&m->memory, mark);
    return y;
}

/* d: on entry the gradient by the output, on return by the input. */
static void layer_backward(mert_encoder *m, const subsampler_stage *s, int i, mert_element *d)
{
    const convnext_parameters *p = &s->layer[i];
    convnext_record *r = &s->record[i];
    int64_t n = m->B * s->T, C = s->channels, K = m->c->conformer.subsampler_kernel;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *h, *out, *dn;
    mert_normed in;
    mert_kept_again(m, &r->x);
    if (m->options.recompute)
        take_kept(m, s, r, 0);
    else {
        mert_kept_again(m, &r->deep);
        mert_kept_again(m, &r->pre);
    }
    if (m->memory.failed)
        return;
    if (m->options.recompute)
        run(m, s, p, r, NULL);
    in = layer_norm(m, s, p, r);
    h = activated(m, s, r);
    out = mert_alloc(m, n * WIDER * C);
    dn = mert_alloc(m, n * C);
    if (m->memory.failed)
        return;
    response_norm(m, s, p, r, h, out);
    mert_step_linear_backward(m, p->down, n, WIDER * C, C, out, d, out, 0);
    mert_response_norm_backward(m->ops, .dx = out, .dw = mert_gradient(m, p->response.w),
                                .db = mert_gradient(m, p->response.b), .dy = out, .x = h, .squares = r->squares,
                                .w = mert_weight(m, p->response.w), .B = m->B, .T = s->T, .C = WIDER * C,
                                .eps = MERT_RESPONSE_EPS);
    mert_gelu_backward(m->ops, .dx = out, .dy = out, .x = r->pre.now, .n = n * WIDER * C);
    mert_step_linear_backward(m, p->up, n, C, WIDER * C, in.y, out, dn, 0);
    mert_step_norm_backward(m, p->norm, &in, n, C, r->deep.now, dn, dn, 0);
    mert_column_sum(m->ops, .sums = mert_gradient(m, p->depth.b), .x = dn, .rows = n, .columns = C, .ldx = C);
    mert_depthwise_conv_backward(m->ops, .dx = d, .dw = mert_gradient(m, p->depth.w), .dy = dn, .x = r->x.now,
                                 .w = mert_weight(m, p->depth.w), .B = m->B, .T = s->T, .C = C, .kernel = K,
                                 .pad = (K - 1) / 2, .add = 1);
    mert_arena_back(&m->memory, mark);
}

/* ---- the whole subsampler ---- */

mert_element *mert_subsampler_forward(mert_encoder *m, mert_element *x)
{
    mert_conformer *f = m->conformer;
    int64_t most = m->B * f->T0 * f->stage[0].in;
    for (int i = 0; i < f->stages; i++) {
        int64_t n = m->B * f->stage[i].T * f->stage[i].channels;
        most = n > most ? n : most;
    }
    for (int i = 0; i < 2; i++)
        f->turn[i] = m->options.training && !mert_keeps_narrow(m) ? NULL : mert_alloc(m, most);
    for (int i = 0; i < f->stages && x && !m->memory.failed; i++) {
        subsampler_stage *s = &f->stage[i];
        if (s->resampled)
            x = resample(m, s, x);
        for (int j = 0; j < s->depth && x && !m->memory.failed; j++)
            x = layer_forward(m, s, j, x);
    }
    return m->memory.failed ? NULL : x;
}

mert_element *mert_subsampler_backward(mert_encoder *m, mert_element *d)
{
    mert_conformer *f = m->conformer;
    for (int i = f->stages - 1; i >= 0 && d && !m->memory.failed; i--) {
        subsampler_stage *s = &f->stage[i];
        for (int j = s->depth - 1; j >= 0 && !m->memory.failed; j--)
            layer_backward(m, s, j, d);
        if (s->resampled && !m->memory.failed)
            d = resample_backward(m, s, d);
    }
    return m->memory.failed ? NULL : d;
}
