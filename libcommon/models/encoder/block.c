/* One Conformer block, forward and backward (man/model.md 16.3):
 *
 *     s0 = x + ffn(LN(x))/2, s1 = s0 + attention(LN(s0)), s2 = s1 + convolution(LN(s1)), s3 = s2 + ffn(LN(s2))/2,
 *     y = LN(s3)
 *
 * Products are kept for the backward pass. Norms, activations, and the gate between the pointwise and the depthwise
 * convolution are computed again. */
#include "libcommon/models/encoder/conformer.h"

#include <math.h>

/* The dropouts of a block, out of SITES_PER_LAYER. */
enum { IN_FIRST, AFTER_FIRST, IN_SECOND, AFTER_SECOND, IN_HEADS, AFTER_HEADS, AFTER_CONVOLUTION };

static uint32_t site(int block, int place)
{
    return (uint32_t)(SITE_LAYER + block * SITES_PER_LAYER + place);
}

static int64_t rows(const mert_encoder *m) { return m->B * m->T; }

static mert_normed norm(mert_encoder *m, weight_bias p, const mert_element *x)
{
    return mert_step_norm(m, p, rows(m), m->c->width, m->c->eps, x);
}

static void norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, const mert_element *x,
                          mert_element *dy, mert_element *dx, int add)
{
    mert_step_norm_backward(m, p, n, rows(m), m->c->width, x, dy, dx, add);
}

/* All weights of block i, which is one range of the flat array: its norms' are a small part. */
static void make_weights(mert_encoder *m, int i)
{
    const block_parameters *p = &m->conformer->blocks[i];
    mert_step_weights(m, p->ffn[0].norm.w, p->norm.w);
}

/* y = residual + scale * dropout(linear(x)): one product if there is neither scale nor dropout. */
static void branch_end(mert_encoder *m, weight_bias p, int64_t in, const mert_element *x,
                       const mert_element *residual, float scale, uint32_t where, mert_element *y)
{
    int64_t n = rows(m), D = m->c->width;
    if (scale == 1.0f && !(m->options.training && m->options.dropout > 0)) {
        mert_step_linear(m, p, n, in, D, x, residual, y);
        return;
    }
    mert_step_linear(m, p, n, in, D, x, NULL, y);
    mert_step_dropout(m, y, n * D, m->options.dropout, where);
    if (scale != 1.0f)
        mert_copy_2d(m->ops, .to = y, .ldto = D, .from = y, .ldfrom = D, .rows = n, .columns = D, .scale = scale);
    mert_axpy(m->ops, .to = y, .from = residual, .n = n * D);
}

/* The gradient by the output of a branch's last linear layer: scale * d through the dropout; d itself if there is
 * neither. NULL: out of memory. */
static mert_element *branch_gradient(mert_encoder *m, mert_element *d, float scale, uint32_t where)
{
    int64_t n = rows(m), D = m->c->width;
    mert_element *copy;
    if (scale == 1.0f && m->options.dropout <= 0)
        return d;
    if (!(copy = mert_alloc(m, n * D)))
        return NULL;
    mert_copy_2d(m->ops, .to = copy, .ldto = D, .from = d, .ldfrom = D, .rows = n, .columns = D, .scale = scale);
    mert_step_dropout(m, copy, n * D, m->options.dropout, where);
    return copy;
}

/* ---- feed-forward halves ---- */

static mert_element *activated(mert_encoder *m, int i, int half, const mert_element *pre)
{
    int64_t n = rows(m) * m->c->ffn;
    mert_element *h = mert_alloc(m, n);
    if (!h)
        return NULL;
    mert_gelu(m->ops, .y = h, .x = pre, .n = n, .B = m->B, .p = mert_step_rate(m, m->options.activation_dropout),
              .key = mert_encoder_key(m, site(i, half ? IN_SECOND : IN_FIRST)));
    return h;
}

static void ffn(mert_encoder *m, int i, int half, const mert_element *x, mert_element *pre, mert_element *y)
{
    const ffn_parameters *p = &m->conformer->blocks[i].ffn[half];
    int64_t D = m->c->width, F = m->c->ffn;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_normed n = norm(m, p->norm, x);
    mert_element *h;
    if (!n.y)
        return;
    mert_step_linear(m, p->in, rows(m), D, F, n.y, NULL, pre);
    if ((h = activated(m, i, half, pre)))
        branch_end(m, p->out, F, h, x, 0.5f, site(i, half ? AFTER_SECOND : AFTER_FIRST), y);
    mert_arena_back(&m->memory, mark);
}

