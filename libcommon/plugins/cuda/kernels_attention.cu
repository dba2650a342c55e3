/* Attention of any head size: a warp a query (backward: a query, then a key), keys in tiles of a warp's width with a
 * running softmax. The backward pass makes the scores again from q, k and the kept log-sums; no sum has two writers. */
#include "attention.h"

enum { WARPS = 4, HEAD_MAX = 256, PER_LANE = HEAD_MAX / WARP };

/* Of a head of an item. */
struct head_shape {
    int64_t frames, heads, size, ld;
    float scale;
};

/* Where this warp is: its frame (frames or more: none), head, item, and the head's first element in q, k and v. */
struct place {
    int64_t frame, head, item, at;
    int lane, warp;
};

__device__ __forceinline__ place place_of_warp(const head_shape &s)
{
    place p;
    int64_t tiles = (s.frames + WARPS - 1) / WARPS, tile = blockIdx.x;
    p.lane = (int)threadIdx.x % WARP;
    p.warp = (int)threadIdx.x / WARP;
    p.frame = tile % tiles * WARPS + p.warp;
    p.head = tile / tiles % s.heads;
    p.item = tile / tiles / s.heads;
    p.at = p.item * s.frames * s.ld + p.head * s.size;
    return p;
}

/* The head's first element in rows with stride ldout. */
__device__ __forceinline__ int64_t outputs_at(const head_shape &s, const place &p, int64_t ldout)
{
    return p.item * s.frames * ldout + p.head * s.size;
}

static unsigned blocks_of(int64_t B, const head_shape &s) { return grid_of(B * s.heads * ceiling(s.frames, WARPS)); }

template <class T> __device__ __forceinline__ float dot(const float *x, const T *y, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * to_float(y[i]);
    return sum;
}

/* A row of a head into this warp's part of shared memory. */
template <class T> __device__ __forceinline__ void take_row(float *to, const T *from, int64_t n, int lane)
{
    for (int64_t i = lane; i < n; i += WARP)
        to[i] = to_float(from[i]);
}

template <class T>
__global__ void __launch_bounds__(WARPS *WARP)
attention_kernel(T *out, float *lse, float *tops, const T *q, const T *k, const T *v, head_shape s, int64_t ldout,
                 int drops, dropout r)
{
    SHARED(float, queries, WARPS *HEAD_MAX);
    SHARED(float, weights, WARPS *WARP);
    place p = place_of_warp(s);
    float *query = queries + p.warp * HEAD_MAX, *weight = weights + p.warp * WARP, o[PER_LANE];
    float top = -INFINITY, sum = 0;
    if (p.frame >= s.frames)
        return;
    take_row(query, q + p.at + p.frame * s.ld, s.size, p.lane);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        o[j] = 0;
    for (int64_t u0 = 0; u0 < s.frames; u0 += WARP) {
        int64_t u = u0 + p.lane, n = s.frames - u0 < WARP ? s.frames - u0 : WARP;
        float score = u < s.frames ? s.scale * dot(query, k + p.at + u * s.ld, s.size) : -INFINITY;
        float high = fmaxf(top, warp_max(score)), shrink = expf(top - high), e = expf(score - high);
        sum = sum * shrink + e;
        top = high;
        weight[p.lane] = drops && u < s.frames
                             ? e * dropout_factor(r, (uint32_t)(p.item * s.heads + p.head),
                                                  pair_index(p.frame, u, s.frames))
                             : e;
        __syncwarp();
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            int64_t c = j * WARP + p.lane;
            if (c < s.size) {
                float x = o[j] * shrink;
                for (int64_t i = 0; i < n; i++)
                    x += weight[i] * to_float(v[p.at + (u0 + i) * s.ld + c]);
                o[j] = x;
            }
        }
        __syncwarp(); /* the weights have been read */
    }
    sum = warp_sum(sum);
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        if (j * WARP + p.lane < s.size)
            store(out + (p.item * s.frames + p.frame) * ldout + p.head * s.size + j * WARP + p.lane, o[j] / sum);
    if (p.lane == 0) {
        int64_t row = (p.item * s.heads + p.head) * s.frames + p.frame;
        if (lse)
            lse[row] = top + logf(sum);
        if (tops)
            tops[row] = top;
    }
}

