#include "libcommon/train/cqt_device.h"

#include "libcommon/dsp/cqt_taps.h"
#include "libcommon/train/targets.h"

#include <stdlib.h>

/* Operations for each sample of the audio, at most: about a hundredth of those of a 95M model. */
static const double MOST_WORK = 32000;

struct mert_cqt_device {
    const mert_config *c;
    mert_ops *ops;
    int64_t hop;
    int levels, groups;
    float *taps, *lowpass;  /* on the device, as the groups */
    mert_cqt_group *group;
    size_t bytes;
    float floor;
};

double mert_cqt_device_work(const mert_config *c, const mert_ops *ops)
{
    mert_cqt_config q;
    double work;
    if (!c->cqt_target_bins || !ops->cqt)
        return 0;
    q = mert_train_cqt(c);
    if (mert_cqt_check(&q, NULL))
        return 0; /* targets.h says why */
    work = mert_cqt_taps_work(&q, MERT_CQT_LANES, MERT_CQT_TAPS);
    return work <= MOST_WORK * q.hop ? work : 0;
}

/* A copy on the device, which is complete after the next wait. NULL: out of memory. */
static void *put(mert_cqt_device *t, const void *host, size_t bytes)
{
    void *p = t->ops->alloc(t->ops, bytes);
    if (p)
        t->ops->upload(t->ops, p, host, bytes);
    t->bytes += bytes;
    return p;
}

static int upload(mert_cqt_device *t, const mert_cqt_taps *taps, mert_error *e)
{
    mert_cqt_group *group = calloc((size_t)taps->groups, sizeof *group);
    int bad = !group;
    for (int i = 0; i < taps->groups && !bad; i++) {
        const mert_cqt_taps_group *g = &taps->group[i];
        group[i] = (mert_cqt_group){.at = g->at, .level = g->level, .first = (int32_t)g->first,
                                    .taps = (int32_t)g->taps, .bin = g->bin, .bins = g->bins};
    }
    t->levels = taps->levels;
    t->groups = taps->groups;
    bad = bad || !(t->group = put(t, group, (size_t)taps->groups * sizeof *group)) ||
          !(t->taps = put(t, taps->floats, (size_t)taps->n * sizeof *taps->floats)) ||
          !(t->lowpass = put(t, taps->lowpass, sizeof taps->lowpass));
    bad = bad ? mert_fail(e, "out of memory for the tables of the CQT target") : t->ops->wait(t->ops, e);
    free(group);
    return bad;
}

mert_cqt_device *mert_cqt_device_new(const mert_config *c, mert_ops *ops, mert_error *e)
{
    mert_cqt_device *t = calloc(1, sizeof *t);
    mert_cqt_config q = mert_train_cqt(c);
    mert_cqt_taps taps = {0};
    int bad;
    if (!t) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    t->c = c;
    t->ops = ops;
    t->hop = q.hop;
    t->floor = (float)q.log_floor;
    bad = mert_cqt_taps_make(&taps, &q, MERT_CQT_LANES, MERT_CQT_TAPS, e) || upload(t, &taps, e);
    mert_cqt_taps_free(&taps);
    if (!bad)
        return t;
    mert_cqt_device_free(t);
    return NULL;
}

void mert_cqt_device_free(mert_cqt_device *t)
{
    if (!t)
        return;
    t->ops->release(t->ops, t->taps);
    t->ops->release(t->ops, t->lowpass);
    t->ops->release(t->ops, t->group);
    free(t);
}

size_t mert_cqt_device_memory(const mert_cqt_device *t)
{
    return t ? t->bytes : 0;
}

/* The next level's signal: with every sample that the filter can make different from 0. */
static int decimate(const mert_cqt_device *t, mert_arena *arena, int64_t B, const mert_cqt_signal *from,
                    mert_cqt_signal *to)
{
    int64_t half = MERT_CQT_TAPS_HALF, last = from->first + from->n - 1;
    float *y;
    to->first = -((half - from->first) / 4);
    to->n = (last + half) / 4 - to->first + 1;
    to->x = y = mert_arena_floats(arena, B * to->n);
    if (!y)
        return -1;
    mert_decimate(t->ops, .y = y, .x = from->x, .h = t->lowpass, .B = B, .n = from->n, .N = to->n,
                  .shift = from->first - 4 * to->first, .half = half);
    return 0;
}

const float *mert_cqt_device_run(mert_cqt_device *t, mert_arena *arena, int64_t B, int64_t L, int64_t T, int64_t S,
                                 const int32_t *rows, const float *clips)
{
    static const mert_cqt_log forms[] = {[MERT_TARGET_MAGNITUDE] = MERT_CQT_PLAIN, [MERT_TARGET_LOG] = MERT_CQT_LN,
                                         [MERT_TARGET_LOG_POWER] = MERT_CQT_LOG10};
    const mert_config *c = t->c;
    int standardised = c->cqt_target_std != 0;
    float *y = mert_arena_floats(arena, S * c->cqt_target_bins);
    mert_cqt_args a = {.y = y, .groups = t->group, .taps = t->taps, .rows = rows, .n = t->groups, .S = S, .T = T,
                       .hop = t->hop, .bins = c->cqt_target_bins, .form = forms[c->cqt_target_form],
                       .floor = t->floor, .mean = standardised ? (float)c->cqt_target_mean : 0,
                       .scale = standardised ? (float)(1 / c->cqt_target_std) : 1};
    a.signal[0] = (mert_cqt_signal){clips, L, 0};
    for (int v = 1; v < t->levels; v++)
        if (decimate(t, arena, B, &a.signal[v - 1], &a.signal[v]))
            return NULL;
    if (y)
        t->ops->run(t->ops, MERT_OP_CQT, &a, sizeof a);
    return y;
}
