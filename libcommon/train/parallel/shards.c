#include "formats/array.h"
#include "libcommon/train/parallel/shards_state.h"

#include "libcommon/base/integer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static int cut(mert_shards *s, mert_error *e)
{
    s->piece = mert_array_zeroed(s->groups.n, sizeof *s->piece);
    s->number = mert_array_zeroed(s->groups.n, sizeof *s->number);
    if (!s->piece || !s->number)
        return mert_fail(e, "out of memory");
    for (int i = 0; i < s->groups.n; i++) {
        mert_piece *p = &s->piece[i];
        p->n = mert_exchange_piece(s->groups.group[i].n, s->x->ranks, s->x->rank, &p->from);
        p->at = s->own;
        s->own += p->n;
    }
    return 0;
}

static void group_done(void *keeper, int group, int backward);

/* Allocates the flat arrays, and sets pointers into them and the hooks. */
static int lay_out(mert_shards *s, const char *offload, mert_error *e)
{
    int full = s->sharding == MERT_SHARD_FULL;
    int64_t kept = full ? s->own : s->layout->size;
    if (!(s->weights = mert_ops_floats(s->ops, kept)) || !(s->gradients = mert_ops_floats(s->ops, kept)) ||
        !(s->squares = s->ops->alloc(s->ops, sizeof *s->squares)))
        return mert_fail(e, "out of memory for the state of %" PRId64 " parameters", s->layout->elements);
    s->moments = mert_moments_new(s->ops, s->sharding == MERT_SHARD_NONE ? s->layout->size : s->own, offload, e);
    if (!s->moments)
        return -1;
    mert_fill(s->ops, .to = s->gradients, .n = kept);
    if (full)
        return mert_slots_open(s, e);
    for (int i = 0; i < s->groups.n; i++) {
        s->groups.weights[i] = s->weights + s->groups.group[i].from;
        s->groups.gradients[i] = s->gradients + s->groups.group[i].from;
    }
    if (s->x->ranks == 1)
        return 0;
    s->groups.done = group_done;
    if (!s->direct && !(s->staged = mert_array(s->layout->size, sizeof *s->staged)))
        return mert_fail(e, "no memory for the gradients of %" PRId64 " parameters", s->layout->elements);
    return 0;
}

mert_shards *mert_shards_open(const mert_layout *layout, mert_ops *ops, const mert_sharing *sharing,
                              const float *weights, mert_error *e)
{
    mert_shards *s = calloc(1, sizeof *s);
    if (!s) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    s->layout = layout;
    s->ops = ops;
    s->x = sharing->exchange ? sharing->exchange : mert_exchange_alone();
    s->sharding = s->x->ranks > 1 ? sharing->sharding : MERT_SHARD_NONE;
    s->direct = ops->host_memory;
    if (mert_groups_make(&s->groups, layout, NULL, NULL, e) || cut(s, e) ||
        (s->x->ranks > 1 && !(s->queue = mert_exchange_queue_new(s->x, e))) || lay_out(s, sharing->offload, e) ||
        mert_shards_set(s, weights, NULL, NULL, e)) {
        mert_shards_close(s);
        return NULL;
    }
    s->groups.keeper = s;
    return s;
}

void mert_shards_close(mert_shards *s)
{
    if (!s)
        return;
    mert_exchange_queue_free(s->queue);
    mert_slots_close(s);
    mert_groups_free(&s->groups);
    mert_moments_free(s->moments);
    s->ops->release(s->ops, s->weights);
    s->ops->release(s->ops, s->gradients);
    s->ops->release(s->ops, s->squares);
    free(s->staged);
    free(s->piece);
    free(s->number);
    free(s);
}

static int collect(void *exchange, const void *mine, void *all, size_t bytes, mert_error *e)
{
    mert_exchange *x = exchange;
    return x->collect(x, mine, all, bytes, e);
}

