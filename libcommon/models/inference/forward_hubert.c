/* The first kind: convolutions over the waveform, transformer layers (man/model.md 2).
 *
 * - The waveform goes through the extractor and the projection in blocks of time, so that its large layers never exist
 *   as a whole. GroupNorm over the whole clip is exact all the same: mean and variance of the first convolution's
 *   outputs follow from the second moments of the waveform's windows, and the norm becomes part of the weights
 *   (nn/ops.h: mert_fold_norm).
 * - A layer's feed-forward part runs in blocks of rows. Memory: about 5 T D floats beside the weights. */
#include "libcommon/models/inference/forward_kinds.h"

#include "libcommon/base/integer.h"
#include "libcommon/nn/conv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef mert_linear_weights linear;
typedef mert_norm_weights norm;
typedef struct layer { linear qkv, out, fc1, fc2; norm norm1, norm2; } layer;

typedef struct hubert {
    float residual_scale;         /* (2N)^0.25 with deepnorm, else 1 */
    linear conv[MERT_CONV_MAX], projection, position;
    norm conv_norm[MERT_CONV_MAX], feature_norm, encoder_norm;
    layer *layers;
    /* group norm: the first convolution as it is, and with the norm of the present clip in it */
    const float *first;           /* [O, K] */
    float *folded, *folded_bias;
    mert_element *folded_packed;
    double *sums, *products;      /* of the clip's windows: [K], [K, K] */
    mert_arena clip;              /* the first convolution with the clip's norm */
} hubert;

/* ---- loading the weights ---- */

/* Conv weights [O, C, K] with the tap before the channel, as rows of overlapping windows want them. */
static void take_conv(mert_forward *f, mert_weight_loader *t, int i)
{
    const mert_config *c = &f->c;
    hubert *h = f->own;
    int64_t O = c->conv[i].dim, C = i ? c->conv[i - 1].dim : 1, K = c->conv[i].kernel;
    const float *official;
    mert_element *to;
    char name[96];
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
    if (c->extractor_layer_norm || i == 0)
        h->conv_norm[i] = mert_weight_norm_of(t, O, name);
    if (c->conv_bias)
        h->conv[i].b = mert_weight_take(t, O, "feature_extractor.conv_layers.%d.0.bias", i);
    if (C == 1) {
        official = mert_weight_take(t, O * K, "feature_extractor.conv_layers.%d.0.weight", i);
        if (!c->extractor_layer_norm) { /* packed anew for each clip */
            h->first = official;
            return;
        }
        to = mert_weight_place_product(t, 1, O, K, MERT_PACKED_F32);
        if (t->from)
            mert_weight_lay_out(f->ops, to, official, O, K, 1, MERT_PACKED_F32);
    } else {
        const mert_parameter *p;
        to = mert_weight_place_product(t, 1, O, C * K, t->packing);
        snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.0.weight", i);
        if ((official = mert_weight_begin(t, &p, name))) {
            mert_swap_axes(f->ops, .to = t->ordered, .from = official, .n = O, .a = C, .b = K);
            mert_weight_lay_out(f->ops, to, t->ordered, O, C * K, 1, t->packing);
            mert_weight_end(t, p, official);
        }
    }
    h->conv[i].w = to;
    h->conv[i].packing = mert_weight_packing(f->ops, O, C * K, C == 1 ? MERT_PACKED_F32 : t->packing);
}

