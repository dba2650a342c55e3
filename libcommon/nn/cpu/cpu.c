/* Runs any operation on float32 elements. The short ones are here, too. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <stdlib.h>
#include <string.h>

/* ---- elementwise operations: blocks of fixed size, distributed over the pool ---- */

enum { PIECE = 1 << 15 };

typedef struct piecewise {
    void (*work)(const void *args, int64_t first, int64_t n);
    const void *args;
    int64_t n;
} piecewise;

static void one_piece(void *arg, int64_t i, int worker)
{
    const piecewise *p = arg;
    int64_t first = i * PIECE;
    (void)worker;
    p->work(p->args, first, p->n - first < PIECE ? p->n - first : PIECE);
}

static void in_pieces(int64_t n, void (*work)(const void *, int64_t, int64_t), const void *args)
{
    piecewise p = {work, args, n};
    mert_pool_run((n + PIECE - 1) / PIECE, one_piece, &p);
}

/* Bytes are copied and cleared in words; the last word may be incomplete. */
enum { WORD = 4 };

static int64_t words(size_t bytes)
{
    return (int64_t)(bytes / WORD + (bytes % WORD != 0));
}

static size_t bytes_of(size_t bytes, int64_t first, int64_t n)
{
    size_t rest = bytes - (size_t)first * WORD;
    return rest < (size_t)n * WORD ? rest : (size_t)n * WORD;
}

static void copy_piece(const void *args, int64_t i, int64_t n)
{
    const mert_copy_args *a = args;
    memmove((char *)a->to + WORD * i, (const char *)a->from + WORD * i, bytes_of(a->bytes, i, n));
}

static void clear_piece(const void *args, int64_t i, int64_t n)
{
    const mert_clear_args *a = args;
    memset((char *)a->to + WORD * i, 0, bytes_of(a->bytes, i, n));
}

static void fill_piece(const void *args, int64_t i, int64_t n)
{
    const mert_fill_args *a = args;
    for (int64_t j = i; j < i + n; j++)
        a->to[j] = a->value;
}

static void narrow_piece(const void *args, int64_t i, int64_t n)
{
    const mert_narrow_args *a = args;
    MERT_VECTOR->narrow(a->to + i, a->from + i, n);
}

static void widen_piece(const void *args, int64_t i, int64_t n)
{
    const mert_widen_args *a = args;
    MERT_VECTOR->widen(a->to + i, a->from + i, n);
}

/* Elements are float32 here. */
static void to_elements_piece(const void *args, int64_t i, int64_t n)
{
    const mert_to_elements_args *a = args;
    memmove(a->to + i, a->from + i, (size_t)n * sizeof *a->to);
}

static void to_floats_piece(const void *args, int64_t i, int64_t n)
{
    const mert_to_floats_args *a = args;
    memmove(a->to + i, a->from + i, (size_t)n * sizeof *a->to);
}

static void axpy_piece(const void *args, int64_t i, int64_t n)
{
    const mert_axpy_args *a = args;
    MERT_VECTOR->axpy(a->to + i, a->from + i, a->alpha == 0 ? 1.0f : a->alpha, n);
}

static void add_piece(const void *args, int64_t i, int64_t n)
{
    const mert_add_args *a = args;
    MERT_VECTOR->axpy(a->to + i, a->from + i, 1.0f, n);
}

/* ---- operations by rows ---- */

typedef struct rowwise {
    void (*work)(const void *args, int64_t row);
    const void *args;
    int64_t rows, block;
} rowwise;

static void one_block(void *arg, int64_t i, int worker)
{
    const rowwise *r = arg;
    int64_t end = (i + 1) * r->block;
    (void)worker;
    for (int64_t row = i * r->block; row < end && row < r->rows; row++)
        r->work(r->args, row);
}

static void by_rows(int64_t rows, int64_t width, void (*work)(const void *, int64_t), const void *args)
{
    rowwise r = {work, args, rows, width >= PIECE ? 1 : (PIECE + width - 1) / (width > 0 ? width : 1)};
    mert_pool_run((rows + r.block - 1) / r.block, one_block, &r);
}

