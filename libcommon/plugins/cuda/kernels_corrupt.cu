/* What training does to frames before the transformer sees them, and its backward pass. Each number of a result is made
 * of the argument at once, and so rounded once. */
#include "device.h"
#include "random.h"

/* Where rows [B * frames, D] are dropped, masked, or 0. */
struct corruption {
    const float *mask, *channels;
    int64_t frames, D;
    int drops;
    dropout drop;
    __device__ __forceinline__ int masked(int64_t row) const { return mask && mask[row] != 0; }
    __device__ __forceinline__ int silent(int64_t row, int64_t c) const
    {
        return channels && channels[row / frames * D + c] != 0;
    }
    __device__ __forceinline__ float dropped(float x, int64_t row, int64_t c) const
    {
        return drops ? x * dropout_factor(drop, (uint32_t)(row / frames), (uint32_t)(row % frames * D + c)) : x;
    }
};

template <class T> static void corrupt(device *d, const mert_corrupt_args &a)
{
    corruption k = {a.mask, a.channels, a.T, a.D, a.p > 0, make_dropout(&a.key, a.p)};
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x);
    const float *e = a.e;
    const int32_t *to = a.to, *from = a.from;
    int64_t D = a.D;
    each(d, a.B * a.T * D, DEVICE_LAMBDA(int64_t i) {
        int64_t row = i / D, c = i % D;
        store(y + i, k.silent(row, c) ? 0.0f : k.masked(row) ? e[c] : k.dropped(to_float(x[i]), row, c));
    });
    each(d, a.replaced * D, DEVICE_LAMBDA(int64_t i) { /* of what a row is until then: of x */
        int64_t row = from[i / D], other = to[i / D], c = i % D;
        float v = k.masked(row) ? e[c] : k.dropped(to_float(x[row * D + c]), row, c);
        store(y + other * D + c, k.silent(other, c) ? 0.0f : v);
    });
}

/* The gradient by row `row` before the mask and the dropout is what comes to its own place, unless another row took it,
 * and what comes to the place that it was copied to. */
template <class T> static void corrupt_backward(device *d, const mert_corrupt_backward_args &a)
{
    corruption k = {a.mask, a.channels, a.T, a.D, a.p > 0, make_dropout(&a.key, a.p)};
    T *dx = as<T>(a.dx);
    const T *dy = as<T>(a.dy);
    const float *taken = a.replaced > 0 ? a.replaced_rows : NULL, *mask = a.mask, *channels = a.channels;
    const int32_t *to = a.to, *from = a.from;
    int64_t D = a.D, rows = a.B * a.T, frames = a.T;
    row_sums<1> sums = {{a.de}};
    if (a.mask) {
        sum_rows(d, rows, D, sums, DEVICE_LAMBDA(int64_t r, int64_t c, float *v) {
            if (k.masked(r) && !k.silent(r, c) && !(taken && taken[r] != 0))
                v[0] += to_float(dy[r * D + c]);
        });
        sum_rows(d, a.replaced, D, sums, DEVICE_LAMBDA(int64_t i, int64_t c, float *v) {
            int64_t other = to[i];
            if (mask[from[i]] != 0 && !(channels && channels[other / frames * D + c] != 0))
                v[0] += to_float(dy[other * D + c]);
        });
    }
    each(d, rows * D, DEVICE_LAMBDA(int64_t i) {
        int64_t row = i / D, c = i % D;
        int none = k.masked(row) || k.silent(row, c) || (taken && taken[row] != 0);
        store(dx + i, none ? 0.0f : k.dropped(to_float(dy[i]), row, c));
    });
    each(d, a.replaced * D, DEVICE_LAMBDA(int64_t i) {
        int64_t row = from[i / D], other = to[i / D], c = i % D;
        float own = k.silent(row, c) || (taken && taken[row] != 0) ? 0.0f : to_float(dy[row * D + c]);
        float copied = k.silent(other, c) ? 0.0f : to_float(dy[other * D + c]);
        if (!k.masked(row))
            store(dx + row * D + c, k.dropped(own + copied, row, c));
    });
}

const operations corrupt_operations[] = {
    BY_TYPE(MERT_OP_CORRUPT, corrupt, mert_corrupt_args),
    BY_TYPE(MERT_OP_CORRUPT_BACKWARD, corrupt_backward, mert_corrupt_backward_args),
    END_OF_OPERATIONS,
};
