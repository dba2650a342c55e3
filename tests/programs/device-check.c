/* device-check [--device NAME] [--precision WHAT] [--small] WHAT...: a device against the CPU, at the sizes of MERT-95M
 * and at odd ones (--small: sizes that the emulated device computes in seconds). WHAT is one of
 *
 *     open        what the driver calls it, and its memory
 *     operations  the operations of training, forward and backward: the largest difference from the CPU backend with
 *                 the same elements, relative to the largest number; and the same bytes when it runs again
 *     rows        contract A1, of a device whose products read weights as they are: rows through products and a norm
 *                 have the same bits alone and among others
 *     upload      GB/s from pinned memory to the device, and back
 *
 * A line for each result. Exits with 1 if one is bad, with 3 if there is no such device. */
#include "libcommon/base/clock.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/ops.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/cqt_device.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 64, OUTPUTS = 12 };

static const char *device = "emulated";
static int precision, small, failures;
static const char *const precisions[] = {"fp32", "bf16", "fp16", NULL};
/* float32: sums in another order; 16 bits: one step of the largest number */
static const double allowed[] = {2e-5, 0x1p-7, 0x1p-10};
static const mert_option options[] = {
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL, "the device"},
    {"precision", 0, MERT_CHOICE, &precision, "WHAT", 0, 0, precisions, "type of elements"},
    {"small", 0, MERT_FLAG, &small, NULL, 0, 0, NULL, "small sizes"},
    {0}};
static const mert_tool tool = {"device-check", "a device against the CPU", "[options] WHAT...", NULL, options, NULL};

/* ---- a case on one backend: its inputs, and its outputs as floats ---- */

static mert_ops *ops; /* where it runs */
static void *held[ROOM];
static int nheld;
static float *output[OUTPUTS];
static int64_t length[OUTPUTS];
static int outputs;

static void die(const char *what)
{
    mert_error e = {{0}};
    if (ops)
        ops->wait(ops, &e);
    mert_log_error("%s: %s", what, *e.text ? e.text : "out of memory");
    exit(1);
}

static void *take(size_t bytes)
{
    void *p = nheld < ROOM ? ops->alloc(ops, bytes ? bytes : 64) : NULL;
    if (!p)
        die("no room");
    return held[nheld++] = p;
}

/* n numbers of about unit variance times scale, the same for the same seed. */
static float *numbers(int64_t n, uint32_t seed, float scale)
{
    mert_random key = mert_random_key(seed, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = scale * (float)(3.4641016 * mert_random_uniform(&key, (uint32_t)i) - 1.7320508);
    return x;
}

static float *floats(int64_t n, uint32_t seed, float scale)
{
    float *x = numbers(n, seed, scale), *d = take((size_t)n * sizeof *d);
    if (!x)
        die("no room");
    ops->upload(ops, d, x, (size_t)n * sizeof *x);
    if (ops->wait(ops, NULL))
        die("upload");
    free(x);
    return d;
}

static mert_element *elements(int64_t n, uint32_t seed, float scale)
{
    mert_element *e = take(mert_element_bytes(ops, n));
    mert_to_elements(ops, .to = e, .from = floats(n, seed, scale), .n = n);
    return e;
}

static int32_t *whole(int64_t n, int64_t below)
{
    int32_t *x = malloc((size_t)n * sizeof *x), *d = take((size_t)n * sizeof *d);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = (int32_t)(i * 7919 % below);
    if (!x)
        die("no room");
    ops->upload(ops, d, x, (size_t)n * sizeof *x);
    if (ops->wait(ops, NULL))
        die("upload");
    free(x);
    return d;
}

static void zero(void *p, size_t bytes) { mert_clear(ops, .to = p, .bytes = bytes); }

static float *sums(int64_t n)
{
    float *p = take((size_t)n * sizeof *p);
    zero(p, (size_t)n * sizeof *p);
    return p;
}

static mert_element *result(int64_t n) { return take(mert_element_bytes(ops, n)); }

static void give_floats(const float *d, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    if (!x || outputs == OUTPUTS)
        die("no room");
    ops->download(ops, x, d, (size_t)n * sizeof *x);
    output[outputs] = x;
    length[outputs++] = n;
}

static void give(const mert_element *e, int64_t n)
{
    float *f = take((size_t)n * sizeof *f);
    mert_to_floats(ops, .to = f, .from = e, .n = n);
    give_floats(f, n);
}

/* Runs it on a backend; the outputs are then there. */
static void run_on(mert_ops *where, void (*test)(void))
{
    ops = where;
    outputs = 0;
    test();
    if (ops->wait(ops, NULL))
        die("an operation");
    while (nheld)
        ops->release(ops, held[--nheld]);
}

/* ---- the cases: sizes of MERT-95M, of a batch as large as the CPU has time for ---- */

static int64_t of(int64_t real, int64_t little) { return small ? little : real; }

static void product(int64_t M, int64_t N, int64_t K, int ta, int tb)
{
    mert_element *a = elements(M * K, 1, 1), *b = elements(N * K, 2, 0.05f), *c = result(M * N), *pre = result(M * N);
    float *g = sums(M * N);
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = ta ? M : K, .ta = ta, .b = b, .ldb = tb ? K : N, .tb = tb,
              .c = c, .ldc = N, .bias = floats(N, 3, 1), .pre = pre, .gelu = 1);
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = ta ? M : K, .ta = ta, .b = b, .ldb = tb ? K : N, .tb = tb,
              .gradient = g, .ldc = N, .add = 1);
    give(c, M * N);
    give(pre, M * N);
    give_floats(g, M * N);
}

