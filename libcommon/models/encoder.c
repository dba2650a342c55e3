/* From waveform to hidden states: extractor, projection, positional convolution, layers (REFERENCE 1, steps 1 to 6). */
#include "encoder_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static weight_bias pair(const mert_layout *l, const char *format, int i)
{
    char name[96], full[112];
    weight_bias a;
    snprintf(name, sizeof name, format, i);
    snprintf(full, sizeof full, "%s.bias", name);
    a.w = mert_layout_offset(l, "%s.weight", name);
    a.b = mert_layout_find(l, full) ? mert_layout_offset(l, "%s.bias", name) : -1;
    return a;
}

static void find_parameters(mert_encoder *m)
{
    const mert_layout *l = m->layout;
    for (int i = 0; i < m->c->convs; i++) {
        m->conv[i] = pair(l, "feature_extractor.conv_layers.%d.0", i);
        if (m->c->extractor_layer_norm)
            m->conv_norm[i] = pair(l, "feature_extractor.conv_layers.%d.2.1", i);
        else if (i == 0)
            m->conv_norm[i] = pair(l, "feature_extractor.conv_layers.%d.2", i);
    }
    m->feature_norm = pair(l, "layer_norm", 0);
    m->projection = pair(l, "post_extract_proj", 0);
    m->encoder_norm = pair(l, "encoder.layer_norm", 0);
    m->mask_emb = mert_layout_offset(l, "mask_emb");
    m->pos_g = mert_layout_offset(l, "encoder.pos_conv.0.weight_g");
    m->pos_v = mert_layout_offset(l, "encoder.pos_conv.0.weight_v");
    m->pos_bias = mert_layout_offset(l, "encoder.pos_conv.0.bias");
    for (int i = 0; i < m->c->layers; i++) {
        layer_parameters *p = &m->layers[i];
        p->q = pair(l, "encoder.layers.%d.self_attn.q_proj", i);
        p->k = pair(l, "encoder.layers.%d.self_attn.k_proj", i);
        p->v = pair(l, "encoder.layers.%d.self_attn.v_proj", i);
        p->out = pair(l, "encoder.layers.%d.self_attn.out_proj", i);
        p->norm1 = pair(l, "encoder.layers.%d.self_attn_layer_norm", i);
        p->fc1 = pair(l, "encoder.layers.%d.fc1", i);
        p->fc2 = pair(l, "encoder.layers.%d.fc2", i);
        p->norm2 = pair(l, "encoder.layers.%d.final_layer_norm", i);
    }
}

static int64_t conv_channels(const mert_config *c, int i) /* into layer i */
{
    return i ? c->conv[i - 1].dim : 1;
}

mert_encoder *mert_encoder_new(const mert_layout *layout, mert_ops *ops, const float *weights, float *gradients, mert_error *e)
{
    mert_encoder *m = calloc(1, sizeof *m);
    const mert_config *c = &layout->config;
    int bad = 0;
    if (!m)
        goto fail;
    m->layout = layout;
    m->c = c;
    m->ops = ops;
    if (mert_parts_make(&m->flat, layout, weights, gradients, e))
        goto fail;
    m->parts = &m->flat;
    m->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    mert_arena_open(&m->kept, ops);
    mert_arena_open(&m->scratch, ops);
    m->layers = calloc((size_t)c->layers, sizeof *m->layers);
    m->records = calloc((size_t)c->layers, sizeof *m->records);
    if (!m->layers || !m->records)
        goto fail;
    find_parameters(m);
    for (int i = 0; i < c->convs; i++)
        bad |= !(m->packed[i] = mert_ops_floats(ops, conv_channels(c, i) * c->conv[i].dim * c->conv[i].kernel));
    bad |= !(m->pos_w = mert_ops_floats(ops, (int64_t)c->width * (c->width / c->pos_groups) * c->pos_kernel));
    bad |= !(m->pos_norm = mert_ops_floats(ops, c->pos_kernel));
    bad |= !(m->squares = ops->alloc(ops, sizeof *m->squares));
    bad |= !(m->largest = mert_ops_floats(ops, 1));
    if (!bad)
        return m;
fail:
    mert_encoder_free(m);
    mert_fail(e, "out of memory for the model");
    return NULL;
}