/* d: on entry the gradient by the sum, on return by x. */
static void ffn_backward(mert_encoder *m, int i, int half, const mert_element *x, const mert_element *pre,
                         mert_element *d)
{
    const ffn_parameters *p = &m->conformer->blocks[i].ffn[half];
    int64_t n = rows(m), D = m->c->width, F = m->c->ffn;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *end = branch_gradient(m, d, 0.5f, site(i, half ? AFTER_SECOND : AFTER_FIRST));
    mert_element *dn = mert_alloc(m, n * D);
    mert_element *h = activated(m, i, half, pre);
    mert_normed in = norm(m, p->norm, x);
    if (m->memory.failed)
        return;
    mert_step_linear_backward(m, p->out, n, F, D, h, end, h, 0); /* h has been read when its gradient is written */
    mert_gelu_backward(m->ops, .dx = h, .dy = h, .x = pre, .sums = mert_gradient(m, p->in.b), .n = n * F, .columns = F,
                       .B = m->B, .p = m->options.activation_dropout,
                       .key = mert_encoder_key(m, site(i, half ? IN_SECOND : IN_FIRST)));
    mert_step_linears_backward(m, p->in, 1, 0, n, D, F, in.y, h, dn, 0);
    norm_backward(m, p->norm, &in, x, dn, d, 1);
    mert_arena_back(&m->memory, mark);
}

/* ---- attention ---- */

enum { QUERY, KEY, VALUE };

static mert_element *part_of(const mert_encoder *m, mert_element *qkv, int part)
{
    return mert_at(m->ops, qkv, part * m->c->width);
}

/* Turns queries and keys by their positions. */
static void rotate(mert_encoder *m, mert_element *qkv, int inverse)
{
    for (int part = QUERY; part <= KEY; part++)
        mert_rotary_apply(&m->conformer->rotary, part_of(m, qkv, part), m->B, m->T, m->c->heads, 3 * m->c->width,
                         inverse);
}

static void attention(mert_encoder *m, int i, const mert_element *x, block_record *r, mert_element *y)
{
    const block_parameters *p = &m->conformer->blocks[i];
    int64_t D = m->c->width, H = m->c->heads;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_normed in = norm(m, p->attention_norm, x);
    mert_element *qkv = r->qkv.now;
    if (!in.y)
        return;
    mert_step_linears(m, p->qkv, 3, m->conformer->qkv_step, rows(m), D, D, in.y, qkv);
    rotate(m, qkv, 0);
    mert_attention(m->ops, .out = r->attended.now, .lse = r->lse, .largest = m->options.training ? m->largest : NULL,
                   .q = part_of(m, qkv, QUERY), .k = part_of(m, qkv, KEY), .v = part_of(m, qkv, VALUE), .B = m->B,
                   .T = m->T, .H = H, .dh = D / H, .ld = 3 * D, .ldout = D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))),
                   .p = mert_step_rate(m, m->options.attention_dropout),
                   .key = mert_encoder_key(m, site(i, IN_HEADS)));
    branch_end(m, p->out, D, r->attended.now, x, 1, site(i, AFTER_HEADS), y);
    mert_arena_back(&m->memory, mark);
}

static void attention_backward(mert_encoder *m, int i, const mert_element *x, const block_record *r, mert_element *d)
{
    const block_parameters *p = &m->conformer->blocks[i];
    int64_t n = rows(m), D = m->c->width, H = m->c->heads, step = m->conformer->qkv_step;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *end = branch_gradient(m, d, 1, site(i, AFTER_HEADS)), *da = mert_alloc(m, n * D);
    mert_element *dqkv = mert_alloc(m, 3 * n * D), *qkv = r->qkv.now;
    mert_normed in = norm(m, p->attention_norm, x);
    if (m->memory.failed)
        return;
    mert_step_linear_backward(m, p->out, n, D, D, r->attended.now, end, da, 0);
    mert_attention_backward(m->ops, .dq = part_of(m, dqkv, QUERY), .dk = part_of(m, dqkv, KEY),
                            .dv = part_of(m, dqkv, VALUE), .dout = da, .out = r->attended.now, .lse = r->lse,
                            .q = part_of(m, qkv, QUERY), .k = part_of(m, qkv, KEY), .v = part_of(m, qkv, VALUE),
                            .B = m->B, .T = m->T, .H = H, .dh = D / H, .ld = 3 * D, .ldout = D,
                            .scale = (float)(1.0 / sqrt((double)(D / H))), .p = m->options.attention_dropout,
                            .key = mert_encoder_key(m, site(i, IN_HEADS)));
    rotate(m, dqkv, 1);
    mert_step_biases_backward(m, p->qkv, 3, step, n, D, dqkv);
    mert_step_linears_backward(m, p->qkv, 3, step, n, D, D, in.y, dqkv, da, 0);
    norm_backward(m, p->attention_norm, &in, x, da, d, 1);
    mert_arena_back(&m->memory, mark);
}

