/* A CUDA runtime that runs on the CPU, for tests: the .cu sources of the plugin compile as C++ with this header in the
 * place of NVIDIA's. It has what the plugin uses, and no more.
 *
 * - A kernel's threads are fibers, one block at a time; a thread runs until it waits for others. EMU_SEED other than 0
 *   puts threads, blocks and streams into an order of its own.
 * - Shuffles, ballots and mma are collectives of the lanes that their mask names.
 * - A stream is a queue, which runs only when something waits for it or asks how far it is, or when it is full.
 * - Device memory is closed to the host (SIGSEGV) except while a queue runs; fresh memory is all ones, which is NaN; a
 *   download fills its target with ones until the queue runs, and an upload reads its source then.
 * - A fault that is found is one line on stderr, and the error of every call that follows, as on a device.
 *
 * More variables: EMU_DEVICES (how many, 8; "none": no driver), EMU_MEMORY (bytes of a device), EMU_FAIL=N (the Nth
 * kernel ends with an error), and CUDA's own CUDA_LAUNCH_BLOCKING. */
#ifndef EMU_CUDA_RUNTIME_H
#define EMU_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

/* Vectors are read and written whole, so their places must be aligned: on this CPU a compiler may take them apart. */
namespace emu {
void check_aligned(const void *p, size_t n);
}
#define EMU_VECTOR_2(name, type)                                                             \
    struct alignas(2 * sizeof(type)) name {                                                  \
        type x, y;                                                                           \
        name() = default;                                                                    \
        name(type a, type b) : x(a), y(b) {}                                                 \
        name(const name &v) : x(v.x), y(v.y) { emu::check_aligned(&v, sizeof v); }           \
        name &operator=(const name &v)                                                       \
        {                                                                                    \
            emu::check_aligned(this, sizeof v);                                              \
            emu::check_aligned(&v, sizeof v);                                                \
            x = v.x, y = v.y;                                                                \
            return *this;                                                                    \
        }                                                                                    \
    };                                                                                       \
    static inline name make_##name(type x, type y) { return name(x, y); }
#define EMU_VECTOR_4(name, type)                                                             \
    struct alignas(4 * sizeof(type)) name {                                                  \
        type x, y, z, w;                                                                     \
        name() = default;                                                                    \
        name(type a, type b, type c, type d) : x(a), y(b), z(c), w(d) {}                     \
        name(const name &v) : x(v.x), y(v.y), z(v.z), w(v.w) { emu::check_aligned(&v, sizeof v); } \
        name &operator=(const name &v)                                                       \
        {                                                                                    \
            emu::check_aligned(this, sizeof v);                                              \
            emu::check_aligned(&v, sizeof v);                                                \
            x = v.x, y = v.y, z = v.z, w = v.w;                                              \
            return *this;                                                                    \
        }                                                                                    \
    };                                                                                       \
    static inline name make_##name(type x, type y, type z, type w) { return name(x, y, z, w); }
EMU_VECTOR_2(float2, float)
EMU_VECTOR_2(uint2, unsigned)
EMU_VECTOR_4(float4, float)
EMU_VECTOR_4(uint4, unsigned)

/* ---- threads and launches ---- */

struct emu_stream;
struct emu_event;

namespace emu {

struct now_running {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    int lane;
    void *dynamic; /* shared memory of a size that the launch named */
};
extern now_running now;

/* A line of a kernel's source. (Not an address: compilers copy code.) */
struct site {
    const char *file;
    int line;
};
#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

typedef void (*warp_op)(void **args, unsigned mask); /* args[lane] of the lanes in mask */
void sync_block(site at);
void sync_warp(unsigned mask, void *arg, warp_op op, site at);
void note_atomic(void *p, size_t n);

/* A launch: the arguments by value, as a device takes them. */
struct call {
    void (*run)(const void *args);
    std::shared_ptr<void> args;
    size_t bytes;
};
void enqueue_kernel(const char *name, dim3 grid, dim3 block, size_t shared, emu_stream *stream, call c,
                    const void *kernel);

template <class... P, class... A>
void launch(const char *name, void (*f)(P...), dim3 grid, dim3 block, size_t shared, emu_stream *s, A &&...a)
{
    struct held {
        void (*f)(P...);
        std::tuple<P...> args;
    };
    auto h = std::make_shared<held>(held{f, std::tuple<P...>(static_cast<P>(a)...)});
    call c = {[](const void *p) { std::apply(((const held *)p)->f, ((const held *)p)->args); }, h, sizeof(held)};
    enqueue_kernel(name, grid, block, shared, s, c, (const void *)f);
}

/* One array in shared memory of a kernel. */
struct shared_array {
    unsigned launch;
    void *at;
};
void *shared(shared_array *a, size_t bytes);

} // namespace emu

