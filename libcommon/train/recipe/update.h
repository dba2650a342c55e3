/* The settings of an update: weights of the objective, and Adam. */
#ifndef MERT_UPDATE_H
#define MERT_UPDATE_H

/* Fine-tuning on a labelled task (train/head.h). */
typedef struct mert_task_config {
    int kind;           /* a mert_probe_task */
    int layer;          /* the hidden state that the head is given; -1: all, with weights that are learned */
    double dropout;     /* of what the head is given */
    double layer_decay; /* the learning rate of a layer, as a share of that of the layer above */
    double head_lr;     /* that of the head, as a multiple of that of the last layer */
    int extractor;      /* 0: the extractor is not trained */
} mert_task_config;

typedef struct mert_objective_config {
    double nomask_weight; /* weight of the cross entropy of unmasked frames; 0: only masked frames */
    double features_pen_weight, cqt_weight, mel_weight; /* 10, 1, 1 */
    double logit_temperature;                           /* 0.1 */
    int random_codebook; /* number of codebooks, drawn for each batch, with a cross entropy; 0: all */
    mert_task_config task; /* for a model with the head of a task, in place of all of these */
} mert_objective_config;

typedef struct mert_adam_config {
    double beta1, beta2, eps, weight_decay;             /* 0.9, 0.98, 1e-6, 0.01 */
    double clip_norm;                                   /* 0: none */
} mert_adam_config;

#endif
