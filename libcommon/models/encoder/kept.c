/* Activations that are kept for the backward pass, as they are or as bfloat16 (state.h). */
#include "libcommon/models/encoder/state.h"

int mert_keeps_narrow(const mert_encoder *m)
{
    return m->options.training && m->options.narrow && m->ops->type == MERT_ELEMENT_F32;
}

void mert_keep(mert_encoder *m, mert_kept *k, int64_t n, int narrow)
{
    *k = (mert_kept){.n = n};
    if (narrow)
        k->narrow = (uint16_t *)(void *)mert_alloc_floats(m, (n + 1) / 2);
    else
        k->now = mert_alloc(m, n);
}

void mert_kept_open(mert_encoder *m, mert_kept *k)
{
    if (k->narrow)
        k->now = mert_alloc(m, k->n);
}

void mert_kept_close(mert_encoder *m, mert_kept *k)
{
    if (k->narrow)
        mert_narrow(m->ops, .to = k->narrow, .from = k->now, .n = k->n);
}

void mert_kept_again(mert_encoder *m, mert_kept *k)
{
    mert_kept_open(m, k);
    if (k->narrow && k->now)
        mert_widen(m->ops, .to = k->now, .from = k->narrow, .n = k->n);
}
