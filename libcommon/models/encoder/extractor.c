/* The feature extractor, forward and backward (man/model.md 2.2): convolutions over time, each followed by GELU, with
 * GroupNorm over time after the first product, or LayerNorm after each.
 *
 * Its activations are the largest of the model: with MERT's strides, one of the first layer is as large as all that a
 * transformer layer keeps. So only products are kept, and not that of the first layer, which takes about a hundredth of
 * the extractor's work. Norms and GELUs are computed again, a few clips at a time. In the backward pass a layer's
 * gradient overwrites its product. */
#include "libcommon/models/encoder/state.h"

static mert_conv_shape shape(const mert_encoder *m, int i, int64_t clips)
{
    const mert_config *c = m->c;
    return (mert_conv_shape){clips,          m->conv_T[i],      m->conv_T[i + 1], i ? c->conv[i - 1].dim : 1,
                             c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride};
}

/* Number of elements of a clip in the output of layer i. */
static int64_t clip_elements(const mert_encoder *m, int i)
{
    return m->conv_T[i + 1] * m->c->conv[i].dim;
}

/* Number of clips of layer i's output that are processed at once, from clip b on. */
static int64_t clips_at(const mert_encoder *m, int i, int64_t b)
{
    int64_t n = m->ops->rows_at_once(m->ops, MERT_BLOCK_EXTRACTOR) / m->conv_T[i + 1];
    n = n < 1 ? 1 : n;
    return n < m->B - b ? n : m->B - b;
}

/* The weights of convolution i > 0 as elements, tap before channel. */
static const mert_element *conv_kernel(const mert_encoder *m, int i)
{
    return mert_as_elements(m->kernels[i], m->ordered[i]);
}

void mert_extractor_pack(mert_encoder *m)
{
    const mert_config *c = m->c;
    for (int i = 1; i < c->convs; i++) {
        int64_t n = c->conv[i].dim, inputs = mert_conv_inputs(c, i);
        mert_swap_axes(m->ops, .to = m->ordered[i], .from = mert_weight(m, m->conv[i].w), .n = n,
                       .a = c->conv[i - 1].dim, .b = c->conv[i].kernel);
        if (m->panels[i])
            mert_pack(m->ops, .to = m->panels[i], .w = m->ordered[i], .ldw = inputs, .n = n, .k = inputs);
        if (m->kernels[i])
            mert_to_elements(m->ops, .to = m->kernels[i], .from = m->ordered[i], .n = n * inputs);
    }
}

static const float *bias(const mert_encoder *m, int i)
{
    return m->conv[i].b >= 0 ? mert_weight(m, m->conv[i].b) : NULL;
}

static float *bias_gradient(const mert_encoder *m, int i)
{
    return m->conv[i].b >= 0 ? mert_gradient(m, m->conv[i].b) : NULL;
}

/* The product of layer i for `clips` clips x. */
static void product(mert_encoder *m, int i, int64_t clips, const mert_element *x, mert_element *y)
{
    mert_conv(m->ops, .y = y, .x = x, .w = m->panels[i] ? m->panels[i] : conv_kernel(m, i), .bias = bias(m, i),
              .shape = shape(m, i, clips), .packed = m->panels[i] ? MERT_PACKED_F32 : (mert_packing)0);
}

/* The kept product of layer i for the clips from b on. */
static mert_element *product_of(const mert_encoder *m, int i, int64_t b)
{
    return mert_at(m->ops, m->conv_out[i].now, b * clip_elements(m, i));
}

/* y = the output of layer i for `clips` clips from b on. The first layer is computed from the waveform, the others from
 * their kept product. stats (NULL: not wanted): mean and rstd of a LayerNorm. */
static void activation(mert_encoder *m, int i, int64_t b, int64_t clips, mert_element *y, float *stats)
{
    mert_conv_shape s = shape(m, i, clips);
    weight_bias p = m->conv_norm[i];
    if (i == 0)
        mert_first_layer(m->ops, .y = y, .x = mert_const_at(m->ops, m->audio, b * m->L),
                         .w = mert_weight(m, m->conv[0].w), .bias = bias(m, 0), .norm_w = mert_weight(m, p.w),
                         .norm_b = mert_weight(m, p.b), .shape = s, .eps = MERT_EXTRACTOR_EPS,
                         .over_channels = m->c->extractor_layer_norm);
    else if (m->c->extractor_layer_norm)
        mert_layer_norm(m->ops, .y = y, .x = product_of(m, i, b), .w = mert_weight(m, p.w), .b = mert_weight(m, p.b),
                        .mean = stats, .rstd = stats ? stats + clips * s.T_out : NULL, .rows = clips * s.T_out,
                        .columns = s.O, .eps = MERT_EXTRACTOR_EPS, .gelu = 1);
    else
        mert_gelu(m->ops, .y = y, .x = product_of(m, i, b), .n = clips * s.T_out * s.O);
}

/* Computes the products of layers 1 and later. features (NULL: not wanted): [B, features_T, C], the output of the last
 * layer. */
static void run(mert_encoder *m, mert_element *features)
{
    int last = m->c->convs - 1;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    for (int i = 0; i < last + (features != NULL); i++) {
        int64_t size = clip_elements(m, i), at_once = clips_at(m, i, 0);
        mert_element *y = mert_alloc(m, at_once * size);
        if (m->memory.failed)
            return;
        for (int64_t b = 0, n; b < m->B; b += n) {
            n = clips_at(m, i, b);
            activation(m, i, b, n, y, NULL);
            if (i < last)
                product(m, i + 1, n, y, product_of(m, i + 1, b));
            else
                mert_copy_2d(m->ops, .to = mert_at(m->ops, features, b * m->features_T * m->c->conv[i].dim),
                             .ldto = m->features_T * m->c->conv[i].dim, .from = y, .ldfrom = size, .rows = n,
                             .columns = m->features_T * m->c->conv[i].dim);
        }
        mert_arena_back(&m->memory, mark);
    }
}

