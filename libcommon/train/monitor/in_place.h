/* What decoding in place costs (mert-train --plan --in-place): a few crops of the corpus are decoded, and timed. */
#ifndef MERT_IN_PLACE_H
#define MERT_IN_PLACE_H

#include "libcommon/train/data/corpus.h"
#include "libcommon/train/recipe/recipe.h"

typedef struct mert_in_place_cost {
    int crops;      /* that were decoded; 0: the corpus is not in place */
    double pace;    /* seconds of audio per second of CPU time */
    double memory;  /* bytes of one decoder, at most */
    int processes;  /* decoders of each process of a run */
} mert_in_place_cost;

/* -1: not one of the crops can be decoded; the error names the first. */
int mert_in_place_measure(mert_in_place_cost *to, const mert_corpus *c, const mert_recipe *r, mert_error *e)
    MERT_MUST_USE;

#endif
