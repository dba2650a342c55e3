/* Kernels: threads as fibers, blocks one after the other, barriers, collectives of a warp, shared memory. */
#include "internal.h"

#include <cstdio>
#include <dlfcn.h>
#include <sys/mman.h>
#include <vector>
#ifdef EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu {

now_running now;
state st;
static int reports;

enum { REPORTS_MAX = 5 };

/* FILE:LINE of an address in this object: the innermost that is no line of the emulator's headers. */
static void place_of(char *text, size_t room, void *pc)
{
    Dl_info object;
    char command[512];
    FILE *f;
    if (!pc || !dladdr(pc, &object))
        return;
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", object.dli_fname,
             (size_t)((char *)pc - 1 - (char *)object.dli_fbase));
    if (!(f = popen(command, "r")))
        return;
    while (fgets(text, (int)room, f)) {
        text[strcspn(text, " \n")] = 0;
        if (!strstr(text, "/emulator/"))
            break;
    }
    pclose(f);
}

static void tell(const char *what, const char *place)
{
    if (!st.kernel)
        fprintf(stderr, "EMU: %s %s\n", what, place);
    else
        fprintf(stderr, "EMU: %s [kernel %s, block %u,%u,%u, thread %u,%u,%u] %s\n", what, st.kernel, now.block.x,
                now.block.y, now.block.z, now.thread.x, now.thread.y, now.thread.z, place);
}

/* Whether this one is to be told. */
static bool one_more()
{
    if (!st.error)
        st.error = cudaErrorIllegalAddress;
    return reports++ < REPORTS_MAX;
}

void report(const char *what, void *pc)
{
    char place[400] = "";
    if (!one_more())
        return;
    place_of(place, sizeof place, pc);
    tell(what, place);
}

void report_at(const char *what, site at)
{
    char place[400] = "";
    if (!one_more())
        return;
    if (at.file)
        snprintf(place, sizeof place, "%s:%d", at.file, at.line);
    tell(what, place);
}

/* n: a power of two. The compiler believes the type, so the address goes by a register. */
void check_aligned(const void *p, size_t n)
{
    size_t at = (size_t)p;
    if (at & (n - 1))
        report("misaligned access to a vector", __builtin_return_address(0));
}

/* ---- fibers ---- */

enum { STACK = 1 << 16 };

struct fiber {
    char *stack; /* NULL: the host's */
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t context;
#endif
};

enum thread_state { NEW, READY, WAITS_BLOCK, WAITS_WARP, DONE };

struct thread {
    thread_state state;
    fiber *on;
    uint3 id;
    int linear;
    site at;   /* where it waits */
    void *arg; /* what it brings */
    unsigned mask, warp_since;
};

static std::vector<thread> threads;
static std::vector<int> order; /* in which threads have their turn */
static std::vector<fiber *> &idle = *new std::vector<fiber *>; /* kept to the end: what it holds is no leak */
static fiber host;
static thread *running;
static int live, arrived;
static size_t turn; /* in order */
static const call *body;
static unsigned block_number;

#if defined(__x86_64__)
asm(".text\n.type emu_switch,@function\n.hidden emu_switch\nemu_switch:\n"
    " pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
    " movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
    " popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
    ".size emu_switch,.-emu_switch\n");
extern "C" __attribute__((visibility("hidden"))) void emu_switch(void **save, void *to);
static void switch_to(fiber *from, fiber *to) { emu_switch(&from->sp, to->sp); }
#else
static void switch_to(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }
#endif

/* AddressSanitizer is told whose stack it is. */
#ifdef EMU_ASAN
static const void *host_bottom;
static size_t host_size;
static bool from_host;

static void after_switch(void *fake)
{
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (from_host) {
        host_bottom = bottom;
        host_size = size;
    }
    from_host = false;
}

static void jump(fiber *from, fiber *to)
{
    void *fake = nullptr;
    from_host = from == &host;
    __sanitizer_start_switch_fiber(&fake, to->stack ? to->stack : host_bottom, to->stack ? (size_t)STACK : host_size);
    switch_to(from, to);
    after_switch(fake);
}
#else
static void after_switch(void *) {}
static void jump(fiber *from, fiber *to) { switch_to(from, to); }
#endif

static void fiber_main();

static void begin_at_main(fiber *f)
{
#if defined(__x86_64__)
    void **top = (void **)(f->stack + STACK);
    *--top = nullptr; /* a return address that is not used, so that the stack is aligned as after a call */
    *--top = (void *)fiber_main;
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->sp = top;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, fiber_main, 0);
#endif
}

static fiber *take_fiber()
{
    fiber *f;
    if (!idle.empty()) {
        f = idle.back();
        idle.pop_back();
        return f;
    }
    f = new fiber();
    f->stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->stack == MAP_FAILED)
        abort();
    begin_at_main(f);
    return f;
}

