/* The settings of an update: weights of the objective, and Adam. */
#ifndef MERT_UPDATE_H
#define MERT_UPDATE_H

typedef struct mert_objective_config {
    double nomask_weight; /* weight of the cross entropy of unmasked frames; 0: only masked frames */
    double features_pen_weight, cqt_weight, mel_weight; /* 10, 1, 1 */
    double logit_temperature;                           /* 0.1 */
    int random_codebook; /* number of codebooks, drawn for each batch, with a cross entropy; 0: all */
} mert_objective_config;

typedef struct mert_adam_config {
    double beta1, beta2, eps, weight_decay;             /* 0.9, 0.98, 1e-6, 0.01 */
    double clip_norm;                                   /* 0: none */
} mert_adam_config;

#endif
