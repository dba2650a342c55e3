/* 16-bit elements on the CPU, the reference for devices. The operands of an operation are copied to float32, the
 * float32 operation runs on the copies, and its results are rounded and stored. So an operation computes in float32 and
 * rounds when it stores an element, as ops.h requires, whatever it does inside. Where the processor has instructions
 * for bfloat16, products of bfloat16 need no copies (gemm_half.h).
 *
 * An operand is `count` matrices, `step` apart. The copy has the same strides. Rows that overlap (the windows of a
 * convolution), and matrices that overlap, are copied as one piece of memory and still overlap in the copy. */
#include "libcommon/nn/cpu/cpu.h"

#include "formats/half.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/gemm_half.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/vector.h"

#include <stdlib.h>
#include <string.h>

enum { OPERANDS_MAX = 8, ROOM_FOR_ARGS = 256, BLOCK = 1 << 14 };

typedef struct operand {
    float **at; /* the pointer in the copy of the arguments */
    int64_t count, step, rows, ld, columns;
    int read, written;
    uint16_t *from; /* the elements */
    float *copy;
} operand;

typedef struct operands {
    operand of[OPERANDS_MAX];
    int n;
} operands;

static void add(operands *s, int read, int written, const void *field, int64_t count, int64_t step, int64_t rows,
                int64_t ld, int64_t columns)
{
    operand o = {(float **)(uintptr_t)field, count, step, rows, ld, columns, read, written, NULL, NULL};
    if (*o.at && count > 0 && rows > 0 && columns > 0)
        s->of[s->n++] = o;
}

/* FILLS: every element is written, and none is read. */
#define READS(field, ...) add(s, 1, 0, &a->field, __VA_ARGS__)
#define WRITES(field, ...) add(s, 1, 1, &a->field, __VA_ARGS__)
#define FILLS(field, ...) add(s, 0, 1, &a->field, __VA_ARGS__)
#define READS_FLAT(field, n) READS(field, 1, 0, 1, 0, n)
#define WRITES_FLAT(field, n) WRITES(field, 1, 0, 1, 0, n)
#define FILLS_FLAT(field, n) FILLS(field, 1, 0, 1, 0, n)
#define NEITHER_FLAT(field, n) add(s, 0, 0, &a->field, 1, 0, 1, 0, n)

/* ---- the operands of each operation ---- */

static void gemm_operands(operands *s, const mert_gemm_args *a)
{
    int64_t many = a->batch > 0 ? a->batch : 1, results = a->sum ? 1 : many;
    READS(a, a->a_step ? many : 1, a->a_step, a->ta ? a->K : a->M, a->lda, a->ta ? a->M : a->K);
    if (!a->packed)
        READS(b, a->b_step ? many : 1, a->b_step, a->tb ? a->N : a->K, a->ldb, a->tb ? a->K : a->N);
    WRITES(c, results, a->c_step, a->M, a->ldc, a->N);
    READS(residual, results, a->c_step, a->M, a->ldc, a->N);
    WRITES(pre, results, a->c_step, a->M, a->ldc, a->N);
}

static void attention_operands(operands *s, const mert_attention_args *a)
{
    int64_t rows = a->B * a->T, columns = a->H * a->dh;
    FILLS(out, 1, 0, rows, a->ldout ? a->ldout : a->ld, columns);
    READS(q, 1, 0, rows, a->ld, columns);
    READS(k, 1, 0, rows, a->ld, columns);
    READS(v, 1, 0, rows, a->ld, columns);
}

static void attention_backward_operands(operands *s, const mert_attention_backward_args *a)
{
    const void *const fields[] = {&a->dq, &a->dk, &a->dv, &a->dout, &a->out, &a->q, &a->k, &a->v};
    for (int i = 0; i < OPERANDS_MAX; i++)
        add(s, i >= 3, i < 3, fields[i], 1, 0, a->B * a->T, (i == 3 || i == 4) && a->ldout ? a->ldout : a->ld,
            a->H * a->dh);
}

