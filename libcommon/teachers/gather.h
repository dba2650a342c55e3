/* A stage that gathers: features flow in, a bounded uniform sample of their frames (sample.h) is what training then
 * works on. All items must be of one kind, width, rate and making; one that is not fails as an item, and so does one
 * that came before: the same row of the same manifest, or of the same input.
 *
 *     mert_gather g = {.seed = seed, .finish = train, .finish_self = &mine};
 *     mert_filter f = {.stage = &mert_gather_stage, .self = &g, .no_output = 1};
 *     status = mert_filter_run(&f, argv, argc);
 *     mert_gather_free(&g); */
#ifndef MERT_GATHER_H
#define MERT_GATHER_H

#include "libcommon/base/set.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/sample.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_gather {
    uint64_t seed;
    int64_t stack;      /* frames that make one row of the sample; 0: 1 */
    int64_t max_frames; /* rows kept; 0: what 1 GiB holds */
    int64_t least;      /* but at least so many; beyond 1, frames that are all the same are refused */
    /* All came in: x [n, stack * width] of `seen` rows, may be overwritten. -1: the run is broken. */
    int (*finish)(void *self, const mert_features *f, float *x, int64_t n, int64_t seen, mert_error *e);
    void *finish_self;
    /* its own */
    mert_features features;
    mert_feature_input input;
    mert_stack rows;
    mert_sample *sample;
    mert_set came;
} mert_gather;

extern const mert_stage mert_gather_stage;
void mert_gather_free(mert_gather *g);

#endif
