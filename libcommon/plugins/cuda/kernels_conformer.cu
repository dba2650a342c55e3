/* Operations of the Conformer: depthwise convolution, global response norm, rotary positions. */
#include "device.h"

/* ---- depthwise convolution: a block has 32 channels of some frames in shared memory, a thread a channel of 8 of them
 * (of the weights' gradients, of 8 taps), whose 8 sums take each number that it reads ---- */

enum { CHANNELS = WARP, OWN = 8, FRAMES = 64, TAPS = 32 /* at once */, ROWS = FRAMES + TAPS };
enum { CONV_THREADS = FRAMES / OWN * CHANNELS, WEIGHTS_THREADS = TAPS / OWN * CHANNELS };

/* rows [n][CHANNELS] = frames first .. first + n - 1 of x [length, C] from channel c on, zeros beyond them. */
template <class T>
__device__ __forceinline__ void take_channels(float *rows, const T *x, int64_t first, int n, int64_t c, int64_t C,
                                              int64_t length)
{
    for (int i = (int)threadIdx.x; i < n * CHANNELS; i += (int)blockDim.x) {
        int64_t t = first + i / CHANNELS, at = c + i % CHANNELS;
        rows[i] = t >= 0 && t < length && at < C ? to_float(x[t * C + at]) : 0.0f;
    }
}

/* sums[j] += sum over i < n of f[i * step] rows[i + j], both a channel: i in order. */
__device__ __forceinline__ void slide(float sums[OWN], const float *f, int step, const float *rows, int n)
{
    float window[OWN]; /* row i + j stands at (i + j) % OWN */
#pragma unroll
    for (int j = 0; j < OWN; j++)
        window[j] = rows[j * CHANNELS];
    for (int i0 = 0; i0 < n; i0 += OWN)
#pragma unroll
        for (int i = 0; i < OWN; i++)
            if (i0 + i < n) {
                float x = f[(i0 + i) * step];
#pragma unroll
                for (int j = 0; j < OWN; j++)
                    sums[j] += x * window[(i + j) % OWN];
                window[i] = rows[(i0 + i + OWN) * CHANNELS];
            }
}

/* One convolution: forward, and with the taps in reverse that of the gradients. */
template <class T> struct depthwise {
    T *y;
    const T *x;
    const float *w, *bias;
    int64_t C, length, frames, kernel, pad;
    int flip, add;
};

template <class T> __global__ void __launch_bounds__(CONV_THREADS) depthwise_kernel(depthwise<T> a)
{
    enum { STRIDE = CHANNELS + 1 }; /* of the taps, which are written by columns */
    SHARED(float, rows, ROWS *CHANNELS);
    SHARED(float, taps, TAPS *STRIDE);
    unsigned stripes = (unsigned)((a.C + CHANNELS - 1) / CHANNELS);
    unsigned blocks = (unsigned)((a.frames + FRAMES - 1) / FRAMES);
    int64_t c0 = (int64_t)(blockIdx.x % stripes) * CHANNELS, c = c0 + threadIdx.x % CHANNELS;
    int64_t first = (int64_t)(blockIdx.x / stripes % blocks) * FRAMES, item = blockIdx.x / stripes / blocks;
    int own = (int)threadIdx.x / CHANNELS * OWN;
    T *y = a.y + (item * a.frames + first + own) * a.C + c;
    float sums[OWN];
    for (int j = 0; j < OWN; j++)
        sums[j] = a.bias && c < a.C ? a.bias[c] : 0.0f;
    for (int64_t k0 = 0; k0 < a.kernel; k0 += TAPS) {
        int n = a.kernel - k0 < TAPS ? (int)(a.kernel - k0) : TAPS;
        take_channels(rows, a.x + item * a.length * a.C, first + k0 - a.pad, ROWS, c0, a.C, a.length);
        for (int i = (int)threadIdx.x; i < TAPS * CHANNELS; i += CONV_THREADS) {
            int64_t k = k0 + i % TAPS, at = c0 + i / TAPS;
            if (k < a.kernel && at < a.C)
                taps[i % TAPS * STRIDE + i / TAPS] = a.w[at * a.kernel + (a.flip ? a.kernel - 1 - k : k)];
        }
        __syncthreads();
        if (c < a.C)
            slide(sums, taps + threadIdx.x % CHANNELS, STRIDE, rows + own * CHANNELS + threadIdx.x % CHANNELS, n);
        __syncthreads();
    }
    for (int j = 0; j < OWN; j++, y += a.C)
        if (c < a.C && first + own + j < a.frames)
            store(y, a.add ? to_float(*y) + sums[j] : sums[j]);
}

