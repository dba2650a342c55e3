#include "libcommon/train/objective.h"

#include "libcommon/nn/conv.h"

#include <string.h>

int mert_objective_open(mert_objective *o, const mert_layout *layout, mert_ops *ops, const mert_groups *groups,
                        const mert_objective_config *config, mert_error *e)
{
    memset(o, 0, sizeof *o);
    o->layout = layout;
    o->ops = ops;
    o->groups = groups;
    o->config = *config;
    mert_arena_open(&o->arena, ops);
    o->embeddings = mert_layout_find(layout, "label_embs_concat")->shape[0]; /* a model with training heads always has
                                                                              * this tensor */
    o->sums = ops->alloc(ops, 2 * MERT_OBJECTIVE_SUMS * sizeof *o->sums);
    o->predicted = ops->alloc(ops, 2 * (size_t)o->embeddings * sizeof *o->predicted);
    if (!o->sums || !o->predicted)
        return mert_fail(e, "out of memory");
    mert_clear(ops, .to = o->predicted, .bytes = 2 * (size_t)o->embeddings * sizeof *o->predicted);
    return 0;
}

void mert_objective_close(mert_objective *o)
{
    if (!o->ops)
        return;
    mert_arena_close(&o->arena);
    o->ops->release(o->ops, o->sums);
    o->ops->release(o->ops, o->predicted);
    o->ops = NULL;
}

static const float *weight(const mert_objective *o, const char *name)
{
    return mert_groups_weight(o->groups, mert_layout_offset(o->layout, "%s", name));
}

static float *gradient(const mert_objective *o, const char *name)
{
    return mert_groups_gradient(o->groups, mert_layout_offset(o->layout, "%s", name));
}

static mert_element *take(mert_objective *o, int64_t n)
{
    return mert_arena_elements(&o->arena, n);
}

/* n weights as the products read them. */
static const mert_element *product_weight(mert_objective *o, const char *name, int64_t n)
{
    return mert_arena_rounded(&o->arena, weight(o, name), n);
}

/* The label embeddings of all codebooks as unit vectors [R, d], and what the backward pass needs. */
typedef struct embeddings {
    int64_t R;
    const mert_element *raw, *glu; /* glu: the weights of the target GLU */
    mert_element *wide, *gated;    /* of the target GLU: [R, 2d], [R, d] */
    mert_element *unit, *dunit;
    float *norm;
} embeddings;

static void embeddings_forward(mert_objective *o, embeddings *s, int back)
{
    const mert_config *c = &o->layout->config;
    int64_t d = c->final_dim;
    const mert_element *x;
    s->R = o->embeddings;
    s->raw = x = product_weight(o, "label_embs_concat", s->R * d);
    s->unit = take(o, s->R * d);
    s->norm = mert_arena_floats(&o->arena, s->R);
    s->dunit = back ? take(o, s->R * d) : NULL;
    if (c->target_glu) {
        s->wide = take(o, s->R * 2 * d);
        s->gated = take(o, s->R * d);
        s->glu = product_weight(o, "target_glu.0.weight", 2 * d * d);
    }
    if (o->arena.failed)
        return;
    if (c->target_glu) {
        mert_linear(o->ops, s->R, d, 2 * d, x, s->glu, weight(o, "target_glu.0.bias"), NULL, 0, NULL, s->wide);
        mert_glu(o->ops, .y = s->gated, .x = s->wide, .rows = s->R, .D = d);
        x = s->gated;
    }
    mert_normalize(o->ops, .y = s->unit, .norm = s->norm, .x = x, .rows = s->R, .D = d, .ld = d);
}

static void embeddings_backward(mert_objective *o, const embeddings *s)
{
    const mert_config *c = &o->layout->config;
    int64_t d = c->final_dim;
    float *draw = gradient(o, "label_embs_concat");
    if (!c->target_glu) {
        mert_normalize_backward(o->ops, .gradient = draw, .dy = s->dunit, .y = s->unit, .norm = s->norm, .rows = s->R,
                                .D = d, .ld = d, .add = 1);
        return;
    }
    /* gated and wide are not needed any more: their gradients overwrite them */
    mert_normalize_backward(o->ops, .dx = s->gated, .dy = s->dunit, .y = s->unit, .norm = s->norm, .rows = s->R, .D = d,
                            .ld = d);
    mert_glu_backward(o->ops, .dx = s->wide, .dy = s->gated, .x = s->wide, .rows = s->R, .D = d);
    mert_linear_backward(o->ops, s->R, d, 2 * d, s->raw, s->glu, s->wide, gradient(o, "target_glu.0.weight"),
                         gradient(o, "target_glu.0.bias"), NULL, 0);
    mert_gemm(o->ops, .M = s->R, .N = d, .K = 2 * d, .a = s->wide, .lda = 2 * d, .b = s->glu, .ldb = d,
              .gradient = draw, .ldc = d, .add = 1);
}