static void norm_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_LAYER_NORM) {
        const mert_layer_norm_args *a = args;
        FILLS_FLAT(y, a->rows * a->columns);
        READS_FLAT(x, a->rows * a->columns);
    } else if (op == MERT_OP_LAYER_NORM_BACKWARD) {
        const mert_layer_norm_backward_args *a = args;
        WRITES_FLAT(dx, a->rows * a->columns);
        READS_FLAT(dy, a->rows * a->columns);
        READS_FLAT(x, a->rows * a->columns);
    } else if (op == MERT_OP_ADD_NORM) {
        const mert_add_norm_args *a = args;
        FILLS_FLAT(s, a->B * a->T * a->D);
        READS_FLAT(x, a->B * a->T * a->D);
        READS_FLAT(residual, a->B * a->T * a->D);
    } else if (op == MERT_OP_ADD_NORM_BACKWARD) {
        const mert_add_norm_backward_args *a = args;
        WRITES_FLAT(dresidual, a->B * a->T * a->D);
        FILLS_FLAT(dx, a->B * a->T * a->D);
        READS_FLAT(dy, a->B * a->T * a->D);
        READS_FLAT(s, a->B * a->T * a->D);
    } else if (op == MERT_OP_TIME_NORM) {
        const mert_time_norm_args *a = args;
        WRITES_FLAT(y, a->B * a->T * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
        WRITES_FLAT(pre, a->B * a->T * a->C);
    } else {
        const mert_time_norm_backward_args *a = args;
        WRITES_FLAT(dx, a->B * a->T * a->C);
        READS_FLAT(dy, a->B * a->T * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
    }
}

static int64_t inputs(const mert_conv_shape *s)
{
    return s->B * s->T_in * s->C;
}

static int64_t outputs(const mert_conv_shape *s)
{
    return s->B * s->T_out * s->O;
}

static void conv_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_GROUPED_CONV) {
        const mert_grouped_conv_args *a = args;
        FILLS_FLAT(y, a->B * a->T * a->D);
        READS_FLAT(x, a->B * a->T * a->D);
        if (!a->packed)
            READS_FLAT(w, a->D * a->kernel * (a->D / a->groups));
        READS_FLAT(residual, a->B * a->T * a->D);
    } else if (op == MERT_OP_CONV) {
        const mert_conv_args *a = args;
        FILLS_FLAT(y, outputs(&a->shape));
        READS_FLAT(x, inputs(&a->shape));
        if (!a->packed)
            READS_FLAT(w, a->shape.O * a->shape.kernel * a->shape.C);
    } else if (op == MERT_OP_CONV_BACKWARD) {
        const mert_conv_backward_args *a = args;
        FILLS_FLAT(dx, inputs(&a->shape));
        READS_FLAT(dy, outputs(&a->shape));
        READS_FLAT(x, inputs(&a->shape));
        READS_FLAT(w, a->shape.O * a->shape.kernel * a->shape.C);
    } else if (op == MERT_OP_FIRST_LAYER) {
        const mert_first_layer_args *a = args;
        FILLS_FLAT(y, outputs(&a->shape));
        READS_FLAT(x, inputs(&a->shape));
    } else if (op == MERT_OP_FIRST_LAYER_BACKWARD) {
        const mert_first_layer_backward_args *a = args;
        READS_FLAT(dy, outputs(&a->shape));
        NEITHER_FLAT(room, outputs(&a->shape));
        READS_FLAT(x, inputs(&a->shape));
    } else {
        const mert_grouped_conv_backward_args *a = args;
        WRITES_FLAT(dx, a->B * a->T * a->D);
        READS_FLAT(dy, a->B * a->T * a->D);
        READS_FLAT(x, a->B * a->T * a->D);
        READS_FLAT(w, a->D * a->kernel * (a->D / a->groups));
    }
}

