#include "libcommon/teachers/encodec/seanet_lstm.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/vector.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* BLOCK_ROWS: rows of a block, of all lanes together; BLOCK_STEPS: the most steps. PATIENCE: how often a waiting thread
 * checks before it computes another thread's share; LONG_PATIENCE: before it yields the processor. */
enum { BLOCK_ROWS = 512, BLOCK_STEPS = 128, SHARES = 64, PATIENCE = 64, LONG_PATIENCE = 2048 };

/* The next step of a share that no thread has begun; on a cache line of its own. */
typedef struct share {
    _Alignas(64) int64_t next;
} share;

struct mert_seanet_lstm {
    const mert_seanet_stage *g;
    int64_t items, room;  /* lanes; rows of a block */
    float *rows[2];       /* [steps][lanes, W]: a layer's input and output, exchanged for each layer */
    float *before;        /* [lanes, W] h at the beginning of the block */
    float *gates;         /* [steps][lanes, 4 W] */
    /* the current block */
    mert_seanet_lane *lane;
    int64_t n, steps, at; /* lanes, steps, first row */
    int layer, shares;
    share of[SHARES];
    _Alignas(64) int64_t done; /* number of finished shares of all steps */
};

mert_seanet_lstm *mert_seanet_lstm_new(const mert_seanet_stage *g, int64_t items)
{
    mert_seanet_lstm *l = aligned_alloc(64, sizeof *l);
    if (!l)
        return NULL;
    memset(l, 0, sizeof *l);
    l->g = g;
    l->items = items;
    l->room = mert_larger(BLOCK_ROWS, 8 * items);
    for (int i = 0; i < 2; i++)
        l->rows[i] = mert_array(mert_array_count(l->room, g->width), sizeof(float));
    l->before = mert_array(mert_array_count(items, g->width), sizeof(float));
    l->gates = mert_array(mert_array_count(l->room, g->width), 4 * sizeof(float));
    if (l->rows[0] && l->rows[1] && l->before && l->gates)
        return l;
    mert_seanet_lstm_free(l);
    return NULL;
}

void mert_seanet_lstm_free(mert_seanet_lstm *l)
{
    if (!l)
        return;
    free(l->rows[0]);
    free(l->rows[1]);
    free(l->before);
    free(l->gates);
    free(l);
}

/* ---- steps ---- */

/* Computes the units of share s at step t, for all lanes: their columns of the recurrent product, then the gates. */
static void do_share(const mert_seanet_lstm *l, int64_t s, int64_t t)
{
    const mert_seanet_stage *g = l->g;
    int64_t W = g->width, width = mert_panel_width(4 * W), n = l->n;
    int64_t unit = W * s / l->shares, end = W * (s + 1) / l->shares;
    float *gates = l->gates + t * n * 4 * W, *y = l->rows[(l->layer + 1) % 2];
    const float *h = t ? y + (t - 1) * n * W : l->before;
    mert_panel_product p = mert_rows_product(g->recurrent[l->layer], h, W, n, gates, 4 * W, MERT_ROWS_ADD);
    if (l->shares == 1)
        mert_panels_run(&p);
    else { /* shares are divided at panels */
        unit = unit / width * width;
        end = end == W ? W : end / width * width;
        for (int64_t i = 0; i < 4; i++)
            mert_panels_part(&p, 0, n, (i * W + unit) / width, (i * W + end) / width);
    }
    for (int64_t j = 0; j < n; j++)
        MERT_VECTOR->lstm_gates(gates + j * 4 * W + unit, W, l->lane[j].state + (2 * l->layer + 1) * W + unit,
                                       y + (t * n + j) * W + unit, end - unit);
}

static int begin_share(mert_seanet_lstm *l, int64_t s, int64_t t)
{
    return __atomic_compare_exchange_n(&l->of[s].next, &t, t + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void look_again(int64_t looks)
{
    if (looks >= LONG_PATIENCE)
        sched_yield();
#if defined(__x86_64__)
    else
        __builtin_ia32_pause();
#endif
}

/* A thread's loop over all steps: it computes its own share of each, and the share of another thread that is late (has
 * no processor at the time), so that a step never waits for a share that was not begun. */
static void steps(void *arg, int64_t own, int worker)
{
    mert_seanet_lstm *l = arg;
    int64_t looks = 0;
    (void)worker;
    for (;;) {
        int64_t t = __atomic_load_n(&l->done, __ATOMIC_ACQUIRE) / l->shares, s = own;
        if (t == l->steps)
            return;
        if (!begin_share(l, s, t)) {
            for (s = 0; ++looks > PATIENCE && s < l->shares && !begin_share(l, s, t);)
                s++;
            if (looks <= PATIENCE || s == l->shares) {
                look_again(looks);
                continue;
            }
        }
        do_share(l, s, t);
        __atomic_fetch_add(&l->done, 1, __ATOMIC_ACQ_REL);
        looks = 0;
    }
}

/* ---- blocks ---- */

/* Copies the rows of the block, grouped by time step; or, with `back`, the results into the lanes. */
static void carry(mert_seanet_lstm *l, int back)
{
    int64_t W = l->g->width;
    for (int64_t i = 0; i < l->n; i++)
        for (int64_t t = 0; t < l->steps; t++) {
            float *x = l->lane[i].x + (l->at + t) * W, *row = l->rows[back ? l->g->layers % 2 : 0] + (t * l->n + i) * W;
            if (!back)
                memcpy(row, x, (size_t)W * sizeof *x);
            for (int64_t j = 0; back && j < W; j++)
                x[j] += row[j];
        }
}

static void run_layer(mert_seanet_lstm *l)
{
    int64_t W = l->g->width, n = l->n;
    const float *y = l->rows[(l->layer + 1) % 2];
    mert_rows_pool(l->g->input[l->layer], l->rows[l->layer % 2], W, l->steps * n, l->gates, 4 * W, 0);
    for (int64_t i = 0; i < n; i++)
        memcpy(l->before + i * W, l->lane[i].state + 2 * l->layer * W, (size_t)W * sizeof(float));
    for (int i = 0; i < l->shares; i++)
        l->of[i].next = 0;
    l->done = 0;
    mert_pool_run(l->shares, steps, l);
    for (int64_t i = 0; i < n; i++)
        memcpy(l->lane[i].state + 2 * l->layer * W, y + ((l->steps - 1) * n + i) * W, (size_t)W * sizeof(float));
}

static int longest_first(const void *pa, const void *pb)
{
    const mert_seanet_lane *a = pa, *b = pb;
    return (a->rows < b->rows) - (a->rows > b->rows);
}

void mert_seanet_lstm_run(mert_seanet_lstm *l, mert_seanet_lane *lane, int64_t n)
{
    int64_t W = l->g->width, width = mert_panel_width(4 * W), threads = mert_pool_threads();
    int64_t panels = W % width ? 1 : W / width;
    qsort(lane, (size_t)n, sizeof *lane, longest_first);
    l->lane = lane;
    l->shares = (int)(threads < panels ? threads : panels);
    l->shares = l->shares < SHARES ? l->shares : SHARES;
    for (l->at = 0;; l->at += l->steps) {
        while (n > 0 && lane[n - 1].rows == l->at)
            n--;
        if (!n)
            return;
        l->n = n;
        l->steps = mert_smaller(l->room / n, BLOCK_STEPS);
        if (l->steps > lane[n - 1].rows - l->at) /* a block ends when an item ends */
            l->steps = lane[n - 1].rows - l->at;
        carry(l, 0);
        for (l->layer = 0; l->layer < l->g->layers; l->layer++)
            run_layer(l);
        carry(l, 1);
    }
}
