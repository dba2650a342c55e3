#include "rows.h"

#include "../base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL = MERT_ROWS_PANEL };

mert_rows *mert_rows_new(const float *weights, int64_t ldw, int64_t n, int64_t k, const float *bias)
{
    mert_rows *w = calloc(1, sizeof *w);
    int64_t panels = (n + PANEL - 1) / PANEL;
    if (!w)
        return NULL;
    w->n = n;
    w->k = k;
    w->taps = 1;
    w->panels = n > 0 && k > 0 && panels <= INT64_MAX / PANEL / 64 / k
        ? aligned_alloc(64, (size_t)(panels * k * PANEL) * sizeof(float)) : NULL;
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
    for (int64_t at = 0; at < w->n; at += PANEL)
        for (int64_t k = 0; k < w->k; k += 16) { /* small squares: both sides stay in the cache */
            int64_t end = k + 16 < w->k ? k + 16 : w->k;
            for (int64_t j = 0; j < PANEL; j++)
                for (int64_t i = k; i < end; i++)
                    w->panels[at * w->k + i * PANEL + j] = at + j < w->n ? weights[(at + j) * ldw + i] : 0;
        }
}

void mert_rows_apply(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    MERT_ROWS_KERNELS->apply(w, 0, (w->n + PANEL - 1) / PANEL, x, ldx, m, y, ldy, flags);
}

typedef struct job {
    const mert_rows *w;
    const float *x;
    float *y;
    int64_t ldx, ldy, m;
    int64_t rows, row_tiles;      /* of one piece */
    int64_t panels, panel_count;
    int flags;
} job;

static void piece(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    int64_t row = i % j->row_tiles * j->rows, first = i / j->row_tiles * j->panels, end = first + j->panels;
    (void)worker;
    MERT_ROWS_KERNELS->apply(j->w, first, end < j->panel_count ? end : j->panel_count, j->x + row * j->ldx, j->ldx,
                             j->m - row < j->rows ? j->m - row : j->rows, j->y + row * j->ldy, j->ldy, j->flags);
}

/* Pieces of about a quarter of a million multiplications at least; first along the rows, and where those are few
 * (the deep layers: large weights, few rows) along the outputs, so that each thread reads its own share of the
 * weights. */
void mert_rows_pool(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    job j = {.w = w, .x = x, .y = y, .ldx = ldx, .ldy = ldy, .m = m, .flags = flags};
    j.panel_count = (w->n + PANEL - 1) / PANEL;
    j.panels = j.panel_count;
    j.rows = 96;
    while (j.rows < 960 && j.rows * w->k * w->n < (1 << 20))
        j.rows += 96;
    j.row_tiles = (m + j.rows - 1) / j.rows;
    while (j.row_tiles * ((j.panel_count + j.panels - 1) / j.panels) < 8 && j.panels > 1 &&
           m * w->k * j.panels * PANEL > (1 << 19))
        j.panels = (j.panels + 1) / 2;
    mert_pool_run(j.row_tiles * ((j.panel_count + j.panels - 1) / j.panels), piece, &j);
}

void mert_rows_plain(const mert_rows *w, const float *x, int64_t ldx, int64_t m, float *y, int64_t ldy, int flags)
{
    int64_t width = w->k / w->taps;
    for (int64_t r = 0; r < m; r++)
        for (int64_t j = 0; j < w->n; j++) {
            double s = w->bias ? w->bias[j] : 0;
            for (int64_t i = 0; i < w->k; i++)
                s += (double)x[r * ldx + i / width * w->tap_stride + i % width] *
                     (double)w->panels[(j / PANEL * w->k + i) * PANEL + j % PANEL];
            if (flags & MERT_ROWS_ADD)
                s += y[r * ldy + j];
            if (flags & MERT_ROWS_ELU)
                s = s > 0 ? s : expm1(s);
            y[r * ldy + j] = (float)s;
        }
}
