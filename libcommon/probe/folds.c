#include "libcommon/probe/folds.h"

#include "formats/array.h"
#include "libcommon/base/random.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FOR_ORDER, FOR_ASSIGNMENT }; /* the last component of a random key */

/* ---- strata: groups that are similar ---- */

typedef struct ranked { double by; int64_t group; } ranked;

static int by_value(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    if (a->by != b->by)
        return a->by < b->by ? -1 : 1;
    return (a->group > b->group) - (a->group < b->group);
}

/* Regression: ranks the groups by their mean (of the first number). */
static int rank_means(int64_t *stratum, const mert_targets *g)
{
    ranked *r = mert_array_zeroed(g->groups, sizeof *r);
    int64_t *count = mert_array_zeroed(g->groups, sizeof *count);
    int bad = !r || !count;
    for (int64_t i = 0; !bad && i < g->n; i++) {
        r[g->group[i]].by += g->y[i * g->outputs];
        count[g->group[i]]++;
    }
    for (int64_t i = 0; !bad && i < g->groups; i++) {
        r[i].by /= (double)count[i];
        r[i].group = i;
    }
    if (!bad)
        qsort(r, (size_t)g->groups, sizeof *r, by_value);
    for (int64_t i = 0; !bad && i < g->groups; i++)
        stratum[r[i].group] = i;
    free(r);
    free(count);
    return bad;
}

/* Classes: the most frequent one of the group. Labels: the group's label that is rarest overall; no label: a stratum of
 * its own. */
static int find_labels(int64_t *stratum, const mert_targets *g)
{
    int64_t C = g->outputs, *all = mert_array_zeroed(C, sizeof *all);
    int32_t *own = mert_array_zeroed(mert_array_count(g->groups, C), sizeof *own);
    int bad = !all || !own, classes = g->task == MERT_PROBE_CLASSIFY;
    for (int64_t i = 0; !bad && i < g->n; i++)
        for (int64_t c = 0; c < C; c++)
            if (classes ? g->label[i] == c : g->y[i * C + c] > 0) {
                own[g->group[i] * C + c]++;
                all[c]++;
            }
    for (int64_t i = 0; !bad && i < g->groups; i++) {
        stratum[i] = C;
        for (int64_t c = 0; c < C; c++) {
            int64_t best = stratum[i];
            if (own[i * C + c] && (best == C || (classes ? own[i * C + c] > own[i * C + best] : all[c] < all[best])))
                stratum[i] = c;
        }
    }
    free(all);
    free(own);
    return bad;
}

/* ---- assignment to folds ---- */

typedef struct card { int64_t stratum, group; uint32_t order; } card;

static int by_stratum(const void *pa, const void *pb)
{
    const card *a = pa, *b = pb;
    if (a->stratum != b->stratum)
        return a->stratum < b->stratum ? -1 : 1;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return (a->group > b->group) - (a->group < b->group);
}

/* fold[groups]: the fold of each group if `from` is OUT or equals the group's given part; otherwise -1. Groups are
 * sorted by stratum, in random order within it; each k consecutive groups go to k different folds, in random order. */
static int assign(const mert_folds *f, uint64_t seed, mert_probe_part from, int32_t *fold)
{
    const mert_targets *g = f->targets;
    mert_random order = mert_random_key(seed, MERT_FOR_PROBE, 0, 0, FOR_ORDER);
    mert_random dealing = mert_random_key(seed, MERT_FOR_PROBE, 0, 0, FOR_ASSIGNMENT);
    card *cards = mert_array(g->groups, sizeof *cards);
    int32_t *to = mert_array(f->k, sizeof *to);
    int64_t n = 0;
    for (int64_t i = 0; cards && to && i < g->groups; i++) {
        fold[i] = -1;
        if (from == MERT_PROBE_OUT || g->part[i] == from)
            cards[n++] = (card){f->stratum[i], i, mert_random_u32(&order, (uint32_t)i)};
    }
    if (n)
        qsort(cards, (size_t)n, sizeof *cards, by_stratum);
    for (int64_t i = 0; i < n; i++) {
        int at = (int)(i % f->k);
        if (!at)
            for (int k = 0; k < f->k; k++) { /* a random order of the folds, by insertion */
                int j = (int)mert_random_below(&dealing, (uint32_t)(i + k), (uint32_t)k + 1);
                to[k] = to[j];
                to[j] = k;
            }
        fold[cards[i].group] = to[at];
    }
    free(cards);
    free(to);
    return n ? 0 : -1;
}

