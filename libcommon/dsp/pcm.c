#include "libcommon/dsp/pcm.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static int no_samples(mert_error *e) { return mert_fail(e, "no samples in it"); }

int mert_pcm_begin(mert_pcm *p, const mts_record *in, mert_error *e)
{
    if (strcmp(in->kind, "pcm"))
        return mert_fail(e, "the input is %s, and this program needs pcm", in->kind);
    if (in->ndim != 1 && !(in->ndim == 2 && in->shape[1] == 1))
        return mert_fail(e, "%" PRId64 " channels in the input, and this program needs 1", mts_record_width(in));
    if (in->dtype != MTS_F32 && in->dtype != MTS_I16)
        return mert_fail(e, "the input is pcm of type %s, and this program needs f32 or i16",
                         mts_dtype_name(in->dtype));
    if (in->sample_rate < 1 || in->sample_rate > 10000000)
        return mert_fail(e, "sample rate is %" PRId64 " Hz: must be 1 to 10000000", in->sample_rate);
    if (in->shape[0] == 0)
        return no_samples(e);
    p->dtype = in->dtype;
    p->samples = 0;
    return 0;
}

const float *mert_pcm_read(mert_pcm *p, const void *data, int64_t *n, mert_error *e)
{
    const int64_t most = (int64_t)(sizeof p->block / sizeof *p->block);
    const float *x = p->dtype == MTS_F32 ? data : p->block;
    int odd = 0;
    if (*n > most)
        *n = most;
    if (p->dtype == MTS_I16)
        for (int64_t i = 0; i < *n; i++)
            p->block[i] = mert_pcm_i16(data, i);
    for (int64_t i = 0; i < *n; i++)
        odd |= !(fabsf(x[i]) <= 1e15f);
    for (int64_t i = 0; odd && i < *n; i++)
        if (!(fabsf(x[i]) <= 1e15f)) {
            mert_fail(e, "sample %" PRId64 " is %g, not a sound", p->samples + i, (double)x[i]);
            return NULL;
        }
    p->samples += *n;
    return x;
}

int mert_pcm_end(const mert_pcm *p, mert_error *e)
{
    return p->samples ? 0 : no_samples(e);
}
