#include "libcommon/train/head.h"

#include "libcommon/nn/conv.h"
#include "libcommon/probe/targets.h"

#include <string.h>

enum { PAIR = 8 }; /* row stride of pairs of scores: whole 16 bytes */

int mert_head_open(mert_head *h, const mert_layout *layout, mert_ops *ops, const mert_groups *groups,
                   const mert_task_config *config, double *sums, mert_error *e)
{
    const mert_config *c = &layout->config;
    *h = (mert_head){.layout = layout, .ops = ops, .groups = groups, .config = *config, .sums = sums};
    h->layers = c->task_layers;
    h->top = config->layer < 0 ? c->layers : config->layer;
    mert_arena_open(&h->arena, ops);
    return h->top > c->layers ? mert_fail(e, "task_layer %d: the model has hidden states 0 to %d", h->top, c->layers)
                              : 0;
}

void mert_head_close(mert_head *h)
{
    if (h->ops)
        mert_arena_close(&h->arena);
    h->ops = NULL;
}

static const float *weight(const mert_head *h, const char *name)
{
    return mert_groups_weight(h->groups, mert_layout_offset(h->layout, "task.%s", name));
}

static float *gradient(const mert_head *h, const char *name)
{
    return mert_groups_gradient(h->groups, mert_layout_offset(h->layout, "task.%s", name));
}

static mert_element *take(mert_head *h, int64_t n)
{
    return mert_arena_elements(&h->arena, n);
}

static int no_room(const mert_head *h, mert_error *e)
{
    return h->arena.failed ? mert_fail(e, "out of memory for the head of %lld examples", (long long)h->batch.n) : 0;
}

/* ---- means of frames ---- */

/* Which of the head's hidden states this one is; -1: none. */
static int place_of(const mert_head *h, int layer)
{
    return h->config.layer < 0 ? layer : layer == h->config.layer ? 0 : -1;
}

static int collect(void *self, int layer, const mert_element *y)
{
    mert_head *h = self;
    const mert_head_batch *b = &h->batch;
    int64_t D = h->layout->config.width;
    int at = place_of(h, layer);
    for (int64_t clip = 0; at >= 0 && clip < b->B; clip++) {
        int64_t first = b->first[clip], n = b->first[clip + 1] - first;
        if (n)
            mert_gemm(h->ops, .M = n, .N = D, .K = b->T, .a = mert_const_at(h->ops, h->share, first * b->T),
                      .lda = b->T, .b = mert_const_at(h->ops, y, clip * b->T * D), .ldb = D,
                      .c = mert_at(h->ops, h->pooled, (at * b->n + first) * D), .ldc = D);
    }
    return layer == h->top;
}

static void spread(void *self, int layer, mert_element *dy)
{
    mert_head *h = self;
    const mert_head_batch *b = &h->batch;
    int64_t D = h->layout->config.width;
    int at = place_of(h, layer);
    for (int64_t clip = 0; at >= 0 && clip < b->B; clip++) {
        int64_t first = b->first[clip], n = b->first[clip + 1] - first;
        if (n)
            mert_gemm(h->ops, .M = b->T, .N = D, .K = n, .a = mert_const_at(h->ops, h->share, first * b->T), .ta = 1,
                      .lda = b->T, .b = mert_const_at(h->ops, h->dpooled, (at * b->n + first) * D), .ldb = D,
                      .c = mert_at(h->ops, dy, clip * b->T * D), .ldc = D, .add = 1);
    }
}

mert_gradient_tap mert_head_gradient(mert_head *h)
{
    return (mert_gradient_tap){spread, h};
}

int mert_head_begin(mert_head *h, const mert_head_batch *b, mert_layer_tap *tap, mert_error *e)
{
    int64_t D = h->layout->config.width;
    mert_arena_reset(&h->arena);
    h->batch = *b;
    h->pooled = take(h, h->layers * b->n * D);
    h->dpooled = take(h, h->layers * b->n * D);
    h->scores = take(h, b->n * h->layout->config.task_outputs);
    h->share = mert_arena_rounded(&h->arena, b->share, b->n * b->T);
    *tap = (mert_layer_tap){collect, h};
    return no_room(h, e);
}

/* ---- losses ---- */