int mert_folds_assign(const mert_folds *f, uint64_t seed, int round, mert_probe_part *part, mert_error *e)
{
    const mert_targets *g = f->targets;
    int32_t *fold = mert_array(g->groups, sizeof *fold);
    int cut = !g->given || f->carved;
    if (!fold || (cut && assign(f, seed, g->given && !f->all ? MERT_PROBE_TRAIN : MERT_PROBE_OUT, fold))) {
        free(fold);
        return mert_fail(e, "out of memory");
    }
    for (int64_t i = 0; i < g->n; i++) {
        int64_t group = g->group[i];
        if (f->all)
            part[i] = fold[group] == 0 ? MERT_PROBE_VALID : MERT_PROBE_TRAIN;
        else if (g->given)
            part[i] = f->carved && fold[group] == 0 ? MERT_PROBE_VALID : g->part[group];
        else
            part[i] = fold[group] == round                ? MERT_PROBE_TEST
                      : fold[group] == (round + 1) % f->k ? MERT_PROBE_VALID
                                                          : MERT_PROBE_TRAIN;
    }
    free(fold);
    return 0;
}

static int too_few(int64_t groups, const char *what, int k, mert_error *e)
{
    const char *s = groups == 1 ? "" : "s";
    return mert_fail(e, "%" PRId64 " item%s or group%s%s cannot be divided into %d folds (see --folds)", groups, s, s,
                     what, k);
}

static int find_strata(mert_folds *f, mert_error *e)
{
    const mert_targets *g = f->targets;
    f->stratum = mert_array(g->groups, sizeof *f->stratum);
    if (!f->stratum || (g->task == MERT_PROBE_REGRESS ? rank_means : find_labels)(f->stratum, g)) {
        mert_folds_free(f);
        return mert_fail(e, "out of memory");
    }
    return 0;
}

int mert_folds_make(mert_folds *f, const mert_targets *g, int k, mert_error *e)
{
    int64_t count[MERT_PROBE_OUT + 1] = {0}, to_assign;
    *f = (mert_folds){.targets = g, .k = k, .rounds = g->given ? 1 : k};
    for (int64_t i = 0; i < g->groups; i++)
        count[g->part[i]]++;
    if (g->given && (!count[MERT_PROBE_TRAIN] || !count[MERT_PROBE_TEST]))
        return mert_fail(e, "the split has no features to %s",
                         count[MERT_PROBE_TRAIN] ? "test on (test)" : "train on (train)");
    f->carved = !g->given || !count[MERT_PROBE_VALID];
    to_assign = g->given ? count[MERT_PROBE_TRAIN] : g->groups;
    if (f->carved && to_assign < k)
        return too_few(to_assign, g->given ? " to train on" : "", k, e);
    return find_strata(f, e);
}

int mert_folds_all(mert_folds *f, const mert_targets *g, int k, mert_error *e)
{
    *f = (mert_folds){.targets = g, .k = k, .rounds = 1, .carved = 1, .all = 1};
    return g->groups < k ? too_few(g->groups, "", k, e) : find_strata(f, e);
}

void mert_folds_free(mert_folds *f)
{
    free(f->stratum);
    f->stratum = NULL;
}

int64_t mert_folds_rare(const mert_folds *f)
{
    const mert_targets *g = f->targets;
    int64_t rare = 0, *seen = NULL;
    if (g->task != MERT_PROBE_REGRESS && !g->given)
        seen = mert_array(g->groups, sizeof *seen);
    if (!seen)
        return 0;
    for (int64_t i = 0; i < g->groups; i++)
        seen[i] = -1;
    for (int64_t c = 0; c < g->outputs; c++) {
        int64_t groups = 0;
        for (int64_t i = 0; i < g->n; i++)
            if ((g->label ? g->label[i] == c : g->y[i * g->outputs + c] > 0) && seen[g->group[i]] != c) {
                seen[g->group[i]] = c;
                groups++;
            }
        rare += groups < f->k;
    }
    free(seen);
    return rare;
}