static int64_t largest(const int32_t *index, int64_t n)
{
    int64_t most = -1;
    for (int64_t i = 0; i < n; i++)
        most = index[i] > most ? index[i] : most;
    return most;
}

static void row_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_MASK) {
        const mert_mask_args *a = args;
        WRITES_FLAT(x, a->rows * a->D);
    } else if (op == MERT_OP_MASK_BACKWARD) {
        const mert_mask_backward_args *a = args;
        WRITES_FLAT(dx, a->rows * a->D);
    } else if (op == MERT_OP_ZERO) {
        const mert_zero_args *a = args;
        WRITES_FLAT(x, a->B * a->T * a->D);
    } else if (op == MERT_OP_GATHER) {
        const mert_gather_args *a = args;
        WRITES_FLAT(to, a->n * a->D);
        READS_FLAT(from, (largest(a->index, a->n) + 1) * a->D);
    } else if (op == MERT_OP_CORRUPT) {
        const mert_corrupt_args *a = args;
        WRITES_FLAT(y, a->B * a->T * a->D);
        READS_FLAT(x, a->B * a->T * a->D);
    } else if (op == MERT_OP_CORRUPT_BACKWARD) {
        const mert_corrupt_backward_args *a = args;
        WRITES_FLAT(dx, a->B * a->T * a->D);
        READS_FLAT(dy, a->B * a->T * a->D);
    } else if (op == MERT_OP_POOL_SPANS) {
        const mert_pool_spans_args *a = args;
        READS_FLAT(x, a->first[a->spans] * a->D);
    } else {
        const mert_scatter_add_args *a = args;
        WRITES_FLAT(to, (largest(a->index, a->n) + 1) * a->D);
        READS_FLAT(from, a->n * a->D);
    }
}

static void loss_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_NORMALIZE) {
        const mert_normalize_args *a = args;
        WRITES(y, 1, 0, a->rows, a->ld, a->D);
        READS(x, 1, 0, a->rows, a->ld, a->D);
    } else if (op == MERT_OP_NORMALIZE_BACKWARD) {
        const mert_normalize_backward_args *a = args;
        WRITES(dx, 1, 0, a->rows, a->ld, a->D);
        READS_FLAT(dy, a->rows * a->D);
        READS(y, 1, 0, a->rows, a->ld, a->D);
    } else if (op == MERT_OP_CROSS_ENTROPY) {
        const mert_cross_entropy_args *a = args;
        WRITES(logits, 1, 0, a->rows * (a->count > 0 ? a->count : 1), a->ld ? a->ld : a->V, a->V);
    } else if (op == MERT_OP_SQUARED_ERROR) {
        const mert_squared_error_args *a = args;
        WRITES_FLAT(dx, a->n);
        READS_FLAT(x, a->n);
    } else if (op == MERT_OP_GLU) {
        const mert_glu_args *a = args;
        WRITES_FLAT(y, a->rows * a->D);
        READS_FLAT(x, a->rows * 2 * a->D);
    } else {
        const mert_glu_backward_args *a = args;
        WRITES_FLAT(dx, a->rows * 2 * a->D);
        READS_FLAT(dy, a->rows * a->D);
        READS_FLAT(x, a->rows * 2 * a->D);
    }
}

