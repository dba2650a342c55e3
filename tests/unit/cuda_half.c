/* What the CUDA backend computes by tensor cores, of 16-bit elements, on the emulated device (tests/cuda) against the
 * CPU backend's same mode. That one rounds results only; these kernels round what goes into a second product, too. */
#include "tests/cuda/on_device.h"
#undef mert_ops_cpu_of

#include "formats/half.h"

static mert_element_type format;
static mert_ops *device, *cpu;

/* The distance of numbers of the format that are near 1. */
static double unit(void)
{
    return format == MERT_ELEMENT_BF16 ? 0x1p-7 : 0x1p-10;
}

static uint16_t narrow(float x)
{
    return format == MERT_ELEMENT_BF16 ? mert_to_bf16(x) : mert_to_f16(x);
}

static uint16_t *narrowed(const float *x, int64_t n)
{
    uint16_t *y = keep((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++)
        y[i] = narrow(x[i]);
    return y;
}

static uint16_t *some(int64_t n, uint32_t seed)
{
    return narrowed(numbers(n, seed), n);
}

static mert_element *put_half(const uint16_t *x, int64_t n)
{
    return put_bytes(x, (size_t)n * sizeof *x);
}

static uint16_t *get_half(const mert_element *x, int64_t n)
{
    return get_bytes(x, (size_t)n * sizeof(uint16_t));
}

static double value(uint16_t x)
{
    return format == MERT_ELEMENT_BF16 ? mert_from_bf16(x) : mert_from_f16(x);
}

static double largest_of(const uint16_t *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(value(x[i])));
    return most;
}

/* Whether got is want but for one unit of the number itself (both are rounded), and `inner` units of the largest; or of
 * 0.01, where all are next to nothing. */
static int near(const char *what, const uint16_t *got, const uint16_t *want, int64_t n, double inner)
{
    double most = fmax(largest_of(want, n), 0.01), worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double a = value(got[i]), b = value(want[i]), beyond = fabs(a - b) - unit() * fabs(b);
        if (!(beyond <= inner * unit() * most)) {
            printf("# %s, number %d of %d: %g, the CPU has %g, the largest is %g\n", what, (int)i, (int)n, a, b, most);
            return 0;
        }
        worst = fmax(worst, beyond / most / unit());
    }
    if (getenv("TEST_SHOWS"))
        printf("# %s, %d: %.3f\n", what, (int)n, worst);
    return 1;
}

static int near_floats(const char *what, const float *got, const float *want, int64_t n, double tolerance)
{
    double difference = apart(got, wide(want, n), n);
    if (getenv("TEST_SHOWS"))
        printf("# %s, %d: %.3g\n", what, (int)n, difference);
    if (!(difference <= tolerance))
        printf("# %s: off by %g of the largest\n", what, difference);
    return difference <= tolerance;
}

/* Runs it with both backends of both formats open. */
static void in_both(void (*test)(void))
{
    mert_ops *plain = ops;
    for (format = MERT_ELEMENT_BF16; format <= MERT_ELEMENT_F16 && !test_bad; format++) {
        device = device_of(format);
        cpu = mert_ops_cpu_of(format);
        test();
        if (test_bad)
            printf("# %s\n", format == MERT_ELEMENT_BF16 ? "bfloat16" : "float16");
        for (ops = device; nn_devices > 0;)
            ops->release(ops, nn_device[--nn_devices]);
        forget();
        device->close(device);
        cpu->close(cpu);
    }
    ops = plain;
}

/* ---- attention ---- */

enum { HEAD = 64 };

/* q, k, v: one array [B, T, 3 (gap: + 1), H, HEAD]; out [B, T, H, HEAD] */
typedef struct attended {
    int64_t B, T, H, ld, gap;
    double p;
    uint16_t *qkv, *dout, *out, *gradients;
    float *lse, largest;
} attended;

static int64_t inputs(const attended *a)
{
    return a->B * a->T * a->ld;
}

static int64_t outputs(const attended *a)
{
    return a->B * a->T * a->H * HEAD;
}

