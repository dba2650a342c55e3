/* What is done to the projected frames before the transformer sees them, and the way back (man/model.md 4: masks,
 * mask replacement, channel masks). */
#include "libcommon/models/encoder/state.h"

int mert_corruption_forward(mert_encoder *m, mert_element *x)
{
    const mert_corruption *k = &m->corruption;
    int64_t n = m->B * m->T, D = m->c->width;
    if (k->mask)
        mert_mask(m->ops, .x = x, .e = mert_weight(m, m->mask_emb), .mask = k->mask, .rows = n, .D = D);
    if (k->replaced) {
        /* all are read before any is written: a source may be replaced itself */
        mert_element *held = mert_take(m, k->replaced * D);
        if (!held)
            return -1;
        mert_gather(m->ops, .to = held, .from = x, .index = k->from, .n = k->replaced, .D = D);
        mert_zero(m->ops, .x = x, .rows = k->replaced_rows, .B = m->B, .T = m->T, .D = D);
        mert_scatter_add(m->ops, .to = x, .from = held, .index = k->to, .n = k->replaced, .D = D);
    }
    if (k->channels)
        mert_zero(m->ops, .x = x, .channels = k->channels, .B = m->B, .T = m->T, .D = D);
    return 0;
}

int mert_corruption_backward(mert_encoder *m, mert_element *d)
{
    const mert_corruption *k = &m->corruption;
    int64_t n = m->B * m->T, D = m->c->width;
    if (k->channels)
        mert_zero(m->ops, .x = d, .channels = k->channels, .B = m->B, .T = m->T, .D = D);
    if (k->replaced) {
        mert_element *held = mert_take(m, k->replaced * D);
        if (!held)
            return -1;
        mert_gather(m->ops, .to = held, .from = d, .index = k->to, .n = k->replaced, .D = D);
        mert_zero(m->ops, .x = d, .rows = k->replaced_rows, .B = m->B, .T = m->T, .D = D);
        mert_scatter_add(m->ops, .to = d, .from = held, .index = k->from, .n = k->replaced, .D = D);
    }
    if (k->mask)
        mert_mask_backward(m->ops, .dx = d, .de = mert_gradient(m, m->mask_emb), .mask = k->mask, .rows = n, .D = D);
    return 0;
}
