#include "libcommon/teachers/kmeans/nearest.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/teachers/codes.h"
#include "libcommon/teachers/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATES = 64 };

struct mert_nearest {
    int64_t k, d;
    float *codewords;   /* [k, d] as given */
    float *shifted;     /* [k, d] minus the centre */
    float *centre;      /* [d] */
    double *sum;        /* [d]: scratch for it */
    float reach;        /* largest |c - centre| */
    mert_rows *product; /* z . (c - centre) - |c - centre|^2 / 2: the larger, the nearer */
    int64_t tile;       /* the most rows per task */
    float *scratch;     /* [workers][tile * (d + k)] */
    int workers;
};

/* Copies the codewords; bias [k] becomes -|c - centre|^2 / 2. */
static void centre(mert_nearest *n, const float *codewords, float *bias)
{
    double *sum = n->sum, reach2 = 0;
    memcpy(n->codewords, codewords, (size_t)(n->k * n->d) * sizeof(float));
    memset(sum, 0, (size_t)n->d * sizeof *sum);
    for (int64_t j = 0; j < n->k; j++)
        for (int64_t i = 0; i < n->d; i++)
            sum[i] += codewords[j * n->d + i];
    for (int64_t i = 0; i < n->d; i++)
        n->centre[i] = (float)(sum[i] / (double)n->k);
    for (int64_t j = 0; j < n->k; j++) {
        double s = 0;
        for (int64_t i = 0; i < n->d; i++) {
            double v = (double)codewords[j * n->d + i] - (double)n->centre[i];
            n->shifted[j * n->d + i] = (float)v;
            s += v * v;
        }
        bias[j] = -(float)s / 2;
        if (s > reach2)
            reach2 = s;
    }
    n->reach = (float)(sqrt(reach2) * 1.000001);
}

mert_nearest *mert_nearest_new(const float *codewords, int64_t k, int64_t d)
{
    mert_nearest *n = calloc(1, sizeof *n);
    int64_t all = mert_array_count(k, d);
    float *bias = mert_array(k, sizeof *bias);
    if (n && bias) {
        n->k = k;
        n->d = d;
        /* So that scores and shifted rows of a task fit in the second-level cache, if possible. */
        n->tile = k + d <= 2048 ? MERT_NEAREST_TILE_MAX : k + d <= 8192 ? 24 : 12;
        n->codewords = mert_array(all, sizeof(float));
        n->shifted = mert_array(all, sizeof(float));
        n->centre = mert_array(d, sizeof(float));
        n->sum = mert_array(d, sizeof *n->sum);
        if (n->codewords && n->shifted && n->centre && n->sum) {
            centre(n, codewords, bias);
            n->product = mert_rows_new(n->shifted, d, k, d, bias);
        }
    }
    free(bias);
    if (n && n->product)
        return n;
    mert_nearest_free(n);
    return NULL;
}

void mert_nearest_free(mert_nearest *n)
{
    if (!n)
        return;
    mert_rows_free(n->product);
    free(n->codewords);
    free(n->shifted);
    free(n->centre);
    free(n->sum);
    free(n->scratch);
    free(n);
}

void mert_nearest_set(mert_nearest *n, const float *codewords)
{
    centre(n, codewords, n->product->bias);
    mert_rows_set(n->product, n->shifted, n->d);
}

/* The candidate with the smallest exact distance (count < 0: of all codewords). */
static int32_t decide(const mert_nearest *n, const mert_codes_kernels *v, const float *x, const int32_t *candidate,
                      int64_t count, double *d2)
{
    int32_t best = 0;
    double least = INFINITY;
    int64_t all = count < 0 ? n->k : count;
    for (int64_t i = 0; i < all; i++) {
        int32_t j = count < 0 ? (int32_t)i : candidate[i];
        double d = v->distance2(x, n->codewords + j * n->d, n->d);
        if (d < least) {
            least = d;
            best = j;
        }
    }
    *d2 = least;
    return best;
}

int64_t mert_nearest_tile(const mert_nearest *n)
{
    return n->tile;
}

