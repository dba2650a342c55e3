#include "libcommon/teachers/encodec/batch.h"

#include "libcommon/base/integer.h"

#include <stdlib.h>

void mert_encodec_free(mert_encodec *m)
{
    if (!m)
        return;
    mert_seanet_free(&m->encoder);
    mert_seanet_free(&m->decoder);
    mert_rvq_free(m->quantiser);
    free(m);
}

/* A batch of one. */
struct mert_encodec_item {
    mert_encodec_batch *batch;
    int64_t in;
    int open;
};

enum { FRAMES = 4096 };

mert_encodec_item *mert_encodec_item_new(const mert_encodec *m, int decode, mert_error *e)
{
    mert_encodec_item *i = calloc(1, sizeof *i);
    if (!i) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    i->in = mert_seanet_in(decode ? &m->decoder : &m->encoder);
    i->batch = mert_encodec_batch_new(m, decode, 1, FRAMES, e);
    if (i->batch)
        return i;
    free(i);
    return NULL;
}

void mert_encodec_item_free(mert_encodec_item *i)
{
    if (!i)
        return;
    mert_encodec_batch_free(i->batch);
    free(i);
}

void mert_encodec_item_reset(mert_encodec_item *i)
{
    mert_encodec_batch_drop(i->batch);
    i->open = 0;
}

static int ended(void *arg, mert_error *e)
{
    (void)arg;
    (void)e;
    return 0;
}

int mert_encodec_item_run(mert_encodec_item *i, const float *x, int64_t n, int last, mert_encodec_give give, void *arg,
                          mert_error *e)
{
    if (!i->open && mert_encodec_batch_begin(i->batch, e))
        return -1;
    i->open = 1;
    while (n > 0) {
        int64_t m = mert_smaller(n, FRAMES);
        if (mert_encodec_batch_add(i->batch, x, m, e) ||
            (mert_encodec_batch_full(i->batch) && mert_encodec_batch_run(i->batch, give, ended, arg, e)))
            return -1;
        x += m * i->in;
        n -= m;
    }
    if (!last)
        return 0;
    i->open = 0;
    mert_encodec_batch_end(i->batch);
    return mert_encodec_batch_run(i->batch, give, ended, arg, e);
}
