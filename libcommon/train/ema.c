#include "libcommon/train/ema.h"

#include "formats/checkpoint/checkpoint.h"
#include "formats/checkpoint/write.h"
#include "formats/file.h"
#include "libcommon/base/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

typedef struct addition {
    float *mean;
    const float *weights;
    int64_t n;
    float share;
} addition;

static void add_block(void *arg, int64_t i, int worker)
{
    const addition *a = arg;
    int64_t end = (i + 1) * BLOCK < a->n ? (i + 1) * BLOCK : a->n;
    (void)worker;
    for (int64_t k = i * BLOCK; k < end; k++)
        a->mean[k] += a->share * (a->weights[k] - a->mean[k]);
}

void mert_ema_add(float *mean, const float *weights, int64_t n, double decay)
{
    addition a = {mean, weights, n, (float)(1 - decay)};
    mert_pool_run((n + BLOCK - 1) / BLOCK, add_block, &a);
}

typedef struct mean_of {
    const float *mean;
    const mert_layout *layout;
} mean_of;

static const void *fetch(void *arg, size_t i, mert_error *e)
{
    const mean_of *m = arg;
    (void)e;
    return m->mean + m->layout->parameters[i].offset;
}

static void name_of(char name[128], const mert_parameter *p)
{
    snprintf(name, 128, "ema.%s", p->name);
}

int mert_ema_save(const float *mean, const mert_layout *l, const char *dir, mert_hashes *h, mert_error *e)
{
    char *path = mert_path_join(dir, MERT_EMA_FILE), (*names)[128] = calloc((size_t)l->count, sizeof *names);
    mert_tensor_out *tensors = calloc((size_t)l->count, sizeof *tensors);
    int bad = -1;
    if (!path || !names || !tensors)
        mert_fail(e, "out of memory");
    else {
        for (int i = 0; i < l->count; i++) {
            const mert_parameter *p = &l->parameters[i];
            name_of(names[i], p);
            tensors[i] = (mert_tensor_out){.name = names[i], .type = MERT_E_F32, .ndim = p->ndim};
            memcpy(tensors[i].shape, p->shape, sizeof p->shape);
        }
        bad = mert_safetensors_write_from(path, tensors, (size_t)l->count, fetch, &(mean_of){mean, l}, e) ||
              mert_hashes_add_file(h, dir, MERT_EMA_FILE, e);
    }
    free(path);
    free(names);
    free(tensors);
    return bad ? -1 : 0;
}

int mert_ema_load(float *mean, const mert_layout *l, const char *dir, mert_error *e)
{
    char *path = mert_path_join(dir, MERT_EMA_FILE), name[128];
    int absent = path && access(path, F_OK), bad = 0;
    mert_checkpoint *c = path && !absent ? mert_checkpoint_open(path, e) : NULL;
    if (!path)
        bad = mert_fail(e, "out of memory");
    else if (!absent && !c)
        bad = -1;
    memset(mean, 0, (size_t)l->size * sizeof *mean);
    for (int i = 0; c && !bad && i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        const mert_tensor *t;
        name_of(name, p);
        t = mert_checkpoint_find(c, name);
        if (!t || !mert_parameter_has_shape(p, t->ndim, t->shape))
            bad = mert_fail(e, "%s: tensor %s is %s", path, name, t ? "of another shape" : "missing");
        else if (mert_tensor_read(t, mean + p->offset, e))
            bad = mert_fail_in(e, "%s", path);
    }
    if (c)
        mert_checkpoint_close(c);
    free(path);
    return bad ? -1 : absent != 0;
}