static void linear(void) { product(of(1500, 70), of(3072, 96), of(768, 64), 0, 1); }
static void linear_odd(void) { product(of(1499, 37), of(767, 33), of(771, 29), 0, 1); }
static void linear_dx(void) { product(of(1500, 70), of(768, 64), of(3072, 96), 0, 0); }
static void linear_dw(void) { product(of(768, 64), of(3072, 96), of(1500, 70), 1, 0); }

static void conv(void)
{
    mert_conv_shape s = {.B = 2, .T_in = of(11999, 61), .C = of(512, 16), .O = of(512, 32), .kernel = 3, .stride = 2};
    int64_t in, out, nw = s.O * s.kernel * s.C;
    mert_element *x, *w, *y, *dx;
    float *dw = sums(nw), *db = sums(s.O);
    s.T_out = (s.T_in - s.kernel) / s.stride + 1;
    in = s.B * s.T_in * s.C, out = s.B * s.T_out * s.O;
    x = elements(in, 1, 1), w = elements(nw, 2, 0.03f), y = result(out), dx = result(in);
    mert_conv(ops, .y = y, .x = x, .w = w, .shape = s, .gelu = 1);
    mert_conv_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = elements(out, 3, 1), .x = x, .w = w, .shape = s);
    give(y, out);
    give(dx, in);
    give_floats(dw, nw);
    give_floats(db, s.O);
}

static void first_layer(void)
{
    mert_conv_shape s = {.B = 2, .T_in = of(120000, 400), .C = 1, .O = of(512, 32), .kernel = 10, .stride = 5};
    int64_t out;
    mert_element *x = elements(s.B * s.T_in, 1, 0.1f), *y;
    float *w = floats(s.O * s.kernel, 2, 0.3f), *n_w = floats(s.O, 3, 1), *n_b = floats(s.O, 4, 1),
          *dw = sums(s.O * s.kernel), *dn_w = sums(s.O),
          *dn_b = sums(s.O);
    s.T_out = (s.T_in - s.kernel) / s.stride + 1;
    out = s.B * s.T_out * s.O;
    y = result(out);
    mert_first_layer(ops, .y = y, .x = x, .w = w, .norm_w = n_w, .norm_b = n_b, .shape = s, .eps = 1e-5f);
    mert_first_layer_backward(ops, .dw = dw, .dnorm_w = dn_w, .dnorm_b = dn_b, .dy = elements(out, 5, 1),
                              .room = result(out), .x = x, .w = w, .norm_w = n_w, .norm_b = n_b, .shape = s,
                              .eps = 1e-5f);
    give(y, out);
    give_floats(dw, s.O * s.kernel);
    give_floats(dn_w, s.O);
    give_floats(dn_b, s.O);
}

