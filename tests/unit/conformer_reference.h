/* A Conformer in double precision, by the definitions of man/model.md 16 and nn/reference: forward only, one
 * plain step after the other. What the encoder's results and, by its differences, its gradients are held against. */
#ifndef TEST_CONFORMER_REFERENCE_H
#define TEST_CONFORMER_REFERENCE_H

#include "libcommon/base/random.h"
#include "libcommon/models/encoder/conformer.h"
#include "libcommon/models/encoder/encoder.h"
#include "libcommon/nn/reference.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reference {
    const mert_layout *l;
    const double *w; /* in the layout */
    mert_forward_options options;
    int64_t B, L, T; /* L: of x, samples or mel frames; T: frames that take part, 0: all */
    const double *x;
    const float *mask; /* [B, T0]; NULL: none */
    double **hidden;   /* [layers + 1] of [B, T, D], to be freed by the caller */
    double squares;    /* sum over the extractor's output */
} reference;

static inline double *r_new(int64_t n)
{
    double *p = calloc((size_t)(n > 0 ? n : 1), sizeof *p);
    if (!p)
        abort();
    return p;
}

MERT_PRINTF(2, 3) static inline const double *r_weight(const reference *r, const char *format, ...)
{
    char name[128];
    const mert_parameter *p;
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    p = mert_layout_find(r->l, name);
    return p ? r->w + p->offset : NULL;
}

static inline void r_dropout(const reference *r, double *x, int64_t n, double p, int site)
{
    mert_dropout_key key = {r->options.seed, r->options.update << 20 | r->options.micro_batch, (uint32_t)site};
    if (p > 0)
        mert_reference_dropout(x, r->B, n / r->B, p, &key);
}

static inline double *r_norm(const reference *r, const char *name, const double *x, int64_t rows, int64_t columns,
                             double eps)
{
    double *y = r_new(rows * columns);
    mert_reference_layer_norm(y, x, r_weight(r, "%s.weight", name), r_weight(r, "%s.bias", name), NULL, NULL, rows,
                              columns, eps, 0);
    return y;
}

static inline double *r_linear(const reference *r, const char *name, const double *x, int64_t rows, int64_t in,
                               int64_t out)
{
    double *y = r_new(rows * out);
    mert_reference_linear(rows, in, out, x, r_weight(r, "%s.weight", name), r_weight(r, "%s.bias", name), NULL, 0,
                          NULL, y);
    return y;
}

/* x + scale * dropout(branch); frees the branch */
static inline double *r_residual(const reference *r, const double *x, double *branch, int64_t n, double scale, int site)
{
    double *y = r_new(n);
    r_dropout(r, branch, n, r->options.dropout, site);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + scale * branch[i];
    free(branch);
    return y;
}

/* ---- front end ---- */

static inline double *r_conv(const double *x, const double *w, const double *bias, mert_conv_shape *s)
{
    double *y, *ordered = r_new(s->O * s->C * s->kernel);
    s->T_out = (s->T_in - s->kernel) / s->stride + 1;
    y = r_new(s->B * s->T_out * s->O);
    mert_reference_swap_axes(ordered, w, s->O, s->C, s->kernel, 0);
    mert_reference_conv(s, x, ordered, bias, 0, y);
    free(ordered);
    return y;
}

static inline double *r_front(reference *r, int64_t *T0)
{
    const mert_config *c = &r->l->config;
    int64_t T = r->L, C = c->convs ? 1 : c->conformer.mels, n = r->B * T * C;
    double *x = r_new(n);
    const double *e = r_weight(r, "mask_emb");
    memcpy(x, r->x, (size_t)n * sizeof *x);
    for (int i = 0; i < c->convs; i++) {
        mert_conv_shape s = {r->B, T, 0, C, c->conv[i].dim, c->conv[i].kernel, c->conv[i].stride};
        double *y = r_conv(x, r_weight(r, "feature_extractor.conv_layers.%d.0.weight", i),
                           r_weight(r, "feature_extractor.conv_layers.%d.0.bias", i), &s);
        const char *which = c->extractor_layer_norm ? ".1" : "";
        const double *w = r_weight(r, "feature_extractor.conv_layers.%d.2%s.weight", i, which);
        const double *b = r_weight(r, "feature_extractor.conv_layers.%d.2%s.bias", i, which);
        free(x);
        x = r_new(n = s.B * s.T_out * s.O);
        if (c->extractor_layer_norm)
            mert_reference_layer_norm(x, y, w, b, NULL, NULL, s.B * s.T_out, s.O, MERT_EXTRACTOR_EPS, 0);
        else if (i == 0)
            mert_reference_time_norm(x, y, w, b, NULL, NULL, NULL, s.B, s.T_out, s.O, MERT_EXTRACTOR_EPS, 0);
        else
            memcpy(x, y, (size_t)n * sizeof *x);
        mert_reference_gelu_all(x, x, NULL, n);
        free(y);
        T = s.T_out, C = s.O;
    }
    r->squares = c->convs ? mert_reference_sum_squares(x, n) : 0;
    for (int64_t i = 0; r->mask && i < r->B * T; i++)
        for (int64_t k = 0; r->mask[i] != 0 && k < C; k++)
            x[i * C + k] = e[k];
    *T0 = T;
    return x;
}

