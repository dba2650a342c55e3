/* MERT_SHARD_FULL: slots in memory for groups of the model, which are fetched when they are needed and dropped
 * afterwards. Which group is in which slot depends only on the order of the calls, so that all processes exchange the
 * same groups at the same time. */
#include "libcommon/train/parallel/shards_state.h"

#include "formats/array.h"

#include <stdlib.h>
#include <string.h>

static int open_slot(mert_shards *s, mert_slot *slot, int64_t n)
{
    slot->group = -1;
    if (!(slot->device = mert_ops_floats(s->ops, n)))
        return -1;
    slot->host = s->direct ? slot->device : mert_array(n, sizeof *slot->host);
    return slot->host ? 0 : -1;
}

static void close_slot(mert_shards *s, mert_slot *slot)
{
    if (slot->host != slot->device)
        free(slot->host);
    s->ops->release(s->ops, slot->device);
}

void mert_slots_close(mert_shards *s)
{
    for (int i = 0; i < WEIGHT_SLOTS; i++)
        close_slot(s, &s->slot[i]);
    for (int i = 0; i < GRADIENT_SLOTS; i++)
        close_slot(s, &s->gradient_slot[i]);
    s->ops->release(s->ops, s->arrived);
}

void mert_slots_join(mert_shards *s)
{
    mert_slot *slot;
    for (int i = 0; s->sharding == MERT_SHARD_FULL && i < WEIGHT_SLOTS + GRADIENT_SLOTS; i++) {
        slot = i < WEIGHT_SLOTS ? &s->slot[i] : &s->gradient_slot[i - WEIGHT_SLOTS];
        if (slot->host != slot->device)
            free(slot->host);
        slot->host = slot->device;
    }
    s->ops->release(s->ops, s->arrived);
    s->arrived = NULL;
}

/* Waits until the slot's exchange is done. */
static void wait_for(mert_shards *s, mert_slot *slot)
{
    mert_error e;
    if (slot->number && mert_shards_await(s, slot->number, &e))
        mert_shards_fail(s, &e);
    slot->number = 0;
}

/* The slot with the group, or NULL. */
static mert_slot *holder(mert_slot *slots, int n, int group)
{
    for (int i = 0; i < n; i++)
        if (slots[i].group == group)
            return &slots[i];
    return NULL;
}

/* A slot that is not busy: an empty one, or the least recently used one. */
static mert_slot *oldest(mert_slot *slots, int n)
{
    mert_slot *found = NULL;
    for (int i = 0; i < n; i++)
        if (!slots[i].busy && (!found || slots[i].used < found->used))
            found = &slots[i];
    return found;
}

/* ---- weights ---- */

static mert_slot *fetch(mert_shards *s, int group)
{
    mert_slot *slot = oldest(s->slot, WEIGHT_SLOTS);
    const mert_piece *p = &s->piece[group];
    const float *own = s->weights + mert_shards_own(s, group);
    size_t bytes = (size_t)p->n * sizeof *own;
    if (!slot)
        return NULL;
    wait_for(s, slot);
    slot->group = group;
    slot->used = ++s->clock;
    if (s->direct)
        mert_copy(s->ops, .to = slot->device + p->from, .from = own, .bytes = bytes);
    else
        s->ops->download(s->ops, slot->host + p->from, own, bytes);
    mert_shards_wait(s);
    slot->number = mert_shards_put(s, MERT_ALL_GATHER, slot->host, s->groups.group[group].n);
    return slot;
}

/* The group that is needed after this one; -1: not known. */
static int following(const mert_shards *s, int group, int backward)
{
    if (backward)
        return group - 1;
    return group + 1 < s->groups.n ? group + 1 : -1;
}

static void need_weights(mert_shards *s, int group, int backward)
{
    mert_slot *slot = holder(s->slot, WEIGHT_SLOTS, group);
    int next = following(s, group, backward);
    if (!slot && !(slot = fetch(s, group)))
        abort(); /* a programming error: more groups at a time than models/weights/parameter_groups.h allows */
    slot->busy++;
    slot->used = ++s->clock;
    if (slot->number) {
        wait_for(s, slot);
        if (!s->direct)
            s->ops->upload(s->ops, slot->device, slot->host, (size_t)s->groups.group[group].n * sizeof *slot->host);
        mert_shards_wait(s);
    }
    s->groups.weights[group] = slot->device;
    if (next >= 0 && !holder(s->slot, WEIGHT_SLOTS, next))
        fetch(s, next);
}