static void take(mert_encoder *m, int narrow)
{
    for (int i = 1; i < m->c->convs; i++)
        mert_keep(m, &m->conv_out[i], m->B * clip_elements(m, i), narrow);
}

void mert_extractor_forward(mert_encoder *m, mert_element *features)
{
    int stays = m->options.training && !m->options.recompute;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    take(m, stays && mert_keeps_narrow(m));
    if (stays)
        mark = mert_arena_here(&m->memory);
    for (int i = 1; i < m->c->convs; i++)
        mert_kept_open(m, &m->conv_out[i]);
    run(m, features);
    if (m->memory.failed)
        return;
    for (int i = 1; i < m->c->convs; i++)
        mert_kept_close(m, &m->conv_out[i]);
    mert_arena_back(&m->memory, mark);
}

/* d: gradient by layer i's output for the clips from b on; it is overwritten. The gradient by the layer's product is
 * written over the product. For the first layer, the gradients of its parameters are computed, with `room` as scratch
 * memory. stats: from activation(). */
static void activation_backward(mert_encoder *m, int i, int64_t b, int64_t clips, mert_element *d,
                                mert_element *room, const float *stats)
{
    mert_conv_shape s = shape(m, i, clips);
    int64_t rows = clips * s.T_out;
    weight_bias p = m->conv_norm[i];
    if (i == 0)
        mert_first_layer_backward(m->ops, .dw = mert_gradient(m, m->conv[0].w), .db = bias_gradient(m, 0),
                                  .dnorm_w = mert_gradient(m, p.w), .dnorm_b = mert_gradient(m, p.b), .dy = d,
                                  .room = room, .x = mert_const_at(m->ops, m->audio, b * m->L),
                                  .w = mert_weight(m, m->conv[0].w), .bias = bias(m, 0),
                                  .norm_w = mert_weight(m, p.w), .norm_b = mert_weight(m, p.b), .shape = s,
                                  .eps = MERT_EXTRACTOR_EPS, .over_channels = m->c->extractor_layer_norm);
    else if (!m->c->extractor_layer_norm)
        mert_gelu_backward(m->ops, .dx = product_of(m, i, b), .dy = d, .x = product_of(m, i, b), .n = rows * s.O);
    else
        mert_layer_norm_backward(m->ops, .dx = product_of(m, i, b), .dw = mert_gradient(m, p.w),
                                 .db = mert_gradient(m, p.b), .dy = d, .x = product_of(m, i, b),
                                 .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = stats,
                                 .rstd = stats + rows, .rows = rows, .columns = s.O, .gelu = 1);
}

/* The backward pass of the product after layer i: dw += gradient by its weights, dx = gradient by x, the output of
 * layer i. */
static void product_backward(mert_encoder *m, int i, int64_t b, int64_t clips, const mert_element *x, float *dw,
                             mert_element *dx)
{
    mert_conv_backward(m->ops, .dx = dx, .dw = dw, .db = bias_gradient(m, i + 1), .dy = product_of(m, i + 1, b),
                       .x = x, .w = conv_kernel(m, i + 1), .shape = shape(m, i + 1, clips));
}

/* d: gradient by the output of the last layer. For other layers it is computed from the product that follows. */
static void layer_backward(mert_encoder *m, int i, mert_element *d)
{
    int last = i == m->c->convs - 1, norm = i && m->c->extractor_layer_norm;
    mert_conv_shape s = last ? (mert_conv_shape){0} : shape(m, i + 1, 1);
    int64_t size = clip_elements(m, i), at_once = clips_at(m, i, 0), weights = s.O * s.kernel * s.C;
    mert_element *room = mert_alloc(m, at_once * size), *dx = last ? NULL : mert_alloc(m, at_once * size);
    float *dw = mert_alloc_floats(m, weights);
    float *stats = norm ? mert_alloc_floats(m, 2 * at_once * m->conv_T[i + 1]) : NULL;
    if (m->memory.failed)
        return;
    if (!last)
        mert_clear(m->ops, .to = dw, .bytes = (size_t)weights * sizeof *dw);
    for (int64_t b = 0, n; b < m->B; b += n) {
        n = clips_at(m, i, b);
        if (!last || norm)
            activation(m, i, b, n, room, stats);
        if (!last)
            product_backward(m, i, b, n, room, dw, dx);
        activation_backward(m, i, b, n, last ? mert_at(m->ops, d, b * size) : dx, room, stats);
    }
    if (!last)
        mert_swap_axes(m->ops, .to = mert_gradient(m, m->conv[i + 1].w), .from = dw, .n = s.O, .a = s.kernel, .b = s.C,
                       .add = 1);
}

void mert_extractor_backward(mert_encoder *m, mert_element *d)
{
    int last = m->c->convs - 1;
    mert_arena_mark mark;
    if (m->options.recompute) {
        take(m, 0);
        run(m, NULL);
    }
    for (int i = 1; i <= last && !m->options.recompute; i++)
        mert_kept_again(m, &m->conv_out[i]);
    mark = mert_arena_here(&m->memory);
    /* layer i: the product of layer i + 1, then the norm and GELU of layer i */
    for (int i = last; i >= 0 && !m->memory.failed; i--) {
        layer_backward(m, i, d);
        mert_arena_back(&m->memory, mark);
    }
}
