/* Sums of squares, clipping, and the optimiser's step. */
#include "device.h"

enum { PIECE = 1 << 14, PIECE_THREADS = 256 };

/* part[block] = sum of x^2 over the block's piece */
template <class T>
__global__ void __launch_bounds__(PIECE_THREADS) squares_kernel(double *part, const T *x, int64_t n)
{
    SHARED(double, warps, PIECE_THREADS / WARP);
    int64_t first = (int64_t)blockIdx.x * PIECE, end = first + PIECE < n ? first + PIECE : n;
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += PIECE_THREADS)
        sum += (double)to_float(x[i]) * (double)to_float(x[i]);
    sum = block_sum(sum, warps);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

/* The parts in a fixed order: each thread some, then all threads. One block. */
__global__ void __launch_bounds__(PIECE_THREADS) parts_kernel(double *to, const double *part, int64_t n)
{
    SHARED(double, warps, PIECE_THREADS / WARP);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += PIECE_THREADS)
        sum += part[i];
    sum = block_sum(sum, warps);
    if (threadIdx.x == 0)
        *to += sum;
}

void add_parts(device *d, double *to, const double *part, int64_t n)
{
    LAUNCH(parts_kernel, 1, PIECE_THREADS, 0, stream_of(d), to, part, n);
}

template <class T> static void squares_of(device *d, double *to, const T *x, int64_t n)
{
    int64_t parts = ceiling(n, PIECE);
    double *part = (double *)scratch(d, (size_t)parts * sizeof(double));
    if (!part || n <= 0)
        return;
    LAUNCH(squares_kernel<T>, grid_of(parts), PIECE_THREADS, 0, stream_of(d), part, x, n);
    add_parts(d, to, part, parts);
}

template <class T> static void sum_squares(device *d, const mert_sum_squares_args &a)
{
    if (a.elements)
        squares_of(d, a.sum, as<T>(a.elements), a.n);
    else
        squares_of(d, a.sum, a.x, a.n);
}

__device__ __forceinline__ int is_finite(double x) { return x - x == 0; }

static void clip(device *d, const mert_clip_args &a)
{
    mert_clipping *to = a.to;
    const double *squares = a.squares, *also = a.also;
    double scale = a.scale, limit = a.clip_norm, slack = a.slack;
    int64_t n = a.n;
    each(d, 1, DEVICE_LAMBDA(int64_t) {
        double norm = sqrt(*squares) * scale;
        int finite = is_finite(norm);
        for (int64_t i = 0; i < n; i++)
            finite = finite && is_finite(also[i]);
        to->norm = norm;
        to->factor = limit > 0 && norm + slack > limit ? scale * (limit / (norm + slack)) : scale;
        to->finite = finite;
    });
}

static void adam(device *d, const mert_adam_args &a)
{
    float *w = a.w, *m = a.m, *v = a.v;
    const float *g = a.g;
    float scale = (float)a.gradient_scale, decay = (float)(a.weight_decay * a.lr), step = (float)a.step;
    float b1 = (float)a.beta1, c1 = (float)(1 - a.beta1), b2 = (float)a.beta2, c2 = (float)(1 - a.beta2);
    float eps = (float)a.eps;
    const mert_clipping *clipping = a.clipping;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) {
        if (clipping && !clipping->finite)
            return;
        float x = g[i] * (clipping ? (float)clipping->factor : scale);
        float mi = b1 * m[i] + c1 * x, vi = b2 * v[i] + c2 * x * x;
        m[i] = mi;
        v[i] = vi;
        w[i] -= decay * w[i] + step * mi / (sqrtf(vi) + eps);
    });
}

const operations update_operations[] = {
    BY_TYPE(MERT_OP_SUM_SQUARES, sum_squares, mert_sum_squares_args),
    OF_FLOATS(MERT_OP_CLIP, clip, mert_clip_args),
    OF_FLOATS(MERT_OP_ADAM, adam, mert_adam_args),
    END_OF_OPERATIONS,
};
