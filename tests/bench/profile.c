/* profile [--threads N] [--runs R] [--seconds S] MODEL: profiles mert-encode's forward pass. It times every operation
 * of the CPU backend, and assigns it to a stage by its shape. Prints, separated by tabs, "whole seconds GFLOP KIB" of
 * the run with the median time, then "STAGE seconds GFLOP" for each stage of it. The GFLOP of the whole are those of
 * models/flops.h, those of a stage the sum over its operations. */
#include "libcommon/models/flops.h"
#include "libcommon/models/inference/inference.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "tests/bench/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* The second kind of model has a subsampler and convolution modules in place of the first five. */
enum { FIRST_CONV, CONVS, PROJECTION, POSITION, SUBSAMPLER, CONV_MODULE, DEPTHWISE, LINEARS, ATTENTION, FFN, REST,
       STAGES };
static const char *const stage_names[STAGES] = {
    "conv 1 and its GroupNorm", "other convs", "projection", "positional conv", "subsampler's products",
    "products of the convolution modules", "depthwise convolutions", "q, k, v, out", "attention", "feed-forward", "rest"};

static int runs = 3;
static double audio_seconds = 5;
static const mert_option options[] = {
    {"runs", 0, MERT_INT, &runs, "R", 1, BENCH_RUNS_MAX, NULL, "runs, of which the median counts"},
    {"seconds", 0, MERT_DOUBLE, &audio_seconds, "S", 0.1, 3600, NULL, "length of the clip"},
    {0}};
static const mert_tool tool = {
    "profile", "where the time of a forward pass goes", "[options] MODEL", NULL, options, NULL};

typedef struct spent {
    double seconds, work;
} spent;

/* The backend has no user pointer, so the state of the measurement is in static variables. */
static const mert_config *config;
static void (*run_operation)(mert_ops *, mert_op, const void *, size_t);
static spent now_spent[STAGES];
static int last_stage = REST, subsampling; /* until the first norm of a block */

static int stage_of_product(const mert_gemm_args *g)
{
    const mert_config *c = config;
    if (c->kind == MERT_CONFORMER && subsampling)
        return SUBSAMPLER;
    if (g->N == c->ffn || g->K == c->ffn)
        return FFN;
    if (c->kind == MERT_CONFORMER)
        return g->bias ? LINEARS : CONV_MODULE;
    if (g->N % c->width == 0 && g->K == c->width)
        return LINEARS;
    if (g->N == c->width && g->K == mert_config_features(c))
        return PROJECTION;
    return g->K <= c->conv[0].kernel ? FIRST_CONV : CONVS;
}

static int stage_of(mert_op op, const void *args, double *work)
{
    *work = 0;
    switch (op) {
    case MERT_OP_GEMM: {
        const mert_gemm_args *g = args;
        *work = 2.0 * (double)g->M * (double)g->N * (double)g->K * (double)(g->batch > 0 ? g->batch : 1);
        return stage_of_product(g);
    }
    case MERT_OP_CONV: {
        const mert_conv_shape *s = &((const mert_conv_args *)args)->shape;
        *work = 2.0 * (double)(s->B * s->T_out * s->O) * (double)(s->kernel * s->C);
        return config->kind == MERT_CONFORMER ? SUBSAMPLER : s->C == 1 ? FIRST_CONV : CONVS;
    }
    case MERT_OP_GROUPED_CONV: {
        const mert_grouped_conv_args *g = args;
        *work = 2.0 * (double)(g->B * g->T * g->kernel) * (double)g->D * (double)(g->D / g->groups);
        return POSITION;
    }
    case MERT_OP_ATTENTION: {
        const mert_attention_args *a = args;
        *work = 4.0 * (double)(a->B * a->H * a->dh) * (double)a->T * (double)a->T;
        return ATTENTION;
    }
    case MERT_OP_TIME_NORM: return FIRST_CONV;
    case MERT_OP_DEPTHWISE_CONV: {
        const mert_depthwise_conv_args *d = args;
        *work = 2.0 * (double)(d->B * d->T * d->kernel) * (double)d->C;
        return DEPTHWISE;
    }
    case MERT_OP_LAYER_NORM: /* those of the blocks have another eps */
        subsampling &= ((const mert_layer_norm_args *)args)->eps != (float)config->eps;
        return REST;
    case MERT_OP_GELU: return last_stage; /* belongs to the previous operation */
    default: return REST;
    }
}