/* The binary cross entropies of labels are those of two classes, with scores 0 and s. */
static void binary(mert_head *h, int64_t n, double weight, mert_element *ds)
{
    mert_element *pairs = take(h, n * PAIR);
    if (h->arena.failed)
        return;
    mert_clear(h->ops, .to = pairs, .bytes = mert_element_bytes(h->ops, n * PAIR));
    mert_copy_2d(h->ops, .to = mert_at(h->ops, pairs, 1), .ldto = PAIR, .from = h->scores, .ldfrom = 1, .rows = n,
                 .columns = 1);
    mert_cross_entropy(h->ops, .logits = pairs, .target = h->batch.labels, .sums = h->sums, .rows = n, .V = 2,
                       .ld = PAIR, .scale = 1, .weight = (float)weight, .grad = ds != NULL);
    if (ds)
        mert_copy_2d(h->ops, .to = ds, .ldto = 1, .from = mert_at(h->ops, pairs, 1), .ldfrom = PAIR, .rows = n,
                     .columns = 1);
}

/* The losses of the scores and (ds [n, C] not NULL) their gradient. */
static void losses(mert_head *h, double weight, mert_element *ds)
{
    int64_t n = h->batch.n, C = h->layout->config.task_outputs;
    if (h->config.kind == MERT_PROBE_MULTILABEL)
        binary(h, n * C, weight, ds);
    else if (h->config.kind == MERT_PROBE_REGRESS)
        mert_squared_error(h->ops, .dx = ds, .sum = h->sums, .x = h->scores, .y = h->batch.numbers, .n = n * C,
                           .factor = (float)weight);
    else {
        mert_element *own = ds ? ds : h->scores; /* gradients take the scores' place */
        if (ds)
            mert_copy(h->ops, .to = ds, .from = h->scores, .bytes = mert_element_bytes(h->ops, n * C));
        mert_cross_entropy(h->ops, .logits = own, .target = h->batch.labels, .sums = h->sums, .rows = n, .V = C,
                           .ld = C, .scale = 1, .weight = (float)weight, .grad = ds != NULL);
    }
}

/* ---- from means to scores, and back ---- */

/* x [n, D] of one hidden state, times its scale, plus (shifted) its shift. */
static void rescale(mert_head *h, int at, int shifted, const mert_element *x, mert_element *to)
{
    int64_t D = h->layout->config.width;
    mert_depthwise_conv(h->ops, .y = to, .x = x, .w = weight(h, "scale") + at * D,
                        .bias = shifted ? weight(h, "shift") + at * D : NULL, .B = 1, .T = h->batch.n, .C = D,
                        .kernel = 1);
}

typedef struct steps {
    int64_t n, D, H, C, I;                    /* I: what the output is given, H or D */
    const mert_element *mixture, *hidden, *output; /* weights */
    mert_element *z, *x, *pre, *act;          /* act: what the output is given */
} steps;

static void forward(mert_head *h, steps *s)
{
    const mert_head_batch *b = &h->batch;
    for (int l = 0; l < h->layers; l++)
        rescale(h, l, 1, mert_const_at(h->ops, h->pooled, l * s->n * s->D), mert_at(h->ops, s->z, l * s->n * s->D));
    if (h->layers > 1)
        mert_gemm(h->ops, .M = 1, .N = s->n * s->D, .K = h->layers, .a = s->mixture, .lda = h->layers, .b = s->z,
                  .ldb = s->n * s->D, .c = s->x, .ldc = s->n * s->D);
    if (b->dropout > 0)
        mert_dropout(h->ops, .x = s->x, .B = s->n, .n = s->D, .p = b->dropout, .key = b->key);
    if (s->H) {
        mert_linear(h->ops, s->n, s->D, s->H, s->x, s->hidden, weight(h, "hidden.bias"), NULL, 0, NULL, s->pre);
        mert_gelu(h->ops, .y = s->act, .x = s->pre, .n = s->n * s->H);
    }
    mert_linear(h->ops, s->n, s->I, s->C, s->act, s->output, weight(h, "output.bias"), NULL, 0, NULL, h->scores);
}

