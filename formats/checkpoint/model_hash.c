#include "formats/checkpoint/model_hash.h"
#include "formats/stream/mts.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const mert_named_values *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Sorting needs memory for n pointers. Without it, each next name is searched for: slower, with the same hash. */
static const mert_named_values *next_after(const mert_named_values *tensors, size_t n, const mert_named_values *last)
{
    const mert_named_values *best = NULL;
    for (size_t i = 0; i < n; i++)
        if ((!last || strcmp(tensors[i].name, last->name) > 0) && (!best || strcmp(tensors[i].name, best->name) < 0))
            best = &tensors[i];
    return best;
}

uint64_t mert_model_hash_each(const mert_named_values *tensors, size_t n,
                              void (*done)(void *self, const mert_named_values *t), void *self)
{
    const mert_named_values **sorted = calloc(n ? n : 1, sizeof *sorted), *t = NULL;
    mts_xxh64_state s;
    mts_xxh64_begin(&s, 0);
    for (size_t i = 0; sorted && i < n; i++)
        sorted[i] = &tensors[i];
    if (sorted)
        qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 0; i < n; i++) {
        t = sorted ? sorted[i] : next_after(tensors, n, t);
        if (!t)
            break;
        mts_xxh64_add(&s, t->name, strlen(t->name) + 1);
        mts_xxh64_add(&s, t->values, (size_t)t->n * sizeof *t->values);
        if (done)
            done(self, t);
    }
    free(sorted);
    return mts_xxh64_end(&s, 0);
}

uint64_t mert_model_hash(const mert_named_values *tensors, size_t n)
{
    return mert_model_hash_each(tensors, n, NULL, NULL);
}
