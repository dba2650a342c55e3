#include "libcommon/models/inference/forward_extractor.h"

#include <stdio.h>

/* ---- loading the weights ---- */

/* Loads the weights of convolution i, [O, C, K], with the tap before the channel. */
static void take_conv(mert_forward *f, mert_weight_loader *t, mert_forward_extractor *h, int i)
{
    const mert_config *c = &f->c;
    int64_t O = c->conv[i].dim, C = i ? c->conv[i - 1].dim : 1, K = c->conv[i].kernel;
    const float *official;
    mert_element *to;
    char name[96];
    snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
    if (c->extractor_layer_norm || i == 0)
        h->conv_norm[i] = mert_weight_norm_of(t, O, name);
    if (c->conv_bias)
        h->conv[i].b = mert_weight_read(t, O, "feature_extractor.conv_layers.%d.0.bias", i);
    if (!i) {
        official = mert_weight_read(t, O * K, "feature_extractor.conv_layers.%d.0.weight", i);
        if (!c->extractor_layer_norm) { /* folded and packed again for each clip */
            h->first = official;
            return;
        }
        to = mert_weight_place_product(t, 1, O, K, MERT_PACKED_F32);
        if (t->from)
            mert_weight_lay_out(f->ops, to, official, O, K, 1, MERT_PACKED_F32);
    } else {
        snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.0.weight", i);
        to = mert_weight_conv(t, O, C, K, name);
    }
    h->conv[i].w = to;
    h->conv[i].packing = mert_weight_packing(f->ops, O, C * K, !i ? MERT_PACKED_F32 : t->packing);
}

/* Allocates the memory of the first convolution with GroupNorm folded in. */
static int make_first(mert_forward *f, mert_forward_extractor *h, mert_error *e)
{
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel;
    h->folded = mert_arena_floats(&h->clip, O * K);
    h->folded_packed =
        (mert_element *)(void *)mert_arena_floats(&h->clip, mert_weight_floats(f->ops, O, K, MERT_PACKED_F32));
    h->folded_bias = mert_arena_floats(&h->clip, O);
    h->sums = (double *)(void *)mert_arena_floats(&h->clip, 2 * K);
    h->products = (double *)(void *)mert_arena_floats(&h->clip, 2 * K * K);
    h->conv[0] = (mert_linear_weights){h->folded_packed, h->folded_bias,
                                       mert_weight_packing(f->ops, O, K, MERT_PACKED_F32)};
    return h->clip.failed ? mert_fail(e, "out of memory for the weights") : 0;
}

void mert_extractor_load(mert_forward *f, mert_weight_loader *t, mert_forward_extractor *x)
{
    for (int i = 0; i < f->c.convs; i++)
        take_conv(f, t, x, i);
}

int64_t mert_extractor_largest(const mert_config *c)
{
    int64_t largest = 0;
    for (int i = 1; i < c->convs; i++) {
        int64_t n = (int64_t)c->conv[i].dim * c->conv[i - 1].dim * c->conv[i].kernel;
        largest = n > largest ? n : largest;
    }
    return largest;
}

int mert_extractor_open(mert_forward *f, mert_forward_extractor *x, mert_error *e)
{
    mert_arena_open(&x->clip, f->ops);
    x->opened = 1;
    return f->c.extractor_layer_norm ? 0 : make_first(f, x, e);
}

void mert_extractor_close(mert_forward_extractor *x)
{
    if (x->opened)
        mert_arena_close(&x->clip);
    x->opened = 0;
}

/* ---- a clip ---- */

/* Folds the GroupNorm of this clip into the first convolution. */
static void fold_first(mert_forward *f, const mert_forward_extractor *h, const mert_element *x, int64_t L)
{
    int64_t O = f->c.conv[0].dim, K = f->c.conv[0].kernel, S = f->c.conv[0].stride, T = (L - K) / S + 1;
    mert_window_moments(f->ops, .sums = h->sums, .products = h->products, .x = x, .T = T, .kernel = K, .stride = S);
    mert_fold_norm(f->ops, .w = h->folded, .b = h->folded_bias, .sums = h->sums, .products = h->products, .v = h->first,
                   .norm_w = h->conv_norm[0].w, .norm_b = h->conv_norm[0].b, .out = O, .kernel = K, .T = T,
                   .eps = MERT_EXTRACTOR_EPS);
    mert_weight_lay_out(f->ops, h->folded_packed, h->folded, O, K, 1, MERT_PACKED_F32);
}

/* Number of rows of each layer's output that n frames need; rows[0]: samples. */
static void rows_for(const mert_config *c, int64_t n, int64_t rows[MERT_CONV_MAX + 1])
{
    rows[c->convs] = n;
    for (int i = c->convs - 1; i >= 0; i--)
        rows[i] = (rows[i + 1] - 1) * c->conv[i].stride + c->conv[i].kernel;
}

void mert_extractor_run(mert_forward *f, const mert_forward_extractor *h, const mert_element *x, int64_t n,
                        mert_element *const turn[2], mert_element *y)
{
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

void mert_extractor_begin(mert_forward *f, const mert_forward_extractor *x, const mert_element *pcm, int64_t L)
{
    if (!f->c.extractor_layer_norm)
        fold_first(f, x, pcm, L);
}

void mert_extractor_room(mert_forward *f, int64_t n, mert_element *turn[2])
{
    const mert_config *c = &f->c;
    int64_t rows[MERT_CONV_MAX + 1], room[2] = {0, 0};
    rows_for(c, n, rows);
    for (int i = 0; i < c->convs - 1; i++)
        if (rows[i + 1] * c->conv[i].dim > room[i % 2])
            room[i % 2] = rows[i + 1] * c->conv[i].dim;
    turn[0] = mert_arena_elements(&f->scratch, room[0]);
    turn[1] = mert_arena_elements(&f->scratch, room[1]);
}
