#include "libcommon/teachers/sample.h"

#include "formats/array.h"
#include "libcommon/base/random.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    uint64_t priority, item;
    int64_t frame;
    int64_t slot; /* row of the data */
} entry;

struct mert_sample {
    int64_t d, max, n, room;
    uint64_t seed;
    entry *entries;    /* while `heap`: a heap, the highest priority on top */
    float *data;
    int heap;
    uint64_t item;
    int64_t frame;     /* number of the open item's next frame */
    int64_t seen;
};

mert_sample *mert_sample_new(int64_t d, int64_t max_frames, uint64_t seed)
{
    mert_sample *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->d = d;
    s->max = max_frames;
    s->seed = seed;
    return s;
}

void mert_sample_free(mert_sample *s)
{
    if (!s)
        return;
    free(s->entries);
    free(s->data);
    free(s);
}

void mert_sample_begin(mert_sample *s, uint64_t item)
{
    s->item = item;
    s->frame = 0;
}

static int compare(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->item != b->item)
        return a->item < b->item ? -1 : 1;
    return (a->frame > b->frame) - (a->frame < b->frame);
}

static void sift_down(mert_sample *s, int64_t i)
{
    entry moving = s->entries[i];
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= s->n)
            break;
        if (child + 1 < s->n && compare(&s->entries[child + 1], &s->entries[child]) > 0)
            child++;
        if (compare(&s->entries[child], &moving) <= 0)
            break;
        s->entries[i] = s->entries[child];
        i = child;
    }
    s->entries[i] = moving;
}

static int grow(mert_sample *s, mert_error *e)
{
    int64_t room = s->room ? s->room * 2 : 4096;
    entry *entries;
    float *data;
    if (room > s->max)
        room = s->max;
    entries = mert_array_resize(s->entries, room, sizeof *entries);
    if (entries)
        s->entries = entries;
    data = entries ? mert_array_resize(s->data, mert_array_count(room, s->d), sizeof *data) : NULL;
    if (!data)
        return mert_fail(e, "out of memory: a sample of %" PRId64 " frames of %" PRId64 " values does not fit "
                         "(see --max-frames)",
                         room, s->d);
    s->data = data;
    s->room = room;
    return 0;
}

int mert_sample_add(mert_sample *s, const float *frames, int64_t n, mert_error *e)
{
    mert_random key = mert_random_key(s->seed, MERT_FOR_SAMPLE, s->item, 0, 0);
    size_t bytes = (size_t)s->d * sizeof(float);
    for (int64_t i = 0; i < n; i++, s->frame++) {
        uint32_t w[4];
        entry x = {.item = s->item, .frame = s->frame};
        mert_random_block(&key, (uint32_t)s->frame, w);
        x.priority = (uint64_t)w[0] << 32 | w[1];
        s->seen++;
        if (s->n < s->max) {
            if (s->n == s->room && grow(s, e))
                return -1;
            x.slot = s->n;
            s->entries[s->n++] = x;
        } else {
            if (!s->heap) {
                for (int64_t j = s->n / 2; j-- > 0;)
                    sift_down(s, j);
                s->heap = 1;
            }
            if (compare(&x, &s->entries[0]) >= 0)
                continue;
            x.slot = s->entries[0].slot;
            s->entries[0] = x;
            sift_down(s, 0);
        }
        memcpy(s->data + x.slot * s->d, frames + i * s->d, bytes);
    }
    return 0;
}

void mert_sample_drop(mert_sample *s)
{
    int64_t kept = 0, last = s->n;
    s->seen -= s->frame;
    s->frame = 0;
    for (int64_t i = 0; i < s->n; i++)
        kept += s->entries[i].item != s->item;
    if (kept == s->n)
        return;
    /* Moves rows after `kept` into free rows. by_slot: the entry of each row, -1: dropped. */
    int64_t *by_slot = mert_array(s->n, sizeof *by_slot);
    if (by_slot) {
        for (int64_t i = 0; i < s->n; i++)
            by_slot[s->entries[i].slot] = s->entries[i].item == s->item ? -1 : i;
        for (int64_t free_slot = 0; free_slot < kept; free_slot++) {
            if (by_slot[free_slot] >= 0)
                continue;
            while (by_slot[--last] < 0)
                ;
            s->entries[by_slot[last]].slot = free_slot;
            memcpy(s->data + free_slot * s->d, s->data + last * s->d, (size_t)s->d * sizeof(float));
        }
        kept = 0;
        for (int64_t i = 0; i < s->n; i++)
            if (s->entries[i].item != s->item)
                s->entries[kept++] = s->entries[i];
        s->n = kept;
        s->heap = 0;
        free(by_slot);
    }
}

int64_t mert_sample_seen(const mert_sample *s)
{
    return s->seen;
}

float *mert_sample_finish(mert_sample *s, int64_t *n, mert_error *e)
{
    float *row = mert_array(s->d, sizeof(float));
    size_t bytes = (size_t)s->d * sizeof(float);
    if (!row) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    if (s->n)
        qsort(s->entries, (size_t)s->n, sizeof *s->entries, compare);
    /* Moves slot entries[i].slot to row i, following each cycle of the permutation once. */
    for (int64_t start = 0; start < s->n; start++) {
        int64_t to = start, from = s->entries[start].slot;
        if (from == start)
            continue;
        memcpy(row, s->data + start * s->d, bytes);
        while (from != start) {
            memcpy(s->data + to * s->d, s->data + from * s->d, bytes);
            s->entries[to].slot = to;
            to = from;
            from = s->entries[to].slot;
        }
        memcpy(s->data + to * s->d, row, bytes);
        s->entries[to].slot = to;
    }
    free(row);
    *n = s->n;
    return s->data;
}
