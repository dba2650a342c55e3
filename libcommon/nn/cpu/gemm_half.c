/* Products of bfloat16 elements with the kernels of rows_half.h, for training: the numbers are in this format already,
 * so nothing is rounded but results. op(b) is packed for the whole product, blocks of rows of op(a) are copied (or
 * transposed) by the task that needs them. Sums are float32.
 *
 * Elements become float32 in a block of results, where bias, GELU and residual are applied, and are rounded once when
 * they are stored. Gradients of parameters are float32 in memory, and the sum over k is divided into blocks that are
 * added to them: k is the number of frames there. All blocks follow from the shape alone, so that results do not depend
 * on the number of threads. */
#include "libcommon/nn/cpu/gemm_half.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/cpu.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

enum { PANEL = MERT_HALF_PANEL, ROWS = 96, COLUMNS = 256, GRADIENT_COLUMNS = 1024, FRAMES = 1024, MARGIN = 32 };

static const uint16_t *halves(const float *x) { return (const uint16_t *)(const void *)x; }
static uint16_t *to_halves(float *x) { return (uint16_t *)(void *)x; }
static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- blocks of the operands ---- */

/* to[i][j] = x[2 i][j] | x[2 i + 1][j] << 16 for n numbers of `rows` rows; a row after the last is 0. */
static void interleave(uint32_t *to, int64_t ldto, const uint16_t *x, int64_t ldx, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < rows; i += 2, to += ldto) {
        const uint16_t *even = x + i * ldx, *odd = even + ldx;
        if (i + 1 < rows)
            for (int64_t j = 0; j < n; j++)
                to[j] = (uint32_t)even[j] | (uint32_t)odd[j] << 16;
        else
            for (int64_t j = 0; j < n; j++)
                to[j] = even[j];
    }
}

/* to[j][i] = x[i][j], in units of pairs; the rest of each row of `to`, up to ldto, is 0. */
static void turn(uint16_t *to, int64_t ldto, const void *x, int64_t ldx, int64_t rows, int64_t n)
{
    MERT_ROWS_KERNELS->pack((float *)(void *)to, x, ldx, rows, n, ldto);
}

/* A panel of op(b) [K, N]: columns [at, at + n), n <= 16. */
static void pack_columns(float *panel, const uint16_t *b, int64_t ldb, int tb, int64_t K, int64_t at, int64_t n)
{
    uint16_t *to = to_halves(panel);
    int64_t pairs = (K + 1) / 2, all = mert_half_depth(K) / 2;
    if (!tb) {
        uint32_t *words = (uint32_t *)(void *)panel;
        if (n < PANEL)
            memset(panel, 0, (size_t)(pairs * PANEL) * sizeof *words);
        interleave(words, PANEL, b + at, ldb, K, n);
    } else if (K % 2 == 0 && ldb % 2 == 0) {
        turn(to, PANEL, b + at * ldb, ldb / 2, n, pairs);
    } else {
        memset(panel, 0, (size_t)(pairs * PANEL) * sizeof(uint32_t));
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = 0; k < K; k++)
                to[(k / 2 * PANEL + j) * 2 + k % 2] = b[(at + j) * ldb + k];
    }
    memset(to + pairs * 2 * PANEL, 0, (size_t)((all - pairs) * PANEL) * sizeof(uint32_t));
}

void mert_half_pack_elements(float *panels, const uint16_t *b, int64_t ldb, int tb, int64_t K, int64_t N)
{
    for (int64_t at = 0; at < N; at += PANEL)
        pack_columns(panels + at / PANEL * mert_half_floats(PANEL, K), b, ldb, tb, K, at, mert_smaller(N - at, PANEL));
}

typedef struct packing {
    float *panels;
    const uint16_t *b;
    int64_t ldb, step, K, N, each; /* each: panels of one matrix */
    int tb;
} packing;

static void pack_panel(void *arg, int64_t i, int worker)
{
    const packing *p = arg;
    int64_t at = i % p->each * PANEL;
    (void)worker;
    pack_columns(p->panels + i * mert_half_floats(PANEL, p->K), p->b + i / p->each * p->step, p->ldb, p->tb, p->K, at,
                 mert_smaller(p->N - at, PANEL));
}

/* Packs `count` matrices, `step` elements apart, one behind the other. */
static void pack_matrices(float *panels, const uint16_t *b, int64_t ldb, int tb, int64_t K, int64_t N, int64_t count,
                          int64_t step)
{
    packing p = {panels, b, ldb, step, K, N, mert_half_panels(N), tb};
    mert_pool_run(count * p.each, pack_panel, &p);
}

