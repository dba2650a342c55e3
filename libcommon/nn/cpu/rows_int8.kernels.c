#include "libcommon/nn/cpu/rows_int8.h"

#include "libcommon/nn/cpu/rows_finish.h"

#include <math.h>
#include <string.h>

enum { PANEL = MERT_INT8_PANEL };

FINISH(finish, PANEL)

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- rows ---- */

/* The inner loops have a fixed length, so that the compiler uses vectors. */
static void round_row(uint8_t *to, const float *x, int64_t k)
{
    enum { LANES = 16 };
    float low[LANES] = {0}, high[LANES] = {0}, bad[LANES] = {0};
    int64_t i = 0;
    mert_int8_row row = {0};
    float inverse, range;
    for (; i + LANES <= k; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float v = x[i + j];
            low[j] = v < low[j] ? v : low[j];
            high[j] = v > high[j] ? v : high[j];
            bad[j] += v * 0.0f; /* NaN if v is not finite */
        }
    for (int j = 0; i < k; i++, j++) {
        low[j] = x[i] < low[j] ? x[i] : low[j];
        high[j] = x[i] > high[j] ? x[i] : high[j];
        bad[j] += x[i] * 0.0f;
    }
    for (int j = 1; j < LANES; j++) {
        low[0] = low[j] < low[0] ? low[j] : low[0];
        high[0] = high[j] > high[0] ? high[j] : high[0];
        bad[0] += bad[j];
    }
    range = high[0] / 254 - low[0] / 254; /* the difference may be larger than a float */
    if (range > 1e-30f / 254 && !isnan(bad[0])) {
        inverse = 1 / range;
        row = (mert_int8_row){range, (int32_t)rintf(-low[0] * inverse)};
        for (i = 0; i < k; i++)
            to[i] = (uint8_t)((int32_t)rintf(x[i] * inverse) + row.zero);
    } else {
        memset(to, 0, (size_t)k);
        row.step = bad[0];
    }
    memcpy(to + mert_int8_depth(k), &row, sizeof row);
}

/* ---- products ---- */

/* Sums of integers become numbers; then the steps that all products end with. */
static inline __attribute__((always_inline)) void finish_sums(const mert_panel_product *p, int32_t (*sum)[PANEL],
                                                              const uint8_t *x, int64_t row, int64_t rows,
                                                              int64_t panel)
{
    const int64_t depth = mert_int8_depth(p->k), stride = mert_int8_stride(p->k);
    const uint8_t *end = (const uint8_t *)p->panels + panel * mert_int8_panel_bytes(p->k) + PANEL * depth;
    float scale[PANEL], y[12][PANEL];
    int32_t sums[PANEL];
    memcpy(scale, end, sizeof scale);
    memcpy(sums, end + sizeof scale, sizeof sums);
    for (int64_t r = 0; r < rows; r++) {
        mert_int8_row of;
        memcpy(&of, x + r * stride + depth, sizeof of);
        for (int64_t i = 0; i < PANEL; i++)
            y[r][i] = (float)(sum[r][i] - of.zero * sums[i]) * (of.step * scale[i]);
    }
    finish(p, y[0], row, rows, panel * PANEL);
}

#if defined(__AVX2__)
#include <immintrin.h>

/* Four steps of k for one row and LANES outputs: bytes of x, the same for all outputs, by bytes of the panel. */
#if defined(__AVX512BW__)
typedef __m512i vec;
enum { LANES = 16, ROWS = 12 };
#define ZERO _mm512_setzero_si512()
#define ONES const vec ones = _mm512_set1_epi16(1);
#define SAME(from) _mm512_set1_epi32(from)
#define ADD_PRODUCTS(sum, a, b) _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), ones))
#else
typedef __m256i vec;
enum { LANES = 8, ROWS = 6 };
#define ZERO _mm256_setzero_si256()
#define ONES const vec ones = _mm256_set1_epi16(1);
#define SAME(from) _mm256_set1_epi32(from)
#define ADD_PRODUCTS(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones))
#endif

