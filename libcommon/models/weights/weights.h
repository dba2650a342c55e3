/* The parameters of a model as one flat float32 array, and the place of each tensor in it. Gradients and moments of the
 * optimiser have the same layout, so adding, clipping, updating and sharding are loops over flat ranges. Names are
 * fairseq's, which exist for every tensor including the heads: "encoder.layers.0.fc1.weight". Names of a Conformer are
 * those of the published checkpoints: "layers.0.ffn1.w_1.weight". Tensors have the official shapes: linear [out, in],
 * convolution [out, in, kernel]. */
#ifndef MERT_WEIGHTS_H
#define MERT_WEIGHTS_H

#include "libcommon/models/config/config.h"
#include "libcommon/nn/ops.h"

typedef struct mert_parameter {
    char name[96];
    int ndim;
    int64_t shape[4];
    int64_t n;        /* elements */
    int64_t offset;   /* in floats, a multiple of 16 */
    int training_only; /* heads and mask_emb, which inference does not need */
} mert_parameter;

int mert_parameter_has_shape(const mert_parameter *p, int ndim, const int64_t *shape);

typedef struct mert_layout {
    mert_config config;
    mert_parameter *parameters;
    int count;
    int64_t size;        /* floats of the flat array, including padding, which is always zero */
    int64_t constants;   /* number of floats at its start that are not trained: a Conformer's window, filters, mean,
                            deviation */
    int64_t elements;    /* without padding and constants: the number that papers report */
} mert_layout;

int mert_layout_make(mert_layout *l, const mert_config *c, mert_error *e) MERT_MUST_USE;
void mert_layout_free(mert_layout *l);
/* The parameter with this name; NULL: the model does not have it. */
const mert_parameter *mert_layout_find(const mert_layout *l, const char *name);
/* The offset of the parameter with this printf-style name. The parameter must exist: otherwise the program aborts. */
int64_t mert_layout_offset(const mert_layout *l, const char *format, ...) MERT_PRINTF(2, 3);

enum { MERT_PACKED_VERSION = 1 }; /* of the order in which forward.c packs weights; it changes when this order
                                     changes */

/* "f32", "bf16" and "int8" at the values of mert_packing, as options and files name them; "" before and NULL after. */
extern const char *const mert_packing_names[];

/* A model in host memory. */
typedef struct mert_weights {
    mert_layout layout;
    float *values; /* [layout.size], 64-byte aligned. After mert_weights_open, only the tensors that `views` points to
                      have valid numbers */
    const float **views; /* NULL, or [layout.count]: the numbers of each parameter, in a mapped file or in values */
    mert_checkpoint *source; /* the file that views and packed point into */
    const float *packed; /* NULL, or the packed weights (forward.h); then there are no others */
    int64_t packed_size;
    mert_packing packed_as;
    uint64_t hash;       /* of a packed model: its hash (contract S9) when it was packed */
    uint64_t packed_sum; /* of a packed model: XXH64 of the packed weights */
} mert_weights;

/* The numbers of a parameter, [p->n]. */
const float *mert_weights_values(const mert_weights *w, const mert_parameter *p);

/* Random weights as fairseq initialises them (man/model.md 6.1). They depend on configuration and seed only. */
int mert_weights_init(mert_weights *w, const mert_config *c, uint64_t seed, mert_error *e) MERT_MUST_USE;
/* The same with all weights zero. */
int mert_weights_allocate(mert_weights *w, const mert_config *c, mert_error *e) MERT_MUST_USE;
/* Loads a model (contract P2): HF directory, safetensors, torch files, our own directories. heads 0: without the heads,
 * even if the file has them. A checksum in our own files is verified. These are errors that name the tensor as in the
 * file: a tensor is missing, has another shape or an integer type, or has a number that is not finite; or the file has
 * a tensor that the model does not use. Weight norm that was folded into its weight is divided into two factors again.
 * A fairseq model whose extractor has the width of the model has no post_extract_proj; it gets the identity. */
int mert_weights_load(mert_weights *w, const char *path, int heads, mert_error *e) MERT_MUST_USE;
/* Verifies the checksum that mert_weights_open does not: that of our own files, or that of packed weights. Errors name
 * the file. */
int mert_weights_check_sums(const mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;
/* Opens a model for reading only, without the heads. float32 tensors stay in the mapped file, which processes share;
 * other types are converted. There is no flat array. */
int mert_weights_open(mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;
/* The numbers of this parameter are not needed for now, so their pages can be dropped from memory. They can be read
 * again later. */
void mert_weights_forget(const mert_weights *w, const mert_parameter *p);
/* Frees the numbers and keeps the layout, after the numbers were copied elsewhere. Packed weights are used in place and
 * not freed. */
void mert_weights_drop(mert_weights *w);
/* As mert_weights_load, from an opened checkpoint, but without verifying the checksum and the numbers. */
int mert_weights_from(mert_weights *w, const mert_checkpoint *c, int heads, mert_error *e) MERT_MUST_USE;
/* The tensor of an opened checkpoint that has this name in our naming; NULL: there is none. It is for heads that a
 * fairseq file contains but does not describe. */
const mert_tensor *mert_weights_tensor(const mert_checkpoint *c, const char *name);
/* Sets the gain of the positional convolution to the norm of its direction, for each tap, so that the weight equals the
 * direction. */
void mert_weights_positional_gain(mert_weights *w);
/* The first tap of v, from tap `from` on, whose weights are all zero; -1: none. p: the direction of the positional
 * convolution, [O, C, K]. */
int64_t mert_tap_without_length(const mert_parameter *p, const float *v, int64_t from);
/* Weight norm divides each tap of the positional convolution by its length. -1: a tap has length 0; the error names it.
 * name: of the tensor; NULL: fairseq's. */
int mert_weights_check_taps(const mert_weights *w, const char *name, mert_error *e) MERT_MUST_USE;
/* -1: a tensor that inference needs (with `training`: any tensor) has a number that is not finite. The error names the
 * tensor as c does, the file that the weights are from. It and the hash drop the pages of a mapped file behind them
 * (mert_weights_forget). */
int mert_weights_check_finite(const mert_weights *w, const mert_checkpoint *c, int training, mert_error *e)
    MERT_MUST_USE;
/* Returns the number of tensors that mert_weights_from ignores because the encoder does not use them: tensors of
 * training, heads on top of the model, other tensors beside the model. Writes as many names as fit to to[size],
 * separated by blanks; " ..." at the end: there are more. */
int mert_weights_ignored(const mert_checkpoint *c, int heads, char *to, size_t size);
/* Writes our own directory: model.safetensors (fairseq's names, with heads), config.json, preprocessor_config.json. By
 * contract F4. */
int mert_weights_save(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* The same in HF's layout: HF's names, without heads. */
int mert_weights_save_hf(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* Writes packed weights (`size` floats) as one file that is used in place: it is not packed again, and processes share
 * it. The directory has model.safetensors with one tensor "packed", and config.json, which says so. By contract F4. */
int mert_weights_save_packed(const mert_weights *w, const float *packed, int64_t size, mert_packing as, const char *dir,
                             mert_error *e) MERT_MUST_USE;
uint64_t mert_weights_hash(const mert_weights *w); /* contract S9, of the tensors that inference needs */
void mert_weights_free(mert_weights *w);

#endif
