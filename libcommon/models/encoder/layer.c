/* One transformer layer, forward and backward (man/model.md 2.6).
 *
 *     post-LN: s1 = x + attn(x), x1 = LN(s1), s2 = x1 + ffn(x1), y = LN(s2)    (deepnorm: residuals times (2N)^0.25)
 *     pre-LN:  x1 = x + attn(LN(x)), y = x1 + ffn(LN(x1)) */
#include "libcommon/base/random.h"
#include "libcommon/models/encoder/steps.h"

#include <math.h>

static uint32_t site(int layer, int place)
{
    return (uint32_t)(SITE_LAYER + layer * SITES_PER_LAYER + place);
}

/* All weights of layer i, which is one range of the flat array. */
static void make_weights(mert_encoder *m, int i)
{
    const layer_parameters *p = &m->layers[i];
    mert_step_weights(m, p->qkv.w, p->fc2.w + m->c->ffn * m->c->width);
}

static int64_t rows(const mert_encoder *m)
{
    return m->B * m->T;
}

static void norm(mert_encoder *m, weight_bias p, const mert_element *x, mert_element *y, float *mean, float *rstd)
{
    mert_step_norm_into(m, p, rows(m), m->c->width, m->c->eps, x, (mert_normed){y, mean, rstd});
}

