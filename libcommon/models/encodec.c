#include "encodec.h"

#include <stdlib.h>
#include <string.h>

void mert_encodec_free(mert_encodec *m)
{
    if (!m)
        return;
    mert_seanet_free(&m->encoder);
    mert_seanet_free(&m->decoder);
    mert_rvq_free(m->quantiser);
    free(m);
}

struct mert_encodec_item {
    const mert_seanet *net;
    mert_seanet_item *past;
    mert_seanet_work *work;
    float *held;           /* [block, in] rows that wait for a whole block */
    int64_t block, in, n;
};

mert_encodec_item *mert_encodec_item_new(const mert_encodec *m, int decode, mert_error *e)
{
    mert_encodec_item *i = calloc(1, sizeof *i);
    if (!i)
        goto fail;
    i->net = decode ? &m->decoder : &m->encoder;
    i->block = decode ? m->block / m->hop : m->block;
    i->in = mert_seanet_in(i->net);
    i->past = mert_seanet_item_new(i->net);
    i->work = mert_seanet_work_new(i->net, i->block, 1);
    i->held = malloc((size_t)(i->block * i->in) * sizeof *i->held);
    if (i->past && i->work && i->held)
        return i;
fail:
    mert_encodec_item_free(i);
    mert_fail(e, "out of memory");
    return NULL;
}

void mert_encodec_item_free(mert_encodec_item *i)
{
    if (!i)
        return;
    mert_seanet_item_free(i->past);
    mert_seanet_work_free(i->work);
    free(i->held);
    free(i);
}

void mert_encodec_item_reset(mert_encodec_item *i)
{
    mert_seanet_item_reset(i->past);
    i->n = 0;
}

static int run(mert_encodec_item *i, int last, mert_encodec_give give, void *arg, mert_error *e)
{
    int64_t rows;
    const float *y = mert_seanet_run(i->net, i->past, i->work, i->held, i->n, last, &rows);
    i->n = 0;
    return rows > 0 ? give(arg, y, rows, e) : 0;
}

static int feed(mert_encodec_item *i, const float *x, int64_t n, int last, mert_encodec_give give, void *arg,
                mert_error *e)
{
    while (n > 0) {
        int64_t m = i->block - i->n < n ? i->block - i->n : n;
        memcpy(i->held + i->n * i->in, x, (size_t)(m * i->in) * sizeof *x);
        i->n += m;
        x += m * i->in;
        n -= m;
        if (i->n == i->block && run(i, 0, give, arg, e))
            return -1;
    }
    return last && i->n > 0 ? run(i, 1, give, arg, e) : 0;
}

int mert_encodec_embed(mert_encodec_item *i, const float *samples, int64_t n, int last, mert_encodec_give give,
                       void *arg, mert_error *e)
{
    return feed(i, samples, n, last, give, arg, e);
}

int mert_encodec_synthesise(mert_encodec_item *i, const float *embeddings, int64_t n, int last, mert_encodec_give give,
                            void *arg,
                            mert_error *e)
{
    return feed(i, embeddings, n, last, give, arg, e);
}
