/* A model's parameters in groups (here: parts). A part is a range of the flat array (weights.h) whose parameters are
 * used together, and whose gradients are complete at the same time. With N layers:
 *
 *                 a transformer                                               a Conformer
 *     0           mask_emb and the feature extractor                          front end's tables, mask_emb, extractor
 *     1           layer_norm, post_extract_proj, the positional convolution   the subsampler
 *     2 .. N+1    the layers                                                  the blocks
 *     N+2         encoder.layer_norm and the heads                            the heads
 *
 * Encoder and objective get the address of a parameter from here. They call mert_parts_need before they use a part and
 * mert_parts_done afterwards. So with several processes a part can be fetched just in time and dropped again, and its
 * gradients can be sent while the backward pass goes on (train/parallel/shards.h). The order of these calls follows
 * from the configuration alone. It does not depend on the batch or on the layers that LayerDrop skips, so all processes
 * exchange the same part at the same time.
 *
 * A forward pass needs parts 0 and 1 (with post-LN also N+2), then the layers in order, then N+2. A backward pass
 * begins with N+2, which the caller already needs for the objective. Then it goes through the layers from the last to
 * the first, and ends with 1 and 0. It is done with N+2 only after the layers, because with post-LN this part has the
 * norm before the first layer. */
#ifndef MERT_PARTS_H
#define MERT_PARTS_H

#include "libcommon/models/weights/weights.h"

typedef struct mert_part {
    int64_t from, n; /* floats of the flat array */
} mert_part;

typedef struct mert_parts {
    int n;
    mert_part *part;       /* [n]; a part is a range of floats of the flat array */
    const float **weights; /* [n] device: address of the first float of each part; NULL: the part is not in memory
                              now */
    float **gradients;     /* the same for gradients */
    /* Called before a part is used, and afterwards. backward 1: gradients are added, too, and are complete when done is
     * called. NULL: all parts stay where they are. */
    void *keeper;
    void (*need)(void *keeper, int part, int backward);
    void (*done)(void *keeper, int part, int backward);
} mert_parts;

enum { MERT_PART_EXTRACTOR, MERT_PART_PROJECTION, MERT_PART_LAYERS };

static inline int mert_part_last(const mert_parts *p) { return p->n - 1; }

/* The parts of a layout, all in memory: weights and gradients are flat device arrays (NULL: none). */
int mert_parts_make(mert_parts *p, const mert_layout *l, const float *weights, float *gradients, mert_error *e)
    MERT_MUST_USE;
void mert_parts_free(mert_parts *p);

/* The part that contains this offset in the flat array. */
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
