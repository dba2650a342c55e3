/* From waveform to hidden states: extractor, projection, positional convolution, layers (man/model.md 2). */
#include "libcommon/models/encoder/conformer.h"
#include "libcommon/models/encoder/encoder.h"

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

static void find_extractor(mert_encoder *m)
{
    const mert_layout *l = m->layout;
    m->mask_emb = mert_layout_find(l, "mask_emb") ? mert_layout_offset(l, "mask_emb") : -1;
    for (int i = 0; i < m->c->convs; i++) {
        m->conv[i] = pair(l, "feature_extractor.conv_layers.%d.0", i);
        if (m->c->extractor_layer_norm)
            m->conv_norm[i] = pair(l, "feature_extractor.conv_layers.%d.2.1", i);
        else if (i == 0)
            m->conv_norm[i] = pair(l, "feature_extractor.conv_layers.%d.2", i);
    }
}

static void find_transformer(mert_encoder *m)
{
    const mert_layout *l = m->layout;
    m->feature_norm = pair(l, "layer_norm", 0);
    m->projection = pair(l, "post_extract_proj", 0);
    m->encoder_norm = pair(l, "encoder.layer_norm", 0);
    m->pos_g = mert_layout_offset(l, "encoder.pos_conv.0.weight_g");
    m->pos_v = mert_layout_offset(l, "encoder.pos_conv.0.weight_v");
    m->pos_bias = mert_layout_offset(l, "encoder.pos_conv.0.bias");
    for (int i = 0; i < m->c->layers; i++) {
        layer_parameters *p = &m->layers[i];
        p->qkv = pair(l, "encoder.layers.%d.self_attn.k_proj", i);
        m->qkv_step = pair(l, "encoder.layers.%d.self_attn.v_proj", i).w - p->qkv.w;
        p->out = pair(l, "encoder.layers.%d.self_attn.out_proj", i);
        p->norm1 = pair(l, "encoder.layers.%d.self_attn_layer_norm", i);
        p->fc1 = pair(l, "encoder.layers.%d.fc1", i);
        p->fc2 = pair(l, "encoder.layers.%d.fc2", i);
        p->norm2 = pair(l, "encoder.layers.%d.final_layer_norm", i);
    }
}

static int64_t pos_weights(const mert_config *c)
{
    return (int64_t)c->width * (c->width / c->pos_groups) * c->pos_kernel;
}

static int open_extractor(mert_encoder *m)
{
    const mert_config *c = m->c;
    mert_ops *ops = m->ops;
    int bad = 0, rounded = ops->type != MERT_ELEMENT_F32;
    find_extractor(m);
    for (int i = 1; i < c->convs; i++) {
        int64_t inputs = mert_conv_inputs(c, i), n = c->conv[i].dim * inputs;
        int64_t packed = mert_ops_packed_floats(ops, INT64_MAX, c->conv[i].dim, inputs, MERT_PACKED_F32);
        bad |= packed && !(m->panels[i] = (mert_element *)(void *)mert_ops_floats(ops, packed));
        bad |= rounded && !(m->kernels[i] = mert_ops_elements(ops, n));
        bad |= !(m->ordered[i] = mert_ops_floats(ops, n));
    }
    return bad ? -1 : 0;
}

static int open_transformer(mert_encoder *m)
{
    const mert_config *c = m->c;
    mert_ops *ops = m->ops;
    m->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    m->layers = calloc((size_t)c->layers, sizeof *m->layers);
    m->records = calloc((size_t)c->layers, sizeof *m->records);
    if (!m->layers || !m->records)
        return -1;
    find_transformer(m);
    if (!(m->pos_w = mert_ops_floats(ops, pos_weights(c))) ||
        (ops->type != MERT_ELEMENT_F32 && !(m->pos_kernel = mert_ops_elements(ops, pos_weights(c)))))
        return -1;
    return (m->pos_norm = mert_ops_floats(ops, c->pos_kernel)) ? 0 : -1;
}

