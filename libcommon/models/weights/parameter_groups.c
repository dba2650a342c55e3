#include "libcommon/models/weights/parameter_groups.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The offset of the first parameter whose name begins with this text; the end of the array if there is none. */
MERT_PRINTF(2, 3) static int64_t first_of(const mert_layout *l, const char *format, ...)
{
    char start[96];
    va_list ap;
    va_start(ap, format);
    vsnprintf(start, sizeof start, format, ap);
    va_end(ap);
    for (int i = 0; i < l->count; i++)
        if (!strncmp(l->parameters[i].name, start, strlen(start)))
            return l->parameters[i].offset;
    return l->size;
}

int mert_groups_make(mert_groups *p, const mert_layout *l, const float *weights, float *gradients, mert_error *e)
{
    int layers = l->config.layers, conformer = l->config.kind == MERT_CONFORMER;
    *p = (mert_groups){.n = layers + 3};
    p->group = calloc((size_t)p->n, sizeof *p->group);
    p->weights = calloc((size_t)p->n, sizeof *p->weights);
    p->gradients = calloc((size_t)p->n, sizeof *p->gradients);
    if (!p->group || !p->weights || !p->gradients) {
        mert_groups_free(p);
        return mert_fail(e, "out of memory");
    }
    p->group[MERT_GROUP_PROJECTION].from = first_of(l, conformer ? "subsampling_module." : "layer_norm.");
    for (int i = 0; i < layers; i++)
        p->group[MERT_GROUP_LAYERS + i].from = first_of(l, conformer ? "layers.%d." : "encoder.layers.%d.", i);
    p->group[p->n - 1].from = first_of(l, !conformer                ? "encoder.layer_norm."
                                         : l->config.task_outputs ? "task."
                                                                  : "label_embs_concat");
    for (int i = 0; i < p->n; i++) {
        int64_t from = p->group[i].from;
        p->group[i].n = (i + 1 < p->n ? p->group[i + 1].from : l->size) - from;
        p->weights[i] = weights ? weights + from : NULL;
        p->gradients[i] = gradients ? gradients + from : NULL;
    }
    return 0;
}

void mert_groups_free(mert_groups *p)
{
    free(p->group);
    free(p->weights);
    free(p->gradients);
    *p = (mert_groups){0};
}

int mert_groups_find(const mert_groups *p, int64_t offset)
{
    int i = 0;
    while (i + 1 < p->n && offset >= p->group[i + 1].from)
        i++;
    return i;
}
