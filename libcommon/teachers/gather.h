/* A stage that collects a bounded uniform sample of feature frames (sample.h) for training. All items must have the
 * same kind, width, rate and provenance; an item that differs fails, and so does one that came before (the same row of
 * the same manifest, or of the same input).
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
    int64_t stack;      /* frames per row of the sample; 0: 1 */
    int64_t max_frames; /* the most rows; 0: as many as fit in 1 GiB */
    int64_t least;      /* the fewest rows; > 1: a sample of equal frames is refused */
    /* Called at the end of the input: x [n, stack * width], a sample of `seen` rows; may be overwritten. -1: the run
     * fails. */
    int (*finish)(void *self, const mert_features *f, float *x, int64_t n, int64_t seen, mert_error *e);
    void *finish_self;
    /* private */
    mert_features features;
    mert_feature_input input;
    mert_stack rows;
    mert_sample *sample;
    mert_set came;
} mert_gather;

extern const mert_stage mert_gather_stage;
void mert_gather_free(mert_gather *g);

#endif
