#include "libcommon/train/data/level.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>

/* Samples that are read at a time. In place, each piece may decode what is in front of it again. */
enum { PIECE = 1 << 19, PIECE_IN_PLACE = 1 << 24 };

static int64_t piece_of(const mert_corpus *c)
{
    return c->config.in_place ? PIECE_IN_PLACE : PIECE;
}

/* The sum of an item's samples or, with `mean`, of the squares of their differences from it. */
static int sum_up(mert_corpus *c, int64_t item, float *room, const double *mean, double *sum, mert_error *e)
{
    int64_t samples = c->items[item].samples, piece = piece_of(c);
    *sum = 0;
    for (int64_t at = 0; at < samples; at += piece) {
        int64_t n = samples - at < piece ? samples - at : piece;
        if (mert_corpus_audio(c, item, at, n, room, e))
            return -1;
        for (int64_t i = 0; i < n; i++)
            *sum += mean ? ((double)room[i] - *mean) * ((double)room[i] - *mean) : (double)room[i];
    }
    return 0;
}

static int measure(mert_corpus *c, int64_t item, mert_error *e)
{
    int64_t samples = c->items[item].samples, piece = piece_of(c);
    float *room = mert_array(samples < piece ? samples : piece, sizeof *room);
    double n = (double)samples, mean, squares = 0;
    int bad = !room ? mert_fail(e, "out of memory") : sum_up(c, item, room, NULL, &mean, e);
    mean = bad ? 0 : mean / n;
    bad = bad || sum_up(c, item, room, &mean, &squares, e);
    free(room);
    if (bad)
        return -1;
    c->levels[item] = (mert_level){mean, squares / n, 1};
    return 0;
}

int mert_level_crop(mert_corpus *corpus, int64_t item, double eps, float *x, int64_t n, mert_error *e)
{
    int64_t own = item;
    mert_corpus *c = item >= corpus->n ? corpus->replay : corpus;
    double scale;
    (void)mert_corpus_owner(corpus, &own);
    if (!c->levels && !(c->levels = mert_array_zeroed(c->n, sizeof *c->levels)))
        return mert_fail(e, "out of memory");
    if (!c->levels[own].known && measure(c, own, e))
        return -1;
    scale = 1 / sqrt(c->levels[own].variance + eps);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(((double)x[i] - c->levels[own].mean) * scale);
    return 0;
}
