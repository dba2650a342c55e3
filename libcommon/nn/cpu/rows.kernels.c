#include "libcommon/nn/cpu/rows_finish.h"

/* The register tile: rows by one panel, with as many sums as the instruction set has registers for. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 12, WIDE_ROWS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 3, WIDE_ROWS = 2 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 2, WIDE_ROWS = 2 };
#else
enum { LANES = 4, ROWS = 1, WIDE_ROWS = 1 };
#endif

/* For loops with constant bounds. They must be unrolled completely, so that their arrays become registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 48")
#endif

/* Number of steps of k for which a panel is prefetched. Data from the second cache or from memory then arrives in time;
 * the hardware prefetcher alone does not do this across pages. LINE is a cache line of 64 bytes. */
enum { AHEAD = 8, LINE = 16 };

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

FINISH(finish, MERT_PANEL)
FINISH(finish_half, MERT_PANEL / 2)
FINISH(finish_wide, MERT_WIDE_PANEL)

/* R rows by the first C columns of P panels of width W. It is a macro that makes a function for each size: only with
 * constant bounds do all compilers keep the sums in registers. The sums are copied to `done`, because any other use of
 * `sum` would keep them out of registers. */
#define TILE(name, R, P, W, C, finish)                                                                               \
    static __attribute__((noinline)) void name(const mert_panel_product *p, int64_t row, int64_t panel)              \
    {                                                                                                                \
        vec sum[(R) * (P)][(C) / LANES];                                                                             \
        float done[(R) * (P)][C];                                                                                    \
        const int64_t step = p->panel_step ? p->panel_step : p->k * (W), taps = p->taps ? p->taps : 1, ldx = p->ldx; \
        const int64_t width = p->k / taps;                                                                           \
        const float *b = p->panels + panel * step;                                                                   \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                                   \
            UNROLL for (int c = 0; c < (C) / LANES; c++)                                                             \
                sum[r][c] = (vec){0};                                                                                \
        for (int64_t t = 0; t < taps; t++) {                                                                         \
            const float *a = p->x + row * ldx + t * p->tap_stride;                                                   \
            for (int64_t i = 0; i < width; i++, b += (W))                                                            \
                UNROLL for (int q = 0; q < (P); q++) {                                                               \
                    UNROLL for (int c = 0; c < (C); c += LINE)                                                       \
                        __builtin_prefetch(b + q * step + AHEAD * (W) + c);                                          \
                    UNROLL for (int r = 0; r < (R); r++)                                                             \
                        UNROLL for (int c = 0; c < (C) / LANES; c++)                                                 \
                            sum[q * (R) + r][c] += a[r * ldx + i] * *(const vec *)(b + q * step + c * LANES);        \
                }                                                                                                    \
        }                                                                                                            \
        UNROLL for (int r = 0; r < (R) * (P); r++)                                                                   \
            UNROLL for (int c = 0; c < (C) / LANES; c++)                                                             \
                *(vec *)(done[r] + c * LANES) = sum[r][c];                                                           \
        for (int q = 0; q < (P); q++)                                                                                \
            finish(p, done[q * (R)], row, (R), (panel + q) * (W));                                                   \
    }

#define ROWS_TILE(R) TILE(rows_##R, R, 1, MERT_PANEL, MERT_PANEL, finish)

/* Tiles of 1 to ROWS rows, so that the remaining rows cost no more than their arithmetic. */
typedef void tile_of(const mert_panel_product *p, int64_t row, int64_t panel);
ROWS_TILE(1)
#if defined(__AVX__) || defined(__aarch64__)
ROWS_TILE(2)
#endif
#if defined(__AVX__)
ROWS_TILE(3)
#endif
#if defined(__AVX512F__)
ROWS_TILE(4)
ROWS_TILE(5)
ROWS_TILE(6)
ROWS_TILE(7)
ROWS_TILE(8)
ROWS_TILE(9)
ROWS_TILE(10)
ROWS_TILE(11)
ROWS_TILE(12)
static tile_of *const tile[ROWS + 1] = {NULL,   rows_1, rows_2, rows_3,  rows_4,  rows_5, rows_6,
                                        rows_7, rows_8, rows_9, rows_10, rows_11, rows_12};
#elif defined(__AVX__)
static tile_of *const tile[ROWS + 1] = {NULL, rows_1, rows_2, rows_3};
#elif defined(__aarch64__)
static tile_of *const tile[ROWS + 1] = {NULL, rows_1, rows_2};
#else
static tile_of *const tile[ROWS + 1] = {NULL, rows_1};
#endif
/* For a panel of which at most half is used (16 outputs, or a remainder): twice as many rows. */
TILE(half_tile, 2 * ROWS, 1, MERT_PANEL, MERT_PANEL / 2, finish_half)
TILE(wide_tile, WIDE_ROWS, 1, MERT_WIDE_PANEL, MERT_WIDE_PANEL, finish_wide)
TILE(wide_row_tile, 1, 1, MERT_WIDE_PANEL, MERT_WIDE_PANEL, finish_wide)
#if defined(__AVX__)
/* A single row (a step of an LSTM) has too few sums to hide the latency of additions, so it takes several panels at
 * once. */
enum { ROW_PANELS = LANES == 16 ? 4 : 2 };
TILE(long_row, 1, ROW_PANELS, MERT_PANEL, MERT_PANEL, finish)
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
        if (p->n - first * MERT_PANEL <= MERT_PANEL / 2)
            for (; r + 2 * ROWS <= rows; r += 2 * ROWS)
                half_tile(p, row + r, first);
        for (; r + ROWS <= rows; r += ROWS)
            tile[ROWS](p, row + r, first);
        if (r < rows)
            tile[rows - r](p, row + r, first);
    }
}

const mert_rows_kernels MERT_KERNEL(mert_rows_kernels) = {part, ROWS};
