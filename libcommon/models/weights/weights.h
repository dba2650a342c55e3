/* The parameters of a model as one flat float32 array, and where each tensor lies in it. Gradients and optimiser
 * moments have the same layout, so that summing, clipping, updating and sharding are loops over flat ranges. Names are
 * fairseq's (they exist for every tensor, heads included): "encoder.layers.0.fc1.weight"; those of a Conformer are the
 * published checkpoints': "layers.0.ffn1.w_1.weight". Tensors keep the official shapes: linear [out, in], conv
 * [out, in, kernel]. */
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
    int training_only; /* heads and mask_emb: not needed for inference */
} mert_parameter;

int mert_parameter_has_shape(const mert_parameter *p, int ndim, const int64_t *shape);

typedef struct mert_layout {
    mert_config config;
    mert_parameter *parameters;
    int count;
    int64_t size;        /* floats of the flat array, padding (always zero) included */
    int64_t constants;   /* the first so many floats are never trained: a Conformer's window, filters, mean, deviation */
    int64_t elements;    /* without padding and constants: what papers count */
} mert_layout;

int mert_layout_make(mert_layout *l, const mert_config *c, mert_error *e) MERT_MUST_USE;
void mert_layout_free(mert_layout *l);
/* The parameter of that name, NULL if the model has none. */
const mert_parameter *mert_layout_find(const mert_layout *l, const char *name);
/* printf-style: the offset of a parameter that must exist. */
int64_t mert_layout_offset(const mert_layout *l, const char *format, ...) MERT_PRINTF(2, 3);

enum { MERT_PACKED_VERSION = 1 }; /* of the order in which forward.c packs: another order is another version */

/* A model in host memory. */
typedef struct mert_weights {
    mert_layout layout;
    float *values; /* [layout.size], 64-byte aligned; of a model that mert_weights_open opened only what `views` points
                      to */
    const float **views; /* NULL, or [layout.count]: each parameter where it is, in a mapped file or in values */
    mert_checkpoint *source; /* what views and packed point into */
    const float *packed; /* NULL, or the numbers in the order of products (forward.h), and no others */
    int64_t packed_size;
    mert_packing packed_as;
    uint64_t hash;       /* of a packed model: contract S9, as it was when it was packed */
    uint64_t packed_sum; /* XXH64 of the packed numbers, likewise */
} mert_weights;

/* A parameter's numbers [p->n]. */
const float *mert_weights_values(const mert_weights *w, const mert_parameter *p);

/* Random weights as fairseq initialises them (man/model.md 6.1); a pure function of configuration and seed.
 */
int mert_weights_init(mert_weights *w, const mert_config *c, uint64_t seed, mert_error *e) MERT_MUST_USE;
/* The same, all zero. */
int mert_weights_allocate(mert_weights *w, const mert_config *c, mert_error *e) MERT_MUST_USE;
/* Opens what users have (contract P2): HF directory, safetensors, torch files, our own directories. Strict: a tensor
 * that is missing, of another shape or of integers, one that no part of the model takes, or a number that is not
 * finite, is an error that names it as the file does; files of our own are held against their checksum. Weight norm
 * that was folded into its weight is taken apart again, and a fairseq model as wide as its extractor, which has no
 * post_extract_proj, gets the identity. heads: 0 leaves the heads out even if present. */
int mert_weights_load(mert_weights *w, const char *path, int heads, mert_error *e) MERT_MUST_USE;
/* What mert_weights_open leaves unread is held against the checksums that files of our own have: the file's, or that of
 * packed numbers. Errors name the file. */
int mert_weights_check_sums(const mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;
/* For reading alone, without the heads: float32 tensors of mapped containers stay in the file (shared between
 * processes, nothing is copied), the others are converted. Not for what wants one flat array. */
int mert_weights_open(mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;
/* The parameter's numbers are not needed for now: their pages need not stay in memory. Reading them again is allowed.
 */
void mert_weights_forget(const mert_weights *w, const mert_parameter *p);
/* Lets go of the numbers and keeps the layout: for who has taken them elsewhere (which nobody does with those of a
 * packed model). */
void mert_weights_drop(mert_weights *w);
/* As mert_weights_load, from an opened checkpoint; neither its checksum nor its numbers are looked at. */
int mert_weights_from(mert_weights *w, const mert_checkpoint *c, int heads, mert_error *e) MERT_MUST_USE;
/* Of an opened checkpoint the tensor that has this name here, whatever it is called there; NULL: it has none. So heads
 * can be looked for that a fairseq file holds and does not describe. */
const mert_tensor *mert_weights_tensor(const mert_checkpoint *c, const char *name);
/* The positional convolution's gain, made the norm of its direction for each tap: the weight is then the direction
 * itself. */
void mert_weights_positional_gain(mert_weights *w);
/* The first tap of v, from number `from` on, whose weights are all zero; -1: none. p: the positional convolution's
 * direction, [O, C, K]. */
int64_t mert_tap_without_length(const mert_parameter *p, const float *v, int64_t from);
/* Weight norm divides each tap of the positional convolution by its length: -1 names the first that has none. name: of
 * the tensor, NULL: as fairseq has it. */
int mert_weights_check_taps(const mert_weights *w, const char *name, mert_error *e) MERT_MUST_USE;
/* The first number that is not finite, in a tensor that inference needs or, with `training`, in any: an error that
 * names it as c does, the file that they are from. */
int mert_weights_check_finite(const mert_weights *w, const mert_checkpoint *c, int training, mert_error *e)
    MERT_MUST_USE;
/* The tensors that mert_weights_from passes over, because the encoder has no use for them: training's own, a head on
 * top, what stands beside the model. Their names into to[size], with blanks between, as many as there is room for; how
 * many there are. */
int mert_weights_ignored(const mert_checkpoint *c, int heads, char *to, size_t size);
/* Our own directory: model.safetensors (fairseq names, heads included), config.json, preprocessor_config.json. By
 * contract F4. */
int mert_weights_save(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* HF layout: HF names, no heads. */
int mert_weights_save_hf(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* The numbers in the order of products, size floats, as one file that is used where it is, without packing and shared
 * by all processes: model.safetensors with one tensor "packed", and config.json that says so. By contract F4. */
int mert_weights_save_packed(const mert_weights *w, const float *packed, int64_t size, mert_packing as, const char *dir,
                             mert_error *e) MERT_MUST_USE;
uint64_t mert_weights_hash(const mert_weights *w); /* contract S9, over the tensors that inference needs */
void mert_weights_free(mert_weights *w);

#endif
