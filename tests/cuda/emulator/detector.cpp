/* The detector. The kernels' sources are compiled with -fsanitize=thread, whose calls come here instead of to its own
 * library, so every access of a kernel is looked at. It must be to device memory, shared memory or the thread's own;
 * within one allocation; aligned; not a read of what nobody has written; and ordered with the accesses of other threads
 * by barriers or launches. A cell for each two bytes knows who wrote and who read last, and when. */
#include "internal.h"

#include <cstdio>
#include <link.h>
#include <sys/mman.h>

namespace emu {

enum : unsigned { THREADS = 10, WHO = (1u << 30) - 1, ATOMIC = 1u << 31, NOBODY = ~0u };
/* How many have read since the last write or barrier: the two upper bits of a cell's reader, which is one of them. */
enum : unsigned { ONE = 0, OF_WARP = 1u << 30, OF_BLOCK = 2u << 30, OF_BLOCKS = 3u << 30 };

struct cell {
    unsigned writer, written, reader, read;
};

static cell *device_cells, *shared_cells;
static char *own_low, *own_high; /* this object, with its constants */

static int find_object(dl_phdr_info *info, size_t, void *)
{
    char *here = (char *)&find_object, *low = nullptr, *high = nullptr;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            char *at = (char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            low = low && low < at ? low : at;
            high = at + info->dlpi_phdr[i].p_memsz > high ? at + info->dlpi_phdr[i].p_memsz : high;
        }
    if (here < low || here >= high)
        return 0;
    own_low = low;
    own_high = high;
    return 1;
}

void shadow_start()
{
    device_cells = (cell *)mmap(nullptr, RANGE / 2 * sizeof(cell), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shared_cells = (cell *)calloc(SHARED_ARENA / 2, sizeof(cell));
    if (device_cells == MAP_FAILED || !shared_cells)
        abort();
    dl_iterate_phdr(find_object, nullptr);
}

static cell *cells_of(const void *p) { return device_cells + ((char *)p - device_memory) / 2; }

void shadow_fresh(void *p, size_t n) { memset((void *)cells_of(p), 0, (n + 1) / 2 * sizeof(cell)); }

void shadow_wrote(void *p, size_t n)
{
    cell *c = cells_of(p);
    for (size_t i = 0; i < (n + 1) / 2; i++)
        c[i] = {0, st.clock, 0, 0};
    ++st.clock;
}

void shadow_reads(const void *p, size_t n)
{
    const cell *c = cells_of(p);
    for (size_t i = 0; i < (n + 1) / 2; i++)
        if (!c[i].written) {
            report("a copy or a library reads device memory that nobody has written", nullptr);
            return;
        }
}

static inline bool same_block(unsigned who) { return ((who ^ st.who) & WHO) >> THREADS == 0; }
static inline bool same_warp(unsigned who) { return ((who ^ st.who) & WHO) >> 5 == 0; }

/* Whether an access of this block's `who` at `when` comes before what this thread does now. */
static inline bool by_barrier(unsigned who, unsigned when)
{
    return when < st.barrier_since || (same_warp(who) && when < st.warp_since);
}

/* since: what was before it is of another launch or block. */
static inline bool after_write(const cell *c, unsigned atomic, unsigned since)
{
    return c->written < since || (c->writer & atomic) || (c->writer & WHO) == st.who ||
           (same_block(c->writer) && by_barrier(c->writer, c->written));
}

static inline bool after_reads(const cell *c, unsigned since)
{
    unsigned many = c->reader & ~WHO;
    if (c->read < since || (many == ONE && (c->reader & WHO) == st.who))
        return true;
    if (many == OF_BLOCKS || !same_block(c->reader))
        return false;
    return many == OF_BLOCK ? c->read < st.barrier_since : by_barrier(c->reader, c->read);
}

static inline void note_read(cell *c, unsigned since)
{
    unsigned many = c->reader & ~WHO;
    if (c->read < since)
        many = ONE;
    else if (many == OF_BLOCKS || !same_block(c->reader))
        many = OF_BLOCKS;
    else if (after_reads(c, since))
        many = ONE;
    else
        many = same_warp(c->reader) && many != OF_BLOCK ? (unsigned)OF_WARP : (unsigned)OF_BLOCK;
    c->reader = many | st.who;
    c->read = st.clock;
}

static __attribute__((noinline)) void race(const char *what, void *pc, unsigned other)
{
    char text[200];
    if (other == NOBODY)
        snprintf(text, sizeof text, "%s", what);
    else
        snprintf(text, sizeof text, "%s (the other: block %u, thread %u)", what, (other & WHO) >> THREADS,
                 other & ((1u << THREADS) - 1));
    report(text, pc);
}

/* What is wrong with an access to these cells; NULL: nothing. */
static const char *touch(cell *c, size_t cells, bool write, unsigned atomic, unsigned since, bool shared,
                         unsigned *other)
{
    const char *bad = nullptr;
    *other = NOBODY;
    for (size_t i = 0; i < cells; i++, c++) {
        if (!write && shared && c->written < since)
            bad = "read of shared memory that this block has not written";
        else if (!write && !c->written)
            bad = "read of device memory that nobody has written";
        else if (!after_write(c, atomic, since)) {
            bad = write ? "race: two threads write" : "race: read of what another thread writes";
            *other = c->writer;
        } else if (write && c->read && !after_reads(c, since)) {
            bad = "race: write of what another thread reads";
            *other = c->reader;
        }
        if (write) {
            c->writer = st.who | atomic;
            c->written = st.clock;
        } else
            note_read(c, since);
    }
    return bad;
}

static void look_at_device(char *a, size_t n, bool write, unsigned atomic, void *pc)
{
    unsigned other;
    const char *bad;
    const span *b = device_span(a);
    if (!b || a + n > b->at + b->bytes) {
        report(write ? "write outside of every allocation" : "read outside of every allocation", pc);
        return;
    }
    bad = touch(cells_of(a), (n + 1) / 2, write, atomic, st.launch_since, false, &other);
    if (bad)
        race(bad, pc, other);
}

static void look_at_shared(char *a, size_t n, bool write, unsigned atomic, void *pc)
{
    unsigned other;
    const char *bad;
    const span *s = shared_span(a);
    if (!s || a + n > s->at + s->bytes) {
        report(write ? "write outside of every shared array" : "read outside of every shared array", pc);
        return;
    }
    bad = touch(shared_cells + shared_offset(a) / 2, (n + 1) / 2, write, atomic, st.block_since, true, &other);
    if (bad)
        race(bad, pc, other);
}

static inline void look(void *p, size_t n, bool write, unsigned atomic, void *pc)
{
    char *a = (char *)p;
    if (!st.in_kernel || !pthread_equal(st.thread, pthread_self()) || (a >= st.stack && a < st.stack_end) ||
        (!write && a >= st.args && a < st.args_end) || (!write && a >= own_low && a < own_high))
        return;
    st.in_kernel = false;
    if ((size_t)a % n && (n & (n - 1)) == 0)
        report("misaligned access", pc);
    else if (a >= device_memory && a < device_memory + RANGE)
        look_at_device(a, n, write, atomic, pc);
    else if (shared_offset(a) != SIZE_MAX)
        look_at_shared(a, n, write, atomic, pc);
    else
        report(write ? "a kernel writes host memory" : "a kernel reads host memory", pc);
    st.in_kernel = true;
}

void note_atomic(void *p, size_t n) { look(p, n, true, ATOMIC, __builtin_return_address(0)); }

} // namespace emu

/* ---- what the compilers call ---- */

#define PC __builtin_return_address(0)
#define PAIR(n)                                                                      \
    void __tsan_read##n(void *p) { emu::look(p, n, false, 0, PC); }                  \
    void __tsan_write##n(void *p) { emu::look(p, n, true, 0, PC); }                  \
    void __tsan_unaligned_read##n(void *p) { emu::look(p, n, false, 0, PC); }        \
    void __tsan_unaligned_write##n(void *p) { emu::look(p, n, true, 0, PC); }        \
    void __tsan_volatile_read##n(void *p) { emu::look(p, n, false, 0, PC); }         \
    void __tsan_volatile_write##n(void *p) { emu::look(p, n, true, 0, PC); }

/* Copies of structs, of which clang makes calls: by words, as a device does it. */
static void look_at_copy(void *to, const void *from, size_t n, void *pc)
{
    size_t step = n % 4 == 0 && (size_t)to % 4 == 0 && (size_t)from % 4 == 0 ? 4 : 1;
    for (size_t i = 0; i < n; i += step) {
        emu::look((char *)from + i, step, false, 0, pc);
        emu::look((char *)to + i, step, true, 0, pc);
    }
}

extern "C" {

PAIR(1)
PAIR(2)
PAIR(4)
PAIR(8)
PAIR(16)
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
void __tsan_read_range(void *p, size_t n) { emu::look(p, n, false, 0, PC); }
void __tsan_write_range(void *p, size_t n) { emu::look(p, n, true, 0, PC); }
void *__tsan_memcpy(void *to, const void *from, size_t n)
{
    look_at_copy(to, from, n, PC);
    return memcpy(to, from, n);
}
void *__tsan_memmove(void *to, const void *from, size_t n)
{
    look_at_copy(to, from, n, PC);
    return memmove(to, from, n);
}
void *__tsan_memset(void *to, int v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        emu::look((char *)to + i, 1, true, 0, PC);
    return memset(to, v, n);
}

/* Counters of shared_ptr. */
int __tsan_atomic32_fetch_add(volatile int *p, int v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_sub(volatile int *p, int v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_load(const volatile int *p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
void __tsan_atomic32_store(volatile int *p, int v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
long __tsan_atomic64_load(const volatile long *p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
void __tsan_atomic64_store(volatile long *p, long v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_compare_exchange_strong(volatile int *p, int *old, int v, int, int)
{
    return __atomic_compare_exchange_n(p, old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_val(volatile int *p, int old, int v, int, int)
{
    __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return old;
}
}
