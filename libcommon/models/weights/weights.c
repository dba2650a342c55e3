/* Random weights, and a model in memory. */
#include "libcommon/models/weights/weights.h"

#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/dsp/log_mel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const mert_packing_names[] = {
    "", [MERT_PACKED_F32] = "f32", [MERT_PACKED_BF16] = "bf16", [MERT_PACKED_INT8] = "int8", NULL};

/* ---- initialisation (man/model.md 6.1) ---- */

typedef enum distribution { ZERO, ONE, NORMAL, UNIFORM } distribution;

typedef struct initial {
    distribution distribution;
    double a; /* standard deviation, or half width; UNIFORM with b: [b, b + a) */
    double b;
} initial;

static int has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static int ends(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n >= t && !strcmp(name + n - t, tail);
}

/* A Conformer: weights of products and convolutions are normal; biases, and both parameters of response norms, are
 * zero; weights of norms are one. */
static initial conformer_initial(const mert_parameter *p, const mert_config *c)
{
    int weight = ends(p->name, ".weight"), response = has(p->name, ".pointwise_block.3.");
    if (ends(p->name, "mel_std") || (weight && p->ndim == 1))
        return (initial){ONE, 0, 0};
    return weight && !response ? (initial){NORMAL, c->conformer.initializer_range, 0} : (initial){ZERO, 0, 0};
}

static initial initial_of(const mert_parameter *p, const mert_config *c)
{
    const char *s = p->name;
    double fan_in = p->ndim == 2 ? (double)p->shape[1] : 1;
    double deep = c->deepnorm && !c->pre_ln ? pow(8.0 * c->layers, -0.25) : 1;
    if (!strcmp(s, "mask_emb") || !strcmp(s, "label_embs_concat"))
        return (initial){UNIFORM, 1, 0};
    if (!strcmp(s, "logit_temp_list"))
        return (initial){NORMAL, 0, log(1 / 0.1)};
    if (has(s, "feature_extractor") && p->ndim == 3) /* Kaiming: gain sqrt 2 over the fan-in */
        return (initial){NORMAL, sqrt(2.0 / (double)(p->shape[1] * p->shape[2])), 0};
    if (ends(s, "pos_conv.0.weight_v"))
        return (initial){NORMAL, sqrt(4.0 / ((double)c->pos_kernel * c->width)), 0};
    if (has(s, "feature_extractor") && ends(s, ".0.bias")) /* torch's default for a convolution; fill() sets its
                                                              range */
        return (initial){UNIFORM, 0, 0};
    if (p->ndim == 1 && has(s, "norm"))
        return (initial){ends(s, ".weight") ? ONE : ZERO, 0, 0};
    if (p->ndim == 1 && has(s, "conv_layers"))
        return (initial){ends(s, ".weight") ? ONE : ZERO, 0, 0};
    if (has(s, "encoder.layers.")) {
        if (p->ndim == 1)
            return (initial){ZERO, 0, 0};
        return (initial){NORMAL, 0.02 * (has(s, "fc1") || has(s, "fc2") || has(s, "out_proj") || has(s, "v_proj")
                                             ? deep : 1), 0};
    }
    if (p->ndim == 2)
        return (initial){UNIFORM, 2 / sqrt(fan_in), -1 / sqrt(fan_in)};
    return (initial){ZERO, 0, 0};
}

typedef struct filling {
    mert_weights *w;
    uint64_t seed;
} filling;

static void fill(void *arg, int64_t i, int worker)
{
    const filling *f = arg;
    const mert_layout *l = &f->w->layout;
    const mert_parameter *p = &l->parameters[i];
    mert_random r = mert_random_key(f->seed, MERT_FOR_INIT, (uint64_t)i, 0, 0);
    int conformer = l->config.kind == MERT_CONFORMER && !p->training_only && !has(p->name, ".conv_layers.");
    initial s = conformer ? conformer_initial(p, &l->config) : initial_of(p, &l->config);
    float *to = f->w->values + p->offset;
    (void)worker;
    /* biases of the other linear layers: uniform, with the fan-in of the weight before them */
    if (!conformer && s.distribution == ZERO && p->ndim == 1 && i > 0 && ends(p->name, ".bias") && !has(p->name,
            "encoder.layers.") &&
        !has(p->name, "norm")) {
        const mert_parameter *weight = &l->parameters[i - 1];
        double half = weight->ndim == 2 && ends(weight->name, ".weight") ? 1 / sqrt((double)weight->shape[1]) : 0;
        if (half > 0)
            s = (initial){UNIFORM, 2 * half, -half};
    }
    if (!conformer && has(p->name, "feature_extractor") && ends(p->name, ".0.bias")) {
        const mert_parameter *weight = &l->parameters[i - 1];
        double half = 1 / sqrt((double)(weight->shape[1] * weight->shape[2]));
        s = (initial){UNIFORM, 2 * half, -half};
    }
    for (int64_t j = 0; j < p->n; j++)
        to[j] = s.distribution == ONE ? 1.0f : s.distribution == ZERO ? 0.0f
              : s.distribution == NORMAL ? (float)(s.b + s.a * mert_random_normal(&r, (uint32_t)j))
                                : (float)(s.b + s.a * mert_random_uniform(&r, (uint32_t)j));
}