mert_encoder *mert_encoder_new(const mert_layout *layout, mert_ops *ops, const float *weights, float *gradients,
                               mert_error *e)
{
    mert_encoder *m = calloc(1, sizeof *m);
    const mert_config *c = &layout->config;
    if (!m)
        goto fail;
    m->layout = layout;
    m->c = c;
    m->ops = ops;
    if (mert_groups_make(&m->flat, layout, weights, gradients, e))
        goto fail;
    m->groups = &m->flat;
    mert_arena_open(&m->memory, ops);
    if (!open_extractor(m) && !(c->kind == MERT_CONFORMER ? mert_conformer_open(m) : open_transformer(m)) &&
        (m->squares = ops->alloc(ops, sizeof *m->squares)) && (m->largest = mert_ops_floats(ops, 1)))
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
    mert_arena_close(&m->memory);
    mert_conformer_close(m);
    for (int i = 0; i < m->c->convs; i++) {
        m->ops->release(m->ops, m->panels[i]);
        m->ops->release(m->ops, m->ordered[i]);
        m->ops->release(m->ops, m->kernels[i]);
    }
    m->ops->release(m->ops, m->pos_w);
    m->ops->release(m->ops, m->pos_kernel);
    m->ops->release(m->ops, m->pos_norm);
    m->ops->release(m->ops, m->squares);
    m->ops->release(m->ops, m->largest);
    mert_groups_free(&m->flat);
    free(m->layers);
    free(m->records);
    free(m);
}

void mert_encoder_use_groups(mert_encoder *m, const mert_groups *groups)
{
    m->groups = groups;
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

int64_t mert_encoder_features_count(const mert_encoder *m)
{
    return m->c->convs ? m->B * m->features_T * m->c->conv[m->c->convs - 1].dim : 0;
}

const float *mert_encoder_largest_logit(const mert_encoder *m)
{
    return m->largest;
}

size_t mert_encoder_memory(const mert_encoder *m)
{
    return m->memory.most;
}

static int dropping(const mert_encoder *m, double p)
{
    return m->options.training && p > 0;
}

static void pack(mert_encoder *m)
{
    const mert_config *c = m->c;
    if (m->fresh && !m->options.training) /* (in training always: an update may have changed the weights since the last
                                             pass) */
        return;
    mert_extractor_pack(m);
    mert_weight_norm(m->ops, .w = m->pos_w, .norm = m->pos_norm, .g = mert_weight(m, m->pos_g),
                     .v = mert_weight(m, m->pos_v), .out = c->width, .in = c->width / c->pos_groups,
                     .kernel = c->pos_kernel);
    if (m->pos_kernel)
        mert_to_elements(m->ops, .to = m->pos_kernel, .from = m->pos_w, .n = pos_weights(c));
    m->fresh = !m->options.training;
}

/* ---- steps 2 to 4: penalty, norm, projection, corruption ---- */

static mert_element *projection_forward(mert_encoder *m, const mert_element *cqt)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, C = c->conv[c->convs - 1].dim, J = mert_config_features(c);
    const mert_element *w;
    mert_element *whole;
    mert_arena_mark mark;
    m->features = mert_alloc(m, n * C);
    mert_extractor_forward(m, m->features);
    m->joined = c->cqt_input ? mert_alloc(m, n * J) : m->features;
    m->joined_norm = mert_alloc(m, n * J);
    m->feature_mean = mert_alloc_floats(m, n);
    m->feature_rstd = mert_alloc_floats(m, n);
    mert_keep(m, &m->projected, n * c->width, mert_keeps_narrow(m));
    mert_kept_open(m, &m->projected);
    if (m->memory.failed)
        return NULL;
    mert_clear(m->ops, .to = m->squares, .bytes = sizeof *m->squares);
    mert_sum_squares(m->ops, .sum = m->squares, .elements = m->features, .n = n * C);
    if (c->cqt_input) {
        mert_copy_2d(m->ops, .to = m->joined, .ldto = J, .from = m->features, .ldfrom = C, .rows = n, .columns = C);
        mert_copy_2d(m->ops, .to = mert_at(m->ops, m->joined, C), .ldto = J, .from = cqt, .ldfrom = J - C, .rows = n,
                     .columns = J - C);
    }
    mert_layer_norm(m->ops, .y = m->joined_norm, .x = m->joined, .w = mert_weight(m, m->feature_norm.w),
                    .b = mert_weight(m, m->feature_norm.b), .mean = m->feature_mean, .rstd = m->feature_rstd, .rows = n,
                    .columns = J, .eps = (float)c->eps);
    mark = mert_arena_here(&m->memory);
    w = mert_product_weight(m, m->projection.w, c->width * J);
    whole = mert_corruption_any(m) ? mert_alloc(m, n * c->width) : m->projected.now;
    if (m->memory.failed)
        return NULL;
    mert_linear(m->ops, n, J, c->width, m->joined_norm, w, mert_weight(m, m->projection.b), NULL, 0, NULL, whole);
    if (whole != m->projected.now)
        mert_corruption_forward(m, whole, m->projected.now);
    mert_arena_back(&m->memory, mark);
    mert_kept_close(m, &m->projected);
    return m->projected.now;
}

