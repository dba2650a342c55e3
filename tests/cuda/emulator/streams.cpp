/* Streams, events, copies, errors, devices. */
#include "internal.h"

#include <algorithm>
#include <string>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <time.h>
#include <vector>

struct item {
    std::function<bool()> run; /* false: it is not done yet */
    cudaEvent_t record, wait;
    long target; /* of wait */
};

struct emu_stream {
    std::deque<item> queue;
};

struct emu_event {
    emu_stream *where; /* of the last record */
    long target, done; /* records asked for, and made */
    bool timed;
    double ms; /* when the last was made */
};

namespace emu {

enum { FULL = 1024 }; /* as a device's queue: the caller is held up */

static std::recursive_mutex lock;
static int depth; /* how often its thread has it */
void take_lock()
{
    lock.lock();
    depth++;
}
void give_lock()
{
    depth--;
    lock.unlock();
}

/* Other processes, and other threads of this one: they may find that what is waited for will never come. */
static void let_others_go_on()
{
    struct timespec t = {0, 50000};
    int held = depth;
    open_memory(false);
    for (int i = 0; i < held; i++)
        give_lock();
    nanosleep(&t, nullptr);
    for (int i = 0; i < held; i++)
        take_lock();
    open_memory(true);
}

static std::vector<emu_stream *> &streams = *new std::vector<emu_stream *>; /* kept to the end */

static emu_stream *of(cudaStream_t s)
{
    static emu_stream *zero;
    if (!s && !zero)
        streams.push_back(zero = new emu_stream());
    return s ? s : zero;
}

static bool step(emu_stream *s);

/* Whether the event has come; as far as nothing else is waited for, it does. */
static bool until(cudaEvent_t e, long target)
{
    while (e->done < target && e->where && !e->where->queue.empty())
        if (!step(e->where))
            return false;
    return true;
}

/* The first on the stream; false: it waits for what others do. */
static bool step(emu_stream *s)
{
    item &i = s->queue.front();
    cudaEvent_t recorded = i.record;
    if (i.wait && !until(i.wait, i.target))
        return false;
    if (i.run && !st.error && !i.run())
        return false;
    s->queue.pop_front();
    if (recorded) {
        timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        recorded->ms = 1e3 * (double)at.tv_sec + 1e-6 * (double)at.tv_nsec;
        recorded->done++;
    }
    return true;
}

/* Runs what is queued on s, or (NULL) on all; with a seed, others may run ahead. */
static void drain(emu_stream *s)
{
    start();
    open_memory(true);
    for (;;) {
        emu_stream *next = s;
        bool ran = false;
        if (st.shuffle)
            for (auto *other : streams)
                if (!other->queue.empty() && draw(2))
                    step(other);
        if (s && s->queue.empty())
            break;
        for (size_t i = 0; !s && i < streams.size() && !ran; i++)
            if (!streams[i]->queue.empty()) {
                next = streams[i];
                ran = step(next);
            }
        if (!next)
            break;
        if (s)
            ran = step(s);
        if (!ran)
            let_others_go_on();
    }
    open_memory(false);
}

static void add(cudaStream_t s, item i)
{
    start();
    s = of(s);
    s->queue.push_back(std::move(i));
    if (s->queue.size() >= FULL)
        drain(s);
}

void enqueue(cudaStream_t s, std::function<void()> f)
{
    enqueue_until(s, [f] {
        f();
        return true;
    });
}

void enqueue_until(cudaStream_t s, std::function<bool()> f)
{
    locked l;
    add(s, {std::move(f), nullptr, nullptr, 0});
}

static std::map<const void *, int> shared_limit;
static long launches;

void enqueue_kernel(const char *name, dim3 g, dim3 b, size_t shared, emu_stream *s, call c, const void *kernel)
{
    enum { LIMIT = 48 << 10, MOST = 227 << 10 };
    locked l;
    const char *fail = getenv("EMU_FAIL");
    int limit = shared_limit.count(kernel) ? shared_limit[kernel] : LIMIT;
    if (b.x * b.y * b.z > 1024 || !b.x || !b.y || !b.z || b.z > 64 || !g.x || !g.y || !g.z || g.x > 0x7fffffffu ||
        g.y > 65535 || g.z > 65535)
        report((std::string("a launch outside of the limits: ") + name).c_str(), nullptr);
    else if ((int)shared > limit || limit > MOST)
        report((std::string("more dynamic shared memory than was asked for: ") + name).c_str(), nullptr);
    else if (fail && ++launches == atol(fail))
        enqueue(s, [] { st.error = cudaErrorIllegalAddress; });
    else
        enqueue(s, [=] { run_kernel(name, g, b, shared, c); });
    if (getenv("CUDA_LAUNCH_BLOCKING"))
        drain(of(s));
}

/* Host memory that is no device memory, and device memory that is a whole piece of one block. */
static void check_piece(const void *p, size_t n, const char *what)
{
    const span *b = device_span(p);
    if (n && (!b || (char *)p + n > b->at + b->bytes))
        report(what, nullptr);
}

static void copy_in(void *to, const void *from, size_t n)
{
    check_piece(to, n, "a copy writes outside of a block of device memory");
    if (st.error)
        return;
    memmove(to, from, n);
    shadow_wrote(to, n);
}

static void copy_out(void *to, const void *from, size_t n)
{
    check_piece(from, n, "a copy reads outside of a block of device memory");
    if (st.error)
        return;
    shadow_reads(from, n);
    memmove(to, from, n);
}

} // namespace emu

