#include "tools/mert-plot/count.h"

#include "libcommon/base/integer.h"
#include "libcommon/tensor/values.h"

int plot_count_begin(plot_count *c, const mts_record *r, mert_error *e)
{
    *c = (plot_count){.dtype = r->dtype, .model = r->model};
    return mert_code_counts_begin(&c->counts, r, e);
}

int plot_count_fits(plot_count *c, const mts_record *r)
{
    if (c->model != r->model || !mert_code_counts_fit(&c->counts, r))
        return 0;
    c->dtype = r->dtype;
    c->at = 0;
    return 1;
}

int plot_count_add(plot_count *c, const void *data, int64_t frames, mert_error *e)
{
    double values[MERT_VALUES_BLOCK];
    const unsigned char *p = data;
    const int64_t k = c->counts.codebooks;
    for (int64_t now; frames > 0; frames -= now, c->at += now) {
        now = mert_smaller(frames, MERT_VALUES_BLOCK / k);
        mert_values_read(c->dtype, p, now * k, values);
        if (mert_code_counts_add(&c->counts, values, now, c->at, e))
            return -1;
        p += (size_t)(now * k) * mts_dtype_size(c->dtype);
    }
    return 0;
}