/* ---- subsampler ---- */

static inline double *r_convnext(const reference *r, int i, int j, double *x, int64_t T, int64_t C)
{
    const mert_config *c = &r->l->config;
    int64_t rows = r->B * T, K = c->conformer.subsampler_kernel;
    char name[96];
    double *d = r_new(rows * C), *n, *h, *y, *squares = r_new(r->B * 4 * C);
    snprintf(name, sizeof name, "subsampling_module.%d.convnext_layers.%d.depthwise_block.1", i, j);
    mert_reference_depthwise_conv(d, x, r_weight(r, "%s.weight", name), r_weight(r, "%s.bias", name), r->B, T, C, K,
                                  (K - 1) / 2, T);
    snprintf(name, sizeof name, "subsampling_module.%d.convnext_layers.%d.pointwise_block.0", i, j);
    n = r_norm(r, name, d, rows, C, c->conformer.subsampler_eps);
    snprintf(name, sizeof name, "subsampling_module.%d.convnext_layers.%d.pointwise_block.1", i, j);
    h = r_linear(r, name, n, rows, C, 4 * C);
    mert_reference_gelu_all(h, h, NULL, rows * 4 * C);
    mert_reference_time_squares(squares, h, r->B, T, 4 * C);
    snprintf(name, sizeof name, "subsampling_module.%d.convnext_layers.%d.pointwise_block.3", i, j);
    mert_reference_response_norm(h, h, squares, r_weight(r, "%s.weight", name), r_weight(r, "%s.bias", name), r->B, T,
                                 4 * C, 1e-6);
    snprintf(name, sizeof name, "subsampling_module.%d.convnext_layers.%d.pointwise_block.4", i, j);
    y = r_linear(r, name, h, rows, 4 * C, C);
    for (int64_t k = 0; k < rows * C; k++)
        y[k] += x[k];
    free(d), free(n), free(h), free(squares), free(x);
    return y;
}

static inline double *r_subsampler(const reference *r, double *x, int64_t *T)
{
    const mert_config *c = &r->l->config;
    for (int i = 0; i < c->conformer.stages; i++) {
        int64_t in = i ? c->conformer.stage[i - 1].channels : mert_stage_in(c, 0), C = c->conformer.stage[i].channels;
        if (in != C || c->conformer.stage[i].stride > 1) {
            mert_conv_shape s = {r->B, *T, 0, in, C, 2, c->conformer.stage[i].stride};
            char name[96];
            double *n;
            snprintf(name, sizeof name, "subsampling_module.%d.resampling_layer.0", i);
            n = r_norm(r, name, x, r->B * *T, in, c->conformer.subsampler_eps);
            free(x);
            x = r_conv(n, r_weight(r, "subsampling_module.%d.resampling_layer.2.weight", i),
                       r_weight(r, "subsampling_module.%d.resampling_layer.2.bias", i), &s);
            free(n);
            *T = s.T_out;
        }
        for (int j = 0; j < c->conformer.stage[i].depth; j++)
            x = r_convnext(r, i, j, x, *T, C);
    }
    return x;
}

/* ---- blocks ---- */

static inline int r_site(int block, int place) { return SITE_LAYER + block * SITES_PER_LAYER + place; }

static inline double *r_ffn(const reference *r, int i, int half, double *x, int64_t T)
{
    const mert_config *c = &r->l->config;
    int64_t rows = r->B * T, D = c->width, F = c->ffn;
    char name[96];
    double *n, *h, *y;
    snprintf(name, sizeof name, "layers.%d.ffn%d_layer_norm", i, half + 1);
    n = r_norm(r, name, x, rows, D, c->eps);
    snprintf(name, sizeof name, "layers.%d.ffn%d.w_1", i, half + 1);
    h = r_linear(r, name, n, rows, D, F);
    mert_reference_gelu_all(h, h, NULL, rows * F);
    r_dropout(r, h, rows * F, r->options.activation_dropout, r_site(i, 2 * half));
    snprintf(name, sizeof name, "layers.%d.ffn%d.w_2", i, half + 1);
    y = r_residual(r, x, r_linear(r, name, h, rows, F, D), rows * D, 0.5, r_site(i, 2 * half + 1));
    free(n), free(h), free(x);
    return y;
}

