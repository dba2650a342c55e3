#include "libcommon/models/inference/forward.h"

#include "libcommon/base/integer.h"
#include "libcommon/nn/arena.h"
#include "libcommon/nn/conv.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct linear { const mert_element *w; const float *b; mert_packing packing; } linear;
typedef struct norm { const float *w, *b; } norm;
typedef struct layer { linear qkv, out, fc1, fc2; norm norm1, norm2; } layer;

struct mert_forward {
    mert_config c;
    mert_ops *ops;
    mert_packing packing;         /* of all but the first convolution, where the backend packs */
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */
    linear conv[MERT_CONV_MAX], projection, position;
    norm conv_norm[MERT_CONV_MAX], feature_norm, encoder_norm;
    layer *layers;
    /* group norm: the first convolution as it is, and with the norm of the present clip in it */
    const float *first;           /* [O, K] */
    float *folded, *folded_bias;
    mert_element *folded_packed;
    double *sums, *products;      /* of the clip's windows: [K], [K, K] */
    float *block;                 /* all the weights, one after the other in a fixed order; or: */
    const float *mapped;          /* the same, shared with the host (a packed file) */
    int64_t size;                 /* floats of it */
    mert_arena clip, scratch;     /* the first convolution with the clip's norm; what a run needs */
};

/* ---- loading the weights ----
 *
 * One walk over the model, three uses: without a base it only counts, with a packed file as the base it finds
 * everything in its place, with new memory as the base and weights to take it fills it. */

typedef struct weight_loader {
    mert_forward *f;
    const mert_weights *from;     /* NULL: nothing is written */
    float *base;                  /* device; NULL: nothing is there */
    int64_t at;
    float *ordered;               /* device: a convolution's weights on the way to their panels */
    int bad;
} weight_loader;

/* Floats of the block that n floats take. */
static int64_t placed(int64_t n)
{
    return (n + 15) / 16 * 16;
}

/* The next n floats of the block; the gap behind them is zero. */
static float *place(weight_loader *t, int64_t n)
{
    int64_t at = t->at, end = at + n;
    t->at = at + placed(n);
    if (t->from && t->at > end)
        mert_fill(t->f->ops, .to = t->base + end, .n = t->at - end);
    return t->base ? t->base + at : NULL;
}

/* The parameter where the device can read it; NULL: nothing is to be taken, or there is no memory. Give back with
 * done(). */
static const float *begin(weight_loader *t, const mert_parameter **p, const char *name)
{
    const float *x;
    if (!t->from)
        return NULL;
    *p = mert_layout_find(&t->from->layout, name);
    if (!*p)
        abort(); /* a name that the layout's own maker does not know is a mistake in the program */
    x = t->f->ops->share(t->f->ops, mert_weights_values(t->from, *p), (size_t)(*p)->n * sizeof(float));
    t->bad |= !x;
    return x;
}

static void done(weight_loader *t, const mert_parameter *p, const float *x)
{
    t->f->ops->unshare(t->f->ops, x);
    mert_weights_forget(t->from, p);
}

/* n numbers as they are. */
MERT_PRINTF(3, 4) static float *take(weight_loader *t, int64_t n, const char *format, ...)
{
    const mert_parameter *p;
    const float *x;
    float *to = place(t, n);
    char name[128];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    if ((x = begin(t, &p, name))) {
        mert_copy(t->f->ops, .to = to, .from = x, .bytes = (size_t)n * sizeof *x);
        done(t, p, x);
    }
    return to;
}

static norm take_norm(weight_loader *t, int64_t n, const char *name)
{
    const float *w = take(t, n, "%s.weight", name);
    return (norm){w, take(t, n, "%s.bias", name)};
}

/* How weights [n, k] lie for products: 0 as they are, where the backend packs none. */
static mert_packing packing_of(const mert_forward *f, int64_t n, int64_t k, mert_packing as)
{
    return f->ops->packed_bytes(f->ops, INT64_MAX, n, k, as) ? as : (mert_packing)0;
}

static int64_t product_floats(const mert_forward *f, int64_t n, int64_t k, mert_packing as)
{
    int64_t packed = mert_ops_packed_floats(f->ops, INT64_MAX, n, k, as);
    return packed ? packed : (int64_t)((mert_element_bytes(f->ops, n * k) + sizeof(float) - 1) / sizeof(float));
}

