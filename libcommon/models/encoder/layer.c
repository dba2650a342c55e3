/* One transformer layer, forward and backward (man/model.md 2.6).
 *   post-LN: s1 = x + attn(x), x1 = LN(s1), s2 = x1 + ffn(x1), y = LN(s2)    (deepnorm: the residuals times (2N)^0.25)
 *   pre-LN:  x1 = x + attn(LN(x)), y = x1 + ffn(LN(x1)) */
#include "libcommon/models/encoder/state.h"

#include "libcommon/base/random.h"

#include <math.h>

static uint32_t site(int layer, int place)
{
    return (uint32_t)(SITE_LAYER + layer * SITES_PER_LAYER + place);
}

static void linear(mert_encoder *m, weight_bias p, int64_t in, int64_t out, const mert_element *x,
                   const mert_element *residual, mert_element *y)
{
    int64_t rows = m->B * m->T, packed = mert_ops_packed_floats(m->ops, rows, out, in, MERT_PACKED_F32);
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *panels;
    if (!packed) {
        const mert_element *w = mert_product_weight(m, p.w, out * in);
        if (w)
            mert_linear(m->ops, rows, in, out, x, w, mert_weight(m, p.b), NULL, 0, residual, y);
        mert_arena_back(&m->memory, mark);
        return;
    }
    if (!(panels = (mert_element *)(void *)mert_take_floats(m, packed)))
        return;
    mert_pack(m->ops, .to = panels, .w = mert_weight(m, p.w), .ldw = in, .n = out, .k = in);
    mert_gemm(m->ops, .M = rows, .N = out, .K = in, .a = x, .lda = in, .b = panels, .packed = MERT_PACKED_F32, .c = y,
              .ldc = out, .bias = mert_weight(m, p.b), .residual = residual);
    mert_arena_back(&m->memory, mark);
}

static void linear_backward(mert_encoder *m, weight_bias p, int64_t in, int64_t out, const mert_element *x,
                            const mert_element *dy, mert_element *dx, int add)
{
    mert_arena_mark mark = mert_arena_here(&m->memory);
    const mert_element *w = mert_product_weight(m, p.w, out * in);
    if (w)
        mert_linear_backward(m->ops, m->B * m->T, in, out, x, w, dy, mert_gradient(m, p.w), mert_gradient(m, p.b), dx,
                             add);
    mert_arena_back(&m->memory, mark);
}

static void norm(mert_encoder *m, weight_bias p, const mert_element *x, mert_element *y, float *mean,
                 float *rstd)
{
    mert_layer_norm(m->ops, .y = y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = mean,
                    .rstd = rstd, .rows = m->B * m->T, .columns = m->c->width, .eps = (float)m->c->eps);
}

static void norm_backward(mert_encoder *m, weight_bias p, const mert_element *x, const float *mean,
                          const float *rstd, mert_element *dy, mert_element *dx, int add)
{
    mert_layer_norm_backward(m->ops, .dx = dx, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = dy,
                             .x = x, .w = mert_weight(m, p.w), .mean = mean, .rstd = rstd, .rows = m->B * m->T,
                             .columns = m->c->width, .add = add);
}

static void dropout(mert_encoder *m, mert_element *x, int64_t width, double p, uint32_t where)
{
    if (m->options.training && p > 0)
        mert_dropout(m->ops, .x = x, .B = m->B, .n = m->T * width, .p = p, .key = mert_encoder_key(m, where));
}

/* y = residual_scale * residual + dropout(linear(x)): one product where nothing stands between. */
static void branch_end(mert_encoder *m, weight_bias p, int64_t in, const mert_element *x,
                       const mert_element *residual, double rate, uint32_t where, mert_element *y)
{
    int64_t n = m->B * m->T * m->c->width;
    if (m->residual_scale == 1.0f && !(m->options.training && rate > 0)) {
        linear(m, p, in, m->c->width, x, residual, y);
        return;
    }
    linear(m, p, in, m->c->width, x, NULL, y);
    dropout(m, y, m->c->width, rate, where);
    mert_axpy(m->ops, .to = y, .from = residual, .alpha = m->residual_scale, .n = n);
}

int mert_layer_dropped(const mert_encoder *m, int i)
{
    mert_random r;
    if (!m->options.training || m->options.layerdrop <= 0)
        return 0;
    r = mert_random_key(m->options.seed, MERT_FOR_LAYERDROP, m->options.update << 20 | m->options.micro_batch,
                        (uint32_t)i, SITE_LAYERDROP);
    return mert_random_uniform(&r, 0) < m->options.layerdrop;
}

/* ---- what stays, and what follows from it ---- */

