/* The kind conformer: log-mel spectrum, ConvNeXt-v2 subsampler, Conformer blocks (man/model.md 16).
 *
 * - The response norm of the subsampler needs the whole clip. So its layers are in memory as a whole; the largest takes
 *   4 C floats for each frame of its stage.
 * - The products of a block run in blocks of rows. Attention and the depthwise convolution, which use other rows, run
 *   on all rows at once. Memory: about 6 T D floats besides the weights and the subsampler. */
#include "libcommon/models/inference/forward_extractor.h"

#include "libcommon/base/integer.h"
#include "libcommon/models/rotary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef mert_linear_weights linear;
typedef mert_norm_weights norm;

typedef struct convnext {
    const float *depthwise, *depthwise_bias; /* [C, kernel], [C] */
    norm norm, response;                     /* [C], [4C] */
    linear up, down;
} convnext;

typedef struct stage {
    norm norm;
    linear resample; /* from two frames, one after the other: [C, 2 * in] */
    convnext *layers;
} stage;

typedef struct block {
    norm ffn1_norm, attn_norm, conv_norm, depthwise_norm, ffn2_norm, final_norm;
    linear ffn1[2], qkv, out, gate, mix, ffn2[2]; /* gate: D -> 2 D, for the GLU; mix: after the convolution */
    const float *depthwise;                       /* [D, kernel] */
} block;

typedef struct conformer {
    mert_forward_extractor extractor; /* of a model whose input is the waveform */
    stage stages[MERT_STAGES_MAX];
    block *blocks;
    mert_rotary_tables rotary;
} conformer;

/* ---- loading the weights ---- */

static void take_convnext(mert_weight_loader *l, convnext *x, int64_t C, int64_t K, int s, int i)
{
    char name[96], layer[64];
    snprintf(layer, sizeof layer, "subsampling_module.%d.convnext_layers.%d", s, i);
    x->depthwise = mert_weight_read(l, C * K, "%s.depthwise_block.1.weight", layer);
    x->depthwise_bias = mert_weight_read(l, C, "%s.depthwise_block.1.bias", layer);
    snprintf(name, sizeof name, "%s.pointwise_block.0", layer);
    x->norm = mert_weight_norm_of(l, C, name);
    snprintf(name, sizeof name, "%s.pointwise_block.1", layer);
    x->up = mert_weight_linear(l, 4 * C, C, name);
    snprintf(name, sizeof name, "%s.pointwise_block.3", layer);
    x->response = mert_weight_norm_of(l, 4 * C, name);
    snprintf(name, sizeof name, "%s.pointwise_block.4", layer);
    x->down = mert_weight_linear(l, C, 4 * C, name);
}

/* Loads the resampling convolution, [C, in, 2]; two frames of x are one row. */
static void take_resampling(mert_forward *f, mert_weight_loader *l, stage *x, int64_t in, int64_t C, int s)
{
    const mert_element *w;
    char name[96];
    snprintf(name, sizeof name, "subsampling_module.%d.resampling_layer.0", s);
    x->norm = mert_weight_norm_of(l, in, name);
    snprintf(name, sizeof name, "subsampling_module.%d.resampling_layer.2.weight", s);
    w = mert_weight_conv(l, C, in, 2, name);
    x->resample = (linear){w, mert_weight_read(l, C, "subsampling_module.%d.resampling_layer.2.bias", s),
                           mert_weight_packing(f->ops, C, 2 * in, l->packing)};
}

static norm take_norm(mert_weight_loader *l, int64_t D, int i, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "layers.%d.%s", i, what);
    return mert_weight_norm_of(l, D, name);
}

static linear take_linear(mert_weight_loader *l, int64_t out, int64_t in, int i, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "layers.%d.%s", i, what);
    return mert_weight_linear(l, out, in, name);
}

/* A convolution of kernel 1 without bias. */
static linear take_pointwise(mert_weight_loader *l, int64_t out, int64_t in, int i, int which)
{
    const mert_element *w = mert_weight_product(l, out, in, "layers.%d.conv_module.conv_block.%d.weight", i, which);
    return (linear){w, NULL, mert_weight_packing(l->ops, out, in, l->packing)};
}