int mert_shards_join(mert_shards *s, mert_error *e)
{
    mert_peers others = {.rank = s->x->rank, .ranks = s->x->ranks, .collect = collect, .with = s->x,
                         .arrivals = s->x->arrivals, .limit = s->x->patience};
    int bad = s->x->ranks > 1 && s->ops->join ? s->ops->join(s->ops, &others, e) : 0;
    if (bad || s->x->ranks == 1 || !s->ops->join)
        return bad;
    s->joined = s->direct = 1;
    free(s->staged);
    s->staged = NULL;
    mert_slots_join(s);
    return 0;
}

const mert_groups *mert_shards_groups(const mert_shards *s)
{
    return &s->groups;
}

int mert_shards_check(mert_shards *s, mert_error *e)
{
    if (s->failed)
        *e = s->why;
    return s->failed ? -1 : 0;
}

/* ---- gradients are sent during the backward pass (MERT_SHARD_NONE, MERT_SHARD_OPTIMIZER) ---- */

void mert_shards_batch(mert_shards *s, int last, int silent)
{
    s->last = last;
    s->silent = silent;
}

int mert_shards_together(const mert_shards *s)
{
    return s->sharding == MERT_SHARD_FULL;
}

static void set_out(mert_shards *s, int group)
{
    const mert_group *p = &s->groups.group[group];
    float *data = s->direct ? s->gradients + p->from : s->staged + p->from;
    if (!s->direct) {
        s->ops->download(s->ops, data, s->gradients + p->from, (size_t)p->n * sizeof *data);
        mert_shards_wait(s);
    }
    s->number[group] =
        mert_shards_put(s, s->sharding == MERT_SHARD_NONE ? MERT_ALL_REDUCE : MERT_REDUCE_SCATTER, data, p->n);
}

static void group_done(void *keeper, int group, int backward)
{
    mert_shards *s = keeper;
    if (backward && s->last)
        set_out(s, group);
}

/* Sends what a process without a last batch has not sent yet, in the order of a backward pass. */
static void send_rest(mert_shards *s)
{
    int last = s->groups.n - 1;
    for (int i = last - 1; i >= MERT_GROUP_LAYERS; i--)
        if (!s->number[i])
            set_out(s, i);
    if (!s->number[last])
        set_out(s, last);
    for (int i = MERT_GROUP_PROJECTION; i >= 0; i--)
        if (!s->number[i])
            set_out(s, i);
}

static int arrive(mert_shards *s, mert_error *e)
{
    send_rest(s);
    for (int i = 0; i < s->groups.n; i++) {
        const mert_piece *p = &s->piece[i];
        int64_t from = s->groups.group[i].from, n = s->groups.group[i].n;
        if (mert_shards_await(s, s->number[i], e))
            return -1;
        s->number[i] = 0;
        if (s->sharding == MERT_SHARD_OPTIMIZER) {
            from += p->from;
            n = p->n;
        }
        if (!s->direct)
            s->ops->upload(s->ops, s->gradients + from, s->staged + from, (size_t)n * sizeof *s->staged);
    }
    return s->joined ? 0 : s->ops->wait(s->ops, e);
}

/* ---- the update ---- */

/* The sum over all processes. */
static int sum_squares(mert_shards *s, int spoilt, mert_error *e)
{
    s->ops->download(s->ops, &s->sum_squares, s->squares, sizeof s->sum_squares);
    if (s->ops->wait(s->ops, e))
        return -1;
    if (spoilt)
        s->sum_squares = NAN;
    if (mert_exchange_sum(s->x, &s->sum_squares, 1, e))
        return -1;
    s->ops->upload(s->ops, s->squares, &s->sum_squares, sizeof s->sum_squares);
    return 0;
}

int mert_shards_sum(mert_shards *s, int spoilt, mert_error *e)
{
    if (mert_shards_check(s, e))
        return -1;
    if (s->summed)
        return 0;
    if (s->sharding == MERT_SHARD_FULL)
        mert_slots_settle(s);
    if (s->sharding == MERT_SHARD_FULL ? mert_shards_check(s, e) : s->queue ? arrive(s, e) : 0)
        return -1;
    mert_clear(s->ops, .to = s->squares, .bytes = sizeof *s->squares);
    for (int i = 0; i < s->groups.n; i++)
        mert_sum_squares(s->ops, .sum = s->squares, .x = s->gradients + mert_shards_own(s, i), .n = s->piece[i].n);
    if (s->queue && sum_squares(s, spoilt, e))
        return -1;
    s->summed = 1;
    return 0;
}

