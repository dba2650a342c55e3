/* The list of parameters, and random weights. */
#include "libcommon/models/weights.h"

#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct maker {
    mert_layout *l;
    int room, bad, training_only;
} maker;

static void add(maker *m, int ndim, const int64_t shape[], const char *format, va_list ap)
{
    mert_layout *l = m->l;
    mert_parameter *p;
    if (l->count == m->room) {
        int room = m->room ? 2 * m->room : 64;
        p = realloc(l->parameters, (size_t)room * sizeof *p);
        if (!p) {
            m->bad = 1;
            return;
        }
        l->parameters = p;
        m->room = room;
    }
    p = &l->parameters[l->count++];
    memset(p, 0, sizeof *p);
    vsnprintf(p->name, sizeof p->name, format, ap);
    p->ndim = ndim;
    p->n = 1;
    for (int i = 0; i < ndim; i++) {
        p->shape[i] = shape[i];
        p->n *= shape[i];
    }
    p->offset = l->size;
    p->training_only = m->training_only;
    l->size += (p->n + 15) / 16 * 16;
    l->elements += p->n;
}

MERT_PRINTF(3, 4) static void vector(maker *m, int64_t n, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 1, (int64_t[]){n}, format, ap);
    va_end(ap);
}

MERT_PRINTF(4, 5) static void matrix(maker *m, int64_t rows, int64_t columns, const char *format,
                                                         ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 2, (int64_t[]){rows, columns}, format, ap);
    va_end(ap);
}

MERT_PRINTF(5, 6) static void cube(maker *m, int64_t a, int64_t b, int64_t c, const char *format,
                                                       ...)
{
    va_list ap;
    va_start(ap, format);
    add(m, 3, (int64_t[]){a, b, c}, format, ap);
    va_end(ap);
}

static void norm(maker *m, int64_t n, const char *name)
{
    vector(m, n, "%s.weight", name);
    vector(m, n, "%s.bias", name);
}

static void linear(maker *m, int64_t in, int64_t out, const char *name)
{
    matrix(m, out, in, "%s.weight", name);
    vector(m, out, "%s.bias", name);
}

