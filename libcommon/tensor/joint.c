#include "libcommon/tensor/joint.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct cell {
    uint64_t pair;  /* label * reference classes + reference label */
    int64_t count;  /* 0: free */
} cell;

struct mert_joint {
    int64_t z, y;   /* number of classes of the label and of the reference */
    int64_t *budget, taken;
    int64_t pairs;
    cell *cells;    /* open addressing, at most half full; replaced by `table` when that needs no more memory */
    size_t room;    /* a power of 2 */
    int64_t *table; /* [z, y], in place of cells */
};

mert_joint *mert_joint_new(int64_t classes, int64_t reference_classes, int64_t *budget)
{
    mert_joint *j = calloc(1, sizeof *j);
    if (j)
        *j = (mert_joint){.z = classes, .y = reference_classes, .budget = budget};
    return j;
}

void mert_joint_free(mert_joint *j)
{
    if (!j)
        return;
    *j->budget += j->taken;
    free(j->cells);
    free(j->table);
    free(j);
}

static cell *find(cell *cells, size_t room, uint64_t pair)
{
    uint64_t h = pair * 0x9e3779b97f4a7c15u; /* Knuth's multiplicative hash; the high bits are well mixed */
    size_t i = (size_t)(h >> 20) & (room - 1);
    while (cells[i].count && cells[i].pair != pair)
        i = (i + 1) & (room - 1);
    return &cells[i];
}

static int grow(mert_joint *j, mert_error *e)
{
    const size_t room = j->room ? 2 * j->room : 1024;
    const uint64_t all = (uint64_t)j->z * (uint64_t)j->y;
    const int whole = all * sizeof *j->table <= room * sizeof *j->cells; /* all < 2^62 */
    const int64_t bytes = whole ? (int64_t)(all * sizeof *j->table) : (int64_t)(room * sizeof *j->cells);
    if (bytes - j->taken > *j->budget)
        return mert_fail(e, "more pairs of labels occur than there is room to count");
    int64_t *table = whole ? mert_array_zeroed(all, sizeof *table) : NULL;
    cell *cells = whole ? NULL : calloc(room, sizeof *cells);
    if (!table && !cells)
        return mert_fail(e, "out of memory");
    for (size_t i = 0; i < j->room; i++) {
        const cell c = j->cells[i];
        if (c.count && whole)
            table[c.pair] = c.count;
        else if (c.count)
            *find(cells, room, c.pair) = c;
    }
    free(j->cells);
    j->cells = cells;
    j->table = table;
    j->room = whole ? 0 : room;
    *j->budget -= bytes - j->taken;
    j->taken = bytes;
    return 0;
}

int mert_joint_add(mert_joint *j, int64_t label, int64_t reference, mert_error *e)
{
    const uint64_t pair = (uint64_t)label * (uint64_t)j->y + (uint64_t)reference;
    if (!j->table && 2 * ((size_t)j->pairs + 1) > j->room && grow(j, e))
        return -1;
    if (j->table) {
        j->pairs += !j->table[pair]++;
        return 0;
    }
    cell *c = find(j->cells, j->room, pair);
    j->pairs += !c->count;
    c->pair = pair;
    c->count++;
    return 0;
}

/* ---- measures ---- */

/* For one side: how often each class occurs, and its largest count together with a class of the other side. */
typedef struct margin {
    int64_t *count, *most;
} margin;

/* Returns the count of the next pair that occurs, from *at on; 0: no more. */
static int64_t next_pair(const mert_joint *j, size_t *at, uint64_t *pair)
{
    const size_t end = j->table ? (size_t)j->z * (size_t)j->y : j->room;
    for (; *at < end; ++*at) {
        int64_t n = j->table ? j->table[*at] : j->cells[*at].count;
        if (n) {
            *pair = j->table ? *at : j->cells[*at].pair;
            ++*at;
            return n;
        }
    }
    return 0;
}

static double entropy_of(const margin *m, int64_t classes, double frames)
{
    double bits = 0;
    for (int64_t i = 0; i < classes; i++)
        if (m->count[i])
            bits -= (double)m->count[i] / frames * log2((double)m->count[i] / frames);
    return bits;
}

static double purity_of(const margin *m, int64_t classes, double frames)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < classes; i++)
        sum += m->most[i];
    return (double)sum / frames;
}

static void add_up(const mert_joint *j, const margin *z, const margin *y, mert_joint_measures *m)
{
    uint64_t pair;
    size_t at = 0;
    for (int64_t n; (n = next_pair(j, &at, &pair)) > 0; m->frames += n) {
        const uint64_t a = pair / (uint64_t)j->y, b = pair % (uint64_t)j->y;
        z->count[a] += n;
        y->count[b] += n;
        z->most[a] = n > z->most[a] ? n : z->most[a];
        y->most[b] = n > y->most[b] ? n : y->most[b];
    }
    const double frames = (double)m->frames;
    at = 0;
    for (int64_t n; (n = next_pair(j, &at, &pair)) > 0;) {
        const double a = (double)z->count[pair / (uint64_t)j->y], b = (double)y->count[pair % (uint64_t)j->y];
        m->mutual += (double)n / frames * log2((double)n * frames / (a * b));
    }
    m->mutual = m->mutual > 0 ? m->mutual : 0; /* may be negative by rounding */
    m->entropy = entropy_of(z, j->z, frames);
    m->reference_entropy = entropy_of(y, j->y, frames);
    m->phone_purity = purity_of(z, j->z, frames);
    m->cluster_purity = purity_of(y, j->y, frames);
    m->pnmi = m->mutual / m->reference_entropy;
}

int mert_joint_measure(const mert_joint *j, mert_joint_measures *m, mert_error *e)
{
    margin z = {mert_array_zeroed(j->z, sizeof *z.count), mert_array_zeroed(j->z, sizeof *z.most)};
    margin y = {mert_array_zeroed(j->y, sizeof *y.count), mert_array_zeroed(j->y, sizeof *y.most)};
    int rc = 0;
    *m = (mert_joint_measures){.pairs = j->pairs};
    if (!z.count || !z.most || !y.count || !y.most)
        rc = mert_fail(e, "out of memory");
    else
        add_up(j, &z, &y, m);
    free(z.count);
    free(z.most);
    free(y.count);
    free(y.most);
    return rc;
}
