/* A model's parameters in groups. A group is a range of the flat array (weights.h) whose parameters are used
 * together, and whose gradients are complete at the same time. With N layers:
 *
 *                 a transformer                                               a Conformer
 *     0           mask_emb and the feature extractor                          front end's tables, mask_emb, extractor
 *     1           layer_norm, post_extract_proj, the positional convolution   the subsampler
 *     2 .. N+1    the layers                                                  the blocks
 *     N+2         encoder.layer_norm and the heads                            the heads
 *
 * Encoder and objective get the address of a parameter from here. They call mert_groups_need before they use a
 * group and mert_groups_done afterwards. So with several processes a group can be fetched just in time and dropped
 * again, and its gradients can be sent while the backward pass goes on (train/parallel/shards.h). The order of these
 * calls follows from the configuration alone. It does not depend on the batch or on the layers that LayerDrop skips, so
 * all processes exchange the same group at the same time.
 *
 * A forward pass needs groups 0 and 1 (with post-LN also N+2), then the layers in order, then N+2. A backward pass
 * begins with N+2, which the caller already needs for the objective. Then it goes through the layers from the last to
 * the first, and ends with 1 and 0. It is done with N+2 only after the layers, because with post-LN this group has the
 * norm before the first layer. */
#ifndef MERT_PARAMETER_GROUPS_H
#define MERT_PARAMETER_GROUPS_H

#include "libcommon/models/weights/weights.h"

typedef struct mert_group {
    int64_t from, n; /* floats of the flat array */
} mert_group;

typedef struct mert_groups {
    int n;
    mert_group *group;     /* [n]; a group is a range of floats of the flat array */
    const float **weights; /* [n] device: address of the first float of each group; NULL: the group is not in memory
                              now */
    float **gradients;     /* the same for gradients */
    /* Called before a group is used, and afterwards. backward 1: gradients are added, too, and are complete when done
     * is called. NULL: all groups stay where they are. */
    void *keeper;
    void (*need)(void *keeper, int group, int backward);
    void (*done)(void *keeper, int group, int backward);
} mert_groups;

enum { MERT_GROUP_EXTRACTOR, MERT_GROUP_PROJECTION, MERT_GROUP_LAYERS };

static inline int mert_groups_last(const mert_groups *p) { return p->n - 1; }

/* The groups of a layout, all in memory: weights and gradients are flat device arrays (NULL: none). */
int mert_groups_make(mert_groups *p, const mert_layout *l, const float *weights, float *gradients, mert_error *e)
    MERT_MUST_USE;
void mert_groups_free(mert_groups *p);

/* The group that contains this offset in the flat array. */
int mert_groups_find(const mert_groups *p, int64_t offset);

static inline const float *mert_groups_weight(const mert_groups *p, int64_t offset)
{
    int i = mert_groups_find(p, offset);
    return p->weights[i] + (offset - p->group[i].from);
}

static inline float *mert_groups_gradient(const mert_groups *p, int64_t offset)
{
    int i = mert_groups_find(p, offset);
    return p->gradients[i] + (offset - p->group[i].from);
}

static inline void mert_groups_need(const mert_groups *p, int group, int backward)
{
    if (p->need)
        p->need(p->keeper, group, backward);
}

static inline void mert_groups_done(const mert_groups *p, int group, int backward)
{
    if (p->done)
        p->done(p->keeper, group, backward);
}

#endif
