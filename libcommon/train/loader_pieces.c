/* The plan by which the examples of a task are evaluated. */
#include "libcommon/train/loader.h"

#include "formats/array.h"

#include <stdlib.h>

typedef struct piece {
    int64_t item, number, size;
} piece;

static int larger_first(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* How many pieces an item is heard in, of so many samples each, whole frames if there are several; 0: none. */
static int64_t divide(const mert_corpus *c, const mert_config *model, int64_t samples, int64_t longest, int64_t *size)
{
    int64_t n = (samples + longest - 1) / longest, stride = c->config.stride;
    *size = n > 1 ? samples / n / stride * stride : samples;
    return mert_config_frames(model, *size) > 0 ? n : 0;
}

static int make_batches(mert_epoch_plan *p, const piece *all, int64_t n, const mert_recipe *r)
{
    p->crops = mert_array(n, sizeof *p->crops);
    p->batches = mert_array(n, sizeof *p->batches);
    if (!p->crops || !p->batches)
        return -1;
    p->crops_n = n;
    for (int64_t i = 0; i < n; i++) {
        struct mert_epoch_plan_batch *b = p->n ? &p->batches[p->n - 1] : NULL;
        p->crops[i] = (mert_crop){.item = all[i].item, .number = all[i].number};
        if (b && b->L == all[i].size && (b->B + 1) * b->L <= r->max_tokens)
            b->B++;
        else
            p->batches[p->n++] = (struct mert_epoch_plan_batch){i, 1, all[i].size};
    }
    return 0;
}

int mert_plan_pieces(mert_epoch_plan *p, const mert_corpus *c, const mert_recipe *r, const mert_config *model,
                     mert_error *e)
{
    int64_t n = 0, size;
    piece *all;
    int bad;
    *p = (mert_epoch_plan){0};
    for (int64_t i = 0; i < c->n; i++)
        n += divide(c, model, c->items[i].samples, r->max_sample_size, &size);
    if (!(all = mert_array(n, sizeof *all)))
        return mert_fail(e, "out of memory for %lld pieces of items", (long long)n);
    n = 0;
    for (int64_t i = 0; i < c->n; i++) {
        int64_t pieces = divide(c, model, c->items[i].samples, r->max_sample_size, &size);
        p->too_short += !pieces;
        for (int64_t k = 0; k < pieces; k++)
            all[n++] = (piece){i, k, size};
    }
    if (n)
        qsort(all, (size_t)n, sizeof *all, larger_first);
    bad = make_batches(p, all, n, r);
    free(all);
    if (bad)
        mert_epoch_plan_free(p);
    return bad ? mert_fail(e, "out of memory for %lld pieces of items", (long long)n) : 0;
}
