/* Pickles. */
#include "tests/fuzz/fuzz.h"

#include "formats/checkpoint/pickle.h"

/* Visits values to a bounded depth, because they may be shared and form cycles. */
static int64_t walk(mert_pickle_value *v, int depth, int64_t budget)
{
    if (!v || depth > 64 || v->visiting || budget <= 0)
        return budget;
    budget--;
    v->visiting = 1;
    switch (v->type) {
    case MERT_P_LIST:
    case MERT_P_TUPLE:
    case MERT_P_SET:
    case MERT_P_DICT:
    case MERT_P_PERSISTENT:
        for (size_t i = 0; i < v->size; i++)
            budget = walk(v->items[i], depth + 1, budget);
        break;
    case MERT_P_OBJECT:
        budget = walk(v->args, depth + 1, budget);
        budget = walk(v->state, depth + 1, budget);
        budget = walk(v->list, depth + 1, budget);
        budget = walk(v->dict, depth + 1, budget);
        break;
    default:
        break;
    }
    v->visiting = 0;
    return budget;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used = 0, n;
    mert_error e;
    mert_pickle_value **list;
    mert_pickle *p = mert_pickle_read(data, size, &used, &e);
    if (!p)
        return 0;
    FUZZ_CHECK(used <= size && mert_pickle_root(p));
    walk(mert_pickle_root(p), 0, 10000);
    mert_pickle_get(mert_pickle_root(p), "model");
    n = mert_pickle_persistents(p, &list);
    FUZZ_CHECK(n <= size);
    mert_pickle_free(p);
    return 0;
}
