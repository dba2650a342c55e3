/* HuBERT's criterion over K codebooks and the regression heads, forward and backward (man/model.md 3), on the S
 * masked frames of a batch. For codebook k:  logits = s * cos(proj_k(x), e_{k,v}),  cross entropy over all rows v of
 * the codebook's label embeddings; s = 1 / logit_temperature, or learnable. With target_glu the embeddings pass Linear
 * and GLU first. */
#ifndef MERT_OBJECTIVE_H
#define MERT_OBJECTIVE_H

#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/arena.h"
#include "libcommon/nn/ops.h"
#include "libcommon/train/trainer.h"

typedef struct mert_objective {
    const mert_layout *layout;
    mert_ops *ops;
    const mert_groups *groups;
    mert_objective_config config;
    mert_arena arena;
    double *sums;          /* device: [MERT_OBJECTIVE_SUMS] for masked frames, then the same for the other frames */
    int64_t *predicted;    /* device: [2, rows of label_embs_concat]: how often each row was predicted for a masked
                            * frame since the counts were cleared; first for passes with a backward pass, then for those
                            * without */
    int64_t embeddings;    /* rows of label_embs_concat */
} mert_objective;

/* Positions in sums. For each codebook: cross entropy (nats) and number of correct frames; then the squared errors of
 * CQT and mel. */
enum { MERT_OBJECTIVE_CQT = 2 * MERT_CODEBOOKS_MAX, MERT_OBJECTIVE_MEL, MERT_OBJECTIVE_SUMS };

/* A choice of frames, masked or not, and their targets; the arrays are on the device. */
typedef struct mert_chosen {
    int64_t S;
    double weight;              /* weight of their cross entropies in the loss */
    int unmasked;               /* 0 or 1: which half of sums they add to */
    const int32_t *rows;        /* [S]: row of the hidden state [B * T, D] */
    const int32_t *targets;     /* [K, S]: row of the codebook's own label embeddings (label + special rows) */
    const float *cqt, *mel;     /* [S, bins]; NULL: no regression for these frames */
    uint64_t codebooks;         /* bit k: codebook k is used */
} mert_chosen;

int mert_objective_open(mert_objective *o, const mert_layout *layout, mert_ops *ops, const mert_groups *groups,
                        const mert_objective_config *config, mert_error *e) MERT_MUST_USE;
void mert_objective_close(mert_objective *o);

/* hidden: device [rows, D]. Adds to o->sums. With dhidden (device [rows, D]; NULL: forward only) it also adds to
 * dhidden the gradient of weight * (sum of cross entropies) + sample_size * (cqt_weight * mean squared error + ...),
 * and to the gradients of the parameters. */
int mert_objective_run(mert_objective *o, const mert_chosen *m, double sample_size, const mert_element *hidden,
                       mert_element *dhidden, mert_error *e) MERT_MUST_USE;

#endif
