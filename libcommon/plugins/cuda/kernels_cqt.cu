/* The CQT target: decimation, and products of windows of the signal with the transform's kernels. */
#include "device.h"

/* In double: what rounding adds to a signal is seen in the logarithm of quiet bins. */
static void decimate(device *d, const mert_decimate_args &a)
{
    float *y = a.y;
    const float *signals = a.x, *h = a.h;
    int64_t n = a.n, N = a.N, shift = a.shift, half = a.half;
    each(d, a.B * N, DEVICE_LAMBDA(int64_t i) {
        int64_t middle = 4 * (i % N) - shift, first = middle > half ? middle - half : 0;
        int64_t end = middle + half + 1 < n ? middle + half + 1 : n;
        const float *x = signals + i / N * n;
        double sum = 0;
        for (int64_t j = first; j < end; j++)
            sum += (double)h[j < middle ? middle - j : j - middle] * (double)x[j];
        y[i] = (float)sum;
    });
}

/* ---- products: a block computes a group's bins for ROWS rows ----
 *
 * It copies MERT_CQT_TAPS taps at a time to shared memory: of the rows' windows, transposed, and of the kernels. A
 * thread then has EACH rows and the two parts of two bins. S: float, or double for a logarithm of small numbers. */

enum { ROWS = 64, EACH = 4, ACROSS = 2 * MERT_CQT_LANES / EACH, CQT_THREADS = ROWS / EACH * ACROSS };
enum { TAPS = MERT_CQT_TAPS, WIDTH = 2 * MERT_CQT_LANES, STRIDE = ROWS + 4 };
/* Loading: 8 neighbouring threads have 8 neighbouring samples of a row, and a warp has 4 rows. So each read is a whole
 * sector, and with STRIDE the transposed writes of a warp go to different banks. */
enum { SIDE = 8, LOADED = CQT_THREADS / SIDE, LOADS = ROWS / LOADED };

/* Where a row's window begins in its clip. */
struct window {
    const float *x;
    int at, n;
};

__device__ __forceinline__ window window_of(const mert_cqt_args &p, const mert_cqt_group &g, int64_t row)
{
    mert_cqt_signal s = p.signal[0];
    for (int v = 1; v < MERT_CQT_LEVELS; v++)
        if (g.level == v)
            s = p.signal[v];
    window w = {s.x, 0, 0}; /* a row that is not there: a clip of no samples */
    if (row < p.S) {
        int64_t clip = p.rows[row] / p.T, frame = p.rows[row] % p.T;
        w.x += clip * s.n;
        w.at = (int)(frame * (p.hop >> (2 * g.level)) + g.first - s.first);
        w.n = (int)s.n;
    }
    return w;
}

template <class S> __device__ __forceinline__ float formed(const mert_cqt_args &p, S re, S im)
{
    S power = re * re + im * im;
    float y = p.form == MERT_CQT_LN      ? logf((float)sqrt(power) + p.floor)
              : p.form == MERT_CQT_LOG10 ? log10f(1 + 1e4f * (float)power)
                                         : (float)sqrt(power);
    return (y - p.mean) * p.scale;
}

template <class S> __global__ void __launch_bounds__(CQT_THREADS) cqt_kernel(mert_cqt_args p)
{
    SHARED(S, windows, TAPS * STRIDE);
    SHARED(S, kernels, TAPS * WIDTH);
    const mert_cqt_group g = p.groups[blockIdx.y];
    const float *taps = p.taps + g.at;
    int64_t first = (int64_t)blockIdx.x * ROWS;
    int side = threadIdx.x % SIDE, loaded = threadIdx.x / SIDE, column = threadIdx.x % ACROSS * EACH,
        row = threadIdx.x / ACROSS * EACH;
    window w[LOADS];
    S sum[EACH][EACH] = {};
    for (int i = 0; i < LOADS; i++)
        w[i] = window_of(p, g, first + loaded + i * LOADED);
    for (int k0 = 0; k0 < g.taps; k0 += TAPS) {
        S part[EACH][EACH] = {};
        for (int i = 0; i < LOADS; i++)
            for (int k = side; k < TAPS; k += SIDE) {
                int at = w[i].at + k0 + k;
                windows[k * STRIDE + loaded + i * LOADED] = at >= 0 && at < w[i].n ? (S)w[i].x[at] : (S)0;
            }
        for (int i = threadIdx.x; i < TAPS * WIDTH; i += CQT_THREADS)
            kernels[i] = (S)taps[(int64_t)k0 * WIDTH + i];
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < TAPS; k++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    part[i][j] += windows[k * STRIDE + row + i] * kernels[k * WIDTH + column + j];
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++)
                sum[i][j] += part[i][j];
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j += 2) {
            int lane = (column + j) / 2;
            if (first + row + i < p.S && lane < g.bins)
                p.y[(first + row + i) * p.bins + g.bin + lane] = formed(p, sum[i][j], sum[i][j + 1]);
        }
}

static void cqt(device *d, const mert_cqt_args &a)
{
    dim3 grid(grid_of(ceiling(a.S, ROWS)), (unsigned)a.n);
    if (a.S <= 0 || a.n <= 0)
        return;
    if (a.form == MERT_CQT_LN)
        LAUNCH(cqt_kernel<double>, grid, CQT_THREADS, 0, stream_of(d), a);
    else
        LAUNCH(cqt_kernel<float>, grid, CQT_THREADS, 0, stream_of(d), a);
}

const operations cqt_operations[] = {
    OF_FLOATS(MERT_OP_DECIMATE, decimate, mert_decimate_args),
    OF_FLOATS(MERT_OP_CQT, cqt, mert_cqt_args),
    END_OF_OPERATIONS,
};