/* d [B*T, D]: gradient by the projected frames. pen: gradient by features_pen. */
static void projection_backward(mert_encoder *m, mert_element *d, double pen)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, C = c->conv[c->convs - 1].dim, J = mert_config_features(c);
    int64_t conv_T = m->conv_T[c->convs], rows;
    mert_element *dj = mert_alloc(m, n * J), *df = mert_alloc(m, m->B * conv_T * C);
    const mert_element *w = mert_product_weight(m, m->projection.w, c->width * J);
    float mult = (float)m->options.feature_grad_mult;
    mert_element *whole = mert_corruption_any(m) ? mert_alloc(m, n * c->width) : d;
    if (m->memory.failed)
        return;
    if (whole != d)
        mert_corruption_backward(m, d, whole);
    mert_linear_backward(m->ops, n, J, c->width, m->joined_norm, w, whole, mert_gradient(m, m->projection.w),
                         mert_gradient(m, m->projection.b), dj, 0);
    mert_layer_norm_backward(m->ops, .dx = dj, .dw = mert_gradient(m, m->feature_norm.w),
                             .db = mert_gradient(m, m->feature_norm.b), .dy = dj, .x = m->joined,
                             .w = mert_weight(m, m->feature_norm.w), .mean = m->feature_mean, .rstd = m->feature_rstd,
                             .rows = n, .columns = J);
    mert_groups_done(m->groups, MERT_GROUP_PROJECTION, 1);
    if (mult <= 0)
        return;
    /* gradient by the extractor's whole output: it is zero for frames that are not used */
    if (m->T < conv_T)
        mert_clear(m->ops, .to = df, .bytes = mert_element_bytes(m->ops, m->B * conv_T * C));
    rows = m->T < conv_T ? m->T : n; /* if all frames are used, all clips at once */
    for (int64_t at = 0; at < n; at += rows) {
        mert_element *to = mert_at(m->ops, df, at / m->T * conv_T * C);
        mert_copy_2d(m->ops, .to = to, .ldto = C, .from = mert_at(m->ops, dj, at * J), .ldfrom = J, .rows = rows,
                     .columns = C, .scale = mult);
        if (pen != 0)
            mert_axpy(m->ops, .to = to, .from = mert_at(m->ops, m->features, at * C),
                      .alpha = (float)(mult * pen * 2.0 / (double)(n * C)), .n = rows * C);
    }
    mert_extractor_backward(m, df);
}

/* ---- step 5: position ---- */