static void norm_of(int64_t rows, int64_t D)
{
    mert_element *x = elements(rows * D, 1, 2), *y = result(rows * D), *dx = result(rows * D),
                 *dy = elements(rows * D, 4, 1);
    float *w = floats(D, 2, 1), *b = floats(D, 3, 1), *mean = sums(rows), *rstd = sums(rows), *dw = sums(D),
          *db = sums(D);
    mert_layer_norm(ops, .y = y, .x = x, .w = w, .b = b, .mean = mean, .rstd = rstd, .rows = rows, .columns = D,
                    .eps = 1e-5f);
    mert_layer_norm_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = dy, .x = x, .w = w, .b = b, .mean = mean,
                             .rstd = rstd, .rows = rows, .columns = D);
    give(y, rows * D);
    give(dx, rows * D);
    give_floats(dw, D);
    give_floats(db, D);
}

static void layer_norm(void) { norm_of(of(5984, 50), of(768, 48)); }
static void layer_norm_odd(void) { norm_of(of(5983, 43), of(513, 37)); }

static const mert_dropout_key key = {.seed = 5, .place = 3, .site = 7};

static void add_norm(void)
{
    int64_t B = 4, T = of(374, 11), D = of(768, 48), n = B * T * D;
    mert_element *x = elements(n, 1, 1), *s = result(n), *y = result(n), *dr = result(n), *dx = result(n);
    float *w = floats(D, 3, 1), *mean = sums(B * T), *rstd = sums(B * T), *dw = sums(D), *db = sums(D), *bias = sums(D);
    mert_add_norm(ops, .s = s, .y = y, .x = x, .residual = elements(n, 2, 1), .w = w, .b = floats(D, 4, 1),
                  .mean = mean, .rstd = rstd, .B = B, .T = T, .D = D, .eps = 1e-5f, .p = 0.1, .key = key);
    mert_add_norm_backward(ops, .dresidual = dr, .dx = dx, .dw = dw, .db = db, .sums = bias, .dy = elements(n, 5, 1),
                           .s = s, .w = w, .mean = mean, .rstd = rstd, .B = B, .T = T, .D = D, .p = 0.1, .key = key);
    give(y, n);
    give(dr, n);
    give(dx, n);
    give_floats(dw, D);
    give_floats(bias, D);
}

static void gelu(void)
{
    int64_t D = of(3072, 96), rows = of(1496, 44), n = rows * D;
    mert_element *x = elements(n, 1, 2), *y = result(n), *dx = result(n);
    float *s = sums(D);
    mert_gelu(ops, .y = y, .x = x, .n = n, .B = 4, .p = 0.1, .key = key);
    mert_gelu_backward(ops, .dx = dx, .dy = elements(n, 2, 1), .x = x, .sums = s, .n = n, .columns = D, .B = 4,
                       .p = 0.1, .key = key);
    give(y, n);
    give(dx, n);
    give_floats(s, D);
}

static void attend(int64_t B, int64_t T, int64_t H, int64_t dh, double p)
{
    int64_t D = H * dh, ld = 3 * D, n = B * T * D;
    mert_element *qkv = elements(B * T * ld, 1, 1), *out = result(n), *d = result(B * T * ld);
    float *lse = sums(B * H * T);
    zero(d, mert_element_bytes(ops, B * T * ld));
    mert_attention(ops, .out = out, .lse = lse, .q = qkv, .k = mert_at(ops, qkv, D), .v = mert_at(ops, qkv, 2 * D),
                   .B = B, .T = T, .H = H, .dh = dh, .ld = ld, .ldout = D, .scale = 1 / sqrtf((float)dh), .p = p,
                   .key = key);
    mert_attention_backward(ops, .dq = d, .dk = mert_at(ops, d, D), .dv = mert_at(ops, d, 2 * D),
                            .dout = elements(n, 2, 1), .out = out, .lse = lse, .q = qkv, .k = mert_at(ops, qkv, D),
                            .v = mert_at(ops, qkv, 2 * D), .B = B, .T = T, .H = H, .dh = dh, .ld = ld, .ldout = D,
                            .scale = 1 / sqrtf((float)dh), .p = p, .key = key);
    give(out, n);
    give_floats(lse, B * H * T);
    give(d, B * T * ld);
}

