/* Device memory: blocks of whole pages in one range, closed to the host but while a queue runs, with a page that is
 * never open behind each. */
#include "internal.h"

#include <cstdio>
#include <map>
#include <sys/mman.h>
#include <unistd.h>
#ifdef EMU_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

namespace emu {

char *device_memory;
static std::map<char *, span> blocks; /* by address */
static std::map<char *, size_t> holes;
static size_t page, taken, device_bytes;
static bool opened;
static char *newest; /* behind all blocks */
static const span *last_found;

void start()
{
    const char *bytes = getenv("EMU_MEMORY"), *seed = getenv("EMU_SEED");
    if (device_memory)
        return;
    page = (size_t)sysconf(_SC_PAGESIZE);
    device_bytes = bytes ? strtoull(bytes, nullptr, 0) : (size_t)16 << 30;
    st.shuffle = seed && strtoull(seed, nullptr, 0);
    st.clock = 1;
    device_memory = (char *)mmap(nullptr, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (device_memory == MAP_FAILED)
        abort();
    newest = device_memory + page;
    shadow_start();
}

static size_t pages_of(size_t bytes) { return (bytes / page + 2) * page; } /* one is never open */

static char *place_for(size_t size)
{
    char *at;
    for (auto i = holes.begin(); i != holes.end(); ++i)
        if (i->second >= size) {
            size_t rest = i->second - size;
            at = i->first;
            holes.erase(i);
            if (rest)
                holes[at + size] = rest;
            return at;
        }
    at = newest;
    if ((size_t)(at + size - device_memory) > RANGE)
        return nullptr;
    newest += size;
    return at;
}

static void protect(const span &b, bool yes)
{
    mprotect(b.at, pages_of(b.bytes) - page, yes ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static void *take(size_t bytes)
{
    char *at;
    if (bytes > device_bytes - taken || !(at = place_for(pages_of(bytes))))
        return nullptr;
    taken += bytes;
    span b = {at, bytes};
    protect(b, true);
    memset(at, 0xff, bytes);
    POISON(at + bytes, pages_of(bytes) - page - bytes);
    shadow_fresh(at, bytes);
    blocks[at] = b;
    last_found = nullptr;
    protect(b, opened);
    return at;
}

static void give(span b)
{
    size_t size = pages_of(b.bytes);
    char *at = b.at;
    protect(b, true);
    UNPOISON(at, size - page);
    madvise(at, size - page, MADV_DONTNEED);
    protect(b, false);
    taken -= b.bytes;
    blocks.erase(at);
    last_found = nullptr;
    auto next = holes.lower_bound(at);
    if (next != holes.end() && at + size == next->first) {
        size += next->second;
        next = holes.erase(next);
    }
    if (next != holes.begin() && std::prev(next)->first + std::prev(next)->second == at)
        std::prev(next)->second += size;
    else
        holes[at] = size;
}

const span *device_span(const void *p)
{
    char *at = (char *)p;
    if (last_found && at >= last_found->at && at < last_found->at + last_found->bytes)
        return last_found;
    auto i = blocks.upper_bound(at);
    if (i == blocks.begin())
        return nullptr;
    --i;
    if (at >= i->second.at + i->second.bytes)
        return nullptr;
    return last_found = &i->second;
}

void open_memory(bool yes)
{
    if (opened == yes)
        return;
    opened = yes;
    for (auto &b : blocks)
        protect(b.second, yes);
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t emu_malloc(void **p, size_t n)
{
    locked l;
    start();
    *p = nullptr;
    if (st.error)
        return st.error;
    return n && !(*p = take(n)) ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    locked l;
    const span *b = p ? device_span(p) : nullptr;
    cudaError_t e = cudaDeviceSynchronize();
    if (p && (!b || b->at != p))
        report("memory is freed that was not allocated", nullptr);
    else if (p)
        give(*b);
    return e;
}

cudaError_t emu_host_malloc(void **p, size_t n)
{
    return posix_memalign(p, 4096, n ? n : 1) ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    cudaError_t e = cudaDeviceSynchronize();
    free(p);
    return e;
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *all)
{
    locked l;
    start();
    *all = device_bytes;
    *unused = device_bytes - taken;
    return st.error;
}
}