/* The criterion of all codebooks, forward and backward, in the scratch arena. unit: projections as unit vectors [S, P],
 * P = K d or (not untied) d; dunit: first the gradient with respect to them, then with respect to the projections. */
typedef struct criterion {
    int64_t S, d, P;
    embeddings labels;
    const mert_element *projection;
    mert_element *unit, *dunit, *logits; /* dunit NULL: forward only */
    float *norm;
    int64_t room; /* the largest number of rows of logits at once */
} criterion;

static int64_t rows_of(const mert_config *c, int k)
{
    return c->classes[k] + c->special_rows;
}

/* Row stride of logits for V classes: each row begins at a multiple of 16 bytes. */
static int64_t logits_stride(int64_t V)
{
    return (V + 7) / 8 * 8;
}

static int take_criterion(mert_objective *o, criterion *t, int64_t S, int back, mert_error *e)
{
    const mert_config *c = &o->layout->config;
    int64_t d = c->final_dim, K = c->codebooks, P = d * (c->untied ? K : 1), most = 0;
    int64_t together = o->ops->rows_at_once(o->ops, MERT_BLOCK_LOGITS) / S;
    for (int k = 0; k < K; k++)
        most = rows_of(c, k) > most ? rows_of(c, k) : most;
    together = together < 1 ? 1 : together > K ? K : together;
    *t = (criterion){.S = S, .d = d, .P = P, .room = together * S};
    t->unit = take(o, S * P);
    t->norm = mert_arena_floats(&o->arena, S * P / d);
    t->projection = product_weight(o, "final_proj.weight", P * c->width);
    t->logits = take(o, t->room * logits_stride(most));
    t->dunit = back ? take(o, S * P) : NULL;
    embeddings_forward(o, &t->labels, back);
    return o->arena.failed ? mert_fail(e, "out of memory for the logits of %lld masked frames", (long long)S) : 0;
}

/* Codebooks k to k + n - 1, which have V rows each and begin with row `first`. more: gradients are added to those of
 * earlier codebooks. */
static void some_codebooks(mert_objective *o, const mert_chosen *m, const criterion *t, int k, int64_t n, int64_t V,
                           int64_t first, int more)
{
    const mert_config *c = &o->layout->config;
    int64_t S = t->S, d = t->d, P = t->P, ld = logits_stride(V), step = c->untied ? d : 0;
    const mert_element *unit = mert_const_at(o->ops, t->unit, k * step);
    const mert_element *e = mert_const_at(o->ops, t->labels.unit, first * d);
    const float *temperature = c->learnable_temperature ? weight(o, "logit_temp_list") + k : NULL;
    double *sums = o->sums + (m->unmasked ? MERT_OBJECTIVE_SUMS : 0) + 2 * k;
    int64_t *predicted = m->unmasked ? NULL : o->predicted + (t->dunit ? 0 : o->embeddings) + first;
    mert_gemm(o->ops, .M = S, .N = V, .K = d, .a = unit, .lda = P, .a_step = step, .b = e, .ldb = d, .b_step = V * d,
              .tb = 1, .c = t->logits, .ldc = ld, .c_step = S * ld, .batch = n);
    mert_cross_entropy(o->ops, .logits = t->logits, .target = m->targets + k * S, .sums = sums,
                       .predicted = predicted, .log_temperature = temperature,
                       .dtemperature = t->dunit && temperature ? gradient(o, "logit_temp_list") + k : NULL, .rows = S,
                       .V = V, .ld = ld, .count = n, .scale = (float)(1 / o->config.logit_temperature),
                       .weight = (float)m->weight, .grad = t->dunit != NULL);
    if (!t->dunit)
        return;
    mert_gemm(o->ops, .M = S, .N = d, .K = V, .a = t->logits, .lda = ld, .a_step = S * ld, .b = e, .ldb = d,
              .b_step = V * d, .c = mert_at(o->ops, t->dunit, k * step), .ldc = P, .c_step = step, .batch = n,
              .sum = !c->untied, .add = !c->untied && more);
    mert_gemm(o->ops, .M = V, .N = d, .K = S, .a = t->logits, .lda = ld, .a_step = S * ld, .ta = 1, .b = unit,
              .ldb = P, .b_step = step, .c = mert_at(o->ops, t->labels.dunit, first * d), .ldc = d, .c_step = V * d,
              .batch = n);
}

