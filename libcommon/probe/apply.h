/* A stage that applies a trained probe and writes a table of predictions (predictions.h). A row is an item: the probe
 * is applied to the mean of the item's frames. Or a row is a span of equal length, or a single frame. Or a row is an
 * item, with the mean of the answers for its spans or frames. Memory does not depend on the length of items: if an item
 * has several rows, they are in a temporary file until the item is complete. So an item that fails has no rows. */
#ifndef MERT_PROBE_APPLY_H
#define MERT_PROBE_APPLY_H

#include "libcommon/probe/trained.h"
#include "libcommon/tensor/stage.h"

typedef struct mert_apply {
    /* set by the caller */
    const mert_trained *probe;
    const char *layer;       /* for the table: the name of the probe's layer */
    int frames;              /* 1: single frames */
    double span;             /* seconds, frames 0: spans [0, span), [span, 2 span) ...; 0: the whole item */
    int per_item;            /* 1: one row for each item, with the mean of the answers for frames or spans */
    int any_settings;        /* mert_trained_check */
    FILE *to;                /* the table, with its head; errors are left to its owner (ferror) */
    /* private */
    mert_feature_input input;
    FILE *held;
    int64_t *at;             /* [layers] where the probe's layers are in a frame */
    double *sum;             /* [layers, D] of the open span's frames */
    float *x, *work, *answers;
    double (*mean)[2];       /* [C] sums of the answers of the item */
    int64_t count, number;   /* frames of the open span; its number */
    int64_t rows;            /* of the item, so far */
} mert_apply;

/* Allocates. */
int mert_apply_make(mert_apply *a, mert_error *e) MERT_MUST_USE;
void mert_apply_free(mert_apply *a);
extern const mert_stage mert_apply_stage;

#endif
