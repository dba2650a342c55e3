/* faults NAME: does one thing wrong, as kernels and their callers do, on the emulated device. tests/cli/cuda_faults.sh
 * holds the emulator against it: each fault is found, by the tier that must find it, and `none` is not.
 * Exit status: 0 nothing was noticed, 1 a result is wrong, 2 the emulator reported. */
#include "libcommon/plugins/cuda/async.h"
#include "libcommon/plugins/cuda/blas.h"
#include "libcommon/plugins/cuda/mma.h"
#include "libcommon/plugins/cuda/portable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Faults give nothing back. */
extern "C" __attribute__((visibility("default"))) const char *__asan_default_options() { return "detect_leaks=0"; }

enum { THREADS = 128, N = 1000 };

static cudaStream_t stream, other;

/* ---- kernels ---- */

/* Sums of blocks of THREADS; how: which barrier is left out */
__global__ void sums_kernel(float *to, const float *x, int no_first, int no_second)
{
    SHARED(float, held, THREADS);
    float sum = 0;
    for (int round = 0; round < 2; round++) {
        held[threadIdx.x] = x[blockIdx.x * THREADS + threadIdx.x];
        if (!no_first)
            __syncthreads();
        for (int i = 0; i < THREADS; i++)
            sum += held[(threadIdx.x + i) % THREADS];
        if (!no_second)
            __syncthreads();
    }
    if (threadIdx.x == 0)
        to[blockIdx.x] = sum / 2;
}

/* y[i] = x[n - 1 - i], and `beyond` more */
__global__ void reverse_kernel(float *y, const float *x, int n, int write_beyond, int read_beyond)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i + write_beyond] = x[n - 1 - i + read_beyond];
}

