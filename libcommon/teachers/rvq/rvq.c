#include "libcommon/teachers/rvq/rvq.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/teachers/kmeans/nearest.h"

#include <stdlib.h>
#include <string.h>

static mert_rvq *empty(int64_t count, int64_t classes, int64_t width)
{
    mert_rvq *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->count = count;
    q->classes = classes;
    q->width = width;
    q->codewords = mert_array(mert_array_count(mert_array_count(count, classes), width), sizeof(float));
    q->nearest = mert_array_zeroed(count, sizeof *q->nearest);
    if (q->codewords && q->nearest)
        return q;
    mert_rvq_free(q);
    return NULL;
}

mert_rvq *mert_rvq_new(const float *codewords, int64_t count, int64_t classes, int64_t width)
{
    mert_rvq *q = empty(count, classes, width);
    if (q)
        memcpy(q->codewords, codewords, (size_t)(count * classes * width) * sizeof(float));
    return q;
}

mert_rvq *mert_rvq_of(const float *const *codebooks, int64_t count, int64_t classes, int64_t width)
{
    mert_rvq *q = empty(count, classes, width);
    for (int64_t k = 0; q && k < count; k++)
        memcpy(q->codewords + k * classes * width, codebooks[k], (size_t)(classes * width) * sizeof(float));
    return q;
}

void mert_rvq_free(mert_rvq *q)
{
    if (!q)
        return;
    for (int64_t k = 0; q->nearest && k < q->count; k++)
        mert_nearest_free(q->nearest[k]);
    free(q->nearest);
    free(q->codewords);
    free(q->scratch);
    free(q);
}

/* Rows per task, and its scratch in floats: the residuals and the scratch of the search. */
static int64_t tile_of(const mert_rvq *q)
{
    return mert_nearest_tile(q->nearest[0]);
}

static int64_t scratch_of(const mert_rvq *q)
{
    return tile_of(q) * q->width + mert_nearest_scratch(q->nearest[0]);
}

/* Allocates the searches of `use` codebooks, and scratch for all threads. */
static int prepare(mert_rvq *q, int64_t use)
{
    int workers = mert_pool_threads();
    for (int64_t k = 0; k < use; k++)
        if (!q->nearest[k] &&
            !(q->nearest[k] = mert_nearest_new(q->codewords + k * q->classes * q->width, q->classes, q->width)))
            return -1;
    if (workers <= q->workers)
        return 0;
    free(q->scratch);
    q->workers = 0;
    q->scratch = mert_array(mert_array_count(workers, scratch_of(q)), sizeof *q->scratch);
    if (!q->scratch)
        return -1;
    q->workers = workers;
    return 0;
}

typedef struct job {
    const mert_rvq *q;
    const float *x;
    int64_t n, use, tile;
    int32_t *codes;
    int64_t bad; /* the first vector that is not finite; n: none */
} job;

/* Encodes some vectors with all codebooks. */
static void piece(void *arg, int64_t at, int worker)
{
    job *j = arg;
    const mert_rvq *q = j->q;
    int64_t D = q->width, first = at * j->tile, rows = mert_smaller(j->n - first, j->tile);
    float *rest = q->scratch + worker * scratch_of(q), *scratch = rest + tile_of(q) * D;
    int32_t label[MERT_NEAREST_TILE_MAX];
    memcpy(rest, j->x + first * D, (size_t)(rows * D) * sizeof *rest);
    for (int64_t k = 0; k < j->use; k++) {
        const float *words = q->codewords + k * q->classes * D;
        int64_t bad = mert_nearest_rows(q->nearest[k], scratch, rest, D, rows, label, NULL);
        if (bad >= 0) {
            mert_pool_first(&j->bad, first + bad);
            return;
        }
        for (int64_t i = 0; i < rows; i++) {
            const float *w = words + label[i] * D;
            float *z = rest + i * D;
            j->codes[(first + i) * j->use + k] = label[i];
            for (int64_t c = 0; c < D; c++)
                z[c] -= w[c];
        }
    }
}

int mert_rvq_encode(mert_rvq *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad, mert_error *e)
{
    job j = {.q = q, .x = x, .n = n, .use = use, .codes = codes, .bad = n};
    *bad = -1;
    if (n < 1 || use < 1)
        return 0;
    if (prepare(q, use))
        return mert_fail(e, "out of memory");
    j.tile = tile_of(q);
    while (j.tile > 12 && n < 2 * mert_pool_threads() * j.tile) /* few vectors: smaller tasks, for all threads */
        j.tile /= 2;
    mert_pool_run((n + j.tile - 1) / j.tile, piece, &j);
    if (j.bad == n)
        return 0;
    *bad = j.bad;
    return mert_fail(e, MERT_RVQ_BAD);
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
