/* Shared by device.c and device_weights.c: the encoder on a device. */
#ifndef MERT_ENCODEC_DEVICE_INTERNAL_H
#define MERT_ENCODEC_DEVICE_INTERNAL_H

#include "libcommon/teachers/encodec/device.h"

/* The weights [count][n, k] of products, `step` elements apart, in the format that the backend multiplies with. */
typedef struct mert_device_product {
    mert_element *w;
    float *bias; /* [n] or NULL */
    int64_t n, k, step;
    mert_packing packed;
} mert_device_product;

typedef struct mert_device_conv {
    mert_device_product product; /* [out, kernel * in]; dilated: a matrix [out, in] for each tap */
    int64_t in, out, kernel, dilation, stride, left;
} mert_device_conv;

typedef struct mert_device_stage {
    mert_seanet_kind kind;
    int elu;
    mert_device_conv conv, second, shortcut; /* shortcut.out 0: identity */
    int layers;
    mert_device_product input[MERT_SEANET_LSTM_LAYERS];
    mert_element *recurrent[MERT_SEANET_LSTM_LAYERS]; /* [W, 4 W] */
} mert_device_stage;

typedef struct mert_device_codebook {
    mert_device_product product; /* of the words, with -|w|^2 / 2 as bias */
    float *words;                /* [V, D] */
    float reach;
} mert_device_codebook;

typedef struct mert_device_weights {
    mert_ops *ops;
    int n;
    mert_device_stage stages[MERT_SEANET_STAGES];
    int64_t use;
    mert_device_codebook *codebooks; /* [use] */
    void **held;                     /* all device memory of the weights */
    int64_t n_held, room;
} mert_device_weights;

int mert_device_weights_load(mert_device_weights *w, const mert_encodec *m, mert_ops *ops, int64_t use, mert_error *e)
    MERT_MUST_USE;
void mert_device_weights_free(mert_device_weights *w);

#endif