__global__ void shared_overrun_kernel(float *y, int by)
{
    SHARED(float, first, THREADS);
    SHARED(float, second, THREADS);
    first[threadIdx.x] = second[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = first[threadIdx.x + by] + second[threadIdx.x];
}

__global__ void dynamic_overrun_kernel(float *y, int by)
{
    DYNAMIC_SHARED(float, held);
    held[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = held[threadIdx.x + by];
}

/* y = what other threads have copied, in the first of two groups */
__global__ void copies_kernel(float *y, const float *x, int too_early, int no_barrier)
{
    SHARED(float, held, 2 * 4 * THREADS);
    async_copies copies;
    for (int i = 0; i < 2; i++) {
        int at = 4 * (i * THREADS + (int)threadIdx.x);
        copies.copy(held + at, x + at, 1);
        copies.commit();
    }
    if (too_early)
        copies.wait<2>();
    else
        copies.wait<1>();
    if (!no_barrier)
        __syncthreads();
    y[threadIdx.x] = held[4 * (THREADS - 1 - threadIdx.x)];
}

/* All blocks add to the same place. */
__global__ void blocks_add_kernel(float *to) { *to += 1; }
/* All blocks read what the last of them writes. */
__global__ void blocks_read_kernel(float *to, float *y)
{
    y[blockIdx.x] = to[0];
    if (blockIdx.x == gridDim.x - 1)
        to[0] = 1;
}
__global__ void blocks_add_atomically_kernel(float *to) { atomicAdd(to, 1.0f); }

__global__ void neighbours_kernel(float *y, int sync)
{
    SHARED(float, held, WARP);
    held[threadIdx.x] = (float)threadIdx.x;
    if (sync)
        __syncwarp();
    y[threadIdx.x] = held[(threadIdx.x + 1) % WARP];
}

__global__ void fours_kernel(float4 *y) { y[threadIdx.x] = make_float4(1, 2, 3, 4); }

__global__ void half_a_barrier_kernel(float *y, unsigned below)
{
    if (threadIdx.x < below)
        __syncthreads();
    else
        __syncwarp();
    y[threadIdx.x] = 1;
}

__global__ void lanes_ended_kernel(float *y)
{
    if (threadIdx.x >= 16)
        return;
    y[threadIdx.x] = __shfl_xor_sync(ALL_LANES, 1.0f, 16);
}

/* The identity by B[k][n] = 8 k + n, which lies by columns. How: with B's fragments taken as if it lay by rows; from
 * addresses that are so many elements too high; without a barrier before; by some of the lanes. */
__global__ void fragments_kernel(float *y, int by_rows, int too_high, int no_barrier, int lanes)
{
    SHARED(bf16, held, 16 * 16 + 8);
    int lane = (int)threadIdx.x, group = lane / 4, in_group = lane % 4;
    uint32_t a[4] = {0, 0, 0, 0}, b[4];
    float d[4] = {0, 0, 0, 0};
    const bf16 *row = held + lane % 8 * 16 + lane / 8 % 2 * 8 + too_high;
    a[0] = a[3] = pair_of<bf16>(group == in_group * 2, group == in_group * 2 + 1);
    for (int i = lane; i < 16 * 16 + 8; i += WARP)
        store(held + i, (float)(i % 16 * 8 + i / 16));
    if (!no_barrier)
        __syncwarp();
    if (lane >= lanes)
        return;
    if (by_rows)
        load_transposed(b, row);
    else
        load_matrices(b, row);
    mma<bf16>(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++)
        y[(i < 2 ? group : group + 8) * 8 + in_group * 2 + i % 2] = d[i];
}

/* ---- memory ---- */

static float *device_floats(size_t n)
{
    float *p = NULL;
    if (cudaMalloc(&p, n * sizeof *p))
        abort();
    return p;
}

static float *counting(size_t n)
{
    float *host = (float *)malloc(n * sizeof *host), *p = device_floats(n);
    for (size_t i = 0; i < n; i++)
        host[i] = (float)i;
    cudaMemcpyAsync(p, host, n * sizeof *p, cudaMemcpyHostToDevice, stream);
    cudaStreamSynchronize(stream);
    free(host);
    return p;
}

/* Whether p[i] is base + slope i, after a wait. */
static int is(const float *p, size_t n, float base, float slope)
{
    float *host = (float *)malloc(n * sizeof *host);
    int bad = 0;
    cudaMemcpyAsync(host, p, n * sizeof *p, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    for (size_t i = 0; i < n; i++)
        bad |= host[i] != base + slope * (float)i;
    free(host);
    return bad;
}

static product product_of(float *c, const float *a, const float *b, int64_t M)
{
    product p = {};
    p.M = M, p.N = 8, p.K = 8, p.a = a, p.b = b, p.c = c, p.lda = p.ldb = p.ldc = 8, p.alpha = 1;
    return p;
}

/* ---- the faults ---- */

static int reversed(int write_beyond, int read_beyond)
{
    float *y = device_floats(N), *x = counting(N);
    LAUNCH(reverse_kernel, (N + 127) / 128, 128, 0, stream, y, x, N, write_beyond, read_beyond);
    return is(y, N, N - 1, -1);
}

static int summed(int no_first, int no_second)
{
    float *y = device_floats(2);
    LAUNCH(sums_kernel, 2, THREADS, 0, stream, y, counting(2 * THREADS), no_first, no_second);
    return is(y, 2, THREADS * (THREADS - 1) / 2, THREADS * THREADS);
}

static int neighbours(int sync)
{
    float *y = device_floats(WARP);
    LAUNCH(neighbours_kernel, 1, WARP, 0, stream, y, sync);
    return is(y, WARP - 1, 1, 1);
}

static int no_first_barrier() { return summed(1, 0); }
static int no_second_barrier() { return summed(0, 1); }
static int no_warp_barrier() { return neighbours(0); }
static int write_beyond() { return reversed(1, 0); }
static int read_beyond() { return reversed(0, 1); }

static int shared_beyond()
{
    float *y = device_floats(THREADS);
    LAUNCH(shared_overrun_kernel, 1, THREADS, 0, stream, y, 1);
    return is(y, THREADS, 2, 0);
}

static int dynamic_beyond()
{
    float *y = device_floats(THREADS);
    LAUNCH(dynamic_overrun_kernel, 1, THREADS, THREADS * sizeof *y, stream, y, 1);
    return is(y, THREADS, 1, 0);
}

static int blocks_race()
{
    float *to = counting(1);
    LAUNCH(blocks_add_kernel, 8, 1, 0, stream, to);
    return is(to, 1, 8, 0);
}

static int blocks_read_race()
{
    float *to = counting(1), *y = device_floats(8);
    LAUNCH(blocks_read_kernel, 8, 1, 0, stream, to, y);
    return is(y, 8, 0, 0);
}

static int never_written()
{
    float *y = device_floats(N), *x = device_floats(N);
    LAUNCH(reverse_kernel, (N + 127) / 128, 128, 0, stream, y, x, N, 0, 0);
    cudaStreamSynchronize(stream);
    return 0;
}

static int copied_never_written()
{
    float host[4], *x = device_floats(4);
    cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    return 0;
}

static int host_pointer()
{
    float *y = device_floats(N), *x = (float *)calloc(N, sizeof *x);
    LAUNCH(reverse_kernel, (N + 127) / 128, 128, 0, stream, y, x, N, 0, 0);
    return is(y, N, 0, 0);
}

static int misaligned()
{
    float *y = device_floats(4 * THREADS + 1);
    LAUNCH(fours_kernel, 1, THREADS, 0, stream, (float4 *)(y + 1));
    cudaStreamSynchronize(stream);
    return 0;
}

static int after_free()
{
    float *y = device_floats(N), *x = counting(N);
    cudaFree(x);
    LAUNCH(reverse_kernel, (N + 127) / 128, 128, 0, stream, y, x, N, 0, 0);
    cudaStreamSynchronize(stream);
    return 0;
}

static int between_streams(int wait)
{
    float host[N], *x = device_floats(N), *y = device_floats(N);
    cudaEvent_t e;
    for (int i = 0; i < N; i++)
        host[i] = (float)i;
    cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, other);
    cudaEventRecord(e, other);
    if (wait)
        cudaStreamWaitEvent(stream, e, 0);
    LAUNCH(reverse_kernel, (N + 127) / 128, 128, 0, stream, y, x, N, 0, 0);
    return is(y, N, N - 1, -1);
}
static int no_event() { return between_streams(0); }

static int fragments(int by_rows, int too_high, int no_barrier, int lanes)
{
    float *y = device_floats(128);
    LAUNCH(fragments_kernel, 1, WARP, 0, stream, y, by_rows, too_high, no_barrier, lanes);
    return is(y, 128, 0, 1);
}
static int fragments_across() { return fragments(1, 0, 0, WARP); }
static int fragments_misaligned() { return fragments(0, 4, 0, WARP); }
static int fragments_no_barrier() { return fragments(0, 0, 1, WARP); }
static int fragments_of_some_lanes() { return fragments(0, 0, 0, 16); }

static int copied(int too_early, int no_barrier)
{
    float *y = device_floats(THREADS), *x = counting(8 * THREADS);
    LAUNCH(copies_kernel, 1, THREADS, 0, stream, y, x, too_early, no_barrier);
    return is(y, THREADS, 4 * (THREADS - 1), -4);
}
static int copies_too_early() { return copied(1, 0); }
static int copies_no_barrier() { return copied(0, 1); }

static int half_a_barrier()
{
    float *y = device_floats(64);
    LAUNCH(half_a_barrier_kernel, 1, 64, 0, stream, y, 48);
    cudaStreamSynchronize(stream);
    return 0;
}

static int lanes_ended()
{
    float *y = device_floats(WARP);
    LAUNCH(lanes_ended_kernel, 1, WARP, 0, stream, y);
    cudaStreamSynchronize(stream);
    return 0;
}

static int no_wait()
{
    float host[N], *x = counting(N);
    int bad = 0;
    cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, stream);
    for (int i = 0; i < N; i++)
        bad |= host[i] != (float)i;
    return bad;
}

static int changed_too_early()
{
    float host[4] = {0, 1, 2, 3}, *x = device_floats(4);
    cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, stream);
    host[2] = 5;
    return is(x, 4, 0, 1);
}

