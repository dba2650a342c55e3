/* Attention of any head size: a warp has four queries (backward: queries, then keys), a lane one of 32 rows of the
 * other side, of which 64 channels at a time are in shared memory for all warps; with a running softmax. The backward
 * pass makes the scores again from q, k and the kept log-sums; no sum has two writers. 16-bit elements of heads of 64
 * channels: kernels_flash.cu. */
#include "attention.h"

enum { WARPS = 4, OWN = 4 /* rows of a warp */, ROWS = WARPS * OWN, HEAD_MAX = 256 };
enum { PART = 64, PARTS = HEAD_MAX / PART, STRIDE = PART + 1 /* lanes have different banks */, TILE = WARP * STRIDE };
enum { PER_PART = PART / WARP, PER_LANE = HEAD_MAX / WARP };

/* Of a head of an item. */
struct head_shape {
    int64_t frames, heads, size, ld;
    float scale;
};

/* Where this warp is: its first frame, head, item, and the head's first element in q, k and v. */
struct place {
    int64_t frame, head, item, at;
    int lane, warp;
};

__device__ __forceinline__ place place_of_warp(const head_shape &s)
{
    place p;
    int64_t tiles = (s.frames + ROWS - 1) / ROWS, tile = blockIdx.x;
    p.lane = (int)threadIdx.x % WARP;
    p.warp = (int)threadIdx.x / WARP;
    p.frame = tile % tiles * ROWS + p.warp * OWN;
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

static unsigned blocks_of(int64_t B, const head_shape &s) { return grid_of(B * s.heads * ceiling(s.frames, ROWS)); }

/* This warp's rows of a head, into its part of shared memory; zeros behind the last frame. */
template <class T>
__device__ __forceinline__ void take_own(float *own, const T *head, int64_t ld, const head_shape &s, const place &p)
{
    for (int i = 0; i < OWN; i++)
        for (int64_t c = p.lane; c < s.size; c += WARP)
            own[i * HEAD_MAX + c] = p.frame + i < s.frames ? to_float(head[(p.frame + i) * ld + c]) : 0.0f;
    __syncwarp();
}

/* tile [WARP][STRIDE] = channels c0 .. of frames first .. of a head. All warps call: what was in it has been read, and
 * what is in it is there for all. */
template <class T>
__device__ __forceinline__ void take_tile(float *tile, const T *head, int64_t ld, const head_shape &s, int64_t first,
                                          int64_t c0)
{
    __syncthreads();
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < WARP * PART; i += WARPS * WARP) {
        int r = i / PART, c = i % PART;
        if (c0 + c < s.size)
            tile[r * STRIDE + c] = first + r < s.frames ? to_float(head[(first + r) * ld + c0 + c]) : 0.0f;
    }
    __syncthreads();
}

/* sums[i] = own row i times row first + lane of a head. */
template <class T>
__device__ __forceinline__ void dots(float sums[OWN], const float *own, float *tile, const T *head, int64_t ld,
                                     const head_shape &s, const place &p, int64_t first)
{
    for (int i = 0; i < OWN; i++)
        sums[i] = 0;
    for (int64_t c0 = 0; c0 < s.size; c0 += PART) {
        int n = s.size - c0 < PART ? (int)(s.size - c0) : PART;
        take_tile(tile, head, ld, s, first, c0);
#pragma unroll 4
        for (int c = 0; c < n; c++) {
            float x = tile[p.lane * STRIDE + c];
#pragma unroll
            for (int i = 0; i < OWN; i++)
                sums[i] += own[i * HEAD_MAX + c0 + c] * x;
        }
    }
}

/* sums[i][j] += weights [OWN][WARP] times rows first .. of a head: channel WARP j + lane. */
template <class T>
__device__ __forceinline__ void add_rows(float sums[OWN][PER_LANE], const float *weights, float *tile, const T *head,
                                         int64_t ld, const head_shape &s, const place &p, int64_t first)
{
    int n = s.frames - first < WARP ? (int)(s.frames - first) : WARP;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        if (part * PART >= s.size)
            break;
        take_tile(tile, head, ld, s, first, part * PART);
#pragma unroll
        for (int j = part * PER_PART; j < (part + 1) * PER_PART; j++)
            if (j * WARP + p.lane < s.size)
#pragma unroll 4
                for (int r = 0; r < n; r++) {
                    float x = tile[r * STRIDE + j % PER_PART * WARP + p.lane];
#pragma unroll
                    for (int i = 0; i < OWN; i++)
                        sums[i][j] += weights[i * WARP + r] * x;
                }
    }
}