template <class T> static void convolve(device *d, int64_t B, const depthwise<T> &a)
{
    if (B > 0 && a.frames > 0)
        LAUNCH(depthwise_kernel<T>, grid_of(ceiling(a.C, CHANNELS) * ceiling(a.frames, FRAMES) * B), CONV_THREADS, 0,
               stream_of(d), a);
}

template <class T> static void depthwise_conv(device *d, const mert_depthwise_conv_args &a)
{
    depthwise<T> c = {as<T>(a.y), as<T>(a.x), a.w, a.bias, a.C, a.T, a.frames ? a.frames : a.T, a.kernel, a.pad, 0, 0};
    convolve(d, a.B, c);
}

enum { PART_FRAMES = 4 * FRAMES };

/* part [parts, kernel, C] = of PART_FRAMES frames of an item: sums over t of dy[t, c] x[t + k - pad, c]. */
template <class T>
__global__ void __launch_bounds__(WEIGHTS_THREADS)
depthwise_weights_kernel(float *part, const T *dy, const T *x, int64_t C, int64_t length, int64_t kernel, int64_t pad)
{
    SHARED(float, rows, ROWS *CHANNELS);
    SHARED(float, slopes, FRAMES *CHANNELS);
    unsigned stripes = (unsigned)((C + CHANNELS - 1) / CHANNELS), blocks = (unsigned)((kernel + TAPS - 1) / TAPS);
    unsigned pieces = (unsigned)((length + PART_FRAMES - 1) / PART_FRAMES), p = blockIdx.x / stripes / blocks;
    int64_t c0 = (int64_t)(blockIdx.x % stripes) * CHANNELS, c = c0 + threadIdx.x % CHANNELS;
    int64_t k0 = (int64_t)(blockIdx.x / stripes % blocks) * TAPS, first = p / pieces * length * C;
    int64_t begin = (int64_t)(p % pieces) * PART_FRAMES;
    int own = (int)threadIdx.x / CHANNELS * OWN;
    float sums[OWN] = {};
    for (int64_t t = begin; t < begin + PART_FRAMES && t < length; t += FRAMES) {
        take_channels(rows, x + first, t + k0 - pad, ROWS, c0, C, length);
        take_channels(slopes, dy + first, t, FRAMES, c0, C, length);
        __syncthreads();
        slide(sums, slopes + threadIdx.x % CHANNELS, CHANNELS, rows + own * CHANNELS + threadIdx.x % CHANNELS, FRAMES);
        __syncthreads();
    }
    for (int j = 0; j < OWN; j++)
        if (c < C && k0 + own + j < kernel)
            part[(p * kernel + k0 + own + j) * C + c] = sums[j];
}

/* dw[c, k] += sum over items and frames of dy[b, t, c] x[b, t + k - pad, c]: in parts of fixed frames, then over the
 * parts. */
