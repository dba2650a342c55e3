/* What open.c and tensors.c share: the tensors of an EnCodec, by name, on their way into a model. */
#ifndef MERT_ENCODEC_INTERNAL_H
#define MERT_ENCODEC_INTERNAL_H

#include "formats/checkpoint/model_hash.h"
#include "libcommon/teachers/encodec/encodec.h"

enum { MERT_ENCODEC_NAME = 160 };

/* Tensors under either naming. Our own names for them, which the hash is over, are those of the HF layout with
 * weight_g and weight_v. */
typedef struct mert_encodec_loader {
    const mert_checkpoint *c;
    int official;             /* encoder.model.N.conv.conv.* instead of encoder.layers.N.conv.* */
    char *used;               /* [tensors] */
    mert_named_values *named; /* what the hash is over */
    size_t n_named;
    float **read;             /* [n_named] those of them that are not the file's own bytes */
    float *room[2];           /* weights on their way into panels */
    int64_t room_floats[2];
    int with_decoder;
    int hashed;               /* tensors read now go into the hash */
    int growth;               /* dilation of residual j is growth^j */
    mert_encodec *m;
    mert_error *e;
} mert_encodec_loader;

int mert_encodec_has(const mert_encodec_loader *l, const char *prefix); /* a tensor whose name begins like that */
/* "encoder.layers.3" + ".block.1" as the container writes it, without the tail that says conv. */
void mert_encodec_layer_name(const mert_encodec_loader *l, char name[MERT_ENCODEC_NAME], const char *net, int layer,
                             const char *part);
int mert_encodec_has_layer(const mert_encodec_loader *l, const char *net, int layer, const char *part);
/* The values of a tensor of the given shape (a size of -1 is filled in), under its own name for the hash. They stay as
 * long as the checkpoint and the loader. */
const float *mert_encodec_values(mert_encodec_loader *l, const char *name, const char *own, int ndim, int64_t *shape);
/* Room for n floats, the same again at the next call; 0: what mert_encodec_conv works in, 1: the caller's. */
float *mert_encodec_room(mert_encodec_loader *l, int which, int64_t n);
/* What both kinds of conv have: the weight, weight norm folded in, until the next call, and the bias. shape: of the
 * weight, sizes of -1 are filled in. */
const float *mert_encodec_conv(mert_encodec_loader *l, const char *net, int layer, const char *part, int transposed,
                               int64_t shape[3], const float **bias);

#endif
