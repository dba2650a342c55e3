#include "libcommon/models/cqt_input.h"

mert_cqt_batch *mert_cqt_input_new(const mert_config *c, mert_error *e)
{
    mert_cqt_config q = mert_cqt_default;
    q.sample_rate = c->sample_rate;
    q.hop = c->sample_rate / 50;
    q.bins = c->cqt_input_bins;
    q.bins_per_octave = q.bins / 7 > 0 ? q.bins / 7 : 1;
    q.precise = 1; /* a LayerNorm follows, which magnifies errors in quiet bins beside loud ones */
    if (q.hop != mert_config_stride(c)) {
        mert_fail(e, "the CQT input has a hop of %d samples, but a frame of this model is %d", q.hop,
                  mert_config_stride(c));
        return NULL;
    }
    return mert_cqt_batch_new(&q, e);
}