static void take_block(mert_forward *f, mert_weight_loader *l, block *x, int i)
{
    static const char *const parts[] = {"query", "key", "value"};
    char name[32];
    int64_t D = f->c.width, F = f->c.ffn;
    x->ffn1_norm = take_norm(l, D, i, "ffn1_layer_norm");
    x->ffn1[0] = take_linear(l, F, D, i, "ffn1.w_1");
    x->ffn1[1] = take_linear(l, D, F, i, "ffn1.w_2");
    x->attn_norm = take_norm(l, D, i, "attn_layer_norm");
    snprintf(name, sizeof name, "layers.%d.attn.", i);
    x->qkv = mert_weight_qkv(l, D, name, parts);
    x->out = take_linear(l, D, D, i, "attn.out_proj");
    x->conv_norm = take_norm(l, D, i, "conv_module.layer_norm");
    x->gate = take_pointwise(l, 2 * D, D, i, 1);
    x->depthwise = mert_weight_read(l, D * f->c.conformer.kernel, "layers.%d.conv_module.conv_block.3.weight", i);
    x->depthwise_norm = take_norm(l, D, i, "conv_module.conv_block.4.1");
    x->mix = take_pointwise(l, D, D, i, 6);
    x->ffn2_norm = take_norm(l, D, i, "ffn2_layer_norm");
    x->ffn2[0] = take_linear(l, F, D, i, "ffn2.w_1");
    x->ffn2[1] = take_linear(l, D, F, i, "ffn2.w_2");
    x->final_norm = take_norm(l, D, i, "final_layer_norm");
}

/* The tables of the front end come first, as in the flat array of the weights: weights_file.c expects them there in a
 * packed model. */
static void load_all(void *self, mert_weight_loader *l)
{
    mert_forward *f = self;
    const mert_conformer_config *c = &f->c.conformer;
    conformer *m = f->own;
    if (!f->c.convs) {
        mert_weight_read(l, c->win_length, "feature_extractor.spectrogram.window");
        mert_weight_read(l, (int64_t)(c->n_fft / 2 + 1) * c->mels, "feature_extractor.mel_scale.fb");
        mert_weight_read(l, c->mels, "feature_extractor.mel_mean");
        mert_weight_read(l, c->mels, "feature_extractor.mel_std");
    }
    mert_extractor_load(f, l, &m->extractor);
    for (int s = 0; s < c->stages; s++) {
        int64_t C = c->stage[s].channels;
        if (mert_stage_resamples(&f->c, s))
            take_resampling(f, l, &m->stages[s], mert_stage_in(&f->c, s), C, s);
        for (int i = 0; i < c->stage[s].depth; i++)
            take_convnext(l, &m->stages[s].layers[i], C, c->subsampler_kernel, s, i);
    }
    for (int i = 0; i < f->c.layers; i++)
        take_block(f, l, &m->blocks[i], i);
}

static int open_conformer(mert_forward *f, const mert_weights *w, mert_packing packing, mert_error *e)
{
    const mert_config *c = &f->c;
    conformer *m = f->own = calloc(1, sizeof *m);
    int64_t ordered = mert_larger(1, mert_extractor_largest(c));
    int bad = !m || !(m->blocks = calloc((size_t)c->layers, sizeof *m->blocks));
    for (int s = 0; !bad && s < c->conformer.stages; s++) {
        int64_t C = c->conformer.stage[s].channels, in = mert_stage_in(c, s);
        ordered = mert_larger(ordered, 2 * in * C);
        bad = !(m->stages[s].layers = calloc((size_t)c->conformer.stage[s].depth + 1, sizeof *m->stages[s].layers));
    }
    if (bad)
        return mert_fail(e, "out of memory");
    mert_rotary_open(&m->rotary, f->ops, c->width / c->heads, c->conformer.rotary_base);
    if (mert_weight_block_open(&f->weights, w, f->ops, packing, load_all, f, ordered, e))
        return -1;
    return c->convs ? mert_extractor_open(f, &m->extractor, e) : 0;
}

static void close_conformer(mert_forward *f)
{
    conformer *m = f->own;
    if (!m)
        return;
    mert_rotary_close(&m->rotary);
    mert_extractor_close(&m->extractor);
    for (int s = 0; s < MERT_STAGES_MAX; s++)
        free(m->stages[s].layers);
    free(m->blocks);
    free(m);
}

/* ---- the subsampler ---- */

/* x [T, C] in place; mid: [T, C], wide: [T, 4C], squares: [4C]. */
static void run_convnext(mert_forward *f, const convnext *l, int64_t T, int64_t C, mert_element *x, mert_element *mid,
                         mert_element *wide, double *squares)
{
    mert_depthwise_conv(f->ops, .y = mid, .x = x, .w = l->depthwise, .bias = l->depthwise_bias, .B = 1, .T = T, .C = C,
                        .kernel = f->c.conformer.subsampler_kernel, .pad = f->c.conformer.subsampler_kernel / 2);
    mert_forward_norm(f, f->c.conformer.subsampler_eps, l->norm, T, C, mid, mid);
    mert_forward_linear(f, l->up, T, C, 4 * C, mid, C, 1, NULL, wide);
    mert_clear(f->ops, .to = squares, .bytes = (size_t)(4 * C) * sizeof *squares);
    mert_time_squares(f->ops, .squares = squares, .x = wide, .B = 1, .T = T, .C = 4 * C);
    mert_response_norm(f->ops, .y = wide, .x = wide, .squares = squares, .w = l->response.w, .b = l->response.b, .B = 1,
                       .T = T, .C = 4 * C, .eps = MERT_RESPONSE_EPS);
    mert_forward_linear(f, l->down, T, 4 * C, C, wide, 4 * C, 0, x, x);
}