static void set_now(thread *t)
{
    running = t;
    now.thread = t->id;
    now.lane = t->linear & 31;
    st.who = block_number << 10 | (unsigned)t->linear;
    st.warp_since = t->warp_since;
    st.stack = t->on->stack;
    st.stack_end = t->on->stack + STACK;
}

/* ---- whose turn it is ---- */

/* The next in order that can run; NULL: none. */
static thread *next_thread()
{
    for (size_t i = 0, n = order.size(); i < n; i++) {
        thread *t;
        if (++turn == n)
            turn = 0;
        t = &threads[(size_t)order[turn]];
        if (t->state == NEW || t->state == READY)
            return t;
    }
    return nullptr;
}

/* No thread can run and some are not done: their fibers are left, and begin anew. */
static void give_up()
{
    thread *waiting = nullptr;
    for (auto &t : threads)
        if (t.state == WAITS_BLOCK || t.state == WAITS_WARP) {
            if (t.on != running->on)
                idle.push_back(t.on);
            begin_at_main(t.on);
            t.state = DONE;
            waiting = &t;
        }
    report_at("threads wait for ever: not all of them come to a barrier", waiting ? waiting->at : site{});
    live = 0;
}

/* Goes on with another thread, from the fiber of one that waits. */
static void yield()
{
    thread *self = running, *next = next_thread();
    fiber *from = self->on;
    if (next == self) {
        self->state = READY;
        return;
    }
    st.in_kernel = false;
    if (!next) {
        static fiber left;
        give_up();
        left.stack = nullptr;
        begin_at_main(from);
        idle.push_back(from);
        jump(&left, &host);
    }
    if (next->state == NEW)
        next->on = take_fiber();
    next->state = READY;
    set_now(next);
    jump(from, next->on);
    set_now(self);
    st.in_kernel = true;
}

static void release_block();

static void thread_ends(thread *t)
{
    t->state = DONE;
    live--;
    if (arrived && arrived == live)
        release_block();
}

/* Runs threads that have not begun one after the other, as long as none of them waits. */
static void fiber_main()
{
    after_switch(nullptr);
    for (;;) {
        thread *t = running, *next;
        fiber *self = t->on;
        st.in_kernel = true;
        body->run(body->args.get());
        st.in_kernel = false;
        thread_ends(t);
        next = live ? next_thread() : nullptr;
        if (next && next->state == NEW) {
            next->on = self;
            next->state = READY;
            set_now(next);
            continue;
        }
        if (!next && live) {
            running = t;
            give_up();
        }
        idle.push_back(self);
        if (next) {
            next->state = READY;
            set_now(next);
        }
        jump(self, next ? next->on : &host);
        /* taken again, for a thread that begins */
    }
}

/* ---- barriers and collectives ---- */

static void release_block()
{
    site at = {};
    bool differ = false;
    for (auto &t : threads)
        if (t.state == WAITS_BLOCK) {
            differ |= at.line && t.at.line != at.line;
            at = t.at;
            t.state = READY;
        }
    if (differ)
        report_at("threads of a block wait at different barriers", at);
    arrived = 0;
    st.barrier_since = ++st.clock;
}

void sync_block(site at)
{
    bool inside = st.in_kernel;
    st.in_kernel = false;
    running->at = at;
    running->state = WAITS_BLOCK;
    arrived++;
    if (arrived == live)
        release_block();
    if (running->state == WAITS_BLOCK || st.shuffle)
        yield();
    running->state = READY;
    st.in_kernel = inside;
}

/* The lanes of the mask that exist and wait; false: some have not come. */
static bool all_came(unsigned mask, site at, void **args)
{
    int first = running->linear & ~31;
    for (int lane = 31; lane >= 0; lane--) /* in their own order the last one comes last */
        if (mask >> lane & 1) {
            thread &t = threads[(size_t)(first + lane)];
            if (t.state == DONE)
                continue;
            if (t.state != WAITS_WARP)
                return false;
            args[lane] = t.arg;
        }
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            thread &t = threads[(size_t)(first + lane)];
            if (t.state == DONE)
                report_at("a warp function waits for a lane that has ended", at);
            else if (t.mask != running->mask)
                report_at("lanes with different masks meet", at);
            else if (t.at.line != at.line)
                report_at("lanes of a warp meet at different places", at);
        }
    return true;
}

void sync_warp(unsigned mask, void *arg, warp_op op, site at)
{
    int first = running->linear & ~31, n = (int)threads.size() - first;
    unsigned present = 0;
    void *args[32] = {};
    st.in_kernel = false;
    running->arg = arg;
    running->at = at;
    running->mask = mask;
    running->state = WAITS_WARP;
    if (!(mask >> (running->linear & 31) & 1))
        report_at("a lane outside of its own mask", at);
    if (n < 32 && mask >> n)
        report_at("a mask with lanes that the block does not have", at);
    mask &= n >= 32 ? ~0u : (1u << n) - 1;
    if (!all_came(mask, at, args)) {
        yield();
        running->state = READY;
        st.in_kernel = true;
        return;
    }
    for (int lane = 0; lane < 32; lane++)
        present |= args[lane] ? 1u << lane : 0;
    if (op)
        op(args, present);
    ++st.clock;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && threads[(size_t)(first + lane)].state == WAITS_WARP) {
            threads[(size_t)(first + lane)].state = READY;
            if (!op) /* shuffles order nothing in memory; only __syncwarp does */
                threads[(size_t)(first + lane)].warp_since = st.clock;
        }
    st.warp_since = running->warp_since;
    if (st.shuffle)
        yield();
    running->state = READY;
    st.in_kernel = true;
}