static void conformer_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_DEPTHWISE_CONV) {
        const mert_depthwise_conv_args *a = args;
        WRITES_FLAT(y, a->B * (a->frames ? a->frames : a->T) * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
    } else if (op == MERT_OP_DEPTHWISE_CONV_BACKWARD) {
        const mert_depthwise_conv_backward_args *a = args;
        WRITES_FLAT(dx, a->B * a->T * a->C);
        READS_FLAT(dy, a->B * a->T * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
    } else if (op == MERT_OP_TIME_SQUARES) {
        const mert_time_squares_args *a = args;
        READS_FLAT(x, a->B * a->T * a->C);
    } else if (op == MERT_OP_RESPONSE_NORM) {
        const mert_response_norm_args *a = args;
        WRITES_FLAT(y, a->B * a->T * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
    } else if (op == MERT_OP_RESPONSE_NORM_BACKWARD) {
        const mert_response_norm_backward_args *a = args;
        WRITES_FLAT(dx, a->B * a->T * a->C);
        READS_FLAT(dy, a->B * a->T * a->C);
        READS_FLAT(x, a->B * a->T * a->C);
    } else {
        const mert_rotary_args *a = args;
        WRITES(x, 1, 0, a->B * a->T, a->ld, a->H * a->dh);
    }
}

static void codec_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_ELU) {
        const mert_elu_args *a = args;
        WRITES_FLAT(y, a->n);
        READS_FLAT(x, a->n);
    } else if (op == MERT_OP_PAD) {
        const mert_pad_args *a = args;
        WRITES_FLAT(y, (a->T + a->left) * a->C);
        READS_FLAT(x, a->T * a->C);
    } else {
        const mert_lstm_args *a = args;
        WRITES_FLAT(y, a->T * a->W);
        READS_FLAT(gates, a->T * 4 * a->W);
        READS_FLAT(w, 4 * a->W * a->W);
    }
}

static void simple_operands(operands *s, mert_op op, const void *args)
{
    if (op == MERT_OP_COPY_2D) {
        const mert_copy_2d_args *a = args;
        WRITES(to, 1, 0, a->rows, a->ldto, a->columns);
        READS(from, 1, 0, a->rows, a->ldfrom, a->columns);
    } else if (op == MERT_OP_AXPY) {
        const mert_axpy_args *a = args;
        WRITES_FLAT(to, a->n);
        READS_FLAT(from, a->n);
    } else if (op == MERT_OP_GELU) {
        const mert_gelu_args *a = args;
        FILLS_FLAT(y, a->n);
        READS_FLAT(x, a->n);
        READS_FLAT(residual, a->n);
    } else if (op == MERT_OP_GELU_BACKWARD) {
        const mert_gelu_backward_args *a = args;
        FILLS_FLAT(dx, a->n);
        READS_FLAT(dy, a->n);
        READS_FLAT(x, a->n);
    } else if (op == MERT_OP_COLUMN_SUM) {
        const mert_column_sum_args *a = args;
        READS(x, 1, 0, a->rows, a->ldx, (a->count > 0 ? a->count : 1) * a->columns);
    } else if (op == MERT_OP_DROPOUT) {
        const mert_dropout_args *a = args;
        WRITES_FLAT(x, a->B * a->n);
    } else if (op == MERT_OP_WINDOW_MOMENTS) {
        const mert_window_moments_args *a = args;
        READS(x, 1, 0, a->T, a->stride, a->kernel);
    } else if (op == MERT_OP_SUM_SQUARES) {
        const mert_sum_squares_args *a = args;
        READS_FLAT(elements, a->n);
    }
}

