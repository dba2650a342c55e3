/* Internal to forward.h: the functions that each kind of model implements. */
#ifndef MERT_FORWARD_KINDS_H
#define MERT_FORWARD_KINDS_H

#include "libcommon/models/inference/forward.h"
#include "libcommon/models/inference/weight_block.h"
#include "libcommon/nn/arena.h"

typedef struct mert_forward_kind {
    /* Makes f->own and f->weights from weights of this kind. */
    int (*open)(mert_forward *f, const mert_weights *w, mert_packing packing, mert_error *e);
    void (*close)(mert_forward *f); /* frees f->own, which may be NULL */
    int (*run)(mert_forward *f, const mert_forward_input *in, int last, mert_hidden_fn each, void *self, mert_error *e);
} mert_forward_kind;

extern const mert_forward_kind mert_forward_hubert, mert_forward_conformer;

struct mert_forward {
    const mert_forward_kind *kind;
    mert_config c;
    mert_ops *ops;
    mert_weight_block weights;
    mert_arena scratch; /* scratch memory of a run */
    void *own;          /* data of the kind */
};

/* ---- steps that both kinds use ---- */

/* y[rows, out] = x[rows, in] w^T + b, then GELU, then + residual (without GELU, y may be the residual). Row strides:
 * ldx for x, out for y. */
void mert_forward_linear(mert_forward *f, mert_linear_weights l, int64_t rows, int64_t in, int64_t out,
                         const mert_element *x, int64_t ldx, int gelu, const mert_element *residual, mert_element *y);
/* x [T, D] -> y [T, 3, D]: queries, keys and values. */
void mert_forward_qkv(mert_forward *f, mert_linear_weights qkv, int64_t T, const mert_element *x, mert_element *y);
/* LayerNorm of rows; y may be x. */
void mert_forward_norm(mert_forward *f, double eps, mert_norm_weights w, int64_t rows, int64_t columns,
                       const mert_element *x, mert_element *y);
/* The number of rows in a block, at most `most`: T rows are divided into blocks of about equal size, rounded up to
 * whole tiles of rows. */
int64_t mert_forward_block(int64_t T, int64_t most);
int mert_forward_no_memory(int64_t samples, mert_error *e);

#endif
