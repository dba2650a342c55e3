/* Matrix products: single-threaded OpenBLAS on tiles, which are distributed over the pool (contract A1). The tiles
 * follow from the shape alone, so a row of the result is always computed by the same call, together with the same other
 * rows. Bias, GELU and residual are applied to a tile while it is in the cache. Products with packed weights are in
 * rows.h, rows_half.h and rows_int8.h. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows_half.h"
#include "libcommon/nn/cpu/rows_int8.h"
#include "libcommon/nn/cpu/vector.h"

#include <cblas.h>

enum { TILE_ROWS = 512 };

/* Divides the columns into equal parts of about 256. Their number is even, so that two workers have the same amount of
 * work even with a single tile of rows. */
static int64_t tile_columns(int64_t N)
{
    int64_t parts = (N + 255) / 256;
    if (parts > 1)
        parts = (parts + 1) / 2 * 2;
    else if (N >= 128)
        parts = 2;
    return ((N + parts - 1) / parts + 15) / 16 * 16;
}

typedef struct tiles {
    const mert_gemm_args *g;
    int64_t columns, n_columns, n_rows;
} tiles;

static void product(const mert_gemm_args *g, int64_t batch, int64_t r, int64_t rows, int64_t c, int64_t columns,
                    int add, float *to)
{
    const float *a = g->a + batch * g->a_step + (g->ta ? r : r * g->lda);
    const float *b = g->b + batch * g->b_step + (g->tb ? c * g->ldb : c);
    cblas_sgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans, g->tb ? CblasTrans : CblasNoTrans, (int)rows,
                (int)columns, (int)g->K, g->alpha == 0 ? 1.0f : g->alpha, a, (int)g->lda, b, (int)g->ldb,
                add ? 1.0f : 0.0f, to, (int)g->ldc);
}

static void one_tile(void *arg, int64_t i, int worker)
{
    const tiles *t = arg;
    const mert_gemm_args *g = t->g;
    int64_t ic = i % t->n_columns, ir = i / t->n_columns % t->n_rows, batch = i / t->n_columns / t->n_rows;
    int64_t c = ic * t->columns, r = ir * TILE_ROWS;
    int64_t columns = g->N - c < t->columns ? g->N - c : t->columns, rows = g->M - r < TILE_ROWS ? g->M - r : TILE_ROWS;
    int64_t at = batch * g->c_step + r * g->ldc + c;
    (void)worker;
    if (g->sum)
        for (int64_t b = 0; b < (g->batch > 0 ? g->batch : 1); b++)
            product(g, b, r, rows, c, columns, g->add || b > 0, g->c + at);
    else
        product(g, batch, r, rows, c, columns, g->add, g->c + at);
    if (g->bias || g->gelu || g->pre || g->residual)
        for (int64_t row = 0; row < rows; row++, at += g->ldc)
            MERT_VECTOR->epilogue(g->c + at, g->bias ? g->bias + batch * g->bias_step + c : NULL,
                                  g->pre ? g->pre + at : NULL, g->gelu, g->residual ? g->residual + at : NULL, columns);
}

static void (*const products_of[])(const mert_panel_product *p, int64_t count) = {
    [MERT_PACKED_F32] = mert_panels_pool, [MERT_PACKED_BF16] = mert_half_pool, [MERT_PACKED_INT8] = mert_int8_pool};

static void packed_products(const mert_gemm_args *g)
{
    enum { AT_ONCE = 64 };
    mert_panel_product p[AT_ONCE];
    int64_t count = g->batch > 0 ? g->batch : 1;
    for (int64_t first = 0, n; first < count; first += n) {
        n = count - first < AT_ONCE ? count - first : AT_ONCE;
        for (int64_t i = 0; i < n; i++) {
            int64_t at = first + i, c = at * g->c_step;
            p[i] = (mert_panel_product){.panels = g->b + at * g->b_step,
                                        .n = g->N,
                                        .k = g->K,
                                        .x = g->a + at * g->a_step,
                                        .ldx = g->lda,
                                        .m = g->M,
                                        .y = g->c + c,
                                        .ldy = g->ldc,
                                        .alpha = g->alpha,
                                        .bias = g->bias ? g->bias + at * g->bias_step : NULL,
                                        .residual = g->residual ? g->residual + c : NULL,
                                        .pre = g->pre ? g->pre + c : NULL,
                                        .flags = (g->add ? MERT_ROWS_ADD : 0) | (g->gelu ? MERT_ROWS_GELU : 0)};
        }
        if (g->packed == MERT_PACKED_F32 || g->a_step == 0)
            products_of[g->packed](p, n);
        else
            for (int64_t i = 0; i < n; i++)
                products_of[g->packed](p + i, 1);
    }
}

static int64_t panels_of(const mert_pack_args *a)
{
    return a->as == MERT_PACKED_INT8   ? mert_int8_panels(a->n)
           : a->as == MERT_PACKED_BF16 ? mert_half_panels(a->n)
                                       : mert_panel_count(a->n);
}

static void pack_piece(void *arg, int64_t i, int worker)
{
    const mert_pack_args *a = arg;
    int64_t panels = panels_of(a), which = i / panels, panel = i % panels;
    (void)worker;
    (a->as == MERT_PACKED_INT8   ? mert_int8_pack
     : a->as == MERT_PACKED_BF16 ? mert_half_pack
                                 : mert_pack_panels)(a->to + which * a->to_step, a->w + which * a->w_step, a->ldw, a->n,
                                                     a->k, panel, panel + 1);
}

void mert_cpu_pack(const void *args)
{
    const mert_pack_args *a = args;
    mert_pool_run((a->count > 0 ? a->count : 1) * panels_of(a), pack_piece, (void *)args);
}

void mert_cpu_gemm(const void *args)
{
    mert_gemm_args own = *(const mert_gemm_args *)args;
    const mert_gemm_args *g = &own;
    tiles t = {.g = g};
    own.c = own.gradient ? own.gradient : own.c;
    if (g->M <= 0 || g->N <= 0)
        return;
    if (g->packed) {
        packed_products(g);
        return;
    }
    t.columns = tile_columns(g->N);
    t.n_rows = (g->M + TILE_ROWS - 1) / TILE_ROWS;
    t.n_columns = (g->N + t.columns - 1) / t.columns;
    mert_pool_run(t.n_columns * t.n_rows * (g->sum || g->batch < 1 ? 1 : g->batch), one_tile, &t);
}
