/* The feature extractor, forward and backward (man/model.md 2.2): convolutions over time, each followed by GELU,
 * with GroupNorm over time after the first product, or LayerNorm after each.
 *
 * Its tensors are the largest of all: with MERT's strides one of the first layer is as large as what a whole
 * transformer layer leaves. So products alone stay, and not the first layer's, which takes a hundredth of the work;
 * norms and GELU are done again, a few clips at a time; and in the backward pass a layer's gradient takes the place of
 * its product. */
#include "libcommon/models/encoder/state.h"

static mert_conv_shape shape(const mert_encoder *m, int i, int64_t clips)
{
    const mert_config *c = m->c;
    return (mert_conv_shape){clips,          m->conv_T[i],      m->conv_T[i + 1], i ? c->conv[i - 1].dim : 1,
                             c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride};
}

/* Elements of a clip that leave layer i. */
static int64_t clip_elements(const mert_encoder *m, int i)
{
    return m->conv_T[i + 1] * m->c->conv[i].dim;
}

/* How many clips of layer i's output are taken at once, of those from b on. */
static int64_t clips_at(const mert_encoder *m, int i, int64_t b)
{
    int64_t n = m->ops->rows_at_once(m->ops, MERT_BLOCK_EXTRACTOR) / m->conv_T[i + 1];
    n = n < 1 ? 1 : n;
    return n < m->B - b ? n : m->B - b;
}

static int over_time(const mert_encoder *m, int i)
{
    return i == 0 && !m->c->extractor_layer_norm;
}

/* The weights of convolution i as elements, tap before channel. */
static const mert_element *conv_kernel(const mert_encoder *m, int i)
{
    return mert_as_elements(m->kernels[i], i ? m->ordered[i] : mert_weight(m, m->conv[0].w));
}

/* Layer i's product for `clips` clips x: windows are rows that overlap, and one product takes them as they are. */
static void product(mert_encoder *m, int i, int64_t clips, const mert_element *x, mert_element *y)
{
    mert_conv_shape s = shape(m, i, clips);
    const float *bias = m->conv[i].b >= 0 ? mert_weight(m, m->conv[i].b) : NULL;
    if (m->panels[i])
        mert_gemm(m->ops, .M = s.T_out, .N = s.O, .K = s.kernel * s.C, .a = x, .lda = s.stride * s.C,
                  .a_step = s.T_in * s.C, .b = m->panels[i], .packed = MERT_PACKED_F32, .c = y, .ldc = s.O,
                  .c_step = s.T_out * s.O, .batch = clips, .bias = bias);
    else
        mert_conv(m->ops, &s, x, conv_kernel(m, i), bias, NULL, 0, y);
}

/* y = (gelu of) the norm of the product x, or x itself where there is none; y may be x. stats: room for mean and rstd
 * (NULL: not wanted). */
static void activation(mert_encoder *m, int i, int64_t clips, const mert_element *x, mert_element *y, int gelu,
                       float *stats)
{
    mert_conv_shape s = shape(m, i, clips);
    int64_t rows = clips * s.T_out, n = over_time(m, i) ? clips * s.O : rows;
    float *mean = stats, *rstd = stats ? stats + n : NULL, eps = MERT_EXTRACTOR_EPS;
    weight_bias p = m->conv_norm[i];
    if (over_time(m, i)) {
        mert_time_norm(m->ops, .y = y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = mean,
                       .rstd = rstd, .B = clips, .T = s.T_out, .C = s.O, .eps = eps, .gelu = gelu);
        return;
    }
    if (m->c->extractor_layer_norm) {
        mert_layer_norm(m->ops, .y = y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = mean,
                        .rstd = rstd, .rows = rows, .columns = s.O, .eps = eps);
        x = y;
    }
    if (gelu)
        mert_gelu(m->ops, .y = y, .x = x, .n = rows * s.O);
}

/* Layer i's product for the clips from b on: where it stays, or (the first layer) made in `room`. */
static mert_element *product_again(mert_encoder *m, int i, int64_t b, int64_t clips, mert_element *room)
{
    if (i)
        return mert_at(m->ops, m->conv_out[i].now, b * clip_elements(m, i));
    product(m, 0, clips, mert_const_at(m->ops, m->audio, b * m->L), room);
    return room;
}

