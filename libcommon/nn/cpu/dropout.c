/* Dropout, and the operations that contain it: GELU, and the end of a residual branch (dropout, residual, LayerNorm).
 * The elements of an item are divided at multiples of 4, because one block of random numbers is used for four
 * elements. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

enum { PIECE = 1 << 15, ROWS = 32 };

/* x: elements [first, first + n) of item b. */
static void drop(float *x, double p, const mert_dropout_key *key, int64_t b, int64_t first, int64_t n)
{
    mert_random r = mert_random_key(key->seed, MERT_FOR_DROPOUT, key->place, (uint32_t)b, key->site);
    MERT_VECTOR->dropout(x, r.key, r.counter, (uint32_t)first, (uint32_t)(p * 4294967296.0),
                         (float)(1.0 / (1.0 - p)), n);
}

/* A part of an item: elements or rows [first, first + n) of item b; at: position of the first of them in the array. */
typedef struct piece { int64_t b, first, n, at; } piece;

static int64_t pieces_of(int64_t n)
{
    return (n + PIECE - 1) / PIECE;
}

static piece piece_of(int64_t i, int64_t n)
{
    piece p = {.b = i / pieces_of(n), .first = i % pieces_of(n) * PIECE};
    p.n = n - p.first < PIECE ? n - p.first : PIECE;
    p.at = p.b * n + p.first;
    return p;
}

static void dropout_piece(void *arg, int64_t i, int worker)
{
    const mert_dropout_args *a = arg;
    piece p = piece_of(i, a->n);
    (void)worker;
    drop(a->x + p.at, a->p, &a->key, p.b, p.first, p.n);
}

void mert_cpu_dropout(const void *args)
{
    const mert_dropout_args *a = args;
    if (a->p > 0 && a->n > 0)
        mert_pool_run(a->B * pieces_of(a->n), dropout_piece, (void *)args);
}

/* ---- GELU ---- */

static int64_t items(int64_t B)
{
    return B > 0 ? B : 1;
}

static void gelu_piece(void *arg, int64_t i, int worker)
{
    const mert_gelu_args *a = arg;
    piece p = piece_of(i, a->n / items(a->B));
    float *y = a->y + p.at;
    const float *residual = a->residual ? a->residual + p.at : NULL;
    (void)worker;
    MERT_VECTOR->gelu(y, a->x + p.at, a->p > 0 ? NULL : residual, p.n);
    if (a->p > 0) {
        drop(y, a->p, &a->key, p.b, p.first, p.n);
        if (residual)
            MERT_VECTOR->axpy(y, residual, 1.0f, p.n);
    }
}

void mert_cpu_gelu(const void *args)
{
    const mert_gelu_args *a = args;
    if (a->n > 0)
        mert_pool_run(items(a->B) * pieces_of(a->n / items(a->B)), gelu_piece, (void *)args);
}

static void gelu_backward_piece(void *arg, int64_t i, int worker)
{
    const mert_gelu_backward_args *a = arg;
    piece p = piece_of(i, a->n / items(a->B));
    const float *dy = a->dy + p.at;
    if (a->p > 0) {
        float *dropped = mert_cpu_scratch(worker, PIECE);
        if (!dropped)
            return;
        memcpy(dropped, dy, (size_t)p.n * sizeof *dropped);
        drop(dropped, a->p, &a->key, p.b, p.first, p.n);
        dy = dropped;
    }
    MERT_VECTOR->gelu_backward(a->dx + p.at, dy, a->x + p.at, p.n);
}

void mert_cpu_gelu_backward(const void *args)
{
    const mert_gelu_backward_args *a = args;
    if (a->n <= 0)
        return;
    mert_pool_run(items(a->B) * pieces_of(a->n / items(a->B)), gelu_backward_piece, (void *)args);
    if (a->sums)
        mert_cpu_column_sum(&(mert_column_sum_args){.sums = a->sums, .x = a->dx, .rows = a->n / a->columns,
                                                    .columns = a->columns, .ldx = a->columns});
}

/* ---- the end of a residual branch ---- */

