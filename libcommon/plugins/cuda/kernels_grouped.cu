/* The positional convolution by tensor cores: y[t, o] = sum over taps k and channels c of a group of x[t + k - pad, c]
 * w[o, k, c] is a product whose left operand is never made. Its rows overlap: one copy of x in shared memory has all of
 * them, and 8 channels of a tap, which is what a load of fragments takes of a row, lie beside each other in it.
 *
 * Contract A1: blocks of frames at fixed positions of the item, sums over taps and channels in order. The weights'
 * gradients are sums over items and frames in order. */
#include "activation.h"
#include "mma.h"
#include "position.h"

enum { FRAMES = 128, WARPS = 4, THREADS = WARPS * WARP, TAPS_MAX = 128, CHUNK = 8 /* elements of 16 bytes */ };

/* Elements from row to row, an odd number of chunks: 8 rows lie in different banks. NT: columns of a block by 8, at
 * least those of a group. */
template <int NT> constexpr int stride = (NT | 1) * CHUNK;

/* One convolution. Forward: x, y [B, frames, D]. Back: x is dy, y is dx, the taps run backward. */
template <class T> struct convolution {
    T *y;
    const T *x, *w, *residual;
    const float *bias;
    int64_t frames, D;
    int in, groups, taps, pad, gelu;
};

/* tile = rows first .. first + rows - 1 of a group's channels, zeros outside of the item and behind the group. */
template <int NT, class T>
__device__ __forceinline__ void take_rows(T *tile, const T *group, int64_t D, int in, int64_t first, int rows,
                                          int64_t frames)
{
    for (int i = (int)threadIdx.x; i < rows * NT; i += (int)blockDim.x) {
        int r = i / NT, chunk = i % NT;
        int64_t t = first + r;
        uint4 eight = make_uint4(0, 0, 0, 0);
        if (t >= 0 && t < frames && chunk * CHUNK < in)
            eight = *(const uint4 *)(group + t * D + chunk * CHUNK);
        *(uint4 *)(tile + r * stride<NT> + chunk * CHUNK) = eight;
    }
}

/* ---- outputs, and the inputs' gradients ---- */

enum { STEP = 64 /* of a sum over taps and channels */, STEP_CHUNKS = STEP / CHUNK };

/* Weights for STEP terms of the sums, from the term `from` on: a thread has NT / 2 chunks of them. Forward they stand
 * by output, terms beside each other; back by term, the outputs (input channels of w) beside each other. */
template <bool BACK, int NT, class T>
__device__ __forceinline__ void fetch_weights(uint4 held[NT / 2], const convolution<T> &a, const T *w, int from)
{
#pragma unroll
    for (int i = 0; i < NT / 2; i++) {
        int at = i * THREADS + (int)threadIdx.x, row = BACK ? at / NT : at / STEP_CHUNKS;
        int chunk = BACK ? at % NT : at % STEP_CHUNKS, k = BACK ? from + row : from + chunk * CHUNK;
        held[i] = make_uint4(0, 0, 0, 0);
        if (k < a.taps * a.in && (BACK ? chunk * CHUNK : row) < a.in)
            held[i] = *(const uint4 *)(w + (BACK ? (k % a.in * a.taps + a.taps - 1 - k / a.in) * a.in + chunk * CHUNK
                                                 : row * a.taps * a.in + k));
    }
}

template <bool BACK, int NT> __device__ __forceinline__ int weights_at(int row, int chunk)
{
    return BACK ? row * stride<NT> + chunk * CHUNK : row * STEP + (chunk ^ (row & 7)) * CHUNK;
}

template <bool BACK, int NT, class T> __device__ __forceinline__ void put_weights(T *tile, const uint4 held[NT / 2])
{
#pragma unroll
    for (int i = 0; i < NT / 2; i++) {
        int at = i * THREADS + (int)threadIdx.x;
        *(uint4 *)(tile + (BACK ? weights_at<BACK, NT>(at / NT, at % NT)
                                : weights_at<BACK, NT>(at / STEP_CHUNKS, at % STEP_CHUNKS))) = held[i];
    }
}

/* Fragments B of outputs 16 n .. 16 n + 15, terms 16 i .. 16 i + 15 of the step. */
template <bool BACK, int NT, class T>
__device__ __forceinline__ void load_weights(uint32_t b[4], const T *tile, int n, int i)
{
    int lane = (int)threadIdx.x % WARP;
    if (BACK)
        load_transposed(b, tile + weights_at<BACK, NT>(16 * i + lane % 16, 2 * n + lane / 16));
    else
        load_matrices(b, tile + weights_at<BACK, NT>(16 * n + lane % 8 + lane / 16 * 8, 2 * i + lane / 8 % 2));
}