void mert_encoder_free(mert_encoder *m)
{
    if (!m)
        return;
    mert_arena_close(&m->kept);
    mert_arena_close(&m->scratch);
    for (int i = 0; i < m->c->convs; i++)
        m->ops->release(m->ops, m->packed[i]);
    m->ops->release(m->ops, m->pos_w);
    m->ops->release(m->ops, m->pos_norm);
    m->ops->release(m->ops, m->squares);
    m->ops->release(m->ops, m->largest);
    mert_parts_free(&m->flat);
    free(m->layers);
    free(m->records);
    free(m);
}

void mert_encoder_use_parts(mert_encoder *m, const mert_parts *parts)
{
    m->parts = parts;
    m->fresh = 0;
}

void mert_encoder_refresh(mert_encoder *m)
{
    m->fresh = 0;
}

const double *mert_encoder_features_squares(const mert_encoder *m)
{
    return m->squares;
}

const float *mert_encoder_largest_logit(const mert_encoder *m)
{
    return m->largest;
}

const float *mert_encoder_features(const mert_encoder *m)
{
    return m->features;
}

size_t mert_encoder_memory(const mert_encoder *m)
{
    return m->kept.most + m->scratch.most;
}

static int dropping(const mert_encoder *m, double p)
{
    return m->regime.training && p > 0;
}

/* ---- weights in the order that products want ---- */

static void pack(mert_encoder *m)
{
    const mert_config *c = m->c;
    if (m->fresh && !m->regime.training) /* an update may lie between an evaluation and this */
        return;
    for (int i = 0; i < c->convs; i++)
        mert_swap_axes(m->ops, .to = m->packed[i], .from = mert_weight(m, m->conv[i].w), .n = c->conv[i].dim, .a = conv_channels(c, i),
                       .b = c->conv[i].kernel);
    mert_weight_norm(m->ops, .w = m->pos_w, .norm = m->pos_norm, .g = mert_weight(m, m->pos_g), .v = mert_weight(m, m->pos_v), .out = c->width,
                     .in = c->width / c->pos_groups, .kernel = c->pos_kernel);
    m->fresh = !m->regime.training;
}

/* ---- step 1: the extractor ---- */

static mert_conv_shape conv_shape(const mert_encoder *m, int i)
{
    const mert_config *c = m->c;
    return (mert_conv_shape){m->B, m->conv_T[i], m->conv_T[i + 1], conv_channels(c, i), c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride};
}

static const float *extractor_forward(mert_encoder *m, const float *x)
{
    const mert_config *c = m->c;
    for (int i = 0; i < c->convs; i++) {
        mert_conv_shape s = conv_shape(m, i);
        int64_t n = s.B * s.T_out * s.O, rows = s.B * s.T_out;
        int over_time = i == 0 && !c->extractor_layer_norm, normed = over_time || c->extractor_layer_norm;
        const float *bias = m->conv[i].b >= 0 ? mert_weight(m, m->conv[i].b) : NULL;
        float *out = mert_arena_floats(&m->kept, n);
        float *y = normed ? mert_arena_floats(&m->kept, n) : out;
        float *pre = m->regime.training ? mert_arena_floats(&m->kept, n) : NULL;
        m->conv_in[i] = x;
        m->conv_out[i] = out;
        m->conv_pre[i] = pre;
        if (normed) {
            int64_t stats = over_time ? s.B * s.O : rows;
            m->conv_mean[i] = mert_arena_floats(&m->kept, stats);
            m->conv_rstd[i] = mert_arena_floats(&m->kept, stats);
        }
        if (m->kept.failed)
            return NULL;
        mert_conv(m->ops, &s, x, m->packed[i], bias, normed ? NULL : pre, !normed, out);
        if (over_time) {
            mert_time_norm(m->ops, .y = y, .x = out, .w = mert_weight(m, m->conv_norm[i].w), .b = mert_weight(m, m->conv_norm[i].b),
                           .mean = m->conv_mean[i], .rstd = m->conv_rstd[i], .pre = pre, .B = s.B, .T = s.T_out, .C = s.O, .eps = (float)c->eps,
                           .gelu = 1);
        } else if (normed) {
            float *argument = pre ? pre : y;
            mert_layer_norm(m->ops, .y = argument, .x = out, .w = mert_weight(m, m->conv_norm[i].w), .b = mert_weight(m, m->conv_norm[i].b),
                            .mean = m->conv_mean[i], .rstd = m->conv_rstd[i], .rows = rows, .columns = s.O, .eps = (float)c->eps);
            mert_gelu(m->ops, .y = y, .x = argument, .n = n);
        }
        x = y;
    }
    return x;
}