const double *mert_shards_squares(const mert_shards *s)
{
    return s->squares;
}

/* Sends each process's pieces of the weights to all. */
static int spread(mert_shards *s, mert_error *e)
{
    int64_t number = 0;
    float *data = s->direct ? s->weights : s->staged;
    for (int i = 0; i < s->groups.n; i++) {
        int64_t from = s->groups.group[i].from + s->piece[i].from;
        if (!s->direct)
            s->ops->download(s->ops, data + from, s->weights + from, (size_t)s->piece[i].n * sizeof *data);
    }
    if (!s->joined && s->ops->wait(s->ops, e))
        return -1;
    for (int i = 0; i < s->groups.n; i++)
        number = mert_shards_put(s, MERT_ALL_GATHER, data + s->groups.group[i].from, s->groups.group[i].n);
    if (mert_shards_await(s, number, e))
        return -1;
    if (!s->direct)
        s->ops->upload(s->ops, s->weights, data, (size_t)s->layout->size * sizeof *data);
    return s->joined ? 0 : s->ops->wait(s->ops, e);
}

/* Of n floats of the flat array from `from` on: how many at their beginning are never trained. */
static int64_t constant(const mert_shards *s, int64_t from, int64_t n)
{
    return mert_smaller(mert_larger(s->layout->constants - from, 0), n);
}

/* n floats of the flat array from `from` on, which this process has at `own` of its arrays, and whose moments are at
 * `at`. */
static int update_range(mert_shards *s, int64_t from, int64_t n, int64_t own, int64_t at, const mert_adam_args *how,
                        const mert_rate *rates, int n_rates, mert_error *e)
{
    int64_t skip = constant(s, from, n);
    if (!n_rates)
        return mert_moments_update(s->moments, at + skip, n - skip, s->weights + own + skip, s->gradients + own + skip,
                                   how, e);
    for (int i = 0; i < n_rates; i++) {
        const mert_rate *r = &rates[i];
        int64_t first = mert_larger(r->from - from, skip), end = mert_smaller(r->from + r->n - from, n);
        mert_adam_args slower = *how;
        slower.lr *= r->factor;
        slower.step *= r->factor;
        if (r->factor > 0 && first < end &&
            mert_moments_update(s->moments, at + first, end - first, s->weights + own + first,
                                s->gradients + own + first, &slower, e))
            return -1;
    }
    return 0;
}

static int update_own(mert_shards *s, const mert_adam_args *how, const mert_rate *rates, int n, mert_error *e)
{
    for (int i = 0; i < s->groups.n; i++) {
        const mert_piece *p = &s->piece[i];
        if (update_range(s, s->groups.group[i].from + p->from, p->n, mert_shards_own(s, i), p->at, how, rates, n, e))
            return -1;
    }
    return s->sharding == MERT_SHARD_OPTIMIZER ? spread(s, e) : 0;
}

int mert_shards_update(mert_shards *s, const mert_adam_args *how, const mert_rate *rates, int n, mert_error *e)
{
    int64_t kept = s->sharding == MERT_SHARD_FULL ? s->own : s->layout->size;
    int bad = 0;
    if (how)
        bad = s->sharding == MERT_SHARD_NONE ? update_range(s, 0, s->layout->size, 0, 0, how, rates, n, e)
                                             : update_own(s, how, rates, n, e);
    mert_slots_forget(s);
    mert_fill(s->ops, .to = s->gradients, .n = kept);
    s->summed = 0;
    return s->ops->wait(s->ops, bad ? NULL : e) ? -1 : bad;
}

/* ---- copies to and from the host ---- */