static inline double *r_attention(const reference *r, int i, double *x, int64_t T)
{
    const mert_config *c = &r->l->config;
    int64_t rows = r->B * T, D = c->width, H = c->heads, half = D / H / 2, table = T * half;
    static const char *const projections[] = {"query_proj", "key_proj", "value_proj"};
    char name[96];
    double *n, *q[3], *out = r_new(rows * D), *cosines = r_new(table), *sines = r_new(table), *y;
    mert_reference_attention_args a = {.out = out, .B = r->B, .T = T, .H = H, .dh = D / H, .ld = D,
                                       .scale = 1 / sqrt((double)(D / H)), .p = r->options.attention_dropout,
                                       .key = {r->options.seed, r->options.update << 20 | r->options.micro_batch,
                                               (uint32_t)r_site(i, 4)}};
    for (int64_t k = 0; k < table; k++) { /* in float32, as the definition has it */
        float exponent = (float)(2 * (k % half)) / (float)(2 * half);
        float angle = (float)(k / half) * (1 / (float)pow(c->conformer.rotary_base, exponent));
        cosines[k] = (float)cos(angle);
        sines[k] = (float)sin(angle);
    }
    snprintf(name, sizeof name, "layers.%d.attn_layer_norm", i);
    n = r_norm(r, name, x, rows, D, c->eps);
    for (int j = 0; j < 3; j++) {
        snprintf(name, sizeof name, "layers.%d.attn.%s", i, projections[j]);
        q[j] = r_linear(r, name, n, rows, D, D);
        if (j < 2)
            mert_reference_rotary(q[j], cosines, sines, r->B, T, H, D / H, D, 0);
    }
    a.q = q[0], a.k = q[1], a.v = q[2];
    mert_reference_attention(&a);
    snprintf(name, sizeof name, "layers.%d.attn.out_proj", i);
    y = r_residual(r, x, r_linear(r, name, out, rows, D, D), rows * D, 1, r_site(i, 5));
    free(n), free(q[0]), free(q[1]), free(q[2]), free(out), free(cosines), free(sines), free(x);
    return y;
}

static inline double *r_convolution(const reference *r, int i, double *x, int64_t T)
{
    const mert_config *c = &r->l->config;
    int64_t rows = r->B * T, D = c->width, K = c->conformer.kernel;
    char name[96];
    double *n, *u, *g = r_new(rows * D), *d = r_new(rows * D), *inner, *y;
    snprintf(name, sizeof name, "layers.%d.conv_module.layer_norm", i);
    n = r_norm(r, name, x, rows, D, c->eps);
    snprintf(name, sizeof name, "layers.%d.conv_module.conv_block.1", i);
    u = r_linear(r, name, n, rows, D, 2 * D);
    mert_reference_glu(g, u, rows, D);
    mert_reference_depthwise_conv(d, g, r_weight(r, "layers.%d.conv_module.conv_block.3.weight", i), NULL, r->B, T, D,
                                  K, (K - 1) / 2, T);
    snprintf(name, sizeof name, "layers.%d.conv_module.conv_block.4.1", i);
    inner = r_norm(r, name, d, rows, D, c->eps);
    mert_reference_gelu_all(inner, inner, NULL, rows * D);
    snprintf(name, sizeof name, "layers.%d.conv_module.conv_block.6", i);
    y = r_residual(r, x, r_linear(r, name, inner, rows, D, D), rows * D, 1, r_site(i, 6));
    free(n), free(u), free(g), free(d), free(inner), free(x);
    return y;
}

static inline int r_dropped(const reference *r, int i)
{
    mert_random key = mert_random_key(r->options.seed, MERT_FOR_LAYERDROP,
                                      r->options.update << 20 | r->options.micro_batch, (uint32_t)i, SITE_LAYERDROP);
    return r->options.layerdrop > 0 && mert_random_uniform(&key, 0) < r->options.layerdrop;
}

static inline void r_keep(reference *r, int i, const double *x, int64_t n)
{
    r->hidden[i] = r_new(n);
    memcpy(r->hidden[i], x, (size_t)n * sizeof *x);
}

/* Fills r->hidden, r->T where it was 0, and r->squares. */
static inline void r_run(reference *r)
{
    const mert_config *c = &r->l->config;
    int64_t T, D = c->width;
    double *x = r_front(r, &T), *y;
    x = r_subsampler(r, x, &T);
    r->T = r->T ? r->T : T;
    y = r_new(r->B * r->T * D);
    for (int64_t b = 0; b < r->B; b++)
        memcpy(y + b * r->T * D, x + b * T * D, (size_t)(r->T * D) * sizeof *y);
    free(x);
    r_dropout(r, y, r->B * r->T * D, r->options.input_dropout, SITE_FEATURES);
    r_keep(r, 0, y, r->B * r->T * D);
    for (int i = 0; i < c->layers; i++) {
        if (!r_dropped(r, i)) {
            char name[96];
            y = r_ffn(r, i, 0, y, r->T);
            y = r_attention(r, i, y, r->T);
            y = r_convolution(r, i, y, r->T);
            y = r_ffn(r, i, 1, y, r->T);
            snprintf(name, sizeof name, "layers.%d.final_layer_norm", i);
            x = r_norm(r, name, y, r->B * r->T, D, c->eps);
            free(y);
            y = x;
        }
        r_keep(r, i + 1, y, r->B * r->T * D);
    }
    free(y);
}

#endif
