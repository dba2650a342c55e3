#include "rvq.h"

#include "nearest.h"

#include <stdlib.h>
#include <string.h>

mert_rvq *mert_rvq_new(const float *codewords, int64_t count, int64_t classes, int64_t width)
{
    mert_rvq *q = calloc(1, sizeof *q);
    size_t all = (size_t)count * (size_t)classes * (size_t)width;
    if (!q)
        return NULL;
    q->count = count;
    q->classes = classes;
    q->width = width;
    q->codewords = malloc(all * sizeof(float));
    q->nearest = calloc((size_t)count, sizeof *q->nearest);
    if (!q->codewords || !q->nearest)
        goto fail;
    memcpy(q->codewords, codewords, all * sizeof(float));
    for (int64_t k = 0; k < count; k++)
        if (!(q->nearest[k] = mert_nearest_new(codewords + k * classes * width, classes, width)))
            goto fail;
    return q;
fail:
    mert_rvq_free(q);
    return NULL;
}

void mert_rvq_free(mert_rvq *q)
{
    if (!q)
        return;
    for (int64_t k = 0; q->nearest && k < q->count; k++)
        mert_nearest_free(q->nearest[k]);
    free(q->nearest);
    free(q->codewords);
    free(q->residual);
    free(q->label);
    free(q);
}

static int make_room(mert_rvq *q, int64_t n, mert_error *e)
{
    if (n <= q->room)
        return 0;
    free(q->residual);
    free(q->label);
    q->room = 0;
    q->residual = malloc((size_t)(n * q->width) * sizeof *q->residual);
    q->label = malloc((size_t)n * sizeof *q->label);
    if (!q->residual || !q->label)
        return mert_fail(e, "out of memory");
    q->room = n;
    return 0;
}

int mert_rvq_encode(mert_rvq *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad, mert_error *e)
{
    *bad = -1;
    if (make_room(q, n, e))
        return -1;
    memcpy(q->residual, x, (size_t)(n * q->width) * sizeof *x);
    for (int64_t k = 0; k < use; k++) {
        const float *words = q->codewords + k * q->classes * q->width;
        int64_t r = mert_nearest_find(q->nearest[k], q->residual, q->width, n, q->label, NULL);
        if (r == -2)
            return mert_fail(e, "out of memory");
        if (r >= 0) {
            *bad = r;
            return mert_fail(e, "a NaN, an infinity or a value too large to square");
        }
        for (int64_t i = 0; i < n; i++) {
            const float *w = words + q->label[i] * q->width;
            float *z = q->residual + i * q->width;
            codes[i * use + k] = q->label[i];
            for (int64_t j = 0; j < q->width; j++)
                z[j] -= w[j];
        }
    }
    return 0;
}

void mert_rvq_decode(const mert_rvq *q, const int32_t *codes, int64_t n, int64_t use, float *x)
{
    memset(x, 0, (size_t)(n * q->width) * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < use; k++) {
            const float *w = q->codewords + (k * q->classes + codes[i * use + k]) * q->width;
            for (int64_t j = 0; j < q->width; j++)
                x[i * q->width + j] += w[j];
        }
}