/* gap: elements between rows; 1: they do not lie where tensor cores can have them */
static attended attention_of(int64_t B, int64_t T, int64_t H, double p, int64_t gap)
{
    attended a = {B, T, H, 3 * H * HEAD + gap, gap, p, NULL, NULL, NULL, NULL, NULL, 0};
    a.qkv = some(inputs(&a), 1);
    a.dout = some(outputs(&a), 2);
    return a;
}

/* Items from..from + n - 1 of it, forward; backward as well with out and lse of `of` (NULL: its own). */
static attended run_attention(mert_ops *where, const attended *a, int64_t from, int64_t n, const attended *of)
{
    attended r = *a;
    mert_element *x, *out, *dx;
    float *lse, *largest;
    float lowest = -INFINITY;
    int64_t D = a->H * HEAD, rows = n * a->H * a->T;
    mert_dropout_key key = {1, (uint64_t)2 << 33, 3};
    ops = where;
    r.B = n;
    x = put_half(a->qkv + from * a->T * a->ld, inputs(&r));
    dx = put_half(a->qkv, inputs(&r));
    out = put_half(a->dout, outputs(&r));
    lse = room(rows);
    largest = put(&lowest, 1);
    mert_attention(ops, .out = out, .lse = lse, .largest = largest, .q = x, .k = mert_at(ops, x, D),
                   .v = mert_at(ops, x, 2 * D), .B = n, .T = a->T, .H = a->H, .dh = HEAD, .ld = a->ld, .ldout = D,
                   .scale = 0.125f, .p = a->p, .key = key);
    r.out = get_half(out, outputs(&r));
    r.lse = get(lse, rows);
    r.largest = *get(largest, 1);
    if (of) {
        ops->upload(ops, out, of->out, (size_t)outputs(&r) * sizeof *of->out);
        ops->upload(ops, lse, of->lse, (size_t)rows * sizeof *of->lse);
    }
    mert_attention_backward(ops, .dq = dx, .dk = mert_at(ops, dx, D), .dv = mert_at(ops, dx, 2 * D),
                            .dout = put_half(a->dout + from * a->T * D, outputs(&r)), .out = out, .lse = lse, .q = x,
                            .k = mert_at(ops, x, D), .v = mert_at(ops, x, 2 * D), .B = n, .T = a->T, .H = a->H,
                            .dh = HEAD, .ld = a->ld, .ldout = D, .scale = 0.125f, .p = a->p, .key = key);
    r.gradients = get_half(dx, inputs(&r));
    while (nn_devices > 0)
        ops->release(ops, nn_device[--nn_devices]);
    return r;
}

/* The gradients of queries, keys and values lie beside each other: one after the other, because their sizes differ. */
static uint16_t *gradient_of(const attended *a, int part)
{
    int64_t D = a->H * HEAD;
    uint16_t *x = keep((size_t)(a->B * a->T * D) * sizeof *x);
    for (int64_t r = 0; r < a->B * a->T; r++)
        memcpy(x + r * D, a->gradients + r * a->ld + part * D, (size_t)D * sizeof *x);
    return x;
}

static int same_attention(const attended *got, const attended *want, double inner)
{
    static const char *const names[] = {"dq", "dk", "dv"};
    int64_t rows = got->B * got->H * got->T;
    if (!near("out", got->out, want->out, outputs(got), inner) ||
        !near_floats("log-sums", got->lse, want->lse, rows, 1e-5) ||
        !(fabsf(got->largest - want->largest) <= 1e-5f * fabsf(want->largest)))
        return 0;
    for (int i = 0; i < 3; i++)
        if (!near(names[i], gradient_of(got, i), gradient_of(want, i), outputs(got), inner))
            return 0;
    return 1;
}

static void attention_of_lengths(void)
{
    static const int64_t lengths[] = {1, 63, 64, 65, 200, 257};
    for (int i = 0; i < 12 && !test_bad; i++) {
        int64_t T = lengths[i / 2], B = T < 100 ? 2 : 1, H = i % 2 + 1;
        attended a = attention_of(B, T, H, i % 2 ? 0.25 : 0, i % 2 ? 8 : 0);
        attended want = run_attention(cpu, &a, 0, B, NULL), got = run_attention(device, &a, 0, B, &want);
        int good = same_attention(&got, &want, 0.75);
        if (!good)
            printf("# %d frames, dropout %g\n", (int)a.T, a.p);
        CHECK(good);
    }
}