static int host_reads_device()
{
    float *x = counting(N);
    return x[3] != 3;
}

static int copy_beyond()
{
    float host[N + 1], *x = counting(N);
    cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    return 0;
}

static int too_much_shared()
{
    LAUNCH(dynamic_overrun_kernel, 1, THREADS, 64 << 10, stream, device_floats(THREADS), 0);
    return 0;
}

static int too_many_threads()
{
    LAUNCH(dynamic_overrun_kernel, 1, 2048, 2048 * sizeof(float), stream, device_floats(2048), 0);
    return 0;
}

static int freed_twice()
{
    float *x = counting(N);
    cudaFree(x);
    cudaFree(x);
    return 0;
}

static int multiplied(float *c, const float *a, int64_t M)
{
    mert_error e;
    blas *b = blas_open(&e);
    product p = product_of(c, a, counting(64), M);
    int bad = blas_product(b, stream, &p);
    cudaStreamSynchronize(stream);
    blas_close(b);
    return bad;
}
static int product_beyond() { return multiplied(device_floats(64), counting(64), 9); }
static int product_never_written() { return multiplied(device_floats(64), device_floats(64), 8); }

/* The same things, done right. */
static int none()
{
    float *to = counting(1), *y = device_floats(THREADS);
    LAUNCH(blocks_add_atomically_kernel, 8, 1, 0, stream, to);
    LAUNCH(dynamic_overrun_kernel, 1, THREADS, THREADS * sizeof *y, stream, y, 0);
    LAUNCH(shared_overrun_kernel, 1, THREADS, 0, stream, y, 0);
    LAUNCH(half_a_barrier_kernel, 1, 64, 0, stream, y, 64);
    return reversed(0, 0) || summed(0, 0) || neighbours(1) || fragments(0, 0, 0, WARP) || copied(0, 0) ||
           between_streams(1) || is(to, 1, 8, 0) || multiplied(device_floats(64), counting(64), 8);
}

