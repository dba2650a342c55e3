/* Inside of forward.h: convolutions over the waveform, in blocks of time, for the kinds of model that have them.
 * GroupNorm over the whole clip is exact all the same: mean and variance of the first convolution's outputs follow from
 * the second moments of the waveform's windows, and the norm becomes part of the weights (nn/ops.h: mert_fold_norm). */
#ifndef MERT_FORWARD_EXTRACTOR_H
#define MERT_FORWARD_EXTRACTOR_H

#include "libcommon/models/inference/forward_kinds.h"

typedef struct mert_forward_extractor {
    mert_linear_weights conv[MERT_CONV_MAX];
    mert_norm_weights conv_norm[MERT_CONV_MAX];
    /* group norm: the first convolution as it is, and with the norm of the present clip in it */
    const float *first;           /* [O, K] */
    float *folded, *folded_bias;
    mert_element *folded_packed;
    double *sums, *products;      /* of the clip's windows: [K], [K, K] */
    mert_arena clip;              /* the first convolution with the clip's norm */
    int opened;
} mert_forward_extractor;

/* For the kind's walk over its weights, and the floats that it needs at l->ordered. */
void mert_extractor_load(mert_forward *f, mert_weight_loader *l, mert_forward_extractor *x);
int64_t mert_extractor_largest(const mert_config *c);
/* After the weights are there. */
int mert_extractor_open(mert_forward *f, mert_forward_extractor *x, mert_error *e) MERT_MUST_USE;
void mert_extractor_close(mert_forward_extractor *x);

/* Before the frames of a clip [L]. */
void mert_extractor_begin(mert_forward *f, const mert_forward_extractor *x, const mert_element *pcm, int64_t L);
/* Scratch for n frames at once. */
void mert_extractor_room(mert_forward *f, int64_t n, mert_element *turn[2]);
/* n frames from sample pcm on -> y [n, C]. */
void mert_extractor_run(mert_forward *f, const mert_forward_extractor *x, const mert_element *pcm, int64_t n,
                        mert_element *const turn[2], mert_element *y);

#endif