/* d: gradient by the extractor's last output [B, T_conv, C], overwritten. */
static void extractor_backward(mert_encoder *m, float *d)
{
    const mert_config *c = m->c;
    for (int i = c->convs - 1; i >= 0; i--) {
        mert_conv_shape s = conv_shape(m, i);
        int64_t n = s.B * s.T_out * s.O, weights = s.O * s.kernel * s.C;
        float *dw = mert_arena_floats(&m->scratch, weights), *dx = i ? mert_arena_floats(&m->scratch, s.B * s.T_in * s.C) : NULL;
        mert_gelu_backward(m->ops, .dx = d, .dy = d, .x = m->conv_pre[i], .n = n);
        if (c->extractor_layer_norm)
            mert_layer_norm_backward(m->ops, .dx = d, .dw = mert_gradient(m, m->conv_norm[i].w), .db = mert_gradient(m, m->conv_norm[i].b),
                                     .dy = d, .x = m->conv_out[i], .w = mert_weight(m, m->conv_norm[i].w), .mean = m->conv_mean[i],
                                     .rstd = m->conv_rstd[i], .rows = s.B * s.T_out, .columns = s.O);
        else if (i == 0)
            mert_time_norm_backward(m->ops, .dx = d, .dw = mert_gradient(m, m->conv_norm[i].w), .db = mert_gradient(m, m->conv_norm[i].b), .dy = d,
                                    .x = m->conv_out[i], .w = mert_weight(m, m->conv_norm[i].w), .mean = m->conv_mean[i],
                                    .rstd = m->conv_rstd[i], .B = s.B, .T = s.T_out, .C = s.O);
        mert_fill(m->ops, .to = dw, .n = weights);
        mert_conv_backward(m->ops, &s, m->conv_in[i], m->packed[i], d, dw, m->conv[i].b >= 0 ? mert_gradient(m, m->conv[i].b) : NULL, dx);
        mert_swap_axes(m->ops, .to = mert_gradient(m, m->conv[i].w), .from = dw, .n = s.O, .a = s.kernel, .b = s.C, .add = 1);
        d = dx;
    }
}

/* ---- steps 2 to 4: penalty, norm, projection, mask ---- */

