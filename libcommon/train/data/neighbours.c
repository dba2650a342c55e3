#include "libcommon/train/data/neighbours.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The key of a count: a context, with or without a label in it. Labels are numbered from 1; NOTHING: no label. */
enum { NOTHING = 0, ANY = -1 };
typedef enum level { UNIGRAM, LEFT, RIGHT, BOTH, NEARER, LEVELS } level;

typedef struct context { int32_t codebook, a, b, nearer; level level; } context;

typedef struct cell {
    context of;
    int32_t label;      /* ANY: the count of the context */
    int32_t kinds;      /* number of different labels in it */
    int64_t count;      /* 0: free */
} cell;

struct mert_neighbours {
    int codebooks;
    int64_t *classes;
    cell *cells;        /* open addressing, at most half full */
    size_t room, used;  /* room: a power of 2 */
};

mert_neighbours *mert_neighbours_new(int codebooks, const int64_t *classes)
{
    mert_neighbours *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->codebooks = codebooks;
    n->room = 1 << 12;
    n->classes = mert_array(codebooks, sizeof *classes);
    n->cells = mert_array_zeroed((int64_t)n->room, sizeof *n->cells);
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
    free(n->cells);
    free(n);
}

/* ---- counts ---- */

static uint64_t mix(uint64_t h, int64_t v)
{
    h = (h ^ (uint64_t)v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static cell *find(cell *cells, size_t room, context c, int32_t label)
{
    uint64_t h = mix(mix(mix(mix(mix(mix(1, c.codebook), c.a), c.b), c.nearer), c.level), label);
    size_t i = (size_t)(h >> 17) & (room - 1);
    while (cells[i].count && (cells[i].label != label || cells[i].of.codebook != c.codebook || cells[i].of.a != c.a ||
                              cells[i].of.b != c.b || cells[i].of.nearer != c.nearer || cells[i].of.level != c.level))
        i = (i + 1) & (room - 1);
    return &cells[i];
}

static int grow(mert_neighbours *n, mert_error *e)
{
    size_t room = 2 * n->room;
    cell *cells = mert_array_zeroed((int64_t)room, sizeof *cells);
    if (!cells)
        return mert_fail(e, "out of memory for counts of neighbouring labels");
    for (size_t i = 0; i < n->room; i++)
        if (n->cells[i].count)
            *find(cells, room, n->cells[i].of, n->cells[i].label) = n->cells[i];
    free(n->cells);
    n->cells = cells;
    n->room = room;
    return 0;
}

static int count(mert_neighbours *n, context c, int32_t label, mert_error *e)
{
    cell *one, *whole;
    int fresh;
    if (2 * (n->used + 2) > n->room && grow(n, e))
        return -1;
    one = find(n->cells, n->room, c, label);
    fresh = !one->count;
    n->used += (size_t)fresh;
    one->of = c;
    one->label = label;
    one->count++;
    whole = find(n->cells, n->room, c, ANY);
    n->used += !whole->count;
    whole->of = c;
    whole->label = ANY;
    whole->count++;
    whole->kinds += fresh;
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
    c[UNIGRAM] = (context){k, 0, 0, 0, UNIGRAM};
    c[LEFT] = (context){k, a, 0, 0, LEFT};
    c[RIGHT] = (context){k, 0, b, 0, RIGHT};
    c[BOTH] = (context){k, a, b, 0, BOTH};
    c[NEARER] = (context){k, a, b, nearer, NEARER};
}

int mert_neighbours_learn(mert_neighbours *n, int k, const int32_t *labels, const uint8_t *mask, int64_t T,
                          mert_error *e)
{
    context c[LEVELS];
    for (int64_t t = 0; t < T; t++)
        if (mask[t]) {
            contexts_of(c, k, labels, mask, T, t);
            for (int l = 0; l < LEVELS; l++)
                if (count(n, c[l], labels[t] + 1, e))
                    return -1;
        }
    return 0;
}

/* P(label | context), smoothed by `next`. */
static double smoothed(const mert_neighbours *n, context c, int32_t label, double next)
{
    const cell *whole = find(n->cells, n->room, c, ANY);
    double kinds = whole->kinds, total = (double)whole->count;
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
