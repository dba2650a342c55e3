/* A probe that is trained by gradient steps: one hidden layer (512 units in MARBLE), or none; on the features of one
 * layer, or on a learned mixture of all layers (SUPERB's weighted sum).
 *
 *     z_l = features of layer l, each scaled to mean 0 and variance 1
 *     x   = sum over l of softmax(a)_l z_l             (one layer: x = z)
 *     h   = dropout(relu(W1 x + b1))                   (no hidden layer: h = x)
 *     scores = W2 h + b2
 *
 * Trained by Adam with decoupled decay of W1 and W2 (Loshchilov and Hutter 2019) on batches in a random order; the
 * state with the smallest loss on the valid part is kept, and training ends if that has not fallen for `patience`
 * epochs. Everything runs in the calling thread, and the result depends only on the data, the options and the key. */
#ifndef MERT_PROBE_NET_H
#define MERT_PROBE_NET_H

#include "libcommon/probe/linear.h"

/* Features of instance i, layer l: [d] at x + i * stride + l * d. */
typedef struct mert_net_data {
    mert_probe_task task;
    int64_t layers, d, outputs, stride;
    const float *x;
    const float *mean, *scale;  /* [layers * d]: z = (x - mean) * scale */
    const int32_t *label;       /* of each instance, as in mert_targets */
    const float *y;
} mert_net_data;

typedef struct mert_net_options {
    int64_t hidden;             /* units; 0: no hidden layer */
    int epochs, patience, batch;
    double lr, dropout, decay;
    uint64_t seed;
    uint32_t place;             /* number of the training with that seed: part of the key of all random numbers */
} mert_net_options;

typedef struct mert_net mert_net;

/* train, valid: indices of instances. *loss: the smallest mean loss on valid. NULL: out of memory. */
mert_net *mert_net_train(const mert_net_data *data, const mert_net_options *o, const int64_t *train, int64_t n_train,
                         const int64_t *valid, int64_t n_valid, double *loss, mert_error *e);
/* scores [n, outputs] of the instances `which`; -1: out of memory */
int mert_net_scores(const mert_net *net, const mert_net_data *data, const int64_t *which, int64_t n, float *scores,
                    mert_error *e) MERT_MUST_USE;
/* The parameters: W1 [hidden, d], W2 [outputs, hidden, or d without hidden], b1 [hidden], b2 [outputs]. */
void mert_net_parameters(const mert_net *net, float *w1, float *w2, float *b1, float *b2);
void mert_net_mixture(const mert_net *net, double *share); /* softmax(a) [layers] */
void mert_net_free(mert_net *net);                         /* NULL is fine */

#endif
