/* LayerNorm, alone and at the end of a branch; GroupNorm over time; the same folded into the first convolution. */
#include "norm.h"
#include "random.h"

/* ---- LayerNorm ---- */

template <class T> static void layer_norm(device *d, const mert_layer_norm_args &a)
{
    array_numbers<T> x = {as<T>(a.x), a.columns};
    layer_norm_of(d, as<T>(a.y), x, a.w, a.b, a.mean, a.rstd, a.rows, a.columns, a.eps, a.gelu);
}

template <class T> static void layer_norm_backward(device *d, const mert_layer_norm_backward_args &a)
{
    typedef array_numbers<T> numbers;
    int64_t rows = a.rows, columns = a.columns, part = row_sums_room(rows, columns, 2);
    float *at = (float *)scratch(d, (size_t)(room_of(part) + room_of(2 * rows)) * sizeof(float));
    numbers x = {as<T>(a.x), columns}, dy = {as<T>((const mert_element *)a.dy), columns};
    T *dx = as<T>(a.dx);
    int add = a.add;
    if (!at)
        return;
    row_gradient<numbers, numbers> g = {x, dy, a.w, a.b, a.mean, a.rstd, take_room(&at, 2 * rows), columns, a.gelu};
    row_means(d, g, at, a.dw, a.db, rows);
    each(d, rows * columns, DEVICE_LAMBDA(int64_t i) { /* dx may stand in the place of dy or x */
        float v = g(i / columns, i % columns);
        store(dx + i, add ? to_float(dx[i]) + v : v);
    });
}

/* ---- the end of a branch ---- */

template <class T> static void add_norm(device *d, const mert_add_norm_args &a)
{
    T *s = as<T>(a.s);
    const T *x = as<T>(a.x), *residual = as<T>(a.residual);
    int64_t item = a.T * a.D;
    float scale = a.scale == 0 ? 1.0f : a.scale;
    int drops = a.p > 0;
    dropout r = make_dropout(&a.key, a.p);
    array_numbers<T> sums = {as<T>((const mert_element *)a.s), a.D};
    each(d, a.B * item, DEVICE_LAMBDA(int64_t i) {
        float v = to_float(x[i]);
        if (drops)
            v *= dropout_factor(r, (uint32_t)(i / item), (uint32_t)(i % item));
        store(s + i, v + scale * to_float(residual[i]));
    });
    if (a.y)
        layer_norm_of(d, as<T>(a.y), sums, a.w, a.b, a.mean, a.rstd, a.B * a.T, a.D, a.eps, 0);
}

/* g: the gradient by the sum that comes of the norm, or of dy itself. */
template <class T, class G>
static void branch_backward(device *d, const mert_add_norm_backward_args &a, float *part, G g)
{
    T *dresidual = as<T>(a.dresidual), *dx = as<T>(a.dx);
    int64_t D = a.D, rows = a.B * a.T, item = a.T * D;
    float scale = a.scale == 0 ? 1.0f : a.scale;
    int drops = a.p > 0, add = a.add;
    dropout drop = make_dropout(&a.key, a.p);
    row_sums<1> sums = {{a.sums}};
    if (a.sums)
        sum_rows_in(d, part, rows, D, sums, DEVICE_LAMBDA(int64_t r, int64_t c, float *v) {
            int64_t i = r * D + c;
            float x = add ? to_float(dresidual[i]) + g(r, c) : g(r, c);
            v[0] += drops ? x * dropout_factor(drop, (uint32_t)(i / item), (uint32_t)(i % item)) : x;
        });
    each(d, rows * D, DEVICE_LAMBDA(int64_t i) {
        float x = g(i / D, i % D);
        if (add)
            x = to_float(dresidual[i]) + x;
        store(dresidual + i, scale * x);
        if (dx)
            store(dx + i, drops ? x * dropout_factor(drop, (uint32_t)(i / item), (uint32_t)(i % item)) : x);
    });
}

template <class T> static void add_norm_backward(device *d, const mert_add_norm_backward_args &a)
{
    typedef array_numbers<T> numbers;
    int64_t rows = a.B * a.T, part = row_sums_room(rows, a.D, 2);
    float *at = (float *)scratch(d, (size_t)(room_of(part) + room_of(2 * rows)) * sizeof(float));
    numbers s = {as<T>(a.s), a.D}, dy = {as<T>(a.dy), a.D};
    if (!at || rows <= 0)
        return;
    if (!a.w) {
        branch_backward<T>(d, a, at, dy);
        return;
    }
    row_gradient<numbers, numbers> g = {s, dy, a.w, NULL, a.mean, a.rstd, take_room(&at, 2 * rows), a.D, 0};
    row_means(d, g, at, a.dw, a.db, rows);
    branch_backward<T>(d, a, at, g);
}

/* ---- GroupNorm over time ---- */

template <class T> static void time_norm(device *d, const mert_time_norm_args &a)
{
    int64_t C = a.C, frames = a.T, pieces = pieces_of(frames), channels = a.B * C;
    float *part = (float *)scratch(d, (size_t)(channels * (pieces + 2)) * sizeof(float));
    float *mean = a.mean ? a.mean : part + channels * pieces;
    float *rstd = a.rstd ? a.rstd : part + channels * (pieces + 1);
    array_numbers<T> x = {as<T>(a.x), C};
    T *y = as<T>(a.y), *pre = as<T>(a.pre);
    const float *w = a.w, *bias = a.b;
    int gelu = a.gelu;
    if (!part)
        return;
    time_statistics(d, x, part, mean, rstd, a.B, frames, C, a.eps);
    each(d, channels * frames, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % C, at = i / C / frames * C + c;
        float v = rstd[at] * w[c] * (x(i / C, c) - mean[at]) + bias[c];
        if (pre)
            store(pre + i, v);
        store(y + i, gelu ? gelu_of(v) : v);
    });
}

template <class T> static void time_norm_backward(device *d, const mert_time_norm_backward_args &a)
{
    typedef array_numbers<T> numbers;
    int64_t C = a.C, frames = a.T, channels = a.B * C, parts = channels * pieces_of(frames);
    float *part = (float *)scratch(d, (size_t)(2 * (parts + channels)) * sizeof(float));
    float *means = part + 2 * parts;
    numbers x = {as<T>(a.x), C}, dy = {as<T>(a.dy), C};
    T *dx = as<T>(a.dx);
    if (!part)
        return;
    time_gradient<numbers, numbers> g = {x, dy, a.w, NULL, a.mean, a.rstd, means, means + channels, frames, C, 0};
    time_means(d, g, part, a.dw, a.db, a.B);
    each(d, channels * frames, DEVICE_LAMBDA(int64_t i) { store(dx + i, g(i / C, i % C)); });
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
    BY_TYPE(MERT_OP_ADD_NORM, add_norm, mert_add_norm_args),
    BY_TYPE(MERT_OP_ADD_NORM_BACKWARD, add_norm_backward, mert_add_norm_backward_args),
    BY_TYPE(MERT_OP_TIME_NORM, time_norm, mert_time_norm_args),
    BY_TYPE(MERT_OP_TIME_NORM_BACKWARD, time_norm_backward, mert_time_norm_backward_args),
    BY_TYPE(MERT_OP_WINDOW_MOMENTS, window_moments, mert_window_moments_args),
    OF_FLOATS(MERT_OP_FOLD_NORM, fold_norm, mert_fold_norm_args),
    END_OF_OPERATIONS,
};