enum { MOST_THREADS = 256 };

/* *to = the largest of it and all x. One block. */
__global__ void __launch_bounds__(MOST_THREADS) largest_kernel(float *to, const float *x, int64_t n)
{
    SHARED(float, part, MOST_THREADS / WARP);
    float most = -INFINITY;
    for (int64_t i = threadIdx.x; i < n; i += MOST_THREADS)
        most = fmaxf(most, x[i]);
    most = block_max(most, part);
    if (threadIdx.x == 0 && most > *to)
        *to = most;
}

template <class T> static void attention(device *d, const mert_attention_args &a)
{
    head_shape s = {a.T, a.H, a.dh, a.ld, a.scale};
    int64_t rows = a.B * a.H * a.T;
    float *tops = NULL;
    if (rows <= 0)
        return;
    if (a.dh > HEAD_MAX) {
        failed(d, "attention with heads of more than 256 channels");
        return;
    }
    if (a.largest && !(tops = (float *)scratch(d, (size_t)rows * sizeof(float))))
        return;
    if (flash_attention<T>(d, a, tops))
        LAUNCH(attention_kernel<T>, blocks_of(a.B, s), WARPS * WARP, 0, stream_of(d), as<T>(a.out), a.lse, tops,
               as<T>(a.q), as<T>(a.k), as<T>(a.v), s, a.ldout ? a.ldout : a.ld, a.p > 0, make_dropout(&a.key, a.p));
    if (tops)
        LAUNCH(largest_kernel, 1, MOST_THREADS, 0, stream_of(d), a.largest, (const float *)tops, rows);
}

/* ---- backward. With P the probabilities, M the dropout's factors, D = <dout, out> by query: dV = (P M)^T dout,
 * dS = P (dout V^T M - D), dQ = scale dS K, dK = scale dS^T Q ---- */

template <class T> struct backward_args {
    T *dq, *dk, *dv;
    const T *dout, *out, *q, *k, *v;
    const float *lse;
    float *inner; /* D [B, H, T] */
    int64_t ldout; /* of dout and out */
    int drops;
    dropout r;
};

template <class T>
__global__ void __launch_bounds__(WARPS *WARP) queries_backward_kernel(backward_args<T> a, head_shape s)
{
    SHARED(float, queries, WARPS *HEAD_MAX);
    SHARED(float, gradients, WARPS *HEAD_MAX);
    SHARED(float, scores, WARPS *WARP);
    place p = place_of_warp(s);
    float *query = queries + p.warp * HEAD_MAX, *gradient = gradients + p.warp * HEAD_MAX;
    float *score = scores + p.warp * WARP, dq[PER_LANE], inner = 0, lse;
    int64_t row = (p.item * s.heads + p.head) * s.frames + p.frame, at = p.at + p.frame * s.ld;
    int64_t out = outputs_at(s, p, a.ldout) + p.frame * a.ldout;
    if (p.frame >= s.frames)
        return;
    take_row(query, a.q + at, s.size, p.lane);
    take_row(gradient, a.dout + out, s.size, p.lane);
    __syncwarp();
    for (int64_t c = p.lane; c < s.size; c += WARP)
        inner += gradient[c] * to_float(a.out[out + c]);
    inner = warp_sum(inner);
    if (p.lane == 0)
        a.inner[row] = inner;
    lse = a.lse[row];
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        dq[j] = 0;
    for (int64_t u0 = 0; u0 < s.frames; u0 += WARP) {
        int64_t u = u0 + p.lane, n = s.frames - u0 < WARP ? s.frames - u0 : WARP;
        if (u < s.frames) {
            float e = expf(s.scale * dot(query, a.k + p.at + u * s.ld, s.size) - lse);
            float dp = dot(gradient, a.v + p.at + u * s.ld, s.size);
            if (a.drops)
                dp *= dropout_factor(a.r, (uint32_t)(p.item * s.heads + p.head), pair_index(p.frame, u, s.frames));
            score[p.lane] = e * (dp - inner);
        }
        __syncwarp();
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            int64_t c = j * WARP + p.lane;
            if (c < s.size)
                for (int64_t i = 0; i < n; i++)
                    dq[j] += score[i] * to_float(a.k[p.at + (u0 + i) * s.ld + c]);
        }
        __syncwarp();
    }
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        if (j * WARP + p.lane < s.size)
            store(a.dq + at + j * WARP + p.lane, s.scale * dq[j]);
}

