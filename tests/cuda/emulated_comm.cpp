/* Exchange between emulated devices, each of a process: by memory that the processes share. Sums are taken in the order
 * of the processes. An exchange is on the stream until all have come to it; it refuses what NCCL behind the same
 * boundary is not given, and finds what NCCL would hang on or spoil: another exchange, or one of another size, in
 * another process.
 *
 * EMU_NO_NCCL: there is no library. EMU_SIGNAL=RANK:NUMBER:SIGNAL: that process gets the signal in the middle of its
 * exchange of this number, when others may have its data and it has none of theirs. */
#include "emulator/internal.h"
#include "libcommon/plugins/cuda/comm.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum : int64_t { WINDOW = 1 << 16 }; /* floats of a process on their way at once */
enum { WAYS = 2, RANKS_MAX = 64 };

/* What all processes see. A round: each writes its window, then reads those of all. Windows take turns, so the one of
 * two rounds before can be written when all have read it. */
struct common {
    std::atomic<int> here, ended;
    std::atomic<int64_t> written[RANKS_MAX], read[RANKS_MAX]; /* rounds */
    struct round {
        int what;
        int64_t number, n, each, at;
    } said[WAYS][RANKS_MAX];
    float window[]; /* [WAYS][ranks][WINDOW] */
};

struct comm {
    common *all;
    size_t bytes;
    int rank, ranks;
    int64_t round, exchanges;
    bool ended;
};

/* One exchange on the stream, as far as it has come. */
struct under_way {
    comm *c;
    comm_exchange x;
    int64_t number, at;
    bool gathers; /* the second half of an all-reduce, or an all-gather */
    bool wrote;   /* this round's window */
};

static float *window(const comm *c, int rank)
{
    return c->all->window + (c->round % WAYS * c->ranks + rank) * WINDOW;
}

static bool all_at_least(const comm *c, const std::atomic<int64_t> *of, int64_t rounds)
{
    for (int r = 0; r < c->ranks; r++)
        if (of[r] < rounds)
            return false;
    return true;
}

/* Floats of process r's piece in a round. */
static int64_t part(const under_way &u, int r, int64_t block)
{
    int64_t left = comm_piece(&u.x, r) - u.at;
    return left <= 0 ? 0 : std::min(left, block);
}

static void write_window(under_way &u, int64_t block)
{
    comm *c = u.c;
    u.c->all->said[c->round % WAYS][c->rank] = {(int)u.x.what + 10 * u.gathers, u.number, u.x.n, u.x.each, u.at};
    for (int r = 0; r < c->ranks; r++) {
        const float *from = u.x.data + u.x.each * r + u.at;
        int64_t n = part(u, r, block);
        if (!n || (u.gathers && r != c->rank))
            continue;
        emu::shadow_reads(from, (size_t)n * sizeof *from);
        memcpy(window(c, c->rank) + (u.gathers ? 0 : r * block), from, (size_t)n * sizeof *from);
    }
}

/* false: the processes exchange different things. */
static bool same(const under_way &u)
{
    const common::round *said = u.c->all->said[u.c->round % WAYS], &mine = said[u.c->rank];
    for (int r = 0; r < u.c->ranks; r++)
        if (said[r].what != mine.what || said[r].number != mine.number || said[r].n != mine.n ||
            said[r].each != mine.each || said[r].at != mine.at) {
            char text[200];
            snprintf(text, sizeof text,
                     "processes exchange different things: %d kind %d of %lld floats, %d kind %d of %lld", u.c->rank,
                     mine.what, (long long)mine.n, r, said[r].what, (long long)said[r].n);
            emu::report(text, nullptr);
            return false;
        }
    return true;
}

static void read_windows(under_way &u, int64_t block)
{
    comm *c = u.c;
    for (int r = 0; r < c->ranks; r++) {
        int to_piece = u.gathers ? r : c->rank;
        float *to = u.x.data + u.x.each * to_piece + u.at;
        int64_t n = part(u, to_piece, block);
        const float *from = window(c, r) + (u.gathers ? 0 : c->rank * block);
        if (u.gathers || r == 0)
            memcpy((void *)to, from, (size_t)n * sizeof *to);
        else
            for (int64_t i = 0; i < n; i++)
                to[i] += from[i];
        emu::shadow_wrote(to, (size_t)n * sizeof *to);
    }
}

/* What is not said of a reduce-scatter: the pieces of the others. */
static void spoil(const under_way &u)
{
    for (int r = 0; r < u.c->ranks; r++)
        if (r != u.c->rank)
            memset((void *)(u.x.data + u.x.each * r), 0xff, (size_t)comm_piece(&u.x, r) * sizeof(float));
}

