/* The operations of an audio codec: ELU, padding, an LSTM, nearest codewords. */
#include "activation.h"
#include "device.h"

template <class T> static void elu(device *d, const mert_elu_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x);
    each(d, a.n, DEVICE_LAMBDA(int64_t i) { store(y + i, elu_of(to_float(x[i]))); });
}

/* ---- padding ---- */

/* The row of x that y's row t is a copy of; -1: zeros. */
__device__ __forceinline__ int64_t source_of(const mert_span *spans, int64_t n, int64_t scale, int64_t left,
                                             int64_t stride, int64_t t)
{
    int64_t low = -1, high = n; /* the last span that begins at t or before */
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (spans[middle].at / scale <= t)
            low = middle;
        else
            high = middle;
    }
    if (low < 0)
        return -1;
    int64_t first = spans[low].at / scale, rows = (spans[low].rows + scale - 1) / scale;
    int64_t right = (stride - rows % stride) % stride, longer = left > right ? left : right;
    int64_t extended = rows > longer ? rows : longer + 1, p = t - first - left;
    if (rows < 1 || p >= rows + right || (p < 0 && !spans[low].begins))
        return -1;
    p = p < 0 ? -p : p >= extended ? 2 * extended - 2 - p : p;
    return p < rows ? first + p : -1;
}

enum { PAD_THREADS = 128, PAD_EACH = 8 };

/* A thread finds the source of a row for at most PAD_EACH of its numbers. */
template <class T>
__global__ void __launch_bounds__(PAD_THREADS)
pad_kernel(T *y, const T *x, const mert_span *spans, int64_t n, int64_t rows, int64_t C, int64_t scale, int64_t left,
           int64_t stride, int elu)
{
    int64_t parts = (C + PAD_EACH - 1) / PAD_EACH, all = rows * parts;
    for (int64_t i = (int64_t)blockIdx.x * PAD_THREADS + threadIdx.x; i < all; i += (int64_t)gridDim.x * PAD_THREADS) {
        int64_t row = i / parts, from = source_of(spans, n, scale, left, stride, row);
        for (int64_t c = i % parts; c < C; c += parts) {
            float v = from < 0 ? 0.0f : to_float(x[from * C + c]);
            store(y + row * C + c, elu ? elu_of(v) : v);
        }
    }
}

template <class T> static void pad(device *d, const mert_pad_args &a)
{
    int64_t rows = a.T + a.left, all = rows * ceiling(a.C, PAD_EACH);
    if (all > 0)
        LAUNCH(pad_kernel<T>, grid_of(ceiling(all, PAD_THREADS)), PAD_THREADS, 0, stream_of(d), as<T>(a.y), as<T>(a.x),
               a.spans, a.n, rows, a.C, a.scale, a.left, a.stride, a.elu);
}

/* ---- LSTM: a launch a step ----
 *
 * A block computes UNITS units for TOGETHER spans. Its threads divide the sums over the last h into PARTS parts, which
 * are then added in their order: a result depends on W alone, not on the other spans. */

enum { UNITS = 8, PARTS = 32, TOGETHER = 8, LSTM_THREADS = UNITS * PARTS };

template <class T> struct lstm_step {
    T *y;
    float *state, *h; /* h [2][n, W]: of the even and of the odd steps */
    const T *gates, *w;
    const mert_span *spans;
    int64_t n, W, t;
    __device__ __forceinline__ const float *before(int64_t i) const
    {
        return t ? h + ((t - 1) % 2 * n + i) * W : state + spans[i].state * 2 * W;
    }
};

/* The thread's part of the sums of all four gates of a unit. */
template <class T>
__device__ __forceinline__ void part_of_sums(const lstm_step<T> &s, int64_t unit, int part, int64_t first,
                                             float sum[TOGETHER][4])
{
    int64_t each = (s.W + PARTS - 1) / PARTS, k0 = part * each, end = k0 + each < s.W ? k0 + each : s.W;
    const float *h[TOGETHER];
    for (int m = 0; m < TOGETHER; m++) {
        h[m] = first + m < s.n && s.t < s.spans[first + m].rows ? s.before(first + m) : NULL;
        for (int g = 0; g < 4; g++)
            sum[m][g] = 0;
    }
    for (int64_t k = k0; k < end; k++) {
        const T *row = s.w + k * 4 * s.W + unit;
        float w0 = to_float(row[0]), w1 = to_float(row[s.W]), w2 = to_float(row[2 * s.W]), w3 = to_float(row[3 * s.W]);
#pragma unroll
        for (int m = 0; m < TOGETHER; m++) {
            float v = h[m] ? h[m][k] : 0.0f;
            sum[m][0] += w0 * v, sum[m][1] += w1 * v, sum[m][2] += w2 * v, sum[m][3] += w3 * v;
        }
    }
}