static mert_element *place_product(weight_loader *t, int64_t count, int64_t n, int64_t k, mert_packing as)
{
    return (mert_element *)(void *)place(t, count * product_floats(t->f, n, k, as));
}

/* `count` weights x [n, k], one after the other, to `to`, as products read them. */
static void lay_out(const mert_forward *f, mert_element *to, const float *x, int64_t n, int64_t k, int64_t count,
                    mert_packing as)
{
    if (packing_of(f, n, k, as))
        mert_pack(f->ops, .to = to, .w = x, .ldw = k, .n = n, .k = k, .count = count,
                  .to_step = product_floats(f, n, k, as), .w_step = n * k, .as = as);
    else
        mert_to_elements(f->ops, .to = to, .from = x, .n = count * n * k);
}

/* Weights [n, k] of a product. */
MERT_PRINTF(4, 5) static mert_element *take_product(weight_loader *t, int64_t n, int64_t k,
                                                                        const char *format, ...)
{
    const mert_parameter *p;
    const float *x;
    mert_element *to = place_product(t, 1, n, k, t->f->packing);
    char name[128];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    if ((x = begin(t, &p, name))) {
        lay_out(t->f, to, x, n, k, 1, t->f->packing);
        done(t, p, x);
    }
    return to;
}

static linear take_linear(weight_loader *t, int64_t out, int64_t in, const char *name)
{
    const mert_element *w = take_product(t, out, in, "%s.weight", name);
    return (linear){w, take(t, out, "%s.bias", name), packing_of(t->f, out, in, t->f->packing)};
}

/* Conv weights [O, C, K] with the tap before the channel, as rows of overlapping windows want them. */
static void take_conv(weight_loader *t, int i)
{
    mert_forward *f = t->f;
    const mert_config *c = &f->c;
    int64_t O = c->conv[i].dim, C = i ? c->conv[i - 1].dim : 1, K = c->conv[i].kernel;
    const float *official;
    mert_element *to;
    char name[96];
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
    if (c->extractor_layer_norm || i == 0)
        f->conv_norm[i] = take_norm(t, O, name);
    if (c->conv_bias)
        f->conv[i].b = take(t, O, "feature_extractor.conv_layers.%d.0.bias", i);
    if (C == 1) {
        official = take(t, O * K, "feature_extractor.conv_layers.%d.0.weight", i);
        if (!c->extractor_layer_norm) { /* packed anew for each clip */
            f->first = official;
            return;
        }
        to = place_product(t, 1, O, K, MERT_PACKED_F32);
        if (t->from)
            lay_out(f, to, official, O, K, 1, MERT_PACKED_F32);
    } else {
        const mert_parameter *p;
        to = place_product(t, 1, O, C * K, f->packing);
        snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.0.weight", i);
        if ((official = begin(t, &p, name))) {
            mert_swap_axes(f->ops, .to = t->ordered, .from = official, .n = O, .a = C, .b = K);
            lay_out(f, to, t->ordered, O, C * K, 1, f->packing);
            done(t, p, official);
        }
    }
    f->conv[i].w = to;
    f->conv[i].packing = packing_of(f, O, C * K, C == 1 ? MERT_PACKED_F32 : f->packing);
}

static void take_position(weight_loader *t)
{
    mert_forward *f = t->f;
    int64_t D = f->c.width, G = f->c.pos_groups, Cg = D / G, K = f->c.pos_kernel;
    const float *b = take(t, D, "encoder.pos_conv.0.bias"), *g = take(t, K, "encoder.pos_conv.0.weight_g"), *v;
    float *lengths = place(t, K);
    mert_element *to = place_product(t, G, Cg, K * Cg, f->packing);
    const mert_parameter *p;
    f->position = (linear){to, b, packing_of(f, Cg, K * Cg, f->packing)};
    if (!(v = begin(t, &p, "encoder.pos_conv.0.weight_v")))
        return;
    mert_weight_norm(f->ops, .w = t->ordered, .norm = lengths, .g = g, .v = v, .out = D, .in = Cg, .kernel = K);
    lay_out(f, to, t->ordered, Cg, K * Cg, G, f->packing);
    done(t, p, v);
}

