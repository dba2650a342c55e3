#include "libcommon/train/rates.h"

#include "formats/array.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int begins(const char *name, const char *start)
{
    return !strncmp(name, start, strlen(start));
}

/* The hidden state that a parameter helps to make first. */
static int depth_of(const char *name, const mert_config *c)
{
    int layer;
    if (sscanf(name, c->kind == MERT_CONFORMER ? "layers.%d." : "encoder.layers.%d.", &layer) == 1)
        return layer + 1;
    return begins(name, "encoder.layer_norm.") && c->pre_ln ? c->layers : 0;
}

static double factor_of(const mert_parameter *p, const mert_config *c, const mert_task_config *t, int head_alone)
{
    int top = t->layer < 0 ? c->layers : t->layer, depth = depth_of(p->name, c);
    if (begins(p->name, "task."))
        return begins(p->name, "task.scale") || begins(p->name, "task.shift") ? 0 : t->head_lr;
    if (head_alone || depth > top || !strcmp(p->name, "mask_emb") ||
        (!t->extractor && begins(p->name, "feature_extractor.")))
        return 0;
    return pow(t->layer_decay, top - depth);
}

int mert_rates_make(mert_rate **rates, int *n, const mert_layout *l, const mert_task_config *c, int head_alone,
                    mert_error *e)
{
    mert_rate *to = *rates = mert_array(l->count, sizeof *to);
    *n = 0;
    if (!to)
        return mert_fail(e, "out of memory");
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        int64_t end = i + 1 < l->count ? l->parameters[i + 1].offset : l->size;
        double factor = factor_of(p, &l->config, c, head_alone);
        if (*n && to[*n - 1].factor == factor)
            to[*n - 1].n = end - to[*n - 1].from;
        else
            to[(*n)++] = (mert_rate){p->offset, end - p->offset, factor};
    }
    return 0;
}
