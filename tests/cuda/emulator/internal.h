/* What the parts of the emulator share. None of them is compiled with -fsanitize=thread. */
#ifndef EMU_INTERNAL_H
#define EMU_INTERNAL_H

#include "cuda_runtime.h"

#include <functional>
#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif

namespace emu {

/* What runs now, for faults and for the detector. A clock counts barriers, launches and copies. */
struct state {
    const char *kernel;
    bool in_kernel; /* its own code, not the emulator's */
    pthread_t thread; /* of the host, that runs it: others may do something else meanwhile */
    bool shuffle;   /* orders follow from a seed */
    unsigned clock, launch_since, block_since, barrier_since, warp_since;
    unsigned who; /* block << 10 | thread */
    char *stack, *stack_end, *args, *args_end;
    cudaError_t error; /* of the first fault: sticky */
};
extern state st;

/* ---- core.cpp ---- */
/* A fault: one line, with the place in the kernel's source that pc is behind (NULL: unknown). */
void report(const char *what, void *pc);
void report_at(const char *what, site at);
void run_kernel(const char *name, dim3 grid, dim3 block, size_t shared, const call &c);
unsigned draw(unsigned n); /* of the seed's numbers, below n */

/* Arrays in shared memory of the running launch. */
struct span {
    char *at;
    size_t bytes;
};
const span *shared_span(const void *p); /* NULL: p is in none of them */
size_t shared_offset(const void *p);     /* in the arena that they all lie in; SIZE_MAX: p is not in it */

/* ---- memory.cpp ---- */
enum : size_t { RANGE = (size_t)64 << 30, SHARED_ARENA = (size_t)512 << 10 };
extern char *device_memory; /* the range in which all of it lies; NULL: not begun */
const span *device_span(const void *p); /* the block that p is in; NULL: none */
void start();
void open_memory(bool yes);

/* ---- streams.cpp ---- */
void enqueue(cudaStream_t s, std::function<void()> f);
/* What is done when f returns true; until then, what is behind it waits, and f is asked again. */
void enqueue_until(cudaStream_t s, std::function<bool()> f);
void take_lock();
void give_lock();
struct locked {
    locked() { take_lock(); }
    ~locked() { give_lock(); }
};

/* ---- detector.cpp; in no_detector.cpp they do nothing ---- */
void shadow_start();
void shadow_fresh(void *p, size_t n);       /* device memory that nobody has written */
void shadow_wrote(void *p, size_t n);       /* by a copy or a library */
void shadow_reads(const void *p, size_t n); /* likewise: has all of it been written? */

} // namespace emu

#endif
