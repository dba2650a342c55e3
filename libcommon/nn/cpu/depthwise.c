/* The depthwise convolution over time. A task computes some channels of some frames. It copies its inputs to a block of
 * rows, with zeros before the start and after the end of the clip and after the last channel, so that each output is
 * computed by the same sequence of additions at any position. */
#include "libcommon/nn/cpu/cpu.h"

#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/nn/cpu/depthwise.h"
#include "libcommon/nn/cpu/vector.h"

#include <string.h>

enum { WIDTH = MERT_DEPTHWISE_WIDTH, ROWS = MERT_DEPTHWISE_ROWS, FRAMES = 5 * ROWS };

static int64_t whole_tiles(int64_t rows)
{
    return (rows + ROWS - 1) / ROWS * ROWS;
}

static int64_t stripes(int64_t C)
{
    return (C + WIDTH - 1) / WIDTH;
}

/* to [rows][WIDTH] = frames [from, from + rows) of n channels of an item x [T, C]. */
static void take_frames(float *to, const float *x, int64_t from, int64_t rows, int64_t T, int64_t C, int64_t n)
{
    for (int64_t r = 0; r < rows; r++, to += WIDTH) {
        int64_t t = from + r, there = t >= 0 && t < T ? n : 0;
        if (there)
            memcpy(to, x + t * C, (size_t)there * sizeof *to);
        memset(to + there, 0, (size_t)(WIDTH - there) * sizeof *to);
    }
}

/* to [kernel][WIDTH] = the weights w [n, kernel]; flip: in reverse order of the taps. */
static void take_weights(float *to, const float *w, int64_t n, int64_t kernel, int flip)
{
    for (int64_t k = 0; k < kernel; k++) {
        const float *from = w + (flip ? kernel - 1 - k : k);
        for (int64_t c = 0; c < WIDTH; c++)
            to[k * WIDTH + c] = c < n ? from[c * kernel] : 0;
    }
}

/* One convolution: the forward pass, or with reversed taps the backward pass. */
typedef struct conv {
    float *y, *taps; /* taps: the weights of each block of WIDTH channels, [kernel][WIDTH] */
    const float *x, *w, *bias;
    int64_t B, T, C, kernel, pad, frames;
    int flip, add;
} conv;

static void conv_block(void *arg, int64_t i, int worker)
{
    const conv *a = arg;
    int64_t across = stripes(a->C), blocks = (a->frames + FRAMES - 1) / FRAMES;
    int64_t c = i % across * WIDTH, t = i / across % blocks * FRAMES, b = i / across / blocks;
    int64_t n = mert_smaller(a->C - c, WIDTH), m = mert_smaller(a->frames - t, FRAMES), rows = whole_tiles(m);
    float *x = mert_cpu_scratch(worker, (size_t)((a->kernel + 2 * rows) * WIDTH)), bias[WIDTH] = {0}, *y;
    if (!x)
        return;
    y = x + (a->kernel + rows) * WIDTH;
    take_frames(x, a->x + b * a->T * a->C + c, t - a->pad, rows + a->kernel - 1, a->T, a->C, n);
    if (a->bias)
        memcpy(bias, a->bias + c, (size_t)n * sizeof *bias);
    MERT_DEPTHWISE->rows(y, x, a->taps + c * a->kernel, bias, rows, a->kernel);
    for (int64_t r = 0; r < m; r++) {
        float *to = a->y + (b * a->frames + t + r) * a->C + c;
        if (a->add)
            MERT_VECTOR->axpy(to, y + r * WIDTH, 1.0f, n);
        else
            memcpy(to, y + r * WIDTH, (size_t)n * sizeof *to);
    }
}

static void run(conv *a)
{
    if (!(a->taps = mert_cpu_shared_scratch((size_t)(stripes(a->C) * a->kernel * WIDTH))))
        return;
    for (int64_t c = 0; c < a->C; c += WIDTH)
        take_weights(a->taps + c * a->kernel, a->w + c * a->kernel, mert_smaller(a->C - c, WIDTH), a->kernel, a->flip);
    mert_pool_run(stripes(a->C) * ((a->frames + FRAMES - 1) / FRAMES) * a->B, conv_block, a);
}

void mert_cpu_depthwise_conv(const void *args)
{
    const mert_depthwise_conv_args *a = args;
    conv c = {.y = a->y, .x = a->x, .w = a->w, .bias = a->bias, .B = a->B, .T = a->T, .C = a->C,
              .kernel = a->kernel, .pad = a->pad, .frames = a->frames ? a->frames : a->T};
    run(&c);
}

/* dw[c, k] += sum over b, t of dy[b, t, c] x[b, t + k - pad, c]. It uses the same inner loop, with dy as weights and a
 * row for each tap. One task: some channels, all items in order; FRAMES frames are summed in float, and their sums in
 * double. */
static void weights_stripe(void *arg, int64_t i, int worker)
{
    const mert_depthwise_conv_backward_args *a = arg;
    int64_t c0 = i * WIDTH, n = mert_smaller(a->C - c0, WIDTH), K = a->kernel, rows = whole_tiles(K);
    static const float none[WIDTH];
    double *sum;
    float *scratch = mert_cpu_scratch(worker, (size_t)((4 * rows + 2 * FRAMES) * WIDTH)), *x, *dy, *part;
    if (!scratch)
        return;
    sum = (double *)(void *)scratch;
    x = scratch + 2 * rows * WIDTH;
    part = x + (rows + FRAMES) * WIDTH;
    dy = part + rows * WIDTH;
    memset(sum, 0, (size_t)(K * WIDTH) * sizeof *sum);
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t t = 0; t < a->T; t += FRAMES) {
            int64_t at = b * a->T * a->C + c0, m = mert_smaller(a->T - t, FRAMES);
            take_frames(dy, a->dy + at, t, m, a->T, a->C, n);
            take_frames(x, a->x + at, t - a->pad, rows + m - 1, a->T, a->C, n);
            MERT_DEPTHWISE->rows(part, x, dy, none, rows, m);
            for (int64_t k = 0; k < K * WIDTH; k++)
                sum[k] += part[k];
        }
    for (int64_t c = 0; c < n; c++)
        for (int64_t k = 0; k < K; k++)
            a->dw[(c0 + c) * K + k] += (float)sum[k * WIDTH + c];
}

/* dx[b, s, c] = sum over k of w[c, k] dy[b, s + pad - k, c] */
void mert_cpu_depthwise_conv_backward(const void *args)
{
    const mert_depthwise_conv_backward_args *a = args;
    conv c = {.y = a->dx, .x = a->dy, .w = a->w, .B = a->B, .T = a->T, .C = a->C, .kernel = a->kernel,
              .pad = a->kernel - 1 - a->pad, .frames = a->T, .flip = 1, .add = a->add};
    mert_pool_run(stripes(a->C), weights_stripe, (void *)args);
    run(&c);
}