static int64_t row_stride(int64_t K) { return mert_half_depth(K) + MARGIN; }

/* Floats for a block of rows, and for the pairs that are transposed. */
static size_t rows_room(int64_t K, int64_t rows) { return (size_t)(up(rows, 16) * row_stride(K) / 2); }
static size_t turned_room(int64_t K, int64_t rows) { return (size_t)(mert_half_depth(K) / 2 * rows); }

/* Rows [row, row + rows) of op(a) [M, K], with zeros between K and the depth. room: for a transposed a. */
static void take_rows(uint16_t *to, float *room, const uint16_t *a, int64_t lda, int ta, int64_t row, int64_t rows,
                      int64_t K)
{
    int64_t ld = row_stride(K);
    if (ta) {
        interleave((uint32_t *)(void *)room, rows, a + row, lda, K, rows);
        turn(to, ld / 2, room, rows, (K + 1) / 2, rows);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + r * ld, a + (row + r) * lda, (size_t)K * sizeof *to);
        memset(to + r * ld + K, 0, (size_t)(ld - K) * sizeof *to);
    }
}

/* ---- results that are elements ---- */

typedef struct product {
    const mert_gemm_args *g;
    const float *panels;
    int64_t panels_step; /* floats from one matrix to the next; 0: all products have the same */
    int64_t columns, n_columns, n_rows;
} product;

static int64_t columns_of(int64_t N, int64_t most)
{
    int64_t parts = (N + most - 1) / most;
    return up((N + parts - 1) / parts, 2 * PANEL);
}

void mert_half_store(const mert_gemm_args *g, float *y, int64_t ldy, int64_t at, int64_t rows, int64_t columns,
                     const float *bias, float *room)
{
    float *pre = room, *residual = room + ldy;
    for (int64_t r = 0; r < rows; r++, at += g->ldc, y += ldy) {
        if (g->residual)
            MERT_VECTOR->widen(residual, halves(g->residual) + at, columns);
        if (bias || g->gelu || g->pre || g->residual)
            MERT_VECTOR->epilogue(y, bias, g->pre ? pre : NULL, g->gelu, g->residual ? residual : NULL, columns);
        if (g->pre)
            MERT_VECTOR->narrow(to_halves(g->pre) + at, pre, columns);
        MERT_VECTOR->narrow(to_halves(g->c) + at, y, columns);
    }
}

static void one_block(void *arg, int64_t i, int worker)
{
    const product *p = arg;
    const mert_gemm_args *g = p->g;
    int64_t c = i % p->n_columns * p->columns, row = i / p->n_columns % p->n_rows * ROWS,
            result = i / p->n_columns / p->n_rows;
    int64_t rows = mert_smaller(g->M - row, ROWS), columns = mert_smaller(g->N - c, p->columns);
    int64_t at = result * g->c_step + row * g->ldc + c, terms = g->sum && g->batch > 0 ? g->batch : 1;
    size_t sums = (size_t)((ROWS + 2) * p->columns), held = rows_room(g->K, ROWS);
    float *y = mert_cpu_scratch(worker, sums + held + (g->ta ? turned_room(g->K, ROWS) : 0));
    uint16_t *x;
    mert_panel_product one = {.n = columns, .k = g->K, .ldy = p->columns, .m = rows, .alpha = g->alpha};
    if (!y)
        return;
    x = to_halves(y + sums);
    one.y = y;
    for (int64_t r = 0; g->add && r < rows; r++)
        MERT_VECTOR->widen(y + r * p->columns, halves(g->c) + at + r * g->ldc, columns);
    for (int64_t t = 0; t < terms; t++) {
        int64_t which = result + t;
        one.flags = g->add || t ? MERT_ROWS_ADD : 0;
        one.panels = p->panels + which * p->panels_step + c / PANEL * mert_half_floats(PANEL, g->K);
        if (t == 0 || g->a_step)
            take_rows(x, y + sums + held, halves(g->a) + which * g->a_step, g->lda, g->ta, row, rows, g->K);
        mert_half_chosen()->part(&one, x, row_stride(g->K), 0, rows, 0, mert_half_panels(columns));
    }
    mert_half_store(g, y, p->columns, at, rows, columns, g->bias ? g->bias + result * g->bias_step + c : NULL,
                    y + ROWS * p->columns);
}

