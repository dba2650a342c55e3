/* Operations that sum over rows. A task computes some columns and reads the rows in order. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

enum { COLUMNS = 128 };

static void column_sum_block(void *arg, int64_t i, int worker)
{
    const mert_column_sum_args *a = arg;
    int64_t per = (a->columns + COLUMNS - 1) / COLUMNS, group = i / per, c = i % per * COLUMNS;
    int64_t n = a->columns - c < COLUMNS ? a->columns - c : COLUMNS;
    const float *x = a->x + group * a->columns + c;
    float part[COLUMNS];
    (void)worker;
    for (int64_t r0 = 0; r0 < a->rows; r0 += 256) {
        memset(part, 0, sizeof part);
        for (int64_t r = r0; r < r0 + 256 && r < a->rows; r++)
            MERT_VECTOR->axpy(part, x + r * a->ldx, 1.0f, n);
        MERT_VECTOR->axpy(a->sums + group * a->sums_step + c, part, 1.0f, n);
    }
}

void mert_cpu_column_sum(const void *args)
{
    const mert_column_sum_args *a = args;
    mert_pool_run((a->count > 0 ? a->count : 1) * ((a->columns + COLUMNS - 1) / COLUMNS), column_sum_block,
                  (void *)args);
}

static void mask_backward_block(void *arg, int64_t i, int worker)
{
    const mert_mask_backward_args *a = arg;
    int64_t c = i * COLUMNS, n = a->D - c < COLUMNS ? a->D - c : COLUMNS;
    (void)worker;
    for (int64_t r = 0; r < a->rows; r++)
        if (a->mask[r] != 0) {
            MERT_VECTOR->axpy(a->de + c, a->dx + r * a->D + c, 1.0f, n);
            memset(a->dx + r * a->D + c, 0, (size_t)n * sizeof(float));
        }
}

void mert_cpu_mask_backward(const void *args)
{
    const mert_mask_backward_args *a = args;
    mert_pool_run((a->D + COLUMNS - 1) / COLUMNS, mask_backward_block, (void *)args);
}

/* ---- pooling: a task computes some channels of a span ---- */

static void pool_block(void *arg, int64_t i, int worker)
{
    const mert_pool_spans_args *a = arg;
    int64_t per = (a->D + COLUMNS - 1) / COLUMNS, j = i / per, c = i % per * COLUMNS;
    int64_t n = a->D - c < COLUMNS ? a->D - c : COLUMNS, from = a->first[j], end = a->first[j + 1];
    const float *x = a->x + c;
    float *y = a->y + j * a->ldy + c;
    double sums[COLUMNS] = {0};
    (void)worker;
    if (a->largest)
        memcpy(y, x + from * a->D, (size_t)n * sizeof *y);
    for (int64_t t = from; t < end; t++)
        for (int64_t d = 0; d < n; d++)
            if (a->largest)
                y[d] = x[t * a->D + d] > y[d] ? x[t * a->D + d] : y[d];
            else
                sums[d] += x[t * a->D + d];
    for (int64_t d = 0; d < n && !a->largest; d++)
        y[d] = (float)(sums[d] / (double)(end - from));
}

void mert_cpu_pool_spans(const void *args)
{
    const mert_pool_spans_args *a = args;
    mert_pool_run(a->spans * ((a->D + COLUMNS - 1) / COLUMNS), pool_block, (void *)args);
}