static void take_layer(weight_loader *t, int i)
{
    static const char *const parts[] = {"q", "k", "v"};
    layer *l = &t->f->layers[i];
    int64_t D = t->f->c.width, F = t->f->c.ffn;
    char name[96];
    for (int j = 0; j < 3; j++) { /* one after the other: a batch of three products */
        const mert_element *w = take_product(t, D, D, "encoder.layers.%d.self_attn.%s_proj.weight", i, parts[j]);
        l->qkv.w = j ? l->qkv.w : w;
    }
    for (int j = 0; j < 3; j++) {
        const float *b = take(t, D, "encoder.layers.%d.self_attn.%s_proj.bias", i, parts[j]);
        l->qkv.b = j ? l->qkv.b : b;
    }
    l->qkv.packing = packing_of(t->f, D, D, t->f->packing);
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn.out_proj", i);
    l->out = take_linear(t, D, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc1", i);
    l->fc1 = take_linear(t, F, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc2", i);
    l->fc2 = take_linear(t, D, F, name);
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn_layer_norm", i);
    l->norm1 = take_norm(t, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    l->norm2 = take_norm(t, D, name);
}

static void load_all(weight_loader *t)
{
    mert_forward *f = t->f;
    const mert_config *c = &f->c;
    for (int i = 0; i < c->convs; i++)
        take_conv(t, i);
    f->feature_norm = take_norm(t, mert_config_features(c), "layer_norm");
    f->projection = take_linear(t, c->width, mert_config_features(c), "post_extract_proj");
    take_position(t);
    f->encoder_norm = take_norm(t, c->width, "encoder.layer_norm");
    for (int i = 0; i < c->layers; i++)
        take_layer(t, i);
}

static int64_t largest_conv(const mert_config *c)
{
    int64_t largest = (int64_t)c->width * (c->width / c->pos_groups) * c->pos_kernel;
    for (int i = 1; i < c->convs; i++) {
        int64_t n = (int64_t)c->conv[i].dim * c->conv[i - 1].dim * c->conv[i].kernel;
        largest = n > largest ? n : largest;
    }
    return largest;
}

static int take_all(mert_forward *f, const mert_weights *w, mert_error *e)
{
    weight_loader t = {.f = f};
    int bad = 0;
    load_all(&t);
    f->size = t.at;
    t = (weight_loader){.f = f};
    if (!packing_of(f, f->c.width, f->c.width, f->packing) && w->packed)
        return mert_fail(e, "packed for the CPU's products, and device %s packs nothing: use the model it was made of",
                         f->ops->name);
    if (!packing_of(f, f->c.width, f->c.width, f->packing) && f->packing != MERT_PACKED_F32)
        return mert_fail(e, "device %s has no products in bf16 of numbers in f32 (--precision)", f->ops->name);
    if (w->packed) {
        if (w->packed_as != f->packing)
            return mert_fail(e, "packed for products in %s, and %s is asked for (--precision)",
                             f->packing == MERT_PACKED_BF16 ? "f32" : "bf16",
                             f->packing == MERT_PACKED_BF16 ? "bf16" : "f32");
        if (w->packed_size != f->size)
            return mert_fail(e, "%lld packed weights, and this architecture has %lld", (long long)w->packed_size,
                             (long long)f->size);
        f->mapped = f->ops->share(f->ops, w->packed, (size_t)f->size * sizeof(float));
        t.base = (float *)(uintptr_t)f->mapped; /* read alone: there is nothing to take */
        load_all(&t);
        t.bad = !f->mapped;
    } else if (mert_weights_check_taps(w, NULL, e)) {
        return -1;
    } else {
        t.from = w;
        t.base = f->block = mert_ops_floats(f->ops, f->size);
        t.ordered = mert_ops_floats(f->ops, largest_conv(&f->c));
        t.bad = !t.base || !t.ordered;
        if (!t.bad)
            load_all(&t);
        if (f->ops->wait(f->ops, e))
            bad = -1;
        f->ops->release(f->ops, t.ordered);
    }
    return t.bad ? mert_fail(e, "out of memory for the weights") : bad;
}

/* Room for the first convolution with GroupNorm in it. */
static int make_first(mert_forward *f, mert_error *e)
{
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel;
    f->folded = mert_arena_floats(&f->clip, O * K);
    f->folded_packed = (mert_element *)(void *)mert_arena_floats(&f->clip, product_floats(f, O, K, MERT_PACKED_F32));
    f->folded_bias = mert_arena_floats(&f->clip, O);
    f->sums = (double *)(void *)mert_arena_floats(&f->clip, 2 * K);
    f->products = (double *)(void *)mert_arena_floats(&f->clip, 2 * K * K);
    f->conv[0] = (linear){f->folded_packed, f->folded_bias, packing_of(f, O, K, MERT_PACKED_F32)};
    return f->clip.failed ? mert_fail(e, "out of memory for the weights") : 0;
}

mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_packing packing, mert_error *e)
{
    mert_forward *f = calloc(1, sizeof *f);
    const mert_config *c = &w->layout.config;
    if (!f) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    f->c = *c;
    f->ops = ops;
    f->packing = packing;
    f->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    f->layers = calloc((size_t)c->layers, sizeof *f->layers);
    mert_arena_open(&f->clip, ops);
    mert_arena_open(&f->scratch, ops);
    if (!f->layers)
        mert_fail(e, "out of memory");
    else if (!take_all(f, w, e) && (c->extractor_layer_norm || !make_first(f, e)))
        return f;
    mert_forward_free(f);
    return NULL;
}

int64_t mert_forward_weights(const mert_forward *f, const float **block)
{
    *block = f->mapped ? f->mapped : f->block;
    return f->size;
}

void mert_forward_free(mert_forward *f)
{
    if (!f)
        return;
    mert_arena_close(&f->clip);
    mert_arena_close(&f->scratch);
    f->ops->release(f->ops, f->block);
    if (f->mapped)
        f->ops->unshare(f->ops, f->mapped);
    free(f->layers);
    free(f);
}

/* ---- the steps ---- */

/* y[rows, out] = x[rows, in] w^T + b, then GELU, then + residual; row strides of x: ldx, of y: out */
static void apply(mert_forward *f, linear l, int64_t rows, int64_t in, int64_t out, const mert_element *x,
                  int64_t ldx, int gelu, const mert_element *residual, mert_element *y)
{
    mert_gemm(f->ops, .M = rows, .N = out, .K = in, .a = x, .lda = ldx, .b = l.w, .ldb = in, .tb = 1,
              .packed = l.packing, .c = y, .ldc = out, .bias = l.b, .gelu = gelu, .residual = residual);
}

static void normalise_with(mert_forward *f, float eps, norm w, int64_t rows, int64_t columns, const mert_element *x,
                           mert_element *y)
{
    mert_layer_norm(f->ops, .y = y, .x = x, .w = w.w, .b = w.b, .rows = rows, .columns = columns, .eps = eps);
}

static void normalise(mert_forward *f, norm w, int64_t rows, int64_t columns, const mert_element *x, mert_element *y)
{
    normalise_with(f, (float)f->c.eps, w, rows, columns, x, y);
}

/* What GroupNorm makes of this clip becomes part of the first convolution. */
static void fold_first(mert_forward *f, const mert_element *x, int64_t L)
{
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel, S = f->c.conv[0].stride, T = (L - K) / S + 1;
    mert_window_moments(f->ops, .sums = f->sums, .products = f->products, .x = x, .T = T, .kernel = K, .stride = S);
    mert_fold_norm(f->ops, .w = f->folded, .b = f->folded_bias, .sums = f->sums, .products = f->products, .v = f->first,
                   .norm_w = f->conv_norm[0].w, .norm_b = f->conv_norm[0].b, .out = O, .kernel = K, .T = T,
                   .eps = MERT_EXTRACTOR_EPS);
    lay_out(f, f->folded_packed, f->folded, O, K, 1, MERT_PACKED_F32);
}

/* The rows of each layer's outputs that n frames need; rows[0]: samples. */
static void rows_for(const mert_config *c, int64_t n, int64_t rows[MERT_CONV_MAX + 1])
{
    rows[c->convs] = n;
    for (int i = c->convs - 1; i >= 0; i--)
        rows[i] = (rows[i + 1] - 1) * c->conv[i].stride + c->conv[i].kernel;
}

/* n frames of the extractor from x on -> y [n, C]; turn: room for the layers between. */
static void extract(mert_forward *f, const mert_element *x, int64_t n, mert_element *const turn[2], mert_element *y)
{
    const mert_config *c = &f->c;
    int64_t rows[MERT_CONV_MAX + 1], C = 1;
    rows_for(c, n, rows);
    for (int i = 0; i < c->convs; i++) {
        mert_element *to = i == c->convs - 1 ? y : turn[i % 2];
        int64_t O = c->conv[i].dim;
        mert_conv_shape s = {1, rows[i], rows[i + 1], C, O, c->conv[i].kernel, c->conv[i].stride};
        if (f->conv[i].packing)
            apply(f, f->conv[i], s.T_out, s.kernel * C, O, x, s.stride * C, !c->extractor_layer_norm, NULL, to);
        else
            mert_conv(f->ops, &s, x, f->conv[i].w, f->conv[i].b, NULL, !c->extractor_layer_norm, to);
        if (c->extractor_layer_norm) {
            normalise_with(f, MERT_EXTRACTOR_EPS, f->conv_norm[i], rows[i + 1], O, to, to);
            mert_gelu(f->ops, .y = to, .x = to, .n = rows[i + 1] * O);
        }
        x = to;
        C = O;
    }
}

/* Steps 1 to 3, in blocks of time: x [L] -> y [T, D]. */
static void project(mert_forward *f, const mert_element *x, const mert_element *cqt, int64_t T, mert_element *y)
{
    const mert_config *c = &f->c;
    mert_arena_mark mark = mert_arena_here(&f->scratch);
    int64_t rows[MERT_CONV_MAX + 1], room[2] = {0, 0}, C = c->conv[c->convs - 1].dim, J = mert_config_features(c),
                                     D = c->width;
    int64_t at_once = mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FRAMES));
    mert_element *turn[2], *features, *joined;
    rows_for(c, at_once, rows);
    for (int i = 0; i < c->convs - 1; i++)
        if (rows[i + 1] * c->conv[i].dim > room[i % 2])
            room[i % 2] = rows[i + 1] * c->conv[i].dim;
    turn[0] = mert_arena_elements(&f->scratch, room[0]);
    turn[1] = mert_arena_elements(&f->scratch, room[1]);
    features = mert_arena_elements(&f->scratch, at_once * C);
    joined = cqt ? mert_arena_elements(&f->scratch, at_once * J) : features;
    if (f->scratch.failed)
        return;
    for (int64_t t = 0; t < T; t += at_once) {
        int64_t n = mert_smaller(T - t, at_once);
        extract(f, mert_const_at(f->ops, x, t * mert_config_stride(c)), n, turn, features);
        if (cqt) {
            mert_copy_2d(f->ops, .to = joined, .ldto = J, .from = features, .ldfrom = C, .rows = n, .columns = C);
            mert_copy_2d(f->ops, .to = mert_at(f->ops, joined, C), .ldto = J,
                         .from = mert_const_at(f->ops, cqt, t * (J - C)), .ldfrom = J - C, .rows = n,
                         .columns = J - C);
        }
        normalise(f, f->feature_norm, n, J, joined, joined);
        apply(f, f->projection, n, J, D, joined, J, 0, NULL, mert_at(f->ops, y, t * D));
    }
    mert_arena_back(&f->scratch, mark);
}

