/* Convolutions over time without padding, as products of windows: `stride` taps at a time, so that rows do not overlap.
 * The extractor's first layer, whose outputs before the norm are made where they are needed. */
#include "norm.h"
#include "product.h"

/* Taps first .. first + n of the kernel that one product takes. */
static int64_t taps_at(const mert_conv_shape &s, int64_t first)
{
    return s.kernel - first < s.stride ? s.kernel - first : s.stride;
}

/* c [items, T_out, O] = the sums for so many items of x [items, T_in, C]. */
template <class T> static void window_products(device *d, const T *x, const T *w, float *c, const mert_conv_shape &s,
                                               int64_t items)
{
    for (int64_t k = 0; k < s.kernel; k += s.stride) {
        product p = {};
        p.M = s.T_out, p.N = s.O, p.K = taps_at(s, k) * s.C;
        p.a = x + k * s.C, p.lda = s.stride * s.C, p.a_step = s.T_in * s.C;
        p.b = w + k * s.C, p.ldb = s.kernel * s.C, p.tb = 1;
        p.c = c, p.ldc = s.O, p.c_step = s.T_out * s.O;
        p.batch = items, p.add = k > 0, p.alpha = 1;
        p.in = type_of<T>::is, p.out = MERT_ELEMENT_F32;
        one_product<T>(d, p);
    }
}

/* Items taken at once where float sums of all do not fit into the result. */
template <class T> static int64_t items_at_once(int64_t B) { return sizeof(T) == sizeof(float) ? B : 1; }

template <class T> static void conv(device *d, const mert_conv_args &a)
{
    const mert_conv_shape s = a.shape;
    int64_t items = items_at_once<T>(s.B), outputs = s.T_out * s.O, O = s.O;
    const float *bias = a.bias;
    int gelu = a.gelu;
    if (a.packed) {
        failed(d, "a convolution with packed weights, which this device does not read,");
        return;
    }
    for (int64_t b = 0; b < s.B; b += items) {
        T *y = as<T>(a.y) + b * outputs;
        float *sums = items == s.B && sizeof(T) == sizeof(float) ? (float *)(void *)y
                                                                 : (float *)scratch(d, (size_t)outputs * sizeof(float));
        if (!sums)
            return;
        window_products(d, as<T>(a.x) + b * s.T_in * s.C, as<T>(a.w), sums, s, items);
        each(d, items * outputs, DEVICE_LAMBDA(int64_t i) {
            float v = bias ? sums[i] + bias[i % O] : sums[i];
            store(y + i, gelu ? gelu_of(v) : v);
        });
    }
}

/* dw += of so many items */
template <class T> static void weights_backward(device *d, float *dw, const T *dy, const T *x, const mert_conv_shape &s,
                                                int64_t items)
{
    for (int64_t k = 0; k < s.kernel; k += s.stride)
        for (int64_t b = 0; b < items; b++) {
            product p = {};
            p.M = s.O, p.N = taps_at(s, k) * s.C, p.K = s.T_out;
            p.a = dy + b * s.T_out * s.O, p.lda = s.O, p.ta = 1;
            p.b = x + b * s.T_in * s.C + k * s.C, p.ldb = s.stride * s.C;
            p.c = dw + k * s.C, p.ldc = s.kernel * s.C;
            p.add = 1, p.alpha = 1;
            p.in = type_of<T>::is, p.out = MERT_ELEMENT_F32;
            one_product<T>(d, p);
        }
}

/* dx [items, T_in, C] += in float */
template <class T> static void inputs_backward(device *d, float *dx, const T *dy, const T *w, const mert_conv_shape &s,
                                               int64_t items)
{
    for (int64_t k = 0; k < s.kernel; k += s.stride) {
        product p = {};
        p.M = s.T_out, p.N = taps_at(s, k) * s.C, p.K = s.O;
        p.a = dy, p.lda = s.O, p.a_step = s.T_out * s.O;
        p.b = w + k * s.C, p.ldb = s.kernel * s.C;
        p.c = dx + k * s.C, p.ldc = s.stride * s.C, p.c_step = s.T_in * s.C;
        p.batch = items, p.add = 1, p.alpha = 1;
        p.in = type_of<T>::is, p.out = MERT_ELEMENT_F32;
        one_product<T>(d, p);
    }
}