/* ds [n, C], dx [n, D], dact [n, I]; dx may be dact. */
static void backward(mert_head *h, const steps *s, const mert_element *ds, mert_element *dact, mert_element *dx,
                     mert_element *dz)
{
    const mert_head_batch *b = &h->batch;
    int64_t all = s->n * s->D;
    mert_linear_backward(h->ops, s->n, s->I, s->C, s->act, s->output, ds, gradient(h, "output.weight"),
                         gradient(h, "output.bias"), dact, 0);
    if (s->H) {
        mert_gelu_backward(h->ops, .dx = dact, .dy = dact, .x = s->pre, .n = s->n * s->H);
        mert_linear_backward(h->ops, s->n, s->D, s->H, s->x, s->hidden, dact, gradient(h, "hidden.weight"),
                             gradient(h, "hidden.bias"), dx, 0);
    }
    if (b->dropout > 0)
        mert_dropout(h->ops, .x = dx, .B = s->n, .n = s->D, .p = b->dropout, .key = b->key);
    if (h->layers > 1) {
        mert_gemm(h->ops, .M = h->layers, .N = 1, .K = all, .a = s->z, .lda = all, .b = dx, .ldb = 1,
                  .gradient = gradient(h, "mixture"), .ldc = 1, .add = 1);
        mert_gemm(h->ops, .M = h->layers, .N = all, .K = 1, .a = s->mixture, .lda = 1, .b = dx, .ldb = all, .c = dz,
                  .ldc = all);
    }
    for (int l = 0; l < h->layers; l++)
        rescale(h, l, 0, mert_const_at(h->ops, dz, l * all), mert_at(h->ops, h->dpooled, l * all));
}

int mert_head_run(mert_head *h, double weight_of, int back, mert_error *e)
{
    const mert_config *c = &h->layout->config;
    steps s = {.n = h->batch.n, .D = c->width, .H = c->task_hidden, .C = c->task_outputs,
               .I = c->task_hidden ? c->task_hidden : c->width};
    mert_element *ds, *dact, *dx, *dz;
    if (!s.n)
        return 0;
    s.mixture = h->layers > 1 ? mert_arena_rounded(&h->arena, weight(h, "mixture"), h->layers) : NULL;
    s.hidden = s.H ? mert_arena_rounded(&h->arena, weight(h, "hidden.weight"), s.H * s.D) : NULL;
    s.output = mert_arena_rounded(&h->arena, weight(h, "output.weight"), s.C * s.I);
    s.z = take(h, h->layers * s.n * s.D);
    s.x = h->layers > 1 ? take(h, s.n * s.D) : s.z;
    s.pre = s.H ? take(h, s.n * s.H) : NULL;
    s.act = s.H ? take(h, s.n * s.H) : s.x;
    ds = back ? take(h, s.n * s.C) : NULL;
    dact = back ? take(h, s.n * s.I) : NULL;
    dx = back && s.H ? take(h, s.n * s.D) : dact;
    dz = back && h->layers > 1 ? take(h, h->layers * s.n * s.D) : dx;
    if (no_room(h, e))
        return -1;
    forward(h, &s);
    losses(h, weight_of, ds);
    if (no_room(h, e))
        return -1;
    if (back)
        backward(h, &s, ds, dact, dx, dz);
    return 0;
}

/* ---- to the host ---- */

static int bring(mert_head *h, const mert_element *from, int64_t n, float *to, mert_error *e)
{
    float *floats = mert_arena_floats(&h->arena, n);
    if (no_room(h, e))
        return -1;
    if (n) {
        mert_to_floats(h->ops, .to = floats, .from = from, .n = n);
        h->ops->download(h->ops, to, floats, (size_t)n * sizeof *to);
    }
    return h->ops->wait(h->ops, e);
}

int mert_head_scores(mert_head *h, float *to, mert_error *e)
{
    return bring(h, h->scores, h->batch.n * h->layout->config.task_outputs, to, e);
}

int mert_head_features(mert_head *h, float *to, mert_error *e)
{
    return bring(h, h->pooled, h->layers * h->batch.n * h->layout->config.width, to, e);
}

/* ---- first values ---- */

static void fill(mert_weights *w, const char *name, float value)
{
    const mert_parameter *p = mert_layout_find(&w->layout, name);
    for (int64_t i = 0; p && i < p->n; i++)
        w->values[p->offset + i] = value;
}

void mert_head_reset(mert_weights *w)
{
    fill(w, "task.scale", 1);
    fill(w, "task.shift", 0);
    fill(w, "task.mixture", 1 / (float)w->layout.config.task_layers);
    fill(w, "task.output.weight", 0);
    fill(w, "task.output.bias", 0);
}
