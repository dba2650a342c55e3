/* Norms of numbers that are read or made on the way: x(r, c) is number c of row r. LayerNorm: a warp a row. GroupNorm
 * of one channel per group over time: sums over fixed pieces of time, then over the pieces, in double. Their gradients,
 * where `gelu` also through a GELU behind the norm. */
#ifndef MERT_CUDA_NORM_H
#define MERT_CUDA_NORM_H

#include "activation.h"
#include "device.h"

/* The numbers of an array. */
template <class T> struct array_numbers {
    const T *x;
    int64_t columns;
    __device__ __forceinline__ float operator()(int64_t r, int64_t c) const { return to_float(x[r * columns + c]); }
};

/* ---- LayerNorm ---- */

enum { ROW_WARPS = 4 };

/* This warp's row; rows or more: none. All lanes of a warp have the same. */
__device__ __forceinline__ int64_t row_of_warp() { return (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP; }

/* y, mean, rstd: NULL where not wanted. */
template <class T, class X>
__global__ void __launch_bounds__(ROW_WARPS *WARP)
layer_norm_kernel(T *y, X x, const float *w, const float *b, float *mean, float *rstd, int64_t rows, int64_t columns,
                  float eps, int gelu)
{
    int64_t row = row_of_warp();
    float m = 0, v = 0;
    if (row >= rows)
        return;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP)
        m += x(row, c);
    m = warp_sum(m) / (float)columns;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP)
        v += (x(row, c) - m) * (x(row, c) - m);
    v = 1.0f / sqrtf(warp_sum(v) / (float)columns + eps);
    if (threadIdx.x % WARP == 0) {
        if (mean)
            mean[row] = m;
        if (rstd)
            rstd[row] = v;
    }
    for (int64_t c = threadIdx.x % WARP; y && c < columns; c += WARP) {
        float z = (x(row, c) - m) * v * w[c] + b[c];
        store(y + row * columns + c, gelu ? gelu_of(z) : z);
    }
}

