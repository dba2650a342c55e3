/* Attention by tensor cores (Dao et al. 2022; Dao 2023): heads of 64 channels, elements of 16 bits. A block has a tile
 * of 64 rows of one head, a warp 16 of them, and goes over the tiles of the other side. These are in shared memory: the
 * one that is used, and the next one, which is on its way. Scores are in registers only. Sums are float; what goes into
 * the second product is rounded to elements: the probabilities (before dropout's factor and the division by their sum)
 * and the gradients of the scores.
 *
 * Contract A1: tiles begin at fixed frames of the item. No sum has two writers, so that the backward pass repeats: one
 * kernel goes over the keys for dQ, one over the queries for dK and dV. */
#include "async.h"
#include "attention.h"
#include "mma.h"

enum { HEAD = 64, TILE = 64, WARPS = 4, THREADS = WARPS * WARP };
enum { ALL = TILE * HEAD /* elements of a tile */ };
enum { CHUNK = 8 /* elements of 16 bytes */, CHUNKS = HEAD / CHUNK };
enum { STEPS = HEAD / 16 /* of a product over channels */, PAIRS = HEAD / 16 /* of 8 channels each */ };
constexpr float LOG2_E = 1.4426950408889634f;

/* ---- tiles in shared memory ---- */

/* Where 8 channels of row r begin: rows that are loaded together lie in different banks. */
__device__ __forceinline__ int chunk_at(int r, int chunk) { return r * HEAD + (chunk ^ (r & 7)) * CHUNK; }

/* Which row of a head stands in row r of a tile. Of keys beside queries: such that the four columns of two fragments
 * that a lane has are keys of one block of dropout's numbers. Of keys before queries: such that its two rows are. */
struct in_order {
    static __device__ __forceinline__ int row(int r) { return r; }
};
struct by_fours {
    static __device__ __forceinline__ int row(int r) { return (r & ~15) + (r & 6) * 2 + (r >> 3 & 1) * 2 + (r & 1); }
};
struct by_twos {
    static __device__ __forceinline__ int row(int r) { return (r & ~15) + (r & 7) * 2 + (r >> 3 & 1); }
};

/* tile = frames first .. first + TILE - 1 of a head, zeros behind the last. */
template <class O, class T>
__device__ __forceinline__ void take_tile(async_copies &copies, T *tile, const T *head, int64_t ld, int64_t first,
                                          int64_t frames)
{
#pragma unroll 2 /* more would take registers for addresses that the products need */
    for (int i = 0; i < TILE * CHUNKS / THREADS; i++) {
        int at = i * THREADS + (int)threadIdx.x, r = at / CHUNKS, chunk = at % CHUNKS;
        int64_t t = first + O::row(r);
        copies.copy(tile + chunk_at(r, chunk), head + (t < frames ? t * ld : 0) + chunk * CHUNK, t < frames);
    }
}

/* Where the tile that begins at frame t stands in an array of two. */
__device__ __forceinline__ int place_of(int64_t t) { return (int)(t & TILE) * HEAD; }

/* The tile of two heads that begins at `first`, if there is one, is a group of copies to the places `to` elements
 * behind a and b. */
template <class O, class T>
__device__ __forceinline__ void take_both(async_copies &copies, int to, T *a, const T *a_head, int64_t a_ld, T *b,
                                          const T *b_head, int64_t b_ld, int64_t first, int64_t frames)
{
    if (first < frames) {
        take_tile<O>(copies, a + to, a_head, a_ld, first, frames);
        take_tile<O>(copies, b + to, b_head, b_ld, first, frames);
    }
    copies.commit();
}

/* Fragments A of this warp's 16 rows, over all channels. The tile is free afterwards. */
template <class O, class T>
__device__ __forceinline__ void take_own(uint32_t a[STEPS][4], T *tile, const T *head, int64_t ld, int64_t first,
                                         int64_t frames)
{
    int lane = (int)threadIdx.x % WARP, row = (int)threadIdx.x / WARP * 16 + lane % 16;
    async_copies copies;
    take_tile<O>(copies, tile, head, ld, first, frames);
    copies.commit();
    copies.wait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < STEPS; i++)
        load_matrices(a[i], tile + chunk_at(row, 2 * i + lane / 16));
    __syncthreads();
}

