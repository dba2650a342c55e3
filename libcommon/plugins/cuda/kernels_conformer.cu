/* Operations of the Conformer: depthwise convolution, global response norm, rotary positions. */
#include "device.h"

/* ---- depthwise convolution: a thread an output ---- */

template <class T> static void depthwise_conv(device *d, const mert_depthwise_conv_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x);
    const float *w = a.w, *bias = a.bias;
    int64_t C = a.C, length = a.T, kernel = a.kernel, pad = a.pad, frames = a.frames ? a.frames : a.T;
    each(d, a.B * frames * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, t = i / C % frames, first = i / C / frames * length;
        float sum = bias ? bias[c] : 0.0f;
        for (int64_t k = 0; k < kernel; k++) {
            int64_t at = t + k - pad;
            if (at >= 0 && at < length)
                sum += w[c * kernel + k] * to_float(x[(first + at) * C + c]);
        }
        store(y + i, sum);
    });
}

enum { DEPTHWISE_FRAMES = 256 };

/* dw[c, k] += sum over items and frames of dy[b, t, c] x[b, t + k - pad, c]: in parts of fixed frames, then over the
 * parts. */
template <class T> static void depthwise_weights(device *d, const mert_depthwise_conv_backward_args &a)
{
    const T *dy = as<T>(a.dy), *x = as<T>(a.x);
    float *dw = a.dw;
    int64_t C = a.C, length = a.T, kernel = a.kernel, pad = a.pad, pieces = ceiling(length, DEPTHWISE_FRAMES);
    int64_t parts = a.B * pieces;
    float *part = (float *)scratch(d, (size_t)(parts * kernel * C) * sizeof(float));
    if (!part)
        return;
    each(d, parts * kernel * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, k = i / C % kernel, piece = i / C / kernel % pieces;
        int64_t first = i / C / kernel / pieces * length;
        int64_t begin = piece * DEPTHWISE_FRAMES, end = begin + DEPTHWISE_FRAMES;
        float sum = 0;
        begin = begin > pad - k ? begin : pad - k;
        end = end < length ? end : length;
        end = end < length + pad - k ? end : length + pad - k;
        for (int64_t t = begin; t < end; t++)
            sum += to_float(dy[(first + t) * C + c]) * to_float(x[(first + t + k - pad) * C + c]);
        part[i] = sum;
    });
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
    T *dx = as<T>(a.dx);
    const T *dy = as<T>(a.dy);
    const float *w = a.w;
    int64_t C = a.C, length = a.T, kernel = a.kernel, pad = a.pad;
    int add = a.add;
    depthwise_weights<T>(d, a);
    each(d, a.B * length * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, t = i / C % length, first = i / C / length * length;
        float sum = 0;
        for (int64_t k = 0; k < kernel; k++) {
            int64_t at = t + pad - k;
            if (at >= 0 && at < length)
                sum += w[c * kernel + k] * to_float(dy[(first + at) * C + c]);
        }
        store(dx + i, add ? to_float(dx[i]) + sum : sum);
    });
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