static float *projection_forward(mert_encoder *m, const float *extracted, const float *cqt)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, C = c->conv[c->convs - 1].dim, J = mert_config_features(c), conv_T = m->conv_T[c->convs];
    m->features = mert_arena_floats(&m->kept, n * C);
    m->joined = c->cqt_input ? mert_arena_floats(&m->kept, n * J) : m->features;
    m->joined_norm = mert_arena_floats(&m->kept, n * J);
    m->feature_mean = mert_arena_floats(&m->kept, n);
    m->feature_rstd = mert_arena_floats(&m->kept, n);
    m->projected = mert_arena_floats(&m->kept, n * c->width);
    if (m->kept.failed)
        return NULL;
    mert_copy_2d(m->ops, .to = m->features, .ldto = m->T * C, .from = extracted, .ldfrom = conv_T * C, .rows = m->B, .columns = m->T * C);
    mert_fill(m->ops, .to = (float *)(void *)m->squares, .n = 2);
    mert_sum_squares(m->ops, .sum = m->squares, .x = m->features, .n = n * C);
    if (c->cqt_input) {
        mert_copy_2d(m->ops, .to = m->joined, .ldto = J, .from = m->features, .ldfrom = C, .rows = n, .columns = C);
        mert_copy_2d(m->ops, .to = m->joined + C, .ldto = J, .from = cqt, .ldfrom = J - C, .rows = n, .columns = J - C);
    }
    mert_layer_norm(m->ops, .y = m->joined_norm, .x = m->joined, .w = mert_weight(m, m->feature_norm.w), .b = mert_weight(m, m->feature_norm.b),
                    .mean = m->feature_mean, .rstd = m->feature_rstd, .rows = n, .columns = J, .eps = (float)c->eps);
    mert_linear(m->ops, n, J, c->width, m->joined_norm, mert_weight(m, m->projection.w), mert_weight(m, m->projection.b), NULL, 0, NULL,
                m->projected);
    if (dropping(m, m->regime.input_dropout))
        mert_dropout(m->ops, .x = m->projected, .B = m->B, .n = m->T * c->width, .p = m->regime.input_dropout,
                     .key = mert_encoder_key(m, SITE_FEATURES));
    return mert_corruption_forward(m, m->projected) ? NULL : m->projected;
}

/* d [B*T, D]: gradient by the projected frames. pen: by features_pen. */
static void projection_backward(mert_encoder *m, float *d, double pen)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, C = c->conv[c->convs - 1].dim, J = mert_config_features(c), conv_T = m->conv_T[c->convs];
    float *dj = mert_arena_floats(&m->scratch, n * J), *df, mult = (float)m->regime.feature_grad_mult;
    if (mert_corruption_backward(m, d))
        return;
    if (dropping(m, m->regime.input_dropout))
        mert_dropout(m->ops, .x = d, .B = m->B, .n = m->T * c->width, .p = m->regime.input_dropout, .key = mert_encoder_key(m, SITE_FEATURES));
    mert_linear_backward(m->ops, n, J, c->width, m->joined_norm, mert_weight(m, m->projection.w), d, mert_gradient(m, m->projection.w),
                         mert_gradient(m, m->projection.b), dj, 0);
    mert_layer_norm_backward(m->ops, .dx = dj, .dw = mert_gradient(m, m->feature_norm.w), .db = mert_gradient(m, m->feature_norm.b), .dy = dj,
                             .x = m->joined, .w = mert_weight(m, m->feature_norm.w), .mean = m->feature_mean, .rstd = m->feature_rstd, .rows = n,
                             .columns = J);
    mert_parts_done(m->parts, MERT_PART_PROJECTION, 1);
    if (mult <= 0)
        return;
    /* by the extractor's own output: frames that were cut have gradient zero */
    df = mert_arena_floats(&m->scratch, m->B * conv_T * C);
    mert_fill(m->ops, .to = df, .n = m->B * conv_T * C);
    for (int64_t b = 0; b < m->B; b++) {
        mert_copy_2d(m->ops, .to = df + b * conv_T * C, .ldto = C, .from = dj + b * m->T * J, .ldfrom = J, .rows = m->T, .columns = C, .scale = mult);
        if (pen != 0)
            mert_axpy(m->ops, .to = df + b * conv_T * C, .from = m->features + b * m->T * C,
                      .alpha = (float)(mult * pen * 2.0 / (double)(n * C)), .n = m->T * C);
    }
    extractor_backward(m, df);
}

/* ---- step 5: position ---- */