/* y = scale * residual + linear(x); the residual is overwritten where it must be scaled. */
static void branch_end(mert_forward *f, linear l, int64_t rows, int64_t in, const mert_element *x,
                       mert_element *residual, mert_element *y)
{
    int64_t D = f->c.width;
    if (f->residual_scale != 1.0f)
        mert_copy_2d(f->ops, .to = residual, .ldto = D, .from = residual, .ldfrom = D, .rows = rows, .columns = D,
                     .scale = f->residual_scale);
    apply(f, l, rows, in, D, x, in, 0, residual, y);
}

typedef struct room {
    mert_element *x, *qkv, *attended;    /* [T, D], [T, 3D], [T, D] */
    mert_element *mid, *normed, *h;      /* a block's: [rows, D], [rows, D], [rows, F] */
    int64_t rows;                 /* at most, of a block */
} room;

/* Everything after attention, for `rows` rows: x [rows, D] in place. */
static void finish_layer(mert_forward *f, const layer *l, const room *r, const mert_element *attended, mert_element *x,
                         int64_t rows)
{
    int64_t D = f->c.width, F = f->c.ffn;
    branch_end(f, l->out, rows, D, attended, x, r->mid);
    if (f->c.pre_ln) {
        normalise(f, l->norm2, rows, D, r->mid, r->normed);
        apply(f, l->fc1, rows, D, F, r->normed, D, 1, NULL, r->h);
        branch_end(f, l->fc2, rows, F, r->h, r->mid, x);
    } else {
        normalise(f, l->norm1, rows, D, r->mid, r->mid);
        apply(f, l->fc1, rows, D, F, r->mid, D, 1, NULL, r->h);
        branch_end(f, l->fc2, rows, F, r->h, r->mid, x);
        normalise(f, l->norm2, rows, D, x, x);
    }
}