/* What becomes of two sums: outputs o, o + 1 of a row of the group. */
template <bool BACK, class T>
__device__ __forceinline__ void finish(const convolution<T> &a, int64_t row, int channel, float x, float y)
{
    T *to = a.y + row * a.D + channel;
    const T *more = BACK ? to : a.residual ? a.residual + row * a.D + channel : NULL;
    if (!BACK && a.bias) {
        x += a.bias[channel];
        y += a.bias[channel + 1];
    }
    if (!BACK && a.gelu) {
        x = gelu_of(x);
        y = gelu_of(y);
    }
    if (more) {
        x += to_float(more[0]);
        y += to_float(more[1]);
    }
    *(uint32_t *)(void *)to = pair_of<T>(x, y);
}

/* A block: FRAMES frames of a group of an item; a warp 32 of them. */
template <bool BACK, int NT, class T> __global__ void __launch_bounds__(THREADS, 3) grouped_kernel(convolution<T> a)
{
    SHARED(T, rows, (FRAMES + TAPS_MAX - 1) * stride<NT>);
    SHARED(T, weights, STEP * (NT | 1) * CHUNK);
    int64_t blocks = (a.frames + FRAMES - 1) / FRAMES, first = blockIdx.x % blocks * FRAMES;
    int64_t item = blockIdx.x / blocks / a.groups * a.frames;
    int group = (int)(blockIdx.x / blocks % a.groups) * a.in, terms = a.taps * a.in, lane = (int)threadIdx.x % WARP;
    int own = (int)threadIdx.x / WARP * 32, tap = 0, chunk = lane / 16, chunks = a.in / CHUNK;
    const T *w = a.w + (int64_t)group * terms;
    float d[2][NT][4] = {};
    uint4 held[NT / 2];
    take_rows<NT>(rows, a.x + item * a.D + group, a.D, a.in, first - a.pad, FRAMES + a.taps - 1, a.frames);
    fetch_weights<BACK, NT>(held, a, w, 0);
    for (int from = 0; from < terms; from += STEP) {
        put_weights<BACK, NT>(weights, held);
        __syncthreads();
        fetch_weights<BACK, NT>(held, a, w, from + STEP); /* while this step is worked on */
#pragma unroll
        for (int i = 0; i < STEP / 16; i++) {
            uint32_t x[2][4];
            if (from + 16 * i >= terms)
                break;
            for (; chunk >= chunks; chunk -= chunks) /* this lane's next 8 channels may be those of another tap */
                tap++;
            for (int m = 0; m < 2; m++)
                load_matrices(x[m], rows + (own + 16 * m + lane % 16 + tap) * stride<NT> + chunk * CHUNK);
            chunk += 2;
#pragma unroll
            for (int n = 0; n < NT / 2; n++) {
                uint32_t b[4];
                load_weights<BACK, NT>(b, weights, n, i);
                for (int m = 0; m < 2; m++) {
                    mma<T>(d[m][2 * n], x[m], b[0], b[1]);
                    mma<T>(d[m][2 * n + 1], x[m], b[2], b[3]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4 * NT; i++) {
        int m = i / 2 % 2, half = i % 2, n = i / 4, o = 8 * n + lane % 4 * 2;
        int64_t t = first + own + 16 * m + 8 * half + lane / 4;
        if (t < a.frames && o < a.in)
            finish<BACK>(a, item + t, group + o, d[m][n][2 * half], d[m][n][2 * half + 1]);
    }
}

/* ---- the weights' gradients: dw[o, k, c] += sum over items and frames of dy[t, o] x[t + k - pad, c] ---- */

enum { TIMES = 64, TAPS = 4 };

/* A block: TAPS taps of a group; WAYS warps have a tap, each some of its input channels. */
template <int NT, int WAYS, class T>
__global__ void __launch_bounds__(TAPS *WAYS *WARP, 3 - WAYS / 2)
grouped_weights_kernel(float *dw, const T *dy, const T *x, int64_t B, convolution<T> a)
{
    constexpr int MT = NT / 2, OWN = NT / WAYS;
    SHARED(T, outputs, TIMES * stride<NT>);
    SHARED(T, inputs, (TIMES + TAPS - 1) * stride<NT>);
    int blocks = (a.taps + TAPS - 1) / TAPS, lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
    int group = (int)blockIdx.x / blocks * a.in, first = (int)blockIdx.x % blocks * TAPS, tap = warp / WAYS;
    int part = warp % WAYS * OWN; /* of the input channels, by 8 */
    float d[MT][OWN][4] = {};
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < a.frames; t += TIMES) {
            int64_t at = b * a.frames * a.D + group;
            take_rows<NT>(outputs, dy + at, a.D, a.in, t, TIMES, a.frames);
            take_rows<NT>(inputs, x + at, a.D, a.in, t + first - a.pad, TIMES + TAPS - 1, a.frames);
            __syncthreads();
#pragma unroll
            for (int i = 0; i < TIMES / 16; i++) {
                uint32_t o[MT][4];
                for (int m = 0; m < MT; m++) /* as columns of rows */
                    load_transposed(o[m], outputs + (16 * i + lane % 8 + lane / 16 * 8) * stride<NT> +
                                              (2 * m + lane / 8 % 2) * CHUNK);
#pragma unroll
                for (int n = 0; n < OWN / 2; n++) {
                    uint32_t c[4];
                    load_transposed(c, inputs + (16 * i + lane % 16 + tap) * stride<NT> +
                                           (part + 2 * n + lane / 16) * CHUNK);
                    for (int m = 0; m < MT; m++) {
                        mma<T>(d[m][2 * n], o[m], c[0], c[1]);
                        mma<T>(d[m][2 * n + 1], o[m], c[2], c[3]);
                    }
                }
            }
            __syncthreads();
        }
#pragma unroll
    for (int i = 0; i < MT * OWN * 4; i++) {
        int m = i / 4 / OWN, n = i / 4 % OWN, j = i % 4;
        int o = 16 * m + j / 2 * 8 + lane / 4, c = (part + n) * 8 + lane % 4 * 2 + j % 2;
        if (o < a.in && c < a.in && first + tap < a.taps)
            dw[((int64_t)(group + o) * a.taps + first + tap) * a.in + c] += d[m][n][j];
    }
}

/* ---- launches ---- */

template <class T> static int fits(const convolution<T> &a)
{
    uintptr_t bits = (uintptr_t)a.x | (uintptr_t)a.y | (uintptr_t)a.w | (uintptr_t)a.residual;
    return bits % 16 == 0 && a.in % CHUNK == 0 && a.in <= 8 * CHUNK && a.taps <= TAPS_MAX && a.taps * a.in % 16 == 0;
}

template <bool BACK, class T> static void convolve(device *d, int64_t B, const convolution<T> &a)
{
    unsigned blocks = grid_of(B * a.groups * ceiling(a.frames, FRAMES));
    if (a.in <= 16)
        LAUNCH((grouped_kernel<BACK, 2, T>), blocks, THREADS, 0, stream_of(d), a);
    else if (a.in <= 48)
        LAUNCH((grouped_kernel<BACK, 6, T>), blocks, THREADS, 0, stream_of(d), a);
    else
        LAUNCH((grouped_kernel<BACK, 8, T>), blocks, THREADS, 0, stream_of(d), a);
}

template <class T> int grouped_product(device *d, const mert_grouped_conv_args &a)
{
    convolution<T> c = {as<T>(a.y), as<T>(a.x), as<T>(a.w), as<T>(a.residual), a.bias, a.T, a.D,
                        (int)(a.D / a.groups), (int)a.groups, (int)a.kernel, (int)a.pad, a.gelu};
    if (!fits(c))
        return 1;
    if (a.B > 0 && a.T > 0)
        convolve<false>(d, a.B, c);
    return 0;
}

template <class T> int grouped_product_backward(device *d, const mert_grouped_conv_backward_args &a)
{
    convolution<T> c = {as<T>(a.dx), as<T>(a.dy), as<T>(a.w), NULL, NULL, a.T, a.D,
                        (int)(a.D / a.groups), (int)a.groups, (int)a.kernel, (int)(a.kernel - 1 - a.pad), 0};
    const T *x = as<T>(a.x), *dy = c.x;
    unsigned blocks = grid_of(a.groups * ceiling(a.kernel, TAPS));
    if (!fits(c) || (uintptr_t)x % 16)
        return 1;
    if (a.B <= 0 || a.T <= 0)
        return 0;
    convolve<true>(d, a.B, c);
    c.pad = (int)a.pad;
    if (c.in <= 16)
        LAUNCH((grouped_weights_kernel<2, 1, T>), blocks, TAPS * WARP, 0, stream_of(d), a.dw, dy, x, a.B, c);
    else if (c.in <= 48)
        LAUNCH((grouped_weights_kernel<6, 1, T>), blocks, TAPS * WARP, 0, stream_of(d), a.dw, dy, x, a.B, c);
    else
        LAUNCH((grouped_weights_kernel<8, 2, T>), blocks, 2 * TAPS * WARP, 0, stream_of(d), a.dw, dy, x, a.B, c);
    return 0;
}

template int grouped_product<bf16>(device *, const mert_grouped_conv_args &);
template int grouped_product<f16>(device *, const mert_grouped_conv_args &);
template int grouped_product_backward<bf16>(device *, const mert_grouped_conv_backward_args &);
template int grouped_product_backward<f16>(device *, const mert_grouped_conv_backward_args &);