/* y = x + gelu(conv(x)); with post-LN, then LayerNorm. Then dropout. */
static mert_element *position_forward(mert_encoder *m, const mert_element *x)
{
    const mert_config *c = m->c;
    mert_arena_mark mark;
    int64_t n = m->B * m->T, D = c->width;
    mert_element *y, *sum;
    mert_keep(m, &m->pos_pre, n * D, mert_keeps_narrow(m));
    if (!c->pre_ln)
        mert_keep(m, &m->pos_sum, n * D, mert_keeps_narrow(m));
    m->encoder_mean = mert_alloc_floats(m, n);
    m->encoder_rstd = mert_alloc_floats(m, n);
    y = mert_alloc(m, n * D);
    mark = mert_arena_here(&m->memory);
    mert_kept_open(m, &m->pos_pre);
    mert_kept_open(m, &m->pos_sum);
    sum = c->pre_ln ? y : m->pos_sum.now;
    if (m->memory.failed)
        return NULL;
    mert_grouped_conv(m->ops, .y = m->pos_pre.now, .x = x, .w = mert_as_elements(m->pos_kernel, m->pos_w),
                      .bias = mert_weight(m, m->pos_bias), .B = m->B, .T = m->T, .D = D, .groups = c->pos_groups,
                      .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    mert_gelu(m->ops, .y = sum, .x = m->pos_pre.now, .residual = x, .n = n * D);
    if (!c->pre_ln)
        mert_layer_norm(m->ops, .y = y, .x = sum, .w = mert_weight(m, m->encoder_norm.w),
                        .b = mert_weight(m, m->encoder_norm.b), .mean = m->encoder_mean, .rstd = m->encoder_rstd,
                        .rows = n, .columns = D, .eps = (float)c->eps);
    if (dropping(m, m->options.dropout))
        mert_dropout(m->ops, .x = y, .B = m->B, .n = m->T * D, .p = m->options.dropout,
                     .key = mert_encoder_key(m, SITE_INPUT));
    mert_kept_close(m, &m->pos_pre);
    mert_kept_close(m, &m->pos_sum);
    mert_arena_back(&m->memory, mark);
    return y;
}

static void position_backward(mert_encoder *m, mert_element *d)
{
    const mert_config *c = m->c;
    int64_t n = m->B * m->T, D = c->width, weights = pos_weights(c);
    mert_arena_mark mark = mert_arena_here(&m->memory);
    float *dw = mert_alloc_floats(m, weights);
    mert_element *dpre = mert_alloc(m, n * D);
    mert_kept_again(m, &m->projected);
    mert_kept_again(m, &m->pos_pre);
    if (!c->pre_ln)
        mert_kept_again(m, &m->pos_sum);
    if (m->memory.failed)
        return;
    if (dropping(m, m->options.dropout))
        mert_dropout(m->ops, .x = d, .B = m->B, .n = m->T * D, .p = m->options.dropout,
                     .key = mert_encoder_key(m, SITE_INPUT));
    if (!c->pre_ln)
        mert_layer_norm_backward(m->ops, .dx = d, .dw = mert_gradient(m, m->encoder_norm.w),
                                 .db = mert_gradient(m, m->encoder_norm.b), .dy = d, .x = m->pos_sum.now,
                                 .w = mert_weight(m, m->encoder_norm.w), .mean = m->encoder_mean,
                                 .rstd = m->encoder_rstd, .rows = n, .columns = D);
    mert_gelu_backward(m->ops, .dx = dpre, .dy = d, .x = m->pos_pre.now, .n = n * D);
    mert_column_sum(m->ops, .sums = mert_gradient(m, m->pos_bias), .x = dpre, .rows = n, .columns = D, .ldx = D);
    mert_clear(m->ops, .to = dw, .bytes = (size_t)weights * sizeof *dw);
    mert_grouped_conv_backward(m->ops, .dx = d, .dw = dw, .dy = dpre, .x = m->projected.now,
                               .w = mert_as_elements(m->pos_kernel, m->pos_w), .B = m->B, .T = m->T, .D = D,
                               .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    mert_weight_norm_backward(m->ops, .dg = mert_gradient(m, m->pos_g), .dv = mert_gradient(m, m->pos_v), .dw = dw,
                              .g = mert_weight(m, m->pos_g), .v = mert_weight(m, m->pos_v), .norm = m->pos_norm,
                              .out = D, .in = D / c->pos_groups, .kernel = c->pos_kernel);
    mert_arena_back(&m->memory, mark);
}

/* ---- the whole encoder ---- */

static int prepare(mert_encoder *m, const mert_forward_options *r, int64_t B, int64_t L, int64_t T, mert_error *e)
{
    const mert_config *c = m->c;
    int64_t all = L;
    m->options = *r;
    m->B = B;
    m->L = m->conv_T[0] = L;
    for (int i = 0; i < c->convs; i++)
        all = m->conv_T[i + 1] = all < c->conv[i].kernel ? 0 : (all - c->conv[i].kernel) / c->conv[i].stride + 1;
    if (all < 1 || (!m->conformer && T > all))
        return mert_fail(e, "%lld samples are shorter than the receptive field of %d", (long long)L,
                         mert_config_receptive_field(c));
    m->T = T ? T : all;
    m->features_T = m->conformer ? all : m->T;
    mert_arena_reset(&m->memory);
    m->pos_sum = (mert_kept){0};
    return 0;
}

/* One layer. If inputs of layers are kept for the backward pass, the output is in memory of its own. */
static mert_element *layer_forward(mert_encoder *m, int i, mert_element *y)
{
    layer_record *r = &m->records[i];
    mert_element *out = m->turn[y == m->turn[0]];
    r->before = mert_arena_here(&m->memory);
    r->skipped = mert_layer_dropped(m, i);
    if (r->skipped)
        return y;
    if (!out)
        out = mert_alloc(m, m->B * m->T * m->c->width);
    mert_layer_forward(m, i, y, r, out);
    return out;
}

const mert_element *mert_encoder_forward(mert_encoder *m, const mert_forward_options *r, int64_t B, int64_t L,
                                         int64_t T, const mert_element *x, const mert_corruption *corruption,
                                         const mert_element *cqt, const mert_layer_tap *tap, mert_error *e)
{
    const mert_config *c = m->c;
    mert_element *y;
    int64_t n;
    if (prepare(m, r, B, L, T, e))
        return NULL;
    m->corruption = corruption ? *corruption : (mert_corruption){0};
    m->audio = x;
    if (m->conformer)
        return mert_conformer_forward(m, T, x, tap, e);
    n = m->B * m->T * c->width;
    mert_groups_need(m->groups, MERT_GROUP_EXTRACTOR, 0);
    mert_groups_need(m->groups, MERT_GROUP_PROJECTION, 0);
    if (!c->pre_ln) /* encoder.layer_norm */
        mert_groups_need(m->groups, mert_groups_last(m->groups), 0);
    pack(m);
    mert_fill(m->ops, .to = m->largest, .value = -INFINITY, .n = 1);
    if (!(y = projection_forward(m, cqt)) || !(y = position_forward(m, y)))
        goto memory;
    mert_groups_done(m->groups, MERT_GROUP_EXTRACTOR, 0);
    mert_groups_done(m->groups, MERT_GROUP_PROJECTION, 0);
    if (!c->pre_ln)
        mert_groups_done(m->groups, mert_groups_last(m->groups), 0);
    for (int i = 0; i < 2; i++) /* NULL if inputs of layers are kept: each then has memory of its own */
        m->turn[i] = m->options.training && !mert_keeps_narrow(m) ? NULL : mert_alloc(m, n);
    for (int i = 0; i < c->layers; i++) {
        if (tap && tap->give(tap->self, i, y))
            return y;
        mert_groups_need(m->groups, MERT_GROUP_LAYERS + i, 0);
        y = layer_forward(m, i, y);
        if (m->memory.failed)
            goto memory;
        mert_groups_done(m->groups, MERT_GROUP_LAYERS + i, 0);
    }
    m->final_in = y;
    if (c->pre_ln) {
        mert_element *out = mert_alloc(m, n);
        if (!out)
            goto memory;
        mert_groups_need(m->groups, mert_groups_last(m->groups), 0);
        mert_layer_norm(m->ops, .y = out, .x = y, .w = mert_weight(m, m->encoder_norm.w),
                        .b = mert_weight(m, m->encoder_norm.b), .mean = m->encoder_mean, .rstd = m->encoder_rstd,
                        .rows = m->B * m->T, .columns = c->width, .eps = (float)c->eps);
        mert_groups_done(m->groups, mert_groups_last(m->groups), 0);
        y = out;
    }
    if (tap)
        tap->give(tap->self, c->layers, y);
    return y;
memory:
    mert_fail(e, "out of memory for %lld clips of %lld samples", (long long)B, (long long)L);
    return NULL;
}

/* Layers without gradients: for many processes, which exchange them in the same order in every pass. */
static void skip_layers(const mert_encoder *m, int top)
{
    for (int i = m->c->layers - 1; i >= top; i--) {
        mert_groups_need(m->groups, MERT_GROUP_LAYERS + i, 1);
        mert_groups_done(m->groups, MERT_GROUP_LAYERS + i, 1);
    }
}

int mert_encoder_backward(mert_encoder *m, mert_element *dy, double pen, mert_error *e)
{
    return mert_encoder_backward_from(m, m->c->layers, dy, NULL, pen, e);
}

int mert_encoder_backward_from(mert_encoder *m, int top, mert_element *dy, const mert_gradient_tap *tap, double pen,
                               mert_error *e)
{
    const mert_config *c = m->c;
    if (tap)
        tap->add(tap->self, top, dy);
    skip_layers(m, top);
    if (m->conformer)
        return mert_conformer_backward(m, top, dy, tap, pen, e);
    if (c->pre_ln && top == c->layers)
        mert_layer_norm_backward(m->ops, .dx = dy, .dw = mert_gradient(m, m->encoder_norm.w),
                                 .db = mert_gradient(m, m->encoder_norm.b), .dy = dy, .x = m->final_in,
                                 .w = mert_weight(m, m->encoder_norm.w), .mean = m->encoder_mean,
                                 .rstd = m->encoder_rstd, .rows = m->B * m->T, .columns = c->width);
    for (int i = top - 1; i >= 0; i--) {
        mert_groups_need(m->groups, MERT_GROUP_LAYERS + i, 1);
        mert_layer_backward(m, i, &m->records[i], dy);
        mert_groups_done(m->groups, MERT_GROUP_LAYERS + i, 1);
        if (tap)
            tap->add(tap->self, i, dy);
    }
    mert_groups_need(m->groups, MERT_GROUP_PROJECTION, 1);
    position_backward(m, dy);
    mert_groups_done(m->groups, mert_groups_last(m->groups), 1);
    mert_groups_need(m->groups, MERT_GROUP_EXTRACTOR, 1); /* mask_emb */
    projection_backward(m, dy, pen);
    mert_groups_done(m->groups, MERT_GROUP_EXTRACTOR, 1);
    if (m->memory.failed)
        return mert_fail(e, "out of memory for the backward pass of %lld clips of %lld samples", (long long)m->B,
                         (long long)m->L);
    return 0;
}