/* d[0], d[1] = own rows times rows r .. r + 15 of a tile, over channels. */
template <class T>
__device__ __forceinline__ void times_rows(float d[2][4], const uint32_t own[STEPS][4], const T *tile, int r)
{
    int lane = (int)threadIdx.x % WARP, row = r + lane % 8 + lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < 4; j++)
        d[0][j] = d[1][j] = 0;
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
        uint32_t b[4];
        load_matrices(b, tile + chunk_at(row, 2 * i + lane / 8 % 2));
        mma<T>(d[0], own[i], b[0], b[1]);
        mma<T>(d[1], own[i], b[2], b[3]);
    }
}

/* d += x, [16, 16] of this warp (two D beside each other), times rows r .. r + 15 of a tile: all channels. */
template <class T>
__device__ __forceinline__ void add_times(float d[2 * PAIRS][4], const float x[2][4], const T *tile, int r)
{
    int lane = (int)threadIdx.x % WARP, row = r + lane % 16;
    uint32_t a[4] = {pair_of<T>(x[0][0], x[0][1]), pair_of<T>(x[0][2], x[0][3]), pair_of<T>(x[1][0], x[1][1]),
                     pair_of<T>(x[1][2], x[1][3])};
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
        uint32_t b[4];
        load_transposed(b, tile + chunk_at(row, 2 * n + lane / 16));
        mma<T>(d[2 * n], a, b[0], b[1]);
        mma<T>(d[2 * n + 1], a, b[2], b[3]);
    }
}

__device__ __forceinline__ void clear(float d[2 * PAIRS][4])
{
#pragma unroll
    for (int n = 0; n < 2 * PAIRS; n++)
        for (int j = 0; j < 4; j++)
            d[n][j] = 0;
}

/* Of rows that a lane has in D: the sum, or the largest, over the lanes that share them. */
__device__ __forceinline__ float sum_of_row(float x)
{
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
__device__ __forceinline__ float max_of_row(float x)
{
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

/* Row t of a head = factor * row `half` of d (0: lane / 4, 1: that + 8). */
template <class T>
__device__ __forceinline__ void give_row(T *head, int64_t ld, int64_t t, const float d[2 * PAIRS][4], int half,
                                         float factor)
{
    T *to = head + t * ld + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < 2 * PAIRS; n++)
        *(uint32_t *)(void *)(to + n * 8) = pair_of<T>(factor * d[n][2 * half], factor * d[n][2 * half + 1]);
}

/* ---- a head of an item, and this block's tile of it ---- */

struct heads {
    int64_t frames, heads, ld, ldout;
    float scale;
    int drops;
    dropout r;
};

struct block_place {
    int64_t first, at, out, rows; /* the tile's first frame; of the head's first element in q, and in out; of its lse */
    uint32_t number;              /* of the head, for dropout */
};

__device__ __forceinline__ block_place place_of_block(const heads &s)
{
    int64_t tiles = (s.frames + TILE - 1) / TILE, head = blockIdx.x / tiles, item = head / s.heads;
    block_place p;
    p.first = blockIdx.x % tiles * TILE;
    p.at = item * s.frames * s.ld + head % s.heads * HEAD;
    p.out = item * s.frames * s.ldout + head % s.heads * HEAD;
    p.rows = head * s.frames;
    p.number = (uint32_t)head;
    return p;
}

/* keep[n][j]: whether dropout keeps what D's fragments have at 16 keys (by_fours) from u on, of queries t and t + 8. */
__device__ __forceinline__ void kept_by_fours(int keep[2][4], const heads &s, const block_place &p, int64_t t,
                                              int64_t u)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t c[4];
        random_block(s.r, p.number, pair_index(t + 8 * half, u + threadIdx.x % 4 * 4, s.frames) / 4, c);
        for (int j = 0; j < 4; j++)
            keep[j / 2][2 * half + j % 2] = c[j] >= s.r.limit;
    }
}

/* The same of keys u and u + 1 (by_twos; they are this lane's rows) and queries t, t + 1 (its columns of one D). Two
 * lanes share a block: one makes that of query t, the other that of t + 1. */
__device__ __forceinline__ void kept_by_twos(int keep[4], const heads &s, const block_place &p, int64_t t, int64_t u)
{
    uint32_t c[4], other[2];
    int second = (int)threadIdx.x / 4 % 2; /* half of the block */
    random_block(s.r, p.number, pair_index(t + second, u, s.frames) / 4, c);
    other[0] = __shfl_xor_sync(ALL_LANES, second ? c[0] : c[2], 4);
    other[1] = __shfl_xor_sync(ALL_LANES, second ? c[1] : c[3], 4);
    for (int i = 0; i < 2; i++) {
        keep[2 * i] = (second ? other[i] : c[i]) >= s.r.limit;
        keep[2 * i + 1] = (second ? c[2 + i] : other[i]) >= s.r.limit;
    }
}