static void done_with_weights(mert_shards *s, int group)
{
    mert_slot *slot = holder(s->slot, WEIGHT_SLOTS, group);
    if (slot && slot->busy && !--slot->busy)
        s->groups.weights[group] = NULL;
}

void mert_slots_forget(mert_shards *s)
{
    for (int i = 0; s->sharding == MERT_SHARD_FULL && i < WEIGHT_SLOTS; i++) {
        wait_for(s, &s->slot[i]);
        s->slot[i].group = -1;
        s->slot[i].used = 0;
    }
}

/* ---- gradients ---- */

/* The slot has the sum of own gradients: adds it to those of earlier batches, and frees the slot. */
static void take_in(mert_shards *s, mert_slot *slot)
{
    const mert_piece *p;
    const float *from;
    if (slot->group < 0)
        return;
    wait_for(s, slot);
    p = &s->piece[slot->group];
    from = slot->host + p->from;
    if (!s->direct) {
        s->ops->upload(s->ops, s->arrived, from, (size_t)p->n * sizeof *from);
        from = s->arrived;
    }
    mert_add(s->ops, .to = s->gradients + mert_shards_own(s, slot->group), .from = from, .n = p->n);
    mert_shards_wait(s);
    slot->group = -1;
}

static void need_gradients(mert_shards *s, int group)
{
    mert_slot *slot = oldest(s->gradient_slot, GRADIENT_SLOTS);
    if (!slot)
        abort(); /* the same error */
    take_in(s, slot);
    slot->group = group;
    slot->busy = 1;
    slot->used = ++s->clock;
    mert_fill(s->ops, .to = slot->device, .n = s->groups.group[group].n);
    s->groups.gradients[group] = slot->device;
}

static void done_with_gradients(mert_shards *s, int group)
{
    int64_t n = s->groups.group[group].n;
    for (int i = 0; i < GRADIENT_SLOTS; i++) {
        mert_slot *slot = &s->gradient_slot[i];
        if (slot->group != group || !slot->busy)
            continue;
        if (s->silent)
            mert_fill(s->ops, .to = slot->device, .n = n);
        if (!s->direct)
            s->ops->download(s->ops, slot->host, slot->device, (size_t)n * sizeof *slot->host);
        mert_shards_wait(s);
        slot->number = mert_shards_put(s, MERT_REDUCE_SCATTER, slot->host, n);
        slot->busy = 0;
        slot->used = ++s->clock;
    }
    s->groups.gradients[group] = NULL;
}

void mert_slots_settle(mert_shards *s)
{
    for (int i = 0; i < GRADIENT_SLOTS; i++)
        take_in(s, &s->gradient_slot[i]);
}

/* ---- both ---- */

static void slots_need(void *keeper, int group, int backward)
{
    need_weights(keeper, group, backward);
    if (backward)
        need_gradients(keeper, group);
}

static void slots_done(void *keeper, int group, int backward)
{
    done_with_weights(keeper, group);
    if (backward)
        done_with_gradients(keeper, group);
}

int mert_slots_open(mert_shards *s, mert_error *e)
{
    int64_t most = 0, most_own = 0;
    int bad = 0;
    for (int i = 0; i < s->groups.n; i++) {
        most = s->groups.group[i].n > most ? s->groups.group[i].n : most;
        most_own = s->piece[i].n > most_own ? s->piece[i].n : most_own;
    }
    for (int i = 0; i < WEIGHT_SLOTS; i++)
        bad |= open_slot(s, &s->slot[i], most);
    for (int i = 0; i < GRADIENT_SLOTS; i++)
        bad |= open_slot(s, &s->gradient_slot[i], most);
    if (!s->direct)
        bad |= !(s->arrived = mert_ops_floats(s->ops, most_own));
    if (bad)
        return mert_fail(e, "no memory for %d groups of the model at once", WEIGHT_SLOTS + GRADIENT_SLOTS);
    s->groups.need = slots_need;
    s->groups.done = slots_done;
    return 0;
}