template <class T>
__global__ void __launch_bounds__(WARPS *WARP, 3) keys_backward_kernel(backward_args<T> a, head_shape s)
{
    SHARED(float, keys, WARPS *HEAD_MAX);
    SHARED(float, values, WARPS *HEAD_MAX);
    SHARED(float, scores, WARPS *WARP);
    SHARED(float, weights, WARPS *WARP);
    place p = place_of_warp(s); /* its frame is that of the key */
    float *key = keys + p.warp * HEAD_MAX, *value = values + p.warp * HEAD_MAX, *score = scores + p.warp * WARP;
    float *weight = weights + p.warp * WARP, dk[PER_LANE], dv[PER_LANE];
    int64_t rows = (p.item * s.heads + p.head) * s.frames, at = p.at + p.frame * s.ld;
    const T *dout = a.dout + outputs_at(s, p, a.ldout);
    if (p.frame >= s.frames)
        return;
    take_row(key, a.k + at, s.size, p.lane);
    take_row(value, a.v + at, s.size, p.lane);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        dk[j] = dv[j] = 0;
    for (int64_t t0 = 0; t0 < s.frames; t0 += WARP) {
        int64_t t = t0 + p.lane, n = s.frames - t0 < WARP ? s.frames - t0 : WARP;
        if (t < s.frames) {
            float e = expf(s.scale * dot(key, a.q + p.at + t * s.ld, s.size) - a.lse[rows + t]);
            float dp = dot(value, dout + t * a.ldout, s.size), f = 1;
            if (a.drops)
                f = dropout_factor(a.r, (uint32_t)(p.item * s.heads + p.head), pair_index(t, p.frame, s.frames));
            weight[p.lane] = e * f;
            score[p.lane] = e * (dp * f - a.inner[rows + t]);
        }
        __syncwarp();
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            int64_t c = j * WARP + p.lane;
            if (c < s.size)
                for (int64_t i = 0; i < n; i++) {
                    dk[j] += score[i] * to_float(a.q[p.at + (t0 + i) * s.ld + c]);
                    dv[j] += weight[i] * to_float(dout[(t0 + i) * a.ldout + c]);
                }
        }
        __syncwarp();
    }
#pragma unroll
    for (int j = 0; j < PER_LANE; j++)
        if (j * WARP + p.lane < s.size) {
            store(a.dk + at + j * WARP + p.lane, s.scale * dk[j]);
            store(a.dv + at + j * WARP + p.lane, dv[j]);
        }
}

template <class T> static void attention_backward(device *d, const mert_attention_backward_args &a)
{
    head_shape s = {a.T, a.H, a.dh, a.ld, a.scale};
    int64_t rows = a.B * a.H * a.T;
    float *inner;
    if (rows <= 0)
        return;
    if (a.dh > HEAD_MAX) {
        failed(d, "attention with heads of more than 256 channels");
        return;
    }
    if (!(inner = (float *)scratch(d, (size_t)rows * sizeof(float))) || !flash_attention_backward<T>(d, a, inner))
        return;
    backward_args<T> b = {as<T>(a.dq), as<T>(a.dk), as<T>(a.dv), as<T>(a.dout), as<T>(a.out), as<T>(a.q), as<T>(a.k),
                          as<T>(a.v), a.lse, inner, a.ldout ? a.ldout : a.ld, a.p > 0, make_dropout(&a.key, a.p)};
    LAUNCH(queries_backward_kernel<T>, blocks_of(a.B, s), WARPS * WARP, 0, stream_of(d), b, s);
    LAUNCH(keys_backward_kernel<T>, blocks_of(a.B, s), WARPS * WARP, 0, stream_of(d), b, s);
}

const operations attention_operations[] = {
    BY_TYPE(MERT_OP_ATTENTION, attention, mert_attention_args),
    BY_TYPE(MERT_OP_ATTENTION_BACKWARD, attention_backward, mert_attention_backward_args),
    END_OF_OPERATIONS,
};
