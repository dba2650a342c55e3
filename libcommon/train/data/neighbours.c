#define _DEFAULT_SOURCE /* anonymous mappings */
#include "libcommon/train/data/neighbours.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The key of a count: a context, with or without a label in it. Labels are numbered from 1; NOTHING: no label. */
enum { NOTHING = 0, FEWEST = 1 << 12 };
typedef enum level { UNIGRAM, LEFT, RIGHT, BOTH, NEARER, LEVELS } level;

/* A context in 63 bits: level, nearer, codebook, and the labels a and b, which are at most 2^24. */
typedef uint64_t context;
static const context WHOLE = (context)1 << 63; /* with it: the context as a whole */

/* Small, because there are millions of them and most accesses miss the caches. */
typedef struct cell {
    context of;
    int32_t label;  /* of the context as a whole (WHOLE): number of different labels in it */
    uint32_t count; /* 0: free */
} cell;

struct mert_neighbours {
    int codebooks;
    int64_t *classes;
    cell *cells;        /* open addressing, at most three quarters full */
    size_t room, used;  /* room: a power of 2 */
};

static context context_of(level l, int k, int32_t a, int32_t b, int nearer)
{
    return (context)l << 60 | (context)(nearer + 1) << 58 | (context)k << 50 | (context)a << 25 | (context)b;
}

/* Free cells in a mapping of their own, which is returned to the system when it is freed. Large pages avoid that each
 * access misses the address translation cache, too. */
static cell *cells_new(size_t room)
{
    const size_t bytes = room * sizeof(cell);
    void *cells = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (cells == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(cells, bytes, MADV_HUGEPAGE);
#endif
    return cells;
}

static void cells_free(cell *cells, size_t room)
{
    if (cells)
        munmap(cells, room * sizeof *cells);
}

mert_neighbours *mert_neighbours_new(int codebooks, const int64_t *classes)
{
    mert_neighbours *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->codebooks = codebooks;
    n->room = FEWEST;
    n->classes = mert_array(codebooks, sizeof *classes);
    n->cells = cells_new(n->room);
    if (!n->classes || !n->cells) {
        mert_neighbours_free(n);
        return NULL;
    }
    memcpy(n->classes, classes, (size_t)codebooks * sizeof *classes);
    return n;
}

void mert_neighbours_free(mert_neighbours *n)
{
    if (!n)
        return;
    free(n->classes);
    cells_free(n->cells, n->room);
    free(n);
}

/* The expected number of different values in so many draws from `kinds` equally likely ones. */
static double met(double kinds, double draws)
{
    return kinds * -expm1(-draws / kinds);
}

double mert_neighbours_memory(double classes, double frames)
{
    const double contexts[LEVELS] = {1, classes, classes, classes * classes, 3 * classes * classes};
    double cells = 0, room = FEWEST;
    for (int l = 0; l < LEVELS; l++)
        cells += met(contexts[l], frames) + met(contexts[l] * classes, frames);
    while (4 * cells > 3 * room)
        room *= 2;
    return 1.5 * room * sizeof(cell); /* while it grows, the old table of half the size is there, too */
}

/* ---- counts ---- */

static size_t place_of(size_t room, context c, int32_t label)
{
    uint64_t h = (c ^ (uint64_t)(c & WHOLE ? 0 : label) << 32) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ (uint64_t)(c & WHOLE ? 0 : label)) * 0xbf58476d1ce4e5b9u;
    return (size_t)(h >> 32) & (room - 1);
}

static cell *find(cell *cells, size_t room, context c, int32_t label)
{
    size_t i = place_of(room, c, label);
    while (cells[i].count && (cells[i].of != c || (!(c & WHOLE) && cells[i].label != label)))
        i = (i + 1) & (room - 1);
    return &cells[i];
}

static int grow(mert_neighbours *n, mert_error *e)
{
    size_t room = 2 * n->room;
    cell *cells = cells_new(room);
    if (!cells)
        return mert_fail(e, "out of memory for counts of neighbouring labels");
    for (size_t i = 0; i < n->room; i++)
        if (n->cells[i].count)
            *find(cells, room, n->cells[i].of, n->cells[i].label) = n->cells[i];
    cells_free(n->cells, n->room);
    n->cells = cells;
    n->room = room;
    return 0;
}