/* Operations that are not listed here have no elements. */
static void operands_of(operands *s, mert_op op, const void *args)
{
    switch (op) {
    case MERT_OP_GEMM: gemm_operands(s, args); break;
    case MERT_OP_ATTENTION: attention_operands(s, args); break;
    case MERT_OP_ATTENTION_BACKWARD: attention_backward_operands(s, args); break;
    case MERT_OP_LAYER_NORM:
    case MERT_OP_LAYER_NORM_BACKWARD:
    case MERT_OP_ADD_NORM:
    case MERT_OP_ADD_NORM_BACKWARD:
    case MERT_OP_TIME_NORM:
    case MERT_OP_TIME_NORM_BACKWARD: norm_operands(s, op, args); break;
    case MERT_OP_CONV:
    case MERT_OP_CONV_BACKWARD:
    case MERT_OP_FIRST_LAYER:
    case MERT_OP_FIRST_LAYER_BACKWARD:
    case MERT_OP_GROUPED_CONV:
    case MERT_OP_GROUPED_CONV_BACKWARD: conv_operands(s, op, args); break;
    case MERT_OP_MASK:
    case MERT_OP_MASK_BACKWARD:
    case MERT_OP_ZERO:
    case MERT_OP_GATHER:
    case MERT_OP_POOL_SPANS:
    case MERT_OP_CORRUPT:
    case MERT_OP_CORRUPT_BACKWARD:
    case MERT_OP_SCATTER_ADD: row_operands(s, op, args); break;
    case MERT_OP_NORMALIZE:
    case MERT_OP_NORMALIZE_BACKWARD:
    case MERT_OP_CROSS_ENTROPY:
    case MERT_OP_SQUARED_ERROR:
    case MERT_OP_GLU:
    case MERT_OP_GLU_BACKWARD: loss_operands(s, op, args); break;
    case MERT_OP_DEPTHWISE_CONV:
    case MERT_OP_DEPTHWISE_CONV_BACKWARD:
    case MERT_OP_TIME_SQUARES:
    case MERT_OP_RESPONSE_NORM:
    case MERT_OP_RESPONSE_NORM_BACKWARD:
    case MERT_OP_ROTARY: conformer_operands(s, op, args); break;
    case MERT_OP_ELU:
    case MERT_OP_PAD:
    case MERT_OP_LSTM: codec_operands(s, op, args); break;
    default: simple_operands(s, op, args);
    }
}

/* ---- conversion ---- */

static void widen(mert_element_type type, float *to, const uint16_t *from, int64_t n)
{
    if (type == MERT_ELEMENT_BF16)
        MERT_VECTOR->widen(to, from, n);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = mert_from_f16(from[i]);
}

static void round_to(mert_element_type type, uint16_t *to, const float *from, int64_t n)
{
    if (type == MERT_ELEMENT_BF16)
        MERT_VECTOR->narrow(to, from, n);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = mert_to_f16(from[i]);
}

/* The size of the whole operand, including what is between its rows. */
static int64_t extent(const operand *o)
{
    return (o->count - 1) * o->step + (o->rows - 1) * o->ld + o->columns;
}

typedef struct conversion {
    mert_element_type type;
    const operand *o;
} conversion;

static void widen_block(void *arg, int64_t i, int worker)
{
    const conversion *m = arg;
    int64_t first = i * BLOCK, n = extent(m->o) - first;
    (void)worker;
    widen(m->type, m->o->copy + first, m->o->from + first, n < BLOCK ? n : BLOCK);
}

/* Only the rows are stored: what is between them may belong to another operand. */
static void round_row(void *arg, int64_t i, int worker)
{
    const conversion *m = arg;
    int64_t at = i / m->o->rows * m->o->step + i % m->o->rows * m->o->ld;
    (void)worker;
    round_to(m->type, m->o->from + at, m->o->copy + at, m->o->columns);
}

/* Divides a flat operand into rows, so that several threads can work on it. */
static void split_into_rows(operand *o)
{
    if (o->count == 1 && o->rows == 1 && o->columns % BLOCK == 0) {
        o->rows = o->columns / BLOCK;
        o->ld = o->columns = BLOCK;
    }
}

static void widen_operand(mert_element_type type, operand *o, float *room)
{
    conversion m = {type, o};
    int64_t n = extent(o);
    o->from = (uint16_t *)(void *)*o->at;
    o->copy = room;
    if (o->read)
        mert_pool_run((n + BLOCK - 1) / BLOCK, widen_block, &m);
    *o->at = o->copy;
}

static void round_operand(mert_element_type type, operand *o)
{
    conversion m = {type, o};
    split_into_rows(o);
    if (o->written)
        mert_pool_run(o->count * o->rows, round_row, &m);
}