static void take_position(mert_forward *f, mert_weight_loader *t)
{
    hubert *h = f->own;
    int64_t D = f->c.width, G = f->c.pos_groups, Cg = D / G, K = f->c.pos_kernel;
    const float *b = mert_weight_take(t, D, "encoder.pos_conv.0.bias"), *g = mert_weight_take(t, K, "encoder.pos_conv.0.weight_g"), *v;
    float *lengths = mert_weight_place(t, K);
    mert_element *to = mert_weight_place_product(t, G, Cg, K * Cg, t->packing);
    const mert_parameter *p;
    h->position = (linear){to, b, mert_weight_packing(f->ops, Cg, K * Cg, t->packing)};
    if (!(v = mert_weight_begin(t, &p, "encoder.pos_conv.0.weight_v")))
        return;
    mert_weight_norm(f->ops, .w = t->ordered, .norm = lengths, .g = g, .v = v, .out = D, .in = Cg, .kernel = K);
    mert_weight_lay_out(f->ops, to, t->ordered, Cg, K * Cg, G, t->packing);
    mert_weight_end(t, p, v);
}

static void take_layer(mert_forward *f, mert_weight_loader *t, int i)
{
    static const char *const parts[] = {"q", "k", "v"};
    layer *l = &((hubert *)f->own)->layers[i];
    int64_t D = f->c.width, F = f->c.ffn;
    char name[96];
    for (int j = 0; j < 3; j++) { /* one after the other: a batch of three products */
        const mert_element *w = mert_weight_product(t, D, D, "encoder.layers.%d.self_attn.%s_proj.weight", i, parts[j]);
        l->qkv.w = j ? l->qkv.w : w;
    }
    for (int j = 0; j < 3; j++) {
        const float *b = mert_weight_take(t, D, "encoder.layers.%d.self_attn.%s_proj.bias", i, parts[j]);
        l->qkv.b = j ? l->qkv.b : b;
    }
    l->qkv.packing = mert_weight_packing(f->ops, D, D, t->packing);
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn.out_proj", i);
    l->out = mert_weight_linear(t, D, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc1", i);
    l->fc1 = mert_weight_linear(t, F, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc2", i);
    l->fc2 = mert_weight_linear(t, D, F, name);
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn_layer_norm", i);
    l->norm1 = mert_weight_norm_of(t, D, name);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    l->norm2 = mert_weight_norm_of(t, D, name);
}

static void load_all(void *self, mert_weight_loader *t)
{
    mert_forward *f = self;
    hubert *h = f->own;
    const mert_config *c = &f->c;
    for (int i = 0; i < c->convs; i++)
        take_conv(f, t, i);
    h->feature_norm = mert_weight_norm_of(t, mert_config_features(c), "layer_norm");
    h->projection = mert_weight_linear(t, c->width, mert_config_features(c), "post_extract_proj");
    take_position(f, t);
    h->encoder_norm = mert_weight_norm_of(t, c->width, "encoder.layer_norm");
    for (int i = 0; i < c->layers; i++)
        take_layer(f, t, i);
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

/* Room for the first convolution with GroupNorm in it. */
static int make_first(mert_forward *f, mert_error *e)
{
    hubert *h = f->own;
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel;
    h->folded = mert_arena_floats(&h->clip, O * K);
    h->folded_packed = (mert_element *)(void *)mert_arena_floats(&h->clip, mert_weight_floats(f->ops, O, K, MERT_PACKED_F32));
    h->folded_bias = mert_arena_floats(&h->clip, O);
    h->sums = (double *)(void *)mert_arena_floats(&h->clip, 2 * K);
    h->products = (double *)(void *)mert_arena_floats(&h->clip, 2 * K * K);
    h->conv[0] = (linear){h->folded_packed, h->folded_bias, mert_weight_packing(f->ops, O, K, MERT_PACKED_F32)};
    return h->clip.failed ? mert_fail(e, "out of memory for the weights") : 0;
}

static int open_hubert(mert_forward *f, const mert_weights *w, mert_packing packing, mert_error *e)
{
    const mert_config *c = &f->c;
    hubert *h = f->own = calloc(1, sizeof *h);
    if (!h || !(h->layers = calloc((size_t)c->layers, sizeof *h->layers)))
        return mert_fail(e, "out of memory");
    h->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    mert_arena_open(&h->clip, f->ops);
    if ((!w->packed && mert_weights_check_taps(w, NULL, e)) ||
        mert_weight_block_open(&f->weights, w, f->ops, packing, load_all, f, largest_conv(c), e))
        return -1;
    return c->extractor_layer_norm ? 0 : make_first(f, e);
}

static void close_hubert(mert_forward *f)
{
    hubert *h = f->own;
    if (!h)
        return;
    if (h->layers)
        mert_arena_close(&h->clip);
    free(h->layers);
    free(h);
}

/* ---- the steps ---- */

/* What GroupNorm makes of this clip becomes part of the first convolution. */
static void fold_first(mert_forward *f, const mert_element *x, int64_t L)
{
    const hubert *h = f->own;
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel, S = f->c.conv[0].stride, T = (L - K) / S + 1;
    mert_window_moments(f->ops, .sums = h->sums, .products = h->products, .x = x, .T = T, .kernel = K, .stride = S);
    mert_fold_norm(f->ops, .w = h->folded, .b = h->folded_bias, .sums = h->sums, .products = h->products, .v = h->first,
                   .norm_w = h->conv_norm[0].w, .norm_b = h->conv_norm[0].b, .out = O, .kernel = K, .T = T,
                   .eps = MERT_EXTRACTOR_EPS);
    mert_weight_lay_out(f->ops, h->folded_packed, h->folded, O, K, 1, MERT_PACKED_F32);
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
    const hubert *h = f->own;
    const mert_config *c = &f->c;
    int64_t rows[MERT_CONV_MAX + 1], C = 1;
    rows_for(c, n, rows);
    for (int i = 0; i < c->convs; i++) {
        mert_element *to = i == c->convs - 1 ? y : turn[i % 2];
        int64_t O = c->conv[i].dim;
        mert_conv_shape s = {1, rows[i], rows[i + 1], C, O, c->conv[i].kernel, c->conv[i].stride};
        mert_conv(f->ops, .y = to, .x = x, .w = h->conv[i].w, .bias = h->conv[i].b, .shape = s,
                  .packed = h->conv[i].packing, .gelu = !c->extractor_layer_norm);
        if (c->extractor_layer_norm)
            mert_layer_norm(f->ops, .y = to, .x = to, .w = h->conv_norm[i].w, .b = h->conv_norm[i].b,
                            .rows = rows[i + 1], .columns = O, .eps = MERT_EXTRACTOR_EPS, .gelu = 1);
        x = to;
        C = O;
    }
}

/* Steps 1 to 3, in blocks of time: x [L] -> y [T, D]. */
static void project(mert_forward *f, const mert_element *x, const mert_element *cqt, int64_t T, mert_element *y)
{
    const hubert *h = f->own;
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
        mert_forward_norm(f, f->c.eps, h->feature_norm, n, J, joined, joined);
        mert_forward_linear(f, h->projection, n, J, D, joined, J, 0, NULL, mert_at(f->ops, y, t * D));
    }
    mert_arena_back(&f->scratch, mark);
}

/* y = scale * residual + linear(x); the residual is overwritten where it must be scaled. */
static void branch_end(mert_forward *f, linear l, int64_t rows, int64_t in, const mert_element *x,
                       mert_element *residual, mert_element *y)
{
    const hubert *h = f->own;
    int64_t D = f->c.width;
    if (h->residual_scale != 1.0f)
        mert_copy_2d(f->ops, .to = residual, .ldto = D, .from = residual, .ldfrom = D, .rows = rows, .columns = D,
                     .scale = h->residual_scale);
    mert_forward_linear(f, l, rows, in, D, x, in, 0, residual, y);
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
        mert_forward_norm(f, f->c.eps, l->norm2, rows, D, r->mid, r->normed);
        mert_forward_linear(f, l->fc1, rows, D, F, r->normed, D, 1, NULL, r->h);
        branch_end(f, l->fc2, rows, F, r->h, r->mid, x);
    } else {
        mert_forward_norm(f, f->c.eps, l->norm1, rows, D, r->mid, r->mid);
        mert_forward_linear(f, l->fc1, rows, D, F, r->mid, D, 1, NULL, r->h);
        branch_end(f, l->fc2, rows, F, r->h, r->mid, x);
        mert_forward_norm(f, f->c.eps, l->norm2, rows, D, x, x);
    }
}

/* From the query's weights to the key's: of packed ones, and of float32, in units of 4 bytes. */
static int64_t qkv_step(const mert_forward *f)
{
    const hubert *h = f->own;
    int64_t floats = mert_weight_placed(mert_weight_floats(f->ops, f->c.width, f->c.width, f->weights.packing));
    return floats * (int64_t)sizeof(float) / (h->layers->qkv.packing ? 4 : (int64_t)mert_element_bytes(f->ops, 1));
}

static void run_layer(mert_forward *f, const layer *l, const room *r, int64_t T)
{
    int64_t D = f->c.width, H = f->c.heads, step = mert_forward_block(T, r->rows);
    const mert_element *in = r->x;
    if (f->c.pre_ln) {
        mert_forward_norm(f, f->c.eps, l->norm1, T, D, r->x, r->attended);
        in = r->attended;
    }
    mert_gemm(f->ops, .M = T, .N = D, .K = D, .a = in, .lda = D, .b = l->qkv.w, .packed = l->qkv.packing,
              .c = r->qkv, .ldc = 3 * D, .bias = l->qkv.b, .batch = 3, .ldb = D, .tb = 1,
              .b_step = qkv_step(f), .c_step = D, .bias_step = mert_weight_placed(D));
    mert_attention(f->ops, .out = r->attended, .ldout = D, .q = r->qkv, .k = mert_at(f->ops, r->qkv, D),
                   .v = mert_at(f->ops, r->qkv, 2 * D), .B = 1, .T = T, .H = H, .dh = D / H, .ld = 3 * D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))));
    for (int64_t t = 0; t < T; t += step)
        finish_layer(f, l, r, mert_at(f->ops, r->attended, t * D), mert_at(f->ops, r->x, t * D),
                     mert_smaller(T - t, step));
}