int64_t mert_nearest_scratch(const mert_nearest *n)
{
    return n->tile * (n->d + n->k);
}

int64_t mert_nearest_rows(const mert_nearest *n, float *scratch, const float *x, int64_t ldx, int64_t rows,
                          int32_t *label, double *distance2)
{
    const mert_codes_kernels *v = MERT_CODES_KERNELS;
    float *z = scratch, *scores = z + rows * n->d, norm2[MERT_NEAREST_TILE_MAX];
    const double u = 0x1p-24;
    int64_t bad = -1;
    for (int64_t r = 0; r < rows; r++) {
        norm2[r] = v->centred(z + r * n->d, x + r * ldx, n->centre, n->d);
        if (v->beyond(x + r * ldx, n->d, MERT_FEATURE_MOST) < n->d)
            norm2[r] = INFINITY;
    }
    mert_rows_apply(n->product, z, n->d, rows, scores, n->k, 0);
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * ldx;
        int32_t candidate[CANDIDATES];
        double far = sqrt((double)norm2[r]) * 1.0001, d2 = 0, bound;
        int64_t count;
        label[r] = 0;
        if (!isfinite(norm2[r]))
            bad = bad < 0 ? r : bad;
        else {
            bound = 2.02 * ((2.0 * (double)n->d + 8) * u * far * n->reach + 2 * u * (double)n->reach * n->reach);
            count = v->best(scores + r * n->k, n->k, bound / 2, candidate, CANDIDATES);
            if (count != 1)
                label[r] = decide(n, v, row, candidate, count > CANDIDATES ? -1 : count, &d2);
            else {
                label[r] = candidate[0];
                d2 = distance2 ? v->distance2(row, n->codewords + candidate[0] * n->d, n->d) : 0;
            }
        }
        if (distance2)
            distance2[r] = d2;
    }
    return bad;
}

typedef struct job {
    mert_nearest *n;
    const float *x;
    int64_t ldx, rows;
    int32_t *label;
    double *distance2;
    int64_t tile; /* rows per task */
    int64_t bad;  /* first row with a bad value; rows: none */
} job;

static void piece(void *arg, int64_t at, int worker)
{
    job *j = arg;
    const mert_nearest *n = j->n;
    int64_t first = at * j->tile, rows = mert_smaller(j->rows - first, j->tile);
    int64_t bad = mert_nearest_rows(n, n->scratch + worker * mert_nearest_scratch(n), j->x + first * j->ldx, j->ldx,
                                    rows, j->label + first, j->distance2 ? j->distance2 + first : NULL);
    if (bad >= 0)
        mert_pool_first(&j->bad, first + bad);
}

int64_t mert_nearest_find(mert_nearest *n, const float *x, int64_t ldx, int64_t rows, int32_t *label, double *distance2)
{
    job j = {n, x, ldx, rows, label, distance2, n->tile, rows};
    int workers = mert_pool_threads();
    if (workers > n->workers) {
        free(n->scratch);
        n->workers = 0;
        n->scratch = mert_array(mert_array_count(workers, mert_nearest_scratch(n)), sizeof(float));
        if (!n->scratch)
            return -2;
        n->workers = workers;
    }
    while (j.tile > 12 && rows < 2 * workers * j.tile) /* few rows: smaller tasks, for all threads */
        j.tile /= 2;
    mert_pool_run((rows + j.tile - 1) / j.tile, piece, &j);
    return j.bad < rows ? j.bad : -1;
}

void mert_nearest_plain(const float *codewords, int64_t k, int64_t d, const float *x, int64_t rows, int32_t *label,
                        double *distance2)
{
    for (int64_t r = 0; r < rows; r++) {
        double least = INFINITY;
        label[r] = 0;
        for (int64_t j = 0; j < k; j++) {
            double s = 0;
            for (int64_t i = 0; i < d; i++) {
                double v = (double)x[r * d + i] - (double)codewords[j * d + i];
                s += v * v;
            }
            if (s < least) {
                least = s;
                label[r] = (int32_t)j;
            }
        }
        if (distance2)
            distance2[r] = least;
    }
}