/* The frames that enter the subsampler: the spectrum, or the extractor's output, which is computed in blocks of time.
 * NULL: out of memory. */
static const mert_element *front(mert_forward *f, const mert_forward_input *in, int64_t T)
{
    const conformer *m = f->own;
    int64_t C = mert_stage_in(&f->c, 0), at_once, stride = 1;
    mert_element *y, *turn[2];
    mert_arena_mark mark;
    if (!f->c.convs)
        return in->mel;
    for (int i = 0; i < f->c.convs; i++)
        stride *= f->c.conv[i].stride;
    at_once = mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FRAMES));
    y = mert_arena_elements(&f->scratch, T * C);
    mark = mert_arena_here(&f->scratch);
    mert_extractor_room(f, at_once, turn);
    if (f->scratch.failed)
        return NULL;
    mert_extractor_begin(f, &m->extractor, in->pcm, in->samples);
    for (int64_t t = 0; t < T; t += at_once)
        mert_extractor_run(f, &m->extractor, mert_const_at(f->ops, in->pcm, t * stride), mert_smaller(T - t, at_once),
                           turn, mert_at(f->ops, y, t * C));
    mert_arena_back(&f->scratch, mark);
    return y;
}

/* x [frames, C] -> y [T, D]. -1: out of memory. */
static int subsample(mert_forward *f, const mert_element *x, int64_t frames, mert_element *y)
{
    const mert_config *c = &f->c;
    const conformer *m = f->own;
    mert_arena *a = &f->scratch;
    int64_t T = frames, C = mert_stage_in(c, 0);
    for (int s = 0; s < c->conformer.stages; s++) {
        const stage *g = &m->stages[s];
        int64_t in = C, before = T;
        mert_element *normed, *to = y, *mid, *wide;
        double *squares;
        mert_arena_mark mark;
        C = c->conformer.stage[s].channels;
        if (mert_stage_resamples(c, s))
            T = (T - 2) / c->conformer.stage[s].stride + 1;
        if (s < c->conformer.stages - 1)
            to = mert_arena_elements(a, T * C);
        mark = mert_arena_here(a);
        if (mert_stage_resamples(c, s)) {
            normed = mert_arena_elements(a, before * in);
            if (a->failed)
                return -1;
            mert_forward_norm(f, c->conformer.subsampler_eps, g->norm, before, in, x, normed);
            mert_conv(f->ops, .y = to, .x = normed, .w = g->resample.w, .bias = g->resample.b,
                      .shape = {1, before, T, in, C, 2, c->conformer.stage[s].stride}, .packed = g->resample.packing);
            mert_arena_back(a, mark);
        } else if (!a->failed)
            mert_copy(f->ops, .to = to, .from = x, .bytes = mert_element_bytes(f->ops, T * C));
        mid = mert_arena_elements(a, T * C);
        wide = mert_arena_elements(a, T * 4 * C);
        squares = (double *)(void *)mert_arena_floats(a, 2 * 4 * C);
        if (a->failed)
            return -1;
        for (int i = 0; i < c->conformer.stage[s].depth; i++)
            run_convnext(f, &g->layers[i], T, C, to, mid, wide, squares);
        mert_arena_back(a, mark);
        x = to;
    }
    return 0;
}

/* ---- a block ---- */

typedef struct room {
    mert_element *x, *y, *qkv;          /* [T, D], [T, D], [T, 3D] */
    mert_element *normed, *mid, *wide;  /* for a block of rows: [rows, D], [rows, D], [rows, F or 2D] */
    int64_t T, rows;
} room;

/* x += feed_forward(LayerNorm(x)) / 2, for n rows of x. */
static void feed_forward(mert_forward *f, const room *r, norm before, const linear w[2], mert_element *x, int64_t n)
{
    int64_t D = f->c.width, F = f->c.ffn;
    mert_forward_norm(f, f->c.eps, before, n, D, x, r->normed);
    mert_forward_linear(f, w[0], n, D, F, r->normed, D, 1, NULL, r->wide);
    mert_forward_linear(f, w[1], n, F, D, r->wide, F, 0, NULL, r->mid);
    mert_axpy(f->ops, .to = x, .from = r->mid, .alpha = 0.5f, .n = n * D);
}

