/* The kind hubert: convolutions over the waveform, transformer layers (man/model.md 2).
 *
 * - The waveform goes through the extractor and the projection in blocks of time, so that their large layers are never
 *   in memory as a whole (forward_extractor.h).
 * - The feed-forward part of a layer runs in blocks of rows. Memory: about 5 T D floats besides the weights. */
#include "libcommon/models/inference/forward_extractor.h"

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
    mert_forward_extractor extractor;
    linear projection, position;
    norm feature_norm, encoder_norm;
    layer *layers;
} hubert;

/* ---- loading the weights ---- */

static void take_position(mert_forward *f, mert_weight_loader *t)
{
    hubert *h = f->own;
    int64_t D = f->c.width, G = f->c.pos_groups, Cg = D / G, K = f->c.pos_kernel;
    const float *b = mert_weight_read(t, D, "encoder.pos_conv.0.bias");
    const float *g = mert_weight_read(t, K, "encoder.pos_conv.0.weight_g"), *v;
    float *lengths = mert_weight_place(t, K);
    mert_packing as = t->packing == MERT_PACKED_INT8 ? MERT_PACKED_F32 : t->packing;
    mert_element *to = mert_weight_place_product(t, G, Cg, K * Cg, as);
    const mert_parameter *p;
    h->position = (linear){to, b, mert_weight_packing(f->ops, Cg, K * Cg, as)};
    if (!(v = mert_weight_begin(t, &p, "encoder.pos_conv.0.weight_v")))
        return;
    mert_weight_norm(f->ops, .w = t->ordered, .norm = lengths, .g = g, .v = v, .out = D, .in = Cg, .kernel = K);
    mert_weight_lay_out(f->ops, to, t->ordered, Cg, K * Cg, G, as);
    mert_weight_end(t, p, v);
}

static void take_layer(mert_forward *f, mert_weight_loader *t, int i)
{
    static const char *const parts[] = {"q", "k", "v"};
    layer *l = &((hubert *)f->own)->layers[i];
    int64_t D = f->c.width, F = f->c.ffn;
    char name[96];
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn.", i);
    l->qkv = mert_weight_qkv(t, D, name, parts);
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
    mert_extractor_load(f, t, &h->extractor);
    h->feature_norm = mert_weight_norm_of(t, mert_config_features(c), "layer_norm");
    h->projection = mert_weight_linear(t, c->width, mert_config_features(c), "post_extract_proj");
    take_position(f, t);
    h->encoder_norm = mert_weight_norm_of(t, c->width, "encoder.layer_norm");
    for (int i = 0; i < c->layers; i++)
        take_layer(f, t, i);
}

static int64_t largest_conv(const mert_config *c)
{
    return mert_larger(mert_extractor_largest(c), (int64_t)c->width * (c->width / c->pos_groups) * c->pos_kernel);
}

static int open_hubert(mert_forward *f, const mert_weights *w, mert_packing packing, mert_error *e)
{
    const mert_config *c = &f->c;
    hubert *h = f->own = calloc(1, sizeof *h);
    if (!h || !(h->layers = calloc((size_t)c->layers, sizeof *h->layers)))
        return mert_fail(e, "out of memory");
    h->residual_scale = c->deepnorm && !c->pre_ln ? (float)pow(2.0 * c->layers, 0.25) : 1.0f;
    if ((!w->packed && mert_weights_check_taps(w, NULL, e)) ||
        mert_weight_block_open(&f->weights, w, f->ops, packing, load_all, f, largest_conv(c), e))
        return -1;
    return mert_extractor_open(f, &h->extractor, e);
}

static void close_hubert(mert_forward *f)
{
    hubert *h = f->own;
    if (!h)
        return;
    mert_extractor_close(&h->extractor);
    free(h->layers);
    free(h);
}

/* ---- the steps ---- */

/* Steps 1 to 3, in blocks of time: x [L] -> y [T, D]. */
static void project(mert_forward *f, const mert_element *x, const mert_element *cqt, int64_t T, mert_element *y)
{
    const hubert *h = f->own;
    const mert_config *c = &f->c;
    mert_arena_mark mark = mert_arena_here(&f->scratch);
    int64_t C = c->conv[c->convs - 1].dim, J = mert_config_features(c), D = c->width;
    int64_t at_once = mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FRAMES));
    mert_element *turn[2], *features, *joined;
    mert_extractor_room(f, at_once, turn);
    features = mert_arena_elements(&f->scratch, at_once * C);
    joined = cqt ? mert_arena_elements(&f->scratch, at_once * J) : features;
    if (f->scratch.failed)
        return;
    for (int64_t t = 0; t < T; t += at_once) {
        int64_t n = mert_smaller(T - t, at_once);
        mert_extractor_run(f, &h->extractor, mert_const_at(f->ops, x, t * mert_config_stride(c)), n, turn, features);
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

/* y = scale * residual + linear(x). The residual is overwritten if it has to be scaled. */
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
    mert_element *mid, *normed, *h;      /* of a block: [rows, D], [rows, D], [rows, F] */
    int64_t rows;                 /* largest number of rows in a block */
} room;

/* The part of a layer after attention, for `rows` rows: x [rows, D] in place. */
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

static void run_layer(mert_forward *f, const layer *l, const room *r, int64_t T)
{
    int64_t D = f->c.width, H = f->c.heads, step = mert_forward_block(T, r->rows);
    const mert_element *in = r->x;
    if (f->c.pre_ln) {
        mert_forward_norm(f, f->c.eps, l->norm1, T, D, r->x, r->attended);
        in = r->attended;
    }
    mert_forward_qkv(f, l->qkv, T, in, r->qkv);
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
    mert_extractor_begin(f, &h->extractor, in->pcm, L);
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
