/* One update of pre-training: the encoder, the objective (HuBERT's criterion over K codebooks, features penalty, CQT
 * and mel regression: REFERENCE section 2), the sum of gradients, clipping and Adam. What to feed it comes from data.h;
 * what to do when (validation, checkpoints, logs) is the program's. */
#ifndef MERT_TRAINER_H
#define MERT_TRAINER_H

#include "../models/encoder.h"
#include "../models/weights.h"
#include "../nn/ops.h"
#include "shards.h"

enum { MERT_MASK_EMBEDDING = -1 };

/* A batch in host memory: B clips of one length. */
typedef struct mert_batch {
    int64_t B, L;
    int64_t T;              /* frames that take part: mert_config_frames(L), or fewer where the labels end before */
    int K;
    const float *clean;     /* [B, L]: what the regression targets are computed from */
    const float *audio;     /* [B, L]: what the model hears (with the mixture); may be == clean */
    const int32_t *labels;  /* [K, B, T]: class of each frame, 0..V-1 */
    const uint8_t *mask;    /* [B, T]: 1 where masked: what is to be predicted */
    /* [B, T]: what stands in the place of a masked frame: MERT_MASK_EMBEDDING, or the row b * T + t of a frame, its own
     * (it stays) or another (each at most once); NULL: MERT_MASK_EMBEDDING everywhere */
    const int32_t *source;
    const uint8_t *channels; /* [B, D]: 1 where a channel is silent in all frames of its clip; NULL: none */
    const int64_t *items;   /* [B]: global item numbers, for keys of random numbers and messages */
} mert_batch;

/* Sums over batches; what logs and the parity test read. "sum" as fairseq logs before dividing by the sample size. */
typedef struct mert_sums {
    double loss;                             /* complete, before dividing by the sample size */
    double ce[MERT_CODEBOOKS_MAX];           /* nats, per codebook, summed over masked frames */
    int64_t correct[MERT_CODEBOOKS_MAX];
    int64_t counted[MERT_CODEBOOKS_MAX]; /* masked frames for which the codebook took part: what ce and correct are sums
                                            over */
    double features_pen, cqt_mse, mel_mse;   /* sums of the batches' means; divide by batches */
    double largest_logit;                    /* of any attention, training only; nothing before the first batch */
    int64_t masked;                          /* masked frames */
    int64_t sample_size; /* what gradients are divided by: masked frames, with nomask_weight all frames */
    int64_t batches, frames, samples;
} mert_sums;

typedef struct mert_objective_config {
    double nomask_weight; /* 0: only masked frames have cross entropies; else: of the others' */
    double features_pen_weight, cqt_weight, mel_weight; /* 10, 1, 1 */
    double logit_temperature;                           /* 0.1 */
    int random_codebook; /* so many codebooks, drawn for each batch, have a cross entropy; 0: all */
} mert_objective_config;

typedef struct mert_adam_config {
    double beta1, beta2, eps, weight_decay;             /* 0.9, 0.98, 1e-6, 0.01 */
    double clip_norm;                                   /* 0: none */
} mert_adam_config;

typedef struct mert_trainer mert_trainer;

/* Copies the weights to the device. The layout of `w` must outlive the trainer. sharing: with whom, and who keeps what
 * (shards.h); NULL: alone. With others, all of them make the same calls. */
mert_trainer *mert_trainer_new(const mert_weights *w, mert_ops *ops, const mert_objective_config *o,
                               const mert_adam_config *a, const mert_sharing *sharing, mert_error *e);
void mert_trainer_free(mert_trainer *t);

/* Forward and backward of a micro-batch: adds to the gradients (not yet divided by the sample size) and to *sums. */
int mert_trainer_accumulate(mert_trainer *t, const mert_regime *r, const mert_batch *b, mert_sums *sums, mert_error *e);
/* Before a micro-batch. last: it is this process's last of the update, whose gradients set out during its backward
 * pass; silent: it adds nothing (mert_trainer_together). Never said: every gradient sets out at the update. */
void mert_trainer_batch(mert_trainer *t, int last, int silent);
/* Whether every process must pass equally often: one without a batch passes another one silently. */
int mert_trainer_together(const mert_trainer *t);
/* Forward only, no dropout: adds to *sums. */
int mert_trainer_evaluate(mert_trainer *t, const mert_batch *b, mert_sums *sums, mert_error *e);
/* After the last micro-batch: sums the gradients over all processes. mert_trainer_update does, if need be; to be called
 * before anything else is exchanged. */
int mert_trainer_sum(mert_trainer *t, mert_error *e);
/* Divides the gradients by sample_size (of all processes), clips, updates with learning rate lr (update counts from 1),
 * clears the gradients. *norm: the gradients' norm before clipping. A norm that is not finite leaves everything as it
 * was, clears, and returns 1. */
int mert_trainer_update(mert_trainer *t, int64_t update, double lr, double sample_size, double *norm, mert_error *e);

/* The state, to and from host arrays in the layout: shards.h. Gradients: of all processes, not divided. */
int mert_trainer_get(mert_trainer *t, const mert_shards_arrays *to, int here, mert_error *e);
const float *mert_trainer_weights(const mert_trainer *t);
int mert_trainer_moment(mert_trainer *t, int which, int part, float *to, mert_error *e);
const mert_parts *mert_trainer_parts(const mert_trainer *t);
/* NULL: stays as it is. */
int mert_trainer_set(mert_trainer *t, const float *weights, const float *m, const float *v, mert_error *e);

/* Bytes of device memory that batches have taken at most, beside the model's own. */
size_t mert_trainer_memory(const mert_trainer *t);

#endif
