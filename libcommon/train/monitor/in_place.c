#include "libcommon/train/monitor/in_place.h"

#include "formats/array.h"
#include "libcommon/base/pool.h"
#include "libcommon/train/data/decoders.h"

#include <stdlib.h>

enum { CROPS = 16 };

/* Items from all over the corpus, crops from all over the items: the first ones are near the beginning, the last ones
 * near the end, because of many formats all that is in front is decoded, too. */
static int choose(mert_decoding *to, const mert_corpus *c, int64_t longest, int i, mert_error *e)
{
    const mert_corpus_item *item = &c->items[c->n * (i * 7 % CROPS) / CROPS];
    int64_t n = item->samples < longest ? item->samples : longest;
    *to = (mert_decoding){.path = mert_manifest_item(&c->parts[item->part].manifest, item->row),
                          .whole = item->samples,
                          .first = (item->samples - n) * (2 * i + 1) / (2 * CROPS),
                          .n = n,
                          .to = mert_array(n, sizeof(float))};
    return to->path && to->to ? 0 : mert_fail(e, "out of memory");
}

/* Decodes the crops by one process, and then a single sample of the first file by another: what a start costs, which
 * does not count. */
static int decode(mert_in_place_cost *to, mert_decoding *crops, int64_t rate, double patience, mert_error *e)
{
    mert_decoders_use use = {0}, starting = {0};
    double seconds = 0;
    for (int turn = 0; turn < 2; turn++) {
        mert_decoders *d = mert_decoders_new(1, rate, patience, e);
        mert_decoding one = crops[0];
        int bad;
        one.first = 0;
        one.n = 1;
        bad = !d || (turn ? mert_decoders_run(d, &one, 1, e) : mert_decoders_run(d, crops, CROPS, e));
        mert_decoders_free(d, turn ? &starting : &use);
        if (bad)
            return -1;
    }
    for (int i = 0; i < CROPS; i++)
        if (!crops[i].bad) {
            to->crops++;
            seconds += (double)crops[i].n / (double)rate;
        }
    if (!to->crops)
        return mert_fail(e, "%s: %s", crops[0].path, crops[0].why.text);
    use.cpu -= starting.cpu;
    to->pace = seconds / (use.cpu > 1e-3 ? use.cpu : 1e-3);
    to->memory = (double)use.memory;
    to->processes = mert_pool_threads();
    return 0;
}

int mert_in_place_measure(mert_in_place_cost *to, const mert_corpus *c, const mert_recipe *r, mert_error *e)
{
    mert_decoding crops[CROPS] = {{0}};
    int bad = 0;
    *to = (mert_in_place_cost){0};
    if (!c->config.in_place)
        return 0;
    for (int i = 0; !bad && i < CROPS; i++)
        bad = choose(&crops[i], c, mert_recipe_crop(r, 0), i, e);
    bad = bad || decode(to, crops, c->config.sample_rate, c->config.patience, e);
    for (int i = 0; i < CROPS; i++) {
        free(crops[i].path);
        free(crops[i].to);
    }
    return bad ? -1 : 0;
}