static void attend(mert_forward *f, const block *b, const room *r)
{
    const conformer *m = f->own;
    int64_t D = f->c.width, H = f->c.heads, T = r->T;
    mert_forward_norm(f, f->c.eps, b->attn_norm, T, D, r->x, r->y);
    mert_forward_qkv(f, b->qkv, T, r->y, r->qkv);
    for (int i = 0; i < 2; i++)
        mert_rotary_apply(&m->rotary, mert_at(f->ops, r->qkv, i * D), 1, T, H, 3 * D, 0);
    mert_attention(f->ops, .out = r->y, .ldout = D, .q = r->qkv, .k = mert_at(f->ops, r->qkv, D),
                   .v = mert_at(f->ops, r->qkv, 2 * D), .B = 1, .T = T, .H = H, .dh = D / H, .ld = 3 * D,
                   .scale = (float)(1.0 / sqrt((double)(D / H))));
}

/* Runs a block on x [T, D] in place. Attention and the depthwise convolution need all rows, everything else runs in
 * blocks of rows. The convolution's input and output, [T, D] each, are in the memory of qkv. */
static void run_block(mert_forward *f, const block *b, const room *r)
{
    int64_t D = f->c.width, T = r->T;
    mert_element *gated = r->qkv, *mixed = mert_at(f->ops, r->qkv, T * D);
    for (int64_t t = 0; t < T; t += r->rows)
        feed_forward(f, r, b->ffn1_norm, b->ffn1, mert_at(f->ops, r->x, t * D), mert_smaller(T - t, r->rows));
    attend(f, b, r);
    for (int64_t t = 0; t < T; t += r->rows) {
        int64_t n = mert_smaller(T - t, r->rows);
        mert_element *x = mert_at(f->ops, r->x, t * D);
        mert_forward_linear(f, b->out, n, D, D, mert_at(f->ops, r->y, t * D), D, 0, x, x);
        mert_forward_norm(f, f->c.eps, b->conv_norm, n, D, x, r->normed);
        mert_forward_linear(f, b->gate, n, D, 2 * D, r->normed, D, 0, NULL, r->wide);
        mert_glu(f->ops, .y = mert_at(f->ops, gated, t * D), .x = r->wide, .rows = n, .D = D);
    }
    mert_depthwise_conv(f->ops, .y = mixed, .x = gated, .w = b->depthwise, .B = 1, .T = T, .C = D,
                        .kernel = f->c.conformer.kernel, .pad = f->c.conformer.kernel / 2);
    for (int64_t t = 0; t < T; t += r->rows) {
        int64_t n = mert_smaller(T - t, r->rows);
        mert_element *x = mert_at(f->ops, r->x, t * D), *h = mert_at(f->ops, mixed, t * D);
        mert_forward_norm(f, f->c.eps, b->depthwise_norm, n, D, h, h);
        mert_gelu(f->ops, .y = h, .x = h, .n = n * D);
        mert_forward_linear(f, b->mix, n, D, D, h, D, 0, x, x);
        feed_forward(f, r, b->ffn2_norm, b->ffn2, x, n);
        mert_forward_norm(f, f->c.eps, b->final_norm, n, D, x, x);
    }
}

static int run_conformer(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self,
                         mert_error *e)
{
    const mert_config *c = &f->c;
    conformer *m = f->own;
    mert_arena *a = &f->scratch;
    int64_t T = mert_config_frames(c, in->samples), D = c->width;
    int64_t rows = mert_forward_block(T, mert_smaller(T, f->ops->rows_at_once(f->ops, MERT_BLOCK_FEED_FORWARD)));
    room r = {.x = mert_arena_elements(a, T * D), .T = T, .rows = rows};
    mert_arena_mark mark = mert_arena_here(a);
    const mert_element *frames;
    int64_t before = mert_config_front_frames(c, in->samples);
    if (a->failed || mert_rotary_reach(&m->rotary, T) || !(frames = front(f, in, before)) ||
        subsample(f, frames, before, r.x))
        return mert_forward_no_memory(in->samples, e);
    mert_arena_back(a, mark);
    r.y = mert_arena_elements(a, T * D);
    r.qkv = mert_arena_elements(a, T * 3 * D);
    r.normed = mert_arena_elements(a, rows * D);
    r.mid = mert_arena_elements(a, rows * D);
    r.wide = mert_arena_elements(a, rows * mert_larger(c->ffn, 2 * D));
    if (a->failed)
        return mert_forward_no_memory(in->samples, e);
    for (int i = 0; i <= last; i++) {
        if (i)
            run_block(f, &m->blocks[i - 1], &r);
        each(self, i, r.x);
    }
    return 0;
}

const mert_forward_kind mert_forward_conformer = {open_conformer, close_conformer, run_conformer};