template <class T> static void depthwise_weights(device *d, const mert_depthwise_conv_backward_args &a)
{
    float *dw = a.dw;
    int64_t C = a.C, kernel = a.kernel, parts = a.B * ceiling(a.T, PART_FRAMES);
    float *part = (float *)scratch(d, (size_t)(parts * kernel * C) * sizeof(float));
    if (!part || parts <= 0)
        return;
    LAUNCH(depthwise_weights_kernel<T>, grid_of(ceiling(C, CHANNELS) * ceiling(kernel, TAPS) * parts), WEIGHTS_THREADS,
           0, stream_of(d), part, as<T>(a.dy), as<T>(a.x), C, a.T, kernel, a.pad);
    each(d, C * kernel, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i / kernel, k = i % kernel;
        double sum = 0;
        for (int64_t p = 0; p < parts; p++)
            sum += part[(p * kernel + k) * C + c];
        dw[i] += (float)sum;
    });
}

/* dx[b, s, c] = sum over k of w[c, k] dy[b, s + pad - k, c] */
template <class T> static void depthwise_conv_backward(device *d, const mert_depthwise_conv_backward_args &a)
{
    depthwise<T> c = {as<T>(a.dx), as<T>(a.dy), a.w, NULL, a.C, a.T, a.T, a.kernel, a.kernel - 1 - a.pad, 1, a.add};
    depthwise_weights<T>(d, a);
    convolve(d, a.B, c);
}

/* ---- global response norm ---- */

/* Frames one after the other, so that a clip may come in several calls. */
template <class T> static void time_squares(device *d, const mert_time_squares_args &a)
{
    double *squares = a.squares;
    const T *x = as<T>(a.x);
    int64_t C = a.C, frames = a.T;
    each(d, a.B * C, DEVICE_LAMBDA(int64_t i) {
        const T *from = x + i / C * frames * C + i % C;
        double sum = squares[i];
        for (int64_t t = 0; t < frames; t++)
            sum += (double)to_float(from[t * C]) * (double)to_float(from[t * C]);
        squares[i] = sum;
    });
}

enum { LEVEL_THREADS = 256 };

/* Of each item: levels: mean over c of m, plus eps, m = sqrt(squares); shared (NULL: not wanted): mean over c of
 * w dot m, by the square of the level. A block an item. */
__global__ void __launch_bounds__(LEVEL_THREADS)
levels_kernel(double *levels, double *shared, const double *squares, const double *dot, const float *w, int64_t C,
              double eps)
{
    SHARED(double, part, LEVEL_THREADS / WARP);
    SHARED(double, other, LEVEL_THREADS / WARP);
    const double *of = squares + (int64_t)blockIdx.x * C;
    double sum = 0, along = 0, level;
    for (int64_t c = threadIdx.x; c < C; c += LEVEL_THREADS) {
        sum += sqrt(of[c]);
        if (shared)
            along += (double)w[c] * dot[(int64_t)blockIdx.x * C + c] * sqrt(of[c]);
    }
    level = block_sum(sum, part) / (double)C + eps;
    along = block_sum(along, other);
    if (threadIdx.x == 0) {
        levels[blockIdx.x] = level;
        if (shared)
            shared[blockIdx.x] = along / ((double)C * level * level);
    }
}

template <class T> static void response_norm(device *d, const mert_response_norm_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x);
    const double *squares = a.squares;
    const float *w = a.w, *bias = a.b;
    int64_t C = a.C, frames = a.T;
    double *levels = (double *)scratch(d, (size_t)a.B * sizeof(double));
    if (!levels || a.B <= 0)
        return;
    LAUNCH(levels_kernel, grid_of(a.B), LEVEL_THREADS, 0, stream_of(d), levels, (double *)NULL, squares,
           (const double *)NULL, w, C, a.eps);
    each(d, a.B * frames * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, b = i / C / frames;
        float gain = (float)(1 + (double)w[c] * (sqrt(squares[b * C + c]) / levels[b]));
        store(y + i, to_float(x[i]) * gain + bias[c]);
    });
}

/* With s the level, g = sum over t of dy x and dn = w g: dw += n g, and what m takes on to x is
 * (dn / s - mean over c of (dn m) / s^2) x / m. */