/* ---- forward ---- */

/* Keys of a tile that there are, from this lane's first on. */
__device__ __forceinline__ int keys_left(int64_t u, int64_t frames)
{
    return (frames - u < TILE ? (int)(frames - u) : (int)TILE) - (int)threadIdx.x % 4 * 4;
}

/* Scores of a tile of keys become exp(score - top), with top, sum and o of before brought to the new top. */
__device__ __forceinline__ void soften(float s[2 * PAIRS][4], float top[2], float sum[2], float o[2 * PAIRS][4],
                                       float scale, int left)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float high = top[half], base, shrink, part = 0;
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++)
            for (int j = 0; j < 2; j++) {
                float *x = &s[n][2 * half + j];
                *x = n / 2 * 16 + n % 2 * 2 + j < left ? scale * *x : -INFINITY;
                high = fmaxf(high, *x);
            }
        high = max_of_row(high);
        base = high == -INFINITY ? 0.0f : LOG2_E * high; /* no score yet: nothing less nothing would be NaN */
        shrink = exp2f(LOG2_E * top[half] - base);
        top[half] = high;
#pragma unroll
        for (int n = 0; n < 2 * PAIRS; n++)
            for (int j = 0; j < 2; j++) {
                float *x = &s[n][2 * half + j];
                *x = exp2f(LOG2_E * *x - base);
                part += *x;
                o[n][2 * half + j] *= shrink;
            }
        sum[half] = sum[half] * shrink + part;
    }
}

template <class T>
__global__ void __launch_bounds__(THREADS, 3)
flash_kernel(T *out, float *lse, float *tops, const T *q, const T *k, const T *v, heads s)
{
    SHARED(T, keys, 2 * ALL);
    SHARED(T, values, 2 * ALL);
    async_copies copies;
    block_place p = place_of_block(s);
    int64_t t = p.first + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    uint32_t own[STEPS][4];
    float o[2 * PAIRS][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    take_own<in_order>(own, keys, q + p.at, s.ld, p.first, s.frames);
    clear(o);
    take_both<by_fours>(copies, 0, keys, k + p.at, s.ld, values, v + p.at, s.ld, 0, s.frames);
    for (int64_t u = 0; u < s.frames; u += TILE) {
        int now = place_of(u);
        float x[2 * PAIRS][4];
        take_both<by_fours>(copies, now ^ ALL, keys, k + p.at, s.ld, values, v + p.at, s.ld, u + TILE, s.frames);
        copies.wait<1>();
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PAIRS; i++)
            times_rows(x + 2 * i, own, keys + now, 16 * i);
        soften(x, top, sum, o, s.scale, keys_left(u, s.frames));
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            if (s.drops) {
                int keep[2][4];
                kept_by_fours(keep, s, p, t, u + 16 * i);
                for (int j = 0; j < 8; j++)
                    x[2 * i + j / 4][j % 4] = keep[j / 4][j % 4] ? x[2 * i + j / 4][j % 4] : 0.0f;
            }
            add_times(o, x + 2 * i, values + now, 16 * i);
        }
        __syncthreads();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = t + 8 * half;
        sum[half] = sum_of_row(sum[half]);
        if (row < s.frames) {
            give_row(out + p.out, s.ldout, row, o, half, (s.drops ? s.r.factor : 1.0f) / sum[half]);
            if (threadIdx.x % 4 == 0 && lse)
                lse[p.rows + row] = top[half] + logf(sum[half]);
            if (threadIdx.x % 4 == 0 && tops)
                tops[p.rows + row] = top[half];
        }
    }
}

/* ---- backward: as in kernels_attention.cu ---- */

template <class T> struct gradients {
    T *dq, *dk, *dv;
    const T *dout, *out, *q, *k, *v;
    const float *lse;
    float *inner;
};

