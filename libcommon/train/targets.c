#include "libcommon/train/targets.h"

#include "libcommon/base/pool.h"
#include "libcommon/dsp/cqt_batch.h"
#include "libcommon/dsp/mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mert_train_targets {
    mert_config c;
    mert_cqt_batch *cqt;
    mert_mel **mel;      /* one per worker */
    float **rows;        /* scratch of each worker: all frames of a clip */
    size_t *room;
    int workers;
};

typedef struct job {
    mert_train_targets *t;
    int64_t B, L, T;
    const float *audio;
    float *mel;
    mert_error *errors;  /* [workers] */
    int *bad;
    double *sums;        /* [B, 2]: sums of all mel values of a clip (also after frame T) and of their squares */
} job;

static const mert_cqt_form forms[] = {[MERT_TARGET_MAGNITUDE] = MERT_CQT_MAGNITUDE,
                                      [MERT_TARGET_LOG] = MERT_CQT_LOG,
                                      [MERT_TARGET_LOG_POWER] = MERT_CQT_LOG_POWER};

mert_cqt_config mert_train_cqt(const mert_config *c)
{
    mert_cqt_config q = mert_cqt_default;
    q.sample_rate = c->sample_rate;
    q.hop = mert_config_stride(c);
    q.bins = c->cqt_target_bins;
    q.bins_per_octave = c->cqt_target_bins / 7 > 0 ? c->cqt_target_bins / 7 : 1; /* seven octaves, as in the official
                                                                                  * code */
    q.form = forms[c->cqt_target_form];
    return q;
}

mert_train_targets *mert_train_targets_new(const mert_config *c, mert_error *e)
{
    mert_train_targets *t = calloc(1, sizeof *t);
    mert_mel_config mel = mert_mel_default;
    if (!t)
        goto memory;
    t->c = *c;
    t->workers = mert_pool_threads();
    t->mel = calloc((size_t)t->workers, sizeof *t->mel);
    t->rows = calloc((size_t)t->workers, sizeof *t->rows);
    t->room = calloc((size_t)t->workers, sizeof *t->room);
    if (!t->mel || !t->rows || !t->room)
        goto memory;
    if (c->cqt_target_bins) {
        mert_cqt_config q = mert_train_cqt(c);
        if (!(t->cqt = mert_cqt_batch_new(&q, e)))
            goto fail;
    }
    mel.sample_rate = c->sample_rate;
    mel.hop = mert_config_stride(c);
    mel.mels = c->mel_target_bins;
    mel.normalized = 1;
    mel.log = 1;
    mel.log_floor = 1e-5;
    for (int i = 0; i < t->workers; i++)
        if (c->mel_target_bins && !(t->mel[i] = mert_mel_new(&mel, 0, e)))
            goto fail;
    return t;
memory:
    mert_fail(e, "out of memory");
fail:
    mert_train_targets_free(t);
    return NULL;
}

void mert_train_targets_free(mert_train_targets *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->workers; i++) {
        if (t->mel)
            mert_mel_free(t->mel[i]);
        if (t->rows)
            free(t->rows[i]);
    }
    mert_cqt_batch_free(t->cqt);
    free(t->mel);
    free(t->rows);
    free(t->room);
    free(t);
}

static float *room_for(mert_train_targets *t, int worker, int64_t floats)
{
    if (t->room[worker] < (size_t)floats) {
        free(t->rows[worker]);
        t->rows[worker] = malloc((size_t)floats * sizeof(float));
        t->room[worker] = t->rows[worker] ? (size_t)floats : 0;
    }
    return t->rows[worker];
}

static void one_clip(void *arg, int64_t b, int worker)
{
    const job *j = arg;
    mert_train_targets *t = j->t;
    const float *x = j->audio + b * j->L;
    mert_error *e = &j->errors[worker];
    int64_t frames = j->L / mert_config_stride(&t->c) + 1;
    float *rows = room_for(t, worker, frames * t->c.mel_target_bins);
    if (!rows || frames < j->T) {
        j->bad[worker] = mert_fail(e, rows ? "clip too short for its frames" : "out of memory");
        return;
    }
    if (mert_mel_whole(t->mel[worker], x, j->L, rows, e)) {
        j->bad[worker] = -1;
        return;
    }
    memcpy(j->mel + b * j->T * t->c.mel_target_bins, rows, (size_t)(j->T * t->c.mel_target_bins) * sizeof(float));
    for (int64_t i = 0; i < frames * t->c.mel_target_bins; i++) {
        j->sums[2 * b] += rows[i];
        j->sums[2 * b + 1] += (double)rows[i] * rows[i];
    }
}

/* Subtracts the mean and divides by (unbiased standard deviation + 1e-5). n: the number of values in the sums. */
static void normalise(float *x, int64_t elements, const double *sums, int64_t B, int64_t n)
{
    double sum = 0, squares = 0, mean;
    float m, f;
    for (int64_t b = 0; b < B; b++) {
        sum += sums[2 * b];
        squares += sums[2 * b + 1];
    }
    mean = sum / (double)n;
    m = (float)mean;
    f = (float)(1 / (sqrt(fmax(squares - sum * mean, 0) / (double)(n > 1 ? n - 1 : 1)) + 1e-5));
    for (int64_t i = 0; i < elements; i++)
        x[i] = (x[i] - m) * f;
}

static int mel_targets(mert_train_targets *t, int64_t B, int64_t L, int64_t T, const float *audio, float *mel,
                       mert_error *e)
{
    job j = {t,
             B,
             L,
             T,
             audio,
             mel,
             calloc((size_t)t->workers, sizeof(mert_error)),
             calloc((size_t)t->workers, sizeof(int)),
             calloc((size_t)(2 * B), sizeof(double))};
    int bad = !j.errors || !j.bad || !j.sums ? mert_fail(e, "out of memory") : 0;
    if (!bad) {
        mert_pool_run(B, one_clip, &j);
        for (int i = 0; i < t->workers && !bad; i++)
            if (j.bad[i]) {
                *e = j.errors[i];
                bad = -1;
            }
    }
    if (!bad)
        normalise(mel, B * T * t->c.mel_target_bins, j.sums, B,
                  B * (L / mert_config_stride(&t->c) + 1) * t->c.mel_target_bins);
    free(j.errors);
    free(j.bad);
    free(j.sums);
    return bad;
}

/* By the mean and deviation of a corpus. */
static void standardise_cqt(const mert_config *c, float *cqt, int64_t n)
{
    float mean = (float)c->cqt_target_mean, scale = (float)(1 / c->cqt_target_std);
    for (int64_t i = 0; i < n; i++)
        cqt[i] = (cqt[i] - mean) * scale;
}

int mert_train_targets_compute(mert_train_targets *t, int64_t B, int64_t L, int64_t T, const float *audio, float *cqt,
                               float *mel, mert_error *e)
{
    if (t->cqt && mert_cqt_batch_run(t->cqt, B, L, T, audio, cqt, e))
        return -1;
    if (t->cqt && t->c.cqt_target_std != 0)
        standardise_cqt(&t->c, cqt, B * T * t->c.cqt_target_bins);
    return t->c.mel_target_bins ? mel_targets(t, B, L, T, audio, mel, e) : 0;
}
