#include "libcommon/nn/cpu/rows_int8.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/cpu.h"
#include "libcommon/nn/cpu/pieces.h"

#include <math.h>
#include <string.h>

static const mert_int8_kernels *kernels(void)
{
#ifdef MERT_HAVE_VNNI
    if (mert_cpu_vnni())
        return &mert_int8_kernels_vnni;
#endif
    return MERT_KERNEL_TABLE(mert_int8_kernels);
}

/* ---- weights ---- */

/* The scale of an output's weights; NaN if one of them is not finite. */
static float scale_of(const float *w, int64_t k)
{
    float most = 0, bad = 0;
    for (int64_t i = 0; i < k; i++) {
        most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
        bad += w[i] * 0.0f;
    }
    return most / 63 + bad;
}

void mert_int8_pack(float *panels, const float *w, int64_t ldw, int64_t n, int64_t k, int64_t first, int64_t end)
{
    enum { W = MERT_INT8_PANEL };
    int64_t depth = mert_int8_depth(k), bytes = mert_int8_panel_bytes(k);
    for (int64_t p = first; p < end; p++) {
        int8_t *to = (int8_t *)panels + p * bytes;
        float scale[W] = {0};
        int32_t sum[W] = {0};
        memset(to, 0, (size_t)(W * depth));
        for (int64_t j = 0; j < W && p * W + j < n; j++) {
            const float *from = w + (p * W + j) * ldw;
            float inverse;
            scale[j] = scale_of(from, k);
            inverse = scale[j] > 0 ? 1 / scale[j] : 0;
            for (int64_t i = 0; i < k && scale[j] > 0; i++) {
                int32_t q = (int32_t)lrintf(from[i] * inverse);
                q = q > 63 ? 63 : q < -63 ? -63 : q;
                to[(i / 4 * W + j) * 4 + i % 4] = (int8_t)q;
                sum[j] += q;
            }
        }
        memcpy(to + W * depth, scale, sizeof scale);
        memcpy(to + W * depth + (int64_t)sizeof scale, sum, sizeof sum);
    }
}

/* ---- division of the work ---- */

typedef struct job {
    const mert_panel_product *p;
    const mert_int8_kernels *kernels;
    uint8_t *rounded;
    int64_t row, rows;
    mert_pieces pieces;
} job;

enum { ROWS_AT_ONCE = 16, BLOCK_BYTES = 1 << 20 }; /* a block of rows stays in the cache while the panels are read */

static void round_rows(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    int64_t end = (i + 1) * ROWS_AT_ONCE < j->rows ? (i + 1) * ROWS_AT_ONCE : j->rows, k = j->p->k;
    (void)worker;
    for (int64_t r = i * ROWS_AT_ONCE; r < end; r++)
        j->kernels->round(j->rounded + r * mert_int8_stride(k), j->p->x + (j->row + r) * j->p->ldx, k);
}

static void piece(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    const mert_panel_product *p = j->p + i / j->pieces.count;
    int64_t first = i % j->pieces.count * j->pieces.panels, end = first + j->pieces.panels,
            count = mert_int8_panels(p->n);
    (void)worker;
    j->kernels->part(p, j->rounded, j->row, j->rows, first, end < count ? end : count);
}

void mert_int8_pool(const mert_panel_product *p, int64_t count)
{
    int64_t stride = mert_int8_stride(p->k), blocks = (p->m * stride + BLOCK_BYTES - 1) / BLOCK_BYTES;
    int64_t step = ((p->m + blocks - 1) / blocks + 23) / 24 * 24, most = step < p->m ? step : p->m;
    job j = {.p = p, .kernels = kernels()};
    j.rounded = (uint8_t *)mert_cpu_shared_scratch((size_t)(most * stride) / sizeof(float) + 1);
    if (!j.rounded)
        return;
    for (; j.row < p->m; j.row += step) {
        j.rows = p->m - j.row < step ? p->m - j.row : step;
        j.pieces = mert_pieces_of(mert_int8_panels(p->n), MERT_INT8_PANEL * j.rows * p->k, count);
        mert_pool_run((j.rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, round_rows, &j);
        mert_pool_run(count * j.pieces.count, piece, &j);
    }
}