template <class T> static void response_norm_backward(device *d, const mert_response_norm_backward_args &a)
{
    T *dx = as<T>(a.dx);
    const T *dy = as<T>(a.dy), *x = as<T>(a.x);
    const double *squares = a.squares;
    const float *w = a.w;
    float *dw = a.dw;
    int64_t B = a.B, C = a.C, frames = a.T;
    int add = a.add;
    double *dot, *levels, *shared;
    row_sums<1> sums = {{a.db}};
    sum_rows(d, B * frames, C, sums,
             DEVICE_LAMBDA(int64_t r, int64_t c, float *v) { v[0] += to_float(dy[r * C + c]); });
    dot = (double *)scratch(d, (size_t)(B * (C + 2)) * sizeof(double));
    if (!dot || B <= 0)
        return;
    levels = dot + B * C;
    shared = levels + B;
    each(d, B * C, DEVICE_LAMBDA(int64_t i) {
        int64_t at = i / C * frames * C + i % C;
        double sum = 0;
        for (int64_t t = 0; t < frames; t++)
            sum += (double)to_float(dy[at + t * C]) * (double)to_float(x[at + t * C]);
        dot[i] = sum;
    });
    LAUNCH(levels_kernel, grid_of(B), LEVEL_THREADS, 0, stream_of(d), levels, shared, squares, (const double *)dot, w,
           C, a.eps);
    each(d, C, DEVICE_LAMBDA(int64_t c) {
        for (int64_t b = 0; b < B; b++) /* items in order */
            dw[c] += (float)(sqrt(squares[b * C + c]) / levels[b] * dot[b * C + c]);
    });
    each(d, B * frames * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, b = i / C / frames;
        double m = sqrt(squares[b * C + c]);
        float gain = (float)(1 + (double)w[c] * (m / levels[b]));
        float along = m > 0 ? (float)(((double)w[c] * dot[b * C + c] / levels[b] - shared[b]) / m) : 0.0f;
        float v = to_float(dy[i]) * gain + to_float(x[i]) * along;
        store(dx + i, add ? to_float(dx[i]) + v : v);
    });
}

/* ---- rotary positions: a thread a pair ---- */

template <class T> static void rotary(device *d, const mert_rotary_args &a)
{
    T *x = as<T>(a.x);
    const float *cosines = a.cosines, *sines = a.sines;
    int64_t frames = a.T, heads = a.H, half = a.dh / 2, ld = a.ld;
    float sign = a.inverse ? -1.0f : 1.0f;
    each(d, a.B * frames * heads * half, DEVICE_LAMBDA(int64_t i) {
        int64_t k = i % half, h = i / half % heads, row = i / half / heads, at = row % frames * half + k;
        T *first = x + row * ld + h * 2 * half + k, *second = first + half;
        float c = cosines[at], s = sign * sines[at], x1 = to_float(*first), x2 = to_float(*second);
        store(first, x1 * c - x2 * s);
        store(second, x2 * c + x1 * s);
    });
}

const operations conformer_operations[] = {
    BY_TYPE(MERT_OP_DEPTHWISE_CONV, depthwise_conv, mert_depthwise_conv_args),
    BY_TYPE(MERT_OP_DEPTHWISE_CONV_BACKWARD, depthwise_conv_backward, mert_depthwise_conv_backward_args),
    BY_TYPE(MERT_OP_TIME_SQUARES, time_squares, mert_time_squares_args),
    BY_TYPE(MERT_OP_RESPONSE_NORM, response_norm, mert_response_norm_args),
    BY_TYPE(MERT_OP_RESPONSE_NORM_BACKWARD, response_norm_backward, mert_response_norm_backward_args),
    BY_TYPE(MERT_OP_ROTARY, rotary, mert_rotary_args),
    END_OF_OPERATIONS,
};
