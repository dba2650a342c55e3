/* What training does to the projected frames before the transformer, and its backward pass: dropout, and the masks,
 * replacements and channel masks of the batch (man/model.md 4). */
#include "libcommon/models/encoder/state.h"

static double rate(const mert_encoder *m)
{
    return m->options.training ? m->options.input_dropout : 0;
}

int mert_corruption_any(const mert_encoder *m)
{
    return rate(m) > 0 || m->corruption.mask || m->corruption.replaced || m->corruption.channels;
}

void mert_corruption_forward(mert_encoder *m, const mert_element *x, mert_element *y)
{
    const mert_corruption *k = &m->corruption;
    mert_corrupt(m->ops, .y = y, .x = x, .e = k->mask ? mert_weight(m, m->mask_emb) : NULL, .mask = k->mask,
                 .channels = k->channels, .to = k->to, .from = k->from, .replaced = k->replaced, .B = m->B, .T = m->T,
                 .D = m->c->width, .p = rate(m), .key = mert_encoder_key(m, SITE_FEATURES));
}

void mert_corruption_backward(mert_encoder *m, const mert_element *dy, mert_element *dx)
{
    const mert_corruption *k = &m->corruption;
    mert_corrupt_backward(m->ops, .dx = dx, .de = k->mask ? mert_gradient(m, m->mask_emb) : NULL, .dy = dy,
                          .mask = k->mask, .channels = k->channels, .replaced_rows = k->replaced_rows, .to = k->to,
                          .from = k->from, .replaced = k->replaced, .B = m->B, .T = m->T, .D = m->c->width,
                          .p = rate(m), .key = mert_encoder_key(m, SITE_FEATURES));
}
