/* Activations, dropout, masks, rows by index, sums over rows. */
#include "activation.h"
#include "device.h"
#include "random.h"

template <class T> static void gelu(device *d, const mert_gelu_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x), *residual = as<T>(a.residual);
    int64_t item = a.n / (a.B > 0 ? a.B : 1);
    int drops = a.p > 0;
    dropout r = make_dropout(&a.key, a.p);
    each(d, a.n, DEVICE_LAMBDA(int64_t i) {
        float v = gelu_of(to_float(x[i]));
        if (drops)
            v *= dropout_factor(r, (uint32_t)(i / item), (uint32_t)(i % item));
        store(y + i, residual ? to_float(residual[i]) + v : v);
    });
}

template <class T> struct gelu_gradient {
    const T *dy, *x;
    int64_t item;
    int drops;
    dropout drop;
    __device__ __forceinline__ float operator()(int64_t i) const
    {
        float g = to_float(dy[i]);
        if (drops)
            g *= dropout_factor(drop, (uint32_t)(i / item), (uint32_t)(i % item));
        return g * gelu_slope(to_float(x[i]));
    }
};

template <class T> static void gelu_backward(device *d, const mert_gelu_backward_args &a)
{
    gelu_gradient<T> g = {as<T>(a.dy), as<T>(a.x), a.n / (a.B > 0 ? a.B : 1), a.p > 0, make_dropout(&a.key, a.p)};
    T *dx = as<T>(a.dx);
    int64_t columns = a.columns;
    row_sums<1> sums = {{a.sums}};
    if (a.sums) /* first: dx may stand in the place of dy or x */
        sum_rows(d, a.n / columns, columns, sums,
                 DEVICE_LAMBDA(int64_t r, int64_t c, float *v) { v[0] += g(r * columns + c); });
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { store(dx + i, g(i)); });
}

template <class T> static void glu(device *d, const mert_glu_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x);
    int64_t D = a.D;
    each(d, a.rows * D, DEVICE_LAMBDA(int64_t i) {
        const T *row = x + i / D * 2 * D + i % D;
        store(y + i, to_float(row[0]) * sigmoid_of(to_float(row[D])));
    });
}

template <class T> static void glu_backward(device *d, const mert_glu_backward_args &a)
{
    T *dx = as<T>(a.dx);
    const T *dy = as<T>(a.dy), *x = as<T>(a.x);
    int64_t D = a.D;
    each(d, a.rows * D, DEVICE_LAMBDA(int64_t i) {
        int64_t at = i / D * 2 * D + i % D;
        float g = to_float(dy[i]), v = to_float(x[at]), s = sigmoid_of(to_float(x[at + D]));
        store(dx + at, g * s);
        store(dx + at + D, g * v * s * (1.0f - s));
    });
}

/* ---- dropout: one block of random numbers serves four elements ---- */

template <class T> static void dropout_all(device *d, const mert_dropout_args &a)
{
    T *x = as<T>(a.x);
    int64_t n = a.n, blocks = ceiling(n, 4);
    dropout r = make_dropout(&a.key, a.p);
    each(d, a.B * blocks, DEVICE_LAMBDA(int64_t i) {
        uint32_t c[4];
        int64_t b = i / blocks, first = i % blocks * 4;
        T *at = x + b * n + first;
        random_block(r, (uint32_t)b, (uint32_t)(first / 4), c);
        for (int k = 0; k < 4 && first + k < n; k++)
            store(at + k, to_float(at[k]) * (c[k] < r.limit ? 0.0f : r.factor));
    });
}

/* ---- masks ---- */

template <class T> static void mask(device *d, const mert_mask_args &a)
{
    T *x = as<T>(a.x);
    const float *e = a.e, *flags = a.mask;
    int64_t D = a.D;
    each(d, a.rows * D, DEVICE_LAMBDA(int64_t i) {
        if (flags[i / D] != 0)
            store(x + i, e[i % D]);
    });
}