/* From the query's weights to the key's: of packed ones, and of float32, in units of 4 bytes. */
static int64_t qkv_step(const mert_forward *f)
{
    int64_t floats = placed(product_floats(f, f->c.width, f->c.width, f->packing));
    return floats * (int64_t)sizeof(float) / (f->layers->qkv.packing ? 4 : (int64_t)mert_element_bytes(f->ops, 1));
}

static void run_layer(mert_forward *f, const layer *l, const room *r, int64_t T)
{
    int64_t D = f->c.width, H = f->c.heads, blocks = (T + r->rows - 1) / r->rows, step = (T + blocks - 1) / blocks;
    const mert_element *in = r->x;
    step = mert_smaller((step + 23) / 24 * 24, r->rows); /* whole tiles of rows, where it does not matter */
    if (f->c.pre_ln) {
        normalise(f, l->norm1, T, D, r->x, r->attended);
        in = r->attended;
    }
    mert_gemm(f->ops, .M = T, .N = D, .K = D, .a = in, .lda = D, .b = l->qkv.w, .packed = l->qkv.packing,
              .c = r->qkv, .ldc = 3 * D, .bias = l->qkv.b, .batch = 3, .ldb = D, .tb = 1,
              .b_step = qkv_step(f), .c_step = D, .bias_step = placed(D));
    mert_attention(f->ops, .out = r->attended, .ldout = D, .q = r->qkv, .k = mert_at(f->ops, r->qkv, D),
                   .v = mert_at(f->ops, r->qkv, 2 * D), .B = 1, .T = T, .H = H, .dh = D / H, .ld = 3 * D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))));
    for (int64_t t = 0; t < T; t += step)
        finish_layer(f, l, r, mert_at(f->ops, r->attended, t * D), mert_at(f->ops, r->x, t * D),
                     mert_smaller(T - t, step));
}