#define threadIdx (emu::now.thread)
#define blockIdx (emu::now.block)
#define blockDim (emu::now.block_dim)
#define gridDim (emu::now.grid_dim)
#define warpSize 32
#define LAUNCH(kernel, grid, block, shared, stream, ...) \
    emu::launch(#kernel, kernel, grid, block, shared, stream, __VA_ARGS__)
#define SHARED(type, name, count)        \
    static emu::shared_array name##_is; \
    type *name = (type *)emu::shared(&name##_is, sizeof(type) * (count))
#define DYNAMIC_SHARED(type, name) type *name = (type *)emu::now.dynamic

/* ---- what threads say to each other ---- */

#define EMU_QUIET __attribute__((no_sanitize("thread"), noinline))

EMU_QUIET inline void __syncthreads(EMU_SITE) { emu::sync_block({file, line}); }
EMU_QUIET inline void __syncwarp(unsigned mask = ~0u, EMU_SITE)
{
    emu::sync_warp(mask, nullptr, nullptr, {file, line});
}

namespace emu {

template <class T> struct shuffled {
    T value, result;
    int from;
};

/* From a lane that takes no part the value is undefined on a device; here it is all ones. */
template <class T> EMU_QUIET void shuffle_op(void **args, unsigned mask)
{
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            auto *x = (shuffled<T> *)args[lane];
            if (mask >> x->from & 1)
                x->result = ((shuffled<T> *)args[x->from])->value;
            else
                memset((void *)&x->result, 0xff, sizeof(T));
        }
}

template <class T> EMU_QUIET T shuffle(unsigned mask, T value, int from, site at)
{
    shuffled<T> a{value, value, from & 31};
    sync_warp(mask, &a, shuffle_op<T>, at);
    return a.result;
}

struct vote {
    int yes;
    unsigned result;
};
EMU_QUIET inline void ballot_op(void **args, unsigned mask)
{
    unsigned all = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && ((vote *)args[lane])->yes)
            all |= 1u << lane;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1)
            ((vote *)args[lane])->result = all;
}

} // namespace emu

template <class T> EMU_QUIET T __shfl_xor_sync(unsigned mask, T v, int x, EMU_SITE)
{
    return emu::shuffle(mask, v, emu::now.lane ^ x, {file, line});
}
template <class T> EMU_QUIET T __shfl_sync(unsigned mask, T v, int lane, EMU_SITE)
{
    return emu::shuffle(mask, v, lane, {file, line});
}
template <class T> EMU_QUIET T __shfl_down_sync(unsigned mask, T v, int by, EMU_SITE)
{
    int lane = emu::now.lane;
    return emu::shuffle(mask, v, lane + by < 32 ? lane + by : lane, {file, line});
}
EMU_QUIET inline unsigned __ballot_sync(unsigned mask, int yes, EMU_SITE)
{
    emu::vote a{yes, 0};
    emu::sync_warp(mask, &a, emu::ballot_op, {file, line});
    return a.result;
}
template <class T> EMU_QUIET T atomicAdd(T *p, T v)
{
    T old = *p;
    *p = old + v;
    emu::note_atomic(p, sizeof v);
    return old;
}

/* ---- numbers ---- */

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
template <class T> static inline T __ldg(const T *p) { return *p; }

/* ---- the runtime ---- */

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700
} cudaError_t;
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
enum { cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
struct cudaUUID_t {
    char bytes[16];
};
struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};

extern "C" {
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int n);
cudaError_t cudaMemGetInfo(size_t *unused, size_t *all);
cudaError_t emu_malloc(void **p, size_t n);
cudaError_t emu_host_malloc(void **p, size_t n);
cudaError_t cudaFree(void *p);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind k, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorString(cudaError_t e);
cudaError_t emu_func_shared(const void *kernel, int bytes);
int emu_reports(void); /* faults found so far */
}

template <class T> static inline cudaError_t cudaMalloc(T **p, size_t n) { return emu_malloc((void **)p, n); }
template <class T> static inline cudaError_t cudaHostAlloc(T **p, size_t n, unsigned)
{
    return emu_host_malloc((void **)p, n);
}
template <class F> static inline cudaError_t cudaFuncSetAttribute(F *f, cudaFuncAttribute, int v)
{
    return emu_func_shared((const void *)f, v);
}

#endif