TEST(attention_by_tensor_cores)
{
    in_both(attention_of_lengths);
}

static void other_rows(void)
{
    attended a = attention_of(1, 70, 2, 0.25, 1);
    attended want = run_attention(cpu, &a, 0, 1, NULL), got = run_attention(device, &a, 0, 1, &want);
    CHECK(same_attention(&got, &want, 0.01)); /* nothing was rounded in between */
}

TEST(attention_of_rows_that_tensor_cores_cannot_have)
{
    in_both(other_rows);
}

/* Contracts A1 and A4: an item's bytes alone are those among others, and those of another time. */
static void alone(void)
{
    attended a = attention_of(3, 130, 2, 0, 0), all = run_attention(device, &a, 0, 3, NULL);
    attended again = run_attention(device, &a, 0, 3, NULL);
    int64_t n = outputs(&a) / 3, dn = inputs(&a) / 3;
    CHECK(!memcmp(all.out, again.out, (size_t)(3 * n) * sizeof *all.out));
    CHECK(!memcmp(all.gradients, again.gradients, (size_t)(3 * dn) * sizeof *all.gradients));
    for (int64_t i = 0; i < 3 && !test_bad; i++) {
        attended one = run_attention(device, &a, i, 1, NULL);
        CHECK(!memcmp(one.out, all.out + i * n, (size_t)n * sizeof *all.out));
        CHECK(!memcmp(one.lse, all.lse + i * 260, 260 * sizeof *all.lse));
        CHECK(!memcmp(one.gradients, all.gradients + i * dn, (size_t)dn * sizeof *all.gradients));
    }
}

TEST(attention_alone_and_in_a_batch)
{
    in_both(alone);
}

/* Scores of many hundreds that ascend from tile to tile and then descend, after a whole tile of minus infinity. */
static void large_scores(void)
{
    attended a = attention_of(1, 300, 1, 0, 0), want, got;
    for (int64_t t = 0; t < 300; t++)
        for (int64_t c = 0; c < HEAD; c++) {
            uint16_t *q = a.qkv + t * a.ld + c, *k = q + HEAD;
            float slope = (float)(t < 150 ? t : 300 - t) / 16;
            *q = narrow(format == MERT_ELEMENT_BF16 ? 0x1p64f : 8);
            *k = narrow((format == MERT_ELEMENT_BF16 ? 0x1p-64f : 1) * slope);
            if (t < 70)
                *k = narrow(format == MERT_ELEMENT_BF16 ? -0x1p100f : -65504);
        }
    want = run_attention(cpu, &a, 0, 1, NULL);
    got = run_attention(device, &a, 0, 1, &want);
    for (int64_t i = 0; i < 300 * HEAD; i++)
        CHECK(isfinite(value(got.out[i])));
    CHECK(near("out", got.out, want.out, 300 * HEAD, 0.75));
    CHECK(near_floats("log-sums", got.lse, want.lse, 300, 1e-5));
    CHECK(near("dv", gradient_of(&got, 2), gradient_of(&want, 2), 300 * HEAD, 0.75));
}

TEST(attention_of_scores_that_are_large_or_infinite)
{
    in_both(large_scores);
}

/* ---- grouped convolution ---- */

typedef struct grouped {
    int64_t B, T, D, groups, kernel, pad;
} grouped;

/* Groups of 8, 16, 24, 48, 64 channels; frames beside the tiles' edges; taps that are no whole number of tiles; then
 * what tensor cores cannot have: 9 taps of 8 channels, 72 channels. */
static const grouped groupeds[] = {{2, 74, 32, 4, 128, 64}, {1, 1, 32, 2, 128, 64},  {3, 129, 24, 1, 31, 15},
                                   {2, 65, 96, 2, 10, 5},   {1, 257, 64, 1, 16, 8},  {2, 64, 128, 2, 7, 0},
                                   {1, 63, 48, 1, 34, 17},  {2, 20, 16, 2, 9, 4},    {1, 20, 72, 1, 4, 2}};
