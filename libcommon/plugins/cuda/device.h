/* The CUDA backend: one device of the process, one stream, on which everything is queued in order. */
#ifndef MERT_CUDA_DEVICE_H
#define MERT_CUDA_DEVICE_H

#include "blas.h"
#include "libcommon/nn/ops.h"
#include "portable.h"

struct device;

/* Memory on the device for the running operation, 256-byte aligned, until the next one. NULL: there is none, which is
 * noted as the queue's failure. */
void *scratch(device *d, size_t bytes);
cudaStream_t stream_of(device *d);
blas *blas_of(device *d);
/* Notes the first failure of the queue: it refuses everything after. */
void failed(device *d, const char *what);

/* ---- operations by type of elements, in tables of each file of kernels ---- */

typedef void operation(device *d, const void *args);
struct operations {
    mert_op op;
    const char *name;
    operation *of[3]; /* by mert_element_type; NULL: this backend has none */
};

template <class A, void (*F)(device *, const A &)> void typed(device *d, const void *args) { F(d, *(const A *)args); }

/* A row of a table. BY_TYPE: f is a template, f<T>(device *, const args &), with T the type of elements. OF_FLOATS:
 * f has no elements, f(device *, const args &). */
#define BY_TYPE(op, f, args) {op, #f, {typed<args, f<float>>, typed<args, f<bf16>>, typed<args, f<f16>>}}
#define OF_FLOATS(op, f, args) {op, #f, {typed<args, f>, typed<args, f>, typed<args, f>}}
#define END_OF_OPERATIONS {MERT_OPS_COUNT, "", {}}

/* Each ends with END_OF_OPERATIONS. */
extern const operations memory_operations[], elementwise_operations[], norm_operations[], product_operations[],
    position_operations[], attention_operations[], loss_operations[], update_operations[],
    conformer_operations[], extractor_operations[], corrupt_operations[], codec_operations[],
    cqt_operations[];

template <class T> struct type_of;
template <> struct type_of<float> { static const mert_element_type is = MERT_ELEMENT_F32; };
template <> struct type_of<bf16> { static const mert_element_type is = MERT_ELEMENT_BF16; };
template <> struct type_of<f16> { static const mert_element_type is = MERT_ELEMENT_F16; };

template <class T> T *as(mert_element *p) { return (T *)(void *)p; }
template <class T> const T *as(const mert_element *p) { return (const T *)(const void *)p; }

/* ---- launches ---- */

static inline int64_t ceiling(int64_t n, int64_t of) { return (n + of - 1) / of; }

/* The blocks of a grid, all in x: only this dimension may have up to 2^31 - 1. A kernel that does not loop over i, as
 * each_kernel does, needs one block for each part of its work; no model has that many. */
static inline unsigned grid_of(int64_t blocks) { return (unsigned)(blocks < 0x7fffffff ? blocks : 0x7fffffff); }

enum { EACH_THREADS = 256 };

template <class F> __global__ void __launch_bounds__(EACH_THREADS) each_kernel(int64_t n, F f)
{
    for (int64_t i = (int64_t)blockIdx.x * EACH_THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * EACH_THREADS)
        f(i);
}

/* f(i) for i < n, a thread each: DEVICE_LAMBDA (int64_t i) { ... } */
#define DEVICE_LAMBDA [=] __device__
template <class F> void each(device *d, int64_t n, F f)
{
    if (n > 0)
        LAUNCH(each_kernel<F>, grid_of(ceiling(n, EACH_THREADS)), EACH_THREADS, 0, stream_of(d), n, f);
}

/* ---- sums over rows ---- */

enum { ROWS_OF_PART = 128 };

template <int N> struct row_sums {
    float *of[N]; /* each [columns]; NULL: not wanted */
};

/* The number of floats of `part` that sum_rows_in needs. */
static inline int64_t row_sums_room(int64_t rows, int64_t columns, int n)
{
    return ceiling(rows, ROWS_OF_PART) * columns * n;
}

/* to.of[j][c] += sum over r of what f(r, c, v) adds to v[j]: in parts of fixed rows, then over the parts. */
template <int N, class F>
void sum_rows_in(device *d, float *part, int64_t rows, int64_t columns, row_sums<N> to, F f)
{
    int64_t parts = ceiling(rows, ROWS_OF_PART);
    each(d, parts * columns, DEVICE_LAMBDA(int64_t i) {
        int64_t c = i % columns, r0 = i / columns * ROWS_OF_PART;
        int64_t end = r0 + ROWS_OF_PART < rows ? r0 + ROWS_OF_PART : rows;
        float v[N];
        for (int j = 0; j < N; j++)
            v[j] = 0;
        for (int64_t r = r0; r < end; r++)
            f(r, c, v);
        for (int j = 0; j < N; j++)
            part[(int64_t)j * parts * columns + i] = v[j];
    });
    each(d, columns * N, DEVICE_LAMBDA(int64_t i) {
        int64_t j = i / columns, c = i % columns;
        float *sum = to.of[0], v = 0;
        for (int k = 1; k < N; k++)
            sum = j == k ? to.of[k] : sum;
        if (!sum)
            return;
        for (int64_t p = 0; p < parts; p++)
            v += part[(j * parts + p) * columns + c];
        sum[c] += v;
    });
}

template <int N, class F> void sum_rows(device *d, int64_t rows, int64_t columns, row_sums<N> to, F f)
{
    float *part = rows > 0 ? (float *)scratch(d, (size_t)row_sums_room(rows, columns, N) * sizeof(float)) : NULL;
    if (part)
        sum_rows_in(d, part, rows, columns, to, f);
}

/* take_room takes n floats at *at, and moves *at to the next 256-byte boundary; room_of(n) is how far. */
static inline int64_t room_of(int64_t n) { return ceiling(n, 64) * 64; }
static inline float *take_room(float **at, int64_t n)
{
    float *p = *at;
    *at += room_of(n);
    return p;
}

/* *to += the sum of the parts, in a fixed order. */
void add_parts(device *d, double *to, const double *part, int64_t n);

#endif