static void take_kept(mert_encoder *m, layer_record *r, int narrow)
{
    int64_t n = m->B * m->T, D = m->c->width;
    r->lse = mert_take_floats(m, n * m->c->heads);
    mert_keep(m, &r->q, n * D, narrow);
    mert_keep(m, &r->k, n * D, narrow);
    mert_keep(m, &r->v, n * D, narrow);
    mert_keep(m, &r->attended, n * D, narrow);
    mert_keep(m, &r->s1, n * D, narrow);
    mert_keep(m, &r->pre, n * m->c->ffn, narrow);
    if (!m->c->pre_ln)
        mert_keep(m, &r->s2, n * D, narrow);
}

static void each_kept(mert_encoder *m, layer_record *r, void (*f)(mert_encoder *, mert_kept *))
{
    mert_kept *all[] = {&r->q, &r->k, &r->v, &r->attended, &r->s1, &r->pre, &r->s2};
    for (int i = 0; i < 6 + !m->c->pre_ln; i++)
        f(m, all[i]);
}

static void take_rest(mert_encoder *m, layer_record *r)
{
    int64_t n = m->B * m->T, D = m->c->width;
    if (m->c->pre_ln) {
        r->mean_x = mert_take_floats(m, n);
        r->rstd_x = mert_take_floats(m, n);
        r->in1 = mert_take(m, n * D);
    }
    r->mean_s1 = mert_take_floats(m, n);
    r->rstd_s1 = mert_take_floats(m, n);
    r->in2 = mert_take(m, n * D);
    r->h = mert_take(m, n * m->c->ffn);
}

static void make_in1(mert_encoder *m, int i, layer_record *r)
{
    if (m->c->pre_ln)
        norm(m, m->layers[i].norm1, r->x.now, r->in1, r->mean_x, r->rstd_x);
    else
        r->in1 = r->x.now;
}

static void make_in2(mert_encoder *m, int i, layer_record *r)
{
    norm(m, m->c->pre_ln ? m->layers[i].norm2 : m->layers[i].norm1, r->s1.now, r->in2, r->mean_s1, r->rstd_s1);
}

static void make_h(mert_encoder *m, int i, layer_record *r)
{
    mert_gelu(m->ops, .y = r->h, .x = r->pre.now, .n = m->B * m->T * m->c->ffn);
    dropout(m, r->h, m->c->ffn, m->options.activation_dropout, site(i, IN_FFN));
}

/* The layer, into memory that has been taken. out NULL: its output is not wanted. */
static void run(mert_encoder *m, int i, layer_record *r, mert_element *out)
{
    const layer_parameters *p = &m->layers[i];
    int64_t D = m->c->width, F = m->c->ffn, H = m->c->heads;
    make_in1(m, i, r);
    linear(m, p->q, D, D, r->in1, NULL, r->q.now);
    linear(m, p->k, D, D, r->in1, NULL, r->k.now);
    linear(m, p->v, D, D, r->in1, NULL, r->v.now);
    mert_attention(m->ops, .out = r->attended.now, .lse = r->lse, .largest = m->options.training ? m->largest : NULL,
                   .q = r->q.now, .k = r->k.now, .v = r->v.now, .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))),
                   .p = m->options.training ? m->options.attention_dropout : 0,
                   .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    branch_end(m, p->out, D, r->attended.now, r->x.now, m->options.dropout, site(i, AFTER_ATTENTION), r->s1.now);
    make_in2(m, i, r);
    linear(m, p->fc1, D, F, r->in2, NULL, r->pre.now);
    make_h(m, i, r);
    if (!m->c->pre_ln)
        branch_end(m, p->fc2, F, r->h, r->in2, m->options.dropout, site(i, AFTER_FFN), r->s2.now);
    else if (out)
        branch_end(m, p->fc2, F, r->h, r->s1.now, m->options.dropout, site(i, AFTER_FFN), out);
    if (!m->c->pre_ln && out)
        norm(m, p->norm2, r->s2.now, out, r->mean_s2, r->rstd_s2);
}

void mert_layer_forward(mert_encoder *m, int i, mert_element *x, layer_record *r, mert_element *out)
{
    int64_t n = m->B * m->T;
    int narrow = mert_laid_aside(m), stays = m->options.training && !m->options.recompute;
    mert_arena_mark mark;
    r->x = (mert_kept){.now = x};
    if (narrow)
        mert_keep(m, &r->x, n * m->c->width, 1);
    r->mean_s2 = mert_take_floats(m, n);
    r->rstd_s2 = mert_take_floats(m, n);
    mark = mert_arena_here(&m->memory);
    take_kept(m, r, stays && narrow);
    if (stays)
        mark = mert_arena_here(&m->memory);
    each_kept(m, r, mert_kept_open);
    take_rest(m, r);
    if (m->memory.failed)
        return;
    r->x.now = x;
    mert_kept_close(m, &r->x);
    run(m, i, r, out);
    each_kept(m, r, mert_kept_close);
    mert_arena_back(&m->memory, mark);
}

