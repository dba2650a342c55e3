/* LayerNorm over rows: a warp a row. GroupNorm of one channel per group over time: sums over fixed pieces of time, then
 * over the pieces, in double. The same folded into the first convolution. */
#include "activation.h"
#include "device.h"

enum { ROW_WARPS = 4 };

/* This warp's row; rows or more: none. All lanes of a warp have the same. */
__device__ __forceinline__ int64_t row_of_warp() { return (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP; }

/* ---- LayerNorm ---- */

template <class T>
__global__ void __launch_bounds__(ROW_WARPS *WARP)
layer_norm_kernel(T *y, const T *x, const float *w, const float *b, float *mean, float *rstd, int64_t rows,
                  int64_t columns, float eps)
{
    int64_t row = row_of_warp();
    float m = 0, v = 0;
    if (row >= rows)
        return;
    x += row * columns;
    y += row * columns;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP)
        m += to_float(x[c]);
    m = warp_sum(m) / (float)columns;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP)
        v += (to_float(x[c]) - m) * (to_float(x[c]) - m);
    v = 1.0f / sqrtf(warp_sum(v) / (float)columns + eps);
    if (threadIdx.x % WARP == 0) {
        if (mean)
            mean[row] = m;
        if (rstd)
            rstd[row] = v;
    }
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP)
        store(y + c, (to_float(x[c]) - m) * v * w[c] + b[c]);
}

template <class T> static void layer_norm(device *d, const mert_layer_norm_args &a)
{
    if (a.rows > 0)
        LAUNCH(layer_norm_kernel<T>, grid_of(ceiling(a.rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d), as<T>(a.y),
               as<T>(a.x), a.w, a.b, a.mean, a.rstd, a.rows, a.columns, a.eps);
}

/* dx = rstd (dy w - mean(dy w) - xhat mean(dy w xhat)) */
template <class T>
__global__ void __launch_bounds__(ROW_WARPS *WARP)
layer_norm_backward_kernel(T *dx, const T *dy, const T *x, const float *w, const float *mean, const float *rstd,
                           int64_t rows, int64_t columns, int add)
{
    int64_t row = row_of_warp();
    float g = 0, gx = 0, m, r;
    if (row >= rows)
        return;
    m = mean[row];
    r = rstd[row];
    x += row * columns;
    dy += row * columns;
    dx += row * columns;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP) {
        float v = to_float(dy[c]) * w[c];
        g += v;
        gx += v * (to_float(x[c]) - m) * r;
    }
    g = warp_sum(g) / (float)columns;
    gx = warp_sum(gx) / (float)columns;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP) {
        float v = r * (to_float(dy[c]) * w[c] - g - (to_float(x[c]) - m) * r * gx);
        store(dx + c, add ? to_float(dx[c]) + v : v);
    }
}

template <class T> static void layer_norm_backward(device *d, const mert_layer_norm_backward_args &a)
{
    const T *dy = as<T>(a.dy), *x = as<T>(a.x);
    const float *mean = a.mean, *rstd = a.rstd;
    int64_t columns = a.columns;
    row_sums<2> parameters = {{a.dw, a.db}};
    /* the parameters first: dx may stand in the place of dy or x */
    sum_rows(d, a.rows, columns, parameters, DEVICE_LAMBDA(int64_t r, int64_t c, float *v) {
        float g = to_float(dy[r * columns + c]);
        v[0] += g * (to_float(x[r * columns + c]) - mean[r]) * rstd[r];
        v[1] += g;
    });
    if (a.rows > 0)
        LAUNCH(layer_norm_backward_kernel<T>, grid_of(ceiling(a.rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d),
               as<T>(a.dx), dy, x, a.w, mean, rstd, a.rows, columns, a.add);
}

/* ---- GroupNorm over time ---- */

enum { FRAMES = 256 };

/* part[b, p, c]: sum over the frames t of piece p of what f(t of all items, b, c) says, in float. */
template <class F> static void sum_pieces(device *d, float *part, int64_t B, int64_t frames, int64_t C, F f)
{
    int64_t pieces = ceiling(frames, FRAMES);
    each(d, B * pieces * C, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, t0 = i / C % pieces * FRAMES, b = i / C / pieces;
        int64_t end = t0 + FRAMES < frames ? t0 + FRAMES : frames;
        float sum = 0;
        for (int64_t t = t0; t < end; t++)
            sum += f(b * frames + t, b, c);
        part[i] = sum;
    });
}

