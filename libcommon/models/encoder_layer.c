/* One transformer layer, forward and backward (REFERENCE 1, step 6).
 *   post-LN: s1 = x + attn(x), x1 = LN(s1), s2 = x1 + ffn(x1), y = LN(s2)    (deepnorm: the residuals times (2N)^0.25)
 *   pre-LN:  x1 = x + attn(LN(x)), y = x1 + ffn(LN(x1)) */
#include "encoder_internal.h"

#include "../base/random.h"

#include <math.h>

static uint32_t site(int layer, int place)
{
    return (uint32_t)(SITE_LAYER + layer * SITES_PER_LAYER + place);
}

static void linear(mert_encoder *m, weight_bias p, int64_t in, int64_t out, const float *x, float *pre, int gelu, const float *residual, float *y)
{
    mert_linear(m->ops, m->B * m->T, in, out, x, mert_weight(m, p.w), mert_weight(m, p.b), pre, gelu, residual, y);
}

static void linear_backward(mert_encoder *m, weight_bias p, int64_t in, int64_t out, const float *x, const float *dy, float *dx, int add)
{
    mert_linear_backward(m->ops, m->B * m->T, in, out, x, mert_weight(m, p.w), dy, mert_gradient(m, p.w), mert_gradient(m, p.b), dx, add);
}

static void norm(mert_encoder *m, weight_bias p, const float *x, float *y, float *mean, float *rstd)
{
    mert_layer_norm(m->ops, .y = y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = mean, .rstd = rstd,
                    .rows = m->B * m->T, .columns = m->c->width, .eps = (float)m->c->eps);
}

static void norm_backward(mert_encoder *m, weight_bias p, const float *x, const float *mean, const float *rstd, const float *dy, float *dx, int add)
{
    mert_layer_norm_backward(m->ops, .dx = dx, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = dy, .x = x,
                             .w = mert_weight(m, p.w), .mean = mean, .rstd = rstd, .rows = m->B * m->T, .columns = m->c->width, .add = add);
}

static void dropout(mert_encoder *m, float *x, int64_t width, double p, uint32_t where)
{
    if (m->regime.training && p > 0)
        mert_dropout(m->ops, .x = x, .B = m->B, .n = m->T * width, .p = p, .key = mert_encoder_key(m, where));
}

/* y = residual_scale * residual + dropout(linear(x)): one product where nothing stands between. */
static void branch_end(mert_encoder *m, weight_bias p, int64_t in, const float *x, const float *residual, double rate, uint32_t where, float *y)
{
    int64_t n = m->B * m->T * m->c->width;
    if (m->residual_scale == 1.0f && !(m->regime.training && rate > 0)) {
        linear(m, p, in, m->c->width, x, NULL, 0, residual, y);
        return;
    }
    linear(m, p, in, m->c->width, x, NULL, 0, NULL, y);
    dropout(m, y, m->c->width, rate, where);
    mert_axpy(m->ops, .to = y, .from = residual, .alpha = m->residual_scale, .n = n);
}

static int dropped(const mert_encoder *m, int i)
{
    mert_random r;
    if (!m->regime.training || m->regime.layerdrop <= 0)
        return 0;
    r = mert_random_key(m->regime.seed, MERT_FOR_LAYERDROP, m->regime.update << 20 | m->regime.micro_batch, (uint32_t)i, SITE_LAYERDROP);
    return mert_random_uniform(&r, 0) < m->regime.layerdrop;
}

float *mert_layer_forward(mert_encoder *m, int i, const float *x, layer_record *r, float *out)
{
    const layer_parameters *p = &m->layers[i];
    mert_arena *a = m->regime.training ? &m->kept : &m->scratch;
    mert_arena_mark mark = mert_arena_here(&m->scratch);
    int64_t n = m->B * m->T, D = m->c->width, F = m->c->ffn, H = m->c->heads;
    const float *attention_in = x, *ffn_in;
    *r = (layer_record){.x = x};
    r->skipped = dropped(m, i);
    if (r->skipped)
        return (float *)x;
    r->mean1 = mert_arena_floats(a, n);
    r->rstd1 = mert_arena_floats(a, n);
    r->mean2 = mert_arena_floats(a, n);
    r->rstd2 = mert_arena_floats(a, n);
    r->lse = mert_arena_floats(a, n * H);
    r->q = mert_arena_floats(a, n * D);
    r->k = mert_arena_floats(a, n * D);
    r->v = mert_arena_floats(a, n * D);
    r->attended = mert_arena_floats(a, n * D);
    r->s1 = mert_arena_floats(a, n * D);
    r->a1 = m->c->pre_ln ? mert_arena_floats(a, n * D) : NULL;
    r->a2 = m->c->pre_ln ? mert_arena_floats(a, n * D) : NULL;
    r->x1 = m->c->pre_ln ? r->s1 : mert_arena_floats(a, n * D);
    r->s2 = m->c->pre_ln ? out : mert_arena_floats(a, n * D);
    r->pre = m->regime.training ? mert_arena_floats(a, n * F) : NULL;
    r->h = mert_arena_floats(a, n * F);
    if (a->failed)
        return NULL;

    if (m->c->pre_ln) {
        norm(m, p->norm1, x, r->a1, r->mean1, r->rstd1);
        attention_in = r->a1;
    }
    linear(m, p->q, D, D, attention_in, NULL, 0, NULL, r->q);
    linear(m, p->k, D, D, attention_in, NULL, 0, NULL, r->k);
    linear(m, p->v, D, D, attention_in, NULL, 0, NULL, r->v);
    mert_attention(m->ops, .out = r->attended, .lse = r->lse, .largest = m->regime.training ? m->largest : NULL,
                   .q = r->q, .k = r->k, .v = r->v, .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))), .p = m->regime.training ? m->regime.attention_dropout : 0,
                   .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    branch_end(m, p->out, D, r->attended, x, m->regime.dropout, site(i, AFTER_ATTENTION), r->s1);
    if (m->c->pre_ln) {
        norm(m, p->norm2, r->x1, r->a2, r->mean2, r->rstd2);
        ffn_in = r->a2;
    } else {
        norm(m, p->norm1, r->s1, r->x1, r->mean1, r->rstd1);
        ffn_in = r->x1;
    }
    linear(m, p->fc1, D, F, ffn_in, r->pre, 1, NULL, r->h);
    dropout(m, r->h, F, m->regime.activation_dropout, site(i, IN_FFN));
    branch_end(m, p->fc2, F, r->h, r->x1, m->regime.dropout, site(i, AFTER_FFN), r->s2);
    if (!m->c->pre_ln)
        norm(m, p->norm2, r->s2, out, r->mean2, r->rstd2);
    if (!m->regime.training)
        mert_arena_back(&m->scratch, mark);
    return out;
}

