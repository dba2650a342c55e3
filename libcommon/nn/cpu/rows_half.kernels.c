#include "libcommon/nn/cpu/rows_half.h"

#include "formats/half.h"
#include "libcommon/nn/cpu/rows_finish.h"

enum { PANEL = MERT_HALF_PANEL, STEP = MERT_HALF_STEP };

FINISH(finish, PANEL)

/* ---- all machines: the rounded numbers as float32 ---- */

#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 5 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 3 };
#else
enum { LANES = 4, ROWS = 1 };
#endif
enum { VECS = PANEL / LANES };
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef uint32_t pairs __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

static void round_floats(void *to, const float *x, int64_t n)
{
    float *y = to;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)mert_to_bf16(x[i]) << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

/* Adds the products of step i: x [R] with one half of the pairs at b. All of the panels first, then row by row: so the
 * compiler needs registers for the sums, for one step of the panels, and for one number of x. At the end it forgets
 * what is in memory: otherwise it reads numbers of the next step in this one, and has no registers left for the sums. */
#define ADD_STEP(R, P, i, half)                                                                                        \
    {                                                                                                                  \
        vec w[(P) * VECS];                                                                                             \
        UNROLL for (int c = 0; c < (P) * VECS; c++) {                                                                  \
            const pairs both = *(const pairs *)(const void *)(b + c / VECS * size + c % VECS * LANES);                 \
            w[c] = (vec)(half);                                                                                        \
        }                                                                                                              \
        UNROLL for (int r = 0; r < (R); r++)                                                                           \
            UNROLL for (int c = 0; c < (P) * VECS; c++)                                                                \
                sum[c / VECS * (R) + r][c % VECS] += x[r * ldx + (i)] * w[c];                                          \
        __asm__ volatile("" ::: "memory");                                                                             \
    }
/* R rows by P panels. */
#define TILE(name, R, P)                                                                                               \
    static __attribute__((noinline)) void name(const mert_panel_product *p, const float *x, int64_t ldx, int64_t row,  \
                                               int64_t panel)                                                          \
    {                                                                                                                  \
        const int64_t size = mert_half_depth(p->k) * (PANEL / 2);                                                      \
        const float *b = p->panels + panel * size;                                                                     \
        float out[(P) * (R)][PANEL];                                                                                   \
        vec sum[(P) * (R)][VECS];                                                                                      \
        UNROLL for (int r = 0; r < (P) * (R); r++)                                                                     \
            UNROLL for (int c = 0; c < VECS; c++)                                                                      \
                sum[r][c] = (vec){0};                                                                                  \
        for (int64_t i = 0; i < p->k; i += 2, b += PANEL) {                                                            \
            ADD_STEP(R, P, i + 1, both & 0xffff0000u)                                                                  \
            ADD_STEP(R, P, i, both << 16)                                                                              \
        }                                                                                                              \
        UNROLL for (int r = 0; r < (P) * (R); r++)                                                                     \
            UNROLL for (int c = 0; c < VECS; c++)                                                                      \
                *(vec *)(out[r] + c * LANES) = sum[r][c];                                                              \
        for (int q = 0; q < (P); q++)                                                                                  \
            finish(p, out[q * (R)], row, (R), (panel + q) * PANEL);                                                    \
    }

TILE(row_tile, 1, 1)
#if defined(__AVX__) || defined(__aarch64__)
TILE(tile, ROWS, 1)
#endif
#if defined(__AVX512F__)
TILE(two_panels, ROWS, 2)
#endif

static void part(const mert_panel_product *p, const void *rounded, int64_t ldx, int64_t row, int64_t rows,
                 int64_t first, int64_t end)
{
    const float *x = rounded;
    for (int64_t panels; first < end; first += panels) {
        int64_t r = 0;
        panels = 1;
#if defined(__AVX512F__)
        if (first + 1 < end && rows >= ROWS) {
            for (; r + ROWS <= rows; r += ROWS)
                two_panels(p, x + r * ldx, ldx, row + r, first);
            for (int64_t left = r; left < rows; left++)
                row_tile(p, x + left * ldx, ldx, row + left, first + 1);
            panels = 2;
        }
#endif
#if defined(__AVX__) || defined(__aarch64__)
        for (; r + ROWS <= rows; r += ROWS)
            tile(p, x + r * ldx, ldx, row + r, first);
#endif
        for (; r < rows; r++)
            row_tile(p, x + r * ldx, ldx, row + r, first);
    }
}

const mert_half_kernels MERT_KERNEL(mert_half_kernels) = {"portable", sizeof(float), round_floats, part};

#if defined(__AVX512F__) && (defined(MERT_HAVE_BF16) || defined(MERT_HAVE_AMX))
#include <immintrin.h>

static void round_halves(void *to, const float *x, int64_t n)
{
    uint16_t *y = to;
    for (int64_t i = 0; i < n; i++)
        y[i] = mert_to_bf16(x[i]);
}
#endif

/* ---- AVX-512 BF16 ---- */

#if defined(MERT_HAVE_BF16) && defined(__AVX512F__)
#define DOT __attribute__((target("avx512bf16")))