/* Layers 1 and on, as products; *features (NULL: not wanted): [B, T, C] of the last one's output. */
static void run(mert_encoder *m, mert_element *features)
{
    int last = m->c->convs - 1;
    mert_arena_mark mark = mert_arena_here(&m->memory);
    for (int i = 0; i < last + (features != NULL); i++) {
        int64_t size = clip_elements(m, i), at_once = clips_at(m, i, 0);
        mert_element *y = mert_take(m, at_once * size);
        if (m->memory.failed)
            return;
        for (int64_t b = 0, n; b < m->B; b += n) {
            n = clips_at(m, i, b);
            activation(m, i, n, product_again(m, i, b, n, y), y, 1, NULL);
            if (i < last)
                product(m, i + 1, n, y, mert_at(m->ops, m->conv_out[i + 1].now, b * clip_elements(m, i + 1)));
            else
                mert_copy_2d(m->ops, .to = mert_at(m->ops, features, b * m->T * m->c->conv[i].dim),
                             .ldto = m->T * m->c->conv[i].dim, .from = y, .ldfrom = size, .rows = n,
                             .columns = m->T * m->c->conv[i].dim);
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
    take(m, stays && mert_laid_aside(m));
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

/* d: gradient by layer i's output for the clips from b on, overwritten. That by its product takes the product's place;
 * the first layer's goes on into its parameters. room: for what leaves layer i. */
static void activation_backward(mert_encoder *m, int i, int64_t b, int64_t clips, mert_element *d,
                                mert_element *room)
{
    mert_conv_shape s = shape(m, i, clips);
    int64_t rows = clips * s.T_out, n = rows * s.O;
    int norm = over_time(m, i) || m->c->extractor_layer_norm;
    weight_bias p = m->conv_norm[i];
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *x = product_again(m, i, b, clips, room), *to = i ? x : d, *pre = x;
    float *stats = NULL;
    if (norm) {
        pre = i ? room : mert_take(m, n);
        stats = mert_take_floats(m, 2 * (over_time(m, i) ? clips * s.O : rows));
        if (m->memory.failed)
            return;
        activation(m, i, clips, x, pre, 0, stats);
    }
    mert_gelu_backward(m->ops, .dx = norm ? d : to, .dy = d, .x = pre, .n = n);
    if (over_time(m, i))
        mert_time_norm_backward(m->ops, .dx = to, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = d,
                                .x = x, .w = mert_weight(m, p.w), .mean = stats, .rstd = stats + clips * s.O,
                                .B = clips, .T = s.T_out, .C = s.O);
    else if (norm)
        mert_layer_norm_backward(m->ops, .dx = to, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = d,
                                 .x = x, .w = mert_weight(m, p.w), .mean = stats, .rstd = stats + rows, .rows = rows,
                                 .columns = s.O);
    if (i == 0) /* [O, 1, kernel]: taps before channels are the same */
        mert_conv_backward(m->ops, &s, mert_const_at(m->ops, m->audio, b * m->L), NULL, to,
                           mert_gradient(m, m->conv[0].w),
                           m->conv[0].b >= 0 ? mert_gradient(m, m->conv[0].b) : NULL, NULL);
    mert_arena_back(&m->memory, mark);
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
    /* through layer i's norm and GELU, from the product after it, i + 1 */
    for (int i = last; i >= 0 && !m->memory.failed; i--) {
        mert_conv_shape s = i < last ? shape(m, i + 1, 1) : (mert_conv_shape){0};
        int64_t size = clip_elements(m, i), at_once = clips_at(m, i, 0), weights = s.O * s.kernel * s.C;
        mert_element *room = mert_take(m, at_once * size);
        float *dw = mert_take_floats(m, weights);
        mert_element *dx = i < last ? mert_take(m, at_once * size) : NULL;
        if (m->memory.failed)
            return;
        mert_clear(m->ops, .to = dw, .bytes = (size_t)weights * sizeof *dw);
        for (int64_t b = 0; b < m->B && !m->memory.failed; b += s.B) {
            s.B = clips_at(m, i, b);
            if (i < last) {
                activation(m, i, s.B, product_again(m, i, b, s.B, room), room, 1, NULL);
                mert_conv_backward(m->ops, &s, room, conv_kernel(m, i + 1),
                                   mert_at(m->ops, m->conv_out[i + 1].now, b * clip_elements(m, i + 1)), dw,
                                   m->conv[i + 1].b >= 0 ? mert_gradient(m, m->conv[i + 1].b) : NULL, dx);
            }
            activation_backward(m, i, b, s.B, i < last ? dx : mert_at(m->ops, d, b * size), room);
        }
        if (i < last)
            mert_swap_axes(m->ops, .to = mert_gradient(m, m->conv[i + 1].w), .from = dw, .n = s.O, .a = s.kernel,
                           .b = s.C, .add = 1);
        mert_arena_back(&m->memory, mark);
    }
}