/* The gradient that enters a branch: d, after the dropout at its end (a copy only where there is one). */
static float *branch_gradient(mert_encoder *m, float *d, uint32_t where)
{
    int64_t n = m->B * m->T * m->c->width;
    float *copy;
    if (m->regime.dropout <= 0)
        return d;
    copy = mert_arena_floats(&m->scratch, n);
    mert_copy(m->ops, .to = copy, .from = d, .n = n);
    dropout(m, copy, m->c->width, m->regime.dropout, where);
    return copy;
}

/* d [B*T, D]: gradient by the sum residual_scale * x1 + ffn(in) on entry, by x1 through the residual on return; dx (add: +=) by `in`. */
static void ffn_backward(mert_encoder *m, int i, const layer_record *r, const float *in, float *d, float *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T, D = m->c->width, F = m->c->ffn;
    float *dh = mert_arena_floats(&m->scratch, n * F), *end = branch_gradient(m, d, site(i, AFTER_FFN));
    linear_backward(m, p->fc2, F, D, r->h, end, dh, 0);
    dropout(m, dh, F, m->regime.activation_dropout, site(i, IN_FFN));
    mert_gelu_backward(m->ops, .dx = dh, .dy = dh, .x = r->pre, .n = n * F);
    linear_backward(m, p->fc1, D, F, in, dh, dx, add);
}

static void attention_backward(mert_encoder *m, int i, const layer_record *r, const float *in, float *d, float *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T, D = m->c->width, H = m->c->heads;
    float *end = branch_gradient(m, d, site(i, AFTER_ATTENTION));
    float *da = mert_arena_floats(&m->scratch, n * D), *dq = mert_arena_floats(&m->scratch, n * D);
    float *dk = mert_arena_floats(&m->scratch, n * D), *dv = mert_arena_floats(&m->scratch, n * D);
    linear_backward(m, p->out, D, D, r->attended, end, da, 0);
    mert_attention_backward(m->ops, .dq = dq, .dk = dk, .dv = dv, .dout = da, .out = r->attended, .lse = r->lse, .q = r->q, .k = r->k, .v = r->v,
                            .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = D, .scale = (float)(1.0 / sqrt((double)(D / H))),
                            .p = m->regime.attention_dropout, .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    linear_backward(m, p->q, D, D, in, dq, dx, add);
    linear_backward(m, p->k, D, D, in, dk, dx, 1);
    linear_backward(m, p->v, D, D, in, dv, dx, 1);
}

static void scale_residual(mert_encoder *m, float *d)
{
    if (m->residual_scale != 1.0f)
        mert_copy_2d(m->ops, .to = d, .from = d, .ldto = m->c->width, .ldfrom = m->c->width, .rows = m->B * m->T, .columns = m->c->width,
                     .scale = m->residual_scale);
}

void mert_layer_backward(mert_encoder *m, int i, const layer_record *r, float *dy)
{
    const layer_parameters *p = &m->layers[i];
    mert_arena_mark mark = mert_arena_here(&m->scratch);
    int64_t n = m->B * m->T * m->c->width;
    float *d;
    if (r->skipped)
        return;
    d = mert_arena_floats(&m->scratch, n);
    if (m->c->pre_ln) {
        ffn_backward(m, i, r, r->a2, dy, d, 0);
        norm_backward(m, p->norm2, r->x1, r->mean2, r->rstd2, d, dy, 1);
        attention_backward(m, i, r, r->a1, dy, d, 0);
        norm_backward(m, p->norm1, r->x, r->mean1, r->rstd1, d, dy, 1);
    } else {
        norm_backward(m, p->norm2, r->s2, r->mean2, r->rstd2, dy, d, 0);
        mert_copy(m->ops, .to = dy, .from = d, .n = n);
        scale_residual(m, dy);
        ffn_backward(m, i, r, r->x1, d, dy, 1);
        norm_backward(m, p->norm1, r->s1, r->mean1, r->rstd1, dy, d, 0);
        mert_copy(m->ops, .to = dy, .from = d, .n = n);
        scale_residual(m, dy);
        attention_backward(m, i, r, r->x, d, dy, 1);
    }
    mert_arena_back(&m->scratch, mark);
}
