/* A stage that reads streams of features and collects instances for a table of labels. An instance is one vector per
 * layer for each row of the table: the mean over the item, or over the frames whose middle is inside the span. Or, with
 * `frames`, it is a single frame: a bounded uniform sample that does not depend on the order of items. Memory:
 * instances x layers x width floats, plus the sums of the spans that are open at the same time.
 *
 * hidden [T, layers, D] has several layers; other features [T, ...] have one. All items must have the same kind, width
 * and provenance; an item that differs, or that came before, fails. Items without a row are skipped. */
#ifndef MERT_PROBE_INSTANCES_H
#define MERT_PROBE_INSTANCES_H

#include "libcommon/probe/layers.h"
#include "libcommon/probe/table.h"
#include "libcommon/teachers/features.h"
#include "libcommon/teachers/sample.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_instances {
    /* set by the caller */
    const mert_probe_table *table;
    int frames;                 /* 1: instances are frames */
    int64_t max_frames;         /* the most frames */
    uint64_t seed;              /* of the sample */
    /* Called at the end of the input. -1: the run fails. */
    int (*finish)(void *self, struct mert_instances *in, mert_error *e);
    void *finish_self;
    /* the result, for finish */
    int64_t n, layers, width;   /* width: of one layer */
    float *x;                   /* [n, layers, width] */
    int64_t *row;               /* [n] row of the table; ascending, so that the order of streams does not matter */
    int64_t *frame;             /* [n] with `frames`: the frame's number in its item; otherwise NULL */
    mert_layer_name *layer;     /* [layers]: "0", "6" (--layers 0,6 of mert-encode); the kind if there is one layer */
    char **key;                 /* [rows of the table] the item's key; with a table of stems, where it differs;
                                   otherwise NULL */
    int64_t unknown;            /* number of items in the input that have no row */
    int64_t empty;              /* number of spans without a frame, in items of the input */
    int64_t missing;            /* number of rows whose item was not in the input */
    char first_unknown[MTS_KEY_MAX];
    /* private */
    mert_features features;
    mert_feature_input input;
    mert_sample *sample;
    int64_t room;
    int64_t first, count, next; /* rows of the open item; the next row to open */
    int64_t kept, kept_empty;   /* n and empty at its beginning */
    struct mert_open_span *open;
    int64_t n_open, open_room;
    float *marked;              /* a frame followed by its mark, for the sample */
    char *came;                 /* [rows of the table]: 1 if the item was in the input */
} mert_instances;

extern const mert_stage mert_instances_stage;
/* The key of an instance's item. */
const char *mert_instances_key(const mert_instances *in, int64_t i);
void mert_instances_free(mert_instances *in);

#endif
