#include "seanet_lstm.h"

#include "../base/pool.h"
#include "codes.h"

#include <stdlib.h>
#include <string.h>

/* Rows between two looks around; rows that a layer is behind the one below it. */
enum { BLOCK = 64, STEPS = 8 };

struct mert_seanet_lstm {
    const mert_seanet_stage *g;
    int64_t items;
    float *rows;          /* [layers + 1][items * BLOCK, W]: the input of layer l, and the output of the last */
    float *before;        /* [layers][items, W] h before the block */
    float *gates;         /* [layers][items * STEPS, 4 W] */
    /* the block in work */
    mert_seanet_lane *lane;
    int64_t n, group, at, wave; /* lanes, lanes of a group, first row, step of the pipeline */
};

mert_seanet_lstm *mert_seanet_lstm_new(const mert_seanet_stage *g, int64_t items)
{
    mert_seanet_lstm *l = calloc(1, sizeof *l);
    size_t W = (size_t)g->width, n = (size_t)items, layers = (size_t)g->layers;
    if (!l)
        return NULL;
    l->g = g;
    l->items = items;
    l->rows = malloc((layers + 1) * n * BLOCK * W * sizeof(float));
    l->before = malloc(layers * n * W * sizeof(float));
    l->gates = malloc(layers * n * STEPS * 4 * W * sizeof(float));
    if (l->rows && l->before && l->gates)
        return l;
    mert_seanet_lstm_free(l);
    return NULL;
}

void mert_seanet_lstm_free(mert_seanet_lstm *l)
{
    if (!l)
        return;
    free(l->rows);
    free(l->before);
    free(l->gates);
    free(l);
}

/* Lanes stand in order of their length, so those that still have rows come first. Of lanes [first, first + size). */
static int64_t active(const mert_seanet_lstm *l, int64_t first, int64_t size, int64_t t)
{
    int64_t n = 0;
    while (n < size && l->lane[first + n].rows > l->at + t)
        n++;
    return n;
}

/* Row t of lane j of a group of `size` lanes from `first`: time by time, lanes side by side. */
static float *row(const mert_seanet_lstm *l, int64_t layer, int64_t first, int64_t size, int64_t t, int64_t j)
{
    return l->rows + ((layer * l->items + first) * BLOCK + t * size + j) * l->g->width;
}

/* A layer of a group of lanes, the next STEPS rows; layer l is STEPS rows behind layer l - 1, so layers run side by
 * side. */
static void piece(void *arg, int64_t i, int worker)
{
    const mert_seanet_lstm *l = arg;
    const mert_seanet_stage *g = l->g;
    const mert_codes_kernels *v = MERT_CODES_KERNELS;
    int64_t W = g->width, layer = i % g->layers, first = i / g->layers * l->group;
    int64_t size = l->n - first < l->group ? l->n - first : l->group, from = (l->wave - layer) * STEPS;
    float *gates = l->gates + (layer * l->items + first) * STEPS * 4 * W;
    const float *h = l->before + (layer * l->items + first) * W;
    int64_t end = from + STEPS;
    (void)worker;
    if (from < 0 || from >= BLOCK)
        return;
    while (end > from && !active(l, first, size, end - 1))
        end--;
    if (end == from)
        return;
    if (active(l, first, size, end - 1) == size)
        mert_rows_apply(g->input[layer], row(l, layer, first, size, from, 0), W, (end - from) * size, gates, 4 * W, 0);
    else
        for (int64_t t = from; t < end; t++)
            mert_rows_apply(g->input[layer], row(l, layer, first, size, t, 0), W, active(l, first, size, t),
                            gates + (t - from) * size * 4 * W, 4 * W, 0);
    for (int64_t t = from; t < end; t++) {
        int64_t n = active(l, first, size, t);
        float *gate = gates + (t - from) * size * 4 * W;
        mert_rows_apply(g->recurrent[layer], t ? row(l, layer + 1, first, size, t - 1, 0) : h, W, n, gate, 4 * W,
                        MERT_ROWS_ADD);
        for (int64_t j = 0; j < n; j++)
            v->lstm_gates(gate + j * 4 * W, l->lane[first + j].state + (2 * layer + 1) * W,
                          row(l, layer + 1, first, size, t, j), W);
    }
}

/* Rows of the block into l->rows and h into l->before; or, `back`, the results into the lanes. */
static void carry(mert_seanet_lstm *l, int back)
{
    int64_t W = l->g->width, layers = l->g->layers;
    for (int64_t i = 0; i < l->n; i++) {
        mert_seanet_lane *lane = &l->lane[i];
        int64_t first = i / l->group * l->group, size = l->n - first < l->group ? l->n - first : l->group;
        int64_t n = lane->rows - l->at < BLOCK ? lane->rows - l->at : BLOCK;
        for (int64_t t = 0; t < n; t++) {
            float *x = lane->x + (l->at + t) * W;
            const float *y = row(l, layers, first, size, t, i - first);
            if (!back)
                memcpy(row(l, 0, first, size, t, i - first), x, (size_t)W * sizeof *x);
            for (int64_t j = 0; back && j < W; j++)
                x[j] += y[j];
        }
        for (int64_t k = 0; n > 0 && k < layers; k++) {
            float *h = lane->state + 2 * k * W;
            if (back)
                memcpy(h, row(l, k + 1, first, size, n - 1, i - first), (size_t)W * sizeof *h);
            else
                memcpy(l->before + (k * l->items + i) * W, h, (size_t)W * sizeof *h);
        }
    }
}

static int longest_first(const void *pa, const void *pb)
{
    const mert_seanet_lane *a = pa, *b = pb;
    return (a->rows < b->rows) - (a->rows > b->rows);
}

void mert_seanet_lstm_run(mert_seanet_lstm *l, mert_seanet_lane *lane, int64_t n)
{
    int64_t groups = mert_pool_threads() / l->g->layers;
    qsort(lane, (size_t)n, sizeof *lane, longest_first);
    l->lane = lane;
    l->at = 0;
    while (n > 0 && lane[n - 1].rows == 0)
        n--;
    while (n > 0) {
        l->n = n;
        groups = groups < 1 ? 1 : groups > n ? n : groups;
        l->group = (n + groups - 1) / groups;
        carry(l, 0);
        for (l->wave = 0; l->wave < BLOCK / STEPS + l->g->layers - 1; l->wave++)
            mert_pool_run((n + l->group - 1) / l->group * l->g->layers, piece, l);
        carry(l, 1);
        l->at += BLOCK;
        while (n > 0 && lane[n - 1].rows <= l->at)
            n--;
    }
}