static void run_on_copies(mert_element_type type, mert_op op, const void *args, size_t size)
{
    _Alignas(16) unsigned char own[ROOM_FOR_ARGS];
    operands s = {.n = 0};
    size_t floats = 0, at = 0;
    float *room = NULL;
    memcpy(own, args, size);
    operands_of(&s, op, own);
    for (int i = 0; i < s.n; i++)
        floats += (size_t)extent(&s.of[i]) + 16;
    if (s.n && !(room = mert_pool_scratch(MERT_POOL_OUTER, floats * sizeof *room)))
        return;
    for (int i = 0; i < s.n; i++) {
        widen_operand(type, &s.of[i], room + at);
        at += ((size_t)extent(&s.of[i]) + 15) / 16 * 16;
    }
    mert_cpu_run(op, own);
    for (int i = 0; i < s.n && !mert_cpu_failed(NULL); i++)
        round_operand(type, &s.of[i]);
}

/* ---- operations that convert, or that need something else ---- */

typedef struct flat {
    mert_element_type type;
    uint16_t *elements;
    float *floats;
    const float *from;
    int64_t n;
} flat;

static void convert_block(void *arg, int64_t i, int worker)
{
    const flat *f = arg;
    int64_t first = i * BLOCK, n = f->n - first < BLOCK ? f->n - first : BLOCK;
    (void)worker;
    if (f->from)
        round_to(f->type, f->elements + first, f->from + first, n);
    else
        widen(f->type, f->floats + first, f->elements + first, n);
}

static void convert(flat f)
{
    mert_pool_run((f.n + BLOCK - 1) / BLOCK, convert_block, &f);
}

/* 1: products of this type are computed by gemm_half.h, and packed weights are the panels of rows_half.h. */
static int by_halves(mert_element_type type) { return type == MERT_ELEMENT_BF16 && mert_half_fast(); }

/* Packed weights are the rounded numbers: as float32, or as bfloat16, which the packing rounds to. */
static void pack(mert_element_type type, const mert_pack_args *args)
{
    mert_pack_args a = *args;
    int64_t count = a.count > 0 ? a.count : 1, n = (count - 1) * a.w_step + (a.n - 1) * a.ldw + a.k;
    float *w;
    if (by_halves(type)) {
        a.as = MERT_PACKED_BF16;
        mert_cpu_run(MERT_OP_PACK, &a);
        return;
    }
    if (!(w = malloc((size_t)n * sizeof *w))) {
        mert_pool_lacks((size_t)n * sizeof *w);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t x;
        round_to(type, &x, a.w + i, 1);
        widen(type, w + i, &x, 1);
    }
    a.w = w;
    mert_cpu_run(MERT_OP_PACK, &a);
    free(w);
}

/* The norm is computed from the sum after it was rounded. */
static void add_norm(mert_element_type type, const mert_add_norm_args *args)
{
    mert_add_norm_args a = *args;
    a.y = NULL;
    run_on_copies(type, MERT_OP_ADD_NORM, &a, sizeof a);
    if (args->y)
        run_on_copies(type, MERT_OP_LAYER_NORM,
                      &(mert_layer_norm_args){.y = args->y, .x = a.s, .w = a.w, .b = a.b, .mean = a.mean,
                                              .rstd = a.rstd, .rows = a.B * a.T, .columns = a.D, .eps = a.eps},
                      sizeof(mert_layer_norm_args));
}

/* Activations block by block, without copies of the whole arrays. */
typedef struct activation {
    mert_element_type type;
    uint16_t *to;
    const uint16_t *x, *dy, *residual; /* dy: the backward pass */
    int64_t n;
} activation;