template <class T> static void conv_backward(device *d, const mert_conv_backward_args &a)
{
    const mert_conv_shape s = a.shape;
    int64_t items = items_at_once<T>(s.B), inputs = s.T_in * s.C, O = s.O;
    const T *dy = as<T>(a.dy);
    row_sums<1> sums = {{a.db}};
    if (a.db)
        sum_rows(d, s.B * s.T_out, O, sums,
                 DEVICE_LAMBDA(int64_t r, int64_t c, float *v) { v[0] += to_float(dy[r * O + c]); });
    weights_backward(d, a.dw, dy, as<T>(a.x), s, s.B);
    for (int64_t b = 0; a.dx && b < s.B; b += items) {
        T *dx = as<T>(a.dx) + b * inputs;
        int whole = sizeof(T) == sizeof(float);
        float *to = whole ? (float *)(void *)dx : (float *)scratch(d, (size_t)inputs * sizeof(float));
        if (!to)
            return;
        each(d, items * inputs, DEVICE_LAMBDA(int64_t i) { to[i] = 0; });
        inputs_backward(d, to, dy + b * s.T_out * O, as<T>(a.w), s, items);
        if (!whole)
            each(d, inputs, DEVICE_LAMBDA(int64_t i) { store(dx + i, to[i]); });
    }
}

/* ---- the first layer ---- */

/* The convolution's output o of row r, with the sums of window_products. */
template <class T> struct first_outputs {
    const T *x;
    const float *w, *bias;
    int64_t T_in, T_out, kernel, stride;
    __device__ __forceinline__ float operator()(int64_t r, int64_t o) const
    {
        const T *from = x + r / T_out * T_in + r % T_out * stride;
        const float *taps = w + o * kernel;
        float all = 0;
        for (int64_t k = 0; k < kernel; k += stride) {
            float sum = 0;
            for (int64_t j = k; j < k + stride && j < kernel; j++)
                sum += to_float(from[j]) * taps[j];
            all = k ? all + sum : sum;
        }
        return bias ? all + bias[o] : all;
    }
};

template <class T>
static first_outputs<T> outputs_of(const T *x, const float *w, const float *bias, const mert_conv_shape &s)
{
    return {x, w, bias, s.T_in, s.T_out, s.kernel, s.stride};
}

template <class T> static void first_layer(device *d, const mert_first_layer_args &a)
{
    const mert_conv_shape s = a.shape;
    int64_t O = s.O, frames = s.T_out, channels = s.B * O, pieces = pieces_of(frames);
    first_outputs<T> x = outputs_of(as<T>(a.x), a.w, a.bias, s);
    const float *w = a.norm_w, *bias = a.norm_b;
    float *part, *mean, *rstd;
    T *y = as<T>(a.y);
    if (a.over_channels) {
        layer_norm_of(d, y, x, w, bias, (float *)NULL, (float *)NULL, s.B * frames, O, a.eps, 1);
        return;
    }
    if (!(part = (float *)scratch(d, (size_t)(channels * (pieces + 2)) * sizeof(float))))
        return;
    mean = part + channels * pieces;
    rstd = mean + channels;
    time_statistics(d, x, part, mean, rstd, s.B, frames, O, a.eps);
    each(d, channels * frames, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % O, at = i / O / frames * O + c;
        store(y + i, gelu_of(rstd[at] * w[c] * (x(i / O, c) - mean[at]) + bias[c]));
    });
}

/* What the first layer's backward pass works in. */
struct first_room {
    float *part, *mean, *rstd, *means, *dz, *x; /* dz [T_out, O] and x [T_in] of one item */
};