/* All of the layer's forward pass is there again. */
static void bring_back(mert_encoder *m, int i, layer_record *r)
{
    mert_kept_again(m, &r->x);
    if (m->options.recompute)
        take_kept(m, r, 0);
    else
        each_kept(m, r, mert_kept_again);
    take_rest(m, r);
    if (m->memory.failed)
        return;
    if (m->options.recompute) {
        run(m, i, r, NULL);
        return;
    }
    make_in1(m, i, r);
    make_in2(m, i, r);
    make_h(m, i, r);
}

/* ---- the way back ---- */

/* The gradient that enters a branch: d, after the dropout at its end (a copy only where there is one; NULL: no
 * memory). */
static mert_element *branch_gradient(mert_encoder *m, mert_element *d, uint32_t where)
{
    int64_t n = m->B * m->T * m->c->width;
    mert_element *copy;
    if (m->options.dropout <= 0)
        return d;
    copy = mert_take(m, n);
    if (!copy)
        return NULL;
    mert_copy(m->ops, .to = copy, .from = d, .bytes = mert_element_bytes(m->ops, n));
    dropout(m, copy, m->c->width, m->options.dropout, where);
    return copy;
}

/* d [B*T, D]: gradient by the sum residual_scale * x1 + ffn(in) on entry, by x1 through the residual on return; dx
 * (add: +=) by `in`. */
static void ffn_backward(mert_encoder *m, int i, const layer_record *r, const mert_element *in, mert_element *d,
                         mert_element *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T, D = m->c->width, F = m->c->ffn;
    mert_element *dh = r->h, *end = branch_gradient(m, d, site(i, AFTER_FFN)); /* h is read before dh is written */
    if (!end)
        return;
    linear_backward(m, p->fc2, F, D, r->h, end, dh, 0);
    dropout(m, dh, F, m->options.activation_dropout, site(i, IN_FFN));
    mert_gelu_backward(m->ops, .dx = dh, .dy = dh, .x = r->pre.now, .n = n * F);
    linear_backward(m, p->fc1, D, F, in, dh, dx, add);
}

static void attention_backward(mert_encoder *m, int i, const layer_record *r, const mert_element *in,
                               mert_element *d, mert_element *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T, D = m->c->width, H = m->c->heads;
    mert_element *end = branch_gradient(m, d, site(i, AFTER_ATTENTION));
    mert_element *da = mert_take(m, n * D), *dq = mert_take(m, n * D);
    mert_element *dk = mert_take(m, n * D), *dv = mert_take(m, n * D);
    if (m->memory.failed)
        return;
    linear_backward(m, p->out, D, D, r->attended.now, end, da, 0);
    mert_attention_backward(m->ops, .dq = dq, .dk = dk, .dv = dv, .dout = da, .out = r->attended.now, .lse = r->lse,
                            .q = r->q.now, .k = r->k.now, .v = r->v.now, .B = m->B, .T = m->T, .H = H, .dh = D / H,
                            .ld = D, .scale = (float)(1.0 / sqrt((double)(D / H))), .p = m->options.attention_dropout,
                            .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    linear_backward(m, p->q, D, D, in, dq, dx, add);
    linear_backward(m, p->k, D, D, in, dk, dx, 1);
    linear_backward(m, p->v, D, D, in, dv, dx, 1);
}

static void scale_residual(mert_encoder *m, mert_element *d)
{
    if (m->residual_scale != 1.0f)
        mert_copy_2d(m->ops, .to = d, .from = d, .ldto = m->c->width, .ldfrom = m->c->width, .rows = m->B * m->T,
                     .columns = m->c->width, .scale = m->residual_scale);
}

void mert_layer_backward(mert_encoder *m, int i, layer_record *r, mert_element *dy)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T * m->c->width;
    mert_element *d;
    if (r->skipped)
        return;
    bring_back(m, i, r);
    d = mert_take(m, n);
    if (m->memory.failed)
        return;
    if (m->c->pre_ln) {
        ffn_backward(m, i, r, r->in2, dy, d, 0);
        norm_backward(m, p->norm2, r->s1.now, r->mean_s1, r->rstd_s1, d, dy, 1);
        attention_backward(m, i, r, r->in1, dy, d, 0);
        norm_backward(m, p->norm1, r->x.now, r->mean_x, r->rstd_x, d, dy, 1);
    } else {
        norm_backward(m, p->norm2, r->s2.now, r->mean_s2, r->rstd_s2, dy, d, 0);
        mert_copy(m->ops, .to = dy, .from = d, .bytes = mert_element_bytes(m->ops, n));
        scale_residual(m, dy);
        ffn_backward(m, i, r, r->in2, d, dy, 1);
        norm_backward(m, p->norm1, r->s1.now, r->mean_s1, r->rstd_s1, dy, d, 0);
        mert_copy(m->ops, .to = dy, .from = d, .bytes = mert_element_bytes(m->ops, n));
        scale_residual(m, dy);
        attention_backward(m, i, r, r->in1, d, dy, 1);
    }
    mert_arena_back(&m->memory, r->before);
}
