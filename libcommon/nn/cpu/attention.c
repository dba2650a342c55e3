/* Attention in tiles of queries and keys at fixed positions, with a running softmax (Milakov & Gimelshein 2018; Dao et
 * al. 2022), so that only the scores of one tile are in memory. The backward pass computes the scores again from q, k
 * and the stored log-sum. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/nn/cpu/vector.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { QUERIES = 120, KEYS = 256 }; /* 120: ten register tiles of rows */

/* c[m,n] = (add: +) alpha a[m,k] b(^T)[k,n] */
static void multiply(int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                     const float *b, int64_t ldb, int add, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k,
                alpha, a, (int)lda, b, (int)ldb, add ? 1.0f : 0.0f, c, (int)ldc);
}

/* Dropout of the probabilities of query t for the keys [k0, k0 + n). The random numbers do not depend on the tiles. */
static void drop(float *p, const mert_dropout_key *key, double rate, int64_t b, int64_t h, int64_t H, int64_t t,
                 int64_t T, int64_t k0, int64_t n)
{
    mert_random r = mert_random_key(key->seed, MERT_FOR_DROPOUT, key->place, (uint32_t)(b * H + h), key->site);
    MERT_VECTOR->dropout(p, r.key, r.counter, (uint32_t)(t * ((T + 3) / 4 * 4) + k0), (uint32_t)(rate * 4294967296.0),
                         (float)(1.0 / (1.0 - rate)), n);
}

/* Keys and values of one head, packed for products: K as weights [T, dh], V as the transpose of weights [dh, T]. Tiles
 * of keys begin where panels begin. */
typedef struct heads {
    const mert_attention_args *a;
    float *packed;      /* [B * H][keys + values] */
    float *largest;     /* largest score of each tile; NULL: not wanted */
    int64_t keys, values;
} heads;

static heads heads_of(const mert_attention_args *a)
{
    heads h = {.a = a,
               .keys = (a->T + MERT_PANEL - 1) / MERT_PANEL * MERT_PANEL * a->dh,
               .values = mert_packed_floats(a->dh, a->T)};
    return h;
}

static void pack_head(void *arg, int64_t i, int worker)
{
    const heads *all = arg;
    const mert_attention_args *a = all->a;
    int64_t h = i % a->H, b = i / a->H, at = b * a->T * a->ld + h * a->dh, W = mert_panel_width(a->dh);
    float *k = all->packed + i * (all->keys + all->values), *v = k + all->keys;
    (void)worker;
    for (int64_t t = 0; t < a->T; t += MERT_PANEL) /* one panel at a time, because their width must not depend on T */
        mert_pack_panels(k + t * a->dh, a->k + at + t * a->ld, a->ld, mert_smaller(a->T - t, MERT_PANEL), a->dh, 0, 1);
    for (int64_t c = 0; c < a->dh; c += W, v += a->T * W)
        for (int64_t t = 0; t < a->T; t++) {
            int64_t n = mert_smaller(a->dh - c, W);
            memcpy(v + t * W, a->v + at + t * a->ld + c, (size_t)n * sizeof(float));
            if (n < W)
                memset(v + t * W + n, 0, (size_t)(W - n) * sizeof(float));
        }
}

/* One task: a tile of queries of one head of one item. */
static void forward_tile(void *arg, int64_t i, int worker)
{
    const heads *all = arg;
    const mert_attention_args *a = all->a;
    int64_t tiles = (a->T + QUERIES - 1) / QUERIES, t0 = i % tiles * QUERIES, head = i / tiles, h = head % a->H,
            b = head / a->H;
    int64_t n = mert_smaller(a->T - t0, QUERIES), ldout = a->ldout ? a->ldout : a->ld, W = mert_panel_width(a->dh);
    const float *keys = all->packed + head * (all->keys + all->values), *values = keys + all->keys;
    float *s = mert_cpu_scratch(worker, QUERIES * KEYS), *out = a->out + (b * a->T + t0) * ldout + h * a->dh;
    float top[QUERIES];
    double sum[QUERIES];
    if (!s)
        return;
    for (int64_t r = 0; r < n; r++) {
        top[r] = -INFINITY;
        sum[r] = 0;
        memset(out + r * ldout, 0, (size_t)a->dh * sizeof(float));
    }
    for (int64_t k0 = 0; k0 < a->T; k0 += KEYS) {
        int64_t m = mert_smaller(a->T - k0, KEYS);
        mert_panel_product score = {.panels = keys + k0 * a->dh,
                                    .n = m,
                                    .k = a->dh,
                                    .width = MERT_PANEL,
                                    .m = n,
                                    .x = a->q + (b * a->T + t0) * a->ld + h * a->dh,
                                    .ldx = a->ld,
                                    .y = s,
                                    .ldy = KEYS,
                                    .alpha = a->scale};
        mert_panel_product mix = {.panels = values + k0 * W,
                                  .panel_step = a->T * W,
                                  .n = a->dh,
                                  .k = m,
                                  .m = n,
                                  .x = s,
                                  .ldx = KEYS,
                                  .y = out,
                                  .ldy = ldout,
                                  .flags = MERT_ROWS_ADD};
        mert_panels_run(&score);
        for (int64_t r = 0; r < n; r++) {
            float *p = s + r * KEYS, highest = MERT_VECTOR->max(p, m);
            if (highest > top[r]) {
                float shrink = expf(top[r] - highest);
                sum[r] *= shrink;
                MERT_VECTOR->scale(out + r * ldout, out + r * ldout, shrink, a->dh);
                top[r] = highest;
            }
            sum[r] += MERT_VECTOR->exp_sum(p, top[r], m);
            if (a->p > 0)
                drop(p, &a->key, a->p, b, h, a->H, t0 + r, a->T, k0, m);
        }
        mert_panels_run(&mix);
    }
    if (all->largest)
        all->largest[i] = MERT_VECTOR->max(top, n);
    for (int64_t r = 0; r < n; r++) {
        MERT_VECTOR->scale(out + r * ldout, out + r * ldout, (float)(1.0 / sum[r]), a->dh);
        if (a->lse)
            a->lse[(b * a->H + h) * a->T + t0 + r] = top[r] + (float)log(sum[r]);
    }
}