int mert_forward_run(mert_forward *f, const mert_element *x, int64_t L, const mert_element *cqt, int last,
                     mert_hidden_fn each, void *self, mert_error *e)
{
    const mert_config *c = &f->c;
    int64_t T = mert_config_frames(c, L), D = c->width, rows;
    mert_arena *a = &f->scratch;
    room r;
    mert_arena_reset(a);
    if (T < 1)
        return mert_fail(e, "%lld samples are shorter than the model's receptive field of %d", (long long)L,
                         mert_config_receptive_field(c));
    rows = mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FEED_FORWARD));
    r = (room){mert_arena_elements(a, T * D),    mert_arena_elements(a, T * 3 * D),
               mert_arena_elements(a, T * D),    mert_arena_elements(a, rows * D),
               mert_arena_elements(a, rows * D), mert_arena_elements(a, rows * c->ffn), rows};
    if (a->failed)
        return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
    if (!c->extractor_layer_norm)
        fold_first(f, x, L);
    project(f, x, cqt, T, r.attended);
    if (a->failed)
        return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
    mert_grouped_conv(f->ops, .y = r.x, .x = r.attended, .w = f->position.w, .packed = f->position.packing,
                      .bias = f->position.b, .gelu = 1, .residual = r.attended, .B = 1, .T = T, .D = D,
                      .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    if (!c->pre_ln)
        normalise(f, f->encoder_norm, T, D, r.x, r.x);
    for (int i = 0; i <= last; i++) {
        if (i)
            run_layer(f, &f->layers[i - 1], &r, T);
        if (i == c->layers && c->pre_ln) {
            each(self, i + 1, r.x);
            normalise(f, f->encoder_norm, T, D, r.x, r.x);
        }
        each(self, i, r.x);
    }
    return f->ops->wait(f->ops, e);
}
