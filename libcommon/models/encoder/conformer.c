/* The Conformer: front end, masks, subsampler, blocks (man/model.md 16). */
#include "libcommon/models/encoder/conformer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- parameters ---- */

/* The offsets of NAME.weight and, if it exists, NAME.bias. The name is printf-style. */
MERT_PRINTF(2, 3) static weight_bias find(const mert_layout *l, const char *format, ...)
{
    char name[80], full[96];
    weight_bias p;
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    snprintf(full, sizeof full, "%s.bias", name);
    p.w = mert_layout_offset(l, "%s.weight", name);
    p.b = mert_layout_find(l, full) ? mert_layout_offset(l, "%s", full) : -1;
    return p;
}

static void find_stage(const mert_layout *l, int i, subsampler_stage *s)
{
    if (s->resampled) {
        s->norm = find(l, "subsampling_module.%d.resampling_layer.0", i);
        s->conv = find(l, "subsampling_module.%d.resampling_layer.2", i);
    }
    for (int j = 0; j < s->depth; j++) {
        convnext_parameters *p = &s->layer[j];
        p->depth = find(l, "subsampling_module.%d.convnext_layers.%d.depthwise_block.1", i, j);
        p->norm = find(l, "subsampling_module.%d.convnext_layers.%d.pointwise_block.0", i, j);
        p->up = find(l, "subsampling_module.%d.convnext_layers.%d.pointwise_block.1", i, j);
        p->response = find(l, "subsampling_module.%d.convnext_layers.%d.pointwise_block.3", i, j);
        p->down = find(l, "subsampling_module.%d.convnext_layers.%d.pointwise_block.4", i, j);
    }
}

static void find_block(const mert_layout *l, int i, block_parameters *p)
{
    for (int half = 0; half < 2; half++) {
        p->ffn[half].norm = find(l, "layers.%d.ffn%d_layer_norm", i, half + 1);
        p->ffn[half].in = find(l, "layers.%d.ffn%d.w_1", i, half + 1);
        p->ffn[half].out = find(l, "layers.%d.ffn%d.w_2", i, half + 1);
    }
    p->attention_norm = find(l, "layers.%d.attn_layer_norm", i);
    p->qkv = find(l, "layers.%d.attn.query_proj", i);
    p->out = find(l, "layers.%d.attn.out_proj", i);
    p->conv_norm = find(l, "layers.%d.conv_module.layer_norm", i);
    p->expand = find(l, "layers.%d.conv_module.conv_block.1", i);
    p->depth = find(l, "layers.%d.conv_module.conv_block.3", i);
    p->depth_norm = find(l, "layers.%d.conv_module.conv_block.4.1", i);
    p->contract = find(l, "layers.%d.conv_module.conv_block.6", i);
    p->norm = find(l, "layers.%d.final_layer_norm", i);
}

static int open_stage(mert_encoder *m, int i)
{
    const mert_config *c = m->c;
    subsampler_stage *s = &m->conformer->stage[i];
    int64_t weights;
    s->in = i ? c->conformer.stage[i - 1].channels : mert_stage_in(c, 0);
    s->channels = c->conformer.stage[i].channels;
    s->stride = c->conformer.stage[i].stride;
    s->depth = c->conformer.stage[i].depth;
    s->resampled = mert_stage_resamples(c, i);
    s->layer = calloc((size_t)s->depth + 1, sizeof *s->layer);
    s->record = calloc((size_t)s->depth + 1, sizeof *s->record);
    if (!s->layer || !s->record)
        return -1;
    find_stage(m->layout, i, s);
    weights = s->channels * 2 * s->in;
    if (!s->resampled)
        return 0;
    return !(s->ordered = mert_ops_floats(m->ops, weights)) ||
                   (m->ops->type != MERT_ELEMENT_F32 && !(s->kernel = mert_ops_elements(m->ops, weights)))
               ? -1
               : 0;
}

int mert_conformer_open(mert_encoder *m)
{
    const mert_config *c = m->c;
    mert_conformer *f = m->conformer = calloc(1, sizeof *f);
    int bad = !f;
    if (!bad) {
        mert_rotary_open(&f->rotary, m->ops, c->width / c->heads, c->conformer.rotary_base);
        f->stages = c->conformer.stages;
        f->stage = calloc((size_t)c->conformer.stages, sizeof *f->stage);
        f->blocks = calloc((size_t)c->layers, sizeof *f->blocks);
        f->records = calloc((size_t)c->layers, sizeof *f->records);
        bad = !f->stage || !f->blocks || !f->records;
    }
    for (int i = 0; i < c->conformer.stages && !bad; i++)
        bad = open_stage(m, i);
    for (int i = 0; i < c->layers && !bad; i++)
        find_block(m->layout, i, &f->blocks[i]);
    if (!bad && c->layers > 0)
        f->qkv_step = mert_layout_offset(m->layout, "layers.0.attn.key_proj.weight") - f->blocks[0].qkv.w;
    return bad ? -1 : 0;
}