void mert_cpu_attention(const void *args)
{
    const mert_attention_args *a = args;
    heads h = heads_of(a);
    int64_t floats = a->B * a->H * (h.keys + h.values), tiles = a->B * a->H * ((a->T + QUERIES - 1) / QUERIES);
    h.packed = mert_cpu_shared_scratch((size_t)(floats + tiles));
    if (!h.packed)
        return;
    h.largest = a->largest ? h.packed + floats : NULL;
    mert_pool_run(a->B * a->H, pack_head, &h);
    mert_pool_run(tiles, forward_tile, &h);
    for (int64_t i = 0; h.largest && i < tiles; i++)
        *a->largest = h.largest[i] > *a->largest ? h.largest[i] : *a->largest;
}

/* One task: one head of one item. With P the probabilities, M the factors of the dropout, D = <dout, out> for each
 * query:
 *     dV = (P M)^T dout, dS = P (dout V^T M - D), dQ = scale dS K, dK = scale dS^T Q */
static void backward_head(void *arg, int64_t i, int worker)
{
    const mert_attention_backward_args *a = arg;
    int64_t h = i % a->H, b = i / a->H, at = b * a->T * a->ld + h * a->dh, ldout = a->ldout ? a->ldout : a->ld;
    float *s = mert_cpu_scratch(worker, 3 * QUERIES * KEYS), *ds, *factor;
    const float *lse = a->lse + (b * a->H + h) * a->T;
    if (!s)
        return;
    ds = s + QUERIES * KEYS;
    factor = ds + QUERIES * KEYS;
    for (int64_t t = 0; t < a->T; t++) {
        memset(a->dk + at + t * a->ld, 0, (size_t)a->dh * sizeof(float));
        memset(a->dv + at + t * a->ld, 0, (size_t)a->dh * sizeof(float));
    }
    for (int64_t t0 = 0; t0 < a->T; t0 += QUERIES) {
        int64_t n = mert_smaller(a->T - t0, QUERIES);
        const float *q = a->q + at + t0 * a->ld, *dout = a->dout + (b * a->T + t0) * ldout + h * a->dh;
        const float *out = a->out + (dout - a->dout);
        float *dq = a->dq + at + t0 * a->ld, d[QUERIES];
        for (int64_t r = 0; r < n; r++)
            d[r] = (float)MERT_VECTOR->dot(dout + r * ldout, out + r * ldout, a->dh);
        for (int64_t k0 = 0; k0 < a->T; k0 += KEYS) {
            int64_t m = mert_smaller(a->T - k0, KEYS);
            const float *k = a->k + at + k0 * a->ld;
            multiply(0, 1, n, m, a->dh, a->scale, q, a->ld, k, a->ld, 0, s, KEYS);
            multiply(0, 1, n, m, a->dh, 1, dout, ldout, a->v + at + k0 * a->ld, a->ld, 0, ds, KEYS);
            for (int64_t r = 0; r < n; r++) {
                MERT_VECTOR->exp_sum(s + r * KEYS, lse[t0 + r], m);
                if (a->p > 0) {
                    float *f = factor + r * KEYS;
                    memcpy(f, s + r * KEYS, (size_t)m * sizeof(float));
                    drop(f, &a->key, a->p, b, h, a->H, t0 + r, a->T, k0, m);
                    drop(ds + r * KEYS, &a->key, a->p, b, h, a->H, t0 + r, a->T, k0, m);
                }
                MERT_VECTOR->softmax_backward(ds + r * KEYS, s + r * KEYS, d[r], m);
            }
            multiply(1, 0, m, a->dh, n, 1, a->p > 0 ? factor : s, KEYS, dout, ldout, 1, a->dv + at + k0 * a->ld, a->ld);
            multiply(0, 0, n, a->dh, m, a->scale, ds, KEYS, k, a->ld, k0 > 0, dq, a->ld);
            multiply(1, 0, m, a->dh, n, a->scale, ds, KEYS, q, a->ld, 1, a->dk + at + k0 * a->ld, a->ld);
        }
    }
}

void mert_cpu_attention_backward(const void *args)
{
    const mert_attention_backward_args *a = args;
    mert_pool_run(a->B * a->H, backward_head, (void *)args);
}