enum { GROUPEDS = sizeof groupeds / sizeof *groupeds };

typedef struct convolved {
    uint16_t *y, *dx;
    float *dw;
} convolved;

/* Items from..from + n - 1 of it. */
static convolved convolve(mert_ops *where, const grouped *g, int64_t from, int64_t n)
{
    int64_t items = g->B * g->T * g->D, weights = g->D * g->kernel * (g->D / g->groups), m = n * g->T * g->D;
    int64_t at = from * g->T * g->D;
    uint16_t *x = some(items, 1), *dy = some(items, 2), *dx = some(items, 3), *w = some(weights, 4);
    mert_element *hx, *hy, *hw, *hdx, *hdy;
    float *bias, *dw;
    convolved r;
    ops = where;
    hx = put_half(x + at, m), hdy = put_half(dy + at, m), hdx = put_half(dx + at, m), hw = put_half(w, weights);
    hy = put_half(x, m), bias = put(numbers(g->D, 5), g->D), dw = put(numbers(weights, 6), weights);
    mert_grouped_conv(ops, .y = hy, .x = hx, .w = hw, .bias = g->T % 2 ? bias : NULL,
                      .residual = g->T % 2 ? hdx : NULL, .gelu = g->T % 2, .B = n, .T = g->T, .D = g->D,
                      .groups = g->groups, .kernel = g->kernel, .pad = g->pad);
    r.y = get_half(hy, m);
    mert_grouped_conv_backward(ops, .dx = hdx, .dw = dw, .dy = hdy, .x = hx, .w = hw, .B = n, .T = g->T, .D = g->D,
                               .groups = g->groups, .kernel = g->kernel, .pad = g->pad);
    r.dx = get_half(hdx, m);
    r.dw = get(dw, weights);
    while (nn_devices > 0)
        ops->release(ops, nn_device[--nn_devices]);
    return r;
}

/* Both round results only, so they differ in the order of sums alone. */
static void grouped_convolutions(void)
{
    for (int i = 0; i < GROUPEDS && !test_bad; i++) {
        const grouped *g = &groupeds[i];
        int64_t n = g->B * g->T * g->D, weights = g->D * g->kernel * (g->D / g->groups);
        convolved want = convolve(cpu, g, 0, g->B), got = convolve(device, g, 0, g->B);
        int good = near("y", got.y, want.y, n, 1e-3) && near("dx", got.dx, want.dx, n, 1e-3) &&
                   near_floats("dw", got.dw, want.dw, weights, 3e-6);
        if (!good)
            printf("# convolution %d\n", i);
        CHECK(good);
    }
}

TEST(grouped_convolution_by_tensor_cores)
{
    in_both(grouped_convolutions);
}

static void convolution_alone(void)
{
    grouped g = {3, 130, 96, 2, 16, 8};
    convolved all = convolve(device, &g, 0, 3), again = convolve(device, &g, 0, 3);
    int64_t n = g.T * g.D;
    CHECK(!memcmp(all.dw, again.dw, (size_t)(g.D * g.kernel * 48) * sizeof *all.dw));
    for (int64_t i = 0; i < 3 && !test_bad; i++) {
        convolved one = convolve(device, &g, i, 1);
        CHECK(!memcmp(one.y, all.y + i * n, (size_t)n * sizeof *all.y));
        CHECK(!memcmp(one.dx, all.dx + i * n, (size_t)n * sizeof *all.dx));
    }
}

TEST(grouped_convolution_alone_and_in_a_batch)
{
    in_both(convolution_alone);
}

int main(void)
{
    static const nn_test tests[] = {NN_TEST(attention_by_tensor_cores),
                                    NN_TEST(attention_of_rows_that_tensor_cores_cannot_have),
                                    NN_TEST(attention_alone_and_in_a_batch),
                                    NN_TEST(attention_of_scores_that_are_large_or_infinite),
                                    NN_TEST(grouped_convolution_by_tensor_cores),
                                    NN_TEST(grouped_convolution_alone_and_in_a_batch)};
    run_on_device(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