static void copy_2d_row(const void *args, int64_t row)
{
    const mert_copy_2d_args *a = args;
    float *to = a->to + row * a->ldto, s = a->scale == 0 ? 1.0f : a->scale;
    const float *from = a->from + row * a->ldfrom;
    if (a->add)
        MERT_VECTOR->axpy(to, from, s, a->columns);
    else if (s == 1.0f)
        memmove(to, from, (size_t)a->columns * sizeof(float));
    else
        MERT_VECTOR->scale(to, from, s, a->columns);
}

static void swap_axes_row(const void *args, int64_t n)
{
    const mert_swap_axes_args *a = args;
    const float *from = a->from + n * a->a * a->b;
    float *to = a->to + n * a->a * a->b;
    for (int64_t j = 0; j < a->b; j++)
        for (int64_t i = 0; i < a->a; i++) {
            float v = from[i * a->b + j];
            to[j * a->a + i] = a->add ? to[j * a->a + i] + v : v;
        }
}

static void mask_row(const void *args, int64_t row)
{
    const mert_mask_args *a = args;
    if (a->mask[row] != 0)
        memcpy(a->x + row * a->D, a->e, (size_t)a->D * sizeof(float));
}

static void zero_row(const void *args, int64_t row)
{
    const mert_zero_args *a = args;
    const float *channels = a->channels ? a->channels + row / a->T * a->D : NULL;
    float *x = a->x + row * a->D;
    if (a->rows && a->rows[row] != 0)
        memset(x, 0, (size_t)a->D * sizeof *x);
    else if (channels)
        for (int64_t d = 0; d < a->D; d++)
            x[d] = channels[d] != 0 ? 0 : x[d];
}

static void gather_row(const void *args, int64_t i)
{
    const mert_gather_args *a = args;
    memcpy(a->to + i * a->D, a->from + (int64_t)a->index[i] * a->D, (size_t)a->D * sizeof(float));
}

static void scatter_add_row(const void *args, int64_t i)
{
    const mert_scatter_add_args *a = args;
    MERT_VECTOR->axpy(a->to + (int64_t)a->index[i] * a->D, a->from + i * a->D, 1.0f, a->D);
}

static void rotary_row(const void *args, int64_t row)
{
    const mert_rotary_args *a = args;
    int64_t half = a->dh / 2, at = row % a->T * half;
    float *x = a->x + row * a->ld;
    for (int64_t h = 0; h < a->H; h++, x += a->dh)
        MERT_VECTOR->rotate(x, x + half, a->cosines + at, a->sines + at, a->inverse ? -1.0f : 1.0f, half);
}

/* ---- corruption of frames: single operations, in order ---- */

static void corrupt(const void *args)
{
    const mert_corrupt_args *a = args;
    int64_t rows = a->B * a->T;
    float *held = a->replaced > 0 ? mert_cpu_shared_scratch((size_t)(a->replaced * a->D)) : NULL;
    if (a->replaced > 0 && !held)
        return;
    in_pieces(rows * a->D, copy_piece, &(mert_copy_args){a->y, a->x, (size_t)(rows * a->D) * sizeof *a->y});
    mert_cpu_dropout(&(mert_dropout_args){a->y, a->B, a->T * a->D, a->p, a->key});
    if (a->mask)
        by_rows(rows, a->D, mask_row, &(mert_mask_args){a->y, a->e, a->mask, rows, a->D});
    if (held) { /* all sources are read before any row is written, because a source may be replaced, too */
        by_rows(a->replaced, a->D, gather_row, &(mert_gather_args){held, a->y, a->from, a->replaced, a->D});
        for (int64_t i = 0; i < a->replaced; i++)
            memcpy(a->y + a->to[i] * a->D, held + i * a->D, (size_t)a->D * sizeof *held);
    }
    if (a->channels)
        by_rows(rows, a->D, zero_row, &(mert_zero_args){a->y, NULL, a->channels, a->B, a->T, a->D});
}