/* ---- convolution ---- */

/* GELU(LN(x)) of the depthwise convolution's output, with the norm's statistics. y NULL: out of memory. */
static mert_normed norm_gelu(mert_encoder *m, weight_bias p, const mert_element *x)
{
    int64_t n = rows(m), D = m->c->width;
    mert_normed to = {mert_alloc(m, n * D), mert_alloc_floats(m, n), mert_alloc_floats(m, n)};
    if (m->memory.failed)
        return (mert_normed){0};
    mert_layer_norm(m->ops, .y = to.y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = to.mean,
                    .rstd = to.rstd, .rows = n, .columns = D, .eps = (float)m->c->eps, .gelu = 1);
    return to;
}

/* GLU of the pointwise convolution's output. */
static mert_element *gated(mert_encoder *m, const mert_element *wide)
{
    mert_element *g = mert_alloc(m, rows(m) * m->c->width);
    if (g)
        mert_glu(m->ops, .y = g, .x = wide, .rows = rows(m), .D = m->c->width);
    return g;
}

static void convolution(mert_encoder *m, int i, const mert_element *x, block_record *r, mert_element *y)
{
    const block_parameters *p = &m->conformer->blocks[i];
    int64_t n = rows(m), D = m->c->width, K = m->c->conformer.kernel;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_normed in = norm(m, p->conv_norm, x), inner;
    mert_element *g;
    if (!in.y)
        return;
    mert_step_linear(m, p->expand, n, D, 2 * D, in.y, NULL, r->wide.now);
    if (!(g = gated(m, r->wide.now)))
        return;
    mert_depthwise_conv(m->ops, .y = r->deep.now, .x = g, .w = mert_weight(m, p->depth.w), .B = m->B, .T = m->T,
                        .C = D, .kernel = K, .pad = (K - 1) / 2);
    inner = norm_gelu(m, p->depth_norm, r->deep.now);
    if (!inner.y)
        return;
    branch_end(m, p->contract, D, inner.y, x, 1, site(i, AFTER_CONVOLUTION), y);
    mert_arena_back(&m->memory, mark);
}

static void convolution_backward(mert_encoder *m, int i, const mert_element *x, const block_record *r,
                                 mert_element *d)
{
    const block_parameters *p = &m->conformer->blocks[i];
    int64_t n = rows(m), D = m->c->width, K = m->c->conformer.kernel;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *end = branch_gradient(m, d, 1, site(i, AFTER_CONVOLUTION)), *g = gated(m, r->wide.now);
    mert_element *da = mert_alloc(m, n * D), *dg = mert_alloc(m, n * D), *dwide = mert_alloc(m, 2 * n * D);
    mert_normed in = norm(m, p->conv_norm, x), inner = norm_gelu(m, p->depth_norm, r->deep.now);
    if (m->memory.failed)
        return;
    mert_step_linear_backward(m, p->contract, n, D, D, inner.y, end, da, 0);
    mert_layer_norm_backward(m->ops, .dx = da, .dw = mert_gradient(m, p->depth_norm.w),
                             .db = mert_gradient(m, p->depth_norm.b), .dy = da, .x = r->deep.now,
                             .w = mert_weight(m, p->depth_norm.w), .b = mert_weight(m, p->depth_norm.b),
                             .mean = inner.mean, .rstd = inner.rstd, .rows = n, .columns = D, .gelu = 1);
    mert_depthwise_conv_backward(m->ops, .dx = dg, .dw = mert_gradient(m, p->depth.w), .dy = da, .x = g,
                                 .w = mert_weight(m, p->depth.w), .B = m->B, .T = m->T, .C = D, .kernel = K,
                                 .pad = (K - 1) / 2);
    mert_glu_backward(m->ops, .dx = dwide, .dy = dg, .x = r->wide.now, .rows = n, .D = D);
    mert_step_linear_backward(m, p->expand, n, D, 2 * D, in.y, dwide, da, 0);
    norm_backward(m, p->conv_norm, &in, x, da, d, 1);
    mert_arena_back(&m->memory, mark);
}