/* A function for R rows by one panel. HOW: attributes. */
#define TILE(name, R, HOW, CONSTANTS, ADD)                                                                             \
    static HOW __attribute__((noinline)) void name(const mert_panel_product *p, const uint8_t *x, int64_t row,         \
                                                   int64_t panel)                                                      \
    {                                                                                                                  \
        const int64_t depth = mert_int8_depth(p->k), stride = mert_int8_stride(p->k);                                  \
        const int8_t *b = (const int8_t *)p->panels + panel * mert_int8_panel_bytes(p->k);                             \
        int32_t out[R][PANEL];                                                                                         \
        vec sum[R][PANEL / LANES];                                                                                     \
        CONSTANTS                                                                                                      \
        UNROLL for (int r = 0; r < (R); r++)                                                                           \
            UNROLL for (int c = 0; c < PANEL / LANES; c++)                                                             \
                sum[r][c] = ZERO;                                                                                      \
        for (int64_t k = 0; k < depth; k += 4, b += 4 * PANEL) {                                                       \
            vec w[PANEL / LANES];                                                                                      \
            UNROLL for (int c = 0; c < PANEL / LANES; c++)                                                             \
                memcpy(&w[c], b + c * 4 * LANES, sizeof w[c]);                                                         \
            UNROLL for (int r = 0; r < (R); r++) {                                                                     \
                int32_t four;                                                                                          \
                vec a;                                                                                                 \
                memcpy(&four, x + r * stride + k, sizeof four);                                                        \
                a = SAME(four);                                                                                        \
                UNROLL for (int c = 0; c < PANEL / LANES; c++)                                                         \
                    sum[r][c] = ADD(sum[r][c], a, w[c]);                                                               \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int r = 0; r < (R); r++)                                                                           \
            UNROLL for (int c = 0; c < PANEL / LANES; c++)                                                             \
                memcpy(out[r] + c * LANES, &sum[r][c], sizeof sum[r][c]);                                              \
        finish_sums(p, out, x, row, (R), panel);                                                                       \
    }

/* All rows of some panels: as many at once as there are registers, then one by one. */
#define PART(name, tile, one)                                                                                          \
    static void name(const mert_panel_product *p, const uint8_t *x, int64_t row, int64_t rows, int64_t first,          \
                     int64_t end)                                                                                      \
    {                                                                                                                  \
        const int64_t stride = mert_int8_stride(p->k);                                                                 \
        for (; first < end; first++) {                                                                                 \
            int64_t r = 0;                                                                                             \
            for (; r + ROWS <= rows; r += ROWS)                                                                        \
                tile(p, x + r * stride, row + r, first);                                                               \
            for (; r < rows; r++)                                                                                      \
                one(p, x + r * stride, row + r, first);                                                                \
        }                                                                                                              \
    }

TILE(tile, ROWS, , ONES, ADD_PRODUCTS)
TILE(row_tile, 1, , ONES, ADD_PRODUCTS)
PART(part, tile, row_tile)

#if defined(MERT_HAVE_VNNI) && defined(__AVX512BW__)
#define VNNI __attribute__((target("avx512vnni")))
TILE(tile_vnni, ROWS, VNNI, , _mm512_dpbusd_epi32)
TILE(row_tile_vnni, 1, VNNI, , _mm512_dpbusd_epi32)
PART(part_vnni, tile_vnni, row_tile_vnni)

const mert_int8_kernels mert_int8_kernels_vnni = {"vnni", round_row, part_vnni};
#endif

#else

/* The portable loops, one row at a time. */
static void part(const mert_panel_product *p, const uint8_t *x, int64_t row, int64_t rows, int64_t first, int64_t end)
{
    const int64_t depth = mert_int8_depth(p->k), stride = mert_int8_stride(p->k);
    for (; first < end; first++)
        for (int64_t r = 0; r < rows; r++) {
            const int8_t *b = (const int8_t *)p->panels + first * mert_int8_panel_bytes(p->k);
            const uint8_t *from = x + r * stride;
            int32_t sum[1][PANEL] = {{0}};
            for (int64_t k = 0; k < depth; k += 4, b += 4 * PANEL)
                for (int j = 0; j < PANEL; j++)
                    for (int i = 0; i < 4; i++)
                        sum[0][j] += from[k + i] * b[4 * j + i];
            finish_sums(p, sum, from, row + r, 1, first);
        }
}
#endif

const mert_int8_kernels MERT_KERNEL(mert_int8_kernels) = {"portable", round_row, part};