static void corrupt_backward(const void *args)
{
    const mert_corrupt_backward_args *a = args;
    int64_t rows = a->B * a->T;
    float *held = a->replaced > 0 ? mert_cpu_shared_scratch((size_t)(a->replaced * a->D)) : NULL;
    if (a->replaced > 0 && !held)
        return;
    in_pieces(rows * a->D, copy_piece, &(mert_copy_args){a->dx, a->dy, (size_t)(rows * a->D) * sizeof *a->dx});
    if (a->channels)
        by_rows(rows, a->D, zero_row, &(mert_zero_args){a->dx, NULL, a->channels, a->B, a->T, a->D});
    if (held) {
        by_rows(a->replaced, a->D, gather_row, &(mert_gather_args){held, a->dx, a->to, a->replaced, a->D});
        by_rows(rows, a->D, zero_row, &(mert_zero_args){a->dx, a->replaced_rows, NULL, a->B, a->T, a->D});
        by_rows(a->replaced, a->D, scatter_add_row, &(mert_scatter_add_args){a->dx, held, a->from, a->replaced, a->D});
    }
    if (a->mask)
        mert_cpu_mask_backward(&(mert_mask_backward_args){a->dx, a->de, a->mask, rows, a->D});
    mert_cpu_dropout(&(mert_dropout_args){a->dx, a->B, a->T * a->D, a->p, a->key});
}

