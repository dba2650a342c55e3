#include "rows.h"

#include "inline_math.h"

/* The register tile: rows by one panel, as many sums as the instruction set has registers for. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 12, WIDE_ROWS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 3, WIDE_ROWS = 2 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 2, WIDE_ROWS = 2 };
#else
enum { LANES = 4, ROWS = 1, WIDE_ROWS = 1 };
#endif

/* Loops with constant bounds that must vanish, so that their arrays become registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 48")
#endif

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

/* What follows the product, for n outputs of row r from column `at` on. */
static inline __attribute__((always_inline)) void finish(const mert_panel_product *p, const float *sum, int64_t r, int64_t at, int64_t n)
{
    float v[MERT_WIDE_PANEL], *y = p->y + r * p->ldy + at;
    if (!p->flags && !p->bias && !p->pre && !p->residual) {
        memcpy(y, sum, (size_t)n * sizeof *y);
        return;
    }
    memcpy(v, sum, (size_t)n * sizeof *v);
    if (p->flags & MERT_ROWS_ADD)
        for (int64_t i = 0; i < n; i++)
            v[i] += y[i];
    if (p->bias)
        for (int64_t i = 0; i < n; i++)
            v[i] += p->bias[at + i];
    if (p->pre)
        memcpy(p->pre + r * p->ldy + at, v, (size_t)n * sizeof *v);
    if (p->flags & MERT_ROWS_ELU)
        for (int64_t i = 0; i < n; i++)
            v[i] = elu_1(v[i]);
    if (p->flags & MERT_ROWS_GELU)
        for (int64_t i = 0; i < n; i++)
            v[i] = gelu_1(v[i]);
    if (p->residual)
        for (int64_t i = 0; i < n; i++)
            v[i] += p->residual[r * p->ldy + at + i];
    memcpy(y, v, (size_t)n * sizeof *v);
}

/* R rows by P panels of width W: a function for each, since only loops with literal bounds leave their sums in registers under every
 * compiler. The sums are read once, into `done`: whatever else touched them would keep them out of registers, too. */
#define TILE(name, R, P, W)                                                                                              \
    static __attribute__((noinline)) void name(const mert_panel_product *p, int64_t row, int64_t panel)                        \
    {                                                                                                                    \
        vec sum[(R) * (P)][(W) / LANES];                                                                                 \
        float done[(R) * (P)][W];                                                                                        \
        const int64_t step = p->panel_step ? p->panel_step : p->k * (W), taps = p->taps ? p->taps : 1, ldx = p->ldx;     \
        const int64_t width = p->k / taps;                                                                               \
        const float alpha = p->alpha == 0 ? 1.0f : p->alpha;                                                             \
        const float *b = p->panels + panel * step;                                                                       \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                                       \
            UNROLL for (int c = 0; c < (W) / LANES; c++)                                                                 \
                sum[r][c] = (vec){0};                                                                                    \
        for (int64_t t = 0; t < taps; t++) {                                                                             \
            const float *a = p->x + row * ldx + t * p->tap_stride;                                                       \
            for (int64_t i = 0; i < width; i++, b += (W))                                                                \
                UNROLL for (int q = 0; q < (P); q++)                                                                     \
                    UNROLL for (int r = 0; r < (R); r++)                                                                 \
                        UNROLL for (int c = 0; c < (W) / LANES; c++)                                                     \
                            sum[q * (R) + r][c] += a[r * ldx + i] * *(const vec *)(b + q * step + c * LANES);            \
        }                                                                                                                \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                                       \
            UNROLL for (int c = 0; c < (W) / LANES; c++)                                                                 \
                *(vec *)(done[r] + c * LANES) = alpha * sum[r][c];                                                       \
        for (int q = 0; q < (P); q++) {                                                                                  \
            int64_t at = (panel + q) * (W);                                                                              \
            for (int r = 0; r < (R); r++)                                                                                \
                if (p->n - at >= (W))                                                                                    \
                    finish(p, done[q * (R) + r], row + r, at, (W));                                                      \
                else                                                                                                     \
                    finish(p, done[q * (R) + r], row + r, at, p->n - at);                                                \
        }                                                                                                                \
    }

TILE(full_tile, ROWS, 1, MERT_PANEL)
TILE(row_tile, 1, 1, MERT_PANEL)
TILE(wide_tile, WIDE_ROWS, 1, MERT_WIDE_PANEL)
TILE(wide_row_tile, 1, 1, MERT_WIDE_PANEL)
#if defined(__AVX512F__)
TILE(four_rows, 4, 1, MERT_PANEL)
#endif
#if defined(__AVX__)
/* A single row (an LSTM's step) has too few sums of its own to hide the adder's latency: several panels at once. */
enum { ROW_PANELS = LANES == 16 ? 4 : 2 };
TILE(long_row, 1, ROW_PANELS, MERT_PANEL)
#endif

static void wide_part(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end)
{
    for (; first < end; first++) {
        int64_t r = 0;
        for (; r + WIDE_ROWS <= rows; r += WIDE_ROWS)
            wide_tile(p, row + r, first);
        for (; r < rows; r++)
            wide_row_tile(p, row + r, first);
    }
}

static void part(const mert_panel_product *p, int64_t row, int64_t rows, int64_t first, int64_t end)
{
    if ((p->width ? p->width : mert_panel_width(p->n)) == MERT_WIDE_PANEL) {
        wide_part(p, row, rows, first, end);
        return;
    }
#if defined(__AVX__)
    if (rows == 1)
        for (; first + ROW_PANELS <= end; first += ROW_PANELS)
            long_row(p, row, first);
#endif
    for (; first < end; first++) {
        int64_t r = 0;
        for (; r + ROWS <= rows; r += ROWS)
            full_tile(p, row + r, first);
#if defined(__AVX512F__)
        for (; r + 4 <= rows; r += 4)
            four_rows(p, row + r, first);
#endif
        for (; r < rows; r++)
            row_tile(p, row + r, first);
    }
}

const mert_rows_kernels MERT_KERNEL(mert_rows_kernels) = {part, ROWS};
