/* Shared by open.c and tensors.c: loading the tensors of an EnCodec by name. */
#ifndef MERT_ENCODEC_INTERNAL_H
#define MERT_ENCODEC_INTERNAL_H

#include "formats/checkpoint/model_hash.h"
#include "libcommon/teachers/encodec/encodec.h"

enum { MERT_ENCODEC_NAME = 160 };

/* Tensors with either naming. The hash uses the names of the HF layout, with weight_g and weight_v. */
typedef struct mert_encodec_loader {
    const mert_checkpoint *c;
    int official;             /* encoder.model.N.conv.conv.* instead of encoder.layers.N.conv.* */
    char *used;               /* [tensors] */
    mert_named_values *named; /* input of the hash */
    size_t n_named;
    float **read;             /* [n_named] values that were converted, not in the file; else NULL */
    float *room[2];           /* scratch for weights */
    int64_t room_floats[2];
    int with_decoder;
    int hashed;               /* 1: tensors that are read now are part of the hash */
    int growth;               /* dilation of residual j is growth^j */
    mert_encodec *m;
    mert_error *e;
} mert_encodec_loader;

int mert_encodec_has(const mert_encodec_loader *l, const char *prefix); /* 1: a tensor's name begins with the prefix */
/* The name "encoder.layers.3" + ".block.1" in the naming of the file, without the ending of the conv. */
void mert_encodec_layer_name(const mert_encodec_loader *l, char name[MERT_ENCODEC_NAME], const char *net, int layer,
                             const char *part);
int mert_encodec_has_layer(const mert_encodec_loader *l, const char *net, int layer, const char *part);
/* The values of a tensor of this shape (a size of -1 is filled in). own: its name for the hash. Valid as long as the
 * checkpoint and the loader. */
const float *mert_encodec_values(mert_encodec_loader *l, const char *name, const char *own, int ndim, int64_t *shape);
/* Scratch for n floats, reused at the next call. which: 0: used by mert_encodec_conv, 1: for the caller. */
float *mert_encodec_room(mert_encodec_loader *l, int which, int64_t n);
/* Loads weight and bias of either kind of conv. Weight norm is folded into the weight, which is valid until the next
 * call. shape: of the weight, sizes of -1 are filled in. */
const float *mert_encodec_conv(mert_encodec_loader *l, const char *net, int layer, const char *part, int transposed,
                               int64_t shape[3], const float **bias);

#endif