/* inner [rows] = <dout, out> of each query and head: 8 lanes each. */
template <class T> __global__ void __launch_bounds__(256) inner_kernel(gradients<T> a, heads s, int64_t rows)
{
    int64_t row = (int64_t)blockIdx.x * 32 + threadIdx.x / 8, head = row / s.frames, t = row % s.frames;
    int64_t at = (head / s.heads * s.frames + t) * s.ldout + head % s.heads * HEAD + threadIdx.x % 8 * CHUNK;
    float sum = 0;
    if (row < rows) {
        uint4 x = *(const uint4 *)(a.dout + at), y = *(const uint4 *)(a.out + at);
        T xs[CHUNK], ys[CHUNK];
        memcpy(xs, &x, sizeof xs);
        memcpy(ys, &y, sizeof ys);
        for (int i = 0; i < CHUNK; i++)
            sum += to_float(xs[i]) * to_float(ys[i]);
    }
    for (int i = 4; i; i >>= 1)
        sum += __shfl_xor_sync(ALL_LANES, sum, i);
    if (row < rows && threadIdx.x % 8 == 0)
        a.inner[row] = sum;
}

template <class T> __global__ void __launch_bounds__(THREADS, 3) flash_queries_kernel(gradients<T> a, heads s)
{
    SHARED(T, keys, 2 * ALL);
    SHARED(T, values, 2 * ALL);
    async_copies copies;
    block_place p = place_of_block(s);
    int64_t t = p.first + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    uint32_t query[STEPS][4], dout[STEPS][4];
    float dq[2 * PAIRS][4], lse[2], inner[2], factor = s.drops ? s.r.factor : 1.0f;
    take_own<in_order>(query, keys, a.q + p.at, s.ld, p.first, s.frames);
    take_own<in_order>(dout, keys, a.dout + p.out, s.ldout, p.first, s.frames);
    clear(dq);
    for (int half = 0; half < 2; half++) {
        int64_t row = t + 8 * half;
        lse[half] = row < s.frames ? LOG2_E * a.lse[p.rows + row] : INFINITY;
        inner[half] = row < s.frames ? a.inner[p.rows + row] : 0.0f;
    }
    take_both<by_fours>(copies, 0, keys, a.k + p.at, s.ld, values, a.v + p.at, s.ld, 0, s.frames);
    for (int64_t u = 0; u < s.frames; u += TILE) {
        int now = place_of(u), left = keys_left(u, s.frames);
        take_both<by_fours>(copies, now ^ ALL, keys, a.k + p.at, s.ld, values, a.v + p.at, s.ld, u + TILE, s.frames);
        copies.wait<1>();
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            float x[2][4], dp[2][4];
            int keep[2][4];
            times_rows(x, query, keys + now, 16 * i);
            times_rows(dp, dout, values + now, 16 * i);
            if (s.drops)
                kept_by_fours(keep, s, p, t, u + 16 * i);
            for (int n = 0; n < 2; n++)
                for (int j = 0; j < 4; j++) {
                    float e = 16 * i + 2 * n + j % 2 < left ? exp2f(LOG2_E * s.scale * x[n][j] - lse[j / 2]) : 0.0f;
                    float f = s.drops && !keep[n][j] ? 0.0f : factor;
                    x[n][j] = e * (dp[n][j] * f - inner[j / 2]);
                }
            add_times(dq, x, keys + now, 16 * i);
        }
        __syncthreads();
    }
    for (int half = 0; half < 2; half++)
        if (t + 8 * half < s.frames)
            give_row(a.dq + p.at, s.ld, t + 8 * half, dq, half, s.scale);
}