static void elements(const mert_gemm_args *g)
{
    int64_t count = g->batch > 0 ? g->batch : 1, matrices = g->b_step ? count : 1, size = mert_half_floats(g->N, g->K);
    product p = {.g = g, .panels = g->b, .panels_step = g->b_step, .columns = columns_of(g->N, COLUMNS)};
    if (!g->packed) {
        float *panels = mert_cpu_shared_scratch((size_t)(matrices * size));
        if (!panels)
            return;
        pack_matrices(panels, halves(g->b), g->ldb, g->tb, g->K, g->N, matrices, g->b_step);
        p.panels = panels;
        p.panels_step = g->b_step ? size : 0;
    }
    p.n_columns = (g->N + p.columns - 1) / p.columns;
    p.n_rows = (g->M + ROWS - 1) / ROWS;
    mert_pool_run((g->sum ? 1 : count) * p.n_rows * p.n_columns, one_block, &p);
}

/* ---- gradients of parameters ---- */

typedef struct gradient {
    const mert_gemm_args *g;
    const uint16_t *a;
    const float *panels;
    float *to;
    int64_t K, columns, n_columns; /* K: of this block */
    int add;
} gradient;

static void gradient_block(void *arg, int64_t i, int worker)
{
    const gradient *p = arg;
    const mert_gemm_args *g = p->g;
    int64_t c = i % p->n_columns * p->columns, row = i / p->n_columns * ROWS;
    int64_t rows = mert_smaller(g->M - row, ROWS), columns = mert_smaller(g->N - c, p->columns);
    size_t held = rows_room(p->K, ROWS);
    float *room = mert_cpu_scratch(worker, held + turned_room(p->K, ROWS));
    mert_panel_product one = {.panels = p->panels + c / PANEL * mert_half_floats(PANEL, p->K), .n = columns, .k = p->K,
                              .y = p->to + row * g->ldc + c, .ldy = g->ldc, .m = rows, .alpha = g->alpha,
                              .flags = p->add ? MERT_ROWS_ADD : 0};
    if (!room)
        return;
    take_rows(to_halves(room), room + held, p->a, g->lda, g->ta, row, rows, p->K);
    mert_half_chosen()->part(&one, room, row_stride(p->K), 0, rows, 0, mert_half_panels(columns));
}

static void gradients(const mert_gemm_args *g)
{
    int64_t count = g->batch > 0 ? g->batch : 1, most = mert_smaller(g->K, FRAMES);
    float *panels = mert_cpu_shared_scratch((size_t)mert_half_floats(g->N, most));
    gradient p = {.g = g, .panels = panels, .columns = columns_of(g->N, GRADIENT_COLUMNS)};
    if (!panels)
        return;
    p.n_columns = (g->N + p.columns - 1) / p.columns;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < g->K; k += FRAMES) {
            const uint16_t *b = halves(g->b) + i * g->b_step + (g->tb ? k : k * g->ldb);
            p.K = mert_smaller(g->K - k, FRAMES);
            p.a = halves(g->a) + i * g->a_step + (g->ta ? k * g->lda : k);
            p.to = g->gradient + (g->sum ? 0 : i * g->c_step);
            p.add = g->add || k > 0 || (g->sum && i > 0);
            pack_matrices(panels, b, g->ldb, g->tb, p.K, g->N, 1, 0);
            mert_pool_run((g->M + ROWS - 1) / ROWS * p.n_columns, gradient_block, &p);
        }
}

int mert_cpu_gemm_half(const mert_gemm_args *g)
{
    int steps = g->bias || g->gelu || g->pre || g->residual;
    if (!mert_half_fast() || g->K <= 0 || (g->gradient && (steps || g->packed)) ||
        g->packed > MERT_PACKED_F32)
        return 0;
    if (g->M > 0 && g->N > 0)
        (g->gradient ? gradients : elements)(g);
    return 1;
}

/* ---- convolutions over time ---- */

int mert_cpu_conv_half(const mert_conv_args *a)
{
    const mert_conv_shape *s = &a->shape;
    return mert_cpu_gemm_half(&(mert_gemm_args){.M = s->T_out, .N = s->O, .K = s->kernel * s->C, .a = a->x,
                                                .lda = s->stride * s->C, .a_step = s->T_in * s->C, .b = a->w,
                                                .ldb = s->kernel * s->C, .tb = 1, .packed = a->packed, .c = a->y,
                                                .ldc = s->O, .c_step = s->T_out * s->O, .batch = s->B,
                                                .bias = a->bias, .gelu = a->gelu});
}

