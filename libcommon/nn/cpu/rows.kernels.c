#include "libcommon/nn/cpu/rows_finish.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

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

/* 1: these columns are stored from registers: they all exist, and the sums are only scaled, or only added to y, or get
 * only the bias (as in the search for codewords). */
static inline int stored_directly(const mert_panel_product *p, int64_t end)
{
    const int as_they_are = p->alpha == 0 || p->alpha == 1;
    return end <= p->n && !p->pre && !p->residual &&
           (p->flags ? p->flags == MERT_ROWS_ADD && !p->bias && as_they_are : !p->bias || as_they_are);
}

/* R rows by the first C columns of P panels of width W. It is a macro that makes a function for each size: only with
 * constant bounds do all compilers keep the sums in registers. Sums that need more are copied to `done`, because any
 * other use of `sum` would keep them out of registers. */
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
        if (stored_directly(p, (panel + (P) - 1) * (W) + (C))) {                                                     \
            float *y = p->y + row * p->ldy + panel * (W);                                                            \
            const float alpha = p->alpha == 0 ? 1.0f : p->alpha;                                                     \
            const int64_t ldy = p->ldy;                                                                              \
            if (p->bias)                                                                                             \
                UNROLL for (int q = 0; q < (P); q++)                                                                 \
                    UNROLL for (int r = 0; r < (R); r++)                                                             \
                        UNROLL for (int c = 0; c < (C) / LANES; c++)                                                 \
                            sum[q * (R) + r][c] += *(const vec *)(p->bias + (panel + q) * (W) + c * LANES);          \
            if (p->flags)                                                                                            \
                UNROLL for (int q = 0; q < (P); q++)                                                                 \
                    UNROLL for (int r = 0; r < (R); r++)                                                             \
                        UNROLL for (int c = 0; c < (C) / LANES; c++)                                                 \
                            *(vec *)(y + r * ldy + q * (W) + c * LANES) += sum[q * (R) + r][c];                      \
            else                                                                                                     \
                UNROLL for (int q = 0; q < (P); q++)                                                                 \
                    UNROLL for (int r = 0; r < (R); r++)                                                             \
                        UNROLL for (int c = 0; c < (C) / LANES; c++)                                                 \
                            *(vec *)(y + r * ldy + q * (W) + c * LANES) = alpha * sum[q * (R) + r][c];               \
            return;                                                                                                  \
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

/* ---- packing ---- */

enum { SQUARE = 16 }; /* squares of this size, so that reads and writes stay in the cache */

/* to[c * W + r] = from[r * ldw + c] for a square of weights */
#if defined(__AVX__)
static inline void turn_8(float *to, int64_t W, const float *from, int64_t ldw)
{
    __m256 x[8], y[8];
    UNROLL for (int r = 0; r < 4; r++) { /* rows r and r + 4, columns 0 to 3 | the same rows, columns 4 to 7 */
        __m256 a = _mm256_loadu_ps(from + r * ldw), b = _mm256_loadu_ps(from + (r + 4) * ldw);
        x[r] = _mm256_permute2f128_ps(a, b, 0x20);
        x[r + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
    UNROLL for (int h = 0; h < 8; h += 4) { /* 4 x 4 in each half of the registers */
        y[h] = _mm256_unpacklo_ps(x[h], x[h + 1]);
        y[h + 1] = _mm256_unpackhi_ps(x[h], x[h + 1]);
        y[h + 2] = _mm256_unpacklo_ps(x[h + 2], x[h + 3]);
        y[h + 3] = _mm256_unpackhi_ps(x[h + 2], x[h + 3]);
        _mm256_storeu_ps(to + h * W, _mm256_shuffle_ps(y[h], y[h + 2], 0x44));
        _mm256_storeu_ps(to + (h + 1) * W, _mm256_shuffle_ps(y[h], y[h + 2], 0xee));
        _mm256_storeu_ps(to + (h + 2) * W, _mm256_shuffle_ps(y[h + 1], y[h + 3], 0x44));
        _mm256_storeu_ps(to + (h + 3) * W, _mm256_shuffle_ps(y[h + 1], y[h + 3], 0xee));
    }
}

static void turn_square(float *to, int64_t W, const float *from, int64_t ldw)
{
    for (int r = 0; r < SQUARE; r += 8)
        for (int c = 0; c < SQUARE; c += 8)
            turn_8(to + c * W + r, W, from + r * ldw + c, ldw);
}
#else
static void turn_square(float *to, int64_t W, const float *from, int64_t ldw)
{
    for (int r = 0; r < SQUARE; r++)
        for (int c = 0; c < SQUARE; c++)
            to[c * W + r] = from[r * ldw + c];
}
#endif

static void pack(float *to, const float *w, int64_t ldw, int64_t rows, int64_t k, int64_t W)
{
    for (int64_t i = 0; i < k; i += SQUARE) {
        int64_t stop = i + SQUARE < k ? i + SQUARE : k, j = 0;
        if (stop - i == SQUARE)
            for (; j + SQUARE <= rows; j += SQUARE)
                turn_square(to + i * W + j, W, w + j * ldw + i, ldw);
        for (; j < rows; j++)
            for (int64_t at = i; at < stop; at++)
                to[at * W + j] = w[j * ldw + at];
        for (int64_t at = i; rows < W && at < stop; at++)
            memset(to + at * W + rows, 0, (size_t)(W - rows) * sizeof *to);
    }
}

const mert_rows_kernels MERT_KERNEL(mert_rows_kernels) = {part, ROWS, pack};