static void attention(void) { attend(2, of(374, 35), of(12, 2), of(64, 64), 0.1); }
static void attention_long(void) { attend(1, of(2249, 70), of(4, 1), 64, 0); }
static void attention_odd(void) { attend(2, of(177, 19), 3, 12, 0.1); }

static void positions(void)
{
    int64_t B = 2, T = of(374, 21), D = of(768, 32), groups = of(16, 4), kernel = of(128, 8), n = B * T * D,
            nw = D * kernel * D / groups;
    mert_element *x = elements(n, 1, 1), *w = elements(nw, 2, 0.02f), *y = result(n), *dx = result(n);
    float *dw = sums(nw);
    zero(dx, mert_element_bytes(ops, n));
    mert_grouped_conv(ops, .y = y, .x = x, .w = w, .bias = floats(D, 3, 1), .B = B, .T = T, .D = D, .groups = groups,
                      .kernel = kernel, .pad = kernel / 2, .gelu = 1);
    mert_grouped_conv_backward(ops, .dx = dx, .dw = dw, .dy = elements(n, 4, 1), .x = x, .w = w, .B = B, .T = T, .D = D,
                               .groups = groups, .kernel = kernel, .pad = kernel / 2);
    give(y, n);
    give(dx, n);
    give_floats(dw, nw);
}

static void losses(void)
{
    int64_t K = of(8, 2), S = of(1900, 23), V = of(1024, 50), n = K * S * V;
    mert_element *x = elements(n, 1, 0.3f);
    double *to = take(2 * (size_t)K * sizeof *to), host[64];
    float *as = sums(2 * K), back[64];
    zero(to, 2 * (size_t)K * sizeof *to);
    mert_cross_entropy(ops, .logits = x, .target = whole(K * S, V), .sums = to, .rows = S, .V = V, .count = K,
                       .scale = 10, .grad = 1);
    give(x, n);
    ops->download(ops, host, to, 2 * (size_t)K * sizeof *to);
    if (ops->wait(ops, NULL))
        die("losses");
    for (int64_t i = 0; i < 2 * K; i++)
        back[i] = (float)host[i];
    ops->upload(ops, as, back, 2 * (size_t)K * sizeof *back);
    if (ops->wait(ops, NULL))
        die("losses");
    give_floats(as, 2 * K);
}

static void depthwise(void)
{
    int64_t B = 2, T = of(750, 23), C = of(1024, 24), kernel = of(31, 7), n = B * T * C;
    mert_element *x = elements(2 * n, 1, 1), *y = result(n), *z = result(n), *dx = result(n), *dg = result(2 * n),
                 *dy = elements(n, 2, 1);
    float *w = floats(C * kernel, 3, 0.2f), *dw = sums(C * kernel);
    mert_glu(ops, .y = y, .x = x, .rows = B * T, .D = C);
    mert_glu_backward(ops, .dx = dg, .dy = dy, .x = x, .rows = B * T, .D = C);
    mert_depthwise_conv(ops, .y = z, .x = y, .w = w, .B = B, .T = T, .C = C, .kernel = kernel, .pad = kernel / 2);
    mert_depthwise_conv_backward(ops, .dx = dx, .dw = dw, .dy = dy, .x = y, .w = w, .B = B, .T = T, .C = C,
                                 .kernel = kernel, .pad = kernel / 2);
    give(y, n);
    give(dg, 2 * n);
    give(z, n);
    give(dx, n);
    give_floats(dw, C * kernel);
}

