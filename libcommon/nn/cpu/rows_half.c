#include "libcommon/nn/cpu/rows_half.h"

#include "formats/half.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/cpu.h"
#include "libcommon/nn/cpu/pieces.h"

#include <string.h>

const mert_half_kernels *mert_half_chosen(void)
{
#ifdef MERT_HAVE_AMX
    if (mert_cpu_amx())
        return &mert_half_kernels_amx;
#endif
#ifdef MERT_HAVE_BF16
    if (mert_cpu_bf16())
        return &mert_half_kernels_dot;
#endif
    return MERT_KERNEL_TABLE(mert_half_kernels);
}

int mert_half_fast(void)
{
    return mert_half_chosen()->size == sizeof(uint16_t); /* an instruction takes bfloat16 numbers */
}

void mert_half_pack(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end)
{
    enum { W = MERT_HALF_PANEL };
    uint32_t *to = (uint32_t *)(void *)panels; /* pairs of steps, the even step in the low half */
    int64_t pairs = mert_half_depth(k) / 2;
    for (int64_t p = first; p < end; p++)
        for (int64_t i = 0; i < pairs; i += W) /* 16 x 16 squares, so that reads and writes stay in the cache */
            for (int64_t j = 0; j < W; j++) {
                const float *from = w + (p * W + j) * ldw;
                float steps[2 * W] = {0};
                if (p * W + j < n && 2 * i < k)
                    memcpy(steps, from + 2 * i, (size_t)(k - 2 * i < 2 * W ? k - 2 * i : 2 * W) * sizeof *steps);
                for (int64_t at = 0; at < W; at++)
                    to[(p * pairs + i + at) * W + j] =
                        (uint32_t)mert_to_bf16(steps[2 * at]) | (uint32_t)mert_to_bf16(steps[2 * at + 1]) << 16;
            }
}

/* ---- rounding rows ---- */

/* Rows are rounded to rows of their own, with padding. Or, if rows overlap, the numbers that they share are rounded
 * once, in lines of LINE numbers. */
typedef struct rounding {
    const mert_half_kernels *kernels;
    const float *x;
    char *to;
    int64_t ld; /* row stride of the rounded rows */
    int64_t lines, length, last, from_step, to_step;
    int64_t zeros; /* number of zeros after each line */
} rounding;

enum { LINE = 4096, MARGIN = 32 };

/* Overlapping rows keep overlapping if they need no padding. */
static int shared(const mert_panel_product *p) { return p->ldx < p->k && p->k % MERT_HALF_STEP == 0; }

/* MARGIN prevents row strides of a power of two, which would use the same cache sets. */
static int64_t rounded_ld(const mert_panel_product *p) { return shared(p) ? p->ldx : mert_half_depth(p->k) + MARGIN; }

static int64_t rounded_numbers(const mert_panel_product *p, int64_t rows)
{
    return ((rows + 15) / 16 * 16 - 1) * rounded_ld(p) + mert_half_depth(p->k);
}

static rounding rounding_of(const mert_panel_product *p, int64_t row, int64_t rows, void *to)
{
    rounding r = {.kernels = mert_half_chosen(), .x = p->x + row * p->ldx, .to = to, .ld = rounded_ld(p)};
    if (shared(p)) {
        int64_t numbers = (rows - 1) * p->ldx + p->k;
        r.lines = (numbers + LINE - 1) / LINE;
        r.length = r.from_step = r.to_step = LINE;
        r.last = numbers - (r.lines - 1) * LINE;
    } else {
        r.lines = rows;
        r.length = r.last = p->k;
        r.from_step = p->ldx;
        r.to_step = r.ld;
        r.zeros = mert_half_depth(p->k) - p->k;
    }
    return r;
}

static void round_line(void *arg, int64_t i, int worker)
{
    const rounding *r = arg;
    int64_t n = i == r->lines - 1 ? r->last : r->length;
    char *to = r->to + (size_t)(i * r->to_step) * r->kernels->size;
    (void)worker;
    r->kernels->round(to, r->x + i * r->from_step, n);
    memset(to + (size_t)n * r->kernels->size, 0, (size_t)r->zeros * r->kernels->size);
}

enum { LINES_AT_ONCE = 16 };

static void round_lines(void *arg, int64_t i, int worker)
{
    const rounding *r = arg;
    int64_t end = (i + 1) * LINES_AT_ONCE < r->lines ? (i + 1) * LINES_AT_ONCE : r->lines;
    for (int64_t line = i * LINES_AT_ONCE; line < end; line++)
        round_line(arg, line, worker);
}

/* ---- division of the work ---- */

size_t mert_half_room(const mert_panel_product *p)
{
    return (size_t)rounded_numbers(p, p->m) * mert_half_chosen()->size;
}

void mert_half_run(const mert_panel_product *p, void *room)
{
    rounding r = rounding_of(p, 0, p->m, room);
    for (int64_t i = 0; i < r.lines; i++)
        round_line(&r, i, 0);
    r.kernels->part(p, room, r.ld, 0, p->m, 0, mert_half_panels(p->n));
}

enum { BLOCK_NUMBERS = 1 << 19 }; /* a block of rows stays in the cache while the panels are read */

typedef struct job {
    const mert_panel_product *p;
    const rounding *rounded;
    int64_t row, rows;
    mert_pieces pieces;
} job;

static void piece(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    const mert_panel_product *p = j->p + i / j->pieces.count;
    int64_t first = i % j->pieces.count * j->pieces.panels, end = first + j->pieces.panels,
            count = mert_half_panels(p->n);
    (void)worker;
    j->rounded->kernels->part(p, j->rounded->to, j->rounded->ld, j->row, j->rows, first, end < count ? end : count);
}

void mert_half_pool(const mert_panel_product *p, int64_t count)
{
    int64_t blocks = (p->m * rounded_ld(p) + BLOCK_NUMBERS - 1) / BLOCK_NUMBERS;
    int64_t step = ((p->m + blocks - 1) / blocks + 31) / 32 * 32;
    void *room = mert_cpu_shared_scratch(
        (size_t)rounded_numbers(p, step < p->m ? step : p->m) * mert_half_chosen()->size / sizeof(float) + 1);
    if (!room)
        return;
    for (int64_t row = 0; row < p->m; row += step) {
        int64_t rows = p->m - row < step ? p->m - row : step;
        rounding r = rounding_of(p, row, rows, room);
        job j = {.p = p, .rounded = &r, .row = row, .rows = rows};
        j.pieces = mert_pieces_of(mert_half_panels(p->n), MERT_HALF_PANEL * rows * p->k, count);
        mert_pool_run((r.lines + LINES_AT_ONCE - 1) / LINES_AT_ONCE, round_lines, &r);
        mert_pool_run(count * j.pieces.count, piece, &j);
    }
}
