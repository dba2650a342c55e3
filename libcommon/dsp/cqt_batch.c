#include "libcommon/dsp/cqt_batch.h"

#include "formats/array.h"
#include "libcommon/base/pool.h"

#include <stdlib.h>
#include <string.h>

/* The state of one worker: a transform, memory for all frames of a clip, and an error. */
typedef struct worker_state {
    mert_cqt *cqt;
    float *rows;
    int64_t room;
    int bad;
    mert_error error;
} worker_state;

struct mert_cqt_batch {
    mert_cqt_plan *plan;
    int workers;
    worker_state *worker;
};

typedef struct job {
    mert_cqt_batch *b;
    int64_t L, T;
    const float *audio;
    float *rows;
} job;

mert_cqt_batch *mert_cqt_batch_new(const mert_cqt_config *c, mert_error *e)
{
    mert_cqt_batch *b = calloc(1, sizeof *b);
    int workers = mert_pool_threads();
    if (!b || !(b->worker = mert_array_zeroed(workers, sizeof *b->worker))) {
        mert_fail(e, "out of memory");
        goto fail;
    }
    b->workers = workers;
    if (!(b->plan = mert_cqt_plan_new(c, e)))
        goto fail;
    for (int i = 0; i < workers; i++)
        if (!(b->worker[i].cqt = mert_cqt_new(b->plan, 0, e)))
            goto fail;
    return b;
fail:
    mert_cqt_batch_free(b);
    return NULL;
}

void mert_cqt_batch_free(mert_cqt_batch *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->workers; i++) {
        mert_cqt_free(b->worker[i].cqt);
        free(b->worker[i].rows);
    }
    mert_cqt_plan_free(b->plan);
    free(b->worker);
    free(b);
}

static void one_clip(void *arg, int64_t i, int worker)
{
    const job *j = arg;
    worker_state *s = &j->b->worker[worker];
    const mert_cqt_config *c = mert_cqt_plan_config(j->b->plan);
    int64_t width = mert_cqt_width(c), need = mert_cqt_frames(c, j->L) * width;
    if (s->bad)
        return;
    if (s->room < need) {
        free(s->rows);
        s->rows = mert_array(need, sizeof *s->rows);
        s->room = s->rows ? need : 0;
    }
    if (!s->rows || mert_cqt_frames(c, j->L) < j->T)
        s->bad = mert_fail(&s->error, s->rows ? "a clip is too short for its frames" : "out of memory");
    else if (!(s->bad = mert_cqt_whole(s->cqt, j->audio + i * j->L, j->L, s->rows, &s->error)))
        memcpy(j->rows + i * j->T * width, s->rows, (size_t)(j->T * width) * sizeof *s->rows);
}

int mert_cqt_batch_run(mert_cqt_batch *b, int64_t B, int64_t L, int64_t T, const float *audio, float *rows,
                       mert_error *e)
{
    job j = {b, L, T, audio, rows};
    int bad = 0;
    mert_pool_run(B, one_clip, &j);
    for (int i = 0; i < b->workers; i++) {
        if (b->worker[i].bad && !bad) {
            *e = b->worker[i].error;
            bad = -1;
        }
        b->worker[i].bad = 0;
    }
    return bad;
}