void mert_weights_positional_gain(mert_weights *w)
{
    const mert_parameter *v = mert_layout_find(&w->layout, "encoder.pos_conv.0.weight_v");
    const float *x = mert_weights_values(w, v);
    float *g = w->values + mert_layout_offset(&w->layout, "encoder.pos_conv.0.weight_g");
    int64_t kernel = v->shape[2];
    for (int64_t k = 0; k < kernel; k++) {
        double s = 0;
        for (int64_t i = k; i < v->n; i += kernel)
            s += (double)x[i] * x[i];
        g[k] = (float)sqrt(s);
    }
}

static int allocate(mert_weights *w, const mert_config *c, mert_error *e)
{
    memset(w, 0, sizeof *w);
    if (mert_layout_make(&w->layout, c, e))
        return -1;
    w->values = aligned_alloc(64, (size_t)w->layout.size * sizeof *w->values);
    if (!w->values) {
        mert_layout_free(&w->layout);
        return mert_fail(e, "no memory for %lld parameters", (long long)w->layout.elements);
    }
    memset(w->values, 0, (size_t)w->layout.size * sizeof *w->values);
    return 0;
}

/* Fills in the default tables of the front end. Mean 0 and deviation 1 are already set. */
static int fill_front_end(mert_weights *w, mert_error *e)
{
    const mert_config *c = &w->layout.config;
    if (!w->layout.constants) /* its input is the waveform */
        return 0;
    mert_log_mel_window(w->values + mert_layout_offset(&w->layout, "feature_extractor.spectrogram.window"),
                        c->conformer.win_length);
    return mert_log_mel_filters(w->values + mert_layout_offset(&w->layout, "feature_extractor.mel_scale.fb"),
                                c->sample_rate, c->conformer.n_fft, c->conformer.mels, e);
}

int mert_weights_init(mert_weights *w, const mert_config *c, uint64_t seed, mert_error *e)
{
    filling f = {w, seed};
    if (allocate(w, c, e))
        return -1;
    mert_pool_run(w->layout.count, fill, &f);
    if (c->kind == MERT_HUBERT)
        mert_weights_positional_gain(w);
    else if (fill_front_end(w, e)) {
        mert_weights_free(w);
        return -1;
    }
    return 0;
}

int mert_weights_allocate(mert_weights *w, const mert_config *c, mert_error *e)
{
    return allocate(w, c, e);
}

const float *mert_weights_values(const mert_weights *w, const mert_parameter *p)
{
    return w->views ? w->views[p - w->layout.parameters] : w->values + p->offset;
}

int64_t mert_tap_without_length(const mert_parameter *p, const float *v, int64_t from)
{
    int64_t K = p->shape[2];
    for (int64_t k = from; k < K; k++) {
        int64_t i = k;
        while (i < p->n && v[i] == 0)
            i += K;
        if (i >= p->n)
            return k;
    }
    return -1;
}

int mert_weights_check_taps(const mert_weights *w, const char *name, mert_error *e)
{
    const mert_parameter *p = mert_layout_find(&w->layout, "encoder.pos_conv.0.weight_v");
    int64_t k = mert_tap_without_length(p, mert_weights_values(w, p), 0);
    return k < 0 ? 0 : mert_fail(e, "tensor %s: all weights of tap %" PRId64 " are zero, and weight norm divides by their"
                                 " length", name ? name : p->name, k);
}

void mert_weights_forget(const mert_weights *w, const mert_parameter *p)
{
    if (w->source)
        mert_checkpoint_forget(w->source, mert_weights_values(w, p), (size_t)p->n * sizeof(float));
}

static void release_values(mert_weights *w)
{
    if (w->source)
        mert_checkpoint_close(w->source);
    free(w->values);
    free(w->views);
    w->source = NULL;
    w->values = NULL;
    w->views = NULL;
    w->packed = NULL;
}

void mert_weights_drop(mert_weights *w)
{
    if (!w->packed) /* packed weights are used in place */
        release_values(w);
}

void mert_weights_free(mert_weights *w)
{
    release_values(w);
    mert_layout_free(&w->layout);
}
