#include "libcommon/models/encoder/steps.h"

void mert_step_weights(mert_encoder *m, int64_t from, int64_t end)
{
    m->step_weights = mert_arena_rounded(&m->memory, mert_weight(m, from), end - from);
    m->step_from = from;
    m->step_end = end;
}

/* n weights as elements, out of the copy or converted on the stack. */
static const mert_element *weights_at(mert_encoder *m, int64_t offset, int64_t n)
{
    if (offset >= m->step_from && offset + n <= m->step_end)
        return mert_const_at(m->ops, m->step_weights, offset - m->step_from);
    return mert_product_weight(m, offset, n);
}

/* residual: only if count is 1. */
static void products(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t in, int64_t out,
                     const mert_element *x, const mert_element *residual, mert_element *y)
{
    int64_t packed = mert_ops_packed_floats(m->ops, rows, out, in, MERT_PACKED_F32);
    mert_arena_mark mark = mert_arena_here(&m->memory);
    mert_element *panels = packed ? (mert_element *)(void *)mert_alloc_floats(m, count * packed) : NULL;
    const mert_element *w = packed ? panels : weights_at(m, p.w, (count - 1) * step + out * in);
    if (panels)
        mert_pack(m->ops, .to = panels, .w = mert_weight(m, p.w), .ldw = in, .n = out, .k = in, .count = count,
                  .to_step = packed, .w_step = step);
    if (w)
        mert_gemm(m->ops, .M = rows, .N = out, .K = in, .a = x, .lda = in, .b = w, .ldb = in, .tb = 1,
                  .packed = packed ? MERT_PACKED_F32 : (mert_packing)0, .b_step = packed ? packed : step, .c = y,
                  .ldc = count * out, .c_step = out, .bias = p.b >= 0 ? mert_weight(m, p.b) : NULL, .bias_step = step,
                  .residual = residual, .batch = count);
    mert_arena_back(&m->memory, mark);
}

void mert_step_linears(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t in,
                       int64_t out, const mert_element *x, mert_element *y)
{
    products(m, p, count, step, rows, in, out, x, NULL, y);
}

void mert_step_linears_backward(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t in,
                                int64_t out, const mert_element *x, const mert_element *dy, mert_element *dx, int add)
{
    mert_arena_mark mark = mert_arena_here(&m->memory);
    const mert_element *w = weights_at(m, p.w, (count - 1) * step + out * in);
    if (!w)
        return;
    mert_gemm(m->ops, .M = out, .N = in, .K = rows, .a = dy, .lda = count * out, .ta = 1, .a_step = out, .b = x,
              .ldb = in, .gradient = mert_gradient(m, p.w), .ldc = in, .c_step = step, .add = 1, .batch = count);
    mert_gemm(m->ops, .M = rows, .N = in, .K = out, .a = dy, .lda = count * out, .a_step = out, .b = w, .ldb = in,
              .b_step = step, .c = dx, .ldc = in, .add = add, .batch = count, .sum = 1);
    mert_arena_back(&m->memory, mark);
}

void mert_step_biases_backward(mert_encoder *m, weight_bias p, int64_t count, int64_t step, int64_t rows, int64_t out,
                               const mert_element *dy)
{
    mert_column_sum(m->ops, .sums = mert_gradient(m, p.b), .x = dy, .rows = rows, .columns = out, .ldx = count * out,
                    .count = count, .sums_step = step);
}

void mert_step_linear(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                      const mert_element *residual, mert_element *y)
{
    products(m, p, 1, 0, rows, in, out, x, residual, y);
}

void mert_step_linear_backward(mert_encoder *m, weight_bias p, int64_t rows, int64_t in, int64_t out,
                               const mert_element *x, const mert_element *dy, mert_element *dx, int add)
{
    mert_step_linears_backward(m, p, 1, 0, rows, in, out, x, dy, dx, add);
    if (p.b >= 0)
        mert_step_biases_backward(m, p, 1, 0, rows, out, dy);
}

void mert_step_norm_into(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                         const mert_element *x, mert_normed n)
{
    mert_layer_norm(m->ops, .y = n.y, .x = x, .w = mert_weight(m, p.w), .b = mert_weight(m, p.b), .mean = n.mean,
                    .rstd = n.rstd, .rows = rows, .columns = columns, .eps = (float)eps);
}

mert_normed mert_step_norm(mert_encoder *m, weight_bias p, int64_t rows, int64_t columns, double eps,
                           const mert_element *x)
{
    mert_normed n = {mert_alloc(m, rows * columns), mert_alloc_floats(m, rows), mert_alloc_floats(m, rows)};
    if (m->memory.failed)
        return (mert_normed){0};
    mert_step_norm_into(m, p, rows, columns, eps, x, n);
    return n;
}

void mert_step_norm_backward(mert_encoder *m, weight_bias p, const mert_normed *n, int64_t rows, int64_t columns,
                             const mert_element *x, mert_element *dy, mert_element *dx, int add)
{
    mert_layer_norm_backward(m->ops, .dx = dx, .dw = mert_gradient(m, p.w), .db = mert_gradient(m, p.b), .dy = dy,
                             .x = x, .w = mert_weight(m, p.w), .mean = n->mean, .rstd = n->rstd, .rows = rows,
                             .columns = columns, .add = add);
}

double mert_step_rate(const mert_encoder *m, double p)
{
    return m->options.training ? p : 0;
}

void mert_step_dropout(mert_encoder *m, mert_element *x, int64_t n, double p, uint32_t site)
{
    if (m->options.training && p > 0)
        mert_dropout(m->ops, .x = x, .B = m->B, .n = n / m->B, .p = p, .key = mert_encoder_key(m, site));
}