/* Items of EnCodec's first layers, and its LSTM. */
static mert_span *spans(int64_t n, int64_t rows, int64_t apart)
{
    mert_span *s = malloc((size_t)n * sizeof *s), *d = take((size_t)n * sizeof *s);
    for (int64_t i = 0; s && i < n; i++)
        s[i] = (mert_span){i * apart, rows - i, i % 2, n - 1 - i};
    if (!s)
        die("no room");
    ops->upload(ops, d, s, (size_t)n * sizeof *s);
    if (ops->wait(ops, NULL))
        die("upload");
    free(s);
    return d;
}

static void padding(void)
{
    int64_t n = of(16, 3), rows = of(24000, 50), apart = of(24010, 60), T = n * apart, C = of(32, 5), left = 6;
    mert_element *y = result((T + left) * C);
    mert_pad(ops, .y = y, .x = elements(T * C, 1, 1), .spans = spans(n, rows, apart), .n = n, .T = T, .C = C,
             .scale = 1, .left = left, .stride = 2, .elu = 1);
    mert_elu(ops, .y = y, .x = y, .n = (T + left) * C);
    give(y, (T + left) * C);
}

static void lstm(void)
{
    int64_t n = of(19, 3), rows = of(40, 9), W = of(512, 21), T = n * rows;
    mert_element *y = result(T * W);
    float *state = floats(n * 2 * W, 1, 0.5f);
    zero(y, mert_element_bytes(ops, T * W));
    mert_lstm(ops, .y = y, .state = state, .gates = elements(T * 4 * W, 2, 1), .w = elements(4 * W * W, 3, 0.05f),
              .spans = spans(n, rows, rows), .n = n, .longest = rows, .T = T, .W = W);
    give(y, T * W);
    give_floats(state, n * 2 * W);
}

/* Other labels leave other differences. With elements of 16 bits there is no such operation. */
static void nearest(void)
{
    int64_t rows = of(4000, 40), V = of(1024, 70), D = of(128, 16);
    mert_element *x = elements(rows * D, 1, 1), *scores = result(rows * V);
    float *words = floats(V * D, 2, 1), *bias = sums(V), *w = numbers(V * D, 2, 1), *b = calloc((size_t)V, sizeof *b);
    int32_t *label = take((size_t)rows * sizeof *label);
    if (!w || !b)
        die("no room");
    for (int64_t i = 0; i < V * D; i++)
        b[i / D] -= w[i] * w[i] / 2;
    ops->upload(ops, bias, b, (size_t)V * sizeof *b);
    if (ops->type == MERT_ELEMENT_F32) {
        mert_gemm(ops, .M = rows, .N = V, .K = D, .a = x, .lda = D, .b = (const mert_element *)(const void *)words,
                  .ldb = D, .tb = 1, .c = scores, .ldc = V, .bias = bias);
        mert_nearest(ops, .label = label, .x = x, .scores = scores, .words = words, .rows = rows, .V = V, .D = D,
                     .ldlabel = 1, .reach = sqrtf((float)(3 * D)));
    }
    give(x, rows * D);
    if (ops->wait(ops, NULL))
        die("nearest");
    free(w);
    free(b);
}

/* The CQT target of the published models: the frames that a mask has chosen. */
static void cqt_target(void)
{
    int64_t B = of(16, 2), L = of(120000, 9000), S = 0;
    mert_config c = mert_config_95m();
    mert_arena arena;
    mert_cqt_device *t = NULL;
    const float *y = NULL;
    int64_t T = mert_config_frames(&c, L);
    int32_t *row = malloc((size_t)(B * T) * sizeof *row), *rows = take((size_t)(B * T) * sizeof *rows);
    mert_error e;
    c.cqt_target_bins = 336;
    for (int64_t i = 0; row && i < B * T; i++)
        if (i / 5 % 2)
            row[S++] = (int32_t)i;
    if (!row || !(t = mert_cqt_device_new(&c, ops, &e)))
        die("no room");
    ops->upload(ops, rows, row, (size_t)S * sizeof *row);
    mert_arena_open(&arena, ops);
    if (!(y = mert_cqt_device_run(t, &arena, B, L, T, S, rows, floats(B * L, 1, 0.2f))))
        die("no room");
    give_floats(y, S * c.cqt_target_bins);
    if (ops->wait(ops, NULL))
        die("CQT");
    mert_arena_close(&arena);
    mert_cqt_device_free(t);
    free(row);
}