template <class T> __global__ void __launch_bounds__(LSTM_THREADS) lstm_kernel(lstm_step<T> s)
{
    SHARED(float, part, PARTS * TOGETHER * 4 * UNITS); /* [PARTS][TOGETHER][4][UNITS] */
    int unit = threadIdx.x % UNITS, mine = threadIdx.x / UNITS;
    int64_t first = (int64_t)blockIdx.y * TOGETHER, at = (int64_t)blockIdx.x * UNITS + unit;
    float sum[TOGETHER][4] = {}, gate[4];
    if (at < s.W)
        part_of_sums(s, at, mine, first, sum);
    for (int m = 0; m < TOGETHER; m++)
        for (int g = 0; g < 4; g++)
            part[((mine * TOGETHER + m) * 4 + g) * UNITS + unit] = sum[m][g];
    __syncthreads();
    if (mine >= TOGETHER || at >= s.W || first + mine >= s.n || s.t >= s.spans[first + mine].rows)
        return;
    int64_t i = first + mine, row = s.spans[i].at + s.t;
    float *c = s.state + (s.spans[i].state * 2 + 1) * s.W + at, h;
    for (int g = 0; g < 4; g++) {
        gate[g] = 0;
        for (int p = 0; p < PARTS; p++)
            gate[g] += part[((p * TOGETHER + mine) * 4 + g) * UNITS + unit];
        gate[g] += to_float(s.gates[row * 4 * s.W + g * s.W + at]);
    }
    *c = sigmoid_of(gate[1]) * *c + sigmoid_of(gate[0]) * tanhf(gate[2]);
    h = sigmoid_of(gate[3]) * tanhf(*c);
    s.h[(s.t % 2 * s.n + i) * s.W + at] = h;
    store(s.y + row * s.W + at, h);
}

template <class T> static void lstm(device *d, const mert_lstm_args &a)
{
    int64_t n = a.n, W = a.W;
    float *h = n > 0 && a.longest > 0 ? (float *)scratch(d, (size_t)(2 * n * W) * sizeof(float)) : NULL;
    float *state = a.state;
    const mert_span *spans = a.spans;
    dim3 grid((unsigned)ceiling(W, UNITS), (unsigned)ceiling(n, TOGETHER));
    lstm_step<T> s = {as<T>(a.y), state, h, as<T>(a.gates), as<T>(a.w), spans, n, W, 0};
    if (!h)
        return;
    for (s.t = 0; s.t < a.longest; s.t++)
        LAUNCH(lstm_kernel<T>, grid, LSTM_THREADS, 0, stream_of(d), s);
    each(d, n * W, DEVICE_LAMBDA(int64_t k) {
        int64_t i = k / W, rows = spans[i].rows;
        if (rows > 0)
            state[spans[i].state * 2 * W + k % W] = h[((rows - 1) % 2 * n + i) * W + k % W];
    });
}

/* ---- nearest codewords: a warp a row ---- */

enum { ROW_WARPS = 4 };

/* |x|, of all lanes; infinite if a number of x is not finite, or 1e18 or more. */
__device__ __forceinline__ double length_of(const float *x, int64_t D)
{
    double squares = 0;
    int bad = 0;
    for (int64_t c = threadIdx.x % WARP; c < D; c += WARP) {
        bad |= !(fabsf(x[c]) < 1e18f);
        squares += (double)x[c] * (double)x[c];
    }
    squares = warp_sum(squares);
    return __ballot_sync(ALL_LANES, bad) ? (double)INFINITY : sqrt(squares);
}

__device__ __forceinline__ double distance2(const float *x, const float *w, int64_t D)
{
    double sum = 0;
    for (int64_t c = 0; c < D; c++)
        sum += ((double)x[c] - (double)w[c]) * ((double)x[c] - (double)w[c]);
    return sum;
}

/* The word with the smallest distance of all lanes, the lowest of several. */
__device__ __forceinline__ int32_t least_of(double d, int32_t word)
{
    for (int i = WARP / 2; i; i >>= 1) {
        double other = __shfl_xor_sync(ALL_LANES, d, i);
        int32_t its = __shfl_xor_sync(ALL_LANES, word, i);
        word = other < d || (other == d && its < word) ? its : word;
        d = other < d ? other : d;
    }
    return word;
}

static __global__ void __launch_bounds__(ROW_WARPS *WARP)
nearest_kernel(int32_t *label, float *x, const float *scores, const float *words, int64_t rows, int64_t V, int64_t D,
               int64_t ldlabel, float reach)
{
    int64_t row = (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    double far, limit, least = INFINITY;
    float most = -INFINITY;
    int32_t best = 0;
    if (row >= rows)
        return;
    x += row * D;
    scores += row * V;
    far = length_of(x, D);
    if (far == (double)INFINITY) {
        if (lane == 0)
            label[row * ldlabel] = -1;
        return;
    }
    for (int64_t v = lane; v < V; v += WARP)
        most = fmaxf(most, scores[v]);
    limit = (double)warp_max(most) - MERT_NEAREST_SLACK(D, far, reach);
    for (int64_t v = lane; v < V; v += WARP)
        if ((double)scores[v] >= limit) {
            double d = distance2(x, words + v * D, D);
            best = d < least ? (int32_t)v : best;
            least = d < least ? d : least;
        }
    best = least_of(least, best);
    __syncwarp(); /* all lanes have read x */
    if (lane == 0)
        label[row * ldlabel] = best;
    for (int64_t c = lane; c < D; c += WARP)
        x[c] -= words[best * D + c];
}

static void nearest(device *d, const mert_nearest_args &a)
{
    if (a.rows > 0)
        LAUNCH(nearest_kernel, grid_of(ceiling(a.rows, ROW_WARPS)), ROW_WARPS * WARP, 0, stream_of(d), a.label,
               as<float>(a.x), as<float>(a.scores), a.words, a.rows, a.V, a.D, a.ldlabel, a.reach);
}

const operations codec_operations[] = {
    BY_TYPE(MERT_OP_ELU, elu, mert_elu_args),
    BY_TYPE(MERT_OP_PAD, pad, mert_pad_args),
    BY_TYPE(MERT_OP_LSTM, lstm, mert_lstm_args),
    {MERT_OP_NEAREST, "nearest", {typed<mert_nearest_args, nearest>}},
    END_OF_OPERATIONS,
};
