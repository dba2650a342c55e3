#include "libcommon/nn/cpu/rows.h"

#include "libcommon/base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- packing ---- */

void mert_pack_panels(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end)
{
    const int64_t W = mert_panel_width(n);
    for (int64_t p = first; p < end; p++) {
        int64_t rows = n - p * W < W ? n - p * W : W;
        MERT_ROWS_KERNELS->pack(panels + p * W * k, w + p * W * ldw, ldw, rows, k, W);
    }
}

/* ---- division of the work ---- */

void mert_panels_part(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end)
{
    MERT_ROWS_KERNELS->part(p, row, rows, first, end);
}

static int64_t width_of(const mert_panel_product *p)
{
    return p->width ? p->width : mert_panel_width(p->n);
}

static int64_t panels_of(const mert_panel_product *p)
{
    return (p->n + width_of(p) - 1) / width_of(p);
}

void mert_panels_run(const mert_panel_product *p)
{
    MERT_ROWS_KERNELS->part(p, 0, p->m, 0, panels_of(p));
}

enum { CACHE_FLOATS = 1 << 17, PIECE_WORK = 1 << 19, PIECES = 8 };

typedef struct job {
    const mert_panel_product *p;
    int64_t rows, row_tiles;      /* of one piece; number of pieces */
    int64_t panels, panel_tiles;
} job;

static void piece(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    const mert_panel_product *p = j->p + i / (j->row_tiles * j->panel_tiles);
    int64_t at = i % (j->row_tiles * j->panel_tiles), count = panels_of(p);
    int64_t row = at % j->row_tiles * j->rows, first = at / j->row_tiles * j->panels, end = first + j->panels;
    (void)worker;
    if (row < p->m)
        MERT_ROWS_KERNELS->part(p, row, p->m - row < j->rows ? p->m - row : j->rows, first, end < count ? end : count);
}

/* Divides the work into pieces. A piece has so many rows that they stay in the cache while all panels are read, and at
 * least half a million multiplications. If there are few rows (deep layers: large weights, short clips), the outputs
 * are divided, too, so that each thread reads only a part of the weights. */
void mert_panels_pool(const mert_panel_product *p, int64_t count)
{
    job j = {.p = p};
    int64_t step = 2 * MERT_ROWS_KERNELS->row_tile, panels = panels_of(p), width = width_of(p);
    j.panels = panels;
    j.rows = CACHE_FLOATS / p->k / step * step;
    while (j.rows * p->k * p->n < PIECE_WORK || j.rows < 48)
        j.rows += step;
    if (j.rows > p->m)
        j.rows = p->m;
    /* two equal pieces are faster than a large one and a small one */
    j.row_tiles = (p->m + j.rows - 1) / j.rows;
    j.rows = ((p->m + j.row_tiles - 1) / j.row_tiles + step - 1) / step * step;
    j.row_tiles = (p->m + j.rows - 1) / j.rows;
    j.panel_tiles = 1;
    while (count * j.row_tiles * j.panel_tiles < PIECES && j.panels > 1 &&
           j.rows * p->k * j.panels * width > PIECE_WORK) {
        j.panels = (j.panels + 1) / 2;
        j.panel_tiles = (panels + j.panels - 1) / j.panels;
    }
    mert_pool_run(count * j.row_tiles * j.panel_tiles, piece, &j);
}

/* ---- weights with their own panels ---- */

mert_rows *mert_rows_new(const float *weights, int64_t ldw, int64_t n, int64_t k, const float *bias)
{
    mert_rows *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->n = n;
    w->k = k;
    w->taps = 1;
    w->panels = n > 0 && k > 0 && n <= INT64_MAX / 1024 / k
        ? aligned_alloc(64, ((size_t)mert_packed_floats(n, k) * sizeof(float) + 63) / 64 * 64) : NULL;
    w->bias = bias ? malloc((size_t)n * sizeof(float)) : NULL;
    if (!w->panels || (bias && !w->bias)) {
        mert_rows_free(w);
        return NULL;
    }
    if (bias)
        memcpy(w->bias, bias, (size_t)n * sizeof(float));
    mert_rows_set(w, weights, ldw);
    return w;
}

void mert_rows_free(mert_rows *w)
{
    if (!w)
        return;
    free(w->panels);
    free(w->bias);
    free(w);
}

void mert_rows_set(mert_rows *w, const float *weights, int64_t ldw)
{
    mert_pack_panels(w->panels, weights, ldw, w->n, w->k, 0, mert_panel_count(w->n));
}

void mert_rows_unpack(const mert_rows *w, float *weights)
{
    int64_t W = mert_panel_width(w->n);
    for (int64_t j = 0; j < w->n; j++)
        for (int64_t i = 0; i < w->k; i++)
            weights[j * w->k + i] = w->panels[(j / W * w->k + i) * W + j % W];
}

mert_panel_product mert_rows_product(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy,
                                     int flags)
{
    return (mert_panel_product){.panels = w->panels, .n = w->n, .k = w->k, .taps = w->taps, .tap_stride = w->tap_stride,
                                .x = x, .y = y, .ldx = ldx, .ldy = ldy, .m = m, .bias = w->bias, .flags = flags};
}

void mert_rows_apply(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    mert_panel_product p = mert_rows_product(w, x, ldx, m, y, ldy, flags);
    mert_panels_run(&p);
}

void mert_rows_pool(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    mert_panel_product p = mert_rows_product(w, x, ldx, m, y, ldy, flags);
    mert_panels_pool(&p, 1);
}

void mert_rows_plain(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    int64_t piece_width = w->k / w->taps, W = mert_panel_width(w->n);
    for (int64_t r = 0; r < m; r++)
        for (int64_t j = 0; j < w->n; j++) {
            double s = w->bias ? w->bias[j] : 0;
            for (int64_t i = 0; i < w->k; i++)
                s += (double)x[r * ldx + i / piece_width * w->tap_stride + i % piece_width] *
                     (double)w->panels[(j / W * w->k + i) * W + j % W];
            if (flags & MERT_ROWS_ADD)
                s += y[r * ldy + j];
            if (flags & MERT_ROWS_ELU)
                s = s > 0 ? s : expm1(s);
            if (flags & MERT_ROWS_GELU)
                s = s / 2 * (1 + erf(s / sqrt(2.0)));
            y[r * ldy + j] = (float)s;
        }
}