using namespace emu;

extern "C" {

/* ---- devices and errors ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *count = getenv("EMU_DEVICES");
    *n = 0;
    if (count && !strcmp(count, "none"))
        return cudaErrorInsufficientDriver;
    *n = count ? atoi(count) : 8;
    return *n ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int n)
{
    int count;
    cudaError_t e = cudaGetDeviceCount(&count);
    return e ? e : n < 0 || n >= count ? cudaErrorInvalidDevice : st.error;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int n)
{
    size_t unused;
    cudaError_t e = cudaSetDevice(n);
    memset((void *)p, 0, sizeof *p);
    if (e)
        return e;
    snprintf(p->name, sizeof p->name, "emulated device %d", n);
    memcpy(p->uuid.bytes, &n, sizeof n);
    p->major = 8;
    p->multiProcessorCount = 4;
    return cudaMemGetInfo(&unused, &p->totalGlobalMem);
}

cudaError_t cudaPeekAtLastError(void) { return st.error; }
cudaError_t cudaGetLastError(void) { return st.error; }

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    }
    return "unknown error";
}

cudaError_t emu_func_shared(const void *kernel, int bytes)
{
    locked l;
    shared_limit[kernel] = bytes;
    return cudaSuccess;
}

/* ---- copies ---- */

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t s)
{
    locked l;
    start();
    if (st.error)
        return st.error;
    switch (kind) {
    case cudaMemcpyHostToDevice: enqueue(s, [=] { copy_in(to, from, n); }); break;
    case cudaMemcpyDeviceToHost:
        memset(to, 0xff, n);
        enqueue(s, [=] { copy_out(to, from, n); });
        break;
    case cudaMemcpyDeviceToDevice:
        enqueue(s, [=] {
            check_piece(from, n, "a copy reads outside of a block of device memory");
            shadow_reads(from, n);
            copy_in(to, from, n);
        });
        break;
    default: return cudaErrorInvalidValue;
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s)
{
    locked l;
    if (st.error)
        return st.error;
    enqueue(s, [=] {
        check_piece(p, n, "memset writes outside of a block of device memory");
        if (st.error)
            return;
        memset(p, v, n);
        shadow_wrote(p, n);
    });
    return cudaSuccess;
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    locked l;
    streams.push_back(*s = new emu_stream());
    return st.error;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    locked l;
    drain(of(s));
    return st.error;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    locked l;
    drain(s);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    delete s;
    return st.error;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    locked l;
    add(s, {nullptr, nullptr, e, e->target});
    return st.error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    *e = new emu_event();
    (*e)->timed = !(flags & cudaEventDisableTiming);
    return st.error;
}

/* Of events that were recorded and have come. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    locked l;
    if (st.error)
        return st.error;
    if (!begin->timed || !end->timed || !begin->target || !end->target)
        return cudaErrorInvalidResourceHandle;
    if (begin->done < begin->target || end->done < end->target)
        return cudaErrorNotReady;
    *ms = (float)(end->ms - begin->ms);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    locked l;
    e->where = of(s);
    e->target++;
    add(s, {nullptr, e, nullptr, 0});
    return st.error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    locked l;
    start();
    open_memory(true);
    while (!until(e, e->target))
        let_others_go_on();
    open_memory(false);
    return st.error;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    locked l;
    bool there;
    start();
    open_memory(true);
    there = until(e, e->target);
    open_memory(false);
    return st.error ? st.error : there ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return st.error;
}

cudaError_t cudaDeviceSynchronize(void)
{
    locked l;
    drain(nullptr);
    return st.error;
}
}
