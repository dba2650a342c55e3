/* Internal to forward.h: all weights of an encoder in one block of device memory, in the format and order of the kind
 * of model. Each kind has one function, `load`, which goes through all weights in this order. It is used in three ways.
 * Without a base it only counts. With a packed file as base it only sets pointers. With new memory as base and weights
 * to read it fills the memory. */
#ifndef MERT_WEIGHT_BLOCK_H
#define MERT_WEIGHT_BLOCK_H

#include "libcommon/models/weights/weights.h"
#include "libcommon/nn/ops.h"

typedef struct mert_linear_weights { const mert_element *w; const float *b; mert_packing packing; } mert_linear_weights;
typedef struct mert_norm_weights { const float *w, *b; } mert_norm_weights;

typedef struct mert_weight_block {
    mert_ops *ops;
    mert_packing packing; /* of products, if the backend packs weights */
    float *own;           /* device: the weights; or NULL, and */
    const float *mapped;  /* the weights in a packed file, shared with the host */
    int64_t size;         /* floats */
} mert_weight_block;

typedef struct mert_weight_loader {
    mert_ops *ops;
    mert_packing packing;
    const mert_weights *from; /* the weights to read; NULL: nothing is written */
    float *base;              /* device; NULL: only count */
    int64_t at;
    float *ordered;           /* device: scratch memory for weights in another order, before they are packed */
    int bad;
} mert_weight_loader;

typedef void mert_load_weights(void *self, mert_weight_loader *l);

/* load: the function of the kind. ordered: number of floats that it needs at l->ordered. A packed w must not be dropped
 * before the block is freed. */
int mert_weight_block_open(mert_weight_block *b, const mert_weights *w, mert_ops *ops, mert_packing packing,
                           mert_load_weights *load, void *self, int64_t ordered, mert_error *e) MERT_MUST_USE;
void mert_weight_block_close(mert_weight_block *b);

/* ---- for `load` ---- */

/* The size in the block of n floats, including padding. */
int64_t mert_weight_placed(int64_t n);
/* Allocates the next n floats of the block; padding is zero. Without a base it returns NULL. */
float *mert_weight_place(mert_weight_loader *l, int64_t n);
/* begin: a parameter in memory that the device can read; NULL: nothing is to be read, or out of memory. end releases
 * it. */
const float *mert_weight_begin(mert_weight_loader *l, const mert_parameter **p, const char *name);
void mert_weight_end(mert_weight_loader *l, const mert_parameter *p, const float *x);
/* Reads n floats unchanged. norm_of: NAME.weight and NAME.bias. */
float *mert_weight_read(mert_weight_loader *l, int64_t n, const char *format, ...) MERT_PRINTF(3, 4);
mert_norm_weights mert_weight_norm_of(mert_weight_loader *l, int64_t n, const char *name);

/* packing: the format of weights [n, k] for products; 0: the backend does not pack them. floats: their size in the
 * block. place_product: allocates `count` of them. */
mert_packing mert_weight_packing(mert_ops *ops, int64_t n, int64_t k, mert_packing as);
int64_t mert_weight_floats(mert_ops *ops, int64_t n, int64_t k, mert_packing as);
mert_element *mert_weight_place_product(mert_weight_loader *l, int64_t count, int64_t n, int64_t k, mert_packing as);
/* Converts `count` contiguous weights x [n, k] to the format of products. */
void mert_weight_lay_out(mert_ops *ops, mert_element *to, const float *x, int64_t n, int64_t k, int64_t count,
                         mert_packing as);
/* Reads the weights [n, k] of a product. */
mert_element *mert_weight_product(mert_weight_loader *l, int64_t n, int64_t k, const char *format, ...)
    MERT_PRINTF(4, 5);
/* Reads the weights [O, C, K] of a convolution with several channels. The result has taps before channels, because its
 * rows are multiplied with overlapping windows. */
mert_element *mert_weight_conv(mert_weight_loader *l, int64_t O, int64_t C, int64_t K, const char *name);
/* Reads NAME.weight [out, in] and NAME.bias [out]. */
mert_linear_weights mert_weight_linear(mert_weight_loader *l, int64_t out, int64_t in, const char *name);
/* Reads the projections [D, D] to queries, keys and values as one batch of three products (mert_forward_qkv). Their
 * names are PREFIX and one of `names`, then _proj.weight and _proj.bias. */
mert_linear_weights mert_weight_qkv(mert_weight_loader *l, int64_t D, const char *prefix, const char *const names[3]);

#endif
