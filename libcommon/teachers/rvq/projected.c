#include "libcommon/teachers/rvq/projected.h"

#include "formats/array.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/rvq/projected_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mert_projected {
    const mert_codebook *b;
    int64_t S;
    mert_rows *project[MTS_CODEBOOKS_MAX];
    mert_nearest *nearest[MTS_CODEBOOKS_MAX];
    float *rest, *u;   /* [room, S], [room, D] */
    int32_t *label;
    int64_t room;
};

mert_projected *mert_projected_new(const mert_codebook *b, mert_error *e)
{
    mert_projected *q = calloc(1, sizeof *q);
    int64_t S = b->stack * b->features.width;
    if (q) {
        q->b = b;
        q->S = S;
        for (int64_t k = 0; k < b->count; k++) {
            int64_t D = b->width;
            q->project[k] = mert_rows_new(b->project + k * D * S, S, D, S, b->project_bias + k * D);
            q->nearest[k] = mert_nearest_new(b->codewords + k * b->classes * D, b->classes, D);
            if (!q->project[k] || !q->nearest[k]) {
                mert_projected_free(q);
                q = NULL;
                break;
            }
        }
    }
    if (!q)
        mert_fail(e, "out of memory");
    return q;
}

void mert_projected_free(mert_projected *q)
{
    if (!q)
        return;
    for (int64_t k = 0; k < q->b->count; k++) {
        mert_rows_free(q->project[k]);
        mert_nearest_free(q->nearest[k]);
    }
    free(q->rest);
    free(q->u);
    free(q->label);
    free(q);
}

static int make_room(mert_projected *q, int64_t n, mert_error *e)
{
    if (n <= q->room)
        return 0;
    free(q->rest);
    free(q->u);
    free(q->label);
    q->room = 0;
    q->rest = mert_array(mert_array_count(n, q->S), sizeof *q->rest);
    q->u = mert_array(mert_array_count(n, q->b->width), sizeof *q->u);
    q->label = mert_array(n, sizeof *q->label);
    if (!q->rest || !q->u || !q->label)
        return mert_fail(e, "out of memory");
    q->room = n;
    return 0;
}

void mert_projected_unit(float *u, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < n; i++, u += D) {
        double s = 0;
        for (int64_t j = 0; j < D; j++)
            s += (double)u[j] * u[j];
        s = s > 0 ? 1 / sqrt(s) : 0;
        for (int64_t j = 0; j < D; j++)
            u[j] = (float)(u[j] * s);
    }
}

void mert_projected_add(const mert_codebook *b, int64_t k, int32_t code, float sign, float *y)
{
    int64_t D = b->width, S = b->stack * b->features.width;
    const float *O = b->out + k * S * D, *o = b->out_bias + k * S, *c = b->codewords + (k * b->classes + code) * D;
    for (int64_t i = 0; i < S; i++) {
        float s = o[i];
        for (int64_t j = 0; j < D; j++)
            s += O[i * D + j] * c[j];
        y[i] += sign * s;
    }
}

int mert_projected_encode(mert_projected *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad,
                          mert_error *e)
{
    const mert_codebook *b = q->b;
    *bad = -1;
    if (make_room(q, n, e))
        return -1;
    memcpy(q->rest, x, (size_t)(n * q->S) * sizeof *x);
    for (int64_t k = 0; k < use; k++) {
        int64_t r;
        mert_rows_pool(q->project[k], q->rest, q->S, n, q->u, b->width, 0);
        mert_projected_unit(q->u, n, b->width);
        r = mert_nearest_find(q->nearest[k], q->u, b->width, n, q->label, NULL);
        if (r == -2)
            return mert_fail(e, "out of memory");
        if (r >= 0) {
            *bad = r;
            return mert_fail(e, "a NaN, an infinity or a value too large to square");
        }
        for (int64_t i = 0; i < n; i++) {
            codes[i * use + k] = q->label[i];
            if (b->out)
                mert_projected_add(b, k, q->label[i], -1, q->rest + i * q->S);
        }
    }
    return 0;
}

void mert_projected_decode(const mert_projected *q, const int32_t *codes, int64_t n, int64_t use, float *x)
{
    memset(x, 0, (size_t)(n * q->S) * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < use; k++)
            mert_projected_add(q->b, k, codes[i * use + k], 1, x + i * q->S);
}