/* y = x + gelu(conv(x)), then (post-LN) LayerNorm and dropout. */
static float *position_forward(mert_encoder *m, const float *x)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, D = c->width;
    float *y;
    m->pos_pre = mert_arena_floats(&m->kept, n * D);
    m->pos_sum = mert_arena_floats(&m->kept, n * D);
    m->encoder_mean = mert_arena_floats(&m->kept, n);
    m->encoder_rstd = mert_arena_floats(&m->kept, n);
    y = c->pre_ln ? m->pos_sum : mert_arena_floats(&m->kept, n * D);
    if (m->kept.failed)
        return NULL;
    mert_grouped_conv(m->ops, .y = m->pos_pre, .x = x, .w = m->pos_w, .bias = mert_weight(m, m->pos_bias), .B = m->B, .T = m->T, .D = D,
                      .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    mert_gelu(m->ops, .y = m->pos_sum, .x = m->pos_pre, .residual = x, .n = n * D);
    if (!c->pre_ln)
        mert_layer_norm(m->ops, .y = y, .x = m->pos_sum, .w = mert_weight(m, m->encoder_norm.w), .b = mert_weight(m, m->encoder_norm.b),
                        .mean = m->encoder_mean, .rstd = m->encoder_rstd, .rows = n, .columns = D, .eps = (float)c->eps);
    if (dropping(m, m->regime.dropout))
        mert_dropout(m->ops, .x = y, .B = m->B, .n = m->T * D, .p = m->regime.dropout, .key = mert_encoder_key(m, SITE_INPUT));
    return y;
}

static void position_backward(mert_encoder *m, float *d)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, D = c->width, weights = D * (D / c->pos_groups) * c->pos_kernel;
    float *dw = mert_arena_floats(&m->scratch, weights), *dpre = mert_arena_floats(&m->scratch, n * D);
    if (dropping(m, m->regime.dropout))
        mert_dropout(m->ops, .x = d, .B = m->B, .n = m->T * D, .p = m->regime.dropout, .key = mert_encoder_key(m, SITE_INPUT));
    if (!c->pre_ln)
        mert_layer_norm_backward(m->ops, .dx = d, .dw = mert_gradient(m, m->encoder_norm.w), .db = mert_gradient(m, m->encoder_norm.b), .dy = d,
                                 .x = m->pos_sum, .w = mert_weight(m, m->encoder_norm.w), .mean = m->encoder_mean, .rstd = m->encoder_rstd,
                                 .rows = n, .columns = D);
    mert_gelu_backward(m->ops, .dx = dpre, .dy = d, .x = m->pos_pre, .n = n * D);
    mert_column_sum(m->ops, .sums = mert_gradient(m, m->pos_bias), .x = dpre, .rows = n, .columns = D, .ldx = D);
    mert_fill(m->ops, .to = dw, .n = weights);
    mert_grouped_conv_backward(m->ops, .dx = d, .dw = dw, .dy = dpre, .x = m->projected, .w = m->pos_w, .B = m->B, .T = m->T, .D = D,
                               .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    mert_weight_norm_backward(m->ops, .dg = mert_gradient(m, m->pos_g), .dv = mert_gradient(m, m->pos_v), .dw = dw, .g = mert_weight(m, m->pos_g),
                              .v = mert_weight(m, m->pos_v), .norm = m->pos_norm, .out = D, .in = D / c->pos_groups, .kernel = c->pos_kernel);
}

/* ---- the whole ---- */

static int prepare(mert_encoder *m, const mert_regime *r, int64_t B, int64_t L, int64_t T, mert_error *e)
{
    const mert_config *c = m->c;
    int64_t all = mert_config_frames(c, L);
    m->regime = *r;
    m->B = B;
    m->L = L;
    m->T = T ? T : all;
    if (all < 1 || m->T > all)
        return mert_fail(e, "%lld samples are shorter than the receptive field of %d", (long long)L, mert_config_receptive_field(c));
    m->conv_T[0] = L;
    for (int i = 0; i < c->convs; i++)
        m->conv_T[i + 1] = (m->conv_T[i] - c->conv[i].kernel) / c->conv[i].stride + 1;
    mert_arena_reset(&m->kept);
    mert_arena_reset(&m->scratch);
    return 0;
}

