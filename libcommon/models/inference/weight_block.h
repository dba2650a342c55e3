/* Inside of forward.h: the weights of an encoder in one block of device memory, as its products read them, in an order
 * that the kind of model fixes. One walk over the model (`load` of its kind) has three uses: without a base it only
 * counts, with a packed file as the base it finds everything in its place, with new memory as the base and weights to
 * take it fills it. */
#ifndef MERT_WEIGHT_BLOCK_H
#define MERT_WEIGHT_BLOCK_H

#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_linear_weights { const mert_element *w; const float *b; mert_packing packing; } mert_linear_weights;
typedef struct mert_norm_weights { const float *w, *b; } mert_norm_weights;

typedef struct mert_weight_block {
    mert_ops *ops;
    mert_packing packing; /* of products, where the backend packs */
    float *own;           /* device: all the weights; or: */
    const float *mapped;  /* the same, shared with the host (a packed file) */
    int64_t size;         /* floats */
} mert_weight_block;

typedef struct mert_weight_loader {
    mert_ops *ops;
    mert_packing packing;
    const mert_weights *from; /* NULL: nothing is written */
    float *base;              /* device; NULL: nothing is there */
    int64_t at;
    float *ordered;           /* device: weights in another order, on the way to their panels */
    int bad;
} mert_weight_loader;

typedef void mert_load_weights(void *self, mert_weight_loader *l);

/* load: the kind's walk. ordered: floats that it needs at l->ordered. A packed w must not be dropped before the block
 * is freed. */
int mert_weight_block_open(mert_weight_block *b, const mert_weights *w, mert_ops *ops, mert_packing packing,
                           mert_load_weights *load, void *self, int64_t ordered, mert_error *e) MERT_MUST_USE;
void mert_weight_block_close(mert_weight_block *b);

/* ---- for `load` ---- */

/* Floats of the block that n floats take. */
int64_t mert_weight_placed(int64_t n);
/* The next n floats of the block; the gap behind them is zero. */
float *mert_weight_place(mert_weight_loader *l, int64_t n);
/* The parameter where the device can read it; NULL: nothing is to be taken, or there is no memory. Give it back with
 * end. */
const float *mert_weight_begin(mert_weight_loader *l, const mert_parameter **p, const char *name);
void mert_weight_end(mert_weight_loader *l, const mert_parameter *p, const float *x);
/* n numbers as they are. */
float *mert_weight_take(mert_weight_loader *l, int64_t n, const char *format, ...) MERT_PRINTF(3, 4);
mert_norm_weights mert_weight_norm_of(mert_weight_loader *l, int64_t n, const char *name);

/* How weights [n, k] lie for products: 0 as they are, where the backend packs none; the floats that they take. */
mert_packing mert_weight_packing(mert_ops *ops, int64_t n, int64_t k, mert_packing as);
int64_t mert_weight_floats(mert_ops *ops, int64_t n, int64_t k, mert_packing as);
mert_element *mert_weight_place_product(mert_weight_loader *l, int64_t count, int64_t n, int64_t k, mert_packing as);
/* `count` weights x [n, k], one after the other, to `to`, as products read them. */
void mert_weight_lay_out(mert_ops *ops, mert_element *to, const float *x, int64_t n, int64_t k, int64_t count,
                         mert_packing as);
/* Weights [n, k] of a product. */
mert_element *mert_weight_product(mert_weight_loader *l, int64_t n, int64_t k, const char *format, ...)
    MERT_PRINTF(4, 5);
/* Weights [O, C, K] of a convolution of several channels, with the tap before the channel, as rows of overlapping
 * windows want them. */
mert_element *mert_weight_conv(mert_weight_loader *l, int64_t O, int64_t C, int64_t K, const char *name);
/* NAME.weight [out, in] and NAME.bias [out]. */
mert_linear_weights mert_weight_linear(mert_weight_loader *l, int64_t out, int64_t in, const char *name);
/* The projections [D, D] to queries, keys and values, one after the other: a batch of three products
 * (mert_forward_qkv). Their names are
 * PREFIX and one of `names`, then _proj.weight and _proj.bias. */
mert_linear_weights mert_weight_qkv(mert_weight_loader *l, int64_t D, const char *prefix, const char *const names[3]);

#endif
