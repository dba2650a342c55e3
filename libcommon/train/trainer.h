/* One update of pre-training: the encoder, the objective (HuBERT's criterion over K codebooks, features penalty, CQT
 * and mel regression: man/model.md 3), the sum of gradients, clipping and Adam. What to feed it comes from loader.h;
 * what to do when (validation, checkpoints, logs) is the program's. */
#ifndef MERT_TRAINER_H
#define MERT_TRAINER_H

#include "libcommon/models/encoder/encoder.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/data/batch.h"
#include "libcommon/train/parallel/shards.h"
#include "libcommon/train/prepared.h"
#include "libcommon/train/recipe/update.h"

/* Sums over batches; what logs and the parity test read. "sum" as fairseq logs before dividing by the sample size. */
typedef struct mert_sums {
    double loss;                             /* complete, before dividing by the sample size */
    double ce[MERT_CODEBOOKS_MAX];           /* nats, per codebook, summed over masked frames */
    int64_t correct[MERT_CODEBOOKS_MAX];
    int64_t counted[MERT_CODEBOOKS_MAX]; /* masked frames for which the codebook took part: what ce and correct are sums
                                            over */
    double masked_loss; /* likewise complete, but as in validation: of masked frames alone, divide by masked */
    double unmasked_ce[MERT_CODEBOOKS_MAX]; /* of frames that are not masked, where they have a weight */
    int64_t unmasked_correct[MERT_CODEBOOKS_MAX], unmasked_counted[MERT_CODEBOOKS_MAX];
    double features_pen, cqt_mse, mel_mse;   /* sums of the batches' means; divide by batches */
    double largest_logit;                    /* of any attention, training only; nothing before the first batch */
    int64_t masked;                          /* masked frames */
    int64_t sample_size; /* what gradients are divided by: masked frames, with nomask_weight all frames */
    int64_t batches, frames, samples;
} mert_sums;

typedef struct mert_trainer mert_trainer;

/* Copies the weights to the device. The layout of `w` must outlive the trainer. sharing: with whom, and who keeps what
 * (shards.h); NULL: alone. With others, all of them make the same calls. */
mert_trainer *mert_trainer_new(const mert_weights *w, mert_ops *ops, const mert_objective_config *o,
                               const mert_adam_config *a, const mert_sharing *sharing, mert_error *e);
void mert_trainer_free(mert_trainer *t);
/* Of many processes: mert_shards_join. */
int mert_trainer_join(mert_trainer *t, mert_error *e) MERT_MUST_USE;

/* What prepares batches for it, ahead of time and on another thread if that is wanted. It lives as long as the
 * trainer. */
mert_preparer *mert_trainer_preparer(const mert_trainer *t);
/* Forward and backward of a micro-batch: adds to the gradients (not yet divided by the sample size) and to *sums (NULL:
 * not wanted). It queues them, and waits for the batch before: what the host knows of the batch (sample size, frames,
 * samples) is in *sums at once, the rest after the next call, an update, mert_trainer_get or mert_trainer_settle, as
 * is an error of the device. Until then the batch and *sums must stay. */
int mert_trainer_accumulate(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, mert_sums *sums,
                            mert_error *e) MERT_MUST_USE;
/* Before a micro-batch. last: it is this process's last of the update, whose gradients set out during its backward
 * pass; silent: it adds nothing (mert_trainer_together). Never said: every gradient sets out at the update. */
void mert_trainer_batch(mert_trainer *t, int last, int silent);
/* Whether every process must pass equally often: one without a batch passes another one silently. */
int mert_trainer_together(const mert_trainer *t);
/* Until all of that is there. */
int mert_trainer_settle(mert_trainer *t, mert_error *e) MERT_MUST_USE;
/* Forward only, no dropout: adds to *sums, at once. */
int mert_trainer_evaluate(mert_trainer *t, const mert_batch *b, mert_sums *sums, mert_error *e) MERT_MUST_USE;
/* After the last micro-batch: sums the gradients over all processes. mert_trainer_update does, if need be; to be called
 * before anything else is exchanged. With other processes, all sums of this one are there then. */
int mert_trainer_sum(mert_trainer *t, mert_error *e) MERT_MUST_USE;
/* What losses are multiplied by on the way back (loss_scale.h), from the next update on; 1 at first. */
void mert_trainer_scale(mert_trainer *t, double loss_scale);
/* Divides the gradients by sample_size (of all processes) and the loss scale, clips, updates with learning rate lr
 * (update counts from 1), clears the gradients. *norm: the gradients' norm before clipping. A norm or a loss that is
 * not finite leaves everything as it was, clears, and returns 1. */
int mert_trainer_update(mert_trainer *t, int64_t update, double lr, double sample_size, double *norm, mert_error *e)
    MERT_MUST_USE;

/* How often each row of the label embeddings was predicted for a masked frame since the last call, by training or by
 * validation: to [rows of label_embs_concat], by this process. */
int64_t mert_trainer_embeddings(const mert_trainer *t);
int mert_trainer_predicted(mert_trainer *t, int training, int64_t *to, mert_error *e) MERT_MUST_USE;

/* The state, to and from host arrays in the layout: shards.h. Gradients: of all processes, not divided, and of the
 * scaled loss. */
int mert_trainer_get(mert_trainer *t, const mert_shards_arrays *to, int here, mert_error *e) MERT_MUST_USE;
const float *mert_trainer_weights(const mert_trainer *t);
int mert_trainer_moment(mert_trainer *t, int which, int part, float *to, mert_error *e) MERT_MUST_USE;
const mert_parts *mert_trainer_parts(const mert_trainer *t);
/* NULL: stays as it is. */
int mert_trainer_set(mert_trainer *t, const float *weights, const float *m, const float *v, mert_error *e)
    MERT_MUST_USE;

/* Bytes of device memory that batches have taken at most, beside the model's own. */
size_t mert_trainer_memory(const mert_trainer *t);

#endif