/* s = residual_scale * residual + dropout(s); y (NULL: not wanted) = norm of s. */
static void branch_end(mert_encoder *m, uint32_t where, weight_bias p, const mert_element *residual, mert_element *s,
                       mert_element *y, float *mean, float *rstd)
{
    mert_add_norm(m->ops, .s = s, .y = y, .x = s, .residual = residual, .w = mert_weight(m, p.w),
                  .b = mert_weight(m, p.b), .mean = mean, .rstd = rstd, .B = m->B, .T = m->T, .D = m->c->width,
                  .scale = m->residual_scale, .eps = (float)m->c->eps, .p = mert_step_rate(m, m->options.dropout),
                  .key = mert_encoder_key(m, where));
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

/* ---- activations that are kept, and activations computed from them ---- */

static void take_kept(mert_encoder *m, layer_record *r, int narrow)
{
    int64_t n = m->B * m->T, D = m->c->width;
    r->lse = mert_alloc_floats(m, n * m->c->heads);
    mert_keep(m, &r->qkv, 3 * n * D, narrow);
    mert_keep(m, &r->attended, n * D, narrow);
    mert_keep(m, &r->s1, n * D, narrow);
    mert_keep(m, &r->pre, n * m->c->ffn, narrow);
    if (!m->c->pre_ln)
        mert_keep(m, &r->s2, n * D, narrow);
}

static void each_kept(mert_encoder *m, layer_record *r, void (*f)(mert_encoder *, mert_kept *))
{
    mert_kept *all[] = {&r->qkv, &r->attended, &r->s1, &r->pre, &r->s2};
    for (int i = 0; i < 4 + !m->c->pre_ln; i++)
        f(m, all[i]);
}

static void take_rest(mert_encoder *m, layer_record *r)
{
    int64_t n = m->B * m->T, D = m->c->width;
    if (m->c->pre_ln) {
        r->mean_x = mert_alloc_floats(m, n);
        r->rstd_x = mert_alloc_floats(m, n);
        r->in1 = mert_alloc(m, n * D);
    }
    r->mean_s1 = mert_alloc_floats(m, n);
    r->rstd_s1 = mert_alloc_floats(m, n);
    r->in2 = mert_alloc(m, n * D);
    r->h = mert_alloc(m, n * m->c->ffn);
}

static void make_in1(mert_encoder *m, int i, layer_record *r)
{
    if (m->c->pre_ln)
        norm(m, m->layers[i].norm1, r->x.now, r->in1, r->mean_x, r->rstd_x);
    else
        r->in1 = r->x.now;
}

/* The norm after s1. */
static weight_bias middle_norm(const mert_encoder *m, int i)
{
    return m->c->pre_ln ? m->layers[i].norm2 : m->layers[i].norm1;
}

static void make_h(mert_encoder *m, int i, layer_record *r)
{
    mert_gelu(m->ops, .y = r->h, .x = r->pre.now, .n = m->B * m->T * m->c->ffn, .B = m->B,
              .p = mert_step_rate(m, m->options.activation_dropout), .key = mert_encoder_key(m, site(i, IN_FFN)));
}

static mert_element *part_of(const mert_encoder *m, mert_element *qkv, int part)
{
    return mert_at(m->ops, qkv, part * m->c->width);
}

/* Runs the layer into memory that is already allocated. out NULL: its output is not wanted. */
static void run(mert_encoder *m, int i, layer_record *r, mert_element *out)
{
    const layer_parameters *p = &m->layers[i];
    int64_t D = m->c->width, F = m->c->ffn, H = m->c->heads;
    mert_element *end = m->c->pre_ln ? out : r->s2.now;
    make_in1(m, i, r);
    mert_step_linears(m, p->qkv, 3, m->qkv_step, rows(m), D, D, r->in1, r->qkv.now);
    mert_attention(m->ops, .out = r->attended.now, .lse = r->lse, .largest = m->options.training ? m->largest : NULL,
                   .q = part_of(m, r->qkv.now, MERT_QUERY), .k = part_of(m, r->qkv.now, MERT_KEY),
                   .v = part_of(m, r->qkv.now, MERT_VALUE), .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = 3 * D,
                   .ldout = D, .scale = (float)(1.0 / sqrt((double)(D / H))),
                   .p = mert_step_rate(m, m->options.attention_dropout), .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    mert_step_linear(m, p->out, rows(m), D, D, r->attended.now, NULL, r->s1.now);
    branch_end(m, site(i, AFTER_ATTENTION), middle_norm(m, i), r->x.now, r->s1.now, r->in2, r->mean_s1, r->rstd_s1);
    mert_step_linear(m, p->fc1, rows(m), D, F, r->in2, NULL, r->pre.now);
    make_h(m, i, r);
    if (!end)
        return;
    mert_step_linear(m, p->fc2, rows(m), F, D, r->h, NULL, end);
    branch_end(m, site(i, AFTER_FFN), p->norm2, m->c->pre_ln ? r->s1.now : r->in2, end, m->c->pre_ln ? NULL : out,
               r->mean_s2, r->rstd_s2);
}

/* 1: all products of the forward pass use packed weights. */
static int all_packed(const mert_encoder *m)
{
    int64_t D = m->c->width, F = m->c->ffn, rows = m->B * m->T;
    return mert_ops_packed_floats(m->ops, rows, D, D, MERT_PACKED_F32) &&
           mert_ops_packed_floats(m->ops, rows, F, D, MERT_PACKED_F32) &&
           mert_ops_packed_floats(m->ops, rows, D, F, MERT_PACKED_F32);
}

void mert_layer_forward(mert_encoder *m, int i, mert_element *x, layer_record *r, mert_element *out)
{
    int64_t n = m->B * m->T;
    int narrow = mert_keeps_narrow(m), stays = m->options.training && !m->options.recompute;
    mert_arena_mark mark;
    r->x = (mert_kept){.now = x};
    if (narrow)
        mert_keep(m, &r->x, n * m->c->width, 1);
    r->mean_s2 = mert_alloc_floats(m, n);
    r->rstd_s2 = mert_alloc_floats(m, n);
    mark = mert_arena_here(&m->memory);
    take_kept(m, r, stays && narrow);
    if (stays)
        mark = mert_arena_here(&m->memory);
    each_kept(m, r, mert_kept_open);
    take_rest(m, r);
    if (!all_packed(m))
        make_weights(m, i);
    if (m->memory.failed)
        return;
    r->x.now = x;
    mert_kept_close(m, &r->x);
    run(m, i, r, out);
    each_kept(m, r, mert_kept_close);
    mert_arena_back(&m->memory, mark);
}

/* Makes all activations of the layer's forward pass available again. */
static void restore_activations(mert_encoder *m, int i, layer_record *r)
{
    mert_kept_again(m, &r->x);
    if (m->options.recompute)
        take_kept(m, r, 0);
    else
        each_kept(m, r, mert_kept_again);
    take_rest(m, r);
    make_weights(m, i);
    if (m->memory.failed)
        return;
    if (m->options.recompute) {
        run(m, i, r, NULL);
        return;
    }
    make_in1(m, i, r);
    norm(m, middle_norm(m, i), r->s1.now, r->in2, r->mean_s1, r->rstd_s1);
    make_h(m, i, r);
}

/* ---- backward ---- */

/* The backward pass of branch_end(). d: the gradient by the norm of s (s NULL: by s itself). d_residual (add: += before
 * it is scaled): the gradient by the residual. end: the gradient by the output of the branch's last linear layer, whose
 * bias's gradient is added, too. Returns `end`; or d_residual if both gradients are equal, because with pre-LN and
 * without dropout there is neither a scale nor a mask. */
static mert_element *branch_backward(mert_encoder *m, uint32_t where, weight_bias last, weight_bias p,
                                     const mert_element *s, const float *mean, const float *rstd,
                                     const mert_element *d, mert_element *d_residual, int add, mert_element *end)
{
    int same = m->c->pre_ln && m->options.dropout <= 0;
    mert_add_norm_backward(m->ops, .dresidual = d_residual, .dx = same ? NULL : end,
                           .dw = s ? mert_gradient(m, p.w) : NULL, .db = s ? mert_gradient(m, p.b) : NULL,
                           .sums = mert_gradient(m, last.b), .dy = d, .s = s, .w = s ? mert_weight(m, p.w) : NULL,
                           .mean = mean, .rstd = rstd, .B = m->B, .T = m->T, .D = m->c->width,
                           .scale = m->residual_scale, .add = add, .p = m->options.dropout,
                           .key = mert_encoder_key(m, where));
    return same ? d_residual : end;
}

/* end [B*T, D]: gradient by the output of fc2; dx (add: +=): gradient by `in`. */
static void ffn_backward(mert_encoder *m, int i, const layer_record *r, const mert_element *in,
                         const mert_element *end, mert_element *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t D = m->c->width, F = m->c->ffn;
    mert_element *dh = r->h; /* h has been read when dh is written */
    mert_step_linears_backward(m, p->fc2, 1, 0, rows(m), F, D, r->h, end, dh, 0);
    mert_gelu_backward(m->ops, .dx = dh, .dy = dh, .x = r->pre.now, .sums = mert_gradient(m, p->fc1.b),
                       .n = m->B * m->T * F, .columns = F, .B = m->B, .p = m->options.activation_dropout,
                       .key = mert_encoder_key(m, site(i, IN_FFN)));
    mert_step_linears_backward(m, p->fc1, 1, 0, rows(m), D, F, in, dh, dx, add);
}

/* end [B*T, D]: gradient by the output of the attention's last product; dx (add: +=): gradient by `in`. */
static void attention_backward(mert_encoder *m, int i, const layer_record *r, const mert_element *in,
                               const mert_element *end, mert_element *dx, int add)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T, D = m->c->width, H = m->c->heads;
    mert_element *da = mert_alloc(m, n * D), *d = mert_alloc(m, 3 * n * D), *qkv = r->qkv.now;
    if (m->memory.failed)
        return;
    mert_step_linears_backward(m, p->out, 1, 0, rows(m), D, D, r->attended.now, end, da, 0);
    mert_attention_backward(m->ops, .dq = part_of(m, d, MERT_QUERY), .dk = part_of(m, d, MERT_KEY),
                            .dv = part_of(m, d, MERT_VALUE), .dout = da, .out = r->attended.now, .lse = r->lse,
                            .q = part_of(m, qkv, MERT_QUERY), .k = part_of(m, qkv, MERT_KEY),
                            .v = part_of(m, qkv, MERT_VALUE), .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = 3 * D,
                            .ldout = D, .scale = (float)(1.0 / sqrt((double)(D / H))),
                            .p = m->options.attention_dropout, .key = mert_encoder_key(m, site(i, IN_ATTENTION)));
    mert_step_biases_backward(m, p->qkv, 3, m->qkv_step, n, D, d);
    mert_step_linears_backward(m, p->qkv, 3, m->qkv_step, n, D, D, in, d, dx, add);
}

void mert_layer_backward(mert_encoder *m, int i, layer_record *r, mert_element *dy)
{
    const layer_parameters *p = &m->layers[i];
    int64_t n = m->B * m->T * m->c->width;
    mert_element *d, *end, *room;
    if (r->skipped)
        return;
    restore_activations(m, i, r);
    d = mert_alloc(m, n);
    room = m->c->pre_ln && m->options.dropout > 0 ? mert_alloc(m, n) : NULL;
    if (m->memory.failed)
        return;
    if (m->c->pre_ln) {
        end = branch_backward(m, site(i, AFTER_FFN), p->fc2, p->norm2, NULL, NULL, NULL, dy, dy, 0, room);
        ffn_backward(m, i, r, r->in2, end, d, 0);
        end = branch_backward(m, site(i, AFTER_ATTENTION), p->out, p->norm2, r->s1.now, r->mean_s1, r->rstd_s1, d, dy,
                              1, room);
        attention_backward(m, i, r, r->in1, end, d, 0);
        mert_step_norm_backward(m, p->norm1, &(mert_normed){NULL, r->mean_x, r->rstd_x}, rows(m), m->c->width,
                                r->x.now, d, dy, 1);
    } else {
        branch_backward(m, site(i, AFTER_FFN), p->fc2, p->norm2, r->s2.now, r->mean_s2, r->rstd_s2, dy, dy, 0, d);
        ffn_backward(m, i, r, r->in2, d, dy, 1);
        branch_backward(m, site(i, AFTER_ATTENTION), p->out, p->norm1, r->s1.now, r->mean_s1, r->rstd_s1, dy, dy, 0,
                        d);
        attention_backward(m, i, r, r->in1, d, dy, 1);
    }
    mert_arena_back(&m->memory, r->before);
}