/* The convolution's gradients, an item after the other; g: the gradient by its outputs. */
template <class T, class G>
static void first_conv_backward(device *d, const mert_first_layer_backward_args &a, const first_room &m, G g)
{
    mert_conv_shape one = a.shape;
    int64_t O = one.O, frames = one.T_out;
    row_sums<1> sums = {{a.db}};
    float *dz = m.dz, *held = m.x;
    one.B = 1;
    for (int64_t b = 0; b < a.shape.B; b++) {
        const T *x = as<T>(a.x) + b * one.T_in;
        each(d, frames * O, DEVICE_LAMBDA(int64_t i) { dz[i] = g(b * frames + i / O, i % O); });
        each(d, one.T_in, DEVICE_LAMBDA(int64_t i) { held[i] = to_float(x[i]); });
        if (a.db)
            sum_rows_in(d, m.part, frames, O, sums,
                        DEVICE_LAMBDA(int64_t r, int64_t c, float *v) { v[0] += dz[r * O + c]; });
        weights_backward<float>(d, a.dw, dz, held, one, 1);
    }
}

template <class T> static void first_layer_backward(device *d, const mert_first_layer_backward_args &a)
{
    typedef first_outputs<T> outputs;
    typedef array_numbers<T> numbers;
    const mert_conv_shape s = a.shape;
    int64_t O = s.O, rows = s.B * s.T_out, channels = s.B * O, statistics = a.over_channels ? rows : channels;
    int64_t part = a.over_channels ? row_sums_room(rows, O, 2) : 2 * channels * pieces_of(s.T_out);
    int64_t more = row_sums_room(s.T_out, O, 1);
    outputs x = outputs_of(as<T>(a.x), a.w, a.bias, s);
    numbers dy = {as<T>((const mert_element *)a.dy), O};
    first_room m;
    float *at;
    part = part > more ? part : more;
    at = (float *)scratch(d, (size_t)(room_of(part) + 2 * room_of(statistics) + room_of(2 * statistics) +
                                      room_of(s.T_out * O) + room_of(s.T_in)) * sizeof(float));
    if (!at || rows <= 0)
        return;
    m.part = take_room(&at, part);
    m.mean = take_room(&at, statistics);
    m.rstd = take_room(&at, statistics);
    m.means = take_room(&at, 2 * statistics);
    m.dz = take_room(&at, s.T_out * O);
    m.x = take_room(&at, s.T_in);
    if (a.over_channels) {
        row_gradient<outputs, numbers> g = {x, dy, a.norm_w, a.norm_b, m.mean, m.rstd, m.means, O, 1};
        layer_norm_of(d, (T *)NULL, x, a.norm_w, a.norm_b, m.mean, m.rstd, rows, O, a.eps, 0);
        row_means(d, g, m.part, a.dnorm_w, a.dnorm_b, rows);
        first_conv_backward<T>(d, a, m, g);
    } else {
        time_gradient<outputs, numbers> g = {x,      dy,      a.norm_w,           a.norm_b, m.mean, m.rstd,
                                             m.means, m.means + channels, s.T_out, O,        1};
        time_statistics(d, x, m.part, m.mean, m.rstd, s.B, s.T_out, O, a.eps);
        time_means(d, g, m.part, a.dnorm_w, a.dnorm_b, s.B);
        first_conv_backward<T>(d, a, m, g);
    }
}

const operations extractor_operations[] = {
    BY_TYPE(MERT_OP_CONV, conv, mert_conv_args),
    BY_TYPE(MERT_OP_CONV_BACKWARD, conv_backward, mert_conv_backward_args),
    BY_TYPE(MERT_OP_FIRST_LAYER, first_layer, mert_first_layer_args),
    BY_TYPE(MERT_OP_FIRST_LAYER_BACKWARD, first_layer_backward, mert_first_layer_backward_args),
    END_OF_OPERATIONS,
};