static void timed_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    double work, start = bench_now();
    int stage = stage_of(op, args, &work);
    run_operation(o, op, args, size);
    now_spent[stage].seconds += bench_now() - start;
    now_spent[stage].work += work;
    last_stage = stage;
}

typedef struct one_run {
    double whole;
    spent stages[STAGES];
} one_run;

static int by_time(const void *a, const void *b)
{
    return bench_ascending(&((const one_run *)a)->whole, &((const one_run *)b)->whole);
}

/* Deterministic noise with a tone: typical values, because unusual ones could change the speed. */
static float *clip(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    uint32_t r = 1;
    for (int64_t i = 0; x && i < n; i++) {
        r = r * 1664525u + 1013904223u;
        x[i] = 0.2f * (float)(i % 109 - 54) / 54 + 0.1f * ((float)(r >> 8) / (1 << 23) - 1);
    }
    return x;
}

static int measure(mert_inference *m, const float *x, int64_t n, one_run *r, mert_error *e)
{
    int64_t T;
    double start;
    for (int i = 0; i < STAGES; i++)
        now_spent[i] = (spent){0, 0};
    subsampling = 1;
    start = bench_now();
    if (mert_inference_forward(m, x, n, &T, e))
        return -1;
    r->whole = bench_now() - start;
    for (int i = 0; i < STAGES; i++)
        r->stages[i] = now_spent[i];
    return 0;
}

/* Time outside of operations is part of the rest. */
static void print(one_run *r, double whole_work)
{
    double timed = 0;
    for (int i = 0; i < REST; i++)
        timed += r->stages[i].seconds;
    r->stages[REST].seconds = r->whole - timed;
    printf("whole\t%.5f\t%.3f\t%ld\n", r->whole, 1e-9 * whole_work, bench_peak());
    for (int i = 0; i < STAGES; i++)
        if (r->stages[i].work > 0 || i == REST)
            printf("%s\t%.5f\t%.3f\n", stage_names[i], r->stages[i].seconds, 1e-9 * r->stages[i].work);
}

int main(int argc, char **argv)
{
    mert_weights w;
    mert_inference *m = NULL;
    mert_error e = {{0}};
    mert_ops *cpu = mert_ops_cpu();
    one_run r[BENCH_RUNS_MAX];
    int layers[MERT_LAYERS_MAX + 1];
    int64_t n;
    float *x;
    mert_options_parse(&tool, &argc, &argv);
    if (argc != 1)
        mert_usage_error("which model?");
    if (mert_weights_load(&w, argv[0], 0, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    config = &w.layout.config;
    n = (int64_t)(audio_seconds * config->sample_rate);
    for (int i = 0; i <= config->layers; i++)
        layers[i] = i;
    run_operation = cpu->run;
    cpu->run = timed_run;
    x = clip(n);
    m = x ? mert_inference_new(&w, cpu, MERT_PACKED_F32, layers, config->layers + 1, &e) : NULL;
    for (int i = runs > 1 ? -1 : 0; m && i < runs; i++) /* an additional first run, which allocates memory */
        if (measure(m, x, n, &r[i < 0 ? 0 : i], &e)) {
            mert_inference_free(m);
            m = NULL;
        }
    if (!m) {
        mert_log_error("%s: %s", argv[0], x ? e.text : "out of memory");
        return 1;
    }
    qsort(r, (size_t)runs, sizeof *r, by_time);
    print(&r[runs / 2], mert_forward_flops(config, 1, n));
    mert_inference_free(m);
    mert_weights_free(&w);
    free(x);
    return 0;
}