static void update(void)
{
    int64_t n = of(1 << 24, 3001);
    float *w = floats(n, 1, 0.1f), *m = floats(n, 2, 1e-4f), *v = sums(n), *g = floats(n, 3, 1e-2f);
    double *squares = take(sizeof *squares);
    mert_clipping *clipping = take(sizeof *clipping);
    zero(squares, sizeof *squares);
    mert_sum_squares(ops, .sum = squares, .x = g, .n = n);
    mert_clip(ops, .to = clipping, .squares = squares, .scale = 0.5, .clip_norm = 1, .slack = 1e-6);
    mert_adam(ops, .w = w, .m = m, .v = v, .g = g, .n = n, .lr = 1e-3, .step = 1e-3, .beta1 = 0.9, .beta2 = 0.98,
              .eps = 1e-6, .weight_decay = 0.01, .clipping = clipping);
    give_floats(w, n);
    give_floats(m, n);
    give_floats(v, n);
}

#define CASE(f) {#f, f}
static const struct { const char *name; void (*run)(void); } cases[] = {
    CASE(linear), CASE(linear_odd), CASE(linear_dx), CASE(linear_dw), CASE(conv), CASE(first_layer), CASE(layer_norm),
    CASE(layer_norm_odd), CASE(add_norm), CASE(gelu), CASE(attention), CASE(attention_long), CASE(attention_odd),
    CASE(positions), CASE(losses), CASE(depthwise), CASE(padding), CASE(lstm), CASE(nearest), CASE(cqt_target),
    CASE(update)};

/* ---- what is checked ---- */

static double apart(const float *x, const float *y, int64_t n)
{
    double worst = 0, top = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)x[i] - y[i]);
        worst = d <= worst ? worst : isnan(d) ? INFINITY : d;
        top = fmax(top, fabs((double)y[i]));
    }
    return worst / top;
}

static void forget(float **of_them, int n)
{
    while (n)
        free(of_them[--n]);
}

static void check_case(int i, mert_ops *on, mert_ops *reference)
{
    float *first[OUTPUTS], *again[OUTPUTS];
    double worst = 0;
    int same = 1, n;
    run_on(on, cases[i].run);
    memcpy(first, output, sizeof first);
    run_on(on, cases[i].run);
    memcpy(again, output, sizeof again);
    run_on(reference, cases[i].run);
    n = outputs;
    for (int k = 0; k < n; k++) {
        same &= !memcmp(first[k], again[k], (size_t)length[k] * sizeof(float));
        worst = fmax(worst, apart(first[k], output[k], length[k]));
    }
    printf("%s %s: %.2g (%.2g allowed), %s\n", precisions[precision], cases[i].name, worst, allowed[precision],
           same ? "the same bits again" : "OTHER BITS AGAIN");
    fflush(stdout);
    failures += !(worst <= allowed[precision]) || !same;
    forget(first, n);
    forget(again, n);
    forget(output, n);
}

/* Rows [from, from + M) of an input of `all` rows, alone: the same bits as among the others. */
static int64_t rows_M, rows_from, rows_all;

static void some_rows(void)
{
    int64_t D = of(768, 64), F = of(3072, 96), M = rows_M;
    const mert_element *x = mert_const_at(ops, elements(rows_all * D, 1, 1), rows_from * D);
    mert_element *w = elements(F * D, 2, 0.05f), *b = elements(F * D, 3, 0.05f), *y = result(M * F), *z = result(M * D),
                 *n = result(M * D);
    mert_gemm(ops, .M = M, .N = F, .K = D, .a = x, .lda = D, .b = w, .ldb = D, .tb = 1, .c = y, .ldc = F,
              .bias = floats(F, 4, 1), .gelu = 1);
    mert_gemm(ops, .M = M, .N = D, .K = F, .a = y, .lda = F, .b = b, .ldb = F, .tb = 1, .c = z, .ldc = D);
    mert_layer_norm(ops, .y = n, .x = z, .w = floats(D, 5, 1), .b = floats(D, 6, 1), .rows = M, .columns = D,
                    .eps = 1e-5f);
    give(y, M * F);
    give(z, M * D);
    give(n, M * D);
}

