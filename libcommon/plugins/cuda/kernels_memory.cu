/* Copies, sums of arrays, conversions. */
#include "device.h"

static void copy(device *d, const mert_copy_args &a)
{
    if (a.bytes && a.to != a.from && cudaMemcpyAsync(a.to, a.from, a.bytes, cudaMemcpyDeviceToDevice, stream_of(d)))
        failed(d, "a copy");
}

static void clear(device *d, const mert_clear_args &a)
{
    if (a.bytes && cudaMemsetAsync(a.to, 0, a.bytes, stream_of(d)))
        failed(d, "clearing memory");
}

static void fill(device *d, const mert_fill_args &a)
{
    float *to = a.to, value = a.value;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { to[i] = value; });
}

template <class T> static void copy_2d(device *d, const mert_copy_2d_args &a)
{
    T *to = as<T>(a.to);
    const T *from = as<T>(a.from);
    int64_t columns = a.columns, ldto = a.ldto, ldfrom = a.ldfrom;
    float scale = a.scale == 0 ? 1.0f : a.scale;
    int add = a.add;
    each(d, a.rows * columns, DEVICE_LAMBDA(int64_t i) {
        int64_t r = i / columns, c = i % columns;
        float x = scale * to_float(from[r * ldfrom + c]);
        store(to + r * ldto + c, add ? to_float(to[r * ldto + c]) + x : x);
    });
}

template <class T> static void axpy(device *d, const mert_axpy_args &a)
{
    T *to = as<T>(a.to);
    const T *from = as<T>(a.from);
    float alpha = a.alpha == 0 ? 1.0f : a.alpha;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { store(to + i, to_float(to[i]) + alpha * to_float(from[i])); });
}

static void add(device *d, const mert_add_args &a)
{
    float *to = a.to;
    const float *from = a.from;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { to[i] += from[i]; });
}

static void swap_axes(device *d, const mert_swap_axes_args &args)
{
    float *to = args.to;
    const float *from = args.from;
    int64_t a = args.a, b = args.b;
    int sum = args.add;
    each(d, args.n * a * b, DEVICE_LAMBDA(int64_t k) {
        int64_t n = k / (a * b), j = k / a % b, i = k % a;
        float x = from[(n * a + i) * b + j];
        to[k] = sum ? to[k] + x : x;
    });
}

/* The bits of bfloat16, as numbers (ops.h). */
static void narrow(device *d, const mert_narrow_args &a)
{
    bf16 *to = (bf16 *)a.to;
    const float *from = as<float>(a.from);
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { store(to + i, from[i]); });
}

static void widen(device *d, const mert_widen_args &a)
{
    float *to = as<float>(a.to);
    const bf16 *from = (const bf16 *)a.from;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { to[i] = to_float(from[i]); });
}

template <class T> static void to_elements(device *d, const mert_to_elements_args &a)
{
    T *to = as<T>(a.to);
    const float *from = a.from;
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { store(to + i, from[i]); });
}

template <class T> static void to_floats(device *d, const mert_to_floats_args &a)
{
    float *to = a.to;
    const T *from = as<T>(a.from);
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { to[i] = to_float(from[i]); });
}

const operations memory_operations[] = {
    OF_FLOATS(MERT_OP_COPY, copy, mert_copy_args),
    OF_FLOATS(MERT_OP_CLEAR, clear, mert_clear_args),
    OF_FLOATS(MERT_OP_FILL, fill, mert_fill_args),
    BY_TYPE(MERT_OP_COPY_2D, copy_2d, mert_copy_2d_args),
    BY_TYPE(MERT_OP_AXPY, axpy, mert_axpy_args),
    OF_FLOATS(MERT_OP_ADD, add, mert_add_args),
    OF_FLOATS(MERT_OP_SWAP_AXES, swap_axes, mert_swap_axes_args),
    {MERT_OP_NARROW, "narrow", {typed<mert_narrow_args, narrow>}}, /* of float32 alone */
    {MERT_OP_WIDEN, "widen", {typed<mert_widen_args, widen>}},
    BY_TYPE(MERT_OP_TO_ELEMENTS, to_elements, mert_to_elements_args),
    BY_TYPE(MERT_OP_TO_FLOATS, to_floats, mert_to_floats_args),
    END_OF_OPERATIONS,
};