__device__ __forceinline__ double over_pieces(const float *part, int64_t b, int64_t c, int64_t pieces, int64_t C)
{
    double sum = 0;
    for (int64_t p = 0; p < pieces; p++)
        sum += part[(b * pieces + p) * C + c];
    return sum;
}

template <class T> static void time_norm(device *d, const mert_time_norm_args &a)
{
    int64_t C = a.C, frames = a.T, pieces = ceiling(frames, FRAMES), channels = a.B * C;
    float *part = (float *)scratch(d, (size_t)(channels * (pieces + 2)) * sizeof(float)), eps = a.eps;
    float *mean = a.mean ? a.mean : part + channels * pieces;
    float *rstd = a.rstd ? a.rstd : part + channels * (pieces + 1);
    const T *x = as<T>(a.x);
    T *y = as<T>(a.y), *pre = as<T>(a.pre);
    const float *w = a.w, *bias = a.b;
    int gelu = a.gelu;
    if (!part)
        return;
    sum_pieces(d, part, a.B, frames, C,
               DEVICE_LAMBDA(int64_t t, int64_t, int64_t c) { return to_float(x[t * C + c]); });
    each(d, channels, DEVICE_LAMBDA(int64_t i) {
        mean[i] = (float)(over_pieces(part, i / C, i % C, pieces, C) / (double)frames);
    });
    sum_pieces(d, part, a.B, frames, C, DEVICE_LAMBDA(int64_t t, int64_t b, int64_t c) {
        float v = to_float(x[t * C + c]) - mean[b * C + c];
        return v * v;
    });
    each(d, channels, DEVICE_LAMBDA(int64_t i) {
        rstd[i] = (float)(1.0 / sqrt(over_pieces(part, i / C, i % C, pieces, C) / (double)frames + (double)eps));
    });
    each(d, channels * frames, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, at = i / C / frames * C + c;
        float v = rstd[at] * w[c] * (to_float(x[i]) - mean[at]) + bias[c];
        if (pre)
            store(pre + i, v);
        store(y + i, gelu ? gelu_of(v) : v);
    });
}

/* dx = rstd w (dy - mean(dy) - xhat mean(dy xhat)), means over time */
template <class T> static void time_norm_backward(device *d, const mert_time_norm_backward_args &a)
{
    int64_t B = a.B, C = a.C, frames = a.T, pieces = ceiling(frames, FRAMES), channels = B * C;
    float *part = (float *)scratch(d, (size_t)(2 * channels * (pieces + 1)) * sizeof(float));
    float *part_x = part + channels * pieces, *g = part_x + channels * pieces, *gx = g + channels;
    const T *x = as<T>(a.x), *dy = as<T>(a.dy);
    const float *w = a.w, *mean = a.mean, *rstd = a.rstd;
    float *dw = a.dw, *db = a.db;
    T *dx = as<T>(a.dx);
    if (!part)
        return;
    sum_pieces(d, part, B, frames, C, DEVICE_LAMBDA(int64_t t, int64_t, int64_t c) { return to_float(dy[t * C + c]); });
    sum_pieces(d, part_x, B, frames, C, DEVICE_LAMBDA(int64_t t, int64_t b, int64_t c) {
        return to_float(dy[t * C + c]) * ((to_float(x[t * C + c]) - mean[b * C + c]) * rstd[b * C + c]);
    });
    each(d, C, DEVICE_LAMBDA(int64_t c) {
        for (int64_t b = 0; b < B; b++) { /* items in order */
            double sum = over_pieces(part, b, c, pieces, C), sum_x = over_pieces(part_x, b, c, pieces, C);
            dw[c] += (float)sum_x;
            db[c] += (float)sum;
            g[b * C + c] = (float)(sum / (double)frames);
            gx[b * C + c] = (float)(sum_x / (double)frames) * rstd[b * C + c];
        }
    });
    each(d, channels * frames, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, at = i / C / frames * C + c;
        store(dx + i, rstd[at] * w[c] * (to_float(dy[i]) - g[at] - (to_float(x[i]) - mean[at]) * gx[at]));
    });
}