static const struct {
    const char *name;
    int (*run)();
} faults[] = {{"none", none},
              {"no_first_barrier", no_first_barrier},
              {"no_second_barrier", no_second_barrier},
              {"no_warp_barrier", no_warp_barrier},
              {"write_beyond", write_beyond},
              {"read_beyond", read_beyond},
              {"shared_beyond", shared_beyond},
              {"dynamic_beyond", dynamic_beyond},
              {"blocks_race", blocks_race},
              {"blocks_read_race", blocks_read_race},
              {"never_written", never_written},
              {"copied_never_written", copied_never_written},
              {"host_pointer", host_pointer},
              {"misaligned", misaligned},
              {"after_free", after_free},
              {"no_event", no_event},
              {"fragments_across", fragments_across},
              {"fragments_misaligned", fragments_misaligned},
              {"fragments_no_barrier", fragments_no_barrier},
              {"fragments_of_some_lanes", fragments_of_some_lanes},
              {"copies_too_early", copies_too_early},
              {"copies_no_barrier", copies_no_barrier},
              {"half_a_barrier", half_a_barrier},
              {"lanes_ended", lanes_ended},
              {"no_wait", no_wait},
              {"changed_too_early", changed_too_early},
              {"host_reads_device", host_reads_device},
              {"copy_beyond", copy_beyond},
              {"too_much_shared", too_much_shared},
              {"too_many_threads", too_many_threads},
              {"freed_twice", freed_twice},
              {"product_beyond", product_beyond},
              {"product_never_written", product_never_written}};

int main(int argc, char **argv)
{
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    for (const auto &f : faults)
        if (argc == 2 && !strcmp(argv[1], f.name)) {
            int bad = f.run();
            return emu_reports() ? 2 : bad;
        }
    fprintf(stderr, "faults NAME\n");
    return 64;
}
