#include "forward.h"

#include "../nn/arena.h"
#include "../nn/rows.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = 64,  /* of the extractor at a time: its first layer's outputs are then 4096 rows */
    ROWS = 264    /* of a feed-forward part at a time */
};

typedef struct linear { const float *w, *b; } linear; /* w packed */
typedef struct norm { const float *w, *b; } norm;
typedef struct layer { linear qkv, out, fc1, fc2; norm norm1, norm2; } layer;

struct mert_forward {
    mert_config c;
    mert_ops *ops;
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */
    linear conv[MERT_CONV_MAX], projection, position;
    norm conv_norm[MERT_CONV_MAX], feature_norm, encoder_norm;
    layer *layers;
    /* group norm: the first convolution as it is, and with the norm of the present clip in it */
    const float *first;           /* [O, K] */
    float *folded, *folded_packed, *folded_bias;
    double *sums, *products;      /* of the clip's windows: [K], [K, K] */
    mert_arena weights, scratch;
};

/* ---- taking the weights ---- */

typedef struct taking {
    mert_forward *f;
    const mert_weights *from;
    float *ordered;               /* device: a convolution's weights on the way to their panels */
    int bad;
} taking;

static const mert_parameter *find(const taking *t, const char *format, va_list ap)
{
    char name[128];
    const mert_parameter *p;
    vsnprintf(name, sizeof name, format, ap);
    p = mert_layout_find(&t->from->layout, name);
    if (!p)
        abort(); /* a name that the layout's own maker does not know is a mistake in the program */
    return p;
}

/* The parameter where the device can read it, until the next wait; NULL: no memory. */
static const float *shared(taking *t, const mert_parameter *p)
{
    const float *x = t->f->ops->share(t->f->ops, mert_weights_values(t->from, p), (size_t)p->n * sizeof(float));
    t->bad |= !x;
    return x;
}

static void unshare(taking *t, const float *x)
{
    t->f->ops->unshare(t->f->ops, x);
}

/* As it is. */
__attribute__((format(printf, 2, 3))) static const float *take(taking *t, const char *format, ...)
{
    const mert_parameter *p;
    const float *x;
    float *to;
    va_list ap;
    va_start(ap, format);
    p = find(t, format, ap);
    va_end(ap);
    to = mert_arena_floats(&t->f->weights, p->n);
    x = to ? shared(t, p) : NULL;
    if (x) {
        mert_copy(t->f->ops, .to = to, .from = x, .n = p->n);
        unshare(t, x);
    }
    return to;
}

static norm take_norm(taking *t, const char *name)
{
    return (norm){take(t, "%s.weight", name), take(t, "%s.bias", name)};
}

/* Weights [n, k] packed to `to` (NULL: new memory). */
__attribute__((format(printf, 5, 6))) static const float *take_packed(taking *t, float *to, int64_t n, int64_t k, const char *format, ...)
{
    const mert_parameter *p;
    const float *x;
    va_list ap;
    va_start(ap, format);
    p = find(t, format, ap);
    va_end(ap);
    to = to ? to : mert_arena_floats(&t->f->weights, mert_packed_floats(n, k));
    x = to ? shared(t, p) : NULL;
    if (x) {
        mert_pack(t->f->ops, .to = to, .w = x, .ldw = k, .n = n, .k = k);
        unshare(t, x);
    }
    return to;
}

static linear take_linear(taking *t, int64_t out, int64_t in, const char *name)
{
    return (linear){take_packed(t, NULL, out, in, "%s.weight", name), take(t, "%s.bias", name)};
}

/* Conv weights [O, C, K] with the tap before the channel, as rows of overlapping windows want them. */
static void take_conv(taking *t, int i)
{
    mert_forward *f = t->f;
    const mert_config *c = &f->c;
    int64_t O = c->conv[i].dim, C = i ? c->conv[i - 1].dim : 1, K = c->conv[i].kernel;
    char name[96];
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
    if (c->extractor_layer_norm || i == 0)
        f->conv_norm[i] = take_norm(t, name);
    if (c->conv_bias)
        f->conv[i].b = take(t, "feature_extractor.conv_layers.%d.0.bias", i);
    if (i == 0 && !c->extractor_layer_norm) { /* packed anew for each clip */
        f->first = take(t, "feature_extractor.conv_layers.0.0.weight");
        return;
    }
    const float *x = take(t, "feature_extractor.conv_layers.%d.0.weight", i);
    float *to = mert_arena_floats(&f->weights, mert_packed_floats(O, C * K));
    if (!x || !to)
        return;
    mert_swap_axes(f->ops, .to = t->ordered, .from = x, .n = O, .a = C, .b = K);
    mert_pack(f->ops, .to = to, .w = t->ordered, .ldw = C * K, .n = O, .k = C * K);
    f->conv[i].w = to;
}