static int check_rows(mert_ops *on)
{
    static const int64_t counts[] = {1,  2,   3,   5,   8,   15,  16,   17,   63,   64,
                                     65, 127, 128, 129, 374, 375, 1000, 2249, 3000, 5999};
    float *all[OUTPUTS];
    int64_t width[3] = {of(3072, 96), of(768, 64), of(768, 64)}, tried = 0;
    int bad = 0;
    rows_M = rows_all = of(6000, 150);
    rows_from = 0;
    run_on(on, some_rows);
    memcpy(all, output, sizeof all);
    for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i] < rows_all; i++)
        for (int end = 0; end < 2; end++) { /* the first rows, and the last */
            int differs = 0;
            rows_M = counts[i];
            rows_from = end ? rows_all - rows_M : 0;
            run_on(on, some_rows);
            for (int k = 0; k < 3; k++) {
                differs |= memcmp(output[k], all[k] + rows_from * width[k],
                                  (size_t)(rows_M * width[k]) * sizeof(float));
                free(output[k]);
            }
            if (differs)
                printf("%s rows: M = %" PRId64 " of %" PRId64 ", from %" PRId64 ": OTHER BITS\n", precisions[precision],
                       rows_M, rows_all, rows_from);
            bad |= differs;
            tried++;
        }
    forget(all, 3);
    printf("%s rows: %" PRId64 " choices of up to %" PRId64 " rows, %s\n", precisions[precision], tried, rows_all,
           bad ? "OTHER BITS" : "the same bits");
    return bad;
}

static int check_upload(mert_ops *on)
{
    size_t bytes = small ? (size_t)1 << 20 : (size_t)256 << 20;
    char *host = on->pin(on, bytes), *to = on->alloc(on, bytes);
    double up = INFINITY, down = INFINITY;
    ops = on;
    if (!host || !to)
        die("no room");
    memset(host, 1, bytes);
    for (int i = 0; i < 5; i++) {
        double start = mert_seconds();
        on->upload_ahead(on, to, host, bytes);
        if (on->wait(on, NULL))
            die("upload");
        up = fmin(up, mert_seconds() - start);
        start = mert_seconds();
        on->download(on, host, to, bytes);
        if (on->wait(on, NULL))
            die("download");
        down = fmin(down, mert_seconds() - start);
    }
    printf("upload %.2f GB/s from pinned memory, download %.2f GB/s\n", 1e-9 * (double)bytes / up,
           1e-9 * (double)bytes / down);
    on->release(on, to);
    on->unpin(on, host);
    return 0;
}

int main(int argc, char **argv)
{
    mert_error e = {{0}};
    mert_ops *on;
    mert_options_parse(&tool, &argc, &argv);
    if (!argc)
        mert_usage_error("what? open, operations, rows or upload");
    if (!(on = mert_ops_open(device, (mert_element_type)precision, &e))) {
        mert_log_error("%s", e.text);
        return 3;
    }
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "open"))
            printf("%s, %.1f GB\n", on->device ? on->device : on->name, 1e-9 * (double)on->memory);
        else if (!strcmp(argv[i], "operations"))
            for (int k = 0; k < (int)(sizeof cases / sizeof *cases); k++)
                check_case(k, on, mert_ops_cpu_of((mert_element_type)precision));
        else if (!strcmp(argv[i], "rows"))
            failures += check_rows(on);
        else if (!strcmp(argv[i], "upload"))
            failures += check_upload(on);
        else
            mert_usage_error("%s: there are open, operations, rows and upload", argv[i]);
    }
    on->close(on);
    return failures > 0;
}
