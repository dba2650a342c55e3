#include "libcommon/train/objective.h"

#include "libcommon/nn/conv.h"

#include <string.h>

int mert_objective_open(mert_objective *o, const mert_layout *layout, mert_ops *ops, const mert_parts *parts,
                        const mert_objective_config *config, mert_error *e)
{
    memset(o, 0, sizeof *o);
    o->layout = layout;
    o->ops = ops;
    o->parts = parts;
    o->config = *config;
    mert_arena_open(&o->arena, ops);
    o->sums = ops->alloc(ops, 2 * MERT_OBJECTIVE_SUMS * sizeof *o->sums);
    return o->sums ? 0 : mert_fail(e, "out of memory");
}

void mert_objective_close(mert_objective *o)
{
    if (!o->ops)
        return;
    mert_arena_close(&o->arena);
    o->ops->release(o->ops, o->sums);
    o->ops = NULL;
}

static const float *weight(const mert_objective *o, const char *name)
{
    return mert_parts_weight(o->parts, mert_layout_offset(o->layout, "%s", name));
}

static float *gradient(const mert_objective *o, const char *name)
{
    return mert_parts_gradient(o->parts, mert_layout_offset(o->layout, "%s", name));
}

static mert_element *take(mert_objective *o, int64_t n)
{
    return mert_arena_elements(&o->arena, n);
}

/* n weights as products read them. */
static const mert_element *product_weight(mert_objective *o, const char *name, int64_t n)
{
    return mert_arena_rounded(&o->arena, weight(o, name), n);
}

/* The label embeddings of all codebooks as unit vectors [R, d], and what the way back needs. */
typedef struct embeddings {
    int64_t R;
    const mert_element *raw, *glu; /* glu: its weights */
    mert_element *wide, *gated;    /* target GLU: [R, 2d], [R, d] */
    mert_element *unit, *dunit;
    float *norm;
} embeddings;

static void embeddings_forward(mert_objective *o, embeddings *s, int back)
{
    const mert_config *c = &o->layout->config;
    int64_t d = c->final_dim;
    const mert_element *x;
    s->R = mert_layout_find(o->layout, "label_embs_concat")->shape[0];
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
    if (back)
        mert_clear(o->ops, .to = s->dunit, .bytes = mert_element_bytes(o->ops, s->R * d));
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
    /* gated and wide have served: their gradients take their places */
    mert_normalize_backward(o->ops, .dx = s->gated, .dy = s->dunit, .y = s->unit, .norm = s->norm, .rows = s->R, .D = d,
                            .ld = d);
    mert_glu_backward(o->ops, .dx = s->wide, .dy = s->gated, .x = s->wide, .rows = s->R, .D = d);
    mert_linear_backward(o->ops, s->R, d, 2 * d, s->raw, s->glu, s->wide, gradient(o, "target_glu.0.weight"),
                         gradient(o, "target_glu.0.bias"), NULL, 0);
    mert_gemm(o->ops, .M = s->R, .N = d, .K = 2 * d, .a = s->wide, .lda = 2 * d, .b = s->glu, .ldb = d,
              .gradient = draw, .ldc = d, .add = 1);
}

/* All codebooks: x [S, D] -> cross entropies; dx [S, D] is overwritten (NULL: forward only). */
static int codebooks(mert_objective *o, const mert_chosen *m, const mert_element *x, mert_element *dx,
                     mert_error *e)
{
    const mert_config *c = &o->layout->config;
    int64_t S = m->S, d = c->final_dim, P = d * (c->untied ? c->codebooks : 1), most = 0;
    embeddings s = {0};
    mert_element *projected = take(o, S * P), *unit = take(o, S * P), *logits, *dunit, *dprojected;
    float *norm = mert_arena_floats(&o->arena, S * c->codebooks);
    const mert_element *projection = product_weight(o, "final_proj.weight", P * c->width);
    double *sums = o->sums + (m->unmasked ? MERT_OBJECTIVE_SUMS : 0);
    int64_t first = 0; /* row of the codebook's first label embedding */
    for (int k = 0; k < c->codebooks; k++)
        most = c->classes[k] + c->special_rows > most ? c->classes[k] + c->special_rows : most;
    logits = take(o, S * most);
    dunit = take(o, S * d);
    dprojected = dx ? take(o, S * P) : NULL;
    embeddings_forward(o, &s, dx != NULL);
    if (o->arena.failed)
        return mert_fail(e, "out of memory for the logits of %lld masked frames", (long long)S);
    mert_linear(o->ops, S, c->width, P, x, projection, weight(o, "final_proj.bias"), NULL, 0, NULL, projected);
    if (dx)
        mert_clear(o->ops, .to = dprojected, .bytes = mert_element_bytes(o->ops, S * P));
    for (int k = 0; k < c->codebooks; k++) {
        int64_t V = c->classes[k] + c->special_rows, at = c->untied ? k * d : 0;
        mert_element *u = mert_at(o->ops, unit, at), *e_k = mert_at(o->ops, s.unit, first * d);
        float *n = norm + k * S;
        const float *temperature = c->learnable_temperature ? weight(o, "logit_temp_list") + k : NULL;
        if (m->codebooks >> k & 1) {
            mert_normalize(o->ops, .y = u, .norm = n, .x = mert_at(o->ops, projected, at), .rows = S, .D = d, .ld = P);
            mert_gemm(o->ops, .M = S, .N = V, .K = d, .a = u, .lda = P, .b = e_k, .ldb = d, .tb = 1, .c = logits,
                      .ldc = V);
            mert_cross_entropy(o->ops, .logits = logits, .target = m->targets + k * S, .sums = sums + 2 * k,
                               .log_temperature = temperature,
                               .dtemperature = dx && temperature ? gradient(o, "logit_temp_list") + k : NULL, .rows = S,
                               .V = V, .scale = (float)(1 / o->config.logit_temperature), .weight = (float)m->weight,
                               .grad = dx != NULL);
        }
        if (dx && m->codebooks >> k & 1) {
            mert_gemm(o->ops, .M = S, .N = d, .K = V, .a = logits, .lda = V, .b = e_k, .ldb = d, .c = dunit, .ldc = d);
            mert_gemm(o->ops, .M = V, .N = d, .K = S, .a = logits, .lda = V, .ta = 1, .b = u, .ldb = P,
                      .c = mert_at(o->ops, s.dunit, first * d), .ldc = d);
            mert_normalize_backward(o->ops, .dx = mert_at(o->ops, dprojected, at), .dy = dunit, .y = u, .norm = n,
                                    .rows = S, .D = d, .ld = P, .add = 1);
        }
        first += V;
    }
    if (!dx)
        return 0;
    embeddings_backward(o, &s);
    mert_linear_backward(o->ops, S, c->width, P, x, projection, dprojected, gradient(o, "final_proj.weight"),
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