template <class T> __global__ void __launch_bounds__(THREADS, 3) flash_keys_kernel(gradients<T> a, heads s)
{
    SHARED(T, queries, 2 * ALL);
    SHARED(T, douts, 2 * ALL);
    SHARED(float, lses, TILE);
    SHARED(float, inners, TILE);
    async_copies copies;
    block_place p = place_of_block(s);
    int column = (int)threadIdx.x % 4 * 2;
    int64_t u = p.first + threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4 * 2;
    uint32_t key[STEPS][4], value[STEPS][4];
    float dk[2 * PAIRS][4], dv[2 * PAIRS][4], factor = s.drops ? s.r.factor : 1.0f;
    take_own<by_twos>(key, queries, a.k + p.at, s.ld, p.first, s.frames);
    take_own<by_twos>(value, queries, a.v + p.at, s.ld, p.first, s.frames);
    clear(dk);
    clear(dv);
    take_both<in_order>(copies, 0, queries, a.q + p.at, s.ld, douts, a.dout + p.out, s.ldout, 0, s.frames);
    for (int64_t t = 0; t < s.frames; t += TILE) {
        int now = place_of(t);
        take_both<in_order>(copies, now ^ ALL, queries, a.q + p.at, s.ld, douts, a.dout + p.out, s.ldout, t + TILE,
                            s.frames);
        if (threadIdx.x < TILE) {
            int64_t row = t + threadIdx.x;
            lses[threadIdx.x] = row < s.frames ? LOG2_E * a.lse[p.rows + row] : INFINITY;
            inners[threadIdx.x] = row < s.frames ? a.inner[p.rows + row] : 0.0f;
        }
        copies.wait<1>();
        __syncthreads();
#pragma unroll 1
        for (int i = 0; i < PAIRS; i++) {
            float x[2][4], dp[2][4];
            times_rows(x, key, queries + now, 16 * i);
            times_rows(dp, value, douts + now, 16 * i);
            for (int n = 0; n < 2; n++) {
                int q = 16 * i + 8 * n + column, keep[4] = {1, 1, 1, 1};
                if (s.drops)
                    kept_by_twos(keep, s, p, t + q, u);
                for (int j = 0; j < 4; j++) {
                    float e = exp2f(LOG2_E * s.scale * x[n][j] - lses[q + j % 2]), f = keep[j] ? factor : 0.0f;
                    x[n][j] = keep[j] ? e : 0.0f;
                    dp[n][j] = e * (dp[n][j] * f - inners[q + j % 2]);
                }
            }
            add_times(dv, x, douts + now, 16 * i);
            add_times(dk, dp, queries + now, 16 * i);
        }
        __syncthreads();
    }
    for (int half = 0; half < 2; half++)
        if (u + half < s.frames) {
            give_row(a.dk + p.at, s.ld, u + half, dk, half, s.scale);
            give_row(a.dv + p.at, s.ld, u + half, dv, half, factor);
        }
}

/* ---- launches ---- */

static int fits(int64_t dh, int64_t ld, int64_t ldout, std::initializer_list<const void *> all)
{
    uintptr_t bits = (uintptr_t)(ld | ldout) * 2;
    for (const void *p : all)
        bits |= (uintptr_t)p;
    return dh == HEAD && bits % 16 == 0;
}

template <class A> static heads heads_of(const A &a)
{
    heads s = {a.T, a.H, a.ld, a.ldout ? a.ldout : a.ld, a.scale, a.p > 0, make_dropout(&a.key, a.p)};
    return s;
}

template <class A> static unsigned tiles_of(const A &a) { return grid_of(a.B * a.H * ceiling(a.T, TILE)); }

template <class T> int flash_attention(device *d, const mert_attention_args &a, float *tops)
{
    heads s = heads_of(a);
    if (!fits(a.dh, s.ld, s.ldout, {a.q, a.k, a.v, a.out}))
        return 1;
    LAUNCH(flash_kernel<T>, tiles_of(a), THREADS, 0, stream_of(d), as<T>(a.out), a.lse, tops, as<T>(a.q), as<T>(a.k),
           as<T>(a.v), s);
    return 0;
}

template <class T> int flash_attention_backward(device *d, const mert_attention_backward_args &a, float *inner)
{
    heads s = heads_of(a);
    gradients<T> g = {as<T>(a.dq), as<T>(a.dk), as<T>(a.dv), as<T>(a.dout), as<T>(a.out),
                      as<T>(a.q),  as<T>(a.k),  as<T>(a.v),  a.lse,         inner};
    int64_t rows = a.B * a.H * a.T;
    if (!fits(a.dh, s.ld, s.ldout, {a.dq, a.dk, a.dv, a.dout, a.out, a.q, a.k, a.v}))
        return 1;
    LAUNCH(inner_kernel<T>, grid_of(ceiling(rows, 32)), 256, 0, stream_of(d), g, s, rows);
    LAUNCH(flash_queries_kernel<T>, tiles_of(a), THREADS, 0, stream_of(d), g, s);
    LAUNCH(flash_keys_kernel<T>, tiles_of(a), THREADS, 0, stream_of(d), g, s);
    return 0;
}

template int flash_attention<bf16>(device *, const mert_attention_args &, float *);
template int flash_attention<f16>(device *, const mert_attention_args &, float *);
template int flash_attention_backward<bf16>(device *, const mert_attention_backward_args &, float *);
template int flash_attention_backward<f16>(device *, const mert_attention_backward_args &, float *);