/* Collects a group of a flat array, of which each process has its own floats on the device, into `to` (host, only this
 * group). */
static int bring(mert_shards *s, int group, const float *own, float *to, mert_error *e)
{
    const mert_piece *p = &s->piece[group];
    s->ops->download(s->ops, to + p->from, own, (size_t)p->n * sizeof *to);
    return s->ops->wait(s->ops, e) ? -1 : s->x->all_gather(s->x, to, s->groups.group[group].n, e);
}

/* Collects all groups into `to`, a flat array (NULL: this process only takes part). */
static int bring_all(mert_shards *s, const float *own, float *to, mert_error *e)
{
    int64_t most = 0;
    float *room = NULL;
    int bad = 0;
    for (int i = 0; i < s->groups.n; i++)
        most = s->groups.group[i].n > most ? s->groups.group[i].n : most;
    if (!to && !(room = mert_array(most, sizeof *room)))
        return mert_fail(e, "out of memory");
    for (int i = 0; !bad && i < s->groups.n; i++)
        bad = bring(s, i, own + mert_shards_own(s, i), to ? to + s->groups.group[i].from : room, e);
    free(room);
    return bad;
}

int mert_shards_get(mert_shards *s, const mert_shards_arrays *to, int here, mert_error *e)
{
    size_t bytes = (size_t)s->layout->size * sizeof(float);
    if (to->gradients && mert_shards_sum(s, 0, e))
        return -1;
    if (to->weights && s->sharding == MERT_SHARD_FULL) {
        if (bring_all(s, s->weights, here ? to->weights : NULL, e))
            return -1;
    } else if (to->weights && here)
        s->ops->download(s->ops, to->weights, s->weights, bytes);
    if (to->gradients && s->sharding != MERT_SHARD_NONE) {
        if (bring_all(s, s->gradients, here ? to->gradients : NULL, e))
            return -1;
    } else if (to->gradients && here)
        s->ops->download(s->ops, to->gradients, s->gradients, bytes);
    return s->ops->wait(s->ops, e);
}

const float *mert_shards_weights(const mert_shards *s)
{
    return s->ops->host_memory && s->sharding != MERT_SHARD_FULL ? s->weights : NULL;
}

int mert_shards_moment(mert_shards *s, int which, int group, float *to, mert_error *e)
{
    const mert_group *p = &s->groups.group[group];
    const mert_piece *own = &s->piece[group];
    float *mine = s->sharding == MERT_SHARD_NONE ? to : to + own->from;
    int64_t at = s->sharding == MERT_SHARD_NONE ? p->from : own->at, n = s->sharding == MERT_SHARD_NONE ? p->n : own->n;
    if (mert_moments_get(s->moments, at, n, which ? NULL : mine, which ? mine : NULL, e))
        return -1;
    return s->sharding == MERT_SHARD_NONE ? 0 : s->x->all_gather(s->x, to, p->n, e);
}

int mert_shards_set(mert_shards *s, const float *weights, const float *m, const float *v, mert_error *e)
{
    int bad = 0;
    for (int i = 0; i < s->groups.n; i++) {
        const mert_group *p = &s->groups.group[i];
        const mert_piece *own = &s->piece[i];
        int64_t from = p->from + own->from;
        if (weights && s->sharding == MERT_SHARD_FULL)
            s->ops->upload(s->ops, s->weights + own->at, weights + from, (size_t)own->n * sizeof *weights);
        else if (weights)
            s->ops->upload(s->ops, s->weights + p->from, weights + p->from, (size_t)p->n * sizeof *weights);
        if ((m || v) && s->sharding == MERT_SHARD_NONE)
            bad |= mert_moments_set(s->moments, p->from, p->n, m ? m + p->from : NULL, v ? v + p->from : NULL, e);
        else if (m || v)
            bad |= mert_moments_set(s->moments, own->at, own->n, m ? m + from : NULL, v ? v + from : NULL, e);
    }
    bad |= s->ops->wait(s->ops, e);
    mert_slots_forget(s);
    return bad;
}
