#include "libcommon/models/parameter_groups.h"

#include <stdlib.h>

int mert_parts_make(mert_parts *p, const mert_layout *l, const float *weights, float *gradients, mert_error *e)
{
    int layers = l->config.layers;
    *p = (mert_parts){.n = layers + 3};
    p->part = calloc((size_t)p->n, sizeof *p->part);
    p->weights = calloc((size_t)p->n, sizeof *p->weights);
    p->gradients = calloc((size_t)p->n, sizeof *p->gradients);
    if (!p->part || !p->weights || !p->gradients) {
        mert_parts_free(p);
        return mert_fail(e, "out of memory");
    }
    p->part[MERT_PART_PROJECTION].from = mert_layout_offset(l, "layer_norm.weight");
    for (int i = 0; i < layers; i++)
        p->part[MERT_PART_LAYERS + i].from = mert_layout_offset(l, "encoder.layers.%d.self_attn.k_proj.weight", i);
    p->part[p->n - 1].from = mert_layout_offset(l, "encoder.layer_norm.weight");
    for (int i = 0; i < p->n; i++) {
        int64_t from = p->part[i].from;
        p->part[i].n = (i + 1 < p->n ? p->part[i + 1].from : l->size) - from;
        p->weights[i] = weights ? weights + from : NULL;
        p->gradients[i] = gradients ? gradients + from : NULL;
    }
    return 0;
}

void mert_parts_free(mert_parts *p)
{
    free(p->part);
    free(p->weights);
    free(p->gradients);
    *p = (mert_parts){0};
}

int mert_parts_find(const mert_parts *p, int64_t offset)
{
    int i = 0;
    while (i + 1 < p->n && offset >= p->part[i + 1].from)
        i++;
    return i;
}