template <class T> static void mask_backward(device *d, const mert_mask_backward_args &a)
{
    T *dx = as<T>(a.dx);
    const float *flags = a.mask;
    int64_t D = a.D;
    row_sums<1> sums = {{a.de}};
    sum_rows(d, a.rows, D, sums, DEVICE_LAMBDA(int64_t r, int64_t c, float *v) {
        if (flags[r] != 0)
            v[0] += to_float(dx[r * D + c]);
    });
    each(d, a.rows * D, DEVICE_LAMBDA(int64_t i) {
        if (flags[i / D] != 0)
            store(dx + i, 0.0f);
    });
}

template <class T> static void zero(device *d, const mert_zero_args &a)
{
    T *x = as<T>(a.x);
    const float *rows = a.rows, *channels = a.channels;
    int64_t D = a.D, frames = a.T;
    each(d, a.B * frames * D, DEVICE_LAMBDA(int64_t i) {
        int64_t row = i / D;
        if ((rows && rows[row] != 0) || (channels && channels[row / frames * D + i % D] != 0))
            store(x + i, 0.0f);
    });
}

/* ---- rows by index ---- */

template <class T> static void gather(device *d, const mert_gather_args &a)
{
    T *to = as<T>(a.to);
    const T *from = as<T>(a.from);
    const int32_t *index = a.index;
    int64_t D = a.D;
    each(d, a.n * D, DEVICE_LAMBDA(int64_t i) { to[i] = from[(int64_t)index[i / D] * D + i % D]; });
}

template <class T> static void scatter_add(device *d, const mert_scatter_add_args &a)
{
    T *to = as<T>(a.to);
    const T *from = as<T>(a.from);
    const int32_t *index = a.index;
    int64_t D = a.D;
    each(d, a.n * D, DEVICE_LAMBDA(int64_t i) {
        T *at = to + (int64_t)index[i / D] * D + i % D;
        store(at, to_float(*at) + to_float(from[i]));
    });
}

template <class T> static void column_sum(device *d, const mert_column_sum_args &a)
{
    int64_t ldx = a.ldx;
    for (int64_t k = 0; k == 0 || k < a.count; k++) {
        const T *x = as<T>(a.x) + k * a.columns;
        row_sums<1> sums = {{a.sums + k * a.sums_step}};
        sum_rows(d, a.rows, a.columns, sums,
                 DEVICE_LAMBDA(int64_t r, int64_t c, float *v) { v[0] += to_float(x[r * ldx + c]); });
    }
}

template <class T> static void pool_spans(device *d, const mert_pool_spans_args &a)
{
    float *y = a.y;
    const T *x = as<T>(a.x);
    const int32_t *first = a.first;
    int64_t D = a.D, ldy = a.ldy;
    int largest = a.largest;
    each(d, a.spans * D, DEVICE_LAMBDA(int64_t i) {
        int64_t j = i / D, c = i % D, begin = first[j], end = first[j + 1];
        float most = to_float(x[begin * D + c]);
        double sum = 0;
        for (int64_t t = begin; t < end; t++) {
            float v = to_float(x[t * D + c]);
            most = v > most ? v : most;
            sum += v;
        }
        y[j * ldy + c] = largest ? most : (float)(sum / (double)(end - begin));
    });
}

const operations elementwise_operations[] = {
    BY_TYPE(MERT_OP_GELU, gelu, mert_gelu_args),
    BY_TYPE(MERT_OP_GELU_BACKWARD, gelu_backward, mert_gelu_backward_args),
    BY_TYPE(MERT_OP_GLU, glu, mert_glu_args),
    BY_TYPE(MERT_OP_GLU_BACKWARD, glu_backward, mert_glu_backward_args),
    BY_TYPE(MERT_OP_DROPOUT, dropout_all, mert_dropout_args),
    BY_TYPE(MERT_OP_MASK, mask, mert_mask_args),
    BY_TYPE(MERT_OP_MASK_BACKWARD, mask_backward, mert_mask_backward_args),
    BY_TYPE(MERT_OP_ZERO, zero, mert_zero_args),
    BY_TYPE(MERT_OP_GATHER, gather, mert_gather_args),
    BY_TYPE(MERT_OP_SCATTER_ADD, scatter_add, mert_scatter_add_args),
    BY_TYPE(MERT_OP_POOL_SPANS, pool_spans, mert_pool_spans_args),
    BY_TYPE(MERT_OP_COLUMN_SUM, column_sum, mert_column_sum_args),
    END_OF_OPERATIONS,
};
