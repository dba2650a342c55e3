#include "libcommon/models/encoder/steps.h"

static const float *bias(const mert_encoder *m, weight_bias p)
{
    return p.b >= 0 ? mert_weight(m, p.b) : NULL;
}

void mert_step_linear(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                      const mert_element *residual, mert_element *y)
{
    int64_t packed = mert_ops_packed_floats(m->ops, rows, out, in, MERT_PACKED_F32);
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *panels = packed ? (mert_element *)(void *)mert_take_floats(m, packed) : NULL;
    const mert_element *w = packed ? NULL : mert_product_weight(m, p.w, out * in);
    if (panels) {
        mert_pack(m->ops, .to = panels, .w = mert_weight(m, p.w), .ldw = in, .n = out, .k = in);
        mert_gemm(m->ops, .M = rows, .N = out, .K = in, .a = x, .lda = in, .b = panels, .packed = MERT_PACKED_F32,
                  .c = y, .ldc = out, .bias = bias(m, p), .residual = residual);
    } else if (w)
        mert_linear(m->ops, rows, in, out, x, w, bias(m, p), NULL, 0, residual, y);
    mert_arena_back(&m->memory, mark);
}

void mert_step_linear_backward(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out,
                               const mert_element *x, const mert_element *dy, mert_element *dx, int add)
{
    mert_arena_mark mark = mert_arena_here(&m->memory);
    const mert_element *w = mert_product_weight(m, p.w, out * in);
    if (w)
        mert_linear_backward(m->ops, rows, in, out, x, w, dy, mert_gradient(m, p.w),
                             p.b >= 0 ? mert_gradient(m, p.b) : NULL, dx, add);
    mert_arena_back(&m->memory, mark);
}

mert_normed mert_step_norm(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                           const mert_element *x)
{
    mert_normed n = {mert_take(m, rows * columns), mert_take_floats(m, rows), mert_take_floats(m, rows)};
    if (m->memory.failed)
        return (mert_normed){0};
    mert_layer_norm(m->ops, .y = n.y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = n.mean,
                    .rstd = n.rstd, .rows = rows, .columns = columns, .eps = (float)eps);
    return n;
}

void mert_step_norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, int64_t rows, int64_t columns,
                             const mert_element *x, mert_element *dy, mert_element *dx, int add)
{
    mert_layer_norm_backward(m->ops, .dx = dx, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = dy,
                             .x = x, .w = mert_weight(m, p.w), .mean = n->mean, .rstd = n->rstd, .rows = rows,
                             .columns = columns, .add = add);
}

void mert_step_dropout(mert_encoder *m, mert_element *x, int64_t n, double p, uint32_t site)
{
    if (m->options.training && p > 0)
        mert_dropout(m->ops, .x = x, .B = m->B, .n = n / m->B, .p = p, .key = mert_encoder_key(m, site));
}
