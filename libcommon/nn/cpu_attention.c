/* Attention in tiles of queries and keys at fixed positions, with a running softmax (Milakov & Gimelshein 2018; Dao et al. 2022): the scores
 * of one tile exist at a time. The backward pass makes them again from q, k and the kept log-sum. */
#include "cpu.h"

#include "../base/pool.h"
#include "../base/random.h"
#include "vector.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { QUERIES = 128, KEYS = 256 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* c[m,n] = (add: +) alpha a[m,k] b(^T)[k,n] */
static void multiply(int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                     int add, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, alpha, a, (int)lda, b,
                (int)ldb, add ? 1.0f : 0.0f, c, (int)ldc);
}

/* Dropout of the probability of query t for keys [k0, k0 + n): its number does not depend on the tiles. */
static void drop(float *p, const mert_dropout_key *key, double rate, int64_t b, int64_t h, int64_t H, int64_t t, int64_t T, int64_t k0, int64_t n)
{
    mert_random r = mert_random_key(key->seed, MERT_FOR_DROPOUT, key->place, (uint32_t)(b * H + h), key->site);
    MERT_VECTOR->dropout(p, r.key, r.counter, (uint32_t)(t * ((T + 3) / 4 * 4) + k0), (uint32_t)(rate * 4294967296.0),
                         (float)(1.0 / (1.0 - rate)), n);
}

/* One task: one tile of queries of one head of one item. */
static void forward_tile(void *arg, int64_t i, int worker)
{
    const mert_attention_args *a = arg;
    int64_t tiles = (a->T + QUERIES - 1) / QUERIES, t0 = i % tiles * QUERIES, h = i / tiles % a->H, b = i / tiles / a->H;
    int64_t n = smaller(a->T - t0, QUERIES), at = b * a->T * a->ld + h * a->dh;
    float *s = mert_cpu_scratch(worker, QUERIES * KEYS), *out = a->out + at + t0 * a->ld;
    float top[QUERIES];
    double sum[QUERIES];
    for (int64_t r = 0; r < n; r++) {
        top[r] = -INFINITY;
        sum[r] = 0;
        memset(out + r * a->ld, 0, (size_t)a->dh * sizeof(float));
    }
    for (int64_t k0 = 0; k0 < a->T; k0 += KEYS) {
        int64_t m = smaller(a->T - k0, KEYS);
        multiply(0, 1, n, m, a->dh, a->scale, a->q + at + t0 * a->ld, a->ld, a->k + at + k0 * a->ld, a->ld, 0, s, KEYS);
        for (int64_t r = 0; r < n; r++) {
            float *p = s + r * KEYS, highest = MERT_VECTOR->max(p, m);
            if (highest > top[r]) {
                float shrink = expf(top[r] - highest);
                sum[r] *= shrink;
                MERT_VECTOR->scale(out + r * a->ld, out + r * a->ld, shrink, a->dh);
                top[r] = highest;
            }
            sum[r] += MERT_VECTOR->exp_sum(p, top[r], m);
            if (a->p > 0)
                drop(p, &a->key, a->p, b, h, a->H, t0 + r, a->T, k0, m);
        }
        multiply(0, 0, n, a->dh, m, 1, s, KEYS, a->v + at + k0 * a->ld, a->ld, 1, out, a->ld);
    }
    for (int64_t r = 0; r < n; r++) {
        MERT_VECTOR->scale(out + r * a->ld, out + r * a->ld, (float)(1.0 / sum[r]), a->dh);
        if (a->lse)
            a->lse[(b * a->H + h) * a->T + t0 + r] = top[r] + (float)log(sum[r]);
    }
}

void mert_cpu_attention(const void *args)
{
    const mert_attention_args *a = args;
    mert_pool_run(a->B * a->H * ((a->T + QUERIES - 1) / QUERIES), forward_tile, (void *)args);
}

/* One task: one head of one item. With P the probabilities, M the dropout's factors, D = <dout, out> by query:
 * dV = (P M)^T dout, dS = P (dout V^T M - D), dQ = scale dS K, dK = scale dS^T Q. */
static void backward_head(void *arg, int64_t i, int worker)
{
    const mert_attention_backward_args *a = arg;
    int64_t h = i % a->H, b = i / a->H, at = b * a->T * a->ld + h * a->dh;
    float *s = mert_cpu_scratch(worker, 3 * QUERIES * KEYS), *ds = s + QUERIES * KEYS, *factor = ds + QUERIES * KEYS;
    const float *lse = a->lse + (b * a->H + h) * a->T;
    for (int64_t t = 0; t < a->T; t++) {
        memset(a->dk + at + t * a->ld, 0, (size_t)a->dh * sizeof(float));
        memset(a->dv + at + t * a->ld, 0, (size_t)a->dh * sizeof(float));
    }
    for (int64_t t0 = 0; t0 < a->T; t0 += QUERIES) {
        int64_t n = smaller(a->T - t0, QUERIES);
        const float *q = a->q + at + t0 * a->ld, *dout = a->dout + at + t0 * a->ld;
        float *dq = a->dq + at + t0 * a->ld, d[QUERIES];
        for (int64_t r = 0; r < n; r++)
            d[r] = (float)MERT_VECTOR->dot(dout + r * a->ld, a->out + at + (t0 + r) * a->ld, a->dh);
        for (int64_t k0 = 0; k0 < a->T; k0 += KEYS) {
            int64_t m = smaller(a->T - k0, KEYS);
            const float *k = a->k + at + k0 * a->ld;
            multiply(0, 1, n, m, a->dh, a->scale, q, a->ld, k, a->ld, 0, s, KEYS);
            multiply(0, 1, n, m, a->dh, 1, dout, a->ld, a->v + at + k0 * a->ld, a->ld, 0, ds, KEYS);
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
            multiply(1, 0, m, a->dh, n, 1, a->p > 0 ? factor : s, KEYS, dout, a->ld, 1, a->dv + at + k0 * a->ld, a->ld);
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
