#include "libcommon/train/loss_scale.h"

mert_loss_scale mert_loss_scale_first(mert_element_type type)
{
    return (mert_loss_scale){.scale = type == MERT_ELEMENT_F16 ? MERT_LOSS_SCALE_FIRST : 1};
}

int64_t mert_loss_scale_window(int64_t batches)
{
    int64_t window = (1 << 14) / batches;
    return window > 0 ? window : 1;
}

void mert_loss_scale_good(mert_loss_scale *s, int64_t window)
{
    if (++s->good % window == 0)
        s->scale *= 2;
}

int mert_loss_scale_overflow(mert_loss_scale *s, mert_error *e)
{
    if (s->scale / 2 <= MERT_LOSS_SCALE_LEAST)
        return mert_fail(e, "the gradient is not finite even where the loss is multiplied by %g, and %g is the least: "
                            "the loss is probably exploding: a lower lr, clipping (clip_norm) or larger batches may "
                            "help",
                         s->scale, MERT_LOSS_SCALE_LEAST);
    s->scale /= 2;
    s->good = 0;
    s->overflows++;
    return 0;
}