/* ---- GroupNorm after the first convolution, without its outputs ---- */

enum { WINDOWS = 256 };

template <class T> static void window_moments(device *d, const mert_window_moments_args &a)
{
    int64_t K = a.kernel, windows = a.T, stride = a.stride, pieces = ceiling(windows, WINDOWS), size = K + K * K;
    double *part = (double *)scratch(d, (size_t)(pieces * size) * sizeof(double));
    double *sums = a.sums, *products = a.products;
    const T *x = as<T>(a.x);
    if (!part)
        return;
    each(d, pieces * size, DEVICE_LAMBDA(int64_t i) {
        int64_t which = i % size, t0 = i / size * WINDOWS, end = t0 + WINDOWS < windows ? t0 + WINDOWS : windows;
        int64_t k = which < K ? which : (which - K) / K, l = which < K ? -1 : (which - K) % K;
        double sum = 0;
        for (int64_t t = t0; t < end; t++) {
            double v = to_float(x[t * stride + k]);
            sum += l < 0 ? v : v * (double)to_float(x[t * stride + l]);
        }
        part[i] = sum;
    });
    each(d, size, DEVICE_LAMBDA(int64_t i) {
        double sum = 0;
        for (int64_t p = 0; p < pieces; p++)
            sum += part[p * size + i];
        *(i < K ? sums + i : products + (i - K)) = sum;
    });
}

static void fold_norm(device *d, const mert_fold_norm_args &a)
{
    int64_t K = a.kernel;
    double T = (double)a.T;
    const double *sums = a.sums, *products = a.products;
    const float *weights = a.v, *norm_w = a.norm_w, *norm_b = a.norm_b;
    float *w = a.w, *b = a.b, eps = a.eps;
    each(d, a.out, DEVICE_LAMBDA(int64_t c) {
        const float *v = weights + c * K;
        double variance = 0, gain, shift = 0;
        for (int64_t k = 0; k < K; k++)
            for (int64_t l = 0; l < K; l++)
                variance += (double)v[k] * v[l] * (products[k * K + l] / T - sums[k] / T * (sums[l] / T));
        gain = norm_w[c] / sqrt((variance > 0 ? variance : 0) + (double)eps);
        for (int64_t k = 0; k < K; k++) { /* the mean is that of the weights as they are rounded (nn/cpu/norm.c) */
            float rounded = (float)(gain * v[k]);
            w[c * K + k] = rounded;
            shift += rounded * (sums[k] / T);
        }
        b[c] = (float)(norm_b[c] - shift);
    });
}

const operations norm_operations[] = {
    BY_TYPE(MERT_OP_LAYER_NORM, layer_norm, mert_layer_norm_args),
    BY_TYPE(MERT_OP_LAYER_NORM_BACKWARD, layer_norm_backward, mert_layer_norm_backward_args),
    BY_TYPE(MERT_OP_TIME_NORM, time_norm, mert_time_norm_args),
    BY_TYPE(MERT_OP_TIME_NORM_BACKWARD, time_norm_backward, mert_time_norm_backward_args),
    BY_TYPE(MERT_OP_WINDOW_MOMENTS, window_moments, mert_window_moments_args),
    OF_FLOATS(MERT_OP_FOLD_NORM, fold_norm, mert_fold_norm_args),
    END_OF_OPERATIONS,
};
