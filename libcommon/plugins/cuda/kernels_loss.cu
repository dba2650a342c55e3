/* Unit vectors: a warp a row. Cross entropy over cosines: a block a row, then a block a codebook
 * over its rows' sums. */
#include "device.h"

enum { ROW_WARPS = 4 };

/* ---- unit vectors ---- */

template <class T>
__global__ void __launch_bounds__(ROW_WARPS *WARP)
normalize_kernel(T *y, float *norm, const T *x, int64_t rows, int64_t D, int64_t ld)
{
    int64_t row = (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP;
    float squares = 0, length;
    if (row >= rows)
        return;
    x += row * ld;
    y += row * ld;
    for (int64_t c = threadIdx.x % WARP; c < D; c += WARP)
        squares += to_float(x[c]) * to_float(x[c]);
    length = fmaxf(sqrtf(warp_sum(squares)), 1e-8f);
    if (norm && threadIdx.x % WARP == 0)
        norm[row] = length;
    for (int64_t c = threadIdx.x % WARP; c < D; c += WARP)
        store(y + c, to_float(x[c]) * (1.0f / length));
}

template <class T> static void normalize(device *d, const mert_normalize_args &a)
{
    if (a.rows > 0)
        LAUNCH(normalize_kernel<T>, grid_of(ceiling(a.rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d), as<T>(a.y),
               a.norm, as<T>(a.x), a.rows, a.D, a.ld);
}

/* dx = (dy - y <y, dy>) / |x|; G: what dx is of */
template <class T, class G>
__global__ void __launch_bounds__(ROW_WARPS *WARP)
normalize_backward_kernel(G *dx, const T *dy, const T *y, const float *norm, int64_t rows, int64_t D, int64_t ld,
                          int add)
{
    int64_t row = (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP;
    float inner = 0, f;
    if (row >= rows)
        return;
    f = 1.0f / norm[row];
    y += row * ld;
    dx += row * ld;
    dy += row * D;
    for (int64_t c = threadIdx.x % WARP; c < D; c += WARP)
        inner += to_float(dy[c]) * to_float(y[c]);
    inner = warp_sum(inner);
    for (int64_t c = threadIdx.x % WARP; c < D; c += WARP) {
        float v = f * (to_float(dy[c]) - to_float(y[c]) * inner);
        store(dx + c, add ? to_float(dx[c]) + v : v);
    }
}

template <class T> static void normalize_backward(device *d, const mert_normalize_backward_args &a)
{
    unsigned grid = grid_of(ceiling(a.rows, ROW_WARPS));
    if (a.rows <= 0)
        return;
    if (a.gradient)
        LAUNCH((normalize_backward_kernel<T, float>), grid, ROW_WARPS * WARP, 0, stream_of(d), a.gradient, as<T>(a.dy),
               as<T>(a.y), a.norm, a.rows, a.D, a.ld, a.add);
    else
        LAUNCH((normalize_backward_kernel<T, T>), grid, ROW_WARPS * WARP, 0, stream_of(d), as<T>(a.dx), as<T>(a.dy),
               as<T>(a.y), a.norm, a.rows, a.D, a.ld, a.add);
}

/* ---- cross entropy ---- */

enum { LOSS_THREADS = 128, SUMS = 3 }; /* of a row: loss, whether it is right, d loss / d scale */

__device__ __forceinline__ double scale_of(const float *log_temperature, float scale)
{
    double s = log_temperature ? exp((double)*log_temperature) : (double)scale;
    return log_temperature && s > 100 ? 100 : s;
}

template <class T>
__global__ void __launch_bounds__(LOSS_THREADS)
cross_entropy_kernel(double *sums, int64_t *predicted, T *logits, const int32_t *targets,
                     const float *log_temperatures, int64_t rows, int64_t V, int64_t ld, float fixed, float weight,
                     int grad)
{
    SHARED(float, most, LOSS_THREADS / WARP);
    SHARED(double, part, LOSS_THREADS / WARP);
    SHARED(double, ties, LOSS_THREADS / WARP);
    SHARED(double, slopes, LOSS_THREADS / WARP);
    const float *log_temperature = log_temperatures ? log_temperatures + blockIdx.x / rows : NULL;
    T *row = logits + (int64_t)blockIdx.x * ld;
    int64_t target = targets[blockIdx.x], best = -1; /* best: of this thread's, if any is the largest */
    float s = (float)scale_of(log_temperature, fixed), hit = s * to_float(row[target]), top = -INFINITY;
    double sum = 0, equal = 0, slope = 0;
    for (int64_t v = threadIdx.x; v < V; v += LOSS_THREADS)
        top = fmaxf(top, s * to_float(row[v]));
    top = block_max(top, most); /* its barrier: everyone has read the target's */
    for (int64_t v = threadIdx.x; v < V; v += LOSS_THREADS) {
        float x = s * to_float(row[v]);
        sum += (double)expf(x - top);
        equal += x == top;
        best = x == top ? v : best;
    }
    sum = block_sum(sum, part);
    equal = block_sum(equal, ties);
    if (predicted && best >= 0 && equal == 1) /* whole numbers: in any order */
        atomicAdd((unsigned long long *)predicted + (int64_t)(blockIdx.x / rows) * V + best, 1ULL);
    for (int64_t v = threadIdx.x; grad && v < V; v += LOSS_THREADS) {
        float cosine = to_float(row[v]), p = expf(s * cosine - top) * (float)(1.0 / sum) - (v == target ? 1.0f : 0.0f);
        slope += (double)p * (double)cosine;
        store(row + v, p * (s * weight));
    }
    slope = block_sum(slope, slopes);
    if (threadIdx.x == 0) {
        double *to = sums + (int64_t)blockIdx.x * SUMS;
        to[0] = (double)(top - hit) + log(sum);
        to[1] = hit == top && equal == 1;
        to[2] = slope * (double)weight;
    }
}

/* All rows' sums of a codebook in a fixed order, by one block. */
__global__ void __launch_bounds__(LOSS_THREADS)
loss_sums_kernel(double *sums, float *dtemperature, const float *log_temperature, const double *of_rows, int64_t rows)
{
    SHARED(double, part, SUMS *(LOSS_THREADS / WARP));
    int64_t codebook = blockIdx.x;
    double all[SUMS];
    of_rows += codebook * rows * SUMS;
    for (int j = 0; j < SUMS; j++) {
        double sum = 0;
        for (int64_t r = threadIdx.x; r < rows; r += LOSS_THREADS)
            sum += of_rows[r * SUMS + j];
        all[j] = block_sum(sum, part + j * (LOSS_THREADS / WARP));
    }
    if (threadIdx.x != 0)
        return;
    sums[2 * codebook] += all[0];
    sums[2 * codebook + 1] += all[1];
    if (dtemperature && log_temperature && exp((double)log_temperature[codebook]) < 100)
        dtemperature[codebook] += (float)(all[2] * scale_of(log_temperature + codebook, 0)); /* ds/dtheta = s */
}

template <class T> static void cross_entropy(device *d, const mert_cross_entropy_args &a)
{
    int64_t count = a.count > 0 ? a.count : 1;
    double *of_rows = (double *)scratch(d, (size_t)(count * a.rows * SUMS) * sizeof(double));
    if (!of_rows || a.rows <= 0)
        return;
    LAUNCH(cross_entropy_kernel<T>, grid_of(count * a.rows), LOSS_THREADS, 0, stream_of(d), of_rows, a.predicted,
           as<T>(a.logits), a.target, a.log_temperature, a.rows, a.V, a.ld ? a.ld : a.V, a.scale,
           a.weight == 0 ? 1.0f : a.weight, a.grad);
    LAUNCH(loss_sums_kernel, grid_of(count), LOSS_THREADS, 0, stream_of(d), a.sums, a.dtemperature, a.log_temperature,
           (const double *)of_rows, a.rows);
}

/* ---- regression ---- */

enum { PIECE = 1 << 14 };

template <class T>
__global__ void __launch_bounds__(LOSS_THREADS)
squared_error_kernel(double *sums, T *dx, const T *x, const float *y, int64_t n, float factor)
{
    SHARED(double, part, LOSS_THREADS / WARP);
    int64_t first = (int64_t)blockIdx.x * PIECE, end = first + PIECE < n ? first + PIECE : n;
    double sum = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += LOSS_THREADS) {
        float e = to_float(x[i]) - y[i];
        sum += (double)e * (double)e;
        if (dx)
            store(dx + i, factor * e);
    }
    sum = block_sum(sum, part);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

template <class T> static void squared_error(device *d, const mert_squared_error_args &a)
{
    int64_t pieces = ceiling(a.n, PIECE);
    double *sums = (double *)scratch(d, (size_t)pieces * sizeof(double));
    if (!sums || a.n <= 0)
        return;
    LAUNCH(squared_error_kernel<T>, grid_of(pieces), LOSS_THREADS, 0, stream_of(d), sums, as<T>(a.dx), as<T>(a.x), a.y,
           a.n, a.factor);
    add_parts(d, a.sum, sums, pieces);
}

const operations loss_operations[] = {
    BY_TYPE(MERT_OP_NORMALIZE, normalize, mert_normalize_args),
    BY_TYPE(MERT_OP_NORMALIZE_BACKWARD, normalize_backward, mert_normalize_backward_args),
    BY_TYPE(MERT_OP_CROSS_ENTROPY, cross_entropy, mert_cross_entropy_args),
    BY_TYPE(MERT_OP_SQUARED_ERROR, squared_error, mert_squared_error_args),
    END_OF_OPERATIONS,
};