/* Computes as many codebooks at once as fit into memory and have the same number of rows. */
static void each_codebook(mert_objective *o, const mert_chosen *m, const criterion *t)
{
    const mert_config *c = &o->layout->config;
    int64_t first = 0; /* row of the codebook's first label embedding */
    int more = 0;
    for (int k = 0; k < c->codebooks;) {
        int64_t V = rows_of(c, k);
        int n = 0;
        while (k + n < c->codebooks && (n + 1) * t->S <= t->room && rows_of(c, k + n) == V &&
               (m->codebooks >> (k + n) & 1))
            n++;
        if (n) {
            some_codebooks(o, m, t, k, n, V, first, more);
            more = 1;
        }
        n = n ? n : 1;
        first += n * V;
        k += n;
    }
}

/* All codebooks: x [S, D] -> cross entropies. dx [S, D] is overwritten (NULL: forward only). */
static int codebooks(mert_objective *o, const mert_chosen *m, const mert_element *x, mert_element *dx,
                     mert_error *e)
{
    const mert_config *c = &o->layout->config;
    int64_t S = m->S, d, P, rows, all = c->codebooks == 64 ? -1 : ((int64_t)1 << c->codebooks) - 1;
    criterion t;
    if (take_criterion(o, &t, S, dx != NULL, e))
        return -1;
    d = t.d, P = t.P, rows = S * P / d;
    mert_linear(o->ops, S, c->width, P, x, t.projection, weight(o, "final_proj.bias"), NULL, 0, NULL, t.unit);
    mert_normalize(o->ops, .y = t.unit, .norm = t.norm, .x = t.unit, .rows = rows, .D = d, .ld = d);
    if (dx && m->codebooks != (uint64_t)all) {
        mert_clear(o->ops, .to = t.dunit, .bytes = mert_element_bytes(o->ops, S * P));
        mert_clear(o->ops, .to = t.labels.dunit, .bytes = mert_element_bytes(o->ops, t.labels.R * d));
    }
    each_codebook(o, m, &t);
    if (!dx)
        return 0;
    mert_normalize_backward(o->ops, .dx = t.dunit, .dy = t.dunit, .y = t.unit, .norm = t.norm, .rows = rows, .D = d,
                            .ld = d);
    embeddings_backward(o, &t.labels);
    mert_linear_backward(o->ops, S, c->width, P, x, t.projection, t.dunit, gradient(o, "final_proj.weight"),
                         gradient(o, "final_proj.bias"), dx, 0);
    return 0;
}

/* One regression head: mean squared error over [S, bins], times S * loss_weight in the loss. Adds to dx. */
static int regression(mert_objective *o, int64_t S, int64_t bins, const char *w, const char *b, double loss_weight,
                      const float *target, double *sum, const mert_element *x, mert_element *dx, mert_error *e)
{
    int64_t D = o->layout->config.width;
    mert_element *y = take(o, S * bins);
    const mert_element *head = product_weight(o, w, bins * D);
    if (o->arena.failed)
        return mert_fail(e, "out of memory");
    mert_linear(o->ops, S, D, bins, x, head, weight(o, b), NULL, 0, NULL, y);
    mert_squared_error(o->ops, .dx = dx ? y : NULL, .sum = sum, .x = y, .y = target, .n = S * bins,
                       .factor = (float)(2 * loss_weight / (double)bins));
    if (dx)
        mert_linear_backward(o->ops, S, D, bins, x, head, y, gradient(o, w), gradient(o, b), dx, 1);
    return 0;
}

int mert_objective_run(mert_objective *o, const mert_chosen *m, double sample_size, const mert_element *hidden,
                       mert_element *dhidden, mert_error *e)
{
    const mert_config *c = &o->layout->config;
    const mert_objective_config *w = &o->config;
    double share = m->S ? sample_size / (double)m->S : 0;
    mert_element *x, *dx;
    mert_arena_reset(&o->arena);
    if (!m->S)
        return 0;
    x = take(o, m->S * c->width);
    dx = dhidden ? take(o, m->S * c->width) : NULL;
    if (o->arena.failed)
        return mert_fail(e, "out of memory for %lld chosen frames", (long long)m->S);
    mert_gather(o->ops, .to = x, .from = hidden, .index = m->rows, .n = m->S, .D = c->width);
    if (codebooks(o, m, x, dx, e))
        return -1;
    if (m->cqt && regression(o, m->S, c->cqt_target_bins, "encoder_cqt_model.fc.weight", "encoder_cqt_model.fc.bias",
                             share * w->cqt_weight, m->cqt, o->sums + MERT_OBJECTIVE_CQT, x, dx, e))
        return -1;
    if (m->mel && regression(o, m->S, c->mel_target_bins, "encoder_mel_model.fc.weight", "encoder_mel_model.fc.bias",
                             share * w->mel_weight, m->mel, o->sums + MERT_OBJECTIVE_MEL, x, dx, e))
        return -1;
    if (dhidden)
        mert_scatter_add(o->ops, .to = dhidden, .from = dx, .index = m->rows, .n = m->S, .D = c->width);
    return 0;
}
