#include "libcommon/train/mel_batch.h"

#include "libcommon/base/pool.h"
#include "libcommon/models/mel_input.h"

#include <stdlib.h>

struct mert_mel_batch {
    mert_config c;
    int workers;
    mert_mel **mel;     /* one per worker */
    mert_error *errors; /* one per worker */
    int *bad;
};

mert_mel_batch *mert_mel_batch_new(const mert_weights *w, mert_error *e)
{
    mert_mel_batch *m = calloc(1, sizeof *m);
    if (!m)
        goto memory;
    m->c = w->layout.config;
    m->workers = mert_pool_threads();
    m->mel = calloc((size_t)m->workers, sizeof *m->mel);
    m->errors = calloc((size_t)m->workers, sizeof *m->errors);
    m->bad = calloc((size_t)m->workers, sizeof *m->bad);
    if (!m->mel || !m->errors || !m->bad)
        goto memory;
    for (int i = 0; i < m->workers; i++)
        if (!(m->mel[i] = w->values ? mert_mel_input_new(w, 0, e) : mert_mel_input_plain(&m->c, 0, e)))
            goto fail;
    return m;
memory:
    mert_fail(e, "out of memory");
fail:
    mert_mel_batch_free(m);
    return NULL;
}

void mert_mel_batch_free(mert_mel_batch *m)
{
    if (!m)
        return;
    for (int i = 0; m->mel && i < m->workers; i++)
        mert_mel_free(m->mel[i]);
    free(m->mel);
    free(m->errors);
    free(m->bad);
    free(m);
}

typedef struct job {
    mert_mel_batch *m;
    int64_t L, step; /* step: numbers in the rows of one clip */
    const float *audio;
    float *rows;
} job;

static void one_clip(void *arg, int64_t b, int worker)
{
    const job *j = arg;
    if (mert_mel_whole(j->m->mel[worker], j->audio + b * j->L, j->L, j->rows + b * j->step, &j->m->errors[worker]))
        j->m->bad[worker] = 1;
}

int mert_mel_batch_run(mert_mel_batch *m, int64_t B, int64_t L, const float *audio, float *rows, mert_error *e)
{
    job j = {m, L, mert_config_mel_frames(&m->c, L) * m->c.conformer.mels, audio, rows};
    int bad = 0;
    mert_pool_run(B, one_clip, &j);
    for (int i = 0; i < m->workers; i++) {
        if (m->bad[i] && !bad)
            *e = m->errors[i];
        bad |= m->bad[i];
        m->bad[i] = 0;
    }
    return bad ? -1 : 0;
}