/* The gradient by x: frame stride t + k gets dy[t] W_k, for each tap k. A task has the frames that begin at ROWS rows t
 * of a clip, or fewer, and some channels; it computes the rows before that reach into them, too. */
typedef struct transposed {
    const mert_conv_backward_args *a;
    float *panels; /* [tap] */
    int64_t reach; /* rows before a block that add to its frames */
    int64_t blocks, channels, n_channels;
} transposed;

static void conv_frames(void *arg, int64_t i, int worker)
{
    const transposed *p = arg;
    const mert_conv_shape *s = &p->a->shape;
    int64_t c = i % p->n_channels * p->channels, block = i / p->n_channels % p->blocks,
            b = i / p->n_channels / p->blocks;
    int64_t step = ROWS - p->reach, t0 = block * step, from = t0 > p->reach ? t0 - p->reach : 0,
            end = mert_smaller(t0 + step, s->T_out), last = block == p->blocks - 1;
    int64_t n = mert_smaller(s->C - c, p->channels), frames = (end - 1 - from) * s->stride + s->kernel;
    int64_t begin = t0 * s->stride, stop = last ? s->T_in : end * s->stride;
    size_t sums = (size_t)(((ROWS - 1) * s->stride + s->kernel) * p->channels), held = rows_room(s->O, ROWS);
    float *y = mert_cpu_scratch(worker, sums + held);
    uint16_t *to = to_halves(p->a->dx) + b * s->T_in * s->C + c;
    if (!y)
        return;
    memset(y, 0, (size_t)(frames * p->channels) * sizeof *y);
    take_rows(to_halves(y + sums), NULL, halves(p->a->dy) + b * s->T_out * s->O, s->O, 0, from, end - from, s->O);
    for (int64_t k = 0; k < s->kernel; k++) {
        mert_panel_product one = {.panels = p->panels + k * mert_half_floats(s->C, s->O) +
                                            c / PANEL * mert_half_floats(PANEL, s->O),
                                  .n = n, .k = s->O, .y = y + k * p->channels, .ldy = s->stride * p->channels,
                                  .m = end - from, .flags = MERT_ROWS_ADD};
        mert_half_chosen()->part(&one, y + sums, row_stride(s->O), 0, end - from, 0, mert_half_panels(n));
    }
    for (int64_t f = begin; f < stop; f++)
        if (f - from * s->stride < frames)
            MERT_VECTOR->narrow(to + f * s->C, y + (f - from * s->stride) * p->channels, n);
        else
            memset(to + f * s->C, 0, (size_t)n * sizeof *to);
}

static void conv_inputs(const mert_conv_backward_args *a)
{
    const mert_conv_shape *s = &a->shape;
    transposed p = {.a = a, .reach = s->kernel > s->stride ? (s->kernel - 1) / s->stride : 0,
                    .channels = columns_of(s->C, COLUMNS / 2)};
    p.blocks = (s->T_out + ROWS - p.reach - 1) / (ROWS - p.reach);
    p.n_channels = (s->C + p.channels - 1) / p.channels;
    p.panels = mert_cpu_shared_scratch((size_t)(s->kernel * mert_half_floats(s->C, s->O)));
    if (!p.panels)
        return;
    pack_matrices(p.panels, halves(a->w), s->kernel * s->C, 0, s->O, s->C, s->kernel, s->C);
    mert_pool_run(s->B * p.blocks * p.n_channels, conv_frames, &p);
}

int mert_cpu_conv_backward_half(const mert_conv_backward_args *a)
{
    const mert_conv_shape *s = &a->shape;
    if (!mert_half_fast() || s->T_out < 1 || (s->kernel - 1) / s->stride >= ROWS / 2)
        return 0;
    mert_cpu_gemm_half(&(mert_gemm_args){.M = s->O, .N = s->kernel * s->C, .K = s->T_out, .a = a->dy, .lda = s->O,
                                         .ta = 1, .a_step = s->T_out * s->O, .b = a->x, .ldb = s->stride * s->C,
                                         .b_step = s->T_in * s->C, .gradient = a->dw, .ldc = s->kernel * s->C,
                                         .add = 1, .batch = s->B, .sum = 1});
    if (a->dx)
        conv_inputs(a);
    return 1;
}