void mert_conformer_close(mert_encoder *m)
{
    mert_conformer *f = m->conformer;
    if (!f)
        return;
    for (int i = 0; f->stage && i < f->stages; i++) {
        m->ops->release(m->ops, f->stage[i].ordered);
        m->ops->release(m->ops, f->stage[i].kernel);
        free(f->stage[i].layer);
        free(f->stage[i].record);
    }
    mert_rotary_close(&f->rotary);
    free(f->stage);
    free(f->blocks);
    free(f->records);
    free(f);
    m->conformer = NULL;
}

/* ---- preparation of a pass ---- */

/* Puts the resamplers' weights into the order of products. */
static void pack(mert_encoder *m)
{
    for (int i = 0; i < m->conformer->stages; i++) {
        subsampler_stage *s = &m->conformer->stage[i];
        if (!s->resampled)
            continue;
        mert_swap_axes(m->ops, .to = s->ordered, .from = mert_weight(m, s->conv.w), .n = s->channels, .a = s->in,
                       .b = 2);
        if (s->kernel)
            mert_to_elements(m->ops, .to = s->kernel, .from = s->ordered, .n = s->channels * 2 * s->in);
    }
}

/* Computes the number of frames at each stage. T: number of frames that are used, 0: all. -1: there are none, or fewer
 * than T. */
static int count_frames(mert_encoder *m, int64_t T)
{
    mert_conformer *f = m->conformer;
    const mert_config *c = m->c;
    int64_t t = f->T0 = c->convs ? m->conv_T[c->convs] : m->L;
    for (int i = 0; i < f->stages; i++) {
        subsampler_stage *s = &f->stage[i];
        s->T_in = t;
        if (s->resampled)
            t = t < 2 ? 0 : (t - 2) / s->stride + 1;
        s->T = t;
    }
    f->T_whole = t;
    m->T = T ? T : t;
    return t < 1 || m->T > t ? -1 : 0;
}

/* ---- front end and masks ---- */

/* The input of the subsampler: mel frames, or the extractor's output, with masked frames replaced. */
static mert_element *front_forward(mert_encoder *m, const mert_element *x)
{
    mert_conformer *f = m->conformer;
    int64_t C = f->stage[0].in, rows = m->B * f->T0, n = rows * C;
    mert_element *masked;
    mert_clear(m->ops, .to = m->squares, .bytes = sizeof *m->squares);
    f->frames = x;
    if (m->c->convs) {
        if (!(m->features = mert_alloc(m, n)))
            return NULL;
        mert_extractor_forward(m, m->features);
        mert_sum_squares(m->ops, .sum = m->squares, .elements = m->features, .n = n);
        f->frames = m->features;
    }
    if (!m->corruption.mask)
        return (mert_element *)(uintptr_t)f->frames;
    if (!(masked = mert_alloc(m, n)))
        return NULL;
    mert_copy(m->ops, .to = masked, .from = f->frames, .bytes = mert_element_bytes(m->ops, n));
    mert_mask(m->ops, .x = masked, .e = mert_weight(m, m->mask_emb), .mask = m->corruption.mask, .rows = rows, .D = C);
    return masked;
}

/* d [B, T0, C]: gradient by the subsampler's input. pen: gradient by features_pen. */
static void front_backward(mert_encoder *m, mert_element *d, double pen)
{
    mert_conformer *f = m->conformer;
    int64_t C = f->stage[0].in, rows = m->B * f->T0, n = rows * C;
    float mult = (float)m->options.feature_grad_mult;
    if (m->corruption.mask)
        mert_mask_backward(m->ops, .dx = d, .de = mert_gradient(m, m->mask_emb), .mask = m->corruption.mask,
                           .rows = rows, .D = C);
    if (!m->c->convs || mult <= 0)
        return;
    mert_copy_2d(m->ops, .to = d, .ldto = C, .from = d, .ldfrom = C, .rows = rows, .columns = C, .scale = mult);
    if (pen != 0)
        mert_axpy(m->ops, .to = d, .from = m->features, .alpha = (float)(mult * pen * 2.0 / (double)n), .n = n);
    mert_extractor_backward(m, d);
}

/* ---- the whole model ---- */

/* The subsampler's output, only the frames that are used. */
static mert_element *subsampled(mert_encoder *m, const mert_element *x)
{
    mert_conformer *f = m->conformer;
    int64_t D = m->c->width, n = m->B * m->T * D;
    mert_element *frames = front_forward(m, x), *y = frames ? mert_subsampler_forward(m, frames) : NULL;
    if (y && m->T < f->T_whole) {
        mert_element *all = y;
        if ((y = mert_alloc(m, n)))
            mert_copy_2d(m->ops, .to = y, .ldto = m->T * D, .from = all, .ldfrom = f->T_whole * D, .rows = m->B,
                         .columns = m->T * D);
    }
    if (y)
        mert_step_dropout(m, y, n, m->options.input_dropout, SITE_FEATURES);
    return y;
}

