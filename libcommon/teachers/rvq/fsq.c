#include "libcommon/teachers/rvq/fsq.h"

#include "formats/array.h"
#include "libcommon/nn/cpu/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 1e-3

static double half_of(int levels)
{
    return (levels - 1) * (1 - EPS) / 2;
}

static double offset_of(int levels)
{
    return levels % 2 ? 0 : 0.5;
}

static double shifted(double z, int levels)
{
    return tanh(z + tan(offset_of(levels) / half_of(levels)));
}

double mert_fsq_bound(double z, int levels)
{
    return shifted(z, levels) * half_of(levels) - offset_of(levels);
}

double mert_fsq_slope(double z, int levels)
{
    double t = shifted(z, levels);
    return half_of(levels) * (1 - t * t);
}

int mert_fsq_level(double z, int levels, int symmetric)
{
    return symmetric ? (int)floor((levels - 1) * (tanh(z) + 1) / 2 + 0.5)
                     : (int)rint(mert_fsq_bound(z, levels)) + levels / 2;
}

double mert_fsq_value(int level, int levels)
{
    int half_width = levels / 2;
    return (double)(level - half_width) / half_width;
}

mert_fsq_layers mert_fsq_layers_of(const mert_codebook *b, int64_t k)
{
    int64_t S = b->stack * b->features.width, D = b->width, H = b->hidden;
    mert_fsq_layers l = {{{H, S, b->hidden_in + k * H * S, b->hidden_in_bias + k * H},
                          {D, H, b->project + k * D * H, b->project_bias + k * D},
                          {H, D, b->expand + k * H * D, b->expand_bias + k * H},
                          {S, H, b->out + k * S * H, b->out_bias + k * S}}};
    return l;
}

struct mert_fsq {
    const mert_codebook *b;
    int64_t S, H;           /* H 0: there are no hidden layers */
    mert_rows *layer[MTS_CODEBOOKS_MAX][MERT_FSQ_LAYERS];
    float *rest, *hidden, *z; /* [room, S], [room, H], [room, D] */
    float *back;              /* [room, S]: what a decoder gives */
    int64_t room;
};

static mert_rows *packed(int64_t out, int64_t in, const float *weight, const float *bias)
{
    return mert_rows_new(weight, in, out, in, bias);
}

mert_fsq *mert_fsq_new(const mert_codebook *b, mert_error *e)
{
    mert_fsq *q = calloc(1, sizeof *q);
    int bad = !q;
    for (int64_t k = 0; !bad && k < b->count; k++) {
        q->b = b;
        q->S = b->stack * b->features.width;
        q->H = b->hidden;
        if (!q->H) {
            q->layer[k][MERT_FSQ_PROJECT] =
                packed(b->width, q->S, b->project + k * b->width * q->S, b->project_bias + k * b->width);
            bad = !q->layer[k][MERT_FSQ_PROJECT];
            continue;
        }
        mert_fsq_layers l = mert_fsq_layers_of(b, k);
        for (int i = 0; !bad && i < MERT_FSQ_LAYERS; i++) {
            q->layer[k][i] = packed(l.layer[i].out, l.layer[i].in, l.layer[i].weight, l.layer[i].bias);
            bad = !q->layer[k][i];
        }
    }
    if (!bad)
        return q;
    mert_fsq_free(q);
    mert_fail(e, "out of memory");
    return NULL;
}

void mert_fsq_free(mert_fsq *q)
{
    if (!q)
        return;
    for (int k = 0; k < MTS_CODEBOOKS_MAX; k++)
        for (int i = 0; i < MERT_FSQ_LAYERS; i++)
            mert_rows_free(q->layer[k][i]);
    free(q->rest);
    free(q->hidden);
    free(q->z);
    free(q->back);
    free(q);
}

static int make_room(mert_fsq *q, int64_t n, mert_error *e)
{
    if (n <= q->room)
        return 0;
    free(q->rest);
    free(q->hidden);
    free(q->z);
    free(q->back);
    q->room = 0;
    q->rest = mert_array(mert_array_count(n, q->S), sizeof *q->rest);
    q->hidden = mert_array(mert_array_count(n, q->H + 1), sizeof *q->hidden);
    q->z = mert_array(mert_array_count(n, q->b->width), sizeof *q->z);
    q->back = mert_array(mert_array_count(n, q->S), sizeof *q->back);
    if (!q->rest || !q->hidden || !q->z || !q->back)
        return mert_fail(e, "out of memory");
    q->room = n;
    return 0;
}

/* rest [n, S] -> z [n, D] of codebook k. */
static void run_encoder(mert_fsq *q, int64_t k, int64_t n)
{
    mert_rows *const *layer = q->layer[k];
    if (q->H)
        mert_rows_pool(layer[MERT_FSQ_HIDDEN], q->rest, q->S, n, q->hidden, q->H, MERT_ROWS_GELU);
    mert_rows_pool(layer[MERT_FSQ_PROJECT], q->H ? q->hidden : q->rest, q->H ? q->H : q->S, n, q->z, q->b->width, 0);
}

/* The code of z [D]; -1: a value is not finite. */
static int32_t code_of(const mert_codebook *b, const float *z)
{
    int64_t code = 0, basis = 1;
    for (int64_t i = 0; i < b->width; i++) {
        if (!isfinite(z[i]))
            return -1;
        code += basis * mert_fsq_level(z[i], b->levels[i], !b->hidden);
        basis *= b->levels[i];
    }
    return (int32_t)code;
}

/* Codes of codebook k, `use` apart -> back [n, S]. */
static void run_decoder(mert_fsq *q, int64_t k, const int32_t *codes, int64_t n, int64_t use)
{
    const mert_codebook *b = q->b;
    for (int64_t r = 0; r < n; r++) {
        int32_t code = codes[r * use + k];
        for (int64_t i = 0; i < b->width; i++) {
            q->z[r * b->width + i] = (float)mert_fsq_value(code % b->levels[i], b->levels[i]);
            code /= b->levels[i];
        }
    }
    mert_rows_pool(q->layer[k][MERT_FSQ_EXPAND], q->z, b->width, n, q->hidden, q->H, MERT_ROWS_GELU);
    mert_rows_pool(q->layer[k][MERT_FSQ_OUT], q->hidden, q->H, n, q->back, q->S, 0);
}

int mert_fsq_encode(mert_fsq *q, const float *x, int64_t n, int64_t use, int32_t *codes, int64_t *bad, mert_error *e)
{
    *bad = -1;
    if (make_room(q, n, e))
        return -1;
    memcpy(q->rest, x, (size_t)(n * q->S) * sizeof *x);
    for (int64_t k = 0; k < use; k++) {
        run_encoder(q, k, n);
        for (int64_t r = 0; r < n; r++)
            if ((codes[r * use + k] = code_of(q->b, q->z + r * q->b->width)) < 0) {
                *bad = r;
                return mert_fail(e, "a NaN, an infinity or a value too large to project");
            }
        if (!q->H || k + 1 == use)
            continue;
        run_decoder(q, k, codes, n, use);
        for (int64_t i = 0; i < n * q->S; i++)
            q->rest[i] -= q->back[i];
    }
    return 0;
}

int mert_fsq_decode(mert_fsq *q, const int32_t *codes, int64_t n, int64_t use, float *x, mert_error *e)
{
    if (make_room(q, n, e))
        return -1;
    memset(x, 0, (size_t)(n * q->S) * sizeof *x);
    for (int64_t k = 0; k < use; k++) {
        run_decoder(q, k, codes, n, use);
        for (int64_t i = 0; i < n * q->S; i++)
            x[i] += q->back[i];
    }
    return 0;
}
