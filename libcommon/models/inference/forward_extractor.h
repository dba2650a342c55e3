/* Internal to forward.h: the convolutions over the waveform, in blocks of time, for kinds of model that have them.
 * GroupNorm over the whole clip is still exact: mean and variance of the first convolution's outputs are computed from
 * the second moments of the waveform's windows, and the norm becomes part of the weights (nn/operations.h:
 * mert_fold_norm). */
#ifndef MERT_FORWARD_EXTRACTOR_H
#define MERT_FORWARD_EXTRACTOR_H

#include "libcommon/models/inference/forward_kinds.h"

typedef struct mert_forward_extractor {
    mert_linear_weights conv[MERT_CONV_MAX];
    mert_norm_weights conv_norm[MERT_CONV_MAX];
    /* with GroupNorm: the first convolution as in the model, and with the norm of the present clip folded in */
    const float *first;           /* [O, K] */
    float *folded, *folded_bias;
    mert_element *folded_packed;
    double *sums, *products;      /* moments of the clip's windows: [K], [K, K] */
    mert_arena clip;              /* memory of the folded first convolution */
    int opened;
} mert_forward_extractor;

/* load: called by the kind's `load` function. largest: the number of floats that it needs at l->ordered. */
void mert_extractor_load(mert_forward *f, mert_weight_loader *l, mert_forward_extractor *x);
int64_t mert_extractor_largest(const mert_config *c);
/* Called after the weights are loaded. */
int mert_extractor_open(mert_forward *f, mert_forward_extractor *x, mert_error *e) MERT_MUST_USE;
void mert_extractor_close(mert_forward_extractor *x);

/* Called before the frames of a clip [L]. */
void mert_extractor_begin(mert_forward *f, const mert_forward_extractor *x, const mert_element *pcm, int64_t L);
/* Allocates scratch memory for n frames at a time. */
void mert_extractor_room(mert_forward *f, int64_t n, mert_element *turn[2]);
/* Computes n frames, from the samples at pcm on -> y [n, C]. */
void mert_extractor_run(mert_forward *f, const mert_forward_extractor *x, const mert_element *pcm, int64_t n,
                        mert_element *const turn[2], mert_element *y);

#endif