static void suffer(const under_way &u)
{
    const char *text = getenv("EMU_SIGNAL");
    int rank, number, signal;
    if (text && sscanf(text, "%d:%d:%d", &rank, &number, &signal) == 3 && rank == u.c->rank && number == u.number)
        raise(signal);
}

/* One step; false: it waits for the others. *over: the whole is done. */
static bool step(under_way &u, bool *over)
{
    comm *c = u.c;
    common *all = c->all;
    int64_t block = u.gathers ? WINDOW : WINDOW / c->ranks;
    if (u.at >= u.x.each) {
        *over = u.gathers || u.x.what == MERT_REDUCE_SCATTER;
        if (u.x.what == MERT_REDUCE_SCATTER)
            spoil(u);
        u.gathers = true;
        u.at = 0;
        return true;
    }
    if (!u.wrote) {
        if (!all_at_least(c, all->read, c->round + 1 - WAYS))
            return false;
        write_window(u, block);
        all->written[c->rank] = c->round + 1;
        u.wrote = true;
        if (!u.at && u.gathers == (u.x.what == MERT_ALL_GATHER))
            suffer(u);
    }
    if (!all_at_least(c, all->written, c->round + 1))
        return false;
    if (!same(u)) {
        *over = true;
        return true;
    }
    read_windows(u, block);
    all->read[c->rank] = ++c->round;
    u.wrote = false;
    u.at += block;
    return true;
}

static bool go_on(under_way &u)
{
    bool over = false;
    while (!over && !u.c->ended && !emu::st.error)
        if (!step(u, &over))
            return false;
    return true;
}

/* ---- the library ---- */

static int identity(unsigned char id[COMM_IDENTITY], mert_error *)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    memset(id, 0, COMM_IDENTITY);
    snprintf((char *)id, COMM_IDENTITY, "/mert-emulated-%d-%lld-%ld", (int)getpid(), (long long)t.tv_sec, t.tv_nsec);
    return 0;
}

/* Who comes first makes it; who comes last removes its name. */
static common *attach(const char *name, size_t bytes, int ranks)
{
    common *all = nullptr;
    void *p = MAP_FAILED;
    int f = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (f >= 0 && !ftruncate(f, (off_t)bytes))
        p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    if (f >= 0)
        close(f);
    if (p == MAP_FAILED)
        return nullptr;
    all = (common *)p;
    if (++all->here == ranks)
        shm_unlink(name);
    return all;
}

static comm *open_shared(const unsigned char id[COMM_IDENTITY], int, int rank, int ranks, mert_error *e)
{
    size_t bytes = sizeof(common) + (size_t)(WAYS * ranks * WINDOW) * sizeof(float);
    common *all = ranks <= RANKS_MAX ? attach((const char *)id, bytes, ranks) : nullptr;
    if (!all) {
        snprintf(e->text, sizeof e->text, "no memory to share among %d processes", ranks);
        return nullptr;
    }
    return new comm{all, bytes, rank, ranks, 0, 0, false};
}

static int state(comm *c, mert_error *e)
{
    if (c->all->ended) {
        snprintf(e->text, sizeof e->text, "another process has ended the exchange");
        return -1;
    }
    return c->all->here < c->ranks;
}

static int exchange(comm *c, const comm_exchange *x, void *stream, mert_error *e)
{
    const emu::span *block = emu::device_span(x->data);
    if (comm_refuses(x, c->ranks) || !block || (char *)(x->data + x->n) > block->at + block->bytes) {
        snprintf(e->text, sizeof e->text, "an exchange of %lld floats in pieces of %lld is refused", (long long)x->n,
                 (long long)x->each);
        return -1;
    }
    std::shared_ptr<under_way> u(new under_way{c, *x, ++c->exchanges, 0, x->what == MERT_ALL_GATHER, false});
    emu::enqueue_until((cudaStream_t)stream, [u] { return go_on(*u); });
    return 0;
}

/* What is on the stream still has c. */
static void abort_shared(comm *c)
{
    c->ended = true;
    c->all->ended = 1;
}

static void close_shared(comm *c)
{
    munmap(c->all, c->bytes);
    delete c;
}

const comm_library *comm_find(mert_error *e)
{
    static const comm_library library = {COMM_VERSION, "the emulated exchange", identity,     open_shared, state,
                                         exchange,     abort_shared,            close_shared};
    if (!getenv("EMU_NO_NCCL"))
        return &library;
    snprintf(e->text, sizeof e->text, "no exchange between devices: there is no %s", COMM_FILE);
    return nullptr;
}
