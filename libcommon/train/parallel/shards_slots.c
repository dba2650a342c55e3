/* MERT_SHARD_FULL: slots in memory for parts of the model, which are fetched when they are needed and dropped
 * afterwards. Which part is in which slot depends only on the order of the calls, so that all processes exchange the
 * same parts at the same time. */
#include "libcommon/train/parallel/shards_state.h"

#include "formats/array.h"

#include <stdlib.h>
#include <string.h>

static int open_slot(mert_shards *s, mert_slot *slot, int64_t n)
{
    slot->part = -1;
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

/* Until the slot's exchange is done. */
static void wait_for(mert_shards *s, mert_slot *slot)
{
    mert_error e;
    if (slot->number && mert_shards_await(s, slot->number, &e))
        mert_shards_fail(s, &e);
    slot->number = 0;
}

/* The slot with the part, or NULL. */
static mert_slot *holder(mert_slot *slots, int n, int part)
{
    for (int i = 0; i < n; i++)
        if (slots[i].part == part)
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

static mert_slot *fetch(mert_shards *s, int part)
{
    mert_slot *slot = oldest(s->slot, WEIGHT_SLOTS);
    const mert_piece *p = &s->piece[part];
    const float *own = s->weights + mert_shards_own(s, part);
    size_t bytes = (size_t)p->n * sizeof *own;
    if (!slot)
        return NULL;
    wait_for(s, slot);
    slot->part = part;
    slot->used = ++s->clock;
    if (s->direct)
        mert_copy(s->ops, .to = slot->device + p->from, .from = own, .bytes = bytes);
    else
        s->ops->download(s->ops, slot->host + p->from, own, bytes);
    mert_shards_wait(s);
    slot->number = mert_shards_put(s, MERT_ALL_GATHER, slot->host, s->parts.part[part].n);
    return slot;
}

/* The part that is needed after this one; -1: not known. */
static int following(const mert_shards *s, int part, int backward)
{
    if (backward)
        return part - 1;
    return part + 1 < s->parts.n ? part + 1 : -1;
}

static void need_weights(mert_shards *s, int part, int backward)
{
    mert_slot *slot = holder(s->slot, WEIGHT_SLOTS, part);
    int next = following(s, part, backward);
    if (!slot && !(slot = fetch(s, part)))
        abort(); /* a programming error: more parts at a time than models/weights/parameter_groups.h allows */
    slot->busy++;
    slot->used = ++s->clock;
    if (slot->number) {
        wait_for(s, slot);
        if (!s->direct)
            s->ops->upload(s->ops, slot->device, slot->host, (size_t)s->parts.part[part].n * sizeof *slot->host);
        mert_shards_wait(s);
    }
    s->parts.weights[part] = slot->device;
    if (next >= 0 && !holder(s->slot, WEIGHT_SLOTS, next))
        fetch(s, next);
}

static void done_with_weights(mert_shards *s, int part)
{
    mert_slot *slot = holder(s->slot, WEIGHT_SLOTS, part);
    if (slot && slot->busy && !--slot->busy)
        s->parts.weights[part] = NULL;
}

void mert_slots_forget(mert_shards *s)
{
    for (int i = 0; s->sharding == MERT_SHARD_FULL && i < WEIGHT_SLOTS; i++) {
        wait_for(s, &s->slot[i]);
        s->slot[i].part = -1;
        s->slot[i].used = 0;
    }
}

/* ---- gradients ---- */

/* The slot has the sum of own gradients: adds it to those of earlier batches, and frees the slot. */
static void take_in(mert_shards *s, mert_slot *slot)
{
    const mert_piece *p;
    const float *from;
    if (slot->part < 0)
        return;
    wait_for(s, slot);
    p = &s->piece[slot->part];
    from = slot->host + p->from;
    if (!s->direct) {
        s->ops->upload(s->ops, s->arrived, from, (size_t)p->n * sizeof *from);
        from = s->arrived;
    }
    mert_add(s->ops, .to = s->gradients + mert_shards_own(s, slot->part), .from = from, .n = p->n);
    mert_shards_wait(s);
    slot->part = -1;
}

static void need_gradients(mert_shards *s, int part)
{
    mert_slot *slot = oldest(s->gradient_slot, GRADIENT_SLOTS);
    if (!slot)
        abort(); /* the same error */
    take_in(s, slot);
    slot->part = part;
    slot->busy = 1;
    slot->used = ++s->clock;
    mert_fill(s->ops, .to = slot->device, .n = s->parts.part[part].n);
    s->parts.gradients[part] = slot->device;
}

static void done_with_gradients(mert_shards *s, int part)
{
    int64_t n = s->parts.part[part].n;
    for (int i = 0; i < GRADIENT_SLOTS; i++) {
        mert_slot *slot = &s->gradient_slot[i];
        if (slot->part != part || !slot->busy)
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
    s->parts.gradients[part] = NULL;
}

void mert_slots_settle(mert_shards *s)
{
    for (int i = 0; i < GRADIENT_SLOTS; i++)
        take_in(s, &s->gradient_slot[i]);
}

/* ---- both ---- */

static void slots_need(void *keeper, int part, int backward)
{
    need_weights(keeper, part, backward);
    if (backward)
        need_gradients(keeper, part);
}

static void slots_done(void *keeper, int part, int backward)
{
    done_with_weights(keeper, part);
    if (backward)
        done_with_gradients(keeper, part);
}

int mert_slots_open(mert_shards *s, mert_error *e)
{
    int64_t most = 0, most_own = 0;
    int bad = 0;
    for (int i = 0; i < s->parts.n; i++) {
        most = s->parts.part[i].n > most ? s->parts.part[i].n : most;
        most_own = s->piece[i].n > most_own ? s->piece[i].n : most_own;
    }
    for (int i = 0; i < WEIGHT_SLOTS; i++)
        bad |= open_slot(s, &s->slot[i], most);
    for (int i = 0; i < GRADIENT_SLOTS; i++)
        bad |= open_slot(s, &s->gradient_slot[i], most);
    if (!s->direct)
        bad |= !(s->arrived = mert_ops_floats(s->ops, most_own));
    if (bad)
        return mert_fail(e, "no memory for %d parts of the model at once", WEIGHT_SLOTS + GRADIENT_SLOTS);
    s->parts.need = slots_need;
    s->parts.done = slots_done;
    return 0;
}