/* R rows by P panels. The instruction takes a pair of steps for 16 outputs. */
#define DOT_TILE(name, R, P)                                                                                           \
    static DOT __attribute__((noinline)) void name(const mert_panel_product *p, const uint16_t *x, int64_t ldx,        \
                                                   int64_t row, int64_t panel)                                         \
    {                                                                                                                  \
        const int64_t size = mert_half_depth(p->k) * PANEL;                                                            \
        const uint16_t *b = (const uint16_t *)(const void *)p->panels + panel * size;                                  \
        __m512 sum[P][R];                                                                                              \
        float out[R][PANEL];                                                                                           \
        UNROLL for (int q = 0; q < (P); q++)                                                                           \
            UNROLL for (int r = 0; r < (R); r++)                                                                       \
                sum[q][r] = _mm512_setzero_ps();                                                                       \
        for (int64_t i = 0; i < p->k; i += 2, b += 2 * PANEL) {                                                        \
            __m512bh w[P];                                                                                             \
            UNROLL for (int q = 0; q < (P); q++)                                                                       \
                memcpy(&w[q], b + q * size, sizeof w[q]);                                                              \
            UNROLL for (int r = 0; r < (R); r++) {                                                                     \
                int32_t two;                                                                                           \
                __m512i same;                                                                                          \
                memcpy(&two, x + r * ldx + i, sizeof two);                                                             \
                same = _mm512_set1_epi32(two);                                                                         \
                UNROLL for (int q = 0; q < (P); q++)                                                                   \
                    sum[q][r] = _mm512_dpbf16_ps(sum[q][r], (__m512bh)same, w[q]);                                     \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int q = 0; q < (P); q++) {                                                                         \
            UNROLL for (int r = 0; r < (R); r++)                                                                       \
                _mm512_storeu_ps(out[r], sum[q][r]);                                                                   \
            finish(p, out[0], row, (R), (panel + q) * PANEL);                                                          \
        }                                                                                                              \
    }

DOT_TILE(dot_12_2, 12, 2)
DOT_TILE(dot_12_1, 12, 1)
DOT_TILE(dot_6_2, 6, 2)
DOT_TILE(dot_6_1, 6, 1)
DOT_TILE(dot_3_2, 3, 2)
DOT_TILE(dot_3_1, 3, 1)
DOT_TILE(dot_1_2, 1, 2)
DOT_TILE(dot_1_1, 1, 1)

static void part_dot(const mert_panel_product *p, const void *rounded, int64_t ldx, int64_t row, int64_t rows,
                     int64_t first, int64_t end)
{
    static const struct {
        int64_t rows;
        void (*by[2])(const mert_panel_product *p, const uint16_t *x, int64_t ldx, int64_t row, int64_t panel);
    } tiles[] = {{12, {dot_12_1, dot_12_2}}, {6, {dot_6_1, dot_6_2}}, {3, {dot_3_1, dot_3_2}}, {1, {dot_1_1, dot_1_2}}};
    const uint16_t *x = rounded;
    for (; first < end; first += 2) {
        int64_t r = 0;
        for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
            for (; r + tiles[i].rows <= rows; r += tiles[i].rows)
                tiles[i].by[first + 1 < end](p, x + r * ldx, ldx, row + r, first);
    }
}

const mert_half_kernels mert_half_kernels_dot = {"avx512bf16", sizeof(uint16_t), round_halves, part_dot};
#endif

/* ---- AMX ---- */

#if defined(MERT_HAVE_AMX) && defined(__AVX512F__)
#define AMX __attribute__((target("amx-tile,amx-bf16")))

enum { TILE_BYTES = 1024 };

FINISH(finish_wide, 2 * PANEL)

/* Sums of up to 32 rows (tall: more than 16) by one panel, or two (wide). AMX tiles 0 to 3 are the sums, 4 and 5 are
 * from x, 6 and 7 from the panels. */
static inline AMX __attribute__((always_inline)) void tiles(const mert_panel_product *p, const uint16_t *x, int64_t ldx,
                                                            int64_t row, int64_t rows, int64_t panel, const int tall,
                                                            const int wide)
{
    const int64_t depth = mert_half_depth(p->k), size = depth * PANEL;
    const uint16_t *b = (const uint16_t *)(const void *)p->panels + panel * size, *lower = x + 16 * ldx;
    const size_t stride = (size_t)ldx * sizeof *x;
    _Alignas(64) float sum[32 * 2 * PANEL];
    const int ld = wide ? 2 * PANEL : PANEL;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < depth; k += STEP, b += TILE_BYTES / sizeof *b) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, x + k, stride);
        _tile_dpbf16ps(0, 4, 6);
        if (wide) {
            _tile_loadd(7, b + size, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (tall) {
            _tile_loadd(5, lower + k, stride);
            _tile_dpbf16ps(2, 5, 6);
            if (wide)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sum, (size_t)ld * sizeof *sum);
    if (wide)
        _tile_stored(1, sum + PANEL, (size_t)ld * sizeof *sum);
    if (tall)
        _tile_stored(2, sum + 16 * ld, (size_t)ld * sizeof *sum);
    if (tall && wide)
        _tile_stored(3, sum + 16 * ld + PANEL, (size_t)ld * sizeof *sum);
    (wide ? finish_wide : finish)(p, sum, row, rows, panel * PANEL);
}

static AMX void part_amx(const mert_panel_product *p, const void *rounded, int64_t ldx, int64_t row, int64_t rows,
                         int64_t first, int64_t end)
{
    /* palette 1; bytes per row and number of rows of each tile */
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    const uint16_t *x = rounded;
    _tile_loadconfig(&config);
    for (; first < end; first += 2)
        for (int64_t r = 0; r < rows; r += 32) {
            const uint16_t *from = x + r * ldx;
            int64_t n = rows - r < 32 ? rows - r : 32;
            if (n > 16 && first + 1 < end)
                tiles(p, from, ldx, row + r, n, first, 1, 1);
            else if (n > 16)
                tiles(p, from, ldx, row + r, n, first, 1, 0);
            else if (first + 1 < end)
                tiles(p, from, ldx, row + r, n, first, 0, 1);
            else
                tiles(p, from, ldx, row + r, n, first, 0, 0);
        }
    _tile_release();
}

const mert_half_kernels mert_half_kernels_amx = {"amx", sizeof(uint16_t), round_halves, part_amx};
#endif
