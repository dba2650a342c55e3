/* Features meet labels: streams of features flow in (a stage of program/filter.h), and what stays is one vector per
 * layer for each row of the table: the mean over the item, or over the frames whose middle lies in the span. Or
 * (frames) frames themselves, a bounded uniform sample that does not depend on the order of items. Memory: instances x
 * layers x width floats, and the sums of the spans that are open at one time.
 *
 * hidden [T, layers, D] has so many layers; any other features [T, ...] count as one. Items must be of one kind, width
 * and making: one that is not, or that came before, fails as an item. Items without a row are passed over. */
#ifndef MERT_PROBE_INSTANCES_H
#define MERT_PROBE_INSTANCES_H

#include "libcommon/probe/table.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/sample.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_instances {
    /* the caller's, before the run */
    const mert_probe_table *table;
    int frames;                 /* instances are frames */
    int64_t max_frames;         /* of these at most */
    uint64_t seed;              /* of their choice */
    /* All came in. -1: the run is broken. */
    int (*finish)(void *self, struct mert_instances *in, mert_error *e);
    void *finish_self;
    /* what came of it, for finish */
    int64_t n, layers, width;   /* width: of one layer */
    float *x;                   /* [n, layers, width] */
    int64_t *row;               /* [n], of the table; ascending, so that the order of streams does not matter */
    char (*layer)[MTS_KIND_MAX]; /* [layers]: "0", "6" (--layers 0,6 of mert-encode); the kind where there is one */
    int64_t unknown;            /* items without a row */
    int64_t empty;              /* spans of items that came, without a frame in them */
    int64_t missing;            /* rows whose item did not come */
    char first_unknown[MTS_KEY_MAX];
    /* its own */
    mert_features features;
    mert_feature_input input;
    mert_sample *sample;
    int64_t room;
    int64_t first, count, next; /* rows of the open item; the next to open */
    int64_t kept, kept_empty;   /* n and empty when it began */
    struct mert_open_span *open;
    int64_t n_open, open_room;
    float *marked;              /* a frame with its row behind it, for the sample */
    char *came;                 /* by row of the table */
} mert_instances;

extern const mert_stage mert_instances_stage;
void mert_instances_free(mert_instances *in);

#endif
