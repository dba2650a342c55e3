/* The list of a model's parameters. */
#include "libcommon/models/weights/layout_maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void task_head(mert_layout_maker *m, const mert_config *c)
{
    m->training_only = 1;
    mert_layout_matrix(m, c->task_layers, c->width, "task.scale");
    mert_layout_matrix(m, c->task_layers, c->width, "task.shift");
    if (c->task_layers > 1)
        mert_layout_vector(m, c->task_layers, "task.mixture");
    if (c->task_hidden)
        mert_layout_linear(m, c->width, c->task_hidden, "task.hidden");
    mert_layout_linear(m, c->task_hidden ? c->task_hidden : c->width, c->task_outputs, "task.output");
}

static void heads(mert_layout_maker *m, const mert_config *c)
{
    int64_t rows = 0;
    if (c->task_outputs)
        task_head(m, c);
    if (!c->codebooks)
        return;
    m->training_only = 1;
    for (int k = 0; k < c->codebooks; k++)
        rows += c->classes[k] + c->special_rows;
    mert_layout_matrix(m, rows, c->final_dim, "label_embs_concat");
    mert_layout_linear(m, c->width, (int64_t)c->final_dim * (c->untied ? c->codebooks : 1), "final_proj");
    if (c->learnable_temperature)
        mert_layout_vector(m, c->codebooks, "logit_temp_list");
    if (c->target_glu)
        mert_layout_linear(m, c->final_dim, 2 * (int64_t)c->final_dim, "target_glu.0");
    if (c->cqt_target_bins)
        mert_layout_linear(m, c->width, c->cqt_target_bins, "encoder_cqt_model.fc");
    if (c->mel_target_bins)
        mert_layout_linear(m, c->width, c->mel_target_bins, "encoder_mel_model.fc");
}

int mert_parameter_has_shape(const mert_parameter *p, int ndim, const int64_t *shape)
{
    return p->ndim == ndim && !memcmp(p->shape, shape, (size_t)ndim * sizeof *shape);
}

int mert_layout_make(mert_layout *l, const mert_config *c, mert_error *e)
{
    mert_layout_maker m = {.l = l};
    memset(l, 0, sizeof *l);
    l->config = *c;
    if (mert_config_check(c, e))
        return -1;
    if (c->kind == MERT_CONFORMER)
        mert_layout_conformer(&m, c);
    else
        mert_layout_hubert(&m, c);
    heads(&m, c);
    if (m.bad || l->size > (int64_t)1 << 36) {
        mert_layout_free(l);
        return mert_fail(e, "no memory for a model of this size");
    }
    return 0;
}

void mert_layout_free(mert_layout *l)
{
    free(l->parameters);
    l->parameters = NULL;
    l->count = 0;
}

const mert_parameter *mert_layout_find(const mert_layout *l, const char *name)
{
    for (int i = 0; i < l->count; i++)
        if (!strcmp(l->parameters[i].name, name))
            return &l->parameters[i];
    return NULL;
}

int64_t mert_layout_offset(const mert_layout *l, const char *format, ...)
{
    char name[128];
    const mert_parameter *p;
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    p = mert_layout_find(l, name);
    if (!p)
        abort(); /* an unknown name is an error in the program */
    return p->offset;
}