void mert_cpu_run(mert_op op, const void *args)
{
    if (mert_cpu_failed(NULL))
        return;
    switch (op) {
    case MERT_OP_COPY: in_pieces(words(((const mert_copy_args *)args)->bytes), copy_piece, args); break;
    case MERT_OP_CLEAR: in_pieces(words(((const mert_clear_args *)args)->bytes), clear_piece, args); break;
    case MERT_OP_FILL: in_pieces(((const mert_fill_args *)args)->n, fill_piece, args); break;
    case MERT_OP_COPY_2D:
        by_rows(((const mert_copy_2d_args *)args)->rows, ((const mert_copy_2d_args *)args)->columns, copy_2d_row, args);
        break;
    case MERT_OP_ADD: in_pieces(((const mert_add_args *)args)->n, add_piece, args); break;
    case MERT_OP_AXPY: in_pieces(((const mert_axpy_args *)args)->n, axpy_piece, args); break;
    case MERT_OP_SWAP_AXES: {
        const mert_swap_axes_args *a = args;
        by_rows(a->n, a->a * a->b, swap_axes_row, args);
        break;
    }
    case MERT_OP_GEMM: mert_cpu_gemm(args); break;
    case MERT_OP_PACK: mert_cpu_pack(args); break;
    case MERT_OP_WINDOW_MOMENTS: mert_cpu_window_moments(args); break;
    case MERT_OP_FOLD_NORM: mert_cpu_fold_norm(args); break;
    case MERT_OP_GELU: mert_cpu_gelu(args); break;
    case MERT_OP_GELU_BACKWARD: mert_cpu_gelu_backward(args); break;
    case MERT_OP_COLUMN_SUM: mert_cpu_column_sum(args); break;
    case MERT_OP_LAYER_NORM: mert_cpu_layer_norm(args); break;
    case MERT_OP_LAYER_NORM_BACKWARD: mert_cpu_layer_norm_backward(args); break;
    case MERT_OP_ADD_NORM: mert_cpu_add_norm(args); break;
    case MERT_OP_ADD_NORM_BACKWARD: mert_cpu_add_norm_backward(args); break;
    case MERT_OP_TIME_NORM: mert_cpu_time_norm(args); break;
    case MERT_OP_TIME_NORM_BACKWARD: mert_cpu_time_norm_backward(args); break;
    case MERT_OP_CONV: mert_cpu_conv(args); break;
    case MERT_OP_CONV_BACKWARD: mert_cpu_conv_backward(args); break;
    case MERT_OP_FIRST_LAYER: mert_cpu_first_layer(args); break;
    case MERT_OP_FIRST_LAYER_BACKWARD: mert_cpu_first_layer_backward(args); break;
    case MERT_OP_WEIGHT_NORM: mert_cpu_weight_norm(args); break;
    case MERT_OP_WEIGHT_NORM_BACKWARD: mert_cpu_weight_norm_backward(args); break;
    case MERT_OP_GROUPED_CONV: mert_cpu_grouped_conv(args); break;
    case MERT_OP_GROUPED_CONV_BACKWARD: mert_cpu_grouped_conv_backward(args); break;
    case MERT_OP_ATTENTION: mert_cpu_attention(args); break;
    case MERT_OP_ATTENTION_BACKWARD: mert_cpu_attention_backward(args); break;
    case MERT_OP_DROPOUT: mert_cpu_dropout(args); break;
    case MERT_OP_MASK:
        by_rows(((const mert_mask_args *)args)->rows, ((const mert_mask_args *)args)->D, mask_row, args);
        break;
    case MERT_OP_MASK_BACKWARD: mert_cpu_mask_backward(args); break;
    case MERT_OP_CORRUPT: corrupt(args); break;
    case MERT_OP_CORRUPT_BACKWARD: corrupt_backward(args); break;
    case MERT_OP_ZERO: {
        const mert_zero_args *a = args;
        by_rows(a->B * a->T, a->D, zero_row, args);
        break;
    }
    case MERT_OP_GATHER:
        by_rows(((const mert_gather_args *)args)->n, ((const mert_gather_args *)args)->D, gather_row, args);
        break;
    case MERT_OP_SCATTER_ADD:
        by_rows(((const mert_scatter_add_args *)args)->n, ((const mert_scatter_add_args *)args)->D, scatter_add_row,
                args);
        break;
    case MERT_OP_POOL_SPANS: mert_cpu_pool_spans(args); break;
    case MERT_OP_NORMALIZE: mert_cpu_normalize(args); break;
    case MERT_OP_NORMALIZE_BACKWARD: mert_cpu_normalize_backward(args); break;
    case MERT_OP_CROSS_ENTROPY: mert_cpu_cross_entropy(args); break;
    case MERT_OP_SQUARED_ERROR: mert_cpu_squared_error(args); break;
    case MERT_OP_GLU: mert_cpu_glu(args); break;
    case MERT_OP_GLU_BACKWARD: mert_cpu_glu_backward(args); break;
    case MERT_OP_SUM_SQUARES: mert_cpu_sum_squares(args); break;
    case MERT_OP_CLIP: mert_cpu_clip(args); break;
    case MERT_OP_ADAM: mert_cpu_adam(args); break;
    case MERT_OP_NARROW: in_pieces(((const mert_narrow_args *)args)->n, narrow_piece, args); break;
    case MERT_OP_WIDEN: in_pieces(((const mert_widen_args *)args)->n, widen_piece, args); break;
    case MERT_OP_TO_ELEMENTS: in_pieces(((const mert_to_elements_args *)args)->n, to_elements_piece, args); break;
    case MERT_OP_TO_FLOATS: in_pieces(((const mert_to_floats_args *)args)->n, to_floats_piece, args); break;
    case MERT_OP_DEPTHWISE_CONV: mert_cpu_depthwise_conv(args); break;
    case MERT_OP_DEPTHWISE_CONV_BACKWARD: mert_cpu_depthwise_conv_backward(args); break;
    case MERT_OP_TIME_SQUARES: mert_cpu_time_squares(args); break;
    case MERT_OP_RESPONSE_NORM: mert_cpu_response_norm(args); break;
    case MERT_OP_RESPONSE_NORM_BACKWARD: mert_cpu_response_norm_backward(args); break;
    case MERT_OP_ROTARY: {
        const mert_rotary_args *a = args;
        by_rows(a->B * a->T, a->H * a->dh, rotary_row, args);
        break;
    }
    case MERT_OP_ELU: mert_cpu_elu(args); break;
    case MERT_OP_PAD: mert_cpu_pad(args); break;
    case MERT_OP_LSTM: mert_cpu_lstm(args); break;
    case MERT_OP_NEAREST: mert_cpu_nearest(args); break;
    case MERT_OP_DECIMATE: mert_cpu_decimate(args); break;
    case MERT_OP_CQT: mert_cpu_cqt(args); break;
    case MERT_OPS_COUNT: break;
    }
}