/* A part of an item, in rows. */
static piece rows_of(int64_t i, int64_t T)
{
    int64_t per = (T + ROWS - 1) / ROWS;
    piece p = {.b = i / per, .first = i % per * ROWS};
    p.n = T - p.first < ROWS ? T - p.first : ROWS;
    p.at = p.b * T + p.first;
    return p;
}

static void add_norm_rows(void *arg, int64_t i, int worker)
{
    const mert_add_norm_args *a = arg;
    piece p = rows_of(i, a->T);
    int64_t at = p.at * a->D, n = p.n * a->D;
    float *s = a->s + at;
    (void)worker;
    if (a->s != a->x)
        memcpy(s, a->x + at, (size_t)n * sizeof *s);
    if (a->p > 0)
        drop(s, a->p, &a->key, p.b, p.first * a->D, n);
    MERT_VECTOR->axpy(s, a->residual + at, a->scale == 0 ? 1.0f : a->scale, n);
    for (int64_t r = 0; a->y && r < p.n; r++)
        MERT_VECTOR->layer_norm(a->y + at + r * a->D, s + r * a->D, a->w, a->b, a->D, a->eps,
                                a->mean ? a->mean + p.at + r : NULL, a->rstd ? a->rstd + p.at + r : NULL);
}

void mert_cpu_add_norm(const void *args)
{
    const mert_add_norm_args *a = args;
    mert_pool_run(a->B * ((a->T + ROWS - 1) / ROWS), add_norm_rows, (void *)args);
}

/* The sums are those of dx, and dresidual is all that there is of it until it is scaled. */
static int sums_come_first(const mert_add_norm_backward_args *a)
{
    return a->sums && !a->dx;
}

static void add_norm_backward_rows(void *arg, int64_t i, int worker)
{
    const mert_add_norm_backward_args *a = arg;
    piece p = rows_of(i, a->T);
    int64_t at = p.at * a->D, n = p.n * a->D;
    float *g = a->dresidual + at, scale = a->scale == 0 ? 1.0f : a->scale;
    const float *dy = a->dy + at;
    (void)worker;
    if (a->w)
        for (int64_t r = 0; r < p.n; r++)
            MERT_VECTOR->layer_norm_backward(g + r * a->D, dy + r * a->D, a->s + at + r * a->D, a->w,
                                             a->mean[p.at + r], a->rstd[p.at + r], a->D, a->add);
    else if (a->add)
        MERT_VECTOR->axpy(g, dy, 1.0f, n);
    else if (g != dy)
        memcpy(g, dy, (size_t)n * sizeof *g);
    if (a->dx) {
        memcpy(a->dx + at, g, (size_t)n * sizeof *g);
        if (a->p > 0)
            drop(a->dx + at, a->p, &a->key, p.b, p.first * a->D, n);
    }
    if (scale != 1.0f && !sums_come_first(a))
        MERT_VECTOR->scale(g, g, scale, n);
}

void mert_cpu_add_norm_backward(const void *args)
{
    const mert_add_norm_backward_args *a = args;
    int64_t rows = a->B * a->T;
    float scale = a->scale == 0 ? 1.0f : a->scale;
    if (a->w) /* parameters first, because the results may be written over dy */
        mert_cpu_layer_norm_backward(&(mert_layer_norm_backward_args){
            .dw = a->dw, .db = a->db, .dy = (float *)(uintptr_t)a->dy, .x = a->s, .w = a->w, .mean = a->mean,
            .rstd = a->rstd, .rows = rows, .columns = a->D});
    mert_pool_run(a->B * ((a->T + ROWS - 1) / ROWS), add_norm_backward_rows, (void *)args);
    if (a->sums)
        mert_cpu_column_sum(&(mert_column_sum_args){.sums = a->sums, .x = a->dx ? a->dx : a->dresidual, .rows = rows,
                                                    .columns = a->D, .ldx = a->D});
    if (scale != 1.0f && sums_come_first(a))
        MERT_VECTOR->scale(a->dresidual, a->dresidual, scale, rows * a->D);
}
