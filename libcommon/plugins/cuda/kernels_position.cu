/* The positional convolution: its weight norm, and the convolution itself, a thread an output where tensor cores do not
 * compute it (kernels_grouped.cu). */
#include "activation.h"
#include "position.h"

/* ---- weight norm over taps: a block a tap ---- */

enum { TAP_THREADS = 256 };

__global__ void __launch_bounds__(TAP_THREADS)
tap_norm_kernel(float *norm, const float *v, int64_t rows, int64_t kernel)
{
    SHARED(double, part, TAP_THREADS / WARP);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < rows; i += TAP_THREADS) {
        double x = v[i * kernel + blockIdx.x];
        sum += x * x;
    }
    sum = block_sum(sum, part);
    if (threadIdx.x == 0)
        norm[blockIdx.x] = (float)sqrt(sum);
}

static void weight_norm(device *d, const mert_weight_norm_args &a)
{
    float *w = a.w, *norm = a.norm;
    const float *g = a.g, *v = a.v;
    int64_t in = a.in, kernel = a.kernel;
    LAUNCH(tap_norm_kernel, grid_of(kernel), TAP_THREADS, 0, stream_of(d), norm, v, a.out * in, kernel);
    each(d, a.out * in * kernel, DEVICE_LAMBDA(int64_t j) {
        int64_t i = j % in, k = j / in % kernel, o = j / in / kernel;
        w[j] = v[(o * in + i) * kernel + k] * (g[k] / norm[k]);
    });
}

/* With u = v / |v|: dg += <dw, u>; inner: <dw, v> */
__global__ void __launch_bounds__(TAP_THREADS)
tap_inner_kernel(double *inner, float *dg, const float *dw, const float *v, const float *norm, int64_t out, int64_t in,
                 int64_t kernel)
{
    SHARED(double, part, TAP_THREADS / WARP);
    double sum = 0;
    int64_t k = blockIdx.x;
    for (int64_t j = threadIdx.x; j < out * in; j += TAP_THREADS)
        sum += (double)dw[(j / in * kernel + k) * in + j % in] * (double)v[j * kernel + k];
    sum = block_sum(sum, part);
    if (threadIdx.x == 0) {
        inner[k] = sum;
        dg[k] += (float)(sum / (double)norm[k]);
    }
}

/* dv += g / |v| (dw - u <dw, u>) */
static void weight_norm_backward(device *d, const mert_weight_norm_backward_args &a)
{
    float *dv = a.dv;
    const float *g = a.g, *v = a.v, *dw = a.dw, *norms = a.norm;
    int64_t in = a.in, kernel = a.kernel;
    double *inner = (double *)scratch(d, (size_t)kernel * sizeof(double));
    if (!inner)
        return;
    LAUNCH(tap_inner_kernel, grid_of(kernel), TAP_THREADS, 0, stream_of(d), inner, a.dg, dw, v, norms, a.out, in,
           kernel);
    each(d, a.out * in * kernel, DEVICE_LAMBDA(int64_t j) {
        int64_t k = j % kernel, i = j / kernel % in, o = j / kernel / in;
        double norm = norms[k];
        float across = (float)(g[k] / norm), along = (float)(g[k] / norm * inner[k] / (norm * norm));
        dv[j] += across * dw[(o * kernel + k) * in + i] - along * v[j];
    });
}

/* ---- the convolution ---- */

template <class T> static void grouped_conv(device *d, const mert_grouped_conv_args &a)
{
    T *y = as<T>(a.y);
    const T *x = as<T>(a.x), *w = as<T>(a.w), *residual = as<T>(a.residual);
    const float *bias = a.bias;
    int64_t D = a.D, in = D / a.groups, frames = a.T, kernel = a.kernel, pad = a.pad;
    int gelu = a.gelu;
    if (!grouped_product<T>(d, a))
        return;
    each(d, a.B * frames * D, DEVICE_LAMBDA(int64_t i) {
        int64_t o = i % D, t = i / D % frames, first = i / D / frames * frames;
        const T *from = x + o / in * in, *weights = w + o * kernel * in;
        float sum = 0;
        for (int64_t k = 0; k < kernel; k++) {
            int64_t at = t + k - pad;
            if (at >= 0 && at < frames)
                for (int64_t c = 0; c < in; c++)
                    sum += to_float(from[(first + at) * D + c]) * to_float(weights[k * in + c]);
        }
        if (bias)
            sum += bias[o];
        if (gelu)
            sum = gelu_of(sum);
        store(y + i, residual ? to_float(residual[i]) + sum : sum);
    });
}

template <class T> static void grouped_conv_backward(device *d, const mert_grouped_conv_backward_args &a)
{
    T *dx = as<T>(a.dx);
    const T *dy = as<T>(a.dy), *x = as<T>(a.x), *w = as<T>(a.w);
    float *dw = a.dw;
    int64_t D = a.D, in = D / a.groups, frames = a.T, kernel = a.kernel, pad = a.pad, rows = a.B * frames;
    if (!grouped_product_backward<T>(d, a))
        return;
    each(d, rows * D, DEVICE_LAMBDA(int64_t i) { /* dx[t] += sum over taps and outputs of w dy[t + pad - k] */
        int64_t channel = i % D, group = channel / in, c = channel % in, t = i / D % frames;
        int64_t first = i / D / frames * frames;
        float sum = 0;
        for (int64_t k = 0; k < kernel; k++) {
            int64_t at = t + pad - k;
            if (at >= 0 && at < frames)
                for (int64_t o = group * in; o < (group + 1) * in; o++)
                    sum += to_float(dy[(first + at) * D + o]) * to_float(w[(o * kernel + k) * in + c]);
        }
        store(dx + i, to_float(dx[i]) + sum);
    });
    each(d, D * kernel * in, DEVICE_LAMBDA(int64_t i) { /* dw[o, k, c] += sum over items and frames */
        int64_t c = i % in, k = i / in % kernel, o = i / in / kernel;
        const T *from = x + o / in * in + c;
        float all = 0;
        for (int64_t first = 0; first < rows; first += frames) {
            float sum = 0;
            int64_t begin = pad - k > 0 ? pad - k : 0, end = frames + pad - k < frames ? frames + pad - k : frames;
            for (int64_t t = begin; t < end; t++)
                sum += to_float(dy[(first + t) * D + o]) * to_float(from[(first + t + k - pad) * D]);
            all += sum;
        }
        dw[i] += all;
    });
}

const operations position_operations[] = {
    OF_FLOATS(MERT_OP_WEIGHT_NORM, weight_norm, mert_weight_norm_args),
    OF_FLOATS(MERT_OP_WEIGHT_NORM_BACKWARD, weight_norm_backward, mert_weight_norm_backward_args),
    BY_TYPE(MERT_OP_GROUPED_CONV, grouped_conv, mert_grouped_conv_args),
    BY_TYPE(MERT_OP_GROUPED_CONV_BACKWARD, grouped_conv_backward, mert_grouped_conv_backward_args),
    END_OF_OPERATIONS,
};