/* One block. If inputs of blocks are kept for the backward pass, the output is in memory of its own. */
static mert_element *block_forward(mert_encoder *m, int i, mert_element *y)
{
    block_record *r = &m->conformer->records[i];
    mert_element *out = m->turn[y == m->turn[0]];
    r->before = mert_arena_here(&m->memory);
    r->skipped = mert_layer_dropped(m, i);
    if (r->skipped)
        return y;
    if (!out)
        out = mert_alloc(m, m->B * m->T * m->c->width);
    mert_block_forward(m, i, y, r, out);
    return out;
}

const mert_element *mert_conformer_forward(mert_encoder *m, int64_t T, const mert_element *x,
                                           const mert_layer_tap *tap, mert_error *e)
{
    const mert_config *c = m->c;
    mert_element *y;
    if (count_frames(m, T)) {
        mert_fail(e, "%lld frames are too few for %lld after the subsampler", (long long)m->conformer->T0,
                  (long long)(T ? T : 1));
        return NULL;
    }
    mert_groups_need(m->groups, MERT_GROUP_EXTRACTOR, 0);
    mert_groups_need(m->groups, MERT_GROUP_PROJECTION, 0);
    mert_extractor_pack(m);
    pack(m);
    mert_fill(m->ops, .to = m->largest, .value = -INFINITY, .n = 1);
    if (mert_rotary_reach(&m->conformer->rotary, m->T) || !(y = subsampled(m, x)))
        goto memory;
    mert_groups_done(m->groups, MERT_GROUP_EXTRACTOR, 0);
    mert_groups_done(m->groups, MERT_GROUP_PROJECTION, 0);
    for (int i = 0; i < 2; i++) /* NULL if inputs of blocks are kept: each then has memory of its own */
        m->turn[i] = m->options.training && !mert_keeps_narrow(m) ? NULL : mert_alloc(m, m->B * m->T * c->width);
    for (int i = 0; i < c->layers; i++) {
        if (tap && tap->give(tap->self, i, y))
            return y;
        mert_groups_need(m->groups, MERT_GROUP_LAYERS + i, 0);
        y = block_forward(m, i, y);
        if (m->memory.failed)
            goto memory;
        mert_groups_done(m->groups, MERT_GROUP_LAYERS + i, 0);
    }
    if (tap)
        tap->give(tap->self, c->layers, y);
    return y;
memory:
    mert_fail(e, "out of memory for %lld clips of %lld frames", (long long)m->B, (long long)m->conformer->T0);
    return NULL;
}

int mert_conformer_backward(mert_encoder *m, int top, mert_element *dy, const mert_gradient_tap *tap, double pen,
                            mert_error *e)
{
    mert_conformer *f = m->conformer;
    int64_t D = m->c->width;
    mert_element *d = dy;
    for (int i = top - 1; i >= 0; i--) {
        mert_groups_need(m->groups, MERT_GROUP_LAYERS + i, 1);
        mert_block_backward(m, i, &f->records[i], dy);
        mert_groups_done(m->groups, MERT_GROUP_LAYERS + i, 1);
        if (tap)
            tap->add(tap->self, i, dy);
    }
    mert_groups_done(m->groups, mert_groups_last(m->groups), 1);
    mert_groups_need(m->groups, MERT_GROUP_PROJECTION, 1);
    mert_step_dropout(m, dy, m->B * m->T * D, m->options.input_dropout, SITE_FEATURES);
    if (m->T < f->T_whole && (d = mert_alloc(m, m->B * f->T_whole * D))) { /* the gradient is zero for frames that are
                                                                             not used */
        mert_clear(m->ops, .to = d, .bytes = mert_element_bytes(m->ops, m->B * f->T_whole * D));
        mert_copy_2d(m->ops, .to = d, .ldto = f->T_whole * D, .from = dy, .ldfrom = m->T * D, .rows = m->B,
                     .columns = m->T * D);
    }
    if (d)
        d = mert_subsampler_backward(m, d);
    mert_groups_done(m->groups, MERT_GROUP_PROJECTION, 1);
    mert_groups_need(m->groups, MERT_GROUP_EXTRACTOR, 1);
    if (d)
        front_backward(m, d, pen);
    mert_groups_done(m->groups, MERT_GROUP_EXTRACTOR, 1);
    if (m->memory.failed)
        return mert_fail(e, "out of memory for the backward pass of %lld clips of %lld frames", (long long)m->B,
                         (long long)f->T0);
    return 0;
}
