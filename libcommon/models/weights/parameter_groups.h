/* A model's parameters in parts: ranges of the flat array (weights.h) that are used together, and whose gradients are
 * finished together. With N layers:
 *
 *                 a transformer                                               a Conformer
 *     0           mask_emb and the feature extractor                          front end's tables, mask_emb, extractor
 *     1           layer_norm, post_extract_proj, the positional convolution   the subsampler
 *     2 .. N+1    the layers                                                  the blocks
 *     N+2         encoder.layer_norm and the heads                            the heads
 *
 * Encoder and objective ask here where a parameter is, and say before they use a part and after: so someone else can
 * bring the part just in time, drop it again, and send its gradients away while the backward pass goes on
 * (train/parallel/shards.h). They do so in an order that follows from the configuration alone, whatever the batch is
 * and whichever layers LayerDrop leaves out: processes that exchange parts meet.
 *
 * A forward pass needs 0 and 1 (and N+2, with post-LN), then the layers in turn, then N+2. The backward pass begins
 * with N+2, which the caller has needed for the objective, goes through the layers from the last one on, and ends
 * with 1 and 0; it is done with N+2 only after the layers, since with post-LN the norm before the first layer lies
 * there. */
#ifndef MERT_PARTS_H
#define MERT_PARTS_H

#include "libcommon/models/weights/weights.h"

typedef struct mert_part {
    int64_t from, n; /* floats of the flat array */
} mert_part;

typedef struct mert_parts {
    int n;
    mert_part *part;       /* [n] */
    const float **weights; /* [n] device: where each part's first float is; NULL: not there now */
    float **gradients;     /* likewise */
    /* Before a part is used, and after; backward: its gradients are added to as well, and then finished. NULL: nothing
     * is moved. */
    void *keeper;
    void (*need)(void *keeper, int part, int backward);
    void (*done)(void *keeper, int part, int backward);
} mert_parts;

enum { MERT_PART_EXTRACTOR, MERT_PART_PROJECTION, MERT_PART_LAYERS };

static inline int mert_part_last(const mert_parts *p) { return p->n - 1; }

/* The parts of a layout, all there: weights and gradients are flat device arrays (NULL: none). */
int mert_parts_make(mert_parts *p, const mert_layout *l, const float *weights, float *gradients, mert_error *e)
    MERT_MUST_USE;
void mert_parts_free(mert_parts *p);

/* The part that holds the offset, a float of the flat array. */
int mert_parts_find(const mert_parts *p, int64_t offset);

static inline const float *mert_parts_weight(const mert_parts *p, int64_t offset)
{
    int i = mert_parts_find(p, offset);
    return p->weights[i] + (offset - p->part[i].from);
}

static inline float *mert_parts_gradient(const mert_parts *p, int64_t offset)
{
    int i = mert_parts_find(p, offset);
    return p->gradients[i] + (offset - p->part[i].from);
}

static inline void mert_parts_need(const mert_parts *p, int part, int backward)
{
    if (p->need)
        p->need(p->keeper, part, backward);
}

static inline void mert_parts_done(const mert_parts *p, int part, int backward)
{
    if (p->done)
        p->done(p->keeper, part, backward);
}

#endif