static int count(mert_neighbours *n, context c, int32_t label, mert_error *e)
{
    cell *one, *whole;
    int fresh;
    if (4 * (n->used + 2) > 3 * n->room && grow(n, e))
        return -1;
    one = find(n->cells, n->room, c, label);
    fresh = !one->count;
    n->used += (size_t)fresh;
    one->of = c;
    one->label = label;
    one->count++;
    whole = find(n->cells, n->room, c | WHOLE, 0);
    n->used += !whole->count;
    whole->of = c | WHOLE;
    whole->count++;
    whole->label += fresh;
    return 0;
}

/* ---- contexts ---- */

/* The five contexts of masked frame t. */
static void contexts_of(context c[LEVELS], int k, const int32_t *labels, const uint8_t *mask, int64_t T, int64_t t)
{
    int64_t before = t, after = t;
    int32_t a, b, nearer;
    while (before >= 0 && mask[before])
        before--;
    while (after < T && mask[after])
        after++;
    a = before >= 0 ? labels[before] + 1 : NOTHING;
    b = after < T ? labels[after] + 1 : NOTHING;
    nearer = t - before < after - t ? -1 : t - before > after - t;
    c[UNIGRAM] = context_of(UNIGRAM, k, 0, 0, 0);
    c[LEFT] = context_of(LEFT, k, a, 0, 0);
    c[RIGHT] = context_of(RIGHT, k, 0, b, 0);
    c[BOTH] = context_of(BOTH, k, a, b, 0);
    c[NEARER] = context_of(NEARER, k, a, b, nearer);
}

enum { AHEAD = 8 }; /* frames whose cells are prefetched */

static void ask_for(const mert_neighbours *n, const context c[LEVELS], int32_t label)
{
    for (int l = 0; l < LEVELS; l++) {
        __builtin_prefetch(&n->cells[place_of(n->room, c[l], label)]);
        __builtin_prefetch(&n->cells[place_of(n->room, c[l] | WHOLE, 0)]);
    }
}

int mert_neighbours_learn(mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                          mert_error *e)
{
    struct {
        context c[LEVELS];
        int32_t label;
    } asked[AHEAD], *frame;
    int64_t came = 0, counted = 0;
    for (int64_t t = 0; t < T || counted < came; t++) {
        if (t < T && mask[t]) {
            frame = &asked[came++ % AHEAD];
            contexts_of(frame->c, k, labels, mask, T, t);
            frame->label = labels[t] + 1;
            ask_for(n, frame->c, frame->label);
        }
        if (counted == came || (t < T && came - counted < AHEAD))
            continue;
        frame = &asked[counted++ % AHEAD];
        for (int l = 0; l < LEVELS; l++)
            if (count(n, frame->c[l], frame->label, e))
                return -1;
    }
    return 0;
}

/* P(label | context), smoothed by `next`. */
static double smoothed(const mert_neighbours *n, context c, int32_t label, double next)
{
    const cell *whole = find(n->cells, n->room, c | WHOLE, 0);
    double kinds = whole->label, total = (double)whole->count;
    if (!whole->count)
        return next;
    return ((double)find(n->cells, n->room, c, label)->count + kinds * next) / (total + kinds);
}

double mert_neighbours_cost(const mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                            int64_t *frames)
{
    context c[LEVELS];
    double sum = 0;
    for (int64_t t = 0; t < T; t++)
        if (mask[t]) {
            int32_t x = labels[t] + 1;
            double p;
            contexts_of(c, k, labels, mask, T, t);
            p = smoothed(n, c[UNIGRAM], x, 1.0 / (double)n->classes[k]);
            p = (smoothed(n, c[LEFT], x, p) + smoothed(n, c[RIGHT], x, p)) / 2;
            p = smoothed(n, c[BOTH], x, p);
            p = smoothed(n, c[NEARER], x, p);
            sum -= log(p);
            ++*frames;
        }
    return sum;
}