static void take_position(taking *t)
{
    mert_forward *f = t->f;
    int64_t D = f->c.width, G = f->c.pos_groups, Cg = D / G, K = f->c.pos_kernel;
    const float *g = take(t, "encoder.pos_conv.0.weight_g"), *v = take(t, "encoder.pos_conv.0.weight_v");
    float *lengths = mert_arena_floats(&f->weights, K), *to = mert_arena_floats(&f->weights, G * mert_packed_floats(Cg, K * Cg));
    f->position = (linear){to, take(t, "encoder.pos_conv.0.bias")};
    if (f->weights.failed || t->bad)
        return;
    mert_weight_norm(f->ops, .w = t->ordered, .norm = lengths, .g = g, .v = v, .out = D, .in = Cg, .kernel = K);
    mert_pack(f->ops, .to = to, .w = t->ordered, .ldw = K * Cg, .n = Cg, .k = K * Cg, .count = G, .to_step = mert_packed_floats(Cg, K * Cg),
              .w_step = Cg * K * Cg);
}

static void take_layer(taking *t, int i)
{
    static const char *const parts[] = {"q", "k", "v"};
    mert_forward *f = t->f;
    layer *l = &f->layers[i];
    int64_t D = f->c.width, F = f->c.ffn, packed = mert_packed_floats(D, D);
    float *w = mert_arena_floats(&f->weights, 3 * packed), *b = mert_arena_floats(&f->weights, 3 * D);
    char name[96];
    l->qkv = (linear){w, b};
    for (int j = 0; w && b && j < 3; j++) {
        const float *bias = take(t, "encoder.layers.%d.self_attn.%s_proj.bias", i, parts[j]);
        take_packed(t, w + j * packed, D, D, "encoder.layers.%d.self_attn.%s_proj.weight", i, parts[j]);
        if (bias)
            mert_copy(f->ops, .to = b + j * D, .from = bias, .n = D);
    }
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn.out_proj", i);
    l->out = take_linear(t, D, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc1", i);
    l->fc1 = take_linear(t, F, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc2", i);
    l->fc2 = take_linear(t, D, F, name);
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn_layer_norm", i);
    l->norm1 = take_norm(t, name);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    l->norm2 = take_norm(t, name);
}

static int take_all(mert_forward *f, const mert_weights *w)
{
    const mert_config *c = &f->c;
    int64_t largest = (int64_t)c->width * (c->width / c->pos_groups) * c->pos_kernel;
    taking t = {.f = f, .from = w};
    for (int i = 1; i < c->convs; i++) {
        int64_t n = (int64_t)c->conv[i].dim * c->conv[i - 1].dim * c->conv[i].kernel;
        largest = n > largest ? n : largest;
    }
    t.ordered = mert_ops_floats(f->ops, largest);
    if (!t.ordered)
        return -1;
    for (int i = 0; i < c->convs; i++)
        take_conv(&t, i);
    f->feature_norm = take_norm(&t, "layer_norm");
    f->projection = take_linear(&t, c->width, mert_config_features(c), "post_extract_proj");
    take_position(&t);
    f->encoder_norm = take_norm(&t, "encoder.layer_norm");
    for (int i = 0; i < c->layers; i++)
        take_layer(&t, i);
    if (!c->extractor_layer_norm) {
        int64_t O = c->conv[0].dim, K = c->conv[0].kernel;
        f->folded = mert_arena_floats(&f->weights, O * K);
        f->folded_packed = mert_arena_floats(&f->weights, mert_packed_floats(O, K));
        f->folded_bias = mert_arena_floats(&f->weights, O);
        f->sums = (double *)(void *)mert_arena_floats(&f->weights, 2 * K);
        f->products = (double *)(void *)mert_arena_floats(&f->weights, 2 * K * K);
    }
    f->ops->wait(f->ops);
    f->ops->release(f->ops, t.ordered);
    return t.bad || f->weights.failed ? -1 : 0;
}

mert_forward *mert_forward_new(const mert_weights *w, mert_ops *ops, mert_error *e)
{
    mert_forward *f = calloc(1, sizeof *f);
    const mert_config *c = &w->layout.config;
    if (!f) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    f->c = *c;
    f->ops = ops;
    f->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    f->layers = calloc((size_t)c->layers, sizeof *f->layers);
    mert_arena_open(&f->weights, ops);
    mert_arena_open(&f->scratch, ops);
    if (f->layers && !take_all(f, w))
        return f;
    mert_forward_free(f);
    mert_fail(e, "out of memory for the weights");
    return NULL;
}

void mert_forward_free(mert_forward *f)
{
    if (!f)
        return;
    mert_arena_close(&f->weights);
    mert_arena_close(&f->scratch);
    free(f->layers);
    free(f);
}

/* ---- the steps ---- */

/* y[rows, out] = x[rows, in] w^T + b, then GELU, then + residual; row strides of x: ldx, of y: out */
static void apply(mert_forward *f, linear l, int64_t rows, int64_t in, int64_t out, const float *x, int64_t ldx, int gelu, const float *residual,
                  float *y)
{
    mert_gemm(f->ops, .M = rows, .N = out, .K = in, .a = x, .lda = ldx, .b = l.w, .packed = 1, .c = y, .ldc = out, .bias = l.b, .gelu = gelu,
              .residual = residual);
}

static void normalise(mert_forward *f, norm w, int64_t rows, int64_t columns, const float *x, float *y)
{
    mert_layer_norm(f->ops, .y = y, .x = x, .w = w.w, .b = w.b, .rows = rows, .columns = columns, .eps = (float)f->c.eps);
}

/* What GroupNorm makes of this clip becomes part of the first convolution. */
static void fold_first(mert_forward *f, const float *x, int64_t L)
{
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel, S = f->c.conv[0].stride, T = (L - K) / S + 1;
    mert_window_moments(f->ops, .sums = f->sums, .products = f->products, .x = x, .T = T, .kernel = K, .stride = S);
    mert_fold_norm(f->ops, .w = f->folded, .b = f->folded_bias, .sums = f->sums, .products = f->products, .v = f->first,
                   .norm_w = f->conv_norm[0].w, .norm_b = f->conv_norm[0].b, .out = O, .kernel = K, .T = T, .eps = (float)f->c.eps);
    mert_pack(f->ops, .to = f->folded_packed, .w = f->folded, .ldw = K, .n = O, .k = K);
    f->conv[0] = (linear){f->folded_packed, f->folded_bias};
}

/* The rows of each layer's outputs that n frames need; rows[0]: samples. */
static void rows_for(const mert_config *c, int64_t n, int64_t rows[MERT_CONV_MAX + 1])
{
    rows[c->convs] = n;
    for (int i = c->convs - 1; i >= 0; i--)
        rows[i] = (rows[i + 1] - 1) * c->conv[i].stride + c->conv[i].kernel;
}

/* n frames of the extractor from x on -> y [n, C]; turn: room for the layers between. */
static void extract(mert_forward *f, const float *x, int64_t n, float *const turn[2], float *y)
{
    const mert_config *c = &f->c;
    int64_t rows[MERT_CONV_MAX + 1], C = 1;
    rows_for(c, n, rows);
    for (int i = 0; i < c->convs; i++) {
        float *to = i == c->convs - 1 ? y : turn[i % 2];
        int64_t O = c->conv[i].dim;
        apply(f, f->conv[i], rows[i + 1], c->conv[i].kernel * C, O, x, c->conv[i].stride * C, !c->extractor_layer_norm, NULL, to);
        if (c->extractor_layer_norm) {
            normalise(f, f->conv_norm[i], rows[i + 1], O, to, to);
            mert_gelu(f->ops, .y = to, .x = to, .n = rows[i + 1] * O);
        }
        x = to;
        C = O;
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Steps 1 to 3, in blocks of time: x [L] -> y [T, D]. */
static void project(mert_forward *f, const float *x, const float *cqt, int64_t T, float *y)
{
    const mert_config *c = &f->c;
    mert_arena_mark mark = mert_arena_here(&f->scratch);
    int64_t rows[MERT_CONV_MAX + 1], room[2] = {0, 0}, C = c->conv[c->convs - 1].dim, J = mert_config_features(c), D = c->width;
    float *turn[2], *features, *joined;
    rows_for(c, smaller(T, FRAMES), rows);
    for (int i = 0; i < c->convs - 1; i++)
        if (rows[i + 1] * c->conv[i].dim > room[i % 2])
            room[i % 2] = rows[i + 1] * c->conv[i].dim;
    turn[0] = mert_arena_floats(&f->scratch, room[0]);
    turn[1] = mert_arena_floats(&f->scratch, room[1]);
    features = mert_arena_floats(&f->scratch, FRAMES * C);
    joined = cqt ? mert_arena_floats(&f->scratch, FRAMES * J) : features;
    if (f->scratch.failed)
        return;
    for (int64_t t = 0; t < T; t += FRAMES) {
        int64_t n = smaller(T - t, FRAMES);
        extract(f, x + t * mert_config_stride(c), n, turn, features);
        if (cqt) {
            mert_copy_2d(f->ops, .to = joined, .ldto = J, .from = features, .ldfrom = C, .rows = n, .columns = C);
            mert_copy_2d(f->ops, .to = joined + C, .ldto = J, .from = cqt + t * (J - C), .ldfrom = J - C, .rows = n, .columns = J - C);
        }
        normalise(f, f->feature_norm, n, J, joined, joined);
        apply(f, f->projection, n, J, D, joined, J, 0, NULL, y + t * D);
    }
    mert_arena_back(&f->scratch, mark);
}

/* y = scale * residual + linear(x); the residual is overwritten where it must be scaled. */
static void branch_end(mert_forward *f, linear l, int64_t rows, int64_t in, const float *x, float *residual, float *y)
{
    int64_t D = f->c.width;
    if (f->residual_scale != 1.0f)
        mert_copy_2d(f->ops, .to = residual, .ldto = D, .from = residual, .ldfrom = D, .rows = rows, .columns = D, .scale = f->residual_scale);
    apply(f, l, rows, in, D, x, in, 0, residual, y);
}

typedef struct room {
    float *x, *qkv, *attended;    /* [T, D], [T, 3D], [T, D] */
    float *mid, *normed, *h;      /* a block's: [ROWS, D], [ROWS, D], [ROWS, F] */
} room;

/* Everything after attention, for `rows` rows: x [rows, D] in place. */
static void finish_layer(mert_forward *f, const layer *l, const room *r, const float *attended, float *x, int64_t rows)
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

static void run_layer(mert_forward *f, const layer *l, const room *r, int64_t T)
{
    int64_t D = f->c.width, H = f->c.heads, blocks = (T + ROWS - 1) / ROWS, step = (T + blocks - 1) / blocks;
    const float *in = r->x;
    step = smaller((step + 23) / 24 * 24, ROWS);
    if (f->c.pre_ln) {
        normalise(f, l->norm1, T, D, r->x, r->attended);
        in = r->attended;
    }
    mert_gemm(f->ops, .M = T, .N = D, .K = D, .a = in, .lda = D, .b = l->qkv.w, .packed = 1, .c = r->qkv, .ldc = 3 * D, .bias = l->qkv.b,
              .batch = 3, .b_step = mert_packed_floats(D, D), .c_step = D, .bias_step = D);
    mert_attention(f->ops, .out = r->attended, .ldout = D, .q = r->qkv, .k = r->qkv + D, .v = r->qkv + 2 * D, .B = 1, .T = T, .H = H,
                   .dh = D / H, .ld = 3 * D, .scale = (float)(1.0 / sqrt((double)(D / H))));
    for (int64_t t = 0; t < T; t += step)
        finish_layer(f, l, r, r->attended + t * D, r->x + t * D, smaller(T - t, step));
}

int mert_forward_run(mert_forward *f, const float *x, int64_t L, const float *cqt, int last, mert_hidden_fn each, void *self, mert_error *e)
{
    const mert_config *c = &f->c;
    int64_t T = mert_config_frames(c, L), D = c->width;
    mert_arena *a = &f->scratch;
    room r;
    mert_arena_reset(a);
    if (T < 1)
        return mert_fail(e, "%lld samples are shorter than the model's receptive field of %d", (long long)L, mert_config_receptive_field(c));
    r = (room){mert_arena_floats(a, T * D), mert_arena_floats(a, T * 3 * D), mert_arena_floats(a, T * D), mert_arena_floats(a, ROWS * D),
               mert_arena_floats(a, ROWS * D), mert_arena_floats(a, (int64_t)ROWS * c->ffn)};
    if (a->failed)
        return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
    if (!c->extractor_layer_norm)
        fold_first(f, x, L);
    project(f, x, cqt, T, r.attended);
    if (a->failed)
        return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
    mert_grouped_conv(f->ops, .y = r.x, .x = r.attended, .w = f->position.w, .packed = 1, .bias = f->position.b, .gelu = 1, .residual = r.attended,
                      .B = 1, .T = T, .D = D, .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    if (!c->pre_ln)
        normalise(f, f->encoder_norm, T, D, r.x, r.x);
    for (int i = 0; i <= last; i++) {
        if (i)
            run_layer(f, &f->layers[i - 1], &r, T);
        if (i == c->layers && c->pre_ln)
            normalise(f, f->encoder_norm, T, D, r.x, r.x);
        each(self, i, r.x);
    }
    f->ops->wait(f->ops);
    return 0;
}