/* ---- the block ---- */

static void take_kept(mert_encoder *m, block_record *r, int narrow)
{
    int64_t n = rows(m), D = m->c->width;
    r->lse = mert_alloc_floats(m, n * m->c->heads);
    mert_keep(m, &r->pre[0], n * m->c->ffn, narrow);
    mert_keep(m, &r->pre[1], n * m->c->ffn, narrow);
    for (int j = 0; j < 4; j++)
        mert_keep(m, &r->s[j], n * D, narrow);
    mert_keep(m, &r->qkv, 3 * n * D, narrow);
    mert_keep(m, &r->attended, n * D, narrow);
    mert_keep(m, &r->wide, 2 * n * D, narrow);
    mert_keep(m, &r->deep, n * D, narrow);
}

static void each_kept(mert_encoder *m, block_record *r, void (*f)(mert_encoder *, mert_kept *))
{
    mert_kept *all[] = {&r->pre[0], &r->pre[1], &r->s[0],     &r->s[1], &r->s[2],
                        &r->s[3],   &r->qkv,    &r->attended, &r->wide, &r->deep};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        f(m, all[i]);
}

/* Runs the block into memory that is already allocated. out NULL: its output is not wanted. */
static void run(mert_encoder *m, int i, block_record *r, mert_element *out)
{
    weight_bias p = m->conformer->blocks[i].norm;
    ffn(m, i, 0, r->x.now, r->pre[0].now, r->s[0].now);
    attention(m, i, r->s[0].now, r, r->s[1].now);
    convolution(m, i, r->s[1].now, r, r->s[2].now);
    ffn(m, i, 1, r->s[2].now, r->pre[1].now, r->s[3].now);
    if (out && !m->memory.failed)
        mert_layer_norm(m->ops, .y = out, .x = r->s[3].now, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b),
                        .rows = rows(m), .columns = m->c->width, .eps = (float)m->c->eps);
}

void mert_block_forward(mert_encoder *m, int i, mert_element *x, block_record *r, mert_element *out)
{
    int narrow = mert_keeps_narrow(m), stays = m->options.training && !m->options.recompute;
    mert_arena_mark mark;
    r->x = (mert_kept){.now = x};
    if (narrow)
        mert_keep(m, &r->x, rows(m) * m->c->width, 1);
    mark = mert_arena_here(&m->memory);
    take_kept(m, r, stays && narrow);
    if (stays)
        mark = mert_arena_here(&m->memory);
    each_kept(m, r, mert_kept_open);
    make_weights(m, i);
    if (m->memory.failed)
        return;
    r->x.now = x;
    mert_kept_close(m, &r->x);
    run(m, i, r, out);
    each_kept(m, r, mert_kept_close);
    mert_arena_back(&m->memory, mark);
}

void mert_block_backward(mert_encoder *m, int i, block_record *r, mert_element *dy)
{
    weight_bias p = m->conformer->blocks[i].norm;
    mert_normed last;
    if (r->skipped)
        return;
    mert_kept_again(m, &r->x);
    if (m->options.recompute)
        take_kept(m, r, 0);
    else
        each_kept(m, r, mert_kept_again);
    make_weights(m, i);
    if (m->memory.failed)
        return;
    if (m->options.recompute)
        run(m, i, r, NULL);
    last = norm(m, p, r->s[3].now);
    if (!last.y)
        return;
    norm_backward(m, p, &last, r->s[3].now, dy, dy, 0);
    ffn_backward(m, i, 1, r->s[2].now, r->pre[1].now, dy);
    convolution_backward(m, i, r->s[1].now, r, dy);
    attention_backward(m, i, r->s[0].now, r, dy);
    ffn_backward(m, i, 0, r->x.now, r->pre[0].now, dy);
    mert_arena_back(&m->memory, r->before);
}