static void transformer_layer(maker *m, const mert_config *c, int i)
{
    static const char *const projections[] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    char name[80];
    for (int j = 0; j < 4; j++) {
        snprintf(name, sizeof name, "encoder.layers.%d.self_attn.%s", i, projections[j]);
        linear(m, c->width, c->width, name);
    }
    snprintf(name, sizeof name, "encoder.layers.%d.self_attn_layer_norm", i);
    norm(m, c->width, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc1", i);
    linear(m, c->width, c->ffn, name);
    snprintf(name, sizeof name, "encoder.layers.%d.fc2", i);
    linear(m, c->ffn, c->width, name);
    snprintf(name, sizeof name, "encoder.layers.%d.final_layer_norm", i);
    norm(m, c->width, name);
}

static void heads(maker *m, const mert_config *c)
{
    int64_t rows = 0;
    if (!c->codebooks)
        return;
    m->training_only = 1;
    for (int k = 0; k < c->codebooks; k++)
        rows += c->classes[k] + c->special_rows;
    matrix(m, rows, c->final_dim, "label_embs_concat");
    linear(m, c->width, (int64_t)c->final_dim * (c->untied ? c->codebooks : 1), "final_proj");
    if (c->learnable_temperature)
        vector(m, c->codebooks, "logit_temp_list");
    if (c->target_glu)
        linear(m, c->final_dim, 2 * (int64_t)c->final_dim, "target_glu.0");
    if (c->cqt_target_bins)
        linear(m, c->width, c->cqt_target_bins, "encoder_cqt_model.fc");
    if (c->mel_target_bins)
        linear(m, c->width, c->mel_target_bins, "encoder_mel_model.fc");
}

int mert_parameter_has_shape(const mert_parameter *p, int ndim, const int64_t *shape)
{
    return p->ndim == ndim && !memcmp(p->shape, shape, (size_t)ndim * sizeof *shape);
}

int mert_layout_make(mert_layout *l, const mert_config *c, mert_error *e)
{
    maker m = {.l = l};
    int64_t in = 1;
    char name[80];
    memset(l, 0, sizeof *l);
    l->config = *c;
    if (mert_config_check(c, e))
        return -1;
    m.training_only = 1;
    vector(&m, c->width, "mask_emb");
    m.training_only = 0;
    for (int i = 0; i < c->convs; i++) {
        cube(&m, c->conv[i].dim, in, c->conv[i].kernel, "feature_extractor.conv_layers.%d.0.weight", i);
        if (c->conv_bias)
            vector(&m, c->conv[i].dim, "feature_extractor.conv_layers.%d.0.bias", i);
        if (c->extractor_layer_norm || i == 0) {
            snprintf(name, sizeof name, "feature_extractor.conv_layers.%d.2%s", i, c->extractor_layer_norm ? ".1" : "");
            norm(&m, c->conv[i].dim, name);
        }
        in = c->conv[i].dim;
    }
    norm(&m, mert_config_features(c), "layer_norm");
    linear(&m, mert_config_features(c), c->width, "post_extract_proj");
    vector(&m, c->width, "encoder.pos_conv.0.bias");
    cube(&m, 1, 1, c->pos_kernel, "encoder.pos_conv.0.weight_g");
    cube(&m, c->width, c->width / c->pos_groups, c->pos_kernel, "encoder.pos_conv.0.weight_v");
    for (int i = 0; i < c->layers; i++)
        transformer_layer(&m, c, i);
    norm(&m, c->width, "encoder.layer_norm");
    heads(&m, c);
    if (m.bad || l->size > (int64_t)1 << 36) {
        mert_layout_free(l);
        return mert_fail(e, "no memory for a model of this size");
    }
    return 0;
}

void mert_layout_free(mert_layout *l)
{
    free(l->parameters);
    l->parameters = NULL;
    l->count = 0;
}

const mert_parameter *mert_layout_find(const mert_layout *l, const char *name)
{
    for (int i = 0; i < l->count; i++)
        if (!strcmp(l->parameters[i].name, name))
            return &l->parameters[i];
    return NULL;
}

int64_t mert_layout_offset(const mert_layout *l, const char *format, ...)
{
    char name[128];
    const mert_parameter *p;
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    p = mert_layout_find(l, name);
    if (!p)
        abort(); /* a name that the layout's own maker does not know is a mistake in the program */
    return p->offset;
}

/* ---- initialisation (man/model.md 6.1) ---- */

typedef enum law { ZERO, ONE, NORMAL, UNIFORM } law;

typedef struct start {
    law law;
    double a; /* standard deviation, or half width; UNIFORM with b: [b, b + a) */
    double b;
} start;

static int has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static int ends(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n >= t && !strcmp(name + n - t, tail);
}

static start start_of(const mert_parameter *p, const mert_config *c)
{
    const char *s = p->name;
    double fan_in = p->ndim == 2 ? (double)p->shape[1] : 1;
    double deep = c->deepnorm && !c->pre_ln ? pow(8.0 * c->layers, -0.25) : 1;
    if (!strcmp(s, "mask_emb") || !strcmp(s, "label_embs_concat"))
        return (start){UNIFORM, 1, 0};
    if (!strcmp(s, "logit_temp_list"))
        return (start){NORMAL, 0, log(1 / 0.1)};
    if (has(s, "feature_extractor") && p->ndim == 3) /* Kaiming: gain sqrt 2 over the fan-in */
        return (start){NORMAL, sqrt(2.0 / (double)(p->shape[1] * p->shape[2])), 0};
    if (ends(s, "pos_conv.0.weight_v"))
        return (start){NORMAL, sqrt(4.0 / ((double)c->pos_kernel * c->width)), 0};
    if (has(s, "feature_extractor") && ends(s, ".0.bias")) /* torch's default for a conv */
        return (start){UNIFORM, 0, 0};
    if (p->ndim == 1 && has(s, "norm"))
        return (start){ends(s, ".weight") ? ONE : ZERO, 0, 0};
    if (p->ndim == 1 && has(s, "conv_layers"))
        return (start){ends(s, ".weight") ? ONE : ZERO, 0, 0};
    if (has(s, "encoder.layers.")) {
        if (p->ndim == 1)
            return (start){ZERO, 0, 0};
        return (start){NORMAL,
                       0.02 * (has(s, "fc1") || has(s, "fc2") || has(s, "out_proj") || has(s, "v_proj") ? deep : 1), 0};
    }
    if (p->ndim == 2)
        return (start){UNIFORM, 2 / sqrt(fan_in), -1 / sqrt(fan_in)};
    return (start){ZERO, 0, 0};
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
    start s = start_of(p, &l->config);
    float *to = f->w->values + p->offset;
    (void)worker;
    /* biases of the other linears: uniform by the fan-in of the weight before them */
    if (s.law == ZERO && p->ndim == 1 && i > 0 && ends(p->name, ".bias") && !has(p->name, "encoder.layers.") &&
        !has(p->name, "norm")) {
        const mert_parameter *weight = &l->parameters[i - 1];
        double half = weight->ndim == 2 && ends(weight->name, ".weight") ? 1 / sqrt((double)weight->shape[1]) : 0;
        if (half > 0)
            s = (start){UNIFORM, 2 * half, -half};
    }
    if (has(p->name, "feature_extractor") && ends(p->name, ".0.bias")) {
        const mert_parameter *weight = &l->parameters[i - 1];
        double half = 1 / sqrt((double)(weight->shape[1] * weight->shape[2]));
        s = (start){UNIFORM, 2 * half, -half};
    }
    for (int64_t j = 0; j < p->n; j++)
        to[j] = s.law == ONE ? 1.0f : s.law == ZERO ? 0.0f
              : s.law == NORMAL ? (float)(s.b + s.a * mert_random_normal(&r, (uint32_t)j))
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

int mert_weights_init(mert_weights *w, const mert_config *c, uint64_t seed, mert_error *e)
{
    filling f = {w, seed};
    if (allocate(w, c, e))
        return -1;
    mert_pool_run(w->layout.count, fill, &f);
    mert_weights_positional_gain(w);
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

static void let_go(mert_weights *w)
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
    if (!w->packed) /* those are used where they are */
        let_go(w);
}

void mert_weights_free(mert_weights *w)
{
    let_go(w);
    mert_layout_free(&w->layout);
}
