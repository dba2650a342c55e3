/* One update of pre-training: the encoder, the objective (HuBERT's criterion over K codebooks, features penalty, CQT
 * and mel regression: man/model.md 3), the sum of gradients, clipping and Adam. If the model has the head of a task
 * (head.h), it is an update of fine-tuning, and every batch has examples. Batches come from loader.h. The program
 * decides about validation, checkpoints and logs. */
#ifndef MERT_TRAINER_H
#define MERT_TRAINER_H

#include "libcommon/models/encoder/encoder.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/data/batch.h"
#include "libcommon/train/parallel/shards.h"
#include "libcommon/train/prepared.h"
#include "libcommon/train/recipe/update.h"

/* Sums over batches, for logs and the parity test. "sum" as fairseq logs it, before dividing by the sample size. */
typedef struct mert_sums {
    double loss;                             /* the whole loss, before dividing by the sample size */
    double ce[MERT_CODEBOOKS_MAX];           /* nats, per codebook, summed over masked frames */
    int64_t correct[MERT_CODEBOOKS_MAX];
    int64_t counted[MERT_CODEBOOKS_MAX]; /* masked frames for which the codebook was used: the number of frames in ce
                                          * and correct */
    double masked_loss; /* the whole loss as in validation: of masked frames only; divide by masked */
    double unmasked_ce[MERT_CODEBOOKS_MAX]; /* of frames that are not masked, if they have a weight */
    int64_t unmasked_correct[MERT_CODEBOOKS_MAX], unmasked_counted[MERT_CODEBOOKS_MAX];
    double features_pen, cqt_mse, mel_mse;   /* sums of the means of batches; divide by batches */
    double largest_logit;                    /* of any attention, in training only; valid if there was a batch */
    int64_t masked;                          /* masked frames */
    int64_t sample_size; /* the divisor of gradients: masked frames, with nomask_weight all frames */
    int64_t batches, frames, samples;
    int64_t examples, right; /* of a task: how many, and (classify) for how many of them the answer was the class; loss
                                is the sum of theirs, and sample_size counts them */
} mert_sums;

typedef struct mert_trainer mert_trainer;

/* Copies the weights to the device. The layout of `w` must outlive the trainer. sharing: the other processes, and how
 * the state is divided among them (shards.h); NULL: one process. All processes make the same calls. */
mert_trainer *mert_trainer_new(const mert_weights *w, mert_ops *ops, const mert_objective_config *o,
                               const mert_adam_config *a, const mert_sharing *sharing, mert_error *e);
void mert_trainer_free(mert_trainer *t);
/* With several processes: see mert_shards_join. */
int mert_trainer_join(mert_trainer *t, mert_error *e) MERT_MUST_USE;

/* The preparer of batches for this trainer, which may be used ahead of time and on another thread. It lives as long as
 * the trainer. */
mert_preparer *mert_trainer_preparer(const mert_trainer *t);
/* Forward and backward pass of a micro-batch: adds to the gradients (not yet divided by the sample size) and to *sums
 * (NULL: not wanted). The call queues the passes, and waits for the batch before. What the host knows of the batch
 * (sample size, frames, samples) is in *sums at once. The rest follows with the next call, an update, mert_trainer_get
 * or mert_trainer_settle, as does an error of the device. Until then the batch and *sums must stay. */
int mert_trainer_accumulate(mert_trainer *t, const mert_forward_options *r, const mert_batch *b, mert_sums *sums,
                            mert_error *e) MERT_MUST_USE;
/* To be called before a micro-batch. last: it is this process's last of the update, so its gradients are sent during
 * its backward pass. silent: it adds nothing (mert_trainer_together). Without this call, all gradients are sent at the
 * update. */
void mert_trainer_batch(mert_trainer *t, int last, int silent);
/* Whether all processes must run equally many passes: a process without a batch then runs a silent one. */
int mert_trainer_together(const mert_trainer *t);
/* Before a micro-batch of a task. 1: only the head is trained, and the encoder runs as in evaluation. It holds until the
 * next call. */
void mert_trainer_freeze(mert_trainer *t, int frozen);
/* Waits until all results have arrived. */
int mert_trainer_settle(mert_trainer *t, mert_error *e) MERT_MUST_USE;
/* Forward only, without dropout. Adds to *sums before it returns. */
int mert_trainer_evaluate(mert_trainer *t, const mert_batch *b, mert_sums *sums, mert_error *e) MERT_MUST_USE;
/* After the evaluation of a batch of a task: its scores and features (head.h). */
int mert_trainer_scores(mert_trainer *t, float *to, mert_error *e) MERT_MUST_USE;
int mert_trainer_features(mert_trainer *t, float *to, mert_error *e) MERT_MUST_USE;
/* The last hidden states [B * T, D] of a batch, as evaluated, to host memory. Not of weights that processes share. */
int mert_trainer_hidden(mert_trainer *t, const mert_batch *b, float *to, mert_error *e) MERT_MUST_USE;
/* After the last micro-batch: sums the gradients over all processes. mert_trainer_update calls it if necessary; call it
 * before anything else is exchanged. With several processes, it also waits for all results of this one. */
int mert_trainer_sum(mert_trainer *t, mert_error *e) MERT_MUST_USE;
/* Sets the loss scale (loss_scale.h) from the next update on; 1 at first. */
void mert_trainer_scale(mert_trainer *t, double loss_scale);
/* Divides the gradients by sample_size (of all processes) and the loss scale, clips them, updates the weights with
 * learning rate lr (update counts from 1), and clears the gradients. *norm: the norm of the gradients before clipping.
 * If a norm or a loss is not finite, it only clears the gradients and returns 1. */
int mert_trainer_update(mert_trainer *t, int64_t update, double lr, double sample_size, double *norm, mert_error *e)
    MERT_MUST_USE;

/* mert_trainer_embeddings: the number of rows of the label embeddings. mert_trainer_predicted: how often each row was
 * predicted for a masked frame since the last call, in training or in validation, by this process. */
int64_t mert_trainer_embeddings(const mert_trainer *t);
int mert_trainer_predicted(mert_trainer *t, int training, int64_t *to, mert_error *e) MERT_MUST_USE;

/* Copies the state to host arrays in the layout (shards.h). Gradients are those of all processes, not divided, and of
 * the scaled loss. */
int mert_trainer_get(mert_trainer *t, const mert_shards_arrays *to, int here, mert_error *e) MERT_MUST_USE;
const float *mert_trainer_weights(const mert_trainer *t);
int mert_trainer_moment(mert_trainer *t, int which, int group, float *to, mert_error *e) MERT_MUST_USE;
const mert_groups *mert_trainer_groups(const mert_trainer *t);
/* The opposite. NULL: unchanged. */
int mert_trainer_set(mert_trainer *t, const float *weights, const float *m, const float *v, mert_error *e)
    MERT_MUST_USE;

/* The largest number of bytes of device memory that batches have used, without the model's own. */
size_t mert_trainer_memory(const mert_trainer *t);

#endif