/* ---- shared memory: one arena, in which each array of a launch has its place ---- */

enum { ZONE = 64 }; /* bytes between arrays that belong to none */

static char *arena;
static size_t arena_used, shared_total;
static std::vector<span> spans;
static unsigned launch_number;

static void *add_span(size_t bytes)
{
    char *at = arena + arena_used;
    if (arena_used + bytes + ZONE > SHARED_ARENA)
        abort();
    memset(at, 0xff, bytes);
    spans.push_back({at, bytes});
    shared_total += bytes;
    arena_used += (bytes + 2 * ZONE - 1) / ZONE * ZONE;
    return at;
}

void *shared(shared_array *a, size_t bytes)
{
    enum { LIMIT = 48 << 10 };
    bool inside = st.in_kernel;
    st.in_kernel = false;
    if (a->launch != launch_number) {
        a->at = add_span(bytes);
        a->launch = launch_number;
        if (shared_total > LIMIT && shared_total - bytes <= LIMIT && !now.dynamic)
            report("more than 48 KB of shared arrays", nullptr);
    }
    st.in_kernel = inside;
    return a->at;
}

const span *shared_span(const void *p)
{
    for (auto &s : spans)
        if ((char *)p >= s.at && (char *)p < s.at + s.bytes)
            return &s;
    return nullptr;
}

size_t shared_offset(const void *p)
{
    return arena && (char *)p >= arena && (char *)p < arena + SHARED_ARENA ? (size_t)((char *)p - arena) : SIZE_MAX;
}

/* ---- launches ---- */

static uint64_t numbers = 1;

unsigned draw(unsigned n)
{
    numbers = numbers * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((numbers >> 33) % n);
}

static void permute(std::vector<int> &v)
{
    for (size_t i = v.size(); i > 1; i--)
        std::swap(v[i - 1], v[draw((unsigned)i)]);
}

static void number(std::vector<int> &v, size_t n)
{
    v.resize(n);
    for (size_t i = 0; i < n; i++)
        v[i] = (int)i;
    if (st.shuffle)
        permute(v);
}

static void run_block(dim3 b)
{
    unsigned n = b.x * b.y * b.z;
    thread *first;
    live = (int)n;
    arrived = 0;
    st.block_since = st.barrier_since = ++st.clock;
    for (unsigned i = 0; i < n; i++) {
        thread &t = threads[i];
        t.state = NEW;
        t.linear = (int)i;
        t.warp_since = st.clock;
        t.id = {i % b.x, i / b.x % b.y, i / (b.x * b.y)};
    }
    turn = n - 1;
    first = next_thread();
    first->on = take_fiber();
    first->state = READY;
    set_now(first);
    jump(&host, first->on);
}

void run_kernel(const char *name, dim3 grid, dim3 block, size_t dynamic, const call &c)
{
    static std::vector<int> blocks;
    if (!arena) {
        const char *seed = getenv("EMU_SEED");
        numbers = seed ? strtoull(seed, nullptr, 0) * 2 + 1 : 1;
        arena = (char *)mmap(nullptr, SHARED_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (arena == MAP_FAILED)
            abort();
    }
    launch_number++;
    arena_used = shared_total = 0;
    spans.clear();
    threads.resize(block.x * block.y * block.z);
    number(order, threads.size());
    number(blocks, (size_t)grid.x * grid.y * grid.z);
    st.kernel = name;
    st.thread = pthread_self();
    body = &c;
    st.args = (char *)c.args.get();
    st.args_end = st.args + c.bytes;
    now.block_dim = block;
    now.grid_dim = grid;
    now.dynamic = dynamic ? add_span(dynamic) : nullptr;
    st.launch_since = ++st.clock;
    for (int i : blocks) {
        now.block = {(unsigned)i % grid.x, (unsigned)i / grid.x % grid.y, (unsigned)i / (grid.x * grid.y)};
        block_number = (unsigned)i & 0xfffff;
        for (auto &s : spans)
            memset(s.at, 0xff, s.bytes);
        run_block(block);
        if (st.error)
            break; /* as a device: what a kernel with a fault leaves is worth nothing */
    }
    st.kernel = nullptr;
    ++st.clock;
}

} // namespace emu

extern "C" int emu_reports(void) { return emu::reports; }