template <class T, class X>
void layer_norm_of(device *d, T *y, X x, const float *w, const float *b, float *mean, float *rstd, int64_t rows,
                   int64_t columns, float eps, int gelu)
{
    if (rows > 0)
        LAUNCH((layer_norm_kernel<T, X>), grid_of(ceiling(rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d), y, x, w,
               b, mean, rstd, rows, columns, eps, gelu);
}

/* dx = rstd (g w - mean(g w) - xhat mean(g w xhat)), g what comes to the norm's result */
template <class X, class G> struct row_gradient {
    X x;
    G dy;
    const float *w, *b, *mean, *rstd; /* b: with gelu alone */
    float *means;                     /* [rows, 2], made by row_means */
    int64_t columns;
    int gelu;
    __device__ __forceinline__ float normal(int64_t r, int64_t c) const { return (x(r, c) - mean[r]) * rstd[r]; }
    __device__ __forceinline__ float result(int64_t r, int64_t c) const
    {
        float g = dy(r, c);
        return gelu ? g * gelu_slope(normal(r, c) * w[c] + b[c]) : g;
    }
    __device__ __forceinline__ float operator()(int64_t r, int64_t c) const
    {
        return rstd[r] * (result(r, c) * w[c] - means[2 * r] - normal(r, c) * means[2 * r + 1]);
    }
};

template <class S> __global__ void __launch_bounds__(ROW_WARPS *WARP) row_means_kernel(S s, int64_t rows)
{
    int64_t row = row_of_warp();
    float g = 0, gx = 0;
    if (row >= rows)
        return;
    for (int64_t c = threadIdx.x % WARP; c < s.columns; c += WARP) {
        float v = s.result(row, c) * s.w[c];
        g += v;
        gx += v * s.normal(row, c);
    }
    g = warp_sum(g) / (float)s.columns;
    gx = warp_sum(gx) / (float)s.columns;
    if (threadIdx.x % WARP == 0) {
        s.means[2 * row] = g;
        s.means[2 * row + 1] = gx;
    }
}

/* dw and db +=, and the means that s needs. part: row_sums_room(rows, columns, 2) floats. */
template <class S> void row_means(device *d, S s, float *part, float *dw, float *db, int64_t rows)
{
    row_sums<2> parameters = {{dw, db}};
    if (rows <= 0)
        return;
    sum_rows_in(d, part, rows, s.columns, parameters, DEVICE_LAMBDA(int64_t r, int64_t c, float *v) {
        float g = s.result(r, c);
        v[0] += g * s.normal(r, c);
        v[1] += g;
    });
    LAUNCH(row_means_kernel<S>, grid_of(ceiling(rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d), s, rows);
}

/* ---- GroupNorm over time: rows are the frames of all items, one after the other ---- */

enum { FRAMES = 256 };

static inline int64_t pieces_of(int64_t frames) { return ceiling(frames, FRAMES); }

/* part[b, p, c]: sum over the frames of piece p of what f(row, b, c) says, in float. */
template <class F> void sum_pieces(device *d, float *part, int64_t B, int64_t frames, int64_t C, F f)
{
    int64_t pieces = pieces_of(frames);
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

/* mean and rstd [B, C]; part: B * pieces * C floats. */
template <class X>
void time_statistics(device *d, X x, float *part, float *mean, float *rstd, int64_t B, int64_t frames, int64_t C,
                     float eps)
{
    int64_t pieces = pieces_of(frames);
    sum_pieces(d, part, B, frames, C, DEVICE_LAMBDA(int64_t r, int64_t, int64_t c) { return x(r, c); });
    each(d, B * C, DEVICE_LAMBDA(int64_t i) {
        mean[i] = (float)(over_pieces(part, i / C, i % C, pieces, C) / (double)frames);
    });
    sum_pieces(d, part, B, frames, C, DEVICE_LAMBDA(int64_t r, int64_t b, int64_t c) {
        float v = x(r, c) - mean[b * C + c];
        return v * v;
    });
    each(d, B * C, DEVICE_LAMBDA(int64_t i) {
        rstd[i] = (float)(1.0 / sqrt(over_pieces(part, i / C, i % C, pieces, C) / (double)frames + (double)eps));
    });
}

/* dx = rstd w (g - mean(g) - xhat mean(g xhat)), means over time, g what comes to the norm's result */
template <class X, class G> struct time_gradient {
    X x;
    G dy;
    const float *w, *b, *mean, *rstd; /* b: with gelu alone */
    float *g, *gx;                    /* [B, C], made by time_means */
    int64_t frames, C;
    int gelu;
    __device__ __forceinline__ float result(int64_t r, int64_t c) const
    {
        int64_t at = r / frames * C + c;
        float v = dy(r, c);
        return gelu ? v * gelu_slope(rstd[at] * w[c] * (x(r, c) - mean[at]) + b[c]) : v;
    }
    __device__ __forceinline__ float operator()(int64_t r, int64_t c) const
    {
        int64_t at = r / frames * C + c;
        return rstd[at] * w[c] * (result(r, c) - g[at] - (x(r, c) - mean[at]) * gx[at]);
    }
};

/* dw and db +=, and the means that s needs. part: 2 * B * pieces * C floats. */
template <class S> void time_means(device *d, S s, float *part, float *dw, float *db, int64_t B)
{
    int64_t C = s.C, frames = s.frames, pieces = pieces_of(frames);
    float *part_x = part + B * pieces * C;
    sum_pieces(d, part, B, frames, C, DEVICE_LAMBDA(int64_t r, int64_t, int64_t c) { return s.result(r, c); });
    sum_pieces(d, part_x, B, frames, C, DEVICE_LAMBDA(int64_t r, int64_t b, int64_t c) {
        return s.result(r, c) * ((s.x(r, c) - s.mean[b * C + c]) * s.rstd[b * C + c]);
    });
    each(d, C, DEVICE_LAMBDA(int64_t c) {
        for (int64_t b = 0; b < B; b++) { /* items in order */
            double sum = over_pieces(part, b, c, pieces, C), sum_x = over_pieces(part_x, b, c, pieces, C);
            dw[c] += (float)sum_x;
            db[c] += (float)sum;
            s.g[b * C + c] = (float)(sum / (double)frames);
            s.gx[b * C + c] = (float)(sum_x / (double)frames) * s.rstd[b * C + c];
        }
    });
}

#endif