static int run_hubert(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self,
                      mert_error *e)
{
    const hubert *h = f->own;
    const mert_config *c = &f->c;
    int64_t L = in->samples, T = mert_config_frames(c, L), D = c->width, rows;
    mert_arena *a = &f->scratch;
    room r;
    rows = mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FEED_FORWARD));
    r = (room){mert_arena_elements(a, T * D),    mert_arena_elements(a, T * 3 * D),
               mert_arena_elements(a, T * D),    mert_arena_elements(a, rows * D),
               mert_arena_elements(a, rows * D), mert_arena_elements(a, rows * c->ffn), rows};
    if (a->failed)
        return mert_forward_no_memory(L, e);
    if (!c->extractor_layer_norm)
        fold_first(f, in->pcm, L);
    project(f, in->pcm, in->cqt, T, r.attended);
    if (a->failed)
        return mert_forward_no_memory(L, e);
    mert_grouped_conv(f->ops, .y = r.x, .x = r.attended, .w = h->position.w, .packed = h->position.packing,
                      .bias = h->position.b, .gelu = 1, .residual = r.attended, .B = 1, .T = T, .D = D,
                      .groups = c->pos_groups, .kernel = c->pos_kernel, .pad = c->pos_kernel / 2);
    if (!c->pre_ln)
        mert_forward_norm(f, c->eps, h->encoder_norm, T, D, r.x, r.x);
    for (int i = 0; i <= last; i++) {
        if (i)
            run_layer(f, &h->layers[i - 1], &r, T);
        if (i == c->layers && c->pre_ln) {
            each(self, i + 1, r.x);
            mert_forward_norm(f, c->eps, h->encoder_norm, T, D, r.x, r.x);
        }
        each(self, i, r.x);
    }
    return 0;
}

const mert_forward_kind mert_forward_hubert = {open_hubert, close_hubert, run_hubert};