static void activation_block(void *arg, int64_t i, int worker)
{
    const activation *a = arg;
    int64_t first = i * BLOCK, n = a->n - first < BLOCK ? a->n - first : BLOCK;
    float *x = mert_cpu_scratch(worker, 2 * BLOCK), *other = x + BLOCK;
    const uint16_t *second = a->dy ? a->dy : a->residual;
    if (!x)
        return;
    widen(a->type, x, a->x + first, n);
    if (second)
        widen(a->type, other, second + first, n);
    if (a->dy)
        MERT_VECTOR->gelu_backward(x, other, x, n);
    else
        MERT_VECTOR->gelu(x, x, a->residual ? other : NULL, n);
    round_to(a->type, a->to + first, x, n);
}

/* 0: there are dropout or sums as well. */
static int by_blocks(mert_element_type type, mert_op op, const void *args)
{
    activation a = {.type = type};
    if (op == MERT_OP_GELU) {
        const mert_gelu_args *g = args;
        a.to = (uint16_t *)(void *)g->y;
        a.x = (const uint16_t *)(const void *)g->x;
        a.residual = (const uint16_t *)(const void *)g->residual;
        a.n = g->p > 0 ? 0 : g->n;
    } else if (op == MERT_OP_GELU_BACKWARD) {
        const mert_gelu_backward_args *g = args;
        a.to = (uint16_t *)(void *)g->dx;
        a.x = (const uint16_t *)(const void *)g->x;
        a.dy = (const uint16_t *)(const void *)g->dy;
        a.n = g->p > 0 || g->sums ? 0 : g->n;
    }
    mert_pool_run((a.n + BLOCK - 1) / BLOCK, activation_block, &a);
    return a.n > 0;
}

/* Products in bfloat16. 0: this is not one, or has to run on copies. */
static int product(mert_op op, const void *args)
{
    if (op == MERT_OP_GEMM)
        return mert_cpu_gemm_half(args);
    if (op == MERT_OP_CONV)
        return mert_cpu_conv_half(args);
    if (op == MERT_OP_GROUPED_CONV)
        return mert_cpu_grouped_conv_half(args);
    if (op == MERT_OP_GROUPED_CONV_BACKWARD)
        return mert_cpu_grouped_conv_backward_half(args);
    if (op == MERT_OP_CONV_BACKWARD && mert_cpu_conv_backward_half(args)) {
        const mert_conv_backward_args *a = args;
        int64_t O = a->shape.O;
        if (a->db)
            run_on_copies(MERT_ELEMENT_BF16, MERT_OP_COLUMN_SUM,
                          &(mert_column_sum_args){.sums = a->db, .x = a->dy, .rows = a->shape.B * a->shape.T_out,
                                                  .columns = O, .ldx = O},
                          sizeof(mert_column_sum_args));
        return 1;
    }
    return 0;
}

void mert_cpu_run_rounded(mert_element_type type, mert_op op, const void *args, size_t size)
{
    if (mert_cpu_failed(NULL))
        return;
    if (op == MERT_OP_PACK)
        pack(type, args);
    else if (op == MERT_OP_ADD_NORM)
        add_norm(type, args);
    else if (op == MERT_OP_TO_ELEMENTS) {
        const mert_to_elements_args *a = args;
        convert((flat){.type = type, .elements = (uint16_t *)(void *)a->to, .from = a->from, .n = a->n});
    } else if (op == MERT_OP_TO_FLOATS) {
        const mert_to_floats_args *a = args;
        convert((flat){.type = type, .elements = (uint16_t *)(uintptr_t)a->from, .floats = a->to, .n = a->n});
    } else if (by_halves(type) && product(op, args)) {
        return;
    } else if (op == MERT_OP_GROUPED_CONV && by_halves(type)) { /* its packed weights are bfloat16 as well */
        mert_grouped_conv_args a = *(const mert_grouped_conv_args *)args;
        a.packed = a.packed ? MERT_PACKED_BF16 : a.packed;
        run_on_copies(type, op, &a, sizeof a);
    } else if (!by_blocks(type, op, args))
        run_on_copies(type, op, args, size);
}
