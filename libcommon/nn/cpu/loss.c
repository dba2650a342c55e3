/* Cosines, cross entropy, squared error, clipping, and the step of the optimiser. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 16, PIECE = 1 << 16 };

/* Work in blocks. Their partial sums are added in order, so the result does not depend on the threads. */
typedef struct blocks {
    const void *args;
    double (*sums)[3];
    double scale;
} blocks;

static int64_t count_blocks(int64_t n, int64_t block)
{
    return (n + block - 1) / block;
}

static double (*new_sums(int64_t n))[3]
{
    double(*s)[3] = calloc((size_t)(n > 0 ? n : 1), sizeof *s);
    if (!s)
        mert_pool_lacks((size_t)n * sizeof *s);
    return s;
}

/* ---- unit vectors ---- */

static void normalize_rows(void *arg, int64_t i, int worker)
{
    const mert_normalize_args *a = arg;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++) {
        double norm = sqrt(MERT_VECTOR->dot(a->x + r * a->ld, a->x + r * a->ld, a->D));
        norm = norm > 1e-8 ? norm : 1e-8;
        MERT_VECTOR->scale(a->y + r * a->ld, a->x + r * a->ld, (float)(1.0 / norm), a->D);
        if (a->norm)
            a->norm[r] = (float)norm;
    }
}

void mert_cpu_normalize(const void *args)
{
    mert_pool_run(count_blocks(((const mert_normalize_args *)args)->rows, ROWS), normalize_rows, (void *)args);
}

/* dx = (dy - y <y, dy>) / |x| */
static void normalize_backward_rows(void *arg, int64_t i, int worker)
{
    const mert_normalize_backward_args *a = arg;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++) {
        const float *dy = a->dy + r * a->D, *y = a->y + r * a->ld;
        float *dx = (a->gradient ? a->gradient : a->dx) + r * a->ld;
        float inner = (float)MERT_VECTOR->dot(dy, y, a->D), f = 1.0f / a->norm[r];
        if (a->add)
            for (int64_t d = 0; d < a->D; d++)
                dx[d] += f * (dy[d] - y[d] * inner);
        else
            for (int64_t d = 0; d < a->D; d++)
                dx[d] = f * (dy[d] - y[d] * inner);
    }
}

void mert_cpu_normalize_backward(const void *args)
{
    mert_pool_run(count_blocks(((const mert_normalize_backward_args *)args)->rows, ROWS), normalize_backward_rows,
                  (void *)args);
}

/* ---- cross entropy ---- */

/* sums: loss, correct, d loss / d s */
static void cross_entropy_rows(void *arg, int64_t i, int worker)
{
    const blocks *w = arg;
    const mert_cross_entropy_args *a = w->args;
    float *p = mert_cpu_scratch(worker, (size_t)a->V), s = (float)w->scale, weight = a->weight == 0 ? 1.0f : a->weight;
    if (!p)
        return;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++) {
        float *cosine = a->logits + r * (a->ld ? a->ld : a->V), top;
        int64_t target = a->target[r], ties = 0, best = 0;
        double sum, slope;
        MERT_VECTOR->scale(p, cosine, s, a->V);
        top = MERT_VECTOR->max(p, a->V);
        w->sums[i][0] += top - (double)p[target];
        for (int64_t v = 0; v < a->V; v++) {
            ties += p[v] == top;
            best = p[v] == top ? v : best;
        }
        if (a->predicted && ties == 1)
            __atomic_fetch_add(&a->predicted[best], 1, __ATOMIC_RELAXED); /* of all workers */
        w->sums[i][1] += p[target] == top && ties == 1;
        sum = MERT_VECTOR->exp_sum(p, top, a->V);
        w->sums[i][0] += log(sum);
        if (!a->grad)
            continue;
        MERT_VECTOR->scale(p, p, (float)(1.0 / sum), a->V);
        p[target] -= 1.0f;
        slope = MERT_VECTOR->dot(p, cosine, a->V);
        w->sums[i][2] += slope * weight;
        MERT_VECTOR->scale(cosine, p, s * weight, a->V);
    }
}

static void one_codebook(const mert_cross_entropy_args *a)
{
    int64_t n = count_blocks(a->rows, ROWS);
    blocks w = {a, new_sums(n), a->scale};
    double slope = 0;
    if (!w.sums)
        return;
    if (a->log_temperature) {
        w.scale = exp((double)*a->log_temperature);
        w.scale = w.scale < 100 ? w.scale : 100;
    }
    mert_pool_run(n, cross_entropy_rows, &w);
    for (int64_t i = 0; i < n; i++) {
        a->sums[0] += w.sums[i][0];
        a->sums[1] += w.sums[i][1];
        slope += w.sums[i][2];
    }
    if (a->dtemperature && a->log_temperature && exp((double)*a->log_temperature) < 100)
        *a->dtemperature += (float)(slope * w.scale); /* ds/dtheta = s */
    free(w.sums);
}