const float *mert_encoder_forward(mert_encoder *m, const mert_regime *r, int64_t B, int64_t L, int64_t T, const float *x,
                                  const mert_corruption *corruption, const float *cqt, const mert_layer_tap *tap, mert_error *e)
{
    const mert_config *c = m->c;
    const float *y;
    float *turn[2] = {NULL, NULL};
    int64_t n;
    if (prepare(m, r, B, L, T, e))
        return NULL;
    m->corruption = corruption ? *corruption : (mert_corruption){0};
    n = m->B * m->T * c->width;
    mert_parts_need(m->parts, MERT_PART_EXTRACTOR, 0);
    mert_parts_need(m->parts, MERT_PART_PROJECTION, 0);
    if (!c->pre_ln) /* encoder.layer_norm */
        mert_parts_need(m->parts, mert_part_last(m->parts), 0);
    pack(m);
    mert_fill(m->ops, .to = m->largest, .value = -INFINITY, .n = 1);
    if (!(y = extractor_forward(m, x)) || !(y = projection_forward(m, y, cqt)) || !(y = position_forward(m, y)))
        goto memory;
    mert_parts_done(m->parts, MERT_PART_EXTRACTOR, 0);
    mert_parts_done(m->parts, MERT_PART_PROJECTION, 0);
    if (!c->pre_ln)
        mert_parts_done(m->parts, mert_part_last(m->parts), 0);
    for (int i = 0; i < c->layers; i++) {
        float *out;
        if (tap && tap->give(tap->self, i, y))
            return y;
        if (m->regime.training || !turn[i % 2])
            turn[i % 2] = mert_arena_floats(&m->kept, n);
        out = turn[i % 2];
        mert_parts_need(m->parts, MERT_PART_LAYERS + i, 0);
        if (!out || !(y = mert_layer_forward(m, i, y, &m->records[i], out)))
            goto memory;
        mert_parts_done(m->parts, MERT_PART_LAYERS + i, 0);
    }
    m->final_in = (float *)y;
    if (c->pre_ln) {
        float *out = mert_arena_floats(&m->kept, n);
        if (!out)
            goto memory;
        mert_parts_need(m->parts, mert_part_last(m->parts), 0);
        mert_layer_norm(m->ops, .y = out, .x = y, .w = mert_weight(m, m->encoder_norm.w), .b = mert_weight(m, m->encoder_norm.b),
                        .mean = m->encoder_mean, .rstd = m->encoder_rstd, .rows = m->B * m->T, .columns = c->width, .eps = (float)c->eps);
        mert_parts_done(m->parts, mert_part_last(m->parts), 0);
        y = out;
    }
    if (tap)
        tap->give(tap->self, c->layers, y);
    return y;
memory:
    mert_fail(e, "out of memory for %lld clips of %lld samples", (long long)B, (long long)L);
    return NULL;
}

int mert_encoder_backward(mert_encoder *m, float *dy, double pen, mert_error *e)
{
    const mert_config *c = m->c;
    mert_arena_reset(&m->scratch);
    if (c->pre_ln)
        mert_layer_norm_backward(m->ops, .dx = dy, .dw = mert_gradient(m, m->encoder_norm.w), .db = mert_gradient(m, m->encoder_norm.b), .dy = dy,
                                 .x = m->final_in, .w = mert_weight(m, m->encoder_norm.w), .mean = m->encoder_mean, .rstd = m->encoder_rstd,
                                 .rows = m->B * m->T, .columns = c->width);
    for (int i = c->layers - 1; i >= 0; i--) {
        mert_parts_need(m->parts, MERT_PART_LAYERS + i, 1);
        mert_layer_backward(m, i, &m->records[i], dy);
        mert_parts_done(m->parts, MERT_PART_LAYERS + i, 1);
    }
    mert_parts_need(m->parts, MERT_PART_PROJECTION, 1);
    position_backward(m, dy);
    mert_parts_done(m->parts, mert_part_last(m->parts), 1);
    mert_parts_need(m->parts, MERT_PART_EXTRACTOR, 1); /* mask_emb */
    projection_backward(m, dy, pen);
    mert_parts_done(m->parts, MERT_PART_EXTRACTOR, 1);
    return m->scratch.failed ? mert_fail(e, "out of memory for the backward pass of %lld clips of %lld samples", (long long)m->B, (long long)m->L) : 0;
}