/* This warp's rows of a head = sums times a factor of each row. */
template <class T>
__device__ __forceinline__ void give_own(T *head, int64_t ld, const float sums[OWN][PER_LANE], const float factor[OWN],
                                         const head_shape &s, const place &p)
{
#pragma unroll
    for (int i = 0; i < OWN; i++)
#pragma unroll
        for (int j = 0; j < PER_LANE; j++)
            if (p.frame + i < s.frames && j * WARP + p.lane < s.size)
                store(head + (p.frame + i) * ld + j * WARP + p.lane, factor[i] * sums[i][j]);
}

template <class T>
__global__ void __launch_bounds__(WARPS *WARP)
attention_kernel(T *out, float *lse, float *tops, const T *q, const T *k, const T *v, head_shape s, int64_t ldout,
                 int drops, dropout r)
{
    SHARED(float, queries, ROWS *HEAD_MAX);
    SHARED(float, weights, ROWS *WARP);
    SHARED(float, tile, TILE);
    place p = place_of_warp(s);
    float *query = queries + p.warp * OWN * HEAD_MAX, *weight = weights + p.warp * OWN * WARP;
    float o[OWN][PER_LANE] = {}, top[OWN], sum[OWN], score[OWN], factor[OWN];
    take_own(query, q + p.at, s.ld, s, p);
    for (int i = 0; i < OWN; i++) {
        top[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t u0 = 0; u0 < s.frames; u0 += WARP) {
        int64_t u = u0 + p.lane;
        dots(score, query, tile, k + p.at, s.ld, s, p, u0);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            float x = u < s.frames ? s.scale * score[i] : -INFINITY, high = fmaxf(top[i], warp_max(x));
            float base = high == -INFINITY ? 0.0f : high, shrink = expf(top[i] - base), e = expf(x - base);
            sum[i] = sum[i] * shrink + e;
            top[i] = high;
            if (drops && u < s.frames && p.frame + i < s.frames)
                e *= dropout_factor(r, (uint32_t)(p.item * s.heads + p.head), pair_index(p.frame + i, u, s.frames));
            weight[i * WARP + p.lane] = e;
#pragma unroll
            for (int j = 0; j < PER_LANE; j++)
                o[i][j] *= shrink;
        }
        add_rows(o, weight, tile, v + p.at, s.ld, s, p, u0);
    }
    for (int i = 0; i < OWN; i++) {
        int64_t row = (p.item * s.heads + p.head) * s.frames + p.frame + i;
        sum[i] = warp_sum(sum[i]);
        factor[i] = 1 / sum[i];
        if (p.lane == 0 && p.frame + i < s.frames && lse)
            lse[row] = top[i] + logf(sum[i]);
        if (p.lane == 0 && p.frame + i < s.frames && tops)
            tops[row] = top[i];
    }
    give_own(out + outputs_at(s, p, ldout), ldout, o, factor, s, p);
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
__global__ void __launch_bounds__(WARPS *WARP, 3) queries_backward_kernel(backward_args<T> a, head_shape s)
{
    SHARED(float, queries, ROWS *HEAD_MAX);
    SHARED(float, gradients, ROWS *HEAD_MAX);
    SHARED(float, scores, ROWS *WARP);
    SHARED(float, tile, TILE);
    place p = place_of_warp(s);
    float *query = queries + p.warp * OWN * HEAD_MAX, *gradient = gradients + p.warp * OWN * HEAD_MAX;
    float *score = scores + p.warp * OWN * WARP, dq[OWN][PER_LANE] = {}, inner[OWN], lse[OWN], factor[OWN];
    int64_t rows = (p.item * s.heads + p.head) * s.frames, out = outputs_at(s, p, a.ldout);
    take_own(query, a.q + p.at, s.ld, s, p);
    take_own(gradient, a.dout + out, a.ldout, s, p);
    for (int i = 0; i < OWN; i++) {
        int64_t t = p.frame + i;
        inner[i] = lse[i] = 0;
        factor[i] = s.scale;
        if (t >= s.frames) /* the same for all lanes */
            continue;
        for (int64_t c = p.lane; c < s.size; c += WARP)
            inner[i] += gradient[i * HEAD_MAX + c] * to_float(a.out[out + t * a.ldout + c]);
        inner[i] = warp_sum(inner[i]);
        if (p.lane == 0)
            a.inner[rows + t] = inner[i];
        lse[i] = a.lse[rows + t];
    }
    for (int64_t u0 = 0; u0 < s.frames; u0 += WARP) {
        int64_t u = u0 + p.lane;
        float x[OWN], dp[OWN];
        dots(x, query, tile, a.k + p.at, s.ld, s, p, u0);
        dots(dp, gradient, tile, a.v + p.at, s.ld, s, p, u0);
        for (int i = 0; i < OWN; i++) {
            if (a.drops && u < s.frames && p.frame + i < s.frames)
                dp[i] *= dropout_factor(a.r, (uint32_t)(p.item * s.heads + p.head),
                                        pair_index(p.frame + i, u, s.frames));
            score[i * WARP + p.lane] = u < s.frames ? expf(s.scale * x[i] - lse[i]) * (dp[i] - inner[i]) : 0.0f;
        }
        add_rows(dq, score, tile, a.k + p.at, s.ld, s, p, u0);
    }
    give_own(a.dq + p.at, s.ld, dq, factor, s, p);
}

template <class T>
__global__ void __launch_bounds__(WARPS *WARP, 3) keys_backward_kernel(backward_args<T> a, head_shape s)
{
    SHARED(float, keys, ROWS *HEAD_MAX);
    SHARED(float, values, ROWS *HEAD_MAX);
    SHARED(float, scores, ROWS *WARP);
    SHARED(float, weights, ROWS *WARP);
    SHARED(float, tile, TILE);
    place p = place_of_warp(s); /* its frames are those of the keys */
    float *key = keys + p.warp * OWN * HEAD_MAX, *value = values + p.warp * OWN * HEAD_MAX;
    float *score = scores + p.warp * OWN * WARP, *weight = weights + p.warp * OWN * WARP;
    float dk[OWN][PER_LANE] = {}, dv[OWN][PER_LANE] = {}, factor[OWN], one[OWN];
    int64_t rows = (p.item * s.heads + p.head) * s.frames;
    const T *dout = a.dout + outputs_at(s, p, a.ldout);
    take_own(key, a.k + p.at, s.ld, s, p);
    take_own(value, a.v + p.at, s.ld, s, p);
    for (int i = 0; i < OWN; i++) {
        factor[i] = s.scale;
        one[i] = 1;
    }
    for (int64_t t0 = 0; t0 < s.frames; t0 += WARP) {
        int64_t t = t0 + p.lane;
        float x[OWN], dp[OWN];
        dots(x, key, tile, a.q + p.at, s.ld, s, p, t0);
        dots(dp, value, tile, dout, a.ldout, s, p, t0);
        for (int i = 0; i < OWN; i++) {
            float e = t < s.frames ? expf(s.scale * x[i] - a.lse[rows + t]) : 0.0f, f = 1;
            if (a.drops && t < s.frames && p.frame + i < s.frames)
                f = dropout_factor(a.r, (uint32_t)(p.item * s.heads + p.head), pair_index(t, p.frame + i, s.frames));
            weight[i * WARP + p.lane] = e * f;
            score[i * WARP + p.lane] = t < s.frames ? e * (dp[i] * f - a.inner[rows + t]) : 0.0f;
        }
        add_rows(dk, score, tile, a.q + p.at, s.ld, s, p, t0);
        add_rows(dv, weight, tile, dout, a.ldout, s, p, t0);
    }
    give_own(a.dk + p.at, s.ld, dk, factor, s, p);
    give_own(a.dv + p.at, s.ld, dv, one, s, p);
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