void mert_cpu_cross_entropy(const void *args)
{
    mert_cross_entropy_args a = *(const mert_cross_entropy_args *)args;
    for (int64_t k = 0; k == 0 || k < a.count; k++) {
        one_codebook(&a);
        a.logits += a.rows * (a.ld ? a.ld : a.V);
        a.target += a.rows;
        a.sums += 2;
        a.predicted = a.predicted ? a.predicted + a.V : NULL;
        a.log_temperature += a.log_temperature != NULL;
        a.dtemperature += a.dtemperature != NULL;
    }
}

/* ---- sums of squares ---- */

static void squared_error_piece(void *arg, int64_t i, int worker)
{
    const blocks *w = arg;
    const mert_squared_error_args *a = w->args;
    int64_t first = i * PIECE, n = a->n - first < PIECE ? a->n - first : PIECE;
    double sum = 0;
    (void)worker;
    for (int64_t j = first; j < first + n; j++) {
        float d = a->x[j] - a->y[j];
        sum += (double)d * d;
        if (a->dx)
            a->dx[j] = a->factor * d;
    }
    w->sums[i][0] = sum;
}

void mert_cpu_squared_error(const void *args)
{
    const mert_squared_error_args *a = args;
    int64_t n = count_blocks(a->n, PIECE);
    blocks w = {args, new_sums(n), 0};
    if (!w.sums)
        return;
    mert_pool_run(n, squared_error_piece, &w);
    for (int64_t i = 0; i < n; i++)
        *a->sum += w.sums[i][0];
    free(w.sums);
}

static void sum_squares_piece(void *arg, int64_t i, int worker)
{
    const blocks *w = arg;
    const mert_sum_squares_args *a = w->args;
    int64_t first = i * PIECE;
    const float *x = (a->elements ? a->elements : a->x) + first;
    (void)worker;
    w->sums[i][0] = MERT_VECTOR->dot(x, x, a->n - first < PIECE ? a->n - first : PIECE);
}

void mert_cpu_sum_squares(const void *args)
{
    const mert_sum_squares_args *a = args;
    int64_t n = count_blocks(a->n, PIECE);
    blocks w = {args, new_sums(n), 0};
    if (!w.sums)
        return;
    mert_pool_run(n, sum_squares_piece, &w);
    for (int64_t i = 0; i < n; i++)
        *a->sum += w.sums[i][0];
    free(w.sums);
}

/* ---- gated linear unit ---- */

static void glu_rows(void *arg, int64_t i, int worker)
{
    const mert_glu_args *a = arg;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++)
        MERT_VECTOR->glu(a->y + r * a->D, a->x + 2 * r * a->D, a->x + (2 * r + 1) * a->D, a->D);
}

void mert_cpu_glu(const void *args)
{
    mert_pool_run(count_blocks(((const mert_glu_args *)args)->rows, ROWS), glu_rows, (void *)args);
}

static void glu_backward_rows(void *arg, int64_t i, int worker)
{
    const mert_glu_backward_args *a = arg;
    (void)worker;
    for (int64_t r = i * ROWS; r < (i + 1) * ROWS && r < a->rows; r++)
        MERT_VECTOR->glu_backward(a->dx + 2 * r * a->D, a->dx + (2 * r + 1) * a->D, a->dy + r * a->D,
                                  a->x + 2 * r * a->D, a->x + (2 * r + 1) * a->D, a->D);
}

void mert_cpu_glu_backward(const void *args)
{
    mert_pool_run(count_blocks(((const mert_glu_backward_args *)args)->rows, ROWS), glu_backward_rows, (void *)args);
}

/* ---- the update ---- */

void mert_cpu_clip(const void *args)
{
    const mert_clip_args *a = args;
    mert_clipping c = {.norm = sqrt(*a->squares) * a->scale, .factor = a->scale};
    c.finite = isfinite(c.norm) != 0;
    for (int64_t i = 0; i < a->n; i++)
        c.finite &= isfinite(a->also[i]) != 0;
    if (a->clip_norm > 0 && c.norm + a->slack > a->clip_norm)
        c.factor *= a->clip_norm / (c.norm + a->slack);
    *a->to = c;
}

static void adam_piece(void *arg, int64_t i, int worker)
{
    const mert_adam_args *a = arg;
    int64_t first = i * PIECE;
    const float beta[4] = {(float)a->beta1, (float)(1 - a->beta1), (float)a->beta2, (float)(1 - a->beta2)};
    (void)worker;
    MERT_VECTOR->adam(a->w + first, a->m + first, a->v + first, a->g + first,
                      a->n - first < PIECE ? a->n - first : PIECE, (float)a->gradient_scale,
                      (float)(a->weight_decay * a->lr), (float)a->step, beta, (float)a->eps);
}

void mert_cpu_adam(const void *args)
{
    mert_adam_args a = *(const mert_adam_args *)args;
    if (a.clipping && !a.clipping->finite)
        return;
    if (a.clipping)
        a.gradient_scale = a.clipping->factor;
    mert_pool_run(count_blocks(a.n, PIECE), adam_piece, &a);
}
